//! I-BLK: every block is in exactly one state, and the blocks in flight are those
//! that wait in some connection's queue.

use reseed_protocol::{Block, Connection, ConnectionId, Torrent, torrent::Event};

use super::{Code, Finding, Oracle, Scene, Touched};
use crate::table::Table;

/// Every step that changed either compares the set of blocks in flight with the set of
/// requests that wait, by the sums of their fingerprints; where these differ, block by
/// block. The picker's audit of itself looks at every piece, so that it is made every
/// [`AUDIT_EACH`]th step, and whenever a connection ends or a piece is decided.
pub(super) struct Blocks {
    peers: Vec<Sums>,
    checks: u64,
}

/// Steps from one audit to the next (count).
const AUDIT_EACH: u64 = 64;

/// What one peer's sets came to.
#[derive(Default)]
struct Sums {
    steps: u64,
    queues: Table<u64>,
    /// Of all queues together.
    queued: u64,
    /// Blocks in flight, and free ones (count), when they were last compared.
    compared: Option<(usize, u64)>,
}

impl Blocks {
    pub(super) fn new(peers: usize) -> Blocks {
        Blocks { peers: (0..peers).map(|_| Sums::default()).collect(), checks: 0 }
    }
}

impl Sums {
    /// Takes in the queues that the last step may have changed; returns whether it did.
    fn update(&mut self, torrent: &Torrent, touched: Touched<'_>) -> bool {
        let before = self.queued;
        match touched {
            Some(touched) => {
                for connection in touched {
                    let now = sum(connection);
                    let last = self.queues.get_or_insert_with(connection.id().0, || 0);
                    let last = std::mem::replace(last, now);
                    self.queued = self.queued.wrapping_sub(last).wrapping_add(now);
                }
            }
            None => {
                self.queues.clear();
                self.queued = 0;
                for connection in torrent.connections() {
                    let now = sum(connection);
                    self.queues.insert(connection.id().0, now);
                    self.queued = self.queued.wrapping_add(now);
                }
                self.compared = None;
            }
        }
        let counts = (torrent.picker().in_flight_count(), torrent.picker().free_count());
        self.compared.replace(counts) != Some(counts) || self.queued != before
    }
}

/// The sum of what waits in a connection's queue.
fn sum(connection: &Connection) -> u64 {
    let fingerprints = connection.requested().map(|block| fingerprint(block, connection.id()));
    fingerprints.fold(0, u64::wrapping_add)
}

impl Oracle for Blocks {
    fn code(&self) -> Code {
        Code::Blk
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn happened(&mut self, scene: Scene<'_>, _: &Torrent, event: &Event) -> Finding {
        let decisive = matches!(
            event,
            Event::Disconnected { .. } | Event::PieceVerified { .. } | Event::PieceFailed { .. }
        );
        if decisive {
            self.peers[scene.peer].steps = 0;
        }
        Ok(())
    }

    fn stepped(&mut self, scene: Scene<'_>, torrent: &Torrent, touched: Touched<'_>) -> Finding {
        let sums = &mut self.peers[scene.peer];
        if sums.steps.is_multiple_of(AUDIT_EACH) {
            torrent.picker().check()?;
            sums.compared = None;
        }
        sums.steps += 1;
        let changed = sums.update(torrent, touched);
        self.checks += u64::from(sums.queued != 0);
        if !changed {
            return Ok(());
        }
        let in_flight = torrent.picker().in_flight().flat_map(|(block, from)| {
            from.iter().map(move |connection| fingerprint(block, *connection))
        });
        match sums.queued == in_flight.fold(0, u64::wrapping_add) {
            true => Ok(()),
            false => compare(torrent),
        }
    }

    fn started(&mut self, peer: usize) {
        self.peers[peer] = Sums::default();
    }
}

/// A number that no other request has, nearly: two sets of them with one sum are the
/// same set, but for one chance in 2^64 or so.
fn fingerprint(block: Block, connection: ConnectionId) -> u64 {
    let place = u64::from(block.piece) << 32 | u64::from(block.begin);
    let mixed = (place ^ connection.0.rotate_left(40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed =
        (mixed ^ (mixed >> 29) ^ u64::from(block.length)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 32)
}

fn compare(torrent: &Torrent) -> Finding {
    let mut queued: Vec<(Block, ConnectionId)> = torrent
        .connections()
        .flat_map(|connection| connection.requested().map(|block| (block, connection.id())))
        .collect();
    let mut in_flight: Vec<(Block, ConnectionId)> = torrent
        .picker()
        .in_flight()
        .flat_map(|(block, from)| from.iter().map(move |connection| (block, *connection)))
        .collect();
    queued.sort_unstable();
    in_flight.sort_unstable();
    if queued == in_flight {
        return Ok(());
    }
    let only = |these: &[(Block, ConnectionId)], those: &[(Block, ConnectionId)]| {
        these.iter().find(|pair| those.binary_search(pair).is_err()).copied()
    };
    Err(match (only(&queued, &in_flight), only(&in_flight, &queued)) {
        (Some((block, connection)), _) => {
            format!("{block:?} waits in the queue of {connection}, but is not in flight from it")
        }
        (None, Some((block, connection))) => {
            format!("{block:?} is in flight from {connection}, but not in its queue")
        }
        (None, None) => "a request stands twice in a queue".to_owned(),
    })
}
