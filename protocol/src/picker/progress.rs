//! The blocks of one piece that has been started.

use std::collections::BTreeSet;

use arrayvec::ArrayVec;

use super::selection::REQUESTERS_MAX;
use crate::ConnectionId;

/// Whom a block is asked of, the first asked first.
pub(super) type Requesters = ArrayVec<ConnectionId, REQUESTERS_MAX>;

/// Where each block of a started piece stands, with the counts kept.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    slots: Vec<Slot>,
    free: u32,
    in_flight: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slot {
    Free,
    /// Asked of these, never of nobody.
    InFlight(Requesters),
    /// Here, from this one.
    Received(ConnectionId),
}

impl Progress {
    /// All of `blocks` free.
    pub(super) fn new(blocks: u32) -> Progress {
        Progress { slots: vec![Slot::Free; blocks as usize], free: blocks, in_flight: 0 }
    }

    pub(super) fn free(&self) -> u32 {
        self.free
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    pub(super) fn received(&self) -> u32 {
        self.slots.len() as u32 - self.free - self.in_flight
    }

    pub(super) fn is_untouched(&self) -> bool {
        self.free as usize == self.slots.len()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.received() as usize == self.slots.len()
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Every block in flight, in order, with whom it is asked of.
    pub(super) fn requests(&self) -> impl Iterator<Item = (u32, &[ConnectionId])> {
        let requests = self.slots.iter().zip(0..).filter_map(|(slot, index)| match slot {
            Slot::InFlight(requesters) => Some((index, requesters.as_slice())),
            Slot::Free | Slot::Received(_) => None,
        });
        requests.take(self.in_flight as usize)
    }

    /// Puts the first free block in flight from `connection`.
    pub(super) fn request_free(&mut self, connection: ConnectionId) -> Option<u32> {
        let index = self.slots.iter().position(|slot| *slot == Slot::Free)?;
        self.slots[index] = Slot::InFlight(Requesters::from_iter([connection]));
        self.free -= 1;
        self.in_flight += 1;
        Some(index as u32)
    }

    /// Asks one connection more for a block that is in flight.
    pub(super) fn request_again(&mut self, index: u32, connection: ConnectionId) {
        match &mut self.slots[index as usize] {
            Slot::InFlight(requesters) => requesters.push(connection),
            slot => panic!("block {index} is {slot:?}, not in flight"),
        }
    }

    /// The block comes in; returns whom it was asked of.
    pub(super) fn receive(&mut self, index: u32, from: ConnectionId) -> Requesters {
        match std::mem::replace(&mut self.slots[index as usize], Slot::Received(from)) {
            Slot::Free => {
                self.free -= 1;
                Requesters::new()
            }
            Slot::InFlight(requesters) => {
                self.in_flight -= 1;
                requesters
            }
            Slot::Received(_) => panic!("block {index} was received before"),
        }
    }

    /// The block is asked of `connection` no longer; nothing if it was not.
    pub(super) fn release(&mut self, index: u32, connection: ConnectionId) {
        let slot = &mut self.slots[index as usize];
        let Slot::InFlight(requesters) = slot else {
            return;
        };
        requesters.retain(|requester| *requester != connection);
        if requesters.is_empty() {
            *slot = Slot::Free;
            self.free += 1;
            self.in_flight -= 1;
        }
    }

    /// Whoever sent a block of what is here.
    pub(super) fn senders(&self) -> BTreeSet<ConnectionId> {
        let sender = |slot: &Slot| match slot {
            Slot::Received(from) => Some(*from),
            Slot::Free | Slot::InFlight(_) => None,
        };
        self.slots.iter().filter_map(sender).collect()
    }
}
