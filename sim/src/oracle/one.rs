//! I-ONE: no connection to oneself, at most one between two peers, and never none
//! because both ends closed the other's.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use reseed_protocol::{
    ConnectionId, PeerId, Time, Torrent,
    torrent::{CloseReason, Event},
};

use super::{Code, Finding, Oracle, Scene, Touched};

/// Follows which peers are connected, by the ids that they gave.
pub(super) struct One {
    peers: Vec<Ends>,
    /// Duplicates that were closed: by the time given, the two must have settled
    /// for one connection.
    pending: Vec<Settling>,
    /// A fault has held: one end may take for a connection what the other has long given
    /// up, and they settle later.
    disturbed: bool,
    checks: u64,
}

#[derive(Default)]
struct Ends {
    name: String,
    id: Option<PeerId>,
    /// It fetches the metadata first, and what it closes until then is not told.
    magnet: bool,
    /// The first that was told of this run of it.
    since: Option<Time>,
    remotes: BTreeMap<ConnectionId, PeerId>,
    /// Remotes whose last connection ended by no duplicate's doing, and when.
    parted: BTreeMap<PeerId, Time>,
    /// Remotes with whom it will not be connected again.
    banned: BTreeSet<PeerId>,
    /// It wants to be connected to nobody any more.
    is_stopping: bool,
}

struct Settling {
    due: Time,
    since: Time,
    between: [PeerId; 2],
}

/// How long both ends may take to settle for one connection: a few round trips.
const SETTLE: Duration = Duration::from_secs(5);

impl One {
    /// For the peers with these names, in the plan's order, and whether each comes with a
    /// magnet link.
    pub(super) fn new(peers: impl Iterator<Item = (String, bool)>) -> One {
        let ends = |(name, magnet)| Ends { name, magnet, ..Ends::default() };
        One { peers: peers.map(ends).collect(), pending: Vec::new(), disturbed: false, checks: 0 }
    }

    fn settle(&mut self, now: Time) -> Finding {
        if self.disturbed {
            return Ok(());
        }
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
            // It may have parted before it heard of the duplicate.
            ends.parted.get(&from).is_some_and(|at| *at + SETTLE >= settling.since)
        };
        let together = |ends: &Ends, other| {
            connected(ends, other) || parted(ends, other) || ends.banned.contains(&other)
        };
        // What it closed then the other may read of later.
        let fetched =
            |ends: &Ends| ends.magnet && ends.since.is_none_or(|at| at + SETTLE >= settling.since);
        let unsettled = |ends: &Ends| ends.is_stopping || fetched(ends);
        let lost =
            ![at_a, at_b].into_iter().any(unsettled) && !together(at_a, b) && !together(at_b, a);
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
        let Ends { name, magnet, .. } = std::mem::take(&mut self.peers[peer]);
        self.peers[peer] = Ends { name, magnet, ..Ends::default() };
    }

    fn gone(&mut self, peer: usize) {
        // Started again it may have the same id.
        if let Some(id) = self.peers[peer].id {
            self.pending.retain(|settling| !settling.between.contains(&id));
        }
    }

    fn faulty(&mut self, _: Time, _: usize, network: bool, held_up: bool) {
        self.disturbed |= network || held_up;
    }

    fn happened(&mut self, scene: Scene<'_>, torrent: &Torrent, event: &Event) -> Finding {
        self.settle(scene.now)?;
        let own = torrent.config().peer_id;
        let ends = &mut self.peers[scene.peer];
        ends.id = Some(own);
        ends.since.get_or_insert(scene.now);
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
            Event::Banned { peer_id, .. } => _ = ends.banned.insert(*peer_id),
            Event::Disconnected { connection, reason, .. } => {
                let Some(remote) = ends.remotes.remove(connection) else { return Ok(()) };
                match reason {
                    CloseReason::Duplicate { .. } if self.disturbed => {}
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

    fn stepped(&mut self, scene: Scene<'_>, torrent: &Torrent, _: Touched<'_>) -> Finding {
        self.peers[scene.peer].is_stopping = torrent.is_stopping();
        Ok(())
    }

    fn ended(&mut self) -> Finding {
        self.settle(self.pending.iter().map(|settling| settling.due).max().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use reseed_protocol::torrent::Input;

    use super::{super::stage, *};
    use crate::SimDisk;

    /// Two peers, `a` and `b`, as the oracle sees them.
    struct Pair {
        one: One,
        disk: SimDisk,
    }

    impl Pair {
        fn new() -> Pair {
            Pair::where_b_has_a_magnet_link(false)
        }

        fn where_b_has_a_magnet_link(magnet: bool) -> Pair {
            let peers = [("a".to_owned(), false), ("b".to_owned(), magnet)];
            Pair { one: One::new(peers.into_iter()), disk: SimDisk::new() }
        }

        fn happens(&mut self, peer: usize, seconds: u64, event: Event) -> Finding {
            let scene = stage::scene(peer, seconds, &self.disk);
            self.one.happened(scene, &stage::torrent(stage::id(peer as u8)), &event)
        }

        fn connects(&mut self, peer: usize, seconds: u64, connection: u64, to: u8) -> Finding {
            let event = Event::Connected {
                connection: ConnectionId(connection),
                addr: ([10, 0, 0, 1], 6881).into(),
                peer_id: stage::id(to),
            };
            self.happens(peer, seconds, event)
        }

        fn parts(&mut self, peer: usize, connection: u64, reason: CloseReason) {
            self.parts_at(1, peer, connection, reason);
        }

        fn parts_at(&mut self, seconds: u64, peer: usize, connection: u64, reason: CloseReason) {
            let event = Event::Disconnected {
                connection: ConnectionId(connection),
                addr: ([10, 0, 0, 1], 6881).into(),
                reason,
            };
            self.happens(peer, seconds, event).expect("nothing is settled yet");
        }

        /// Both have connection 1; then `a` closes it as a duplicate, and `b` loses it.
        fn with_a_duplicate_closed() -> Pair {
            let mut pair = Pair::new();
            pair.connects(0, 0, 1, 1).expect("it is the first");
            pair.connects(1, 0, 1, 0).expect("it is the first");
            pair.parts(0, 1, CloseReason::Duplicate { kept: ConnectionId(2) });
            pair.parts(1, 1, CloseReason::Lost);
            pair
        }
    }

    #[test]
    fn nobody_is_connected_to_itself() {
        let found = Pair::new().connects(0, 0, 1, 0);
        assert_eq!(found, Err("it is connected to itself, at 10.0.0.1:6881".to_owned()));
    }

    #[test]
    fn of_two_connections_to_one_peer_the_second_is_found() {
        let mut pair = Pair::new();
        pair.connects(0, 0, 1, 1).expect("it is the first");
        let found = pair.connects(0, 0, 2, 1).unwrap_err();
        assert!(found.starts_with("#2 and #1 both lead to "), "{found}");
    }

    #[test]
    fn a_duplicate_may_be_closed_if_another_connection_stays() {
        let mut pair = Pair::with_a_duplicate_closed();
        pair.connects(0, 2, 2, 1).expect("the other is gone");
        assert_eq!(pair.one.ended(), Ok(()));
    }

    #[test]
    fn if_none_stays_both_are_named() {
        let words = "a and b each closed the other's connection; none is left";
        assert_eq!(Pair::with_a_duplicate_closed().one.ended(), Err(words.to_owned()));
        let later = Pair::with_a_duplicate_closed().happens(0, 7, Event::Announced);
        assert_eq!(later, Err(words.to_owned()));
        let too_soon = Pair::with_a_duplicate_closed().happens(0, 3, Event::Announced);
        assert_eq!(too_soon, Ok(()), "they may be settling");
    }

    #[test]
    fn who_is_banned_need_not_be_connected_whenever_that_was() {
        let mut pair = Pair::with_a_duplicate_closed();
        let addr = ([10, 0, 0, 1], 6881).into();
        pair.happens(1, 0, Event::Banned { addr, peer_id: stage::id(0) })
            .expect("it is not judged");
        assert_eq!(pair.one.ended(), Ok(()));
    }

    #[test]
    fn who_parts_for_another_reason_need_not_be_connected() {
        let mut pair = Pair::with_a_duplicate_closed();
        pair.connects(0, 1, 2, 1).expect("the other is gone");
        pair.parts(0, 2, CloseReason::BothComplete);
        assert_eq!(pair.one.ended(), Ok(()));
    }

    #[test]
    fn who_is_stopping_need_not_be_connected() {
        let mut pair = Pair::with_a_duplicate_closed();
        let mut torrent = stage::torrent(stage::id(1));
        let (scene, grace) = (stage::scene(1, 2, &pair.disk), Duration::from_secs(5));
        torrent.handle(Input::Stop { grace }, scene.now, &mut ChaCha8Rng::seed_from_u64(1));
        pair.one.stepped(scene, &torrent, None).expect("it is only taken note of");
        assert_eq!(pair.one.ended(), Ok(()));
    }

    #[test]
    fn who_lost_its_power_need_not_be_connected() {
        let mut pair = Pair::with_a_duplicate_closed();
        pair.one.gone(1);
        assert_eq!(pair.one.ended(), Ok(()));
    }

    #[test]
    fn what_is_closed_while_metadata_is_fetched_is_not_judged() {
        let mut pair = Pair::where_b_has_a_magnet_link(true);
        pair.connects(0, 0, 1, 1).expect("it is the first");
        pair.parts(0, 1, CloseReason::Duplicate { kept: ConnectionId(2) });
        pair.happens(1, 2, Event::Announced).expect("it is a torrent now");
        assert_eq!(pair.one.ended(), Ok(()));
    }

    #[test]
    fn what_was_closed_then_may_be_read_of_a_little_later() {
        for (seconds, is_judged) in [(5, false), (9, true)] {
            let mut pair = Pair::where_b_has_a_magnet_link(true);
            pair.happens(1, 1, Event::Announced).expect("it is a torrent now");
            pair.connects(0, 2, 1, 1).expect("it is the first");
            pair.parts_at(seconds, 0, 1, CloseReason::Duplicate { kept: ConnectionId(2) });
            assert_eq!(pair.one.ended().is_err(), is_judged, "after {seconds} s");
        }
    }
}
