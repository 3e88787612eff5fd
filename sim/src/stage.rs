//! What a run needs of an engine.

use std::{future::Future, pin::Pin};

use reseed_protocol::Time;

use crate::{HostLink, SimDisk};

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
///
/// A host's software is generic over `Network` and `Env`, so starting it cannot
/// be in this trait; each engine has a `start` of its own.
pub(crate) trait Stage {
    /// Adds a host, powered, with nothing running on it.
    fn add_host(&mut self, name: &str, address: std::net::IpAddr, link: HostLink) -> Place;

    /// Lets a name resolve to an address.
    fn add_name(&mut self, name: &str, address: std::net::IpAddr);

    /// Virtual time.
    fn now(&self) -> Time;

    /// Moves until `until`, or until `attention` says that the run wants a look.
    fn run_until(&mut self, until: Time, attention: &dyn Fn() -> bool) -> Paused;

    /// Cuts a host's power: no FIN, no RST, and of what was not synced some is lost.
    fn crash(&mut self, host: Place);

    /// Gives a crashed host its power back.
    fn revive(&mut self, host: Place);

    /// A host's disk, which outlives its crashes.
    fn disk(&self, host: Place) -> SimDisk;

    /// What still runs, is open or waits on a host.
    fn leftovers(&self, host: Place) -> Leftovers;

    /// Steps so far (count).
    fn steps(&self) -> u64;
}
