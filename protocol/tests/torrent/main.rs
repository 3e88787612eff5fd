//! What a torrent does, seen from outside: by a remote that talks to it, by its disk and
//! its tracker, and by other torrents, in memory.

mod alone;
mod disk_fails;
mod habits;
mod hostile;
mod live;
mod merkle;
mod metadata;
mod news;
mod play;
mod swarm;
mod talk;
mod upload_only;

use reseed_protocol::{Bitfield, InfoHash, Layout, torrent::Start};

const INFO_HASH: InfoHash = InfoHash([7; 20]);

/// These of `count` pieces.
fn pieces(count: u32, these: &[u32]) -> Bitfield {
    let mut pieces = Bitfield::empty(count);
    these.iter().for_each(|piece| _ = pieces.insert(*piece));
    pieces
}

/// A public torrent that is announced to nobody, of which `have` is here.
fn start(layout: Layout, have: Bitfield) -> Start {
    Start {
        info_hash: INFO_HASH,
        layout,
        private: false,
        torrent_keys: Vec::new(),
        have,
        hashes: None,
        announce: false,
        totals: (0, 0),
    }
}
