//! Packets on their way, and the queues that they stand in.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque, binary_heap::PeekMut},
    hint::black_box,
};

use reseed_protocol::Time;
use turmoil_net::Packet;

use crate::{HostId, segment::wire_size};

/// A packet on its way. Two cache lines: with many of them each is found in no cache.
#[repr(align(64))]
pub(crate) struct InFlight {
    pub(crate) number: u64,
    pub(crate) packet: Packet,
    pub(crate) flow: u32,
    /// Its place in the flow.
    pub(crate) order: u64,
    /// Times that it was lost, since something of its flow came through last.
    pub(crate) attempts: u16,
    /// Whose turn it was in the flow when it was lost last, as far as it fits.
    turn: u16,
    pub(crate) first_sent: Time,
}

const _: () = assert!(size_of::<Option<InFlight>>() == 128);

impl InFlight {
    /// A packet that is sent now, and was never lost.
    pub(crate) fn new(
        number: u64,
        packet: Packet,
        flow: u32,
        order: u64,
        first_sent: Time,
    ) -> InFlight {
        InFlight { number, packet, flow, order, attempts: 0, turn: 0, first_sent }
    }

    /// It is lost, while it is the turn of place `turn` in its flow. Returns how often it was
    /// before (count) without anything of the flow coming through.
    pub(crate) fn lose(&mut self, turn: u64) -> u32 {
        let before = if self.turn == turn as u16 { self.attempts } else { 0 };
        (self.attempts, self.turn) = (before.saturating_add(1), turn as u16);
        before.into()
    }
}

/// What has to be known of a packet to take it along. It goes through the queues in place
/// of the packet: with many packets on their way, it is looking them up that takes the
/// time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) slot: u32,
    /// Bytes on the wire.
    pub(crate) size: u32,
}

/// Where a packet goes next, at an exact time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leg {
    /// The sender's link.
    UpLink,
    /// The link of its receiver.
    DownLink(HostId),
    /// Its receiver, if there is one.
    End,
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
    pub(crate) fn insert(&mut self, packet: InFlight) -> Hop {
        let size = wire_size(&packet.packet) as u32;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        // Not to look at what is there: that is nothing, and in no cache any more.
        std::mem::forget(self.slots[slot as usize].replace(packet));
        Hop { slot, size }
    }

    pub(crate) fn remove(&mut self, slot: u32) -> InFlight {
        self.give_back(slot);
        self.slots[slot as usize].take().expect("the slot holds a packet")
    }

    /// As [`Packets::remove`], of which nobody wants the packet.
    pub(crate) fn forget(&mut self, slot: u32) {
        self.give_back(slot);
        self.slots[slot as usize] = None;
    }

    fn give_back(&mut self, slot: u32) {
        if !self.gone.contains(&slot) {
            self.free.push(slot);
        }
    }

    pub(crate) fn get(&self, slot: u32) -> &InFlight {
        self.slots[slot as usize].as_ref().expect("the slot holds a packet")
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> &mut InFlight {
        self.slots[slot as usize].as_mut().expect("the slot holds a packet")
    }

    /// Whether the packet of this number is in `slot`, and was lost.
    pub(crate) fn was_lost(&self, slot: u32, number: u64) -> bool {
        let packet = self.slots[slot as usize].as_ref();
        packet.is_some_and(|packet| packet.number == number && packet.attempts > 0)
    }

    pub(crate) fn hop(&self, slot: u32) -> Hop {
        Hop { slot, size: wire_size(&self.get(slot).packet) as u32 }
    }

    /// The flow of a packet, if it is there still.
    pub(crate) fn flow(&self, slot: u32) -> Option<u32> {
        self.slots[slot as usize].as_ref().map(|packet| packet.flow)
    }

    /// Looks at both cache lines of a packet that is needed soon.
    pub(crate) fn prefetch(&self, slot: u32) {
        let packet = self.slots[slot as usize].as_ref();
        black_box(packet.map(|it| (it.number, it.flow)));
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
    /// The turn of the first of each lane that is not empty, as one number: it is compared
    /// with others all the time.
    turns: BinaryHeap<Reverse<u128>>,
    lanes: Vec<Lane>,
    /// What overtakes others of its lane.
    overtaking: BTreeMap<u128, (Hop, Leg)>,
    pushed: u64,
}

#[derive(Default)]
struct Lane {
    queue: VecDeque<Queued>,
    /// When the last of them is due.
    last: u64,
}

#[derive(Clone, Copy)]
struct Queued {
    /// Nanoseconds since the epoch.
    at: u64,
    pushed: u64,
    hop: Hop,
    leg: Leg,
}

/// Bits of a turn that tell the lane, and those that tell how many were pushed before.
const LANE_BITS: u32 = 24;
const PUSHED_BITS: u32 = 40;

impl Queued {
    /// By time, then by order; the lane is told along.
    fn turn(&self, lane: usize) -> u128 {
        let order = self.pushed << LANE_BITS | lane as u64;
        u128::from(self.at) << u64::BITS | u128::from(order)
    }
}

fn time_of(turn: u128) -> u64 {
    (turn >> u64::BITS) as u64
}

fn lane_of(turn: u128) -> usize {
    (turn & ((1 << LANE_BITS) - 1)) as usize
}

impl Queue {
    /// `lane` is a link's number; what is pushed on it comes in order for the most part.
    pub(crate) fn push(&mut self, at: Time, hop: Hop, leg: Leg, lane: usize) {
        self.pushed += 1;
        assert!(lane < 1 << LANE_BITS && self.pushed < 1 << PUSHED_BITS, "a turn has no room");
        let queued = Queued { at: at.as_nanos(), pushed: self.pushed, hop, leg };
        if lane >= self.lanes.len() {
            self.lanes.resize_with(lane + 1, Lane::default);
        }
        let turn = queued.turn(lane);
        let Lane { queue, last } = &mut self.lanes[lane];
        if queue.is_empty() {
            self.turns.push(Reverse(turn));
        } else if queued.at < *last {
            self.overtaking.insert(turn, (hop, leg));
            return;
        }
        *last = queued.at;
        queue.push_back(queued);
    }

    pub(crate) fn next(&self) -> Option<Time> {
        let first = self.turns.peek().map(|Reverse(turn)| *turn);
        let overtaking = self.overtaking.first_key_value().map(|(turn, _)| *turn);
        let next = match (first, overtaking) {
            (Some(first), Some(overtaking)) => first.min(overtaking),
            (first, overtaking) => first.or(overtaking)?,
        };
        Some(Time::from_nanos(time_of(next)))
    }

    pub(crate) fn pop_due(&mut self, now: Time) -> Option<(Time, Hop, Leg)> {
        let first = self.turns.peek().map(|Reverse(turn)| *turn);
        if let Some(overtaking) = self.overtaking.first_entry()
            && first.is_none_or(|first| *overtaking.key() < first)
        {
            let at = time_of(*overtaking.key());
            return (at <= now.as_nanos()).then(|| {
                let (hop, leg) = overtaking.remove();
                (Time::from_nanos(at), hop, leg)
            });
        }
        let mut first = self.turns.peek_mut()?;
        let turn = first.0;
        if time_of(turn) > now.as_nanos() {
            return None;
        }
        let Lane { queue, .. } = &mut self.lanes[lane_of(turn)];
        let Queued { at, hop, leg, .. } = queue.pop_front().expect("it has a turn");
        match queue.front() {
            Some(next) => *first = Reverse(next.turn(lane_of(turn))),
            None => _ = PeekMut::pop(first),
        }
        Some((Time::from_nanos(at), hop, leg))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    proptest! {
        #[test]
        fn all_come_out_by_time_and_then_as_they_were_pushed(
            pushes in prop::collection::vec((0..50u64, 0..4usize, any::<bool>()), 1..200),
        ) {
            let hop = |number: u64| Hop { slot: number as u32, size: 0 };
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
