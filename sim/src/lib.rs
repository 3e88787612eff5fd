//! The world that a peer runs in.
//!
//! A [`World`] has hosts with access links and disks, one virtual clock, and one
//! seed that every random choice comes from; the same seed gives the same run.
//! Start with [`World::new`], [`World::add_host`] and [`HostHandle::spawn`].

mod core;
mod datagram;
mod disk;
mod event;
mod executor;
mod flow;
mod host;
mod link;
mod network;
mod options;
mod packets;
mod panics;
mod power;
mod random;
mod segment;
mod tap;
mod timer;
mod wire;
mod world;

pub use datagram::SimDatagrams;
pub use disk::{DiskStats, PAGE, SimDisk};
pub use event::{Event, Loss, PacketSummary, Recorder, TcpSummary};
pub use executor::TaskId;
pub use host::{HostEnv, HostHandle, HostId};
pub use link::{HostLink, Link};
pub use network::{HostNetwork, SimListener, SimStream};
pub use options::{Limit, Limits, WorldOptions};
pub use panics::PanicMessage;
pub use random::Substreams;
pub use tap::{Direction, StreamId, Tap, Tapped};
pub use wire::{Fate, Impairment, WireStats};
pub use world::{Ended, HostPanic, Step, World};
