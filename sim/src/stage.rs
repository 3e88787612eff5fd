//! What a run needs of an engine.

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    pin::Pin,
    rc::Rc,
};

use rand_chacha::ChaCha8Rng;
use reseed_client::{Env, Network};
use reseed_protocol::Time;

use crate::{HostLink, Impairment, SimDisk, Tap};

/// A host on a stage, numbered from 0 in the order of [`Stage::add_host`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place(pub(crate) usize);

/// Every address of the same version as `own`.
pub(crate) fn any_like(own: IpAddr) -> IpAddr {
    match own {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

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

    /// Changes a host's link, for packets that reach it from now on. An engine whose
    /// links have no such bounds does nothing.
    fn set_link(&mut self, host: Place, link: HostLink);

    /// Lets an impairment, made with a generator of its own, decide the fate of packets.
    /// An engine that does not show its packets does nothing.
    fn impair(&mut self, impairment: impl FnOnce(ChaCha8Rng) -> Box<dyn Impairment>);

    /// From now on no task of a host runs, until it is let go as often as it was held up.
    /// An engine that cannot do that does nothing.
    fn hold_up(&mut self, host: Place);

    /// Its tasks run again; returns how many would have run meanwhile.
    fn let_go(&mut self, host: Place) -> u64;

    /// From now on the tasks of each host wait for its disk, where that takes time.
    fn wait_for_disks(&mut self);

    /// A host's disk takes no time any more, and nobody waits for it.
    fn end_disk_waits(&mut self, host: Place);

    /// What still runs, is open or waits on a host.
    fn leftovers(&self, host: Place) -> Leftovers;

    /// Panics of hosts' tasks, in words.
    fn panics(&self) -> Vec<String>;

    /// Steps so far (count).
    fn steps(&self) -> u64;

    /// Packets that hosts sent so far (count), if there are such things.
    fn packets(&self) -> Option<u64>;
}
