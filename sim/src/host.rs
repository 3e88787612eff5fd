//! A host as its processes see it: clock, tasks, randomness, network and disk.

use std::{cell::Cell, fmt, future::Future, rc::Rc};

use rand_chacha::ChaCha8Rng;
use reseed_client::Env;
use reseed_protocol::Time;

use crate::{HostNetwork, SimDisk, core::Core, timer::Sleep};

/// A host's number, in order of adding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub u32);

impl HostId {
    /// As an index into a list of all hosts.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "h{}", self.0)
    }
}

/// What a process on a host is given. It works until the host stops; after a
/// restart the new process is given another.
#[derive(Clone)]
pub struct HostHandle {
    env: HostEnv,
    network: HostNetwork,
    disk: SimDisk,
}

impl HostHandle {
    pub(crate) fn new(
        core: Rc<Core>,
        id: HostId,
        incarnation: Incarnation,
        disk: &SimDisk,
    ) -> Self {
        let env = HostEnv { core: core.clone(), id, incarnation: incarnation.clone() };
        let network = HostNetwork::new(core, id, incarnation.clone());
        HostHandle { env, network, disk: disk.mounted(incarnation) }
    }

    /// The host's number.
    pub fn id(&self) -> HostId {
        self.env.id
    }

    /// Clock, timers, tasks and randomness.
    pub fn env(&self) -> HostEnv {
        self.env.clone()
    }

    /// Sockets.
    pub fn network(&self) -> HostNetwork {
        self.network.clone()
    }

    /// The disk.
    pub fn disk(&self) -> SimDisk {
        self.disk.clone()
    }

    /// Starts `task` on the host.
    pub fn spawn(&self, name: &str, task: impl Future<Output = ()> + 'static) {
        self.env.spawn(name, task);
    }
}

/// A host's clock, timers, tasks and randomness.
#[derive(Clone)]
pub struct HostEnv {
    core: Rc<Core>,
    id: HostId,
    incarnation: Incarnation,
}

impl Env for HostEnv {
    fn now(&self) -> Time {
        self.core.executor.now()
    }

    fn sleep_until(&self, deadline: Time) -> impl Future<Output = ()> + 'static {
        Sleep::new(self.core.executor.clone(), deadline)
    }

    /// On a host that has stopped, `task` is dropped.
    fn spawn(&self, name: &str, task: impl Future<Output = ()> + 'static) {
        if self.incarnation.is_current() {
            self.core.executor.spawn(self.id, name, task);
        }
    }

    /// The substream `name/incarnation/label`.
    fn rng(&self, label: &str) -> ChaCha8Rng {
        let name = self.core.host_name(self.id);
        let Incarnation { number, .. } = self.incarnation;
        self.core.streams.stream(&format!("{name}/{number}/{label}"))
    }
}

/// The time between a host's start and its stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Incarnation {
    /// The host's present one.
    live: Rc<Cell<u32>>,
    number: u32,
}

impl Incarnation {
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn is_current(&self) -> bool {
        self.live.get() == self.number
    }

    /// Ends it and returns the next.
    pub(crate) fn end(&self) -> Incarnation {
        self.live.set(self.number + 1);
        Incarnation { live: self.live.clone(), number: self.number + 1 }
    }
}
