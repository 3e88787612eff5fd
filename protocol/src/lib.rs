//! A BitTorrent peer as pure state machines: bytes and time in, actions out.
//!
//! Nothing here reads a clock, opens a socket, starts a thread or keeps global
//! state. Each machine has the one contract of sans-IO code: call `handle` with
//! an input and the time, drain `poll_output`, sleep until `poll_timeout`.
//! Randomness is a generator that the caller passes in.

mod bencode;
mod bitfield;
mod choker;
mod connection;
mod defects;
pub mod extension;
mod fast;
mod id;
mod layout;
pub mod metainfo;
mod peer_table;
mod picker;
mod pipeline;
mod rate;
mod time;
pub mod torrent;
pub mod tracker;
pub mod wire;

pub use bencode::BencodeError;
pub use bitfield::{Bitfield, BitfieldError};
pub use choker::{Choker, ChokerOptions, Contender};
pub use connection::{Connection, Direction, Phase};
pub use defects::{Defect, Defects, UnknownDefect};
pub use fast::{ALLOWED_FAST_PIECES, allowed_fast_set};
pub use id::{ConnectionId, InfoHash, PeerId};
pub use layout::{BLOCK_LENGTH, Block, Layout};
pub use metainfo::{Info, Metainfo, MetainfoError};
pub use peer_table::{PeerTable, Source, is_dialable};
pub use picker::{BlockState, Failure, PartialPiece, Picker, PickerOptions, Receipt};
pub use pipeline::Pipeline;
pub use rate::Meter;
pub use time::Time;
pub use torrent::Torrent;
