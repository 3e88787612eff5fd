//! UDP sockets.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use super::connection::park;
use crate::HostId;

/// What a socket keeps for its reader (bytes), headers included; Linux's default.
const RECEIVE_QUEUE: usize = 208 * 1024;

/// A datagram's headers (bytes).
const HEADERS: usize = 28;

pub(crate) struct UdpSocket {
    pub(crate) local: SocketAddr,
    pub(crate) owner: HostId,
    queue: VecDeque<(SocketAddr, Bytes)>,
    queued: usize,
    reader: Option<Waker>,
}

impl UdpSocket {
    pub(crate) fn new(owner: HostId, local: SocketAddr) -> UdpSocket {
        UdpSocket { local, owner, queue: VecDeque::new(), queued: 0, reader: None }
    }

    /// One that finds no room is lost.
    pub(crate) fn receive(&mut self, from: SocketAddr, payload: Bytes) {
        let size = payload.len() + HEADERS;
        if self.queued + size > RECEIVE_QUEUE {
            return;
        }
        self.queued += size;
        self.queue.push_back((from, payload));
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    pub(crate) fn poll_receive(&mut self, cx: &Context<'_>) -> Poll<(SocketAddr, Bytes)> {
        let Some((from, payload)) = self.queue.pop_front() else {
            return park(&mut self.reader, cx);
        };
        self.queued -= payload.len() + HEADERS;
        Poll::Ready((from, payload))
    }

    /// Bytes that wait to be read.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.iter().map(|(_, payload)| payload.len()).sum()
    }
}
