use std::time::Duration;

use rand::{Rng, RngExt};

use super::{AnnounceResponse, Event};
use crate::Time;

/// When to announce what: one torrent at one tracker. BEP 3 §trackers.
///
/// The tracker hears `started`, then `completed` if the download finished after that,
/// then `stopped` (oracle I-TRK). An event that it did not answer is announced again,
/// but for `stopped`, which is sent once.
///
/// The caller makes each announce that [`poll`](Announcer::poll) hands out and reports
/// how it ended, with [`answered`](Announcer::answered) or
/// [`failed`](Announcer::failed); it gives the request a time limit of its own.
#[derive(Debug, Clone)]
pub struct Announcer {
    life: Life,
    started: Progress,
    completed: Progress,
    /// Something that was here is lost, and has not come again yet.
    lacks: bool,
    in_flight: Option<Announce>,
    /// When the next announce goes out, unless one is in flight.
    due: Time,
    /// How early [`Announcer::want_peers`] may pull `due`.
    earliest: Time,
    /// Announces in a row that failed (count).
    failures: u32,
}

/// An announce to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Announce {
    /// One with an event.
    Event(Event),
    /// One without, to stay known and to learn of peers.
    Regular,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    /// Asked to stop; `stopped` is still to be sent.
    Stopping {
        /// When it was asked for.
        since: Time,
        /// Until when the announce in flight is waited for.
        patient: Time,
        /// When the stop is over, whatever the tracker does.
        end: Time,
    },
    /// `stopped` was sent; its answer is not waited for any longer than that.
    Leaving(Time),
    Finished,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    No,
    /// To be announced.
    Due,
    /// Announced at least once: the tracker may know.
    Sent,
    /// The tracker knows.
    Acknowledged,
}

impl Announce {
    /// The event, for [`AnnounceRequest::event`](super::AnnounceRequest::event).
    pub fn event(self) -> Option<Event> {
        match self {
            Announce::Event(event) => Some(event),
            Announce::Regular => None,
        }
    }
}

impl Announcer {
    /// Between announces that only want more peers, if the tracker names no minimum.
    pub const MIN_INTERVAL: Duration = Duration::from_secs(60);

    /// From a failed announce to the next try; doubles with each failure in a row, and
    /// up to a quarter more is added at random, lest all peers come back at once.
    pub const RETRY_MIN: Duration = Duration::from_secs(15);

    /// The longest wait after a failure.
    pub const RETRY_MAX: Duration = Duration::from_secs(30 * 60);

    /// How long a stop may take, unless the user says otherwise. libtorrent: 5 s.
    pub const STOP_GRACE: Duration = Duration::from_secs(5);

    /// A torrent that begins now: `started` is due.
    pub fn new(now: Time) -> Announcer {
        Announcer {
            life: Life::Running,
            started: Progress::Due,
            completed: Progress::No,
            lacks: false,
            in_flight: None,
            due: now,
            earliest: now,
            failures: 0,
        }
    }

    /// The announce to make now. At most one is in flight; only `stopped` is handed
    /// out while an earlier one is unanswered, which the caller then has to abandon.
    pub fn poll(&mut self, now: Time) -> Option<Announce> {
        let announce = match self.life {
            Life::Running if self.in_flight.is_none() && now >= self.due => self.next(),
            Life::Stopping { patient, end, .. } if self.in_flight.is_none() || now >= patient => {
                self.life = Life::Leaving(end);
                Announce::Event(Event::Stopped)
            }
            Life::Leaving(until) if now >= until => {
                self.finish();
                return None;
            }
            _ => return None,
        };
        self.in_flight = Some(announce);
        Some(announce)
    }

    /// The tracker answered the announce in flight.
    pub fn answered(&mut self, now: Time, response: &AnnounceResponse) {
        match self.in_flight.take() {
            None => return,
            Some(Announce::Event(Event::Started)) => self.started = Progress::Acknowledged,
            Some(Announce::Event(Event::Completed)) => self.completed = Progress::Acknowledged,
            Some(Announce::Event(Event::Stopped)) => return self.finish(),
            Some(Announce::Regular) => {}
        }
        self.failures = 0;
        self.earliest = now + response.min_interval.unwrap_or(Self::MIN_INTERVAL);
        self.due = if self.completed == Progress::Due && !self.lacks {
            now
        } else {
            let min_interval = response.min_interval.unwrap_or_default();
            now + response.interval.max(min_interval)
        };
    }

    /// The announce in flight failed, or the tracker refused it.
    pub fn failed(&mut self, now: Time, rng: &mut impl Rng) {
        match self.in_flight.take() {
            None => return,
            Some(Announce::Event(Event::Stopped)) => return self.finish(),
            Some(_) => {}
        }
        let doubled = Self::RETRY_MIN.saturating_mul(1 << self.failures.min(16));
        let spread = rng.random_range(Duration::ZERO..=doubled / 4);
        self.failures = self.failures.saturating_add(1);
        self.due = now + (doubled + spread).min(Self::RETRY_MAX);
    }

    /// The last wanted piece was verified. Nothing is announced if that was before
    /// `started` went out: such a torrent is complete from its start.
    pub fn download_completed(&mut self, now: Time) {
        let found_again = std::mem::take(&mut self.lacks);
        let is_due = match self.completed {
            Progress::No => self.started >= Progress::Sent,
            Progress::Due | Progress::Sent => found_again,
            Progress::Acknowledged => false,
        };
        if !is_due {
            return;
        }
        self.completed = self.completed.max(Progress::Due);
        if self.failures == 0 && self.started == Progress::Acknowledged {
            self.due = now;
        }
    }

    /// Not all of it is here any more, as it was. A `completed` that the tracker has not
    /// answered waits until it is, since with it goes how much is left; one that it has, or
    /// that there was none of, is not announced again.
    pub fn lost(&mut self) {
        self.lacks = true;
        if self.completed == Progress::No {
            self.completed = Progress::Acknowledged;
        }
    }

    /// More peers are wanted: announce as soon as the tracker allows. Does nothing
    /// while an announce is in flight or a failure is waited out.
    pub fn want_peers(&mut self, now: Time) {
        if self.failures == 0 && self.started == Progress::Acknowledged {
            self.due = self.due.min(self.earliest.max(now));
        }
    }

    /// The torrent stops, within `grace`. If the tracker may know of it, `stopped` goes
    /// out once the announce in flight has ended, lest it overtake that and the tracker
    /// take us for alive, but not later than after two fifths of the grace period; the
    /// rest is left for its answer. Whatever else was due is dropped.
    pub fn stop(&mut self, now: Time, grace: Duration) {
        if self.life != Life::Running {
            return;
        }
        if self.started < Progress::Sent {
            self.finish();
        } else {
            let patient = now + grace * 2 / 5;
            self.life = Life::Stopping { since: now, patient, end: now + grace };
        }
    }

    /// When to call [`Announcer::poll`] next, unless something happens before; `None`
    /// while only an answer is waited for, and at the end.
    pub fn poll_timeout(&self) -> Option<Time> {
        match self.life {
            Life::Running => self.in_flight.is_none().then_some(self.due),
            Life::Stopping { since, .. } if self.in_flight.is_none() => Some(since),
            Life::Stopping { patient, .. } => Some(patient),
            Life::Leaving(until) => Some(until),
            Life::Finished => None,
        }
    }

    /// Whether nothing will be announced any more, nor any answer is waited for.
    pub fn is_finished(&self) -> bool {
        self.life == Life::Finished
    }

    fn next(&mut self) -> Announce {
        if self.started < Progress::Acknowledged {
            self.started = Progress::Sent;
            Announce::Event(Event::Started)
        } else if matches!(self.completed, Progress::Due | Progress::Sent) && !self.lacks {
            self.completed = Progress::Sent;
            Announce::Event(Event::Completed)
        } else {
            Announce::Regular
        }
    }

    fn finish(&mut self) {
        self.life = Life::Finished;
        self.in_flight = None;
    }
}

#[cfg(test)]
mod tests;
