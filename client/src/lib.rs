//! A BitTorrent peer, running: tasks, sockets, files and timers around the state
//! machines of `reseed-protocol`, over any network.

mod disk;
mod env;
mod network;

pub use disk::Disk;
pub use env::Env;
pub use network::{Listener, Network};
