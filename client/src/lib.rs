//! A BitTorrent peer, running: tasks, sockets, files and timers around the state
//! machines of `reseed-protocol`, over any network.
//!
//! Start at [`Session`]: one listening port, many [`Download`]s; [`App`] is a program
//! around it, which decides when to exit. Its surroundings are three traits, so that the same code runs on a machine and in a simulation:
//!
//! - [`Network`]: connects and listens; the machine's is [`TokioNetwork`]
//! - [`Env`]: clock, timers, tasks, randomness; the machine's is [`TokioEnv`]
//! - [`Disk`]: files; the machine's is [`FileDisk`], and [`MemoryDisk`] has none
//!
//! [`Stream`] reads a download while it comes in.
//!
//! What else may be of use alone: [`Storage`] keeps a torrent's content, and
//! [`ResumeData`] what is known of it; [`Tasks`] owns tasks, and leaves none behind;
//! [`race!`] waits for the first of several futures, in the order written;
//! [`RateLimiter`] shares a rate; [`announce`](announce()) asks a tracker.

mod activity;
mod announce;
mod app;
mod buggify;
mod callbacks;
mod disk;
mod download;
mod env;
mod errands;
mod hashes;
mod limit;
mod links;
mod live;
#[cfg(test)]
mod manual;
pub mod monitor;
mod network;
mod peer;
#[doc(hidden)]
pub mod race;
mod real;
mod resume;
mod session;
mod storage;
mod stream;
mod substream;
mod tasks;
mod uptime;
mod waiting;

pub use activity::Activity;
pub use announce::{AnnounceError, ScrapeError, announce, scrape};
pub use app::{App, AppOptions};
pub use buggify::Buggify;
pub use callbacks::{CallbackPool, Callbacks, PoolClosed, WaitsForItself};
pub use disk::{Disk, FileDisk, MemoryDisk};
pub use download::{Download, DownloadOptions, ShutdownOptions};
pub use env::Env;
pub use errands::Work;
pub use hashes::hashes_path;
pub use limit::RateLimiter;
pub use live::{Live, LiveSource};
#[doc(inline)]
pub use monitor::{Monitoring, Report, ReportError, Reporter};
pub use network::{Connection, Datagrams, Listener, Network};
#[doc(inline)]
pub use race::timeout_at;
pub use real::{TokioEnv, TokioListener, TokioNetwork};
#[doc(no_inline)]
pub use reseed_protocol::{State, Status};
pub use resume::{ResumeData, ResumeError};
pub use session::{Session, SessionError, SessionOptions};
pub use storage::Storage;
pub use stream::{Stream, StreamError};
pub use substream::substream;
pub use tasks::{Spawner, Tasks};
pub use uptime::{ExitWhen, Uptime};
pub use waiting::{Wait, Waiting};
