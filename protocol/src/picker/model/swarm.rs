//! Everything that may happen to a picker.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{prelude::*, sample::Index};
use proptest_state_machine::ReferenceStateMachine;

use super::PIECES;
use crate::{Bitfield, ConnectionId};

/// Who is connected and has what.
#[derive(Debug, Clone, Default)]
pub(super) struct Swarm {
    pub(super) peers: BTreeMap<ConnectionId, Bitfield>,
    pub(super) joined: u64,
}

#[derive(Debug, Clone)]
pub(super) enum Transition {
    Join(Vec<bool>),
    Have(ConnectionId, u32),
    Leave(ConnectionId),
    Pick {
        connection: ConnectionId,
        count: usize,
        only: Option<BTreeSet<u32>>,
        seed: u64,
    },
    /// Something of what is in flight comes in.
    Deliver(Index, Index),
    /// Any block comes from anyone.
    Receive(ConnectionId, u32, Index),
    /// Something of what is in flight is let go.
    Reject(Index, Index),
    Release(ConnectionId, u32, Index),
    ReleaseAll(ConnectionId),
    Pause(ConnectionId),
    /// A verdict on some complete piece.
    Verdict(Index, bool),
    Want(u32, bool),
}

impl ReferenceStateMachine for Swarm {
    type State = Swarm;
    type Transition = Transition;

    fn init_state() -> BoxedStrategy<Swarm> {
        Just(Swarm::default()).boxed()
    }

    fn transitions(swarm: &Swarm) -> BoxedStrategy<Transition> {
        let join = prop::collection::vec(prop::bool::weighted(0.7), PIECES as usize);
        let join = join.prop_map(Transition::Join);
        if swarm.peers.is_empty() {
            return join.boxed();
        }
        let peers: Vec<ConnectionId> = swarm.peers.keys().copied().collect();
        let peer = || prop::sample::select(peers.clone());
        let piece = || 0..PIECES;
        let only = prop::option::weighted(0.2, prop::collection::btree_set(piece(), 0..4));
        let verdict = (any::<Index>(), prop::bool::weighted(0.3));
        let pick = (peer(), 0..9usize, only, any::<u64>());
        prop_oneof![
            2 => join,
            2 => (peer(), piece()).prop_map(|(peer, piece)| Transition::Have(peer, piece)),
            1 => peer().prop_map(Transition::Leave),
            10 => pick.prop_map(|(connection, count, only, seed)| {
                Transition::Pick { connection, count, only, seed }
            }),
            16 => any::<(Index, Index)>().prop_map(|(at, who)| Transition::Deliver(at, who)),
            1 => (peer(), piece(), any::<Index>()).prop_map(|(peer, piece, index)| {
                Transition::Receive(peer, piece, index)
            }),
            3 => any::<(Index, Index)>().prop_map(|(at, who)| Transition::Reject(at, who)),
            1 => (peer(), piece(), any::<Index>()).prop_map(|(peer, piece, index)| {
                Transition::Release(peer, piece, index)
            }),
            1 => peer().prop_map(Transition::ReleaseAll),
            1 => peer().prop_map(Transition::Pause),
            6 => verdict.prop_map(|(which, good)| Transition::Verdict(which, good)),
            1 => (piece(), any::<bool>()).prop_map(|(piece, wanted)| {
                Transition::Want(piece, wanted)
            }),
        ]
        .boxed()
    }

    fn preconditions(swarm: &Swarm, transition: &Transition) -> bool {
        match transition {
            Transition::Have(peer, _)
            | Transition::Leave(peer)
            | Transition::Pick { connection: peer, .. }
            | Transition::Receive(peer, ..)
            | Transition::Release(peer, ..)
            | Transition::ReleaseAll(peer)
            | Transition::Pause(peer) => swarm.peers.contains_key(peer),
            _ => true,
        }
    }

    fn apply(mut swarm: Swarm, transition: &Transition) -> Swarm {
        match transition {
            Transition::Join(bits) => {
                let mut bitfield = Bitfield::empty(PIECES);
                for piece in (0..PIECES).filter(|&piece| bits[piece as usize]) {
                    bitfield.insert(piece);
                }
                swarm.peers.insert(ConnectionId(swarm.joined), bitfield);
                swarm.joined += 1;
            }
            Transition::Have(peer, piece) => {
                swarm.peers.get_mut(peer).unwrap().insert(*piece);
            }
            Transition::Leave(peer) => {
                swarm.peers.remove(peer);
            }
            _ => {}
        }
        swarm
    }
}
