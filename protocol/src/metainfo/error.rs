use std::io;

use crate::bencode::BencodeError;

/// Why bytes are no valid metainfo. BEP 3.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetainfoError {
    /// Not canonical bencode, or a field that is missing or has an impossible value.
    #[error("metainfo: {0}")]
    Bencode(#[from] BencodeError),
    /// A name that must not become part of a path on disk.
    #[error("metainfo: the name {name:?} {problem}")]
    Name {
        /// The name or path component, shortened.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two files with one path, or a path that is a file and a folder.
    #[error("metainfo: the path {path:?} is there twice, or is both a file and a folder")]
    Collision {
        /// Components of the path, joined by `/`.
        path: String,
    },
    /// No content: no files, or only empty ones.
    #[error("metainfo: {files} files of 0 bytes in all; expected at least 1 byte")]
    Empty {
        /// Files (count).
        files: usize,
    },
    /// The lengths, or the number of pieces that they make, are too large.
    #[error(
        "metainfo: the file lengths make more than 2^64-1 bytes or 2^32-1 pieces \
         of {piece_length} bytes"
    )]
    TooLarge {
        /// Bytes a piece.
        piece_length: u32,
    },
    /// `pieces` is not 20 bytes for each piece that the lengths make.
    #[error("metainfo: `info.pieces` has {got} bytes; expected {pieces} hashes of 20 bytes")]
    Hashes {
        /// Bytes that are there.
        got: usize,
        /// Pieces that the lengths make (count).
        pieces: u32,
    },
    /// `root hash` is no SHA-1. BEP 30.
    #[error("metainfo: `info.root hash` has {got} bytes; expected 20")]
    RootHash {
        /// Bytes that are there.
        got: usize,
    },
    /// More pieces than a tree of hashes is kept for. BEP 30.
    #[error(
        "metainfo: {pieces} pieces under one root hash; expected at most {}",
        crate::HashTree::PIECES_MAX
    )]
    TooManyPieces {
        /// Pieces that the lengths make (count).
        pieces: u32,
    },
}

/// Why no metainfo could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The draft describes no valid torrent.
    #[error("making a torrent: {0}")]
    Draft(#[from] MetainfoError),
    /// The content could not be read, or ends before the draft says.
    #[error("making a torrent: reading piece {piece} of the content: {source}")]
    Read {
        /// The piece that was being hashed, from 0.
        piece: u32,
        /// What the reader said.
        source: io::Error,
    },
}
