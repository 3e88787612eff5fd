//! The world that a peer runs in.
//!
//! Start at [`run`](run()): it takes a [`Plan`], which says all that is to happen,
//! and the [`Content`] to share, runs real peers on an [`Engine`], and gives a
//! [`Report`]: a verdict with its evidence, and a digest over every event. The same
//! plan gives the same report. [`oracle`] says what is checked on the way.
//!
//! Below that is the [`World`], for other software than peers: hosts with access
//! links and disks, one virtual clock, and one seed that every random choice comes
//! from. Start there with [`World::new`], [`World::add_host`] and
//! [`HostHandle::spawn`]; apply faults between [`World::run_until`]s; and look on as
//! a [`Recorder`] of packets or a [`Tap`] of streams.

mod broadcast;
mod capture;
mod cause;
mod content;
mod core;
mod datagram;
mod disk;
mod event;
mod exact;
mod executor;
mod fault;
mod feature;
mod flow;
mod gate;
mod host;
mod hostile;
mod lab;
mod liar;
mod link;
mod members;
mod monitor;
mod network;
mod options;
pub mod oracle;
mod packets;
mod panics;
pub mod plan;
mod player;
mod points;
mod power;
mod random;
mod report;
mod resends;
mod run;
mod segment;
mod shrink;
mod software;
mod stack;
mod stage;
mod stall;
mod table;
mod tap;
mod ticked;
mod timer;
mod trace;
mod tracker;
mod transcript;
mod truth;
mod twin;
mod waits;
mod wire;
mod world;

pub use capture::Capture;
pub use cause::Cause;
pub use content::{Content, ContentError};
pub use datagram::SimDatagrams;
pub use disk::{DiskStats, PAGE, SimDisk};
pub use event::{Event, Loss, PacketSummary, Recorder, TcpSummary};
pub use executor::TaskId;
pub use host::{HostEnv, HostHandle, HostId};
pub use link::{HostLink, Link};
pub use network::{HostNetwork, SimListener, SimStream};
pub use options::{Limit, Limits, Stack, WorldOptions};
pub use panics::PanicMessage;
pub use plan::Plan;
pub use points::Point;
pub use random::Substreams;
pub use report::{Digest, Engine, Failure, PeerReport, Report, Verdict};
pub use run::{Progress, Watch, run, run_unchecked};
pub use shrink::{NotShrunk, Shrink, Smallest, simpler};
pub use tap::{Direction, StreamId, Tap, Tapped};
pub use wire::{Fate, Impairment, WireStats};
pub use world::{Ended, HostPanic, Step, World};
