//! A run's packets, kept for others' tools to look at.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    net::IpAddr,
};

use reseed_protocol::Time;
use turmoil_net::Packet;

use crate::{Loss, event::Event, plan::Plan};

mod pcapng;

/// Every packet that set out between hosts, each at the time and place of its
/// sending, with what became of it; and what happened meanwhile.
///
/// What two peers on one host tell each other never leaves its stack, and is not here.
pub struct Capture {
    /// Whose address is whose.
    hosts: Vec<(IpAddr, String)>,
    packets: Vec<Captured>,
    /// The last time that each packet that is on its way set out.
    under_way: BTreeMap<u64, usize>,
    notes: Vec<(Time, String)>,
}

/// A packet that set out.
struct Captured {
    at: Time,
    packet: Packet,
    /// Whether it had set out before, and was lost.
    again: bool,
    lost: Option<Lost>,
}

/// How a packet did not get through.
struct Lost {
    at: Time,
    cause: Loss,
    /// When it sets out again; `None` if never.
    until: Option<Time>,
}

impl Capture {
    /// A capture of a run of `plan`.
    pub(crate) fn of(plan: &Plan) -> Capture {
        let peers = plan.peers.iter().map(|peer| (peer.address, peer.name.clone()));
        let tracker = plan.tracker.iter().map(|it| (it.address, "tracker".to_owned()));
        Capture::new(peers.chain(tracker))
    }

    /// A capture among these; several may have one address.
    fn new(named: impl IntoIterator<Item = (IpAddr, String)>) -> Capture {
        let mut names: BTreeMap<IpAddr, Vec<String>> = BTreeMap::new();
        for (address, name) in named {
            names.entry(address).or_default().push(name);
        }
        let hosts = names.into_iter().map(|(address, names)| (address, names.join(", ")));
        Capture {
            hosts: hosts.collect(),
            packets: Vec::new(),
            under_way: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    /// Packets that set out (count), each as often as it did.
    pub fn packets(&self) -> usize {
        self.packets.len()
    }

    /// Those of them that did not get through (count).
    pub fn lost(&self) -> usize {
        self.packets.iter().filter(|packet| packet.lost.is_some()).count()
    }

    /// Writes it as pcapng: an interface a host, link type raw IP, times as the hosts'
    /// clocks show them. `comments` are the section's own. What happened is told in
    /// comments on the next packet, and what became of a packet on itself.
    pub fn write(&self, comments: &[String], out: impl Write) -> io::Result<()> {
        pcapng::write(self, comments, out)
    }

    pub(crate) fn sets_out(&mut self, at: Time, number: u64, again: bool, packet: &Packet) {
        self.under_way.insert(number, self.packets.len());
        self.packets.push(Captured { at, packet: packet.clone(), again, lost: None });
    }

    pub(crate) fn event(&mut self, at: Time, event: &Event<'_>) {
        match *event {
            Event::Delivered(packet) => _ = self.under_way.remove(&packet.number),
            Event::Late { packet, cause, until } => {
                self.loses(packet.number, Lost { at, cause, until: Some(until) });
            }
            Event::Discarded { packet, cause } => {
                self.loses(packet.number, Lost { at, cause, until: None });
            }
            _ => {}
        }
    }

    /// One that waits to set out again, and never does, was lost before.
    fn loses(&mut self, number: u64, lost: Lost) {
        if let Some(at) = self.under_way.remove(&number) {
            self.packets[at].lost = Some(lost);
        }
    }

    pub(crate) fn note(&mut self, at: Time, words: &str) {
        self.notes.push((at, words.to_owned()));
    }
}

#[cfg(test)]
mod tests;
