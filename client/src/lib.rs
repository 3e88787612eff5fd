//! A BitTorrent peer, running: tasks, sockets, files and timers around the state
//! machines of `reseed-protocol`, over any network.

mod announce;
mod disk;
mod download;
mod env;
mod limit;
#[cfg(test)]
mod manual;
mod network;
mod peer;
#[doc(hidden)]
pub mod race;
mod real;
mod resume;
mod session;
mod storage;
mod substream;
mod tasks;

pub use announce::{AnnounceError, announce};
pub use disk::{Disk, FileDisk, MemoryDisk};
pub use download::{Download, DownloadOptions, State, Status};
pub use env::Env;
pub use limit::RateLimiter;
pub use network::{Listener, Network};
#[doc(inline)]
pub use race::timeout_at;
pub use real::{TokioEnv, TokioListener, TokioNetwork};
pub use resume::{ResumeData, ResumeError};
pub use session::{Session, SessionError, SessionOptions};
pub use storage::{Checker, Storage};
pub use substream::substream;
pub use tasks::{Spawner, Tasks};
