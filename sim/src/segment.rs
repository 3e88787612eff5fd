//! What the simulator knows of TCP: what a packet is, and what its stack would
//! do.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use turmoil_net::{NetstatState, Packet, TcpFlags, TcpSegment, Transport, netstat};

/// Source and destination of `packet`.
pub(crate) fn endpoints(packet: &Packet) -> (SocketAddr, SocketAddr) {
    let (from, to) = match &packet.payload {
        Transport::Udp(datagram) => (datagram.src_port, datagram.dst_port),
        Transport::Tcp(segment) => (segment.src_port, segment.dst_port),
    };
    (SocketAddr::new(packet.src, from), SocketAddr::new(packet.dst, to))
}

/// A reset as `from` would send it to `to`. The stacks check no sequence
/// numbers on resets.
pub(crate) fn reset(from: SocketAddr, to: SocketAddr) -> Packet {
    Packet {
        src: from.ip(),
        dst: to.ip(),
        ttl: 64,
        payload: Transport::Tcp(TcpSegment {
            src_port: from.port(),
            dst_port: to.port(),
            seq: 0,
            ack: 0,
            flags: TcpFlags { rst: true, ..TcpFlags::default() },
            window: 0,
            payload: Bytes::new(),
        }),
    }
}

/// Whether `packet` accepts a connection that its receiver has given up meanwhile.
pub(crate) fn is_unawaited_welcome(packet: &Packet) -> bool {
    let Transport::Tcp(segment) = &packet.payload else {
        return false;
    };
    let (from, to) = endpoints(packet);
    segment.flags.syn && segment.flags.ack && !socket_exists(to, from)
}

/// How a connection is declined that `welcome` accepts: completed, and then reset. The
/// stack that accepted it would keep a socket for ever, and with it the port, if it
/// were reset before it is complete.
pub(crate) fn decline(welcome: &Packet) -> (Packet, Packet) {
    let (from, to) = endpoints(welcome);
    let mut acknowledgement = reset(to, from);
    if let (Transport::Tcp(ours), Transport::Tcp(theirs)) =
        (&mut acknowledgement.payload, &welcome.payload)
    {
        ours.flags = TcpFlags { ack: true, ..TcpFlags::default() };
        (ours.seq, ours.ack) = (theirs.ack, theirs.seq.wrapping_add(1));
    }
    (acknowledgement, reset(to, from))
}

/// Bytes on the wire. A segment larger than Ethernet's 1500 bytes stands for a
/// train of those, each with its headers, so that a large MTU makes a run
/// quicker but a link no wider.
pub(crate) fn wire_size(packet: &Packet) -> u64 {
    const ETHERNET_MTU: u64 = 1500;
    let (size, payload) = match &packet.payload {
        Transport::Udp(datagram) => (packet.size(), datagram.payload.len()),
        Transport::Tcp(segment) => (packet.size(), segment.payload.len()),
    };
    let headers = u64::from(size) - payload as u64;
    let packets = (payload as u64).div_ceil(ETHERNET_MTU - headers).max(1);
    payload as u64 + packets * headers
}

pub(crate) fn is_reset(packet: &Packet) -> bool {
    matches!(&packet.payload, Transport::Tcp(segment) if segment.flags.rst)
}

pub(crate) fn is_pure_acknowledgement(packet: &Packet) -> bool {
    let Transport::Tcp(segment) = &packet.payload else {
        return false;
    };
    let TcpFlags { syn, ack, fin, rst, .. } = segment.flags;
    ack && !syn && !fin && !rst && segment.payload.is_empty()
}

/// After how many `attempts` that came to nothing. RFC 6298 §5: doubled each time, at most
/// a minute. Linux waits 200 ms at least on a connection that it has `heard` on, and 1 s
/// where it has no round trip to go by.
pub(crate) fn retransmission_timeout(heard: bool, attempts: u32) -> Duration {
    const LONGEST: Duration = Duration::from_secs(60);
    let shortest = Duration::from_millis(if heard { 200 } else { 1000 });
    shortest.saturating_mul(1 << attempts.min(16)).min(LONGEST)
}

/// Whether the stack at `local` has a live connection to `remote`.
pub(crate) fn socket_exists(local: SocketAddr, remote: SocketAddr) -> bool {
    netstat(local.ip()).entries.iter().any(|entry| {
        let ends = entry.local == local && entry.peer == Some(remote);
        ends && entry.state != Some(NetstatState::Closed)
    })
}
