//! What happens in a world, packet by packet: the raw matter of traces.

use std::net::SocketAddr;

use reseed_protocol::Time;
use turmoil_net::{Packet, TcpFlags, Transport};

use crate::{HostId, TaskId, panics::PanicMessage, segment::endpoints};

/// Told of every event as it happens. It is called in the middle of things and
/// must not call back into the world.
pub trait Recorder {
    /// `event` happened at `at`.
    fn record(&self, at: Time, event: &Event<'_>);

    /// `packet`, which has that number, sets out at `at`; `again` if it was lost before.
    fn sets_out(&self, _at: Time, _number: u64, _again: bool, _packet: &Packet) {}
}

/// One thing that happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event<'a> {
    /// A packet left its host's stack.
    Sent(PacketSummary),
    /// A packet was handed to its destination's stack.
    Delivered(PacketSummary),
    /// A TCP segment was lost on the way; a retransmission follows at `until`.
    Late {
        /// The segment.
        packet: PacketSummary,
        /// Why.
        cause: Loss,
        /// When it sets out again.
        until: Time,
    },
    /// A packet is gone for good.
    Discarded {
        /// The packet.
        packet: PacketSummary,
        /// Why.
        cause: Loss,
    },
    /// A task was polled.
    Polled {
        /// Its host.
        host: HostId,
        /// The task.
        task: TaskId,
    },
    /// A host lost its power.
    Crashed {
        /// The host.
        host: HostId,
    },
    /// A host's processes were killed; its kernel closed their sockets.
    Killed {
        /// The host.
        host: HostId,
    },
    /// A host runs again.
    Revived {
        /// The host.
        host: HostId,
        /// How often it was started before (count).
        incarnation: u32,
    },
    /// A task panicked; [`Event::Killed`] follows.
    Panicked {
        /// The task's host.
        host: HostId,
        /// The task's name.
        task: &'a str,
        /// What it said, and where.
        panic: &'a PanicMessage,
    },
}

/// Why a packet did not get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The queue of the sender's or the receiver's link was full.
    QueueFull,
    /// The world's [`crate::Impairment`] took it.
    Impaired,
    /// Nobody has that address, or its host is down.
    Unreachable,
    /// The sender's host went down, or its socket is gone: nobody retransmits.
    SenderGone,
    /// Nothing got through for so long that TCP gave up.
    TimedOut,
}

/// A packet without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketSummary {
    /// Its number, in order of sending within the world.
    pub number: u64,
    /// Source.
    pub from: SocketAddr,
    /// Destination.
    pub to: SocketAddr,
    /// Payload (bytes).
    pub payload: u32,
    /// `None` for UDP.
    pub tcp: Option<TcpSummary>,
}

/// A TCP segment's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpSummary {
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// Flags.
    pub flags: TcpFlags,
    /// Window (bytes).
    pub window: u16,
}

impl PacketSummary {
    pub(crate) fn new(number: u64, packet: &Packet) -> PacketSummary {
        let (from, to) = endpoints(packet);
        let (payload, tcp) = match &packet.payload {
            Transport::Udp(datagram) => (datagram.payload.len(), None),
            Transport::Tcp(segment) => (
                segment.payload.len(),
                Some(TcpSummary {
                    sequence: segment.seq,
                    acknowledgement: segment.ack,
                    flags: segment.flags,
                    window: segment.window,
                }),
            ),
        };
        PacketSummary { number, from, to, payload: payload as u32, tcp }
    }
}
