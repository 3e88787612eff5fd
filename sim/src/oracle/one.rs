//! I-ONE: no connection to oneself, at most one between two peers, and never none
//! because both ends closed the other's.

use std::{collections::BTreeMap, time::Duration};

use reseed_protocol::{
    ConnectionId, PeerId, Time, Torrent,
    torrent::{CloseReason, Event},
};

use super::{Code, Finding, Oracle, Scene};

/// Follows which peers are connected, by the ids that they gave.
pub(super) struct One {
    peers: Vec<Ends>,
    /// Duplicates that were closed: by the time given, the two must have settled
    /// for one connection.
    pending: Vec<Settling>,
    checks: u64,
}

#[derive(Default)]
struct Ends {
    name: String,
    id: Option<PeerId>,
    remotes: BTreeMap<ConnectionId, PeerId>,
    /// Remotes whose last connection ended by no duplicate's doing, and when.
    parted: BTreeMap<PeerId, Time>,
}

struct Settling {
    due: Time,
    since: Time,
    between: [PeerId; 2],
}

/// How long both ends may take to settle for one connection: a few round trips.
const SETTLE: Duration = Duration::from_secs(5);

impl One {
    /// For the peers with these names, in the plan's order.
    pub(super) fn new(names: impl Iterator<Item = String>) -> One {
        let ends = |name| Ends { name, ..Ends::default() };
        One { peers: names.map(ends).collect(), pending: Vec::new(), checks: 0 }
    }

    fn settle(&mut self, now: Time) -> Finding {
        let due = self.pending.iter().filter(|settling| settling.due <= now);
        if let Some([a, b]) = due.filter_map(|settling| self.lost(settling)).next() {
            return Err(format!("{a} and {b} each closed the other's connection; none is left"));
        }
        self.pending.retain(|settling| settling.due > now);
        Ok(())
    }

    /// Between whom no connection is left, though neither wanted to part.
    fn lost(&self, settling: &Settling) -> Option<[&str; 2]> {
        let [a, b] = settling.between;
        let end = |id: PeerId| self.peers.iter().find(|ends| ends.id == Some(id));
        let (at_a, at_b) = (end(a)?, end(b)?);
        let connected = |ends: &Ends, to: PeerId| ends.remotes.values().any(|id| *id == to);
        let parted = |ends: &Ends, from: PeerId| {
            ends.parted.get(&from).is_some_and(|at| *at >= settling.since)
        };
        let together = |ends: &Ends, other| connected(ends, other) || parted(ends, other);
        let lost = !together(at_a, b) && !together(at_b, a);
        lost.then_some([&at_a.name, &at_b.name])
    }
}

impl Oracle for One {
    fn code(&self) -> Code {
        Code::One
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn started(&mut self, peer: usize) {
        let name = std::mem::take(&mut self.peers[peer].name);
        self.peers[peer] = Ends { name, ..Ends::default() };
    }

    fn happened(&mut self, scene: Scene<'_>, torrent: &Torrent, event: &Event) -> Finding {
        self.settle(scene.now)?;
        let own = torrent.config().peer_id;
        let ends = &mut self.peers[scene.peer];
        ends.id = Some(own);
        match event {
            Event::Connected { connection, peer_id, addr } => {
                self.checks += 1;
                if *peer_id == own {
                    return Err(format!("it is connected to itself, at {addr}"));
                }
                let other = ends.remotes.iter().find(|(_, remote)| *remote == peer_id);
                if let Some((other, _)) = other {
                    return Err(format!("{connection} and {other} both lead to {peer_id}"));
                }
                ends.remotes.insert(*connection, *peer_id);
            }
            Event::Disconnected { connection, reason, .. } => {
                let Some(remote) = ends.remotes.remove(connection) else { return Ok(()) };
                match reason {
                    CloseReason::Duplicate { .. } => self.pending.push(Settling {
                        due: scene.now + SETTLE,
                        since: scene.now,
                        between: [own, remote],
                    }),
                    // The remote's doing: what it says of it counts.
                    CloseReason::Lost => {}
                    _ => _ = ends.parted.insert(remote, scene.now),
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn ended(&mut self) -> Finding {
        self.settle(self.pending.iter().map(|settling| settling.due).max().unwrap_or_default())
    }
}
