//! A BitTorrent peer, running: tasks, sockets, files and timers around the state
//! machines of `reseed-protocol`, over any network.

mod disk;
mod env;
mod limit;
#[cfg(test)]
mod manual;
mod network;
mod race;
mod substream;
mod tasks;

pub use disk::Disk;
pub use env::Env;
pub use limit::RateLimiter;
pub use network::{Listener, Network};
pub use race::timeout_at;
pub use substream::substream;
pub use tasks::{Spawner, Tasks};

#[doc(hidden)]
pub use race as __race;
