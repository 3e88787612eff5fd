//! The network between hosts: packets on links, in order or late, and what
//! loss means to TCP.
//!
//! The stacks on top (`turmoil-net`) retransmit by counting passes and drop
//! what comes out of order, so neither is left to them. Here each TCP flow
//! numbers its segments and hands them to the receiver's stack in that order, as
//! a receiver's reassembly does: a segment that is late makes those behind it
//! wait, and a lost one is one that sets out again after a retransmission
//! time-out. Only UDP is ever really lost.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    rc::Rc,
    time::Duration,
};

use rand_chacha::ChaCha8Rng;
use reseed_protocol::Time;
use turmoil_net::{Packet, Transport};

use crate::{
    HostId,
    event::{Event, Loss, PacketSummary, Recorder},
    flow::{FlowKey, Flows},
    link::{HostLink, LinkState},
    packets::{Hop, InFlight, Leg, Packets, Queue},
    resends::Resends,
    segment::{
        endpoints, is_pure_acknowledgement, is_reset, reset, retransmission_timeout, socket_exists,
    },
    stack::{Id, Stacks},
};

/// What became of the packets so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WireStats {
    /// Packets that left a stack (count).
    pub sent: u64,
    /// Packets handed to a stack (count).
    pub delivered: u64,
    /// Pure acknowledgements that a later one of the same flow and instant made
    /// superfluous (count); not in `sent`.
    pub merged: u64,
    /// TCP segments lost, and sent again if their sender lives (count).
    pub lost: u64,
    /// Packets lost for want of room in a queue (count).
    pub overflowed: u64,
    /// Retransmissions (count).
    pub retransmitted: u64,
    /// Packets gone for good (count).
    pub discarded: u64,
}

/// What becomes of a packet that sets out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes on its way.
    Pass,
    /// It goes on its way this much later. TCP segments behind it wait for it
    /// at the receiver; datagrams overtake it.
    Delay(Duration),
    /// It is lost. A TCP segment sets out again after a retransmission time-out,
    /// and has its fate decided again.
    Lose,
    /// It arrives twice. To TCP that makes no difference.
    Duplicate,
}

/// Decides what the network does to packets beyond what links do: loss,
/// partitions, and worse.
pub trait Impairment {
    /// The fate of `packet`, which leaves `from` for `to` at `now`; `to` is
    /// `None` if nobody has that address. Asked again for each retransmission.
    fn fate(&mut self, now: Time, packet: &PacketSummary, from: HostId, to: Option<HostId>)
    -> Fate;

    /// A packet found no room in the queue of the link of host `at`, and is lost.
    fn overflowed(&mut self, _at: HostId) {}
}

pub(crate) struct Wire {
    hosts: Vec<Host>,
    addresses: BTreeMap<IpAddr, HostId>,
    flows: Flows,
    packets: Packets,
    /// Kept for its allocation.
    batch: Vec<(u32, Packet)>,
    /// What reaches a link, at its exact time.
    moving: Queue,
    /// What was lost, and is sent again.
    resends: Resends,
    /// What reaches its destination's stack.
    arriving: Queue,
    /// Kept for its allocation.
    due: Vec<Hop>,
    /// Packets that may be handed over now.
    released: VecDeque<Released>,
    rng: ChaCha8Rng,
    timeouts: Timeouts,
    pub(crate) impairment: Option<Box<dyn Impairment>>,
    pub(crate) stats: WireStats,
    pub(crate) recorder: Option<Rc<dyn Recorder>>,
    /// The stacks, where they are our own.
    native: Option<Rc<RefCell<Stacks>>>,
}

/// A packet that may be handed over.
pub(crate) struct Released {
    pub(crate) slot: u32,
    pub(crate) host: HostId,
    /// `None` if it is a time-out's.
    pub(crate) flow: Option<u32>,
}

/// When TCP gives up on a segment that never gets through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) established: Duration,
}

impl Wire {
    pub(crate) fn new(
        rng: ChaCha8Rng,
        timeouts: Timeouts,
        native: Option<Rc<RefCell<Stacks>>>,
    ) -> Wire {
        Wire {
            hosts: Vec::new(),
            addresses: BTreeMap::new(),
            flows: Flows::default(),
            packets: Packets::default(),
            batch: Vec::new(),
            moving: Queue::default(),
            resends: Resends::default(),
            arriving: Queue::default(),
            due: Vec::new(),
            released: VecDeque::new(),
            rng,
            timeouts,
            impairment: None,
            stats: WireStats::default(),
            recorder: None,
            native,
        }
    }

    pub(crate) fn add_host(&mut self, addresses: &[IpAddr], link: HostLink) {
        let id = HostId(self.hosts.len() as u32);
        self.addresses.extend(addresses.iter().map(|address| (*address, id)));
        self.hosts.push(Host {
            up: LinkState::new(link.up),
            down: LinkState::new(link.down),
            reachable: true,
        });
    }

    /// From now on; what is on its way is not touched.
    pub(crate) fn set_link(&mut self, host: HostId, link: HostLink) {
        let host = &mut self.hosts[host.index()];
        host.up.link = link.up;
        host.down.link = link.down;
    }

    pub(crate) fn link(&self, host: HostId) -> HostLink {
        let host = &self.hosts[host.index()];
        HostLink { up: host.up.link, down: host.down.link }
    }

    pub(crate) fn set_reachable(&mut self, host: HostId, reachable: bool) {
        self.hosts[host.index()].reachable = reachable;
    }

    pub(crate) fn host_at(&self, address: IpAddr) -> Option<HostId> {
        self.addresses.get(&address).copied()
    }

    /// Takes what our own stacks have sent at one moment, in their order, and the
    /// connections that it is of. They say once what there is to acknowledge.
    pub(crate) fn send_native(&mut self, now: Time, packets: &mut Vec<(Packet, Option<Id>)>) {
        self.flows.begin_batch();
        let senders = packets.iter().filter_map(|(_, sender)| *sender);
        senders.for_each(|sender| self.flows.prefetch_of(sender));
        for (packet, sender) in packets.drain(..) {
            let addresses = &self.addresses;
            let host_at = |address| addresses.get(&address).copied();
            let key = || FlowKey::of(&packet);
            let flow = match sender {
                Some(sender) => self.flows.find_for(sender, key, host_at),
                None => self.flows.find(key(), host_at),
            };
            self.take(now, flow, packet);
        }
    }

    /// Takes what the stacks have sent at one moment, in their order.
    pub(crate) fn send(&mut self, now: Time, packets: &mut Vec<Packet>) {
        let mut batch = std::mem::take(&mut self.batch);
        self.merge_acknowledgements(packets, &mut batch);
        for (flow, packet) in batch.drain(..) {
            self.take(now, flow, packet);
        }
        self.batch = batch;
    }

    /// When a packet is handed over next, given that deliveries happen at multiples of
    /// `grid`.
    pub(crate) fn next_arrival(&self, now: Time, grid: Duration) -> Option<Time> {
        if !self.released.is_empty() {
            return Some(now);
        }
        self.arriving.next().map(|at| round_up(at, grid).max(now))
    }

    /// When a packet reaches a link next.
    pub(crate) fn next_move(&self) -> Option<Time> {
        let next = [self.moving.next(), self.resends.next()];
        next.into_iter().flatten().min()
    }

    /// Whether there is a packet that may be handed over now.
    pub(crate) fn has_released(&self) -> bool {
        !self.released.is_empty()
    }

    /// Takes packets to the links that they reach by `now`.
    pub(crate) fn move_on(&mut self, now: Time) {
        loop {
            let until = self.resends.next().map_or(now, |at| at.min(now));
            self.move_those_on_links(until);
            let Some((at, slot)) = self.resends.pop_due(until) else { return };
            self.set_out_again(at, slot);
        }
    }

    fn move_those_on_links(&mut self, now: Time) {
        while let Some((at, hop, leg)) = self.moving.pop_due(now) {
            if self.packets.is_there(&hop) {
                match leg {
                    Leg::UpLink => self.reach_up_link(at, hop, self.packets.get(hop.slot).flow),
                    Leg::DownLink(host) => self.reach_down_link(at, hop, host),
                    Leg::End => unreachable!("it is in the other queue"),
                }
            }
        }
    }

    /// Moves packets on to `now`.
    pub(crate) fn advance(&mut self, now: Time, grid: Duration) {
        self.move_on(now);
        if round_up(now, grid) == now {
            let mut due = std::mem::take(&mut self.due);
            while let Some((_, hop, _)) = self.arriving.pop_due(now) {
                due.push(hop);
            }
            self.prefetch(&due);
            for hop in due.drain(..) {
                if self.packets.is_there(&hop) {
                    self.arrive(now, hop.slot);
                }
            }
            self.due = due;
        }
    }

    /// Takes into the caches what packets will need that arrive now, all of it at once: most
    /// was put down long ago, and looking at one after the other would wait for each.
    fn prefetch(&self, due: &[Hop]) {
        for hop in due {
            self.packets.prefetch(hop.slot);
        }
        let flows = || due.iter().filter_map(|hop| self.packets.flow(hop.slot));
        flows().for_each(|flow| self.flows.prefetch(flow));
        if let Some(stacks) = &self.native {
            let stacks = stacks.borrow();
            flows()
                .filter_map(|flow| self.flows.receiver(flow))
                .for_each(|receiver| stacks.prefetch(receiver));
        }
    }

    /// The next packet to hand to its destination's stack, which is up.
    pub(crate) fn pop_released(&mut self, now: Time) -> Option<(PacketSummary, Released)> {
        loop {
            let released = self.released.pop_front()?;
            let InFlight { number, packet, .. } = self.packets.get(released.slot);
            let summary = PacketSummary::new(*number, packet);
            if self.hosts[released.host.index()].reachable {
                self.stats.delivered += 1;
                self.record(now, &Event::Delivered(summary));
                return Some((summary, released));
            }
            self.packets.forget(released.slot);
            self.count_discarded(now, summary, Loss::Unreachable);
        }
    }

    /// A packet that is handed over.
    pub(crate) fn packet(&self, slot: u32) -> &Packet {
        &self.packets.get(slot).packet
    }

    /// The same, of who keeps it.
    pub(crate) fn take_packet(&mut self, slot: u32) -> Packet {
        self.packets.remove(slot).packet
    }

    /// It was handed over to who has looked at it.
    pub(crate) fn forget_packet(&mut self, slot: u32) {
        self.packets.forget(slot);
    }

    /// The socket that had the last packet of the same flow as one that may be handed over.
    pub(crate) fn receiver(&self, flow: Option<u32>) -> Option<Id> {
        self.flows.receiver(flow?)
    }

    pub(crate) fn set_receiver(&mut self, flow: Option<u32>, receiver: Option<Id>) {
        if let Some(flow) = flow {
            self.flows.set_receiver(flow, receiver);
        }
    }

    /// Packets on their way or waiting to be sent again (count).
    pub(crate) fn in_flight(&self) -> usize {
        self.packets.len()
    }

    /// `host` lost its memory: it retransmits nothing any more.
    pub(crate) fn forget_sender(&mut self, now: Time, host: HostId) {
        let lost = self
            .packets
            .find(|packet| packet.attempts > 0 && self.flows.source(packet.flow) == Some(host));
        for (number, slot) in lost {
            // Another may have waited for one of these, having arrived.
            if self.packets.was_lost(slot, number) {
                let InFlight { flow, order, .. } = *self.packets.get(slot);
                let waits = self.resends.remove(flow, order);
                if !waits && !self.flows.is_early(flow, order) {
                    self.packets.miss(slot);
                }
                self.discard(now, slot, Loss::SenderGone);
            }
        }
    }

    /// The stacks acknowledge each segment. Of acknowledgements that would leave
    /// and arrive together, one after the other, only the last is sent.
    fn merge_acknowledgements(
        &mut self,
        packets: &mut Vec<Packet>,
        batch: &mut Vec<(u32, Packet)>,
    ) {
        self.flows.begin_batch();
        for packet in packets.drain(..) {
            let addresses = &self.addresses;
            let key = FlowKey::of(&packet);
            let flow = self.flows.find(key, |address| addresses.get(&address).copied());
            let acknowledgement = is_pure_acknowledgement(&packet).then_some(batch.len());
            match self.flows.follow(flow, acknowledgement) {
                Some(previous) => {
                    self.stats.merged += 1;
                    batch[previous].1 = packet;
                }
                None => batch.push((flow, packet)),
            }
        }
    }

    /// Takes a packet that a stack has sent. It is put down after all that looks at it: the
    /// place for it is in no cache.
    fn take(&mut self, now: Time, flow: u32, packet: Packet) {
        let packet = self.number(now, flow, packet);
        self.show(now, &packet);
        let fate = fate(&mut self.impairment, &self.flows, now, &packet);
        let is_twice =
            fate == Fate::Duplicate && matches!(packet.packet.payload, Transport::Udp(_));
        let copy = is_twice.then(|| packet.packet.clone());
        let hop = self.packets.insert(packet);
        if let Some(copy) = copy {
            let copy = self.number(now, flow, copy);
            self.show(now, &copy);
            let hop = self.packets.insert(copy);
            self.reach_up_link(now, hop, flow);
        }
        self.set_out(now, hop, flow, fate);
    }

    fn number(&mut self, now: Time, flow: u32, packet: Packet) -> InFlight {
        self.stats.sent += 1;
        let number = self.stats.sent;
        if self.recorder.is_some() {
            self.record(now, &Event::Sent(PacketSummary::new(number, &packet)));
        }
        InFlight::new(number, packet, flow, self.flows.send(flow), now)
    }

    fn set_out(&mut self, now: Time, hop: Hop, flow: u32, fate: Fate) {
        match fate {
            Fate::Pass | Fate::Duplicate => self.reach_up_link(now, hop, flow),
            Fate::Delay(delay) => self.schedule(now + delay, hop, Leg::UpLink, flow),
            Fate::Lose => self.lose(now, hop.slot, Loss::Impaired),
        }
    }

    fn reach_up_link(&mut self, now: Time, hop: Hop, flow: u32) {
        let size = u64::from(hop.size);
        let source = self.flows.source(flow).expect("a stack that sends has a host");
        let Some(at) = self.hosts[source.index()].up.accept(now, size, &mut self.rng) else {
            return self.overflow(now, hop.slot, source);
        };
        let destination = self.flows.destination(flow);
        match destination {
            Some(host) if self.hosts[host.index()].down.link.bandwidth.is_none() => {
                // Nothing can wait there, so its order of arrival does not matter.
                let at = self.hosts[host.index()].down.accept(at, size, &mut self.rng);
                let at = at.expect("a link without bandwidth has no queue");
                self.schedule_arrival(at, hop, destination);
            }
            Some(host) => self.moving.push(at, hop, Leg::DownLink(host), source.index()),
            None => self.schedule_arrival(at, hop, None),
        }
    }

    fn set_out_again(&mut self, now: Time, slot: u32) {
        let packet = self.packets.get(slot);
        let (from, to) = endpoints(&packet.packet);
        // A stack retransmits for as long as it has the socket. Resets come from
        // sockets that are gone already; so may the last acknowledgement, which TCP would
        // give again in TIME-WAIT (RFC 9293 §3.6.1).
        let outlives_socket = is_reset(&packet.packet) || is_pure_acknowledgement(&packet.packet);
        let exists = |host| match &self.native {
            Some(stacks) => stacks.borrow().exists(host, from, to),
            None => socket_exists(from, to),
        };
        if !outlives_socket && !self.flows.source(packet.flow).is_some_and(exists) {
            return self.discard(now, slot, Loss::SenderGone);
        }
        self.stats.retransmitted += 1;
        self.show(now, packet);
        let (flow, fate) = (packet.flow, fate(&mut self.impairment, &self.flows, now, packet));
        self.set_out(now, self.packets.hop(slot), flow, fate);
    }

    fn reach_down_link(&mut self, now: Time, hop: Hop, host: HostId) {
        match self.hosts[host.index()].down.accept(now, hop.size.into(), &mut self.rng) {
            Some(at) => self.schedule_arrival(at, hop, Some(host)),
            None => self.overflow(now, hop.slot, host),
        }
    }

    fn overflow(&mut self, now: Time, slot: u32, at: HostId) {
        if let Some(impairment) = &mut self.impairment {
            impairment.overflowed(at);
        }
        self.lose(now, slot, Loss::QueueFull);
    }

    fn schedule(&mut self, at: Time, hop: Hop, leg: Leg, flow: u32) {
        // A link's packets leave it in order.
        let lane = self.flows.source(flow).map_or(0, HostId::index);
        self.moving.push(at, hop, leg, lane);
    }

    fn schedule_arrival(&mut self, at: Time, hop: Hop, host: Option<HostId>) {
        self.arriving.push(at, hop, Leg::End, host.map_or(0, HostId::index));
    }

    fn arrive(&mut self, now: Time, slot: u32) {
        let InFlight { flow, order, ref packet, .. } = *self.packets.get(slot);
        let reachable =
            self.flows.destination(flow).is_some_and(|host| self.hosts[host.index()].reachable);
        if !reachable {
            return self.lose(now, slot, Loss::Unreachable);
        }
        match packet.payload {
            Transport::Udp(_) => {
                self.flows.settle_unordered(flow);
                self.release(slot);
            }
            Transport::Tcp(_) => {
                if self.packets.get(slot).attempts > 0 {
                    self.hasten(now, flow);
                }
                self.settle(flow, order, Some(slot));
            }
        }
    }

    /// What was lost has come through: as soon as its sender hears so it sends what else was
    /// lost. RFC 5681 §3.1, but for the time that it takes until so much is on its way.
    fn hasten(&mut self, now: Time, flow: u32) {
        let (source, destination) = (self.flows.source(flow), self.flows.destination(flow));
        let (source, destination) = source.zip(destination).expect("it came from one to the other");
        let up = self.hosts[destination.index()].up.link.latency;
        self.resends.hasten(flow, now + up + self.hosts[source.index()].down.link.latency);
    }

    /// Segment `order` of `flow` is here, or will never be; releases it and what
    /// waited for it.
    fn settle(&mut self, flow: u32, order: u64, slot: Option<u32>) {
        if !self.flows.settle(flow, order, slot) {
            return;
        }
        if let Some(slot) = slot {
            self.release(slot);
        }
        while let Some(slot) = self.flows.next_in_order(flow) {
            if let Some(slot) = slot {
                self.release(slot);
            }
        }
    }

    fn release(&mut self, slot: u32) {
        let packet = self.packets.get_mut(slot);
        // It has arrived, whatever becomes of its sender.
        packet.attempts = 0;
        let flow = packet.flow;
        let host = self.flows.destination(flow).expect("it arrived somewhere");
        self.released.push_back(Released { slot, host, flow: Some(flow) });
    }

    fn lose(&mut self, now: Time, slot: u32, cause: Loss) {
        self.stats.overflowed += u64::from(cause == Loss::QueueFull);
        let timeouts = self.timeouts;
        let packet = self.packets.get_mut(slot);
        let Transport::Tcp(segment) = &packet.packet.payload else {
            return self.discard(now, slot, cause);
        };
        // Nobody retransmits a reset. Yet one that is lost for good would leave
        // the stack that it was for waiting for ever if it never sends itself,
        // so only one that has nowhere to go is.
        if segment.flags.rst && cause == Loss::Unreachable {
            return self.discard(now, slot, cause);
        }
        let connecting = segment.flags.syn && !segment.flags.ack;
        let patience = if connecting { timeouts.connect } else { timeouts.established };
        if now.since(packet.first_sent) >= patience {
            return self.give_up(now, slot);
        }
        let heard = !segment.flags.syn && cause != Loss::Unreachable;
        let (flow, order) = (packet.flow, packet.order);
        let until = now + retransmission_timeout(heard, packet.lose(self.flows.turn(flow)));
        let summary = PacketSummary::new(packet.number, &packet.packet);
        self.stats.lost += 1;
        self.resends.insert(until, flow, order, slot);
        self.record(now, &Event::Late { packet: summary, cause, until });
    }

    /// The sender's TCP reports a time-out. The stacks have none, so a reset
    /// stands for it.
    fn give_up(&mut self, now: Time, slot: u32) {
        let InFlight { flow, packet, number, order, .. } = self.packets.get(slot);
        let reset = reset(endpoints(packet).1, endpoints(packet).0);
        let reset = InFlight::new(*number, reset, *flow, *order, now);
        let host = self.flows.source(*flow).expect("a stack that sends has a host");
        self.discard(now, slot, Loss::TimedOut);
        let Hop { slot, .. } = self.packets.insert(reset);
        self.released.push_back(Released { slot, host, flow: None });
    }

    fn discard(&mut self, now: Time, slot: u32, cause: Loss) {
        let InFlight { number, packet, flow, order, .. } = self.packets.remove(slot);
        self.count_discarded(now, PacketSummary::new(number, &packet), cause);
        match packet.payload {
            Transport::Udp(_) => self.flows.settle_unordered(flow),
            Transport::Tcp(_) => self.settle(flow, order, None),
        }
    }

    fn count_discarded(&mut self, now: Time, packet: PacketSummary, cause: Loss) {
        self.stats.discarded += 1;
        self.record(now, &Event::Discarded { packet, cause });
    }

    fn show(&self, now: Time, packet: &InFlight) {
        if let Some(recorder) = &self.recorder {
            let InFlight { number, packet, attempts, .. } = packet;
            recorder.sets_out(now, *number, *attempts > 0, packet);
        }
    }

    fn record(&self, now: Time, event: &Event<'_>) {
        if let Some(recorder) = &self.recorder {
            recorder.record(now, event);
        }
    }
}

/// What becomes of `packet`, which sets out now.
fn fate(
    impairment: &mut Option<Box<dyn Impairment>>,
    flows: &Flows,
    now: Time,
    packet: &InFlight,
) -> Fate {
    let Some(impairment) = impairment else {
        return Fate::Pass;
    };
    let InFlight { number, packet, flow, .. } = packet;
    let source = flows.source(*flow).expect("a stack that sends has a host");
    let summary = PacketSummary::new(*number, packet);
    impairment.fate(now, &summary, source, flows.destination(*flow))
}

struct Host {
    up: LinkState,
    down: LinkState,
    /// Whether its stack answers.
    reachable: bool,
}

fn round_up(at: Time, grid: Duration) -> Time {
    if grid.is_zero() {
        return at;
    }
    let grid = u64::try_from(grid.as_nanos()).unwrap_or(u64::MAX);
    Time::from_nanos(at.as_nanos().div_ceil(grid).saturating_mul(grid))
}
