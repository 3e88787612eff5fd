use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};

use crate::extension::metadata_span;

/// Requests for pieces that are kept open (count): enough that a round trip is not lost
/// for each piece.
const OPEN_MAX: usize = 4;

/// Metadata that comes from one remote, in any order. It takes as much memory as came.
#[derive(Debug)]
pub struct Assembly {
    size: u32,
    /// The first piece that was not asked for yet.
    next: u32,
    open: BTreeSet<u32>,
    pieces: BTreeMap<u32, Bytes>,
}

/// Why what came is no piece of the metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPiece {
    #[error("it was not asked for")]
    Unasked,
    #[error("it has {got} bytes where {expected} are left or make a piece")]
    Length { got: usize, expected: usize },
}

impl Assembly {
    /// Nothing yet of `size` bytes.
    pub fn new(size: u32) -> Assembly {
        Assembly { size, next: 0, open: BTreeSet::new(), pieces: BTreeMap::new() }
    }

    /// The piece to ask for next, if there is one to be asked for now.
    pub fn next_request(&mut self) -> Option<u32> {
        if self.open.len() == OPEN_MAX || metadata_span(self.next, self.size).is_none() {
            return None;
        }
        self.open.insert(self.next);
        self.next += 1;
        Some(self.next - 1)
    }

    /// A piece came.
    pub fn receive(&mut self, piece: u32, data: Bytes) -> Result<(), NoPiece> {
        if !self.open.remove(&piece) {
            return Err(NoPiece::Unasked);
        }
        let expected = metadata_span(piece, self.size).expect("it was asked for").len();
        if data.len() != expected {
            return Err(NoPiece::Length { got: data.len(), expected });
        }
        self.pieces.insert(piece, data);
        Ok(())
    }

    /// The metadata, once all of it is here.
    pub fn finish(&mut self) -> Option<Bytes> {
        if !self.open.is_empty() || metadata_span(self.next, self.size).is_some() {
            return None;
        }
        let mut metadata = BytesMut::new();
        for piece in std::mem::take(&mut self.pieces).into_values() {
            metadata.extend_from_slice(&piece);
        }
        Some(metadata.freeze())
    }
}
