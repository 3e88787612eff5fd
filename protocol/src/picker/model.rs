//! The picker against a model too simple to be wrong: a state for every block,
//! nothing kept that can be counted.

mod swarm;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest_state_machine::{StateMachineTest, prop_state_machine};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use self::swarm::{Swarm, Transition};
use super::{selection::REQUESTERS_MAX, suspect::TAKEOVERS_MAX, *};
use crate::BLOCK_LENGTH;

const PIECES: u32 = 6;

/// Six pieces of three blocks, but the last of one byte.
fn layout() -> Layout {
    let piece_length = 2 * BLOCK_LENGTH + 100;
    Layout::new(piece_length, 5 * u64::from(piece_length) + 1)
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Free,
    InFlight(BTreeSet<ConnectionId>),
    Received(ConnectionId),
    Verified,
    Unwanted,
}

/// The picker, and what it should be.
struct Pair {
    picker: Picker,
    peers: BTreeMap<ConnectionId, Bitfield>,
    blocks: BTreeMap<Block, State>,
    wanted: BTreeSet<u32>,
    suspects: BTreeMap<u32, Suspicion>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Suspicion {
    stalled: bool,
    takeovers: u8,
}

impl Pair {
    fn states(&self, piece: u32) -> impl Iterator<Item = (Block, &State)> {
        let blocks = self.blocks.iter().filter(move |(block, _)| block.piece == piece);
        blocks.map(|(&block, state)| (block, state))
    }

    fn is_complete(&self, piece: u32) -> bool {
        self.states(piece).all(|(_, state)| matches!(state, State::Received(_)))
    }

    fn is_started(&self, piece: u32) -> bool {
        let mut states = self.states(piece);
        states.any(|(_, state)| matches!(state, State::InFlight(_) | State::Received(_)))
    }

    fn availability(&self, piece: u32) -> usize {
        self.peers.values().filter(|peer| peer.contains(piece)).count()
    }

    fn in_flight(&self) -> Vec<(Block, Vec<ConnectionId>)> {
        let in_flight = self.blocks.iter().filter_map(|(block, state)| match state {
            State::InFlight(from) => Some((*block, from.iter().copied().collect())),
            _ => None,
        });
        in_flight.collect()
    }

    /// Everyone who was asked for a block of `piece` or sent one.
    fn parties(&self, piece: u32) -> BTreeSet<ConnectionId> {
        let mut parties = BTreeSet::new();
        for (_, state) in self.states(piece) {
            match state {
                State::InFlight(from) => parties.extend(from),
                State::Received(from) => parties.extend([*from]),
                _ => {}
            }
        }
        parties
    }

    /// A suspect piece that its source has let go.
    fn is_abandoned(&self, piece: u32) -> bool {
        let in_flight = |(_, state): (Block, &State)| matches!(state, State::InFlight(_));
        self.suspects.get(&piece).is_some_and(|suspicion| suspicion.stalled)
            && self.is_started(piece)
            && !self.states(piece).any(in_flight)
            && !self.is_complete(piece)
    }

    /// A free block that only the source of its piece may be asked for.
    fn is_kept(&self, piece: u32) -> bool {
        self.suspects.contains_key(&piece) && self.is_started(piece) && !self.is_abandoned(piece)
    }

    fn is_endgame(&self) -> bool {
        let open =
            |(block, state): (&Block, &State)| *state == State::Free && !self.is_kept(block.piece);
        !self.in_flight().is_empty() && !self.blocks.iter().any(open)
    }

    fn pick(
        &mut self,
        connection: ConnectionId,
        count: usize,
        only: Option<&BTreeSet<u32>>,
        seed: u64,
    ) {
        let remote = self.peers[&connection].clone();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut twin = self.picker.clone();
        let picked = self.picker.pick(connection, &remote, count, only, &mut rng);
        let mut again = ChaCha8Rng::seed_from_u64(seed);
        assert_eq!(twin.pick(connection, &remote, count, only, &mut again), picked);
        assert!(picked.len() <= count);

        let may = |piece| remote.contains(piece) && only.is_none_or(|only| only.contains(&piece));
        for &block in &picked {
            let piece = block.piece;
            assert!(may(piece), "{block:?} is not to be had there");
            let source = self.parties(piece);
            let is_its = source.is_empty() || source == BTreeSet::from([connection]);
            let is_suspect = self.suspects.contains_key(&piece);
            if is_suspect && !is_its {
                assert!(self.is_abandoned(piece), "{block:?} has another source");
                self.take_over(piece);
            }
            if self.blocks[&block] == State::Free {
                self.check_order(&remote, only, connection, piece);
                self.blocks.insert(block, State::InFlight(BTreeSet::from([connection])));
                if let Some(suspicion) = self.suspects.get_mut(&piece) {
                    suspicion.stalled = false;
                }
                continue;
            }
            assert!(self.is_endgame(), "{block:?} again, though blocks are free");
            assert!(!self.suspects.contains_key(&piece));
            let State::InFlight(from) = self.blocks.get_mut(&block).unwrap() else {
                panic!("{block:?} is not in flight");
            };
            assert!(from.insert(connection), "{block:?} was asked of it before");
            assert!(from.len() <= REQUESTERS_MAX);
        }
        if picked.len() < count {
            let left = self.blocks.iter().filter(|(block, _)| may(block.piece));
            for (block, state) in left {
                let its = self.parties(block.piece) == BTreeSet::from([connection]);
                let barred = self.is_kept(block.piece) && !its;
                assert!(*state != State::Free || barred, "{block:?} was left out");
                if let State::InFlight(from) = state {
                    let full = from.len() >= REQUESTERS_MAX || from.contains(&connection);
                    let excluded = self.suspects.contains_key(&block.piece);
                    assert!(full || excluded || !self.is_endgame(), "{block:?} was left out");
                }
            }
        }
    }

    /// A free block of `piece` is about to be asked for: strict priority, rarest
    /// first, and takeovers last.
    fn check_order(
        &self,
        remote: &Bitfield,
        only: Option<&BTreeSet<u32>>,
        connection: ConnectionId,
        piece: u32,
    ) {
        let rank = |piece: u32| {
            let source = self.parties(piece);
            let free = self.states(piece).filter(|(_, state)| **state == State::Free).count();
            if self.suspects.contains_key(&piece) && self.is_started(piece) {
                let is_its = source == BTreeSet::from([connection]);
                return is_its.then_some((0, 0, 0));
            }
            let availability = self.availability(piece);
            Some(if self.is_started(piece) {
                (1, free, availability)
            } else {
                (2, 0, availability)
            })
        };
        let may = |piece: &u32| {
            let free = self.states(*piece).any(|(_, state)| *state == State::Free);
            free && remote.contains(*piece) && only.is_none_or(|only| only.contains(piece))
        };
        let best = (0..PIECES).filter(may).filter_map(rank).min();
        assert_eq!(rank(piece), best, "piece {piece} was not its turn");
    }

    fn take_over(&mut self, piece: u32) {
        let suspicion = self.suspects.get_mut(&piece).unwrap();
        if suspicion.takeovers == TAKEOVERS_MAX {
            self.suspects.remove(&piece);
            return;
        }
        suspicion.takeovers += 1;
        suspicion.stalled = false;
        self.set_all(piece, State::Free);
    }

    fn set_all(&mut self, piece: u32, to: State) {
        for block in layout().blocks(piece) {
            self.blocks.insert(block, to.clone());
        }
    }

    fn receive(&mut self, connection: ConnectionId, block: Block) {
        let receipt = self.picker.received(connection, block);
        let source = self.parties(block.piece);
        let welcome =
            !self.suspects.contains_key(&block.piece) || source == BTreeSet::from([connection]);
        let expected = match &self.blocks[&block] {
            State::Free if welcome => Some(vec![]),
            State::InFlight(from) if welcome => {
                Some(from.iter().copied().filter(|&other| other != connection).collect())
            }
            _ => None,
        };
        let Some(expected) = expected else {
            assert_eq!(receipt, Receipt::Redundant);
            return;
        };
        self.blocks.insert(block, State::Received(connection));
        let Receipt::Accepted { mut also_requested, piece_complete } = receipt else {
            panic!("{block:?} was missing, and {receipt:?}");
        };
        also_requested.sort();
        assert_eq!(also_requested, expected);
        assert_eq!(piece_complete, self.is_complete(block.piece));
    }

    fn release(&mut self, connection: ConnectionId, block: Block) {
        self.picker.release(connection, block);
        if self.let_go(connection, block) {
            self.stall(connection, block.piece);
        }
    }

    /// Returns whether the block was in flight from the connection.
    fn let_go(&mut self, connection: ConnectionId, block: Block) -> bool {
        let State::InFlight(from) = self.blocks.get_mut(&block).unwrap() else {
            return false;
        };
        let was = from.remove(&connection);
        if from.is_empty() {
            self.blocks.insert(block, State::Free);
        }
        was
    }

    /// After a release: if nothing of it is in flight the piece is let go.
    fn stall(&mut self, connection: ConnectionId, piece: u32) {
        let in_flight = |(_, state): (Block, &State)| matches!(state, State::InFlight(_));
        let quiet = !self.states(piece).any(in_flight);
        if quiet && self.is_started(piece) && self.parties(piece).contains(&connection) {
            self.suspects.entry(piece).and_modify(|suspicion| suspicion.stalled = true);
        }
    }

    fn pause(&mut self, connection: ConnectionId) {
        for piece in 0..PIECES {
            if self.parties(piece).contains(&connection) {
                self.suspects.entry(piece).and_modify(|suspicion| suspicion.stalled = true);
            }
        }
    }

    fn release_all(&mut self, connection: ConnectionId) {
        self.picker.release_all(connection);
        for block in self.blocks.keys().copied().collect::<Vec<_>>() {
            self.let_go(connection, block);
        }
        self.pause(connection);
    }

    fn verdict(&mut self, piece: u32, good: bool) {
        let senders = self.parties(piece);
        if good {
            self.picker.verified(piece);
            self.suspects.remove(&piece);
            self.set_all(piece, State::Verified);
            return;
        }
        let failure = self.picker.failed(piece);
        let certain = senders.first().copied().filter(|_| senders.len() == 1);
        assert_eq!(failure.certain, certain);
        assert_eq!(failure.senders, senders);
        self.suspects.remove(&piece);
        if certain.is_none() {
            self.suspects.insert(piece, Suspicion::default());
        }
        let wanted = self.wanted.contains(&piece);
        self.set_all(piece, if wanted { State::Free } else { State::Unwanted });
    }

    fn want(&mut self, piece: u32, wanted: bool) {
        let in_flight = self.in_flight();
        let mut cancelled = self.picker.set_wanted(piece, wanted);
        if wanted {
            self.wanted.insert(piece);
        } else {
            self.wanted.remove(&piece);
        }
        let settled = self.is_complete(piece) || self.picker.have().contains(piece);
        let of_piece = in_flight.into_iter().filter(|(block, _)| block.piece == piece);
        let expected: Vec<_> = of_piece.filter(|_| !wanted).collect();
        cancelled.iter_mut().for_each(|(_, from)| from.sort());
        assert_eq!(cancelled, expected);
        if !settled && !wanted {
            self.set_all(piece, State::Unwanted);
            self.suspects.entry(piece).and_modify(|suspicion| suspicion.stalled = false);
        } else if self.states(piece).all(|(_, state)| *state == State::Unwanted) && wanted {
            self.set_all(piece, State::Free);
        }
    }
}

impl StateMachineTest for Pair {
    type SystemUnderTest = Pair;
    type Reference = Swarm;

    fn init_test(_: &Swarm) -> Pair {
        let options = PickerOptions { random_first: 0, ..PickerOptions::default() };
        let blocks = (0..PIECES).flat_map(|piece| layout().blocks(piece));
        Pair {
            picker: Picker::new(layout(), &Bitfield::empty(PIECES), options),
            peers: BTreeMap::new(),
            blocks: blocks.map(|block| (block, State::Free)).collect(),
            wanted: (0..PIECES).collect(),
            suspects: BTreeMap::new(),
        }
    }

    fn apply(mut pair: Pair, swarm: &Swarm, transition: Transition) -> Pair {
        let before = std::mem::replace(&mut pair.peers, swarm.peers.clone());
        match transition {
            Transition::Join(_) => {
                let newest = ConnectionId(swarm.joined - 1);
                pair.picker.peer_has_all_of(&swarm.peers[&newest]);
            }
            Transition::Have(peer, piece) => {
                if !before[&peer].contains(piece) {
                    pair.picker.peer_has(piece);
                }
            }
            Transition::Leave(peer) => {
                pair.picker.peer_gone(&before[&peer]);
                pair.release_all(peer);
            }
            Transition::Pick { connection, count, only, seed } => {
                pair.pick(connection, count, only.as_ref(), seed)
            }
            Transition::Deliver(at, who) | Transition::Reject(at, who) => {
                let in_flight = pair.in_flight();
                if in_flight.is_empty() {
                    return pair;
                }
                let (block, from) = at.get(&in_flight);
                let connection = *who.get(from);
                if matches!(transition, Transition::Deliver(..)) {
                    pair.receive(connection, *block);
                } else {
                    pair.release(connection, *block);
                }
            }
            Transition::Receive(connection, piece, index) => {
                let blocks: Vec<Block> = layout().blocks(piece).collect();
                pair.receive(connection, *index.get(&blocks));
            }
            Transition::Release(connection, piece, index) => {
                let blocks: Vec<Block> = layout().blocks(piece).collect();
                pair.release(connection, *index.get(&blocks));
            }
            Transition::ReleaseAll(connection) => pair.release_all(connection),
            Transition::Pause(connection) => {
                pair.picker.pause(connection);
                pair.pause(connection);
            }
            Transition::Verdict(which, good) => {
                let complete = (0..PIECES).filter(|&piece| pair.is_complete(piece));
                let complete: Vec<u32> = complete.collect();
                if !complete.is_empty() {
                    pair.verdict(*which.get(&complete), good);
                }
            }
            Transition::Want(piece, wanted) => pair.want(piece, wanted),
        }
        pair
    }

    fn check_invariants(pair: &Pair, _: &Swarm) {
        let picker = &pair.picker;
        assert_eq!(picker.check(), Ok(()));
        let mut left = 0;
        for (&block, state) in &pair.blocks {
            let same = match (picker.block_state(block), state) {
                (BlockState::Free, State::Free)
                | (BlockState::Received, State::Received(_))
                | (BlockState::Verified, State::Verified)
                | (BlockState::Unwanted, State::Unwanted) => true,
                (BlockState::InFlight(these), State::InFlight(those)) => {
                    these.len() == those.len() && these.iter().all(|peer| those.contains(peer))
                }
                _ => false,
            };
            assert!(same, "{block:?}: {:?}, not {state:?}", picker.block_state(block));
            if *state != State::Verified {
                left += u64::from(block.length);
            }
        }
        assert_eq!(picker.left(), left);
        let in_flight: Vec<Block> = pair.in_flight().iter().map(|(block, _)| *block).collect();
        assert_eq!(picker.in_flight_count(), in_flight.len());
        assert!(picker.in_flight().map(|(block, _)| block).eq(in_flight));
        let started: Vec<u32> = (0..PIECES).filter(|&piece| pair.is_started(piece)).collect();
        assert!(picker.partial_pieces().map(|partial| partial.piece).eq(started));
        assert_eq!(picker.is_endgame(), pair.is_endgame());
        assert_eq!(picker.is_complete(), left == 0);
        let verified = |piece| pair.states(piece).all(|(_, state)| *state == State::Verified);
        let interesting = |piece: &u32| pair.wanted.contains(piece) && !verified(*piece);
        assert_eq!(picker.is_finished(), !(0..PIECES).any(|piece| interesting(&piece)));
        for piece in 0..PIECES {
            assert_eq!(picker.have().contains(piece), verified(piece));
            assert_eq!(picker.wanted().contains(piece), pair.wanted.contains(&piece));
            let availability = picker.availability()[piece as usize] as usize;
            assert_eq!(availability, pair.availability(piece));
        }
        for remote in pair.peers.values() {
            let wants = remote.iter().any(|piece| interesting(&piece));
            assert_eq!(picker.wants(remote), wants);
        }
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn the_picker_does_what_the_model_does(sequential 1..120 => Pair);
}
