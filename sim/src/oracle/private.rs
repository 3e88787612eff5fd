//! I-PRIV: of a private torrent no `ut_pex` is offered and no peer exchange sent.
//! BEP 27.

use std::collections::BTreeMap;

use reseed_protocol::{
    ConnectionId, Torrent,
    extension::ExtensionHandshake,
    torrent::{Event, Frame, Speaker, Spoken},
    wire::Message,
};

use super::{Code, Finding, Oracle, Scene};

/// Reads every extended message that a peer says.
pub(super) struct Private {
    /// Under which id the remote of each connection takes peer exchange.
    ids: Vec<BTreeMap<ConnectionId, u8>>,
    checks: u64,
}

impl Private {
    pub(super) fn new(peers: usize) -> Private {
        Private { ids: vec![BTreeMap::new(); peers], checks: 0 }
    }
}

impl Oracle for Private {
    fn code(&self) -> Code {
        Code::Priv
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn started(&mut self, peer: usize) {
        self.ids[peer].clear();
    }

    fn spoke(&mut self, scene: Scene<'_>, _: &Torrent, spoken: &Spoken) -> Finding {
        let Frame::Message(Message::Extended { id, payload }) = &spoken.frame else {
            return Ok(());
        };
        let ids = &mut self.ids[scene.peer];
        let declared = || {
            let handshake = ExtensionHandshake::decode(payload).ok()?;
            handshake.m.get("ut_pex").copied().filter(|id| *id != 0)
        };
        match (spoken.by, *id) {
            (Speaker::Remote, 0) => ids.extend(declared().map(|id| (spoken.connection, id))),
            (Speaker::Remote, _) => {}
            (Speaker::Us, 0) => {
                self.checks += 1;
                if let Some(id) = declared() {
                    return Err(format!("it offers ut_pex as {id} in a private torrent"));
                }
            }
            (Speaker::Us, id) => {
                self.checks += 1;
                if ids.get(&spoken.connection) == Some(&id) {
                    return Err(format!("it sends ut_pex as {id} in a private torrent"));
                }
            }
        }
        Ok(())
    }

    fn happened(&mut self, scene: Scene<'_>, _: &Torrent, event: &Event) -> Finding {
        if let Event::Disconnected { connection, .. } = event {
            self.ids[scene.peer].remove(connection);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stage, *};

    /// An extended message that names these extensions; only a handshake is read.
    fn naming(id: u8, m: &[(&str, u8)]) -> Spoken {
        let m: BTreeMap<String, u8> = m.iter().map(|(name, id)| ((*name).into(), *id)).collect();
        let payload = ExtensionHandshake { m, ..ExtensionHandshake::default() }.encode();
        stage::said(Message::Extended { id, payload })
    }

    /// What is found when these are spoken in turn.
    fn finding(spoken: &[Spoken]) -> Finding {
        let (disk, torrent) = (crate::SimDisk::new(), stage::torrent(stage::id(1)));
        let mut private = Private::new(1);
        let scene = stage::scene(0, 0, &disk);
        spoken.iter().try_for_each(|spoken| private.spoke(scene, &torrent, spoken))
    }

    #[test]
    fn peer_exchange_may_be_named_only_to_switch_it_off() {
        assert_eq!(finding(&[naming(0, &[])]), Ok(()));
        assert_eq!(finding(&[naming(0, &[("ut_pex", 0)])]), Ok(()));
        assert_eq!(
            finding(&[naming(0, &[("ut_pex", 2)])]),
            Err("it offers ut_pex as 2 in a private torrent".to_owned())
        );
    }

    #[test]
    fn none_is_sent_though_the_remote_takes_it() {
        let declared = Spoken { by: Speaker::Remote, ..naming(0, &[("ut_pex", 3), ("x", 4)]) };
        let sent = |id| finding(&[declared.clone(), naming(id, &[])]);
        assert_eq!(sent(3), Err("it sends ut_pex as 3 in a private torrent".to_owned()));
        assert_eq!(sent(4), Ok(()), "another extension");
    }
}
