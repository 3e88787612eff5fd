//! A world, on the stack of the module around it.

mod determinism;
mod executor;
mod links;
mod power;
mod streams;

use reseed_sim::WorldOptions;

use super::STACK;

fn options() -> WorldOptions {
    WorldOptions { stack: STACK, ..WorldOptions::default() }
}

fn exact() -> WorldOptions {
    WorldOptions { stack: STACK, ..crate::common::exact() }
}
