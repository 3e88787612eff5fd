//! What a run needs of an engine.

use std::{future::Future, net::IpAddr, pin::Pin, rc::Rc};

use reseed_client::{Env, Network};
use reseed_protocol::Time;

use crate::{HostLink, SimDisk, Tap};

/// A host on a stage, numbered from 0 in the order of [`Stage::add_host`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place(pub(crate) usize);

/// A process: what a host runs from its start to its end.
pub(crate) type Process = Pin<Box<dyn Future<Output = ()>>>;

/// What is left of a host's processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Leftovers {
    /// Names of tasks.
    pub(crate) tasks: Vec<String>,
    /// Sockets, in words.
    pub(crate) sockets: Vec<String>,
    /// Timers (count).
    pub(crate) timers: usize,
}

/// Why a stage stopped to move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Paused {
    /// The time is up.
    Time,
    /// The run wants to have a look.
    Attention,
    /// A host was polled again and again at one instant.
    Spin(String),
    /// A bound of the run was hit.
    Limit(String),
}

/// A simulated network with hosts on it, whichever engine moves it.
pub(crate) trait Stage {
    /// A host's clock, timers, tasks and randomness.
    type Env: Env;
    /// A host's sockets.
    type Network: Network;

    /// Adds a host, powered, with nothing running on it; its name resolves to its
    /// address. If that is another's already, they share it, and the other's link;
    /// each has tasks and a disk of its own. All are there before the first move.
    fn add_host(&mut self, name: &str, address: IpAddr, link: HostLink) -> Place;

    /// Shows every stream's bytes to `tap`.
    fn set_tap(&mut self, tap: Rc<dyn Tap>);

    /// Starts a process on a host that is up.
    fn start(
        &mut self,
        host: Place,
        software: impl FnOnce(Self::Env, Self::Network, SimDisk) -> Process,
    );

    /// Virtual time.
    fn now(&self) -> Time;

    /// Moves until `until`, or until `attention` says that the run wants a look.
    fn run_until(&mut self, until: Time, attention: &dyn Fn() -> bool) -> Paused;

    /// Cuts a host's power: no FIN, no RST, and of what was not synced some is lost.
    fn crash(&mut self, host: Place);

    /// Kills a host's processes: its kernel closes their sockets, and its disk loses
    /// nothing.
    fn kill(&mut self, host: Place);

    /// Gives a crashed host its power back.
    fn revive(&mut self, host: Place);

    /// A host's disk, which outlives its crashes.
    fn disk(&self, host: Place) -> SimDisk;

    /// What still runs, is open or waits on a host.
    fn leftovers(&self, host: Place) -> Leftovers;

    /// Panics of hosts' tasks, in words.
    fn panics(&self) -> Vec<String>;

    /// Steps so far (count).
    fn steps(&self) -> u64;

    /// Packets that hosts sent so far (count), if there are such things.
    fn packets(&self) -> Option<u64>;
}
