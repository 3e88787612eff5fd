//! A block, and what proves the hash of its piece. BEP 30.

use std::fmt;

use bendy::{
    decoding::{Decoder, ListDecoder, Object},
    encoding::{Encoder, Error as EncodeError},
};
use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{DEPTH_MAX, ExtensionError};
use crate::Block;

/// The payload of `Tr_hashpiece`: piece, begin and the length of the hashes (4 bytes
/// each, big-endian), the hashes as a bencoded list of pairs of node and hash, the
/// block.
///
/// The hashes of a piece need to come once: they are sent with its first block, and
/// the others have an empty list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashPiece {
    /// Piece index, from 0.
    pub piece: u32,
    /// First byte, counted from the start of the piece.
    pub begin: u32,
    /// Nodes of the tree of hashes, and their hashes.
    pub hashes: Vec<(u32, [u8; 20])>,
    /// The block.
    pub data: Bytes,
}

impl HashPiece {
    /// Hashes in a message (count): the two of each level, and the root, of the
    /// highest tree that is kept.
    pub const HASHES_MAX: usize = 2 * crate::HashTree::PIECES_MAX.ilog2() as usize + 1;

    /// The payload to send.
    pub fn encode(&self) -> Bytes {
        let hashes = self.write_hashes().expect("a list has no order to keep");
        let mut payload = BytesMut::with_capacity(HEAD + hashes.len() + self.data.len());
        payload.put_u32(self.piece);
        payload.put_u32(self.begin);
        payload.put_u32(hashes.len() as u32);
        payload.extend_from_slice(&hashes);
        payload.extend_from_slice(&self.data);
        payload.freeze()
    }

    /// Reads a payload. Unlike the messages of other extensions this one stands for
    /// a PIECE: whoever sends one that is no such thing has broken the protocol.
    ///
    /// Whether there is such a piece, and the hashes are right, is for others to say.
    pub fn decode(payload: &Bytes) -> Result<HashPiece, ExtensionError> {
        let mut rest = payload.clone();
        let short = |expected| ExtensionError::HashPieceShort { got: payload.len(), expected };
        if rest.len() < HEAD {
            return Err(short(HEAD));
        }
        let (piece, begin, length) = (rest.get_u32(), rest.get_u32(), rest.get_u32() as usize);
        if rest.len() < length {
            return Err(short(HEAD.saturating_add(length)));
        }
        let hashes = read_hashes(&rest.split_to(length))?;
        Ok(HashPiece { piece, begin, hashes, data: rest })
    }

    /// The block that it brings.
    pub fn block(&self) -> Block {
        Block { piece: self.piece, begin: self.begin, length: self.data.len() as u32 }
    }

    fn write_hashes(&self) -> Result<Vec<u8>, EncodeError> {
        let mut encoder = Encoder::new();
        encoder.emit_list(|list| {
            self.hashes.iter().try_for_each(|(node, hash)| {
                list.emit_list(|pair| {
                    pair.emit_int(*node)?;
                    pair.emit_bytes(hash)
                })
            })
        })?;
        encoder.get_output()
    }
}

impl fmt::Display for HashPiece {
    /// One line of a transcript: `piece 3 begin 0 length 16384, 5 hashes`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HashPiece { piece, begin, hashes, data } = self;
        write!(f, "piece {piece} begin {begin} length {}, {} hashes", data.len(), hashes.len())
    }
}

/// Bytes before the hashes.
const HEAD: usize = 12;

fn read_hashes(bytes: &[u8]) -> Result<Vec<(u32, [u8; 20])>, ExtensionError> {
    let mut decoder = Decoder::new(bytes).with_max_depth(DEPTH_MAX);
    let mut hashes = Vec::new();
    match decoder.next_object().map_err(malformed)? {
        Some(Object::List(mut list)) => {
            while let Some(pair) = list.next_object().map_err(malformed)? {
                let Object::List(pair) = pair else { return Err(ExtensionError::HashList) };
                if hashes.len() == HashPiece::HASHES_MAX {
                    return Err(ExtensionError::HashList);
                }
                hashes.push(read_pair(pair).ok_or(ExtensionError::HashList)?);
            }
        }
        _ => return Err(ExtensionError::HashList),
    }
    match decoder.next_object().map_err(malformed)? {
        None => Ok(hashes),
        Some(_) => Err(ExtensionError::HashList),
    }
}

fn malformed(_: bendy::decoding::Error) -> ExtensionError {
    ExtensionError::HashList
}

/// A node and its hash.
fn read_pair(mut pair: ListDecoder<'_, '_>) -> Option<(u32, [u8; 20])> {
    let node = match pair.next_object().ok()?? {
        Object::Integer(node) => node.parse().ok()?,
        _ => return None,
    };
    let hash = match pair.next_object().ok()?? {
        Object::Bytes(hash) => hash.try_into().ok()?,
        _ => return None,
    };
    pair.next_object().ok()?.is_none().then_some((node, hash))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bytes_are_those_of_bep_30() {
        let message = HashPiece {
            piece: 1,
            begin: 0,
            hashes: vec![(8, [b'a'; 20]), (0, [b'b'; 20])],
            data: Bytes::from_static(b"xyz"),
        };
        let expected = [
            b"\0\0\0\x01\0\0\0\0\0\0\0\x3a".as_slice(),
            b"lli8e20:aaaaaaaaaaaaaaaaaaaaeli0e20:bbbbbbbbbbbbbbbbbbbbee",
            b"xyz",
        ];
        let expected = expected.concat();
        assert_eq!(
            message.encode().escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
        assert_eq!(message.block(), Block { piece: 1, begin: 0, length: 3 });
        assert_eq!(message.to_string(), "piece 1 begin 0 length 3, 2 hashes");
    }

    #[test]
    fn what_is_no_list_of_nodes_and_hashes_is_an_error() {
        let read = |hashes: &str| {
            let length = (hashes.len() as u32).to_be_bytes();
            let payload = [&[0; 8], &length[..], hashes.as_bytes(), b"data"].concat();
            HashPiece::decode(&payload.into()).map(|message| message.hashes.len())
        };
        let hash = "20:aaaaaaaaaaaaaaaaaaaa";
        assert_eq!(read("le"), Ok(0));
        assert_eq!(read(&format!("lli0e{hash}ee")), Ok(1));
        let too_many = format!("l{}e", format!("li0e{hash}e").repeat(HashPiece::HASHES_MAX + 1));
        for bad in [
            "",
            "de",
            "l",
            "lele",
            "li0ee",
            "llee",
            "lli0eee",
            "lli0e3:abcee",
            &format!("lli-1e{hash}ee"),
            &format!("lli4294967296e{hash}ee"),
            &format!("ll{hash}i0eee"),
            &format!("lli0e{hash}i1eee"),
            &too_many,
        ] {
            assert_eq!(read(bad), Err(ExtensionError::HashList), "{bad}");
        }
    }

    #[test]
    fn a_length_beyond_the_message_is_an_error() {
        let read = |payload: &'static [u8]| HashPiece::decode(&Bytes::from_static(payload));
        let short = |got, expected| Err(ExtensionError::HashPieceShort { got, expected });
        assert_eq!(read(&[0; 11]), short(11, 12));
        assert_eq!(read(b"\0\0\0\0\0\0\0\0\0\0\0\x03le"), short(14, 15));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            piece: u32,
            begin: u32,
            hashes in prop::collection::vec(any::<(u32, [u8; 20])>(), 0..=HashPiece::HASHES_MAX),
            data: Vec<u8>,
        ) {
            let message = HashPiece { piece, begin, hashes, data: data.into() };
            prop_assert_eq!(HashPiece::decode(&message.encode()), Ok(message));
        }

        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes: Vec<u8>) {
            let _ = HashPiece::decode(&bytes.into());
        }
    }
}
