//! Packets on their way, and the queues that they stand in.

use std::{cmp::Reverse, collections::BinaryHeap};

use reseed_protocol::Time;
use turmoil_net::Packet;

/// A packet on its way.
pub(crate) struct InFlight {
    pub(crate) number: u64,
    pub(crate) packet: Packet,
    pub(crate) flow: u32,
    /// Its place in the flow.
    pub(crate) order: u64,
    /// Times that it was lost.
    pub(crate) attempts: u32,
    pub(crate) first_sent: Time,
    pub(crate) leg: Leg,
}

/// Where a packet goes next, at an exact time.
#[derive(Clone, Copy)]
pub(crate) enum Leg {
    /// Its sender, which sends it again.
    Origin,
    /// The sender's link.
    UpLink,
    /// The receiver's link.
    DownLink,
}

/// Packets by slot, so that the heaps move keys only.
#[derive(Default)]
pub(crate) struct Packets {
    slots: Vec<Option<InFlight>>,
    free: Vec<u32>,
}

impl Packets {
    pub(crate) fn insert(&mut self, packet: InFlight) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize] = Some(packet);
        slot
    }

    pub(crate) fn remove(&mut self, slot: u32) -> InFlight {
        self.free.push(slot);
        self.slots[slot as usize].take().expect("the slot holds a packet")
    }

    pub(crate) fn get(&self, slot: u32) -> &InFlight {
        self.slots[slot as usize].as_ref().expect("the slot holds a packet")
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> &mut InFlight {
        self.slots[slot as usize].as_mut().expect("the slot holds a packet")
    }

    pub(crate) fn holds(&self, slot: u32, number: u64) -> bool {
        self.slots[slot as usize].as_ref().is_some_and(|packet| packet.number == number)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Numbers and slots, in order of sending.
    pub(crate) fn find(&self, wanted: impl Fn(&InFlight) -> bool) -> Vec<(u64, u32)> {
        let packets = self.slots.iter().zip(0..);
        let mut found: Vec<(u64, u32)> = packets
            .filter_map(|(packet, slot)| packet.as_ref().map(|packet| (packet, slot)))
            .filter(|(packet, _)| wanted(packet))
            .map(|(packet, slot)| (packet.number, slot))
            .collect();
        found.sort();
        found
    }
}

/// Slots by time, then in order of insertion.
#[derive(Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<(Time, u64, u32, u64)>>,
    pushed: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, at: Time, slot: u32, number: u64) {
        self.pushed += 1;
        self.heap.push(Reverse((at, self.pushed, slot, number)));
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    pub(crate) fn pop_due(&mut self, now: Time) -> Option<(Time, u32, u64)> {
        self.next().filter(|at| *at <= now)?;
        self.heap.pop().map(|Reverse((at, _, slot, number))| (at, slot, number))
    }
}
