//! I-PRIV: of a private torrent no `ut_pex` is offered and no peer exchange sent.
//! BEP 27.

use reseed_protocol::{
    Torrent,
    extension::ExtensionHandshake,
    torrent::{Frame, Speaker, Spoken},
    wire::Message,
};

use super::{Code, Finding, Oracle, Scene};

/// Reads every extended message that a peer says.
#[derive(Default)]
pub(super) struct Private {
    checks: u64,
}

impl Oracle for Private {
    fn code(&self) -> Code {
        Code::Priv
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn spoke(&mut self, _: Scene<'_>, _: &Torrent, spoken: &Spoken) -> Finding {
        let (Speaker::Us, Frame::Message(Message::Extended { id, payload })) =
            (spoken.by, &spoken.frame)
        else {
            return Ok(());
        };
        self.checks += 1;
        if *id != 0 {
            return Err(format!("it sends extended message {id} in a private torrent"));
        }
        let handshake = ExtensionHandshake::decode(payload).map_err(|error| error.to_string())?;
        match handshake.m.get("ut_pex") {
            None | Some(0) => Ok(()),
            Some(id) => Err(format!("it offers ut_pex as {id} in a private torrent")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{super::stage, *};

    fn finding(id: u8, m: &[(&str, u8)]) -> Finding {
        let m: BTreeMap<String, u8> = m.iter().map(|(name, id)| ((*name).into(), *id)).collect();
        let payload = ExtensionHandshake { m, ..ExtensionHandshake::default() }.encode();
        let spoken = stage::said(Message::Extended { id, payload });
        let (disk, torrent) = (crate::SimDisk::new(), stage::torrent(stage::id(1)));
        Private::default().spoke(stage::scene(0, 0, &disk), &torrent, &spoken)
    }

    #[test]
    fn peer_exchange_may_be_named_only_to_switch_it_off() {
        assert_eq!(finding(0, &[]), Ok(()));
        assert_eq!(finding(0, &[("ut_pex", 0)]), Ok(()));
        assert_eq!(
            finding(0, &[("ut_pex", 2)]),
            Err("it offers ut_pex as 2 in a private torrent".to_owned())
        );
    }

    #[test]
    fn no_extended_message_is_sent_at_all() {
        let expected = "it sends extended message 1 in a private torrent";
        assert_eq!(finding(1, &[]), Err(expected.to_owned()));
    }
}
