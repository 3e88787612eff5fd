//! A BitTorrent peer as pure state machines: bytes and time in, actions out.
//!
//! Nothing here reads a clock, opens a socket, starts a thread or keeps global
//! state. Randomness is a generator that the caller passes in.
//!
//! Start at [`Torrent`]: one torrent as one peer lives it. It has the contract of
//! sans-IO code: call [`handle`](Torrent::handle) with an input and the time, drain
//! [`poll_output`](Torrent::poll_output), sleep until
//! [`poll_timeout`](Torrent::poll_timeout). What it decides with, each to be used
//! alone as well:
//!
//! - [`Picker`]: where every block stands, and which to ask for next
//! - [`Choker`]: who may download from us
//! - [`Pipeline`]: how many requests to keep open
//! - [`playback`]: when what is played is handed to its reader
//! - [`PeerTable`]: which addresses there are, and when to dial them
//! - [`tracker::Announcer`]: when to tell the tracker what
//! - [`HashTree`]: what the pieces of a Merkle torrent hash to
//! - [`MetadataFetch`]: how to get the metadata of a magnet link
//! - [`Agenda`]: what else is to be done when
//!
//! What a download tells whoever watches it is a [`Status`].
//!
//! And what it reads and writes:
//!
//! - [`metainfo`]: .torrent files; [`Magnet`]: links to torrents
//! - [`wire`]: the handshake, the messages, and the decoder that finds them
//! - [`extension`]: the extension handshake, peer exchange and give-to-get
//! - [`live`]: streams that are made while they are shared
//! - [`tracker`]: announces and their answers

mod agenda;
mod bencode;
mod bitfield;
mod choker;
mod connection;
mod defects;
pub mod extension;
mod fast;
mod few;
mod hash_tree;
mod id;
mod layout;
pub mod live;
mod locality;
mod magnet;
pub mod metadata_fetch;
pub mod metainfo;
mod peer_table;
mod picker;
mod pipeline;
pub mod playback;
mod priority;
mod rate;
mod status;
mod time;
pub mod torrent;
pub mod tracker;
pub mod wire;

pub use agenda::{Agenda, Owner};
pub use bencode::BencodeError;
pub use bitfield::{Bitfield, BitfieldError};
pub use choker::{Choker, ChokerOptions, Contender, Forwarding};
pub use connection::{Connection, Direction, Phase};
pub use defects::{Defect, Defects, UnknownDefect};
pub use fast::{ALLOWED_FAST_PIECES, allowed_fast_set};
pub use hash_tree::{HashTree, HashTreeError};
pub use id::{ConnectionId, InfoHash, PeerId};
pub use layout::{BLOCK_LENGTH, Block, Layout};
pub use locality::{Locality, Prefix};
pub use magnet::{Magnet, MagnetError, read_selection};
pub use metadata_fetch::MetadataFetch;
pub use metainfo::{Info, Metainfo, MetainfoError};
pub use peer_table::{PeerTable, Source, is_dialable};
pub use picker::{
    Asker, BlockState, Failure, NotWired, PartialPiece, Picker, PickerOptions, Receipt, Span,
    Streaming,
};
pub use pipeline::Pipeline;
pub use playback::{Delivery, Transporter, Video};
pub use priority::peer_priority;
pub use rate::Meter;
pub use status::{PeerStatus, PieceTimes, PlaybackState, PlaybackStats, State, Status, VideoInfo};
pub use time::Time;
pub use torrent::Torrent;
