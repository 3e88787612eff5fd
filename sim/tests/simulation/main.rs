//! Worlds, and peers that run in them.
#![allow(clippy::duplicate_mod, reason = "a world does the same on either stack")]

mod buggify;
mod common;
mod engines;
mod faults;
mod flags;
mod hostile;
mod merkle;
mod nat;
mod oracles;
mod plans;
mod shared;
mod shutdown;
mod tracker;

#[path = "world"]
mod world_on_turmoil_net {
    mod determinism;
    mod executor;
    mod links;
    mod power;
    mod streams;

    use reseed_sim::{Stack, WorldOptions};

    fn options() -> WorldOptions {
        WorldOptions { stack: Stack::TurmoilNet, ..WorldOptions::default() }
    }

    fn exact() -> WorldOptions {
        WorldOptions { stack: Stack::TurmoilNet, ..crate::common::exact() }
    }
}

#[path = "world"]
mod world_on_native {
    mod determinism;
    mod executor;
    mod links;
    mod power;
    mod streams;

    use reseed_sim::{Stack, WorldOptions};

    fn options() -> WorldOptions {
        WorldOptions { stack: Stack::Native, ..WorldOptions::default() }
    }

    fn exact() -> WorldOptions {
        WorldOptions { stack: Stack::Native, ..crate::common::exact() }
    }
}
