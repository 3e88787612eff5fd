//! I-BLK: every block is in exactly one state, and the blocks in flight are those
//! that wait in some connection's queue.

use reseed_protocol::{Block, ConnectionId, Torrent, torrent::Event};

use super::{Code, Finding, Oracle, Scene};

/// Every step compares how many requests there are in all with how many blocks
/// the picker counts, and each block if these differ, as they may in the endgame;
/// every [`WHOLE_EACH`]th, and whenever a connection ends or a piece is decided,
/// each block is compared anyway, and the picker audits itself.
pub(super) struct Blocks {
    steps: Vec<u64>,
    checks: u64,
}

/// Steps from one whole comparison to the next (count): it costs as much as there
/// are requests, so that it may not be made for each of them.
const WHOLE_EACH: u64 = 64;

impl Blocks {
    pub(super) fn new(peers: usize) -> Blocks {
        Blocks { steps: vec![0; peers], checks: 0 }
    }
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
            self.steps[scene.peer] = 0;
        }
        Ok(())
    }

    fn stepped(&mut self, scene: Scene<'_>, torrent: &Torrent) -> Finding {
        let queued: usize =
            torrent.connections().map(|connection| connection.requested().len()).sum();
        let steps = &mut self.steps[scene.peer];
        let whole = steps.is_multiple_of(WHOLE_EACH);
        *steps += 1;
        self.checks += u64::from(queued > 0);
        if whole {
            torrent.picker().check()?;
        }
        // A block in flight from three connections counts thrice in the queues.
        match whole || queued != torrent.picker().in_flight_count() {
            true => compare(torrent),
            false => Ok(()),
        }
    }
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
