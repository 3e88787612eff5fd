use bendy::decoding::Object;
use bytes::Bytes;
use sha1::{Digest, Sha1};

use super::{
    Content, Info, Metainfo, MetainfoError,
    info::{HASH_LENGTH, Hashes, LIVE_METHOD, arrange},
};
use crate::{
    HashTree, InfoHash, Layout,
    bencode::{self, BencodeError, each_item, each_pair, read_dict},
    extension::closed_swarm::{PublicKey, TORRENT_KEYS_MAX},
    live::{Ring, SEAL_LENGTH},
};

impl Metainfo {
    /// Reads a .torrent file. Keys that are not known are passed over.
    pub fn from_bytes(bytes: &[u8]) -> Result<Metainfo, MetainfoError> {
        let mut announce = None;
        let mut announce_list = Vec::new();
        let mut comment = None;
        let mut created_by = None;
        let mut raw_info = None;
        read_dict::<MetainfoError>(bytes, "metainfo", |key, value| {
            match key {
                b"announce" => announce = Some(bencode::text("announce", value)?.to_owned()),
                b"announce-list" => announce_list = tiers(value)?,
                b"comment" => comment = Some(lossy("comment", value)?),
                b"created by" => created_by = Some(lossy("created by", value)?),
                b"info" => {
                    let info = bencode::dict("info", value)?;
                    raw_info = Some(info.into_raw().map_err(BencodeError::from)?);
                }
                _ => {}
            }
            Ok(())
        })?;
        let raw_info = required("info", raw_info)?;
        Ok(Metainfo {
            info_hash: Info::hash(raw_info),
            announce,
            announce_list,
            info: Info::from_bytes(raw_info)?,
            comment,
            created_by,
        })
    }
}

impl Info {
    /// SHA-1 over a bencoded `info` dictionary: the torrent's identity.
    pub fn hash(raw: &[u8]) -> InfoHash {
        InfoHash(Sha1::digest(raw).into())
    }

    /// Reads a bencoded `info` dictionary, as it is in a .torrent file and as peers
    /// hand it out (BEP 9). Keys that are not known are passed over.
    pub fn from_bytes(raw: &[u8]) -> Result<Info, MetainfoError> {
        let raw = Bytes::copy_from_slice(raw);
        let mut name = None;
        let mut piece_length = None;
        let mut hashes = None;
        let mut root = None;
        let mut source = None;
        let mut private = false;
        let mut torrent_keys = Vec::new();
        let mut length = None;
        let mut files = None;
        read_dict::<MetainfoError>(&raw, "info", |key, value| {
            match key {
                b"cs_keys" => torrent_keys = keys(value)?,
                b"files" => files = Some(folder(value)?),
                b"length" => length = Some(bencode::unsigned("info.length", value)?),
                b"live" => source = Some(live_key(value)?),
                b"name" => name = Some(bencode::text("info.name", value)?),
                b"piece length" => {
                    piece_length = Some(bencode::unsigned("info.piece length", value)?);
                }
                b"pieces" => hashes = Some(bencode::bytes("info.pieces", value)?),
                b"private" => private = flag("info.private", value)?,
                b"root hash" => root = Some(bencode::bytes("info.root hash", value)?),
                _ => {}
            }
            Ok(())
        })?;
        let multi_file = files.is_some();
        let content = match (length, files) {
            (Some(length), None) => Content::File { length },
            (None, Some(files)) => Content::Folder(files),
            (None, None) => required("info.length or info.files", None)?,
            (Some(length), Some(_)) => Err(BencodeError::unexpected(
                "info.length",
                format!("{length} beside `info.files`"),
                "only one of the two",
            ))?,
        };
        let name = required("info.name", name)?;
        let piece_length = required("info.piece length", piece_length)?;
        let (files, layout) = arrange(name, piece_length, content)?;
        let hashes = match (hashes, root, source) {
            (None, None, Some(source)) => Hashes::Source(Box::new(goes_round(source, layout)?)),
            (_, _, Some(_)) => Err(BencodeError::unexpected(
                "info.live",
                "there beside `info.pieces` or `info.root hash`",
                "only one of them",
            ))?,
            (Some(hashes), None, None) => {
                Hashes::Pieces(raw.slice_ref(piece_hashes(hashes, layout)?))
            }
            (None, Some(root), None) => Hashes::Root(root_hash(root, layout)?),
            (None, None, None) => required::<Hashes>("info.pieces or info.root hash", None)?,
            (Some(_), Some(_), None) => Err(BencodeError::unexpected(
                "info.root hash",
                "there beside `info.pieces`",
                "only one of the two",
            ))?,
        };
        Ok(Info {
            name: name.to_owned(),
            private,
            torrent_keys,
            multi_file,
            files,
            layout,
            hashes,
            raw,
        })
    }
}

/// Holds `pieces` to a hash for each piece. BEP 3.
fn piece_hashes(hashes: &[u8], layout: Layout) -> Result<&[u8], MetainfoError> {
    match hashes.len() as u64 == u64::from(layout.pieces()) * HASH_LENGTH as u64 {
        true => Ok(hashes),
        false => Err(MetainfoError::Hashes { got: hashes.len(), pieces: layout.pieces() }),
    }
}

/// Holds `root hash` to one hash, and the tree below it to its bound. BEP 30.
fn root_hash(root: &[u8], layout: Layout) -> Result<[u8; HASH_LENGTH], MetainfoError> {
    if layout.pieces() > HashTree::PIECES_MAX {
        return Err(MetainfoError::TooManyPieces { pieces: layout.pieces() });
    }
    root.try_into().map_err(|_| MetainfoError::RootHash { got: root.len() })
}

/// The key of a live stream's source. NextShare: `authmethod` and `pubkey`.
fn live_key(value: Object<'_, '_>) -> Result<PublicKey, BencodeError> {
    let mut key = None;
    each_pair(bencode::dict("info.live", value)?, |name, value| {
        match name {
            b"authmethod" => {
                let method = bencode::text("info.live.authmethod", value)?;
                if method != LIVE_METHOD {
                    let field = "info.live.authmethod";
                    return Err(BencodeError::unexpected(field, method.to_owned(), LIVE_METHOD));
                }
            }
            b"pubkey" => {
                let field = "info.live.pubkey";
                let read = PublicKey::from_der(bencode::bytes(field, value)?);
                let bad = |error| BencodeError::unexpected(field, error, "a public key");
                key = Some(read.map_err(bad)?);
            }
            _ => {}
        }
        Ok::<_, BencodeError>(())
    })?;
    required("info.live.pubkey", key)
}

/// Holds a live torrent to a grid that a stream can go round: enough pieces, all of one
/// length, with room for more than a seal.
fn goes_round(key: PublicKey, layout: Layout) -> Result<PublicKey, BencodeError> {
    let piece_length = u64::from(layout.piece_length());
    let whole = layout.total_length() == piece_length * u64::from(layout.pieces());
    match whole && layout.pieces() >= Ring::PIECES_MIN && piece_length > SEAL_LENGTH as u64 {
        true => Ok(key),
        false => Err(BencodeError::unexpected(
            "info.live",
            format!("{} bytes in pieces of {piece_length}", layout.total_length()),
            "at least 32 pieces of one length, of more than 72 bytes",
        )),
    }
}

fn required<T>(field: &'static str, value: Option<T>) -> Result<T, BencodeError> {
    value.ok_or(BencodeError::Missing { field })
}

fn lossy(field: &'static str, value: Object<'_, '_>) -> Result<String, BencodeError> {
    Ok(String::from_utf8_lossy(bencode::bytes(field, value)?).into_owned())
}

/// A flag that is neither 0 nor 1 is refused, lest a private torrent be taken for a
/// public one.
fn flag(field: &'static str, value: Object<'_, '_>) -> Result<bool, BencodeError> {
    match bencode::unsigned(field, value)? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(BencodeError::unexpected(field, other, "0 or 1")),
    }
}

/// Keys of which one is bad are refused, lest a closed swarm be taken for an open one.
fn keys(value: Object<'_, '_>) -> Result<Vec<PublicKey>, BencodeError> {
    let field = "info.cs_keys";
    let mut keys = Vec::new();
    each_item(bencode::list(field, value)?, |key| {
        let key = PublicKey::from_der(bencode::bytes(field, key)?);
        keys.push(key.map_err(|error| BencodeError::unexpected(field, error, "public keys"))?);
        match keys.len() <= TORRENT_KEYS_MAX {
            true => Ok(()),
            false => Err(BencodeError::unexpected(field, "longer", "at most 32 keys")),
        }
    })?;
    match keys.is_empty() {
        true => Err(BencodeError::unexpected(field, "an empty list", "at least one key")),
        false => Ok(keys),
    }
}

fn tiers(value: Object<'_, '_>) -> Result<Vec<Vec<String>>, BencodeError> {
    let mut tiers = Vec::new();
    each_item(bencode::list("announce-list", value)?, |tier| {
        tiers.push(texts("announce-list", tier)?);
        Ok::<_, BencodeError>(())
    })?;
    tiers.retain(|tier| !tier.is_empty());
    Ok(tiers)
}

fn texts(field: &'static str, value: Object<'_, '_>) -> Result<Vec<String>, BencodeError> {
    let mut texts = Vec::new();
    each_item(bencode::list(field, value)?, |text| {
        texts.push(bencode::text(field, text)?.to_owned());
        Ok::<_, BencodeError>(())
    })?;
    Ok(texts)
}

fn folder(value: Object<'_, '_>) -> Result<Vec<(Vec<String>, u64)>, BencodeError> {
    let mut files = Vec::new();
    each_item(bencode::list("info.files", value)?, |file| {
        let mut length = None;
        let mut path = None;
        each_pair(bencode::dict("info.files", file)?, |key, value| {
            match key {
                b"length" => length = Some(bencode::unsigned("info.files.length", value)?),
                b"path" => path = Some(texts("info.files.path", value)?),
                _ => {}
            }
            Ok::<_, BencodeError>(())
        })?;
        files.push((required("info.files.path", path)?, required("info.files.length", length)?));
        Ok::<_, BencodeError>(())
    })?;
    Ok(files)
}
