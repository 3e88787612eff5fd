//! Flows: the packets from one socket address to another, and their order.

use std::{
    collections::BTreeMap,
    hash::{BuildHasherDefault, Hash, Hasher},
    hint::black_box,
    net::{IpAddr, SocketAddr, SocketAddrV4},
};

use indexmap::IndexMap;
use turmoil_net::{Packet, Transport};

use crate::{HostId, segment::endpoints, stack::Id};

/// What the packets of a flow have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FlowKey {
    from: SocketAddr,
    to: SocketAddr,
    tcp: bool,
}

impl FlowKey {
    pub(crate) fn of(packet: &Packet) -> FlowKey {
        let (from, to) = endpoints(packet);
        FlowKey { from, to, tcp: matches!(packet.payload, Transport::Tcp(_)) }
    }

    /// The same in fewer bytes, if it is of IPv4.
    fn packed(&self) -> Option<Packed> {
        let (SocketAddr::V4(from), SocketAddr::V4(to)) = (self.from, self.to) else { return None };
        let pack = |it: SocketAddrV4| u64::from(it.ip().to_bits()) << 16 | u64::from(it.port());
        Some(Packed { from: pack(from) << 1 | u64::from(self.tcp), to: pack(to) })
    }
}

/// A [`FlowKey`] that is quick to compare: it is looked for with every packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Packed {
    from: u64,
    to: u64,
}

impl Hash for Packed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.from);
        state.write_u64(self.to);
    }
}

impl Hash for FlowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_address(&self.from, state);
        hash_address(&self.to, state);
    }
}

/// Fewer words than the derived hash takes in.
pub(crate) fn hash_address(address: &SocketAddr, state: &mut impl Hasher) {
    match address.ip() {
        IpAddr::V4(ip) => {
            state.write_u64(u64::from(ip.to_bits()) << 16 | u64::from(address.port()));
        }
        IpAddr::V6(ip) => {
            state.write_u64((ip.to_bits() >> 64) as u64);
            state.write_u64(ip.to_bits() as u64);
            state.write_u16(address.port());
        }
    }
}

/// All flows that have a packet on its way, and some that have none.
#[derive(Default)]
pub(crate) struct Flows {
    of_ipv4: IndexMap<Packed, u32, BuildHasherDefault<AddressHasher>>,
    others: IndexMap<FlowKey, u32, BuildHasherDefault<AddressHasher>>,
    /// By a socket's slot: the flow of what it sent last.
    by_sender: Vec<u32>,
    flows: Vec<Flow>,
    free: Vec<u32>,
    /// What arrived before its turn, by flow and place: a packet's slot, or `None` for one
    /// that will never come.
    early: BTreeMap<(u32, u64), Option<u32>>,
    /// By flow: the batch that the last packet was sent in and, if that was a pure
    /// acknowledgement, its index there.
    last: Vec<(u64, Option<usize>)>,
    /// How many may be indexed before the idle ones are dropped.
    sweep_at: usize,
    batch: u64,
}

/// A cache line: with many flows, each packet finds that of its own in no cache.
#[repr(align(64))]
struct Flow {
    /// Whose its packets are: a connection has one flow, until that is dropped because nothing
    /// of it is on its way. `None` as well if no connection was named.
    sender: Option<Id>,
    /// Whose the last packet was that arrived.
    receiver: Option<Id>,
    source: Option<HostId>,
    destination: Option<HostId>,
    /// Packets sent so far; the next one's place.
    sent: u64,
    /// The place whose turn it is at the receiver.
    next: u64,
}

const _: () = assert!(size_of::<Flow>() == 64);

impl Flows {
    /// The flow of `key`; `host_at` tells whose an address is.
    pub(crate) fn find(&mut self, key: FlowKey, host_at: impl Fn(IpAddr) -> Option<HostId>) -> u32 {
        let packed = key.packed();
        let known = match &packed {
            Some(packed) => self.of_ipv4.get(packed),
            None => self.others.get(&key),
        };
        if let Some(flow) = known {
            return *flow;
        }
        let flow = Flow {
            sender: None,
            receiver: None,
            source: host_at(key.from.ip()),
            destination: host_at(key.to.ip()),
            sent: 0,
            next: 0,
        };
        let id = self.free.pop().unwrap_or(self.flows.len() as u32);
        match self.flows.get_mut(id as usize) {
            Some(slot) => *slot = flow,
            None => self.flows.push(flow),
        }
        match packed {
            Some(packed) => self.of_ipv4.insert(packed, id),
            None => self.others.insert(key, id),
        };
        id
    }

    /// Looks at a flow that is needed soon.
    pub(crate) fn prefetch(&self, flow: u32) {
        black_box(self.flows[flow as usize].next);
    }

    /// The same for the flow of what a connection sent last.
    pub(crate) fn prefetch_of(&self, sender: Id) {
        if let Some(flow) = self.by_sender.get(sender.slot()) {
            self.prefetch(*flow);
        }
    }

    /// As [`Flows::find`], for what a connection sends; `key` is asked for only if it is not known.
    pub(crate) fn find_for(
        &mut self,
        sender: Id,
        key: impl FnOnce() -> FlowKey,
        host_at: impl Fn(IpAddr) -> Option<HostId>,
    ) -> u32 {
        let last = self.by_sender.get(sender.slot()).copied();
        let is_its =
            |flow: &u32| self.flows.get(*flow as usize).is_some_and(|it| it.sender == Some(sender));
        if let Some(flow) = last.filter(is_its) {
            return flow;
        }
        let flow = self.find(key(), host_at);
        self.flows[flow as usize].sender = Some(sender);
        if sender.slot() >= self.by_sender.len() {
            self.by_sender.resize(sender.slot() + 1, 0);
        }
        self.by_sender[sender.slot()] = flow;
        flow
    }

    /// The socket that had the last packet that arrived, if it is known.
    pub(crate) fn receiver(&self, flow: u32) -> Option<Id> {
        self.flows[flow as usize].receiver
    }

    pub(crate) fn set_receiver(&mut self, flow: u32, receiver: Option<Id>) {
        self.flows[flow as usize].receiver = receiver;
    }

    pub(crate) fn source(&self, flow: u32) -> Option<HostId> {
        self.flows[flow as usize].source
    }

    pub(crate) fn destination(&self, flow: u32) -> Option<HostId> {
        self.flows[flow as usize].destination
    }

    /// Packets sent from now on are sent together.
    pub(crate) fn begin_batch(&mut self) {
        self.sweep();
        self.batch += 1;
    }

    /// The flow's next packet in this batch is, or is not, a pure
    /// acknowledgement with the given index. Returns the index of the one before
    /// it, if that was one too.
    pub(crate) fn follow(&mut self, flow: u32, acknowledgement: Option<usize>) -> Option<usize> {
        if flow as usize >= self.last.len() {
            self.last.resize(flow as usize + 1, (0, None));
        }
        let last = &mut self.last[flow as usize];
        let (batch, previous) = *last;
        let merged = previous.filter(|_| acknowledgement.is_some() && batch == self.batch);
        *last = (self.batch, merged.or(acknowledgement));
        merged
    }

    /// The place of a packet that is sent now.
    pub(crate) fn send(&mut self, flow: u32) -> u64 {
        let flow = &mut self.flows[flow as usize];
        flow.sent += 1;
        flow.sent - 1
    }

    /// Place `order` is filled by the packet in `slot`, or will stay empty.
    /// Returns whether it was its turn.
    pub(crate) fn settle(&mut self, flow: u32, order: u64, slot: Option<u32>) -> bool {
        let next = &mut self.flows[flow as usize].next;
        let in_turn = order == *next;
        if in_turn {
            *next += 1;
        } else {
            self.early.insert((flow, order), slot);
        }
        in_turn
    }

    /// The place whose turn it is at the receiver.
    pub(crate) fn turn(&self, flow: u32) -> u64 {
        self.flows[flow as usize].next
    }

    /// Whether place `order` was filled before its turn.
    pub(crate) fn is_early(&self, flow: u32, order: u64) -> bool {
        self.early.contains_key(&(flow, order))
    }

    /// What fills the place whose turn it is, if it is filled.
    pub(crate) fn next_in_order(&mut self, flow: u32) -> Option<Option<u32>> {
        let next = &mut self.flows[flow as usize].next;
        let slot = self.early.remove(&(flow, *next))?;
        *next += 1;
        Some(slot)
    }

    /// A packet whose order does not matter is no longer on its way.
    pub(crate) fn settle_unordered(&mut self, flow: u32) {
        self.flows[flow as usize].next += 1;
    }

    /// Drops flows with nothing on its way: they start again at zero.
    fn sweep(&mut self) {
        if self.of_ipv4.len() + self.others.len() < self.sweep_at {
            return;
        }
        let (flows, free) = (&mut self.flows, &mut self.free);
        let mut is_busy = |id: u32| {
            let flow = &mut flows[id as usize];
            let busy = flow.sent != flow.next;
            if !busy {
                flow.sender = None;
                free.push(id);
            }
            busy
        };
        self.of_ipv4.retain(|_, id| is_busy(*id));
        self.others.retain(|_, id| is_busy(*id));
        self.sweep_at = (self.of_ipv4.len() + self.others.len()) * 2 + 1024;
    }
}

/// A quick hash for addresses, the same in every process. Nothing iterates in
/// its order.
#[derive(Default)]
pub(crate) struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u16(&mut self, value: u16) {
        self.write_u64(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(23) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }

    fn finish(&self) -> u64 {
        // The high bits are the well mixed ones, and the table uses both ends.
        self.0 ^ self.0 >> 32
    }
}
