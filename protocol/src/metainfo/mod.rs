//! Metainfo: what a .torrent file says. BEP 3, BEP 12 (read), BEP 27, BEP 30.
//!
//! A [`Metainfo`] that exists is valid: its names are safe to build paths from, its
//! lengths add up, and it has a hash for each piece, or the root of a tree of them.

mod create;
mod error;
mod info;
mod path;
mod read;

pub use create::{Content, Draft};
pub use error::{CreateError, MetainfoError};
pub use info::{File, FileSpan, Info};

use crate::InfoHash;

/// A .torrent file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metainfo {
    /// SHA-1 over the raw bytes of the `info` value.
    pub info_hash: InfoHash,
    /// The tracker's URL. Optional since trackers are no longer the only source of peers.
    pub announce: Option<String>,
    /// Tiers of tracker URLs, the first tier to be tried first. BEP 12.
    pub announce_list: Vec<Vec<String>>,
    /// What is shared.
    pub info: Info,
    /// Words of its maker; bytes that are not UTF-8 are replaced.
    pub comment: Option<String>,
    /// The program that made it; bytes that are not UTF-8 are replaced.
    pub created_by: Option<String>,
}

#[cfg(test)]
mod tests;
