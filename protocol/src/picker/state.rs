//! What the picker says of blocks and pieces.

use std::collections::BTreeSet;

use crate::ConnectionId;

/// Where one block stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockState<'a> {
    /// Wanted, and asked of nobody.
    Free,
    /// Asked of these connections, the first asked first; at least one.
    InFlight(&'a [ConnectionId]),
    /// Here, in a piece that is not verified yet.
    Received,
    /// Part of a verified piece.
    Verified,
    /// Not to be had.
    Unwanted,
}

/// What becomes of a block that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Receipt {
    /// It was missing: store it.
    Accepted {
        /// Who else was asked for it, and is to be sent a CANCEL.
        also_requested: Vec<ConnectionId>,
        /// Whether all its piece is here now, and waits for
        /// [`verified`](crate::Picker::verified) or [`failed`](crate::Picker::failed).
        piece_complete: bool,
    },
    /// It is here already, or not wanted, or not wanted from this connection
    /// (of a suspect piece, from anyone but its source).
    Redundant,
    /// It is not a block of the grid: nobody was ever asked for it.
    Invalid,
}

/// Who may be to blame for a piece with a wrong hash.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Failure {
    /// Everyone who sent a block of it.
    pub senders: BTreeSet<ConnectionId>,
    /// The one who sent all of it, and so without doubt sent wrong bytes.
    pub certain: Option<ConnectionId>,
}

/// A piece that has been started and is not verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartialPiece {
    /// Piece index.
    pub piece: u32,
    /// Blocks (count) still to be asked for.
    pub free: u32,
    /// Blocks (count) asked for.
    pub in_flight: u32,
    /// Blocks (count) that are here.
    pub received: u32,
}
