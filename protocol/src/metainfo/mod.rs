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

use crate::{InfoHash, Magnet};

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

impl Metainfo {
    /// What a peer with no more than a magnet link makes of the metadata that others
    /// gave it: `metadata` is the raw info dictionary. BEP 9.
    pub fn from_metadata(magnet: &Magnet, metadata: &[u8]) -> Result<Metainfo, MetainfoError> {
        Ok(Metainfo {
            info_hash: Info::hash(metadata),
            announce: magnet.trackers.first().cloned(),
            announce_list: magnet.trackers.iter().map(|url| vec![url.clone()]).collect(),
            info: Info::from_bytes(metadata)?,
            comment: None,
            created_by: None,
        })
    }

    /// The URLs of its trackers, by tier; `announce` counts only if there are no tiers.
    /// BEP 12.
    pub fn trackers(&self) -> Vec<Vec<String>> {
        match self.announce_list.is_empty() {
            true => self.announce.iter().map(|url| vec![url.clone()]).collect(),
            false => self.announce_list.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
