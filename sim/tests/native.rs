//! The tests of the world again, on our own stack.
#![allow(clippy::duplicate_mod, reason = "each of these files has what they share as its own")]

#[path = "determinism.rs"]
mod determinism;
#[path = "executor.rs"]
mod executor;
#[path = "links.rs"]
mod links;
#[path = "power.rs"]
mod power;
#[path = "streams.rs"]
mod streams;
