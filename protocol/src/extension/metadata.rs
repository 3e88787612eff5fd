//! Metadata exchange: the info dictionary, for who has only its hash. BEP 9.

use std::fmt;

use bendy::{
    decoding::Object,
    encoding::{Encoder, Error as EncodeError},
};
use bytes::Bytes;

use super::{DEPTH_MAX, ExtensionError, dictionary};

/// Bytes in each piece of the metadata but the last. BEP 9.
pub const METADATA_PIECE_LENGTH: u32 = 16 * 1024;

/// The longest metadata that is asked for (bytes): more than a million pieces. What is
/// kept of it grows with what comes, not with what a remote declares. libtorrent: about
/// 30 MiB.
pub const METADATA_LENGTH_MAX: u32 = 30 << 20;

/// A message of `ut_metadata`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataMessage {
    /// Asks for a piece of the metadata.
    Request {
        /// Index, from 0.
        piece: u32,
    },
    /// Brings it.
    Data {
        /// Index, from 0.
        piece: u32,
        /// Bytes of the whole metadata.
        total_size: u32,
        /// The bytes.
        data: Bytes,
    },
    /// The sender does not have it, or has given enough.
    Reject {
        /// Index, from 0.
        piece: u32,
    },
}

const REQUEST: u8 = 0;
const DATA: u8 = 1;
const REJECT: u8 = 2;

const WHAT: &str = "metadata message";

impl MetadataMessage {
    /// The payload to send.
    pub fn encode(&self) -> Bytes {
        let (kind, piece, data) = match self {
            MetadataMessage::Request { piece } => (REQUEST, piece, None),
            MetadataMessage::Data { piece, total_size, data } => {
                (DATA, piece, Some((total_size, data)))
            }
            MetadataMessage::Reject { piece } => (REJECT, piece, None),
        };
        let write = || -> Result<Vec<u8>, EncodeError> {
            let mut encoder = Encoder::new();
            encoder.emit_dict(|mut dict| {
                dict.emit_pair(b"msg_type", kind)?;
                dict.emit_pair(b"piece", piece)?;
                data.map_or(Ok(()), |(total, _)| dict.emit_pair(b"total_size", total))
            })?;
            encoder.get_output()
        };
        let mut payload = write().expect("the keys are in order");
        if let Some((_, data)) = data {
            payload.extend_from_slice(data);
        }
        payload.into()
    }

    /// Reads a payload; `None` is a kind of message that there is not yet, and is to be
    /// ignored. What follows the dictionary is the data.
    pub fn decode(payload: &Bytes) -> Result<Option<MetadataMessage>, ExtensionError> {
        let bencode = ExtensionError::bencode(WHAT);
        let mut decoder = bendy::decoding::Decoder::new(payload).with_max_depth(DEPTH_MAX);
        let raw = dictionary(&mut decoder).and_then(|dict| dict.into_raw()).map_err(&bencode)?;
        let length = raw.len();
        let mut decoder = bendy::decoding::Decoder::new(raw).with_max_depth(DEPTH_MAX);
        let mut dict = dictionary(&mut decoder).map_err(&bencode)?;
        let (mut kind, mut piece, mut total_size) = (None, None, None);
        while let Some((key, value)) = dict.next_pair().map_err(&bencode)? {
            match (key, value) {
                (b"msg_type", Object::Integer(digits)) => kind = Some(digits.to_owned()),
                (b"piece", Object::Integer(digits)) => piece = digits.parse().ok(),
                (b"total_size", Object::Integer(digits)) => total_size = digits.parse().ok(),
                _ => {}
            }
        }
        let missing = |field| ExtensionError::Missing { what: WHAT, field };
        let kind = kind.ok_or_else(|| missing("msg_type"))?;
        let piece = || piece.ok_or_else(|| missing("piece"));
        Ok(match kind.as_str() {
            "0" => Some(MetadataMessage::Request { piece: piece()? }),
            "1" => Some(MetadataMessage::Data {
                piece: piece()?,
                total_size: total_size.ok_or_else(|| missing("total_size"))?,
                data: payload.slice(length..),
            }),
            "2" => Some(MetadataMessage::Reject { piece: piece()? }),
            _ => None,
        })
    }
}

impl fmt::Display for MetadataMessage {
    /// As in a transcript: `data 1, 4210 bytes of 20594`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetadataMessage::Request { piece } => write!(f, "request {piece}"),
            MetadataMessage::Data { piece, total_size, data } => {
                write!(f, "data {piece}, {} bytes of {total_size}", data.len())
            }
            MetadataMessage::Reject { piece } => write!(f, "reject {piece}"),
        }
    }
}

/// Where piece `piece` of metadata of `length` bytes lies in it; `None` if there is no
/// such piece.
pub fn metadata_span(piece: u32, length: u32) -> Option<std::ops::Range<usize>> {
    let begin = piece.checked_mul(METADATA_PIECE_LENGTH).filter(|begin| *begin < length)?;
    let end = begin.saturating_add(METADATA_PIECE_LENGTH).min(length);
    Some(begin as usize..end as usize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_look_as_in_bep_9() {
        let encoded = |message: MetadataMessage| message.encode();
        assert_eq!(
            encoded(MetadataMessage::Request { piece: 0 }),
            "d8:msg_typei0e5:piecei0ee".as_bytes()
        );
        assert_eq!(
            encoded(MetadataMessage::Reject { piece: 0 }),
            "d8:msg_typei2e5:piecei0ee".as_bytes()
        );
        let data = Bytes::from_static(b"xxxxxxxx");
        assert_eq!(
            encoded(MetadataMessage::Data { piece: 0, total_size: 34_256, data }),
            "d8:msg_typei1e5:piecei0e10:total_sizei34256eexxxxxxxx".as_bytes()
        );
    }

    #[test]
    fn a_kind_of_message_that_there_is_not_yet_is_ignored() {
        let payload = Bytes::from_static(b"d8:msg_typei3e5:piecei0ee");
        assert_eq!(MetadataMessage::decode(&payload), Ok(None));
        assert_eq!(MetadataMessage::decode(&Bytes::from_static(b"d8:msg_typei9ee")), Ok(None));
    }

    #[test]
    fn what_lacks_a_field_or_is_no_dictionary_is_an_error() {
        for payload in [
            &b""[..],
            b"i1e",
            b"de",
            b"d8:msg_typei0ee",
            b"d8:msg_typei0e5:piecei-1ee",
            b"d8:msg_typei1e5:piecei0eexx",
            b"d5:piecei0ee",
        ] {
            let payload = Bytes::from_static(payload);
            assert!(MetadataMessage::decode(&payload).is_err(), "{payload:?}");
        }
    }

    #[test]
    fn pieces_cover_the_metadata_and_the_last_one_is_what_is_left() {
        let length = 2 * METADATA_PIECE_LENGTH + 5;
        let spans: Vec<_> = (0..).map_while(|piece| metadata_span(piece, length)).collect();
        assert_eq!(spans, [0..16_384, 16_384..32_768, 32_768..32_773]);
        assert_eq!(metadata_span(2, 2 * METADATA_PIECE_LENGTH), None);
        assert_eq!(metadata_span(u32::MAX, u32::MAX), None);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(piece: u32, total_size: u32, bytes: Vec<u8>) {
            for message in [
                MetadataMessage::Request { piece },
                MetadataMessage::Reject { piece },
                MetadataMessage::Data { piece, total_size, data: bytes.clone().into() },
            ] {
                prop_assert_eq!(MetadataMessage::decode(&message.encode()), Ok(Some(message)));
            }
        }

        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes: Vec<u8>) {
            let _ = MetadataMessage::decode(&bytes.into());
        }
    }
}
