//! I-ERR: nothing is caught and dropped.
//!
//! An error either goes to somebody who can do something about it, or changes what
//! is done in a way that is meant and told. One that is caught where it is in the way,
//! and logged at best, hides a bug behind a download that goes on.

use reseed_protocol::{
    Torrent,
    torrent::{CloseReason, Event, Frame, Speaker, Spoken},
    wire::Message,
};

use super::{Code, Finding, Oracle, Scene};

/// Hears of every error that ends where it is caught.
///
/// It checks something when an error could be dropped: at each extended message that
/// is acted on (what goes wrong there costs the message, not the connection), at each
/// result that the client absorbs, and at each error that a torrent tells of.
#[derive(Default)]
pub(super) struct Errors {
    checks: u64,
}

impl Oracle for Errors {
    fn code(&self) -> Code {
        Code::Err
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn spoke(&mut self, _: Scene<'_>, _: &Torrent, spoken: &Spoken) -> Finding {
        let acted_on = matches!(
            (spoken.by, &spoken.frame),
            (Speaker::Remote, Frame::Message(Message::Extended { .. }))
        );
        self.checks += u64::from(acted_on);
        Ok(())
    }

    fn happened(&mut self, _: Scene<'_>, _: &Torrent, event: &Event) -> Finding {
        match event {
            Event::Swallowed { doing, error } => self.swallowed(doing, error),
            Event::AnnounceFailed { .. }
            | Event::Disconnected { reason: CloseReason::Violation(_), .. }
            | Event::Ignored { .. }
            | Event::ReadFailed { .. }
            | Event::WriteFailed { .. } => {
                self.checks += 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn absorbed(&mut self) {
        self.checks += 1;
    }

    fn swallowed(&mut self, doing: &str, error: &str) -> Finding {
        Err(format!("an error was caught and dropped while {doing}: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stage, *};
    use crate::SimDisk;

    fn happens(event: &Event) -> (Finding, u64) {
        let (mut errors, disk) = (Errors::default(), SimDisk::new());
        let torrent = stage::torrent(stage::id(1));
        let found = errors.happened(stage::scene(0, 0, &disk), &torrent, event);
        (found, errors.checks)
    }

    #[test]
    fn an_error_that_was_dropped_is_found_with_what_was_being_done() {
        let (doing, error) = ("shaking hands on #1".to_owned(), "there are none".to_owned());
        let words = "an error was caught and dropped while shaking hands on #1: there are none";
        let swallowed = Event::Swallowed { doing, error };
        assert_eq!(happens(&swallowed), (Err(words.to_owned()), 0));
        let found = Errors::default().swallowed("shaking hands on #1", "there are none");
        assert_eq!(found, Err(words.to_owned()), "wherever it was");
    }

    #[test]
    fn an_error_that_is_told_was_not_dropped() {
        let told = Event::AnnounceFailed { reason: "no answer".to_owned() };
        assert_eq!(happens(&told), (Ok(()), 1));
    }

    #[test]
    fn what_could_not_fail_is_no_occasion() {
        assert_eq!(happens(&Event::Completed), (Ok(()), 0));
    }
}
