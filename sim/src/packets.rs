//! Packets on their way, and the queues that they stand in.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeSet, BinaryHeap, VecDeque, binary_heap::PeekMut},
    time::Duration,
};

use reseed_protocol::Time;
use turmoil_net::Packet;

use crate::segment::wire_size;

/// A packet on its way.
pub(crate) struct InFlight {
    pub(crate) number: u64,
    pub(crate) packet: Packet,
    pub(crate) flow: u32,
    /// Bytes on the wire.
    size: u32,
    /// Its place in the flow.
    pub(crate) order: u64,
    /// Times that it was lost.
    pub(crate) attempts: u32,
    pub(crate) first_sent: Time,
}

impl InFlight {
    /// A packet that is sent now, and was never lost.
    pub(crate) fn new(
        number: u64,
        packet: Packet,
        flow: u32,
        order: u64,
        first_sent: Time,
    ) -> InFlight {
        let size = wire_size(&packet) as u32;
        InFlight { number, packet, flow, size, order, attempts: 0, first_sent }
    }
}

/// What has to be known of a packet to take it along. It goes through the queues in place
/// of the packet: with many packets on their way, it is looking them up that takes the
/// time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) slot: u32,
    pub(crate) flow: u32,
    /// Bytes on the wire.
    pub(crate) size: u32,
}

/// Where a packet goes next, at an exact time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Slots of packets that are gone, and that a queue will still tell of.
    gone: BTreeSet<u32>,
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
        if !self.gone.contains(&slot) {
            self.free.push(slot);
        }
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

    pub(crate) fn hop(&self, slot: u32) -> Hop {
        let InFlight { flow, size, .. } = *self.get(slot);
        Hop { slot, flow, size }
    }

    /// The packet in `slot` is about to be removed, and a queue will still tell of it: until
    /// then no other is put there.
    pub(crate) fn miss(&mut self, slot: u32) {
        self.gone.insert(slot);
    }

    /// Whether what a queue tells of is there still; it tells of it once.
    pub(crate) fn is_there(&mut self, hop: &Hop) -> bool {
        let is_gone = !self.gone.is_empty() && self.gone.remove(&hop.slot);
        if is_gone {
            self.free.push(hop.slot);
        }
        !is_gone
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len() - self.gone.len()
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
///
/// What a link lets through comes out in order, so each link has a lane, and only the
/// first of each lane has to be put in order among the others.
#[derive(Default)]
pub(crate) struct Queue {
    /// The first of each lane that is not empty, and what overtakes others of its lane.
    first: BinaryHeap<Reverse<Queued>>,
    /// What waits behind the first, and the time of the last.
    lanes: Vec<Lane>,
    pushed: u64,
}

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Queued>,
    /// Whether one of it is in the heap, whose turn is before those that wait.
    has_first: bool,
    last: u64,
}

#[derive(Clone, Copy)]
struct Queued {
    /// Nanoseconds since the epoch.
    at: u64,
    pushed: u64,
    hop: Hop,
    lane: u32,
    leg: Leg,
    /// Whether it overtakes others of its lane.
    overtakes: bool,
}

impl Queued {
    fn order(&self) -> (u64, u64) {
        (self.at, self.pushed)
    }
}

impl PartialEq for Queued {
    fn eq(&self, other: &Queued) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Queued) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Queued) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl Queue {
    /// `lane` is a link's number; what is pushed on it comes in order for the most part.
    pub(crate) fn push(&mut self, at: Time, hop: Hop, leg: Leg, lane: usize) {
        self.pushed += 1;
        let (pushed, at) = (self.pushed, nanos(at));
        let mut queued = Queued { at, pushed, hop, leg, lane: lane as u32, overtakes: false };
        if lane >= self.lanes.len() {
            self.lanes.resize_with(lane + 1, Lane::default);
        }
        let lane = &mut self.lanes[lane];
        if !lane.has_first {
            lane.has_first = true;
        } else if queued.at >= lane.last {
            lane.last = queued.at;
            return lane.waiting.push_back(queued);
        } else {
            queued.overtakes = true;
            return self.first.push(Reverse(queued));
        }
        lane.last = queued.at;
        self.first.push(Reverse(queued));
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.first.peek().map(|Reverse(first)| time(first.at))
    }

    pub(crate) fn pop_due(&mut self, now: Time) -> Option<(Time, Hop, Leg)> {
        let mut first = self.first.peek_mut()?;
        let Queued { at, hop, leg, lane, overtakes, .. } = first.0;
        if at > nanos(now) {
            return None;
        }
        let next = if overtakes {
            None
        } else {
            let lane = &mut self.lanes[lane as usize];
            let next = lane.waiting.pop_front();
            lane.has_first = next.is_some();
            next
        };
        match next {
            Some(next) => *first = Reverse(next),
            None => _ = PeekMut::pop(first),
        }
        Some((time(at), hop, leg))
    }
}

/// Times that do not fit are centuries away.
fn nanos(at: Time) -> u64 {
    at.since_epoch().as_nanos().try_into().unwrap_or(u64::MAX)
}

fn time(nanos: u64) -> Time {
    Time::from_epoch(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_come_out_by_time_and_then_as_they_were_pushed(
            pushes in prop::collection::vec((0..50u64, 0..4usize, any::<bool>()), 1..200),
        ) {
            let hop = |number: u64| Hop { slot: number as u32, flow: 0, size: 0 };
            let popped = |(at, number)| Some((time(at), hop(number), Leg::UpLink));
            let mut queue = Queue::default();
            let mut left: Vec<(u64, u64)> = Vec::new();
            for ((at, lane, pop), number) in pushes.into_iter().zip(0..) {
                queue.push(time(at), hop(number), Leg::UpLink, lane);
                left.push((at, number));
                left.sort();
                prop_assert_eq!(queue.next(), Some(time(left[0].0)));
                if pop {
                    prop_assert!(left[0].0 == 0 || queue.pop_due(time(left[0].0 - 1)).is_none());
                    prop_assert_eq!(queue.pop_due(time(60)), popped(left.remove(0)));
                }
            }
            for next in left {
                prop_assert_eq!(queue.pop_due(time(60)), popped(next));
            }
            prop_assert_eq!(queue.next(), None);
        }
    }
}
