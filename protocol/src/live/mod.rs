//! Live streams: pieces that are made while they are shared.
//!
//! A live torrent has a fixed number of pieces, and its stream has no end. So the
//! stream goes round: the piece with *sequence number* `s` lies at the place `s`
//! modulo that number ([`Ring`]), and takes the place of one that is long gone. Each
//! peer holds only what is near its own position to be valid, an eighth of the ring
//! each way; what leaves that window is forgotten, with everybody's claim to have
//! it, before it is made anew.
//!
//! A hash cannot be known before the piece is. Each piece ends with its sequence
//! number and the source's signature ([`seal()`]), and the torrent holds the key that
//! proves it ([`Info::live_key`](crate::Info::live_key)).
//!
//! The [`Broadcast`] makes pieces at the stream's rate. A [`Viewer`] hooks in where
//! most of its neighbours are, gathers a little, and plays at that rate; a piece that
//! is not there when it is due is dropped.

mod broadcast;
mod ring;
mod seal;
mod viewer;

#[cfg(test)]
mod tests;

pub use broadcast::Broadcast;
pub use ring::Ring;
pub use seal::{SEAL_LENGTH, open_seal, seal};
pub use viewer::{Arrival, Notice, ViewState, Viewer};
