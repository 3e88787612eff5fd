//! I-PRIV: of a private torrent no `ut_pex` is offered and no peer exchange sent.
//! BEP 27.

use reseed_protocol::{
    Torrent,
    extension::{ExtensionHandshake, pex::PexMessage},
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
            return match PexMessage::decode(payload) {
                Ok(_) => Err(format!("it sends peer exchange as {id} in a private torrent")),
                Err(_) => Ok(()),
            };
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
        sent(id, ExtensionHandshake { m, ..ExtensionHandshake::default() }.encode())
    }

    fn sent(id: u8, payload: bytes::Bytes) -> Finding {
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
    fn no_peer_exchange_is_sent_under_whichever_id() {
        let contact = ([10, 0, 0, 1], 1).into();
        let pex = PexMessage { added: Vec::new(), dropped: vec![contact] }.encode();
        let expected = "it sends peer exchange as 7 in a private torrent";
        assert_eq!(sent(7, pex), Err(expected.to_owned()));
        assert_eq!(sent(7, bytes::Bytes::from_static(b"le")), Ok(()), "another extension's");
    }
}
