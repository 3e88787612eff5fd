//! What a world shares with the handles that it gives out.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Waker},
};

use reseed_protocol::Time;
use tokio::io::{AsyncWrite, ReadBuf};
use turmoil_net::shim::tokio::net::TcpStream;

use crate::{
    HostId, StreamId, Tap,
    executor::Executor,
    network::turmoil_net::{Close, Connecting, RECEIVE_BUFFER},
    random::Substreams,
    segment::socket_exists,
    stack::Stacks,
};

pub(crate) struct Core {
    /// The stacks, where they are our own.
    pub(crate) native: Option<Rc<RefCell<Stacks>>>,
    pub(crate) executor: Rc<Executor>,
    /// Reads its clock.
    pub(crate) clock: Rc<dyn Fn() -> Time>,
    pub(crate) streams: Substreams,
    pub(crate) hosts: RefCell<Vec<CoreHost>>,
    pub(crate) names: RefCell<BTreeMap<String, Vec<IpAddr>>>,
    pub(crate) tap: RefCell<Option<Rc<dyn Tap>>>,
    /// A stack may have something to send.
    pub(crate) touched: Cell<bool>,
    /// Whether the stacks are there: from the world's first step to its drop.
    pub(crate) running: Cell<bool>,
    /// Connections, as (local, remote), whose application is gone and whose
    /// remote may not know.
    pub(crate) orphans: RefCell<Orphans>,
    /// Connections, as (local, remote), to reset on both sides.
    pub(crate) aborts: RefCell<Vec<(SocketAddr, SocketAddr)>>,
    /// Connections that were given up while they were being opened.
    given_up: RefCell<Vec<(HostId, Connecting)>>,
    /// A host's connections to itself whose application is gone and whose other end may
    /// not know.
    parting: RefCell<Vec<(HostId, TcpStream)>>,
    pub(crate) scratch: RefCell<Box<[u8]>>,
    next_stream: Cell<u64>,
}

pub(crate) struct CoreHost {
    pub(crate) name: Rc<str>,
    /// Whose stack it uses.
    pub(crate) landlord: HostId,
    /// That stack, where it is turmoil-net's.
    pub(crate) stack: Option<turmoil_net::HostId>,
    /// The present processes' sockets without a connection, some of them dropped.
    pub(crate) sockets: Vec<Weak<dyn Close>>,
}

impl Core {
    pub(crate) fn new(
        executor: Executor,
        streams: Substreams,
        native: Option<Rc<RefCell<Stacks>>>,
    ) -> Core {
        let executor = Rc::new(executor);
        let clocked = executor.clone();
        Core {
            native,
            executor,
            clock: Rc::new(move || clocked.now()),
            streams,
            hosts: RefCell::default(),
            names: RefCell::default(),
            tap: RefCell::default(),
            touched: Cell::new(false),
            running: Cell::new(false),
            orphans: RefCell::default(),
            aborts: RefCell::default(),
            given_up: RefCell::default(),
            parting: RefCell::default(),
            scratch: RefCell::new(vec![0; RECEIVE_BUFFER].into_boxed_slice()),
            next_stream: Cell::new(0),
        }
    }

    pub(crate) fn host_name(&self, host: HostId) -> Rc<str> {
        self.hosts.borrow()[host.index()].name.clone()
    }

    /// Makes the calls that follow calls to `host`'s stack; false if the world
    /// is gone and there are no stacks.
    pub(crate) fn enter(&self, host: HostId) -> bool {
        if self.running.get()
            && let Some(stack) = self.hosts.borrow()[host.index()].stack
        {
            turmoil_net::set_current(stack);
        }
        self.running.get()
    }

    pub(crate) fn touch(&self) {
        self.touched.set(true);
    }

    /// Remembers a connection that `host` no longer wants to open.
    pub(crate) fn give_up(&self, host: HostId, connecting: Connecting) {
        self.given_up.borrow_mut().push((host, connecting));
        self.touch();
    }

    /// Closes the sockets of connections that were given up, each in its own stack.
    pub(crate) fn close_given_up(&self) {
        for (host, connecting) in self.given_up.take() {
            self.touch();
            match self.enter(host) {
                true => drop(connecting),
                false => std::mem::forget(connecting),
            }
        }
    }

    /// Says goodbye on a connection of `host` to itself; the caller has entered it.
    pub(crate) fn part(&self, host: HostId, mut socket: TcpStream) {
        let cx = &mut Context::from_waker(Waker::noop());
        // Whether it works is nobody's business any more.
        let _ = Pin::new(&mut socket).poll_shutdown(cx);
        self.parting.borrow_mut().push((host, socket));
        self.touch();
    }

    /// Closes those whose other end has said goodbye as well, or sends to nobody: that
    /// is answered with a reset (RFC 1122 §4.2.2.13), or its writer would fill the
    /// window and wait for ever.
    pub(crate) fn see_who_has_parted(&self) {
        let cx = &mut Context::from_waker(Waker::noop());
        for (host, socket) in self.parting.take() {
            if !self.enter(host) {
                std::mem::forget(socket);
            } else if socket.poll_peek(cx, &mut ReadBuf::new(&mut [0])).is_pending() {
                self.parting.borrow_mut().push((host, socket));
            } else {
                self.touch();
                drop(socket);
            }
        }
    }

    /// Nobody on `host` says anything any more.
    pub(crate) fn forget_parting(&self, host: HostId) {
        let (gone, others) = self.parting.take().into_iter().partition(|(of, _)| *of == host);
        self.parting.replace(others);
        let gone: Vec<(HostId, TcpStream)> = gone;
        for (_, socket) in gone {
            match self.enter(host) {
                true => drop(socket),
                false => std::mem::forget(socket),
            }
        }
    }

    /// Remembers a socket that `host`'s stop is to close.
    pub(crate) fn add_socket(&self, host: HostId, socket: Weak<dyn Close>) {
        let sockets = &mut self.hosts.borrow_mut()[host.index()].sockets;
        sockets.retain(|socket| socket.strong_count() > 0);
        sockets.push(socket);
    }

    pub(crate) fn next_stream(&self) -> StreamId {
        StreamId(self.next_stream.replace(self.next_stream.get() + 1))
    }
}

/// Most orphans are never heard of again, so they are looked through whenever
/// their number has doubled.
#[derive(Default)]
pub(crate) struct Orphans {
    ends: BTreeSet<(SocketAddr, SocketAddr)>,
    sweep_at: usize,
}

impl Orphans {
    pub(crate) fn insert(&mut self, ends: (SocketAddr, SocketAddr)) {
        self.ends.insert(ends);
        if self.ends.len() > self.sweep_at {
            self.ends.retain(|(local, remote)| socket_exists(*local, *remote));
            self.sweep_at = self.ends.len() * 2 + 256;
        }
    }

    pub(crate) fn remove(&mut self, ends: (SocketAddr, SocketAddr)) -> bool {
        self.ends.remove(&ends)
    }
}
