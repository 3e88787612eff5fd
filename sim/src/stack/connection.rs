//! One TCP connection, as one of its ends has it.
//!
//! RFC 9293 without what the wire takes care of: it sends lost segments again and hands
//! them over in order, so nothing is retransmitted or put in order here. The window of
//! the receiver alone bounds what is on its way: there is no congestion control.

use std::{
    hash::{Hash, Hasher},
    io::{self, ErrorKind},
    net::SocketAddr,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use reseed_protocol::Time;
use turmoil_net::{NetstatState, Packet, TcpFlags, TcpSegment, Transport};

use super::{
    buffer::{ReceiveBuffer, SendBuffer},
    slab::Id,
};
use crate::{HostId, flow::hash_address};

/// Bytes that a connection buffers for its reader.
pub(crate) const RECEIVE_BUFFER: usize = 64 * 1024;

/// Bytes that a connection buffers of its writer, those on their way among them.
pub(crate) const SEND_BUFFER: usize = 64 * 1024;

/// The largest window that a header can tell, without window scaling.
const WINDOW_MAX: usize = u16::MAX as usize;

/// The two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
}

impl Ends {
    /// Whether no packet of it leaves the host.
    fn are_one_host(&self) -> bool {
        self.remote.ip().is_loopback() || self.remote.ip() == self.local.ip()
    }
}

impl Hash for Ends {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_address(&self.local, state);
        hash_address(&self.remote, state);
    }
}

/// What kind of connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its SYN is sent, or about to be.
    Dialling,
    /// It was dialled, and answers.
    Answering,
    /// Both ends know of each other.
    Open,
    /// It was reset.
    Reset(ErrorKind),
}

/// How far the closing of a direction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fin {
    /// There may be more to send.
    No,
    /// It follows what was written.
    Queued,
    /// It is on its way.
    Sent,
    /// The remote has it.
    Acknowledged,
}

/// What a segment was to a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// It was taken in.
    Taken,
    /// One that was dialled is open now.
    Opened,
    /// It is answered with a reset, and the connection is no more.
    Refused,
    /// It is answered with a reset, as it is none of the connection's.
    Strange,
    /// The remote opens a connection anew, and has forgotten of this one.
    Forgotten,
}

pub(crate) struct Connection {
    pub(crate) ends: Ends,
    /// Whose application has it; `None` once that has closed it.
    pub(crate) owner: Option<HostId>,
    /// Who is to accept it, until that happens.
    pub(crate) listener: Option<Id>,
    /// Whether it is in the list of those that may have something to send.
    pub(crate) dirty: bool,
    /// Whether what comes for its ends is for it.
    pub(crate) is_found: bool,
    phase: Phase,
    /// Bytes of payload in a segment at most.
    mss: usize,

    /// The sequence number of what is sent next.
    next: u32,
    unacknowledged: u32,
    /// Where the remote's window ends.
    window_end: u32,
    unsent: SendBuffer,
    fin: Fin,
    opening_sent: bool,

    /// The sequence number of what is received next.
    expected: u32,
    /// Where the window ends that the remote was told of.
    told_end: u32,
    received: ReceiveBuffer,
    remote_fin: bool,
    /// The remote closed before we did.
    remote_first: bool,
    acknowledge: bool,
    /// What the remote knows to have come.
    acknowledged: u32,
    /// When what came since is acknowledged, unless something goes to the remote before.
    pub(super) acknowledge_at: Option<Time>,
    /// Bytes without which the next read waits.
    low_water: usize,

    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Connection {
    /// A connection that `owner` opens.
    pub(crate) fn dialling(owner: HostId, ends: Ends, sequence: u32, mtu: u32) -> Connection {
        Connection {
            ends,
            owner: Some(owner),
            listener: None,
            dirty: false,
            is_found: false,
            phase: Phase::Dialling,
            mss: mss(&ends, mtu),
            next: sequence,
            unacknowledged: sequence,
            window_end: sequence.wrapping_add(1),
            unsent: SendBuffer::default(),
            fin: Fin::No,
            opening_sent: false,
            expected: 0,
            told_end: 0,
            received: ReceiveBuffer::default(),
            remote_fin: false,
            remote_first: false,
            acknowledge: false,
            acknowledged: 0,
            acknowledge_at: None,
            low_water: 1,
            reader: None,
            writer: None,
        }
    }

    /// One that `syn` opens, for `listener` to accept.
    pub(crate) fn answering(
        owner: HostId,
        listener: Id,
        ends: Ends,
        sequence: u32,
        mtu: u32,
        syn: &TcpSegment,
    ) -> Connection {
        let expected = syn.seq.wrapping_add(1);
        Connection {
            listener: Some(listener),
            phase: Phase::Answering,
            window_end: sequence.wrapping_add(1).wrapping_add(syn.window.into()),
            expected,
            acknowledged: expected,
            told_end: expected.wrapping_add(WINDOW_MAX as u32),
            ..Connection::dialling(owner, ends, sequence, mtu)
        }
    }

    /// Something of each cache line that a segment takes to be received.
    pub(crate) fn glance(&self) -> (u16, usize, u32) {
        (self.ends.local.port(), self.received.len(), self.expected)
    }

    /// Takes in a segment; whoever can go on is woken.
    pub(crate) fn receive(&mut self, segment: &TcpSegment) -> Received {
        let TcpFlags { syn, ack, fin, rst, .. } = segment.flags;
        if rst {
            return self.receive_reset(segment);
        }
        match self.phase {
            Phase::Dialling if !ack || segment.ack != self.next || !self.opening_sent => {
                return Received::Strange;
            }
            Phase::Dialling if !syn => return Received::Strange,
            Phase::Dialling => {
                self.phase = Phase::Open;
                self.expected = segment.seq.wrapping_add(1);
                self.told_end = self.expected.wrapping_add(WINDOW_MAX as u32);
                self.acknowledge = true;
                self.take_acknowledgement(segment);
                wake(&mut self.writer);
                return Received::Taken;
            }
            _ if syn && !ack => return Received::Forgotten,
            Phase::Answering if !ack || segment.ack != self.next => return Received::Strange,
            Phase::Reset(_) => return Received::Strange,
            Phase::Answering | Phase::Open => {}
        }
        let opened = self.phase == Phase::Answering;
        self.phase = Phase::Open;
        if ack {
            self.take_acknowledgement(segment);
        }
        let length = segment.payload.len() as u32;
        // RFC 1122 §4.2.2.13: there is nobody to read it.
        if length > 0 && self.owner.is_none() {
            return Received::Refused;
        }
        if segment.seq == self.expected && !self.remote_fin {
            self.take_payload(segment.payload.clone());
            if fin && segment.seq.wrapping_add(length) == self.expected {
                self.take_fin();
            }
        } else if length > 0 || fin {
            self.acknowledge = true;
        }
        if self.is_readable() {
            wake(&mut self.reader);
        }
        if opened { Received::Opened } else { Received::Taken }
    }

    fn receive_reset(&mut self, segment: &TcpSegment) -> Received {
        // One that the wire sends in the name of a time-out has no numbers at all.
        let ours = !segment.flags.ack || segment.ack == self.next;
        match self.phase {
            Phase::Dialling if ours => self.fail(ErrorKind::ConnectionRefused),
            Phase::Dialling => {}
            _ => self.fail(ErrorKind::ConnectionReset),
        }
        Received::Taken
    }

    fn take_acknowledgement(&mut self, segment: &TcpSegment) {
        let newly = segment.ack.wrapping_sub(self.unacknowledged);
        if newly > self.next.wrapping_sub(self.unacknowledged) {
            return;
        }
        self.unacknowledged = segment.ack;
        self.window_end = segment.ack.wrapping_add(segment.window.into());
        if self.fin == Fin::Sent && self.unacknowledged == self.next {
            self.fin = Fin::Acknowledged;
        }
        // As Linux does, so that a writer is not woken for every segment.
        if self.room_to_write() >= SEND_BUFFER / 3 {
            wake(&mut self.writer);
        }
    }

    fn take_payload(&mut self, mut payload: Bytes) {
        if payload.is_empty() {
            return;
        }
        let room = self.told_end.wrapping_sub(self.expected) as usize;
        payload.truncate(room);
        self.expected = self.expected.wrapping_add(payload.len() as u32);
        // RFC 5681 §4.2: at least every second full segment is acknowledged at once. What
        // did not fit is asked for again.
        let unknown = self.expected.wrapping_sub(self.acknowledged) as usize;
        self.acknowledge |= unknown > self.full_segment() || payload.is_empty();
        if !payload.is_empty() {
            self.received.push(payload);
        }
    }

    fn take_fin(&mut self) {
        self.expected = self.expected.wrapping_add(1);
        self.remote_fin = true;
        self.remote_first = self.fin == Fin::No;
        self.acknowledge = true;
    }

    /// The connection has failed for both its users, and what it holds is gone.
    pub(crate) fn fail(&mut self, kind: ErrorKind) {
        self.phase = Phase::Reset(kind);
        self.unsent.clear();
        self.received.clear();
        self.acknowledge = false;
        self.acknowledge_at = None;
        wake(&mut self.reader);
        wake(&mut self.writer);
    }

    /// Sends what there is to send.
    pub(crate) fn transmit(&mut self, mut send: impl FnMut(Packet)) {
        match self.phase {
            Phase::Reset(_) => return,
            Phase::Dialling | Phase::Answering => {
                if !std::mem::replace(&mut self.opening_sent, true) {
                    let ack = self.phase == Phase::Answering;
                    let flags = TcpFlags { syn: true, ack, ..TcpFlags::default() };
                    send(self.segment(flags, Bytes::new()));
                    self.next = self.next.wrapping_add(1);
                }
                return;
            }
            Phase::Open => {}
        }
        loop {
            let room = self.window_end.wrapping_sub(self.next) as i32;
            let length = self.unsent.len().min(self.mss).min(room.max(0) as usize);
            let last = length == self.unsent.len();
            let fin = last && self.fin == Fin::Queued && length < room.max(0) as usize;
            if length == 0 && !fin || self.is_better_later(length) {
                break;
            }
            let flags = TcpFlags { ack: true, psh: last && length > 0, fin, ..TcpFlags::default() };
            let payload = self.unsent.take(length);
            send(self.segment(flags, payload));
            self.next = self.next.wrapping_add(length as u32 + u32::from(fin));
            if fin {
                self.fin = Fin::Sent;
            }
        }
        if self.acknowledge {
            send(self.segment(TcpFlags { ack: true, ..TcpFlags::default() }, Bytes::new()));
        }
    }

    /// What is no small segment (bytes). Within a host, where one may be as large as the whole
    /// window, half of that is none (RFC 9293 §3.8.6.2.1).
    fn full_segment(&self) -> usize {
        self.mss.min(RECEIVE_BUFFER / 2)
    }

    /// Whether a segment of `length` bytes would be small and can be larger after the next
    /// acknowledgement: the window cuts it short (RFC 9293 §3.8.6.2.1), or the writer waits
    /// for room to write more.
    fn is_better_later(&self, length: usize) -> bool {
        let more = length < self.unsent.len() || self.writer.is_some();
        length > 0 && length < self.full_segment() && more && self.next != self.unacknowledged
    }

    /// The segment that is sent next, with the present acknowledgement.
    fn segment(&mut self, flags: TcpFlags, payload: Bytes) -> Packet {
        let acknowledges = flags.ack;
        if acknowledges {
            self.acknowledge = false;
            self.acknowledge_at = None;
            self.acknowledged = self.expected;
            self.told_end = self.end_to_tell();
        }
        let window = match acknowledges {
            true => self.told_end.wrapping_sub(self.expected).min(WINDOW_MAX as u32) as u16,
            false => WINDOW_MAX as u16,
        };
        let Ends { local, remote } = self.ends;
        let ack = if acknowledges { self.expected } else { 0 };
        packet(local, remote, [self.next, ack], flags, window, payload)
    }

    /// A reset in answer to what the remote did.
    pub(crate) fn reset(&self) -> Packet {
        let flags = TcpFlags { rst: true, ack: true, ..TcpFlags::default() };
        let Ends { local, remote } = self.ends;
        packet(local, remote, [self.next, self.expected], flags, 0, Bytes::new())
    }

    /// Where the window may end that the remote is told of next. It never goes back, and
    /// not on by little (RFC 9293 §3.8.6.2.2).
    fn end_to_tell(&self) -> u32 {
        let free = (RECEIVE_BUFFER - self.received.len()).min(WINDOW_MAX);
        let end = self.expected.wrapping_add(free as u32);
        let more = end.wrapping_sub(self.told_end) as i32;
        let worth_it = more >= self.full_segment() as i32;
        if worth_it { end } else { self.told_end }
    }

    /// After a read: whether the remote is to be told of the room. As on Linux, when it is
    /// twice what the remote knows of, that being at most half of all.
    fn update_window(&mut self) -> bool {
        let known = self.told_end.wrapping_sub(self.expected);
        let now = self.end_to_tell().wrapping_sub(self.expected);
        let due = !self.remote_fin && known as usize <= RECEIVE_BUFFER / 2 && now > 2 * known;
        self.acknowledge |= due;
        due
    }

    fn is_readable(&self) -> bool {
        let wanted = self.low_water.min(RECEIVE_BUFFER);
        let full = self.told_end == self.expected && self.received.len() > 0;
        self.received.len() >= wanted || self.remote_fin || full
    }

    fn room_to_write(&self) -> usize {
        let on_its_way = self.next.wrapping_sub(self.unacknowledged) as usize;
        SEND_BUFFER.saturating_sub(on_its_way + self.unsent.len())
    }

    /// The next read waits for so many bytes, or all that there will be.
    pub(crate) fn set_low_water(&mut self, bytes: usize) {
        self.low_water = bytes.max(1);
    }

    /// Whether it is open yet.
    pub(crate) fn poll_open(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match self.phase {
            Phase::Open => Poll::Ready(Ok(())),
            Phase::Reset(kind) => Poll::Ready(Err(kind.into())),
            Phase::Dialling | Phase::Answering => park(&mut self.writer, cx),
        }
    }

    /// Reads as `read` does; returns as well whether there is something to send now.
    pub(crate) fn poll_read<R>(
        &mut self,
        cx: &Context<'_>,
        read: impl FnOnce(&mut ReceiveBuffer) -> R,
    ) -> Poll<io::Result<(R, bool)>> {
        if let Phase::Reset(kind) = self.phase {
            return Poll::Ready(Err(kind.into()));
        }
        if !self.is_readable() {
            return park(&mut self.reader, cx);
        }
        self.low_water = 1;
        let read = read(&mut self.received);
        Poll::Ready(Ok((read, self.update_window())))
    }

    /// Writes as many of `length` bytes as there is room for, as `write` does.
    pub(crate) fn poll_write(
        &mut self,
        cx: &Context<'_>,
        length: usize,
        write: impl FnOnce(&mut SendBuffer, usize),
    ) -> Poll<io::Result<usize>> {
        if let Phase::Reset(kind) = self.phase {
            return Poll::Ready(Err(kind.into()));
        }
        if self.fin != Fin::No {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let room = self.room_to_write();
        if room == 0 {
            return park(&mut self.writer, cx);
        }
        let now = length.min(room);
        write(&mut self.unsent, now);
        Poll::Ready(Ok(now))
    }

    /// Nothing more will be written.
    pub(crate) fn shut_down(&mut self) -> io::Result<()> {
        if let Phase::Reset(kind) = self.phase {
            return Err(kind.into());
        }
        if self.fin == Fin::No {
            self.fin = Fin::Queued;
        }
        Ok(())
    }

    /// Its application closes it. What was written is sent all the same; returns false if
    /// there is nothing to wait for, and a reset if bytes were not read.
    pub(crate) fn close(&mut self) -> (bool, Option<Packet>) {
        self.owner = None;
        (self.reader, self.writer) = (None, None);
        match self.phase {
            Phase::Open if self.received.len() > 0 && !self.is_over() => {
                (false, Some(self.reset()))
            }
            Phase::Open => {
                _ = self.shut_down();
                (!self.is_over() || self.acknowledge, None)
            }
            _ => (false, None),
        }
    }

    /// Both directions are closed, and both ends know: there is no more to it than what
    /// was not read yet.
    pub(crate) fn is_over(&self) -> bool {
        let closed = self.remote_fin && self.fin == Fin::Acknowledged;
        closed || matches!(self.phase, Phase::Reset(_))
    }

    pub(crate) fn has_to_acknowledge(&self) -> bool {
        self.acknowledge
    }

    /// Whether something has come that need not be acknowledged at once, and for which no
    /// time is set yet.
    pub(super) fn may_acknowledge_later(&self) -> bool {
        let owes = self.expected != self.acknowledged && self.phase == Phase::Open;
        owes && !self.acknowledge && self.acknowledge_at.is_none()
    }

    /// What came is acknowledged with the next flush.
    pub(super) fn acknowledge_now(&mut self) {
        self.acknowledge = true;
        self.acknowledge_at = None;
    }

    pub(crate) fn is_answering(&self) -> bool {
        self.phase == Phase::Answering
    }

    /// Bytes to read, bytes to send, and what netstat calls it.
    pub(crate) fn netstat(&self) -> (usize, usize, NetstatState) {
        let state = match (self.phase, self.fin) {
            _ if self.is_over() => NetstatState::Closed,
            (Phase::Dialling, _) => NetstatState::SynSent,
            (Phase::Answering, _) => NetstatState::SynReceived,
            (_, Fin::No) if self.remote_fin => NetstatState::CloseWait,
            (_, Fin::No) => NetstatState::Established,
            (..) if self.remote_fin && self.remote_first => NetstatState::LastAck,
            (..) if self.remote_fin => NetstatState::Closing,
            (_, Fin::Acknowledged) => NetstatState::FinWait2,
            (..) => NetstatState::FinWait1,
        };
        (self.received.len(), SEND_BUFFER - self.room_to_write(), state)
    }
}

/// A segment between two sockets, with its sequence number and acknowledgement.
pub(crate) fn packet(
    from: SocketAddr,
    to: SocketAddr,
    [seq, ack]: [u32; 2],
    flags: TcpFlags,
    window: u16,
    payload: Bytes,
) -> Packet {
    let (src_port, dst_port) = (from.port(), to.port());
    Packet {
        src: from.ip(),
        dst: to.ip(),
        ttl: 64,
        payload: Transport::Tcp(TcpSegment {
            src_port,
            dst_port,
            seq,
            ack,
            flags,
            window,
            payload,
        }),
    }
}

/// The payload that fits in a packet; what stays on the host is not cut up.
fn mss(ends: &Ends, mtu: u32) -> usize {
    const LOOPBACK_MTU: u32 = 65_536;
    let mtu = if ends.are_one_host() { LOOPBACK_MTU } else { mtu };
    let headers = if ends.local.is_ipv4() { 40 } else { 60 };
    mtu.saturating_sub(headers).max(1) as usize
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

pub(super) fn park<R>(waker: &mut Option<Waker>, cx: &Context<'_>) -> Poll<R> {
    match waker {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *waker = Some(cx.waker().clone()),
    }
    Poll::Pending
}
