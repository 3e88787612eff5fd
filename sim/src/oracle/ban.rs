//! I-BAN: who is banned has sent wrong bytes, and who goes on sending them is banned.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use reseed_protocol::{
    ConnectionId, PeerId, Torrent,
    torrent::{Event, Frame, Speaker, Spoken},
};

use super::{Code, Finding, Oracle, Scene, brought};
use crate::Content;

/// Pieces that one peer may have had a part in spoiling before it must be gone (count).
/// A piece that several sent does not tell who lied, and as many as are fetched at a
/// time can fail before the first of them does.
const SPOILT_MAX: u32 = 16;

/// Holds every block that comes in to the truth.
pub(super) struct Ban {
    content: Rc<Content>,
    names: Vec<String>,
    /// The ids that each peer has had, in all its lives.
    ids: BTreeMap<PeerId, usize>,
    /// What each peer has got.
    got: Vec<Got>,
    checks: u64,
}

/// What a peer has got from others since it started.
#[derive(Default)]
struct Got {
    remotes: BTreeMap<ConnectionId, PeerId>,
    /// Who sent wrong bytes at all.
    liars: BTreeSet<PeerId>,
    /// Who sent wrong bytes of a piece that is being fetched.
    wrong: BTreeMap<u32, BTreeSet<PeerId>>,
    /// Pieces whose hash was wrong by whose doing (count).
    spoilt: BTreeMap<PeerId, u32>,
}

impl Ban {
    pub(super) fn new(names: impl Iterator<Item = String>, content: Rc<Content>) -> Ban {
        let names: Vec<String> = names.collect();
        let got = names.iter().map(|_| Got::default()).collect();
        Ban { content, names, ids: BTreeMap::new(), got, checks: 0 }
    }

    fn name(&self, id: PeerId) -> String {
        self.ids.get(&id).map_or_else(|| id.to_string(), |peer| self.names[*peer].clone())
    }
}

impl Oracle for Ban {
    fn code(&self) -> Code {
        Code::Ban
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn started(&mut self, peer: usize) {
        self.got[peer] = Got::default();
    }

    fn spoke(&mut self, scene: Scene<'_>, _: &Torrent, spoken: &Spoken) -> Finding {
        let (Speaker::Remote, Frame::Message(message)) = (spoken.by, &spoken.frame) else {
            return Ok(());
        };
        let Some((block, data)) = brought(message) else { return Ok(()) };
        self.checks += 1;
        if !self.content.layout().contains(block) || self.content.is_true(block, &data) {
            return Ok(());
        }
        let got = &mut self.got[scene.peer];
        if let Some(&id) = got.remotes.get(&spoken.connection) {
            got.liars.insert(id);
            got.wrong.entry(block.piece).or_default().insert(id);
        }
        Ok(())
    }

    fn happened(&mut self, scene: Scene<'_>, torrent: &Torrent, event: &Event) -> Finding {
        self.ids.insert(torrent.config().peer_id, scene.peer);
        let got = &mut self.got[scene.peer];
        match event {
            Event::Connected { connection, peer_id, .. } => {
                got.remotes.insert(*connection, *peer_id);
            }
            Event::Disconnected { connection, .. } => _ = got.remotes.remove(connection),
            Event::PieceVerified { piece } => _ = got.wrong.remove(piece),
            Event::PieceFailed { piece, .. } => {
                for id in got.wrong.remove(piece).unwrap_or_default() {
                    let spoilt = got.spoilt.entry(id).or_default();
                    *spoilt += 1;
                    if *spoilt > SPOILT_MAX {
                        let (count, name) = (*spoilt, self.name(id));
                        return Err(format!(
                            "{name} has sent wrong bytes of {count} pieces that failed, and is not banned"
                        ));
                    }
                }
            }
            Event::Banned { peer_id, addr } => {
                self.checks += 1;
                if !got.liars.contains(peer_id) {
                    let name = self.name(*peer_id);
                    return Err(format!("{name} at {addr} is banned and has sent only true bytes"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
