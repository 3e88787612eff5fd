//! Listening sockets.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    task::{Context, Poll, Waker},
};

use super::{connection::park, slab::Id};
use crate::HostId;

/// Connections that wait to be accepted, those in their handshake among them, at most
/// (count).
pub(crate) const BACKLOG: usize = 1024;

pub(crate) struct Listener {
    pub(crate) local: SocketAddr,
    pub(crate) owner: HostId,
    /// Connections that nobody has accepted (count).
    pub(crate) waiting: usize,
    /// Those of them that are open, in the order in which they were.
    ready: VecDeque<Id>,
    acceptor: Option<Waker>,
}

impl Listener {
    pub(crate) fn new(owner: HostId, local: SocketAddr) -> Listener {
        Listener { local, owner, waiting: 0, ready: VecDeque::new(), acceptor: None }
    }

    pub(crate) fn opened(&mut self, connection: Id) {
        self.ready.push_back(connection);
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.wake();
        }
    }

    pub(crate) fn poll_accept(&mut self, cx: &Context<'_>) -> Poll<Id> {
        match self.ready.pop_front() {
            Some(connection) => {
                self.waiting -= 1;
                Poll::Ready(connection)
            }
            None => park(&mut self.acceptor, cx),
        }
    }

    /// Connections that wait to be accepted (count).
    pub(crate) fn ready(&self) -> usize {
        self.ready.len()
    }
}
