//! TCP and UDP of our own: the stacks of all hosts of a world.
//!
//! A stack does nothing by itself: sockets are called, [`Stacks::deliver`] hands it a
//! packet, and [`Stacks::flush`] takes what there is to send. Only connections that were
//! touched since the last flush are looked at, in the order in which they were.

mod buffer;
mod connection;
mod datagrams;
mod listener;
mod ports;
mod slab;
mod stream;

use std::{
    collections::VecDeque,
    hash::BuildHasherDefault,
    hint::black_box,
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use indexmap::IndexMap;
use reseed_protocol::Time;
use turmoil_net::{
    NetstatEntry, NetstatState, Packet, Proto, TcpFlags, TcpSegment, Transport, UdpDatagram,
};

use self::{
    connection::{Connection, Ends, Received, packet},
    datagrams::UdpSocket,
    listener::{BACKLOG, Listener},
    ports::Ports,
    slab::Slab,
};
pub(crate) use self::{
    slab::Id,
    stream::{NativeDatagrams, NativeListener, NativeStream},
};
use crate::{HostId, flow::AddressHasher};

/// `EMSGSIZE`: a datagram that does not fit in a packet.
const MESSAGE_TOO_LONG: i32 = 90;

/// The first sequence number of a stack, and how much more each connection starts at.
const SEQUENCE: (u32, u32) = (0x0100_0000, 0x0001_0000);

/// How long a segment may go without an acknowledgement, in the hope that the next one comes
/// or something is said that it can go with. RFC 5681 §4.2 allows 500 ms; Linux takes 40.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_millis(40);

/// The stacks of all hosts.
pub(crate) struct Stacks {
    mtu: u32,
    /// By the host's number; a lodger has its landlord's.
    stacks: Vec<Stack>,
    connections: Slab<Connection>,
    listeners: Slab<Listener>,
    datagrams: Slab<UdpSocket>,
    /// Connections that may have something to send, oldest first.
    dirty: Vec<(HostId, Id)>,
    /// What is sent next, with whose stack it leaves.
    outgoing: Vec<(HostId, Packet)>,
    /// Connections that acknowledge something at a time, if they have not by then.
    acknowledging: VecDeque<(Time, HostId, Id)>,
}

/// A host's stack.
struct Stack {
    addresses: Vec<IpAddr>,
    connections: IndexMap<Ends, Id, BuildHasherDefault<AddressHasher>>,
    listeners: Vec<(SocketAddr, Id)>,
    datagrams: Vec<(SocketAddr, Id)>,
    tcp_ports: Ports,
    udp_ports: Ports,
    sequence: u32,
}

impl Stack {
    fn has(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.addresses.contains(&address)
    }

    /// The address that it sends from to `to`.
    fn source(&self, to: IpAddr) -> io::Result<IpAddr> {
        if to.is_loopback() {
            return Ok(to);
        }
        let own = self.addresses.iter().find(|own| own.is_ipv4() == to.is_ipv4());
        own.copied().ok_or_else(|| ErrorKind::AddrNotAvailable.into())
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(SEQUENCE.1);
        self.sequence
    }
}

impl Stacks {
    pub(crate) fn new(mtu: u32) -> Stacks {
        Stacks {
            mtu,
            stacks: Vec::new(),
            connections: Slab::default(),
            listeners: Slab::default(),
            datagrams: Slab::default(),
            dirty: Vec::new(),
            outgoing: Vec::new(),
            acknowledging: VecDeque::new(),
        }
    }

    /// Adds the next host's stack; a lodger's has no address, and is not used.
    pub(crate) fn add(&mut self, addresses: Vec<IpAddr>) {
        self.stacks.push(Stack {
            addresses,
            connections: IndexMap::default(),
            listeners: Vec::new(),
            datagrams: Vec::new(),
            tcp_ports: Ports::default(),
            udp_ports: Ports::default(),
            sequence: SEQUENCE.0,
        });
    }

    /// Hands a packet to `host`'s stack. It is for the connection `guess` in all
    /// likelihood, which need not be looked up then; returns which it was for, if any.
    pub(crate) fn deliver(
        &mut self,
        now: Time,
        host: HostId,
        packet: &Packet,
        guess: Option<Id>,
    ) -> Option<Id> {
        let Packet { src, dst, ref payload, .. } = *packet;
        match payload {
            Transport::Udp(datagram) => {
                self.deliver_datagram(host, src, dst, datagram);
                None
            }
            Transport::Tcp(segment) => {
                let local = SocketAddr::new(dst, segment.dst_port);
                let ends = Ends { local, remote: SocketAddr::new(src, segment.src_port) };
                let id = self.find(host, ends, guess);
                self.deliver_segment(now, host, ends, id, segment);
                id
            }
        }
    }

    /// Looks at a connection that is needed soon.
    pub(crate) fn prefetch(&self, id: Id) {
        black_box(self.connections.get(id).map(Connection::glance));
    }

    /// The connection of `host` that has these `ends`.
    fn find(&self, host: HostId, ends: Ends, guess: Option<Id>) -> Option<Id> {
        let is_it = |it: &Connection| it.is_found && it.ends == ends;
        let guessed = guess.filter(|id| self.connections.get(*id).is_some_and(is_it));
        guessed.or_else(|| self.stacks[host.index()].connections.get(&ends).copied())
    }

    /// When something is acknowledged next that nothing went with.
    pub(crate) fn next_acknowledgement(&mut self) -> Option<Time> {
        while let Some((at, _, id)) = self.acknowledging.front().copied() {
            if self.connections.get(id).and_then(|it| it.acknowledge_at) == Some(at) {
                return Some(at);
            }
            self.acknowledging.pop_front();
        }
        None
    }

    /// Acknowledges what is due; returns whether there was something.
    pub(crate) fn acknowledge(&mut self, now: Time) -> bool {
        let mut has_any = false;
        while self.next_acknowledgement().is_some_and(|at| at <= now)
            && let Some((_, host, id)) = self.acknowledging.pop_front()
        {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.acknowledge_now();
            }
            self.touch(host, id);
            has_any = true;
        }
        has_any
    }

    fn deliver_datagram(&mut self, host: HostId, src: IpAddr, dst: IpAddr, it: &UdpDatagram) {
        let to = SocketAddr::new(dst, it.dst_port);
        if let Some(id) = bound(&self.stacks[host.index()].datagrams, to)
            && let Some(socket) = self.datagrams.get_mut(id)
        {
            socket.receive(SocketAddr::new(src, it.src_port), it.payload.clone());
        }
    }

    fn deliver_segment(
        &mut self,
        now: Time,
        host: HostId,
        ends: Ends,
        id: Option<Id>,
        segment: &TcpSegment,
    ) {
        let Some((id, connection)) = id.and_then(|id| Some((id, self.connections.get_mut(id)?)))
        else {
            return self.deliver_unconnected(host, ends, segment);
        };
        let was_answering = connection.is_answering();
        let received = connection.receive(segment);
        if connection.may_acknowledge_later() {
            let at = now + ACKNOWLEDGE_WITHIN;
            connection.acknowledge_at = Some(at);
            self.acknowledging.push_back((at, host, id));
        }
        match received {
            Received::Taken => self.after_receipt(host, id, was_answering),
            Received::Opened => {
                if let Some(listener) = connection.listener
                    && let Some(listener) = self.listeners.get_mut(listener)
                {
                    listener.opened(id);
                }
                self.touch(host, id);
            }
            Received::Strange => self.refuse(host, ends, numbers_of_reset(segment)),
            Received::Refused => {
                let reset = connection.reset();
                self.outgoing.push((host, reset));
                self.remove(host, id);
            }
            Received::Forgotten => {
                connection.fail(ErrorKind::ConnectionReset);
                self.after_receipt(host, id, was_answering);
                self.deliver_unconnected(host, ends, segment);
            }
        }
    }

    /// A connection may have come to its end.
    fn after_receipt(&mut self, host: HostId, id: Id, was_answering: bool) {
        let Some(connection) = self.connections.get(id) else { return };
        if !connection.is_over() {
            return self.touch(host, id);
        }
        if was_answering && let Some(listener) = connection.listener {
            if let Some(listener) = self.listeners.get_mut(listener) {
                listener.waiting -= 1;
            }
            return self.remove(host, id);
        }
        // The last acknowledgement is still to be sent, and then it is forgotten.
        self.touch(host, id);
        self.see_if_over(host, id);
    }

    /// A connection that is over and says no more is no longer found by its ends, and is
    /// gone once its application has closed it.
    fn see_if_over(&mut self, host: HostId, id: Id) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.is_over() && !connection.has_to_acknowledge() {
            if std::mem::take(&mut connection.is_found) {
                self.stacks[host.index()].connections.swap_remove(&connection.ends);
            }
            if connection.owner.is_none() {
                self.connections.remove(id);
            }
        }
    }

    fn deliver_unconnected(&mut self, host: HostId, ends: Ends, segment: &TcpSegment) {
        let TcpFlags { syn, ack, rst, .. } = segment.flags;
        if rst {
            return;
        }
        let stack = &mut self.stacks[host.index()];
        let id = bound(&stack.listeners, ends.local).filter(|_| syn && !ack);
        let listener = id.and_then(|id| Some((id, self.listeners.get_mut(id)?)));
        // Where the backlog is full, Linux would let the SYN be sent again.
        let Some((id, listener)) = listener.filter(|(_, it)| it.waiting < BACKLOG) else {
            return self.refuse(host, ends, numbers_of_reset(segment));
        };
        listener.waiting += 1;
        let (owner, sequence) = (listener.owner, stack.next_sequence());
        let connection = Connection::answering(owner, id, ends, sequence, self.mtu, segment);
        self.insert(host, connection);
    }

    fn insert(&mut self, host: HostId, connection: Connection) -> Id {
        let ends = connection.ends;
        let id = self.connections.insert(connection);
        let former = self.stacks[host.index()].connections.insert(ends, id);
        if let Some(former) = former.and_then(|former| self.connections.get_mut(former)) {
            former.is_found = false;
        }
        self.connections.get_mut(id).expect("it was put there").is_found = true;
        self.touch(host, id);
        id
    }

    fn refuse(&mut self, host: HostId, ends: Ends, numbers: ([u32; 2], bool)) {
        let ([seq, ack], acknowledges) = numbers;
        let flags = TcpFlags { rst: true, ack: acknowledges, ..TcpFlags::default() };
        let reset = packet(ends.local, ends.remote, [seq, ack], flags, 0, Bytes::new());
        self.outgoing.push((host, reset));
    }

    fn remove(&mut self, host: HostId, id: Id) {
        if let Some(connection) = self.connections.remove(id)
            && connection.is_found
        {
            self.stacks[host.index()].connections.swap_remove(&connection.ends);
        }
    }

    fn touch(&mut self, host: HostId, id: Id) {
        if let Some(connection) = self.connections.get_mut(id)
            && !std::mem::replace(&mut connection.dirty, true)
        {
            self.dirty.push((host, id));
        }
    }

    /// Adds to `out` all that leaves a host, and which connection it is of, if that is
    /// there still. What a host sends to itself has arrived then, and so have the answers.
    pub(crate) fn flush(&mut self, now: Time, out: &mut Vec<(Packet, Option<Id>)>) {
        while !self.dirty.is_empty() || !self.outgoing.is_empty() {
            let mut dirty = std::mem::take(&mut self.dirty);
            let mut outgoing = std::mem::take(&mut self.outgoing);
            for (host, id) in dirty.drain(..) {
                if let Some(connection) = self.connections.get_mut(id) {
                    connection.dirty = false;
                    match self.stacks[host.index()].has(connection.ends.remote.ip()) {
                        true => connection.transmit(|packet| outgoing.push((host, packet))),
                        false => connection.transmit(|packet| out.push((packet, Some(id)))),
                    }
                    self.see_if_over(host, id);
                }
            }
            for (host, packet) in outgoing.drain(..) {
                match self.stacks[host.index()].has(packet.dst) {
                    true => _ = self.deliver(now, host, &packet, None),
                    false => out.push((packet, None)),
                }
            }
            // Kept for their allocations.
            dirty.append(&mut self.dirty);
            outgoing.append(&mut self.outgoing);
            (self.dirty, self.outgoing) = (dirty, outgoing);
        }
    }

    /// Whether `local` has a connection to `remote`, which belongs to `host`'s stack.
    pub(crate) fn exists(&self, host: HostId, local: SocketAddr, remote: SocketAddr) -> bool {
        self.stacks[host.index()].connections.contains_key(&Ends { local, remote })
    }

    /// Starts to open a connection.
    pub(crate) fn connect(
        &mut self,
        host: HostId,
        owner: HostId,
        remote: SocketAddr,
    ) -> io::Result<(Id, SocketAddr)> {
        let stack = &mut self.stacks[host.index()];
        let ip = stack.source(remote.ip())?;
        let Stack { connections, listeners, tcp_ports, .. } = stack;
        let port = tcp_ports.draw(|port| {
            let local = SocketAddr::new(ip, port);
            local != remote
                && !is_taken(listeners, local)
                && !connections.contains_key(&Ends { local, remote })
        });
        let local = SocketAddr::new(ip, port.ok_or(ErrorKind::AddrInUse)?);
        let sequence = stack.next_sequence();
        let ends = Ends { local, remote };
        let connection = Connection::dialling(owner, ends, sequence, self.mtu);
        Ok((self.insert(host, connection), local))
    }

    /// Listens at `at`, where nobody else does. Connections of a former listener do not
    /// matter, as with `SO_REUSEADDR`.
    pub(crate) fn listen(
        &mut self,
        host: HostId,
        owner: HostId,
        at: SocketAddr,
    ) -> io::Result<(Id, SocketAddr)> {
        let stack = &mut self.stacks[host.index()];
        let local = bind(&stack.addresses, &stack.listeners, &mut stack.tcp_ports, at)?;
        let id = self.listeners.insert(Listener::new(owner, local));
        stack.listeners.push((local, id));
        Ok((id, local))
    }

    /// Opens a UDP socket.
    pub(crate) fn bind_datagrams(
        &mut self,
        host: HostId,
        owner: HostId,
        at: SocketAddr,
    ) -> io::Result<(Id, SocketAddr)> {
        let stack = &mut self.stacks[host.index()];
        let local = bind(&stack.addresses, &stack.datagrams, &mut stack.udp_ports, at)?;
        let id = self.datagrams.insert(UdpSocket::new(owner, local));
        stack.datagrams.push((local, id));
        Ok((id, local))
    }

    /// A connection that is open, and its remote's address.
    pub(crate) fn poll_accept(
        &mut self,
        listener: Id,
        cx: &Context<'_>,
    ) -> Poll<io::Result<(Id, SocketAddr, SocketAddr)>> {
        let Some(listener) = self.listeners.get_mut(listener) else {
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
        };
        let id = std::task::ready!(listener.poll_accept(cx));
        let connection = self.connections.get_mut(id).expect("it is there until it is accepted");
        connection.listener = None;
        Poll::Ready(Ok((id, connection.ends.local, connection.ends.remote)))
    }

    fn send_datagram(
        &mut self,
        host: HostId,
        socket: Id,
        bytes: &[u8],
        to: SocketAddr,
    ) -> io::Result<()> {
        let Some(UdpSocket { local, .. }) = self.datagrams.get(socket) else {
            return Err(ErrorKind::NotConnected.into());
        };
        let headers = if to.is_ipv4() { 28 } else { 48 };
        if bytes.len() + headers > self.mtu as usize {
            return Err(io::Error::from_raw_os_error(MESSAGE_TOO_LONG));
        }
        let src = match local.ip().is_unspecified() {
            true => self.stacks[host.index()].source(to.ip())?,
            false => local.ip(),
        };
        let payload = Bytes::copy_from_slice(bytes);
        let datagram = UdpDatagram { src_port: local.port(), dst_port: to.port(), payload };
        let payload = Transport::Udp(datagram);
        self.outgoing.push((host, Packet { src, dst: to.ip(), ttl: 64, payload }));
        Ok(())
    }

    fn close_connection(&mut self, host: HostId, id: Id) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let (lingers, reset) = connection.close();
        self.outgoing.extend(reset.map(|reset| (host, reset)));
        match lingers {
            true => self.touch(host, id),
            false => self.remove(host, id),
        }
    }

    /// Connections that nobody accepted are reset.
    fn close_listener(&mut self, host: HostId, id: Id) {
        if self.listeners.remove(id).is_none() {
            return;
        }
        let stack = &mut self.stacks[host.index()];
        stack.listeners.retain(|(_, other)| *other != id);
        let is_child = |(_, it): &(Id, &Connection)| it.listener == Some(id);
        let children: Vec<Id> =
            self.connections.iter().filter(is_child).map(|(child, _)| child).collect();
        for child in children {
            if let Some(connection) = self.connections.get(child)
                && !connection.is_over()
            {
                self.outgoing.push((host, connection.reset()));
            }
            self.remove(host, child);
        }
    }

    fn close_datagrams(&mut self, host: HostId, id: Id) {
        self.datagrams.remove(id);
        self.stacks[host.index()].datagrams.retain(|(_, other)| *other != id);
    }

    /// Closes all that the processes of `owner` have, as their kernel does.
    pub(crate) fn close_all(&mut self, host: HostId, owner: HostId) {
        for id in ids(&self.listeners, |it| it.owner == owner) {
            self.close_listener(host, id);
        }
        for id in ids(&self.connections, |it| it.owner == Some(owner)) {
            self.close_connection(host, id);
        }
        for id in ids(&self.datagrams, |it| it.owner == owner) {
            self.close_datagrams(host, id);
        }
    }

    /// `host`'s stack forgets every connection, without a word to the remote.
    pub(crate) fn forget(&mut self, host: HostId) {
        self.outgoing.retain(|(from, _)| *from != host);
        for (_, id) in self.stacks[host.index()].connections.split_off(0) {
            let Some(connection) = self.connections.get_mut(id) else { continue };
            connection.is_found = false;
            // Who shares the stack may have it still.
            connection.fail(ErrorKind::ConnectionReset);
            if connection.owner.is_none() {
                self.connections.remove(id);
            }
        }
    }

    /// Sockets that the processes of `owner` have not closed, in words.
    pub(crate) fn open(&self, owner: HostId) -> Vec<String> {
        let connections = self.connections.iter().filter(|(_, it)| it.owner == Some(owner));
        let connections =
            connections.map(|(_, it)| format!("tcp {} to {}", it.ends.local, it.ends.remote));
        let listeners = self.listeners.iter().filter(|(_, it)| it.owner == owner);
        let listeners = listeners.map(|(_, it)| format!("tcp {}, listening", it.local));
        let datagrams = self.datagrams.iter().filter(|(_, it)| it.owner == owner);
        let datagrams = datagrams.map(|(_, it)| format!("udp {}", it.local));
        connections.chain(listeners).chain(datagrams).collect()
    }

    /// `host`'s sockets, as netstat lists them.
    pub(crate) fn netstat(&self, host: HostId) -> Vec<NetstatEntry> {
        let stack = &self.stacks[host.index()];
        let listeners = stack.listeners.iter().filter_map(|(local, id)| {
            let (recv_q, state) = (self.listeners.get(*id)?.ready(), Some(NetstatState::Listen));
            let proto = Proto::Tcp;
            Some(NetstatEntry { proto, recv_q, send_q: BACKLOG, local: *local, peer: None, state })
        });
        let connections = stack.connections.iter().filter_map(|(ends, id)| {
            let (recv_q, send_q, state) = self.connections.get(*id)?.netstat();
            let (proto, local, peer) = (Proto::Tcp, ends.local, Some(ends.remote));
            let entry = NetstatEntry { proto, recv_q, send_q, local, peer, state: Some(state) };
            Some(entry).filter(|_| state != NetstatState::Closed)
        });
        let datagrams = stack.datagrams.iter().filter_map(|(local, id)| {
            let (proto, recv_q) = (Proto::Udp, self.datagrams.get(*id)?.waiting());
            Some(NetstatEntry { proto, recv_q, send_q: 0, local: *local, peer: None, state: None })
        });
        listeners.chain(connections).chain(datagrams).collect()
    }
}

fn ids<T>(slab: &Slab<T>, wanted: impl Fn(&T) -> bool) -> Vec<Id> {
    slab.iter().filter(|(_, it)| wanted(it)).map(|(id, _)| id).collect()
}

fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// The socket that is bound to `to`, or else to its port at all addresses.
fn bound(sockets: &[(SocketAddr, Id)], to: SocketAddr) -> Option<Id> {
    let any = SocketAddr::new(unspecified(to.ip()), to.port());
    let at = |at| sockets.iter().find(|(local, _)| *local == at).map(|(_, id)| *id);
    at(to).or_else(|| at(any))
}

/// Whether a socket is in the way of one at `at`.
fn is_taken(sockets: &[(SocketAddr, Id)], at: SocketAddr) -> bool {
    sockets.iter().any(|(local, _)| {
        let overlap =
            local.ip() == at.ip() || local.ip().is_unspecified() || at.ip().is_unspecified();
        local.port() == at.port() && local.is_ipv4() == at.is_ipv4() && overlap
    })
}

/// Where a socket is bound that wants to be at `at`.
fn bind(
    addresses: &[IpAddr],
    sockets: &[(SocketAddr, Id)],
    ports: &mut Ports,
    at: SocketAddr,
) -> io::Result<SocketAddr> {
    let ip = at.ip();
    if !ip.is_unspecified() && !ip.is_loopback() && !addresses.contains(&ip) {
        return Err(ErrorKind::AddrNotAvailable.into());
    }
    if at.port() == 0 {
        let port = ports.draw(|port| !is_taken(sockets, SocketAddr::new(ip, port)));
        return Ok(SocketAddr::new(ip, port.ok_or(ErrorKind::AddrInUse)?));
    }
    match is_taken(sockets, at) {
        true => Err(ErrorKind::AddrInUse.into()),
        false => Ok(at),
    }
}

/// The numbers of a reset that answers `segment`, and whether it acknowledges (RFC 9293
/// §3.10.7.1).
fn numbers_of_reset(segment: &TcpSegment) -> ([u32; 2], bool) {
    let TcpFlags { syn, ack, fin, .. } = segment.flags;
    let length = segment.payload.len() as u32 + u32::from(syn) + u32::from(fin);
    match ack {
        true => ([segment.ack, 0], false),
        false => ([0, segment.seq.wrapping_add(length)], true),
    }
}

#[cfg(test)]
mod tests;
