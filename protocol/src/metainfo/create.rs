use std::io::{self, Read};

use bendy::encoding::{AsString, Encoder, Error as EncodeError, SingleItemEncoder};
use sha1::{Digest, Sha1};

use super::{
    CreateError, Metainfo, MetainfoError,
    info::{HASH_LENGTH, LIVE_METHOD, arrange},
};
use crate::{HashTree, Layout, extension::closed_swarm::PublicKey};

/// What a new torrent is to say, but for the hashes of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The file's name, or the folder's if there are several files.
    pub name: String,
    /// Bytes a piece: 1 to [`Info::PIECE_LENGTH_MAX`](super::Info::PIECE_LENGTH_MAX),
    /// commonly a power of two.
    pub piece_length: u32,
    /// Whether peers come from the tracker alone. BEP 27.
    pub private: bool,
    /// Whether to put the root of a tree of hashes in place of the pieces' hashes.
    /// BEP 30.
    pub merkle: bool,
    /// The key that the pieces of a live stream are signed with, if that is the content;
    /// there is none of it yet to be read. NextShare.
    pub live: Option<PublicKey>,
    /// The keys that sign certificates; with any, the swarm is closed.
    pub torrent_keys: Vec<PublicKey>,
    /// The tracker's URL.
    pub announce: Option<String>,
    /// The files.
    pub content: Content,
}

/// What a torrent shares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// One file, under the torrent's name.
    File {
        /// Bytes.
        length: u64,
    },
    /// A folder, under the torrent's name: the path of each file below that folder, in
    /// components, and its length in bytes.
    Folder(Vec<(Vec<String>, u64)>),
}

impl Metainfo {
    /// Makes a .torrent file: the metainfo, and the bytes that it reads back from.
    ///
    /// `content` gives the bytes of all files one after the other. Exactly as many as
    /// the draft's lengths add up to are read, a little at a time.
    pub fn create(
        draft: &Draft,
        mut content: impl Read,
    ) -> Result<(Metainfo, Vec<u8>), CreateError> {
        let piece_length = u64::from(draft.piece_length);
        let (_, layout) = arrange(&draft.name, piece_length, draft.content.clone())?;
        if draft.merkle && layout.pieces() > HashTree::PIECES_MAX {
            return Err(MetainfoError::TooManyPieces { pieces: layout.pieces() }.into());
        }
        let mut hashes = Vec::new();
        let there = if draft.live.is_some() { 0 } else { layout.pieces() };
        for piece in 0..there {
            let hash = hash_piece(&mut content, layout, piece)
                .map_err(|source| CreateError::Read { piece, source })?;
            hashes.push(hash);
        }
        let bytes = encode(draft, &hashes).expect("the keys below are in order");
        Ok((Metainfo::from_bytes(&bytes)?, bytes))
    }
}

fn hash_piece(
    content: &mut impl Read,
    layout: Layout,
    piece: u32,
) -> io::Result<[u8; HASH_LENGTH]> {
    let mut hash = Sha1::new();
    let mut buffer = [0; 8 * 1024];
    let mut left = layout.length_of(piece) as usize;
    while left > 0 {
        let part = left.min(buffer.len());
        content.read_exact(&mut buffer[..part])?;
        hash.update(&buffer[..part]);
        left -= part;
    }
    Ok(hash.finalize().into())
}

fn encode(draft: &Draft, hashes: &[[u8; HASH_LENGTH]]) -> Result<Vec<u8>, EncodeError> {
    let mut encoder = Encoder::new();
    encoder.emit_dict(|mut dict| {
        if let Some(announce) = &draft.announce {
            dict.emit_pair(b"announce", announce)?;
        }
        dict.emit_pair_with(b"info", |value| encode_info(value, draft, hashes))
    })?;
    encoder.get_output()
}

fn encode_info(
    value: SingleItemEncoder<'_>,
    draft: &Draft,
    hashes: &[[u8; HASH_LENGTH]],
) -> Result<(), EncodeError> {
    value.emit_dict(|mut info| {
        if !draft.torrent_keys.is_empty() {
            let keys = draft.torrent_keys.iter().map(|key| AsString(key.to_der()));
            info.emit_pair(b"cs_keys", keys.collect::<Vec<_>>())?;
        }
        match &draft.content {
            Content::File { length } => info.emit_pair(b"length", length)?,
            Content::Folder(files) => info.emit_pair_with(b"files", |value| {
                value.emit_list(|list| {
                    files.iter().try_for_each(|(path, length)| {
                        list.emit_dict(|mut file| {
                            file.emit_pair(b"length", length)?;
                            file.emit_pair(b"path", path)
                        })
                    })
                })
            })?,
        }
        if let Some(key) = draft.live {
            info.emit_pair_with(b"live", |value| {
                value.emit_dict(|mut live| {
                    live.emit_pair(b"authmethod", LIVE_METHOD)?;
                    live.emit_pair(b"pubkey", AsString(key.to_der()))
                })
            })?;
        }
        info.emit_pair(b"name", &draft.name)?;
        info.emit_pair(b"piece length", draft.piece_length)?;
        if !draft.merkle && draft.live.is_none() {
            info.emit_pair_with(b"pieces", |value| value.emit_bytes(hashes.as_flattened()))?;
        }
        if draft.private {
            info.emit_pair(b"private", 1)?;
        }
        if draft.merkle {
            let root = HashTree::from_pieces(hashes).root();
            info.emit_pair_with(b"root hash", |value| value.emit_bytes(&root))?;
        }
        Ok(())
    })
}
