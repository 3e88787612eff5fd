//! I-AVAIL: availability\[p\] is the number of live connections whose remote
//! bitfield has p.

use reseed_protocol::{Bitfield, Connection, ConnectionId, Torrent};

use super::{Code, Finding, Oracle, Scene, Touched};
use crate::table::Table;

/// Counts what changed in the remotes' bitfields since the last step, and
/// compares the whole count with the picker's.
pub(super) struct Availability {
    peers: Vec<Count>,
    checks: u64,
}

#[derive(Default)]
struct Count {
    seen: Table<Bitfield>,
    pieces: Vec<u32>,
}

impl Availability {
    pub(super) fn new(peers: usize) -> Availability {
        Availability { peers: (0..peers).map(|_| Count::default()).collect(), checks: 0 }
    }
}

impl Count {
    /// Takes in what changed with the last step, or what may have at all.
    fn update(&mut self, torrent: &Torrent, touched: Touched<'_>) {
        let Some(touched) = touched else { return self.update_all(torrent) };
        for connection in touched {
            self.see(connection, torrent.layout().pieces());
        }
    }

    fn update_all(&mut self, torrent: &Torrent) {
        self.pieces.resize(torrent.layout().pieces() as usize, 0);
        let pieces = &mut self.pieces;
        self.seen.retain(|id, seen| {
            let lives = torrent.connection(ConnectionId(id)).is_some();
            if !lives {
                seen.iter().for_each(|piece| pieces[piece as usize] -= 1);
            }
            lives
        });
        for connection in torrent.connections() {
            self.see(connection, torrent.layout().pieces());
        }
    }

    fn see(&mut self, connection: &Connection, of: u32) {
        let (now, pieces) = (connection.remote_pieces(), &mut self.pieces);
        let seen = self.seen.get_or_insert_with(connection.id().0, || Bitfield::empty(of));
        if seen.words() != now.words() {
            now.difference(seen).for_each(|piece| pieces[piece as usize] += 1);
            seen.difference(now).for_each(|piece| pieces[piece as usize] -= 1);
            seen.clone_from(now);
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

    fn stepped(&mut self, scene: Scene<'_>, torrent: &Torrent, touched: Touched<'_>) -> Finding {
        let count = &mut self.peers[scene.peer];
        count.update(torrent, touched);
        self.checks += u64::from(torrent.connections().len() > 0);
        let picker = torrent.picker().availability();
        if picker == count.pieces {
            return Ok(());
        }
        count.update_all(torrent);
        let mut pairs = picker.iter().zip(&count.pieces).enumerate();
        let (piece, (got, expected)) = match pairs.find(|(_, (got, expected))| got != expected) {
            Some(differs) => differs,
            None => return Ok(()),
        };
        Err(format!("availability of piece {piece} is {got}, but {expected} connections have it"))
    }
}
