use std::ops::RangeInclusive;

use bytes::Bytes;

use super::{
    Content, MetainfoError,
    path::{check_collisions, check_name},
};
use crate::{BencodeError, Bitfield, Layout, extension::closed_swarm::PublicKey};

/// Bytes of a SHA-1.
pub(super) const HASH_LENGTH: usize = 20;

/// How the pieces of a live stream are signed: ECDSA over P-256 with SHA-256.
pub(super) const LIVE_METHOD: &str = "ECDSA-P256";

/// The `info` dictionary: what is shared, and what it must hash to. BEP 3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    pub(super) name: String,
    pub(super) private: bool,
    pub(super) torrent_keys: Vec<PublicKey>,
    pub(super) multi_file: bool,
    pub(super) files: Vec<File>,
    pub(super) layout: Layout,
    pub(super) hashes: Hashes,
    pub(super) raw: Bytes,
}

/// What the content must hash to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hashes {
    /// A SHA-1 a piece, one after the other. BEP 3.
    Pieces(Bytes),
    /// The root of a tree over them. BEP 30.
    Root([u8; HASH_LENGTH]),
    /// None: the key that the pieces of a live stream are signed with. NextShare.
    Source(Box<PublicKey>),
}

/// A file of the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Components of its path below the download folder. In a torrent of several files
    /// the first one is the torrent's name.
    pub path: Vec<String>,
    /// Bytes; may be 0.
    pub length: u64,
    /// Where it starts, in bytes from the start of the content.
    pub offset: u64,
}

/// Bytes of the content that lie in one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSpan {
    /// Index into [`Info::files`].
    pub file: usize,
    /// First byte, counted from the start of the file.
    pub offset: u64,
    /// Bytes, at least 1.
    pub length: u32,
}

impl Info {
    /// Bytes a piece may have. A piece is the unit that is checked, so its length is
    /// memory and wasted transfer that a stranger chooses for us; makers of torrents
    /// stay at or below 64 MiB.
    pub const PIECE_LENGTH_MAX: u32 = 64 << 20;

    /// The file's name, or the folder's if there are several files.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether peers come from the tracker alone. BEP 27.
    pub fn is_private(&self) -> bool {
        self.private
    }

    /// `cs_keys`: the keys that sign certificates; with any, the swarm is closed. See
    /// [`closed_swarm`](crate::extension::closed_swarm).
    pub fn torrent_keys(&self) -> &[PublicKey] {
        &self.torrent_keys
    }

    /// Whether the content is a folder, be it of one file.
    pub fn is_multi_file(&self) -> bool {
        self.multi_file
    }

    /// The files, in the order in which their bytes make up the content.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// The grid of pieces and blocks.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// SHA-1 that the bytes of `piece` must have; `None` if there is only a
    /// [`root_hash`](Info::root_hash), or a [`live_key`](Info::live_key).
    ///
    /// # Panics
    /// If there is no such piece.
    pub fn piece_hash(&self, piece: u32) -> Option<[u8; 20]> {
        assert!(piece < self.layout.pieces(), "piece {piece} of {}", self.layout.pieces());
        let Hashes::Pieces(hashes) = &self.hashes else { return None };
        let start = piece as usize * HASH_LENGTH;
        let hash = &hashes[start..start + HASH_LENGTH];
        Some(hash.try_into().expect("the slice has the hash's length"))
    }

    /// The root of the [tree](crate::HashTree) over the pieces' hashes, in a Merkle
    /// torrent: the hashes themselves come from peers. BEP 30.
    pub fn root_hash(&self) -> Option<[u8; 20]> {
        match self.hashes {
            Hashes::Root(root) => Some(root),
            Hashes::Pieces(_) | Hashes::Source(_) => None,
        }
    }

    /// The key that the pieces of a [live stream](crate::live) are signed with, if that
    /// is the content. It has as many bytes a piece as it has, and at least
    /// [`Ring::PIECES_MIN`](crate::live::Ring::PIECES_MIN) pieces.
    pub fn live_key(&self) -> Option<PublicKey> {
        match &self.hashes {
            Hashes::Source(key) => Some(**key),
            Hashes::Pieces(_) | Hashes::Root(_) => None,
        }
    }

    /// The bencoded dictionary as it was read: what the info-hash is taken over, and
    /// what BEP 9 hands out.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The pieces that hold bytes of the files with these indices. There may be none.
    pub fn pieces_of(&self, files: &[RangeInclusive<u32>]) -> Bitfield {
        let mut pieces = Bitfield::empty(self.layout.pieces());
        let piece_length = u64::from(self.layout.piece_length());
        for (index, file) in (0..).zip(&self.files) {
            if file.length > 0 && files.iter().any(|range| range.contains(&index)) {
                let (first, last) = (file.offset / piece_length, (file.end() - 1) / piece_length);
                (first..=last).for_each(|piece| _ = pieces.insert(piece as u32));
            }
        }
        pieces
    }

    /// Where the `length` bytes from `begin` of `piece` lie, in order. Empty files
    /// have no span.
    ///
    /// # Panics
    /// If the bytes are not inside the piece.
    pub fn spans(
        &self,
        piece: u32,
        begin: u32,
        length: u32,
    ) -> impl Iterator<Item = FileSpan> + '_ {
        let piece_length = self.layout.length_of(piece);
        assert!(
            u64::from(begin) + u64::from(length) <= u64::from(piece_length),
            "{length} bytes from {begin} of a piece of {piece_length}"
        );
        let start = self.layout.offset_of(piece) + u64::from(begin);
        let end = start + u64::from(length);
        let first = self.files.partition_point(|file| file.end() <= start);
        self.files[first..]
            .iter()
            .zip(first..)
            .take_while(move |(file, _)| file.offset < end)
            .map(move |(file, index)| {
                let from = start.max(file.offset);
                FileSpan {
                    file: index,
                    offset: from - file.offset,
                    length: (end.min(file.end()) - from) as u32,
                }
            })
            .filter(|span| span.length > 0)
    }
}

impl File {
    fn end(&self) -> u64 {
        self.offset + self.length
    }
}

/// What reading and making a torrent check in the same way: turns names and lengths
/// into files and a grid.
pub(super) fn arrange(
    name: &str,
    piece_length: u64,
    content: Content,
) -> Result<(Vec<File>, Layout), MetainfoError> {
    let piece_length = u32::try_from(piece_length)
        .ok()
        .filter(|length| (1..=Info::PIECE_LENGTH_MAX).contains(length))
        .ok_or_else(|| {
            BencodeError::unexpected("info.piece length", piece_length, "1 to 67108864 bytes")
        })?;
    check_name(name)?;
    let mut files = Vec::new();
    let mut offset = 0u64;
    for (path, length) in paths(name, content)? {
        files.push(File { path, length, offset });
        offset = offset.checked_add(length).ok_or(MetainfoError::TooLarge { piece_length })?;
    }
    check_collisions(&files)?;
    if offset == 0 {
        return Err(MetainfoError::Empty { files: files.len() });
    }
    if u32::try_from(offset.div_ceil(u64::from(piece_length))).is_err() {
        return Err(MetainfoError::TooLarge { piece_length });
    }
    Ok((files, Layout::new(piece_length, offset)))
}

fn paths(name: &str, content: Content) -> Result<Vec<(Vec<String>, u64)>, MetainfoError> {
    match content {
        Content::File { length } => Ok(vec![(vec![name.to_owned()], length)]),
        Content::Folder(mut files) => {
            for (path, _) in &mut files {
                if path.is_empty() {
                    let field = "info.files.path";
                    return Err(BencodeError::unexpected(field, "empty", "a component").into());
                }
                path.iter().try_for_each(|name| check_name(name))?;
                path.insert(0, name.to_owned());
            }
            Ok(files)
        }
    }
}
