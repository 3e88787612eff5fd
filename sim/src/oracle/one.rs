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
    pub(super) fn new(peers: usize) -> One {
        One { peers: (0..peers).map(|_| Ends::default()).collect(), pending: Vec::new(), checks: 0 }
    }

    fn settle(&mut self, now: Time) -> Finding {
        let peers = &self.peers;
        let lost = |settling: &Settling| {
            let [a, b] = settling.between;
            let end = |id: PeerId| peers.iter().find(|ends| ends.id == Some(id));
            let (Some(at_a), Some(at_b)) = (end(a), end(b)) else { return false };
            let connected = |ends: &Ends, to: PeerId| ends.remotes.values().any(|id| *id == to);
            let parted = |ends: &Ends, from: PeerId| {
                ends.parted.get(&from).is_some_and(|at| *at >= settling.since)
            };
            !connected(at_a, b) && !connected(at_b, a) && !parted(at_a, b) && !parted(at_b, a)
        };
        let due = self.pending.iter().position(|settling| settling.due <= now && lost(settling));
        if let Some(at) = due {
            let [a, b] = self.pending[at].between;
            return Err(format!("{a} and {b} each closed the other's connection; none is left"));
        }
        self.pending.retain(|settling| settling.due > now);
        Ok(())
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
        self.peers[peer] = Ends::default();
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
