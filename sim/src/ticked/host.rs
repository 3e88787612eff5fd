//! What the stage and a host's processes share.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll},
};

use reseed_protocol::Time;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::AbortHandle,
};
use turmoil::net::TcpStream;

use super::TickedOptions;
use crate::{PanicMessage, StreamId, Substreams, Tap, panics};

/// What all hosts share.
pub(super) struct Shared {
    pub(super) options: TickedOptions,
    pub(super) streams: Substreams,
    /// At the start of a step, and so all through it.
    pub(super) now: Cell<Time>,
    pub(super) names: RefCell<BTreeMap<String, IpAddr>>,
    pub(super) addresses: RefCell<BTreeSet<IpAddr>>,
    pub(super) tap: RefCell<Option<Rc<dyn Tap>>>,
    next_stream: Cell<u64>,
}

impl Shared {
    pub(super) fn new(options: TickedOptions, streams: Substreams) -> Shared {
        Shared {
            options,
            streams,
            now: Cell::default(),
            names: RefCell::default(),
            addresses: RefCell::default(),
            tap: RefCell::default(),
            next_stream: Cell::default(),
        }
    }

    pub(super) fn next_stream(&self) -> StreamId {
        StreamId(self.next_stream.replace(self.next_stream.get() + 1))
    }
}

/// A host, through all its incarnations.
pub(super) struct Host {
    pub(super) name: Rc<str>,
    /// In the order of adding.
    pub(super) index: usize,
    pub(super) address: IpAddr,
    pub(super) shared: Rc<Shared>,
    pub(super) tasks: Rc<Roll<Rc<str>>>,
    pub(super) sockets: Rc<Roll<Socket>>,
    pub(super) timers: Rc<Roll<()>>,
    /// To the supervisor of the address, which lives as long as an incarnation of its
    /// first host.
    inbox: Rc<RefCell<Option<UnboundedSender<Task>>>>,
    lodger: bool,
    /// The present tasks, to be ended alone.
    aborts: RefCell<Vec<AbortHandle>>,
    halt: RefCell<Option<Halt>>,
    /// Polls of tasks at the time before them (count).
    polls: Cell<(Time, u64)>,
}

/// Why a host's tasks are polled no more in this incarnation.
#[derive(Debug)]
pub(super) enum Halt {
    /// They were polled this often at one instant.
    Spin { polls: u64 },
    /// One of them panicked.
    Panic { task: Rc<str>, panic: PanicMessage },
}

impl Host {
    pub(super) fn new(name: &str, index: usize, address: IpAddr, shared: Rc<Shared>) -> Host {
        Host {
            name: name.into(),
            index,
            address,
            shared,
            tasks: Rc::default(),
            sockets: Rc::default(),
            timers: Rc::default(),
            inbox: Rc::default(),
            lodger: false,
            aborts: RefCell::default(),
            halt: RefCell::default(),
            polls: Cell::default(),
        }
    }

    /// Lets its tasks be started by the supervisor of a host at the same address.
    pub(super) fn lodge_with(&mut self, landlord: &Host) {
        self.inbox = landlord.inbox.clone();
        self.lodger = true;
    }

    /// Whether the address was another's before.
    pub(super) fn is_lodger(&self) -> bool {
        self.lodger
    }

    /// Whether others have the same address.
    pub(super) fn is_shared(&self) -> bool {
        Rc::strong_count(&self.inbox) > 1
    }

    /// Ends its tasks, and nobody else's at the same address.
    pub(super) fn abort_tasks(&self) {
        self.aborts.take().iter().for_each(AbortHandle::abort);
    }

    pub(super) fn now(&self) -> Time {
        self.shared.now.get()
    }

    /// What turmoil runs on the host: starts tasks, so that they can be spawned
    /// from anywhere, and never ends, since to turmoil a host that ends is down.
    pub(super) fn supervise(&self) -> impl Future<Output = turmoil::Result> + use<> {
        let (sender, mut inbox): (_, UnboundedReceiver<Task>) = unbounded_channel();
        *self.inbox.borrow_mut() = Some(sender);
        async move {
            while let Some(task) = inbox.recv().await {
                let host = task.host.clone();
                #[expect(clippy::disallowed_methods, reason = "the task has a name and a host")]
                let abort = tokio::task::spawn_local(task).abort_handle();
                if host.is_shared() {
                    let mut aborts = host.aborts.borrow_mut();
                    aborts.retain(|abort| !abort.is_finished());
                    aborts.push(abort);
                }
            }
            Ok(())
        }
    }

    /// Starts a task; on a host without power it is dropped.
    pub(super) fn spawn(self: &Rc<Self>, name: &str, task: impl Future<Output = ()> + 'static) {
        let name: Rc<str> = name.into();
        let entry = self.tasks.enter(name.clone());
        let task = Task { future: Box::pin(task), host: self.clone(), name, _entry: entry };
        // Not borrowed meanwhile: a task that is refused may spawn when it is dropped.
        let inbox = self.inbox.borrow().clone();
        if let Some(inbox) = inbox {
            drop(inbox.send(task));
        }
    }

    pub(super) fn close_inbox(&self) {
        self.inbox.take();
    }

    /// Takes the streams away from the processes without telling anybody. turmoil
    /// sends a FIN or a RST for a stream that is dropped within a step; outside of
    /// one it only forgets the stream's reader, and so answers with a RST to what
    /// comes for it once the host runs again.
    pub(super) fn cut_streams(&self) {
        let streams = self.sockets.map(|socket| match socket {
            Socket::Connected { stream, .. } => stream.upgrade(),
            Socket::Listening(_) | Socket::Datagrams(_) | Socket::Connecting(_) => None,
        });
        for stream in streams.into_iter().flatten() {
            let cut = stream.borrow_mut().take();
            drop(cut);
        }
    }

    /// Why it was halted, if it was. Its tasks must be gone before its next step.
    pub(super) fn take_halt(&self) -> Option<Halt> {
        self.halt.take()
    }

    fn may_poll(&self) -> bool {
        if self.halt.borrow().is_some() {
            return false;
        }
        let (at, polls) = self.polls.get();
        let polls = if at == self.now() { polls + 1 } else { 1 };
        self.polls.set((self.now(), polls));
        if polls > self.shared.options.limits.polls_at_instant {
            *self.halt.borrow_mut() = Some(Halt::Spin { polls });
            return false;
        }
        true
    }
}

/// A task of a host's processes.
struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    host: Rc<Host>,
    name: Rc<str>,
    /// Last, so that the task is gone before its name is.
    _entry: Entry<Rc<str>>,
}

impl Future for Task {
    type Output = ();

    /// A halted host's tasks wait for ever, so that the time can move and the
    /// stage has a chance to act.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.host.may_poll() {
            return Poll::Pending;
        }
        let polled = panics::catch(|| self.future.as_mut().poll(cx));
        polled.unwrap_or_else(|panic| {
            let task = self.name.clone();
            *self.host.halt.borrow_mut() = Some(Halt::Panic { task, panic });
            Poll::Pending
        })
    }
}

/// A stream that its host's loss of power takes away, wherever it is held.
pub(super) type SharedStream = RefCell<Option<TcpStream>>;

/// A socket that a process holds.
pub(super) enum Socket {
    Listening(SocketAddr),
    Datagrams(SocketAddr),
    Connecting(SocketAddr),
    Connected { local: SocketAddr, remote: SocketAddr, stream: Weak<SharedStream> },
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Socket::Listening(at) => write!(f, "listening at {at}"),
            Socket::Datagrams(at) => write!(f, "UDP at {at}"),
            Socket::Connecting(to) => write!(f, "connecting to {to}"),
            Socket::Connected { local, remote, .. } => write!(f, "{local} connected to {remote}"),
        }
    }
}

/// What is alive, in order of arrival.
pub(super) struct Roll<T> {
    present: RefCell<BTreeMap<u64, T>>,
    arrived: Cell<u64>,
}

impl<T> Roll<T> {
    /// Adds `item` until the entry is dropped.
    pub(super) fn enter(self: &Rc<Self>, item: T) -> Entry<T> {
        let number = self.arrived.replace(self.arrived.get() + 1);
        self.present.borrow_mut().insert(number, item);
        Entry { roll: self.clone(), number }
    }

    pub(super) fn len(&self) -> usize {
        self.present.borrow().len()
    }

    pub(super) fn map<R>(&self, read: impl FnMut(&T) -> R) -> Vec<R> {
        self.present.borrow().values().map(read).collect()
    }
}

impl<T> Default for Roll<T> {
    fn default() -> Roll<T> {
        Roll { present: RefCell::default(), arrived: Cell::default() }
    }
}

/// A line in a [`Roll`].
pub(super) struct Entry<T> {
    roll: Rc<Roll<T>>,
    number: u64,
}

impl<T> Drop for Entry<T> {
    fn drop(&mut self) {
        self.roll.present.borrow_mut().remove(&self.number);
    }
}
