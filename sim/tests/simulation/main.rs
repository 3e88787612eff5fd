//! Worlds, and peers that run in them.
#![allow(clippy::duplicate_mod, reason = "a world does the same on either stack")]

mod buggify;
mod common;
mod engines;
mod faults;
mod flags;
mod hostile;
mod live;
mod merkle;
mod nat;
mod oracles;
mod plans;
mod shared;
mod shutdown;
mod tracker;

use reseed_sim::Stack;

#[path = "."]
mod turmoil_net {
    const STACK: super::Stack = super::Stack::TurmoilNet;

    #[path = "world/mod.rs"]
    mod world;
}

#[path = "."]
mod native {
    const STACK: super::Stack = super::Stack::Native;

    #[path = "world/mod.rs"]
    mod world;
}
