//! I-AVAIL: availability\[p\] is the number of live connections whose remote
//! bitfield has p.

use std::collections::BTreeMap;

use reseed_protocol::{Bitfield, ConnectionId, Torrent};

use super::{Code, Finding, Oracle, Scene};

/// Counts what changed in the remotes' bitfields since the last step, and
/// compares the whole count with the picker's.
pub(super) struct Availability {
    peers: Vec<Count>,
    checks: u64,
}

#[derive(Default)]
struct Count {
    seen: BTreeMap<ConnectionId, Bitfield>,
    pieces: Vec<u32>,
}

impl Availability {
    pub(super) fn new(peers: usize) -> Availability {
        Availability { peers: (0..peers).map(|_| Count::default()).collect(), checks: 0 }
    }
}

impl Count {
    fn update(&mut self, torrent: &Torrent) {
        self.pieces.resize(torrent.layout().pieces() as usize, 0);
        let pieces = &mut self.pieces;
        self.seen.retain(|id, seen| {
            let lives = torrent.connection(*id).is_some();
            if !lives {
                seen.iter().for_each(|piece| pieces[piece as usize] -= 1);
            }
            lives
        });
        for connection in torrent.connections() {
            let now = connection.remote_pieces();
            let seen = self
                .seen
                .entry(connection.id())
                .or_insert_with(|| Bitfield::empty(torrent.layout().pieces()));
            if seen.words() != now.words() {
                now.difference(seen).for_each(|piece| pieces[piece as usize] += 1);
                seen.difference(now).for_each(|piece| pieces[piece as usize] -= 1);
                seen.clone_from(now);
            }
        }
    }
}

impl Oracle for Availability {
    fn code(&self) -> Code {
        Code::Avail
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn started(&mut self, peer: usize) {
        self.peers[peer] = Count::default();
    }

    fn stepped(&mut self, scene: Scene<'_>, torrent: &Torrent) -> Finding {
        let count = &mut self.peers[scene.peer];
        count.update(torrent);
        self.checks += u64::from(!count.seen.is_empty());
        let picker = torrent.picker().availability();
        if picker == count.pieces {
            return Ok(());
        }
        let mut pairs = picker.iter().zip(&count.pieces).enumerate();
        let (piece, (got, expected)) =
            pairs.find(|(_, (got, expected))| got != expected).expect("they differ");
        Err(format!("availability of piece {piece} is {got}, but {expected} connections have it"))
    }
}
