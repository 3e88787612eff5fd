//! One message after the handshake: a 4-byte length, an id, a payload.

use std::{fmt, ops::RangeInclusive};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::WireError;
use crate::{BLOCK_LENGTH, Block};

/// A message between peers. BEP 3 §peer messages, BEP 6, BEP 10.
#[derive(Clone, PartialEq, Eq)]
pub enum Message {
    /// No id, no payload: only shows that the sender is alive. BEP 3.
    KeepAlive,
    /// Id 0: the sender will not serve requests. BEP 3.
    Choke,
    /// Id 1: the sender will serve requests. BEP 3.
    Unchoke,
    /// Id 2: the receiver has something the sender wants. BEP 3.
    Interested,
    /// Id 3: the receiver has nothing the sender wants. BEP 3.
    NotInterested,
    /// Id 4: the sender has one more piece. BEP 3.
    Have {
        /// Piece index, from 0.
        piece: u32,
    },
    /// Id 5: the pieces the sender has, as [`Bitfield::from_wire`] reads them.
    /// BEP 3.
    ///
    /// [`Bitfield::from_wire`]: crate::Bitfield::from_wire
    Bitfield(Bytes),
    /// Id 6: asks for a block. BEP 3.
    Request(Block),
    /// Id 7: the bytes of a block. BEP 3.
    Piece {
        /// Piece index, from 0.
        piece: u32,
        /// First byte, counted from the start of the piece.
        begin: u32,
        /// Content, at most [`BLOCK_LENGTH`] bytes.
        data: Bytes,
    },
    /// Id 8: takes a request back. BEP 3.
    Cancel(Block),
    /// Id 9: the UDP port of the sender's DHT node. BEP 5.
    Port(u16),
    /// Id 13: a piece that the receiver might like to download. BEP 6.
    Suggest {
        /// Piece index, from 0.
        piece: u32,
    },
    /// Id 14: stands for a full bitfield. BEP 6.
    HaveAll,
    /// Id 15: stands for an empty bitfield. BEP 6.
    HaveNone,
    /// Id 16: a request that will not be served. BEP 6.
    Reject(Block),
    /// Id 17: a piece that will be served even to a choked receiver. BEP 6.
    AllowedFast {
        /// Piece index, from 0.
        piece: u32,
    },
    /// Id 20: a message of an extension. BEP 10.
    Extended {
        /// 0 for the extension handshake, else what the receiver declared in its own.
        id: u8,
        /// What the extension makes of it.
        payload: Bytes,
    },
    /// Any other id. A peer ignores it, so its payload is not kept.
    Unknown {
        /// Message id.
        id: u8,
        /// Bytes that followed the id.
        length: u32,
    },
}

impl Message {
    /// Bytes on the wire, length prefix included.
    pub fn encoded_len(&self) -> usize {
        PREFIX_LENGTH + self.body_length()
    }

    /// Appends the message to `out`, length prefix included. Zeros stand for the
    /// payload of a [`Message::Unknown`], which was not kept.
    pub fn encode(&self, out: &mut BytesMut) {
        out.reserve(self.encoded_len());
        self.encode_head(out);
        if let Message::Piece { data, .. } = self {
            out.put_slice(data);
        }
    }

    /// The same, without a block's bytes.
    pub(super) fn encode_head(&self, out: &mut BytesMut) {
        let length = u32::try_from(self.body_length()).expect("a message fits its length prefix");
        out.put_u32(length);
        if let Some(id) = self.id() {
            out.put_u8(id);
        }
        match self {
            Message::KeepAlive
            | Message::Choke
            | Message::Unchoke
            | Message::Interested
            | Message::NotInterested
            | Message::HaveAll
            | Message::HaveNone => {}
            Message::Have { piece }
            | Message::Suggest { piece }
            | Message::AllowedFast { piece } => {
                out.put_u32(*piece);
            }
            Message::Request(block) | Message::Cancel(block) | Message::Reject(block) => {
                out.put_u32(block.piece);
                out.put_u32(block.begin);
                out.put_u32(block.length);
            }
            Message::Piece { piece, begin, .. } => {
                out.put_u32(*piece);
                out.put_u32(*begin);
            }
            Message::Bitfield(bits) => out.put_slice(bits),
            Message::Port(port) => out.put_u16(*port),
            Message::Extended { id, payload } => {
                out.put_u8(*id);
                out.put_slice(payload);
            }
            Message::Unknown { length, .. } => out.put_bytes(0, *length as usize),
        }
    }

    /// Reads what follows `id`. The length has passed [`check_length`].
    pub(super) fn decode(id: u8, mut payload: Bytes) -> Message {
        match id {
            CHOKE => Message::Choke,
            UNCHOKE => Message::Unchoke,
            INTERESTED => Message::Interested,
            NOT_INTERESTED => Message::NotInterested,
            HAVE => Message::Have { piece: payload.get_u32() },
            BITFIELD => Message::Bitfield(payload),
            REQUEST => Message::Request(get_block(&mut payload)),
            PIECE => {
                Message::Piece { piece: payload.get_u32(), begin: payload.get_u32(), data: payload }
            }
            CANCEL => Message::Cancel(get_block(&mut payload)),
            PORT => Message::Port(payload.get_u16()),
            SUGGEST => Message::Suggest { piece: payload.get_u32() },
            HAVE_ALL => Message::HaveAll,
            HAVE_NONE => Message::HaveNone,
            REJECT => Message::Reject(get_block(&mut payload)),
            ALLOWED_FAST => Message::AllowedFast { piece: payload.get_u32() },
            EXTENDED => Message::Extended { id: payload.get_u8(), payload },
            _ => Message::Unknown { id, length: payload.len() as u32 },
        }
    }

    fn id(&self) -> Option<u8> {
        Some(match self {
            Message::KeepAlive => return None,
            Message::Choke => CHOKE,
            Message::Unchoke => UNCHOKE,
            Message::Interested => INTERESTED,
            Message::NotInterested => NOT_INTERESTED,
            Message::Have { .. } => HAVE,
            Message::Bitfield(_) => BITFIELD,
            Message::Request(_) => REQUEST,
            Message::Piece { .. } => PIECE,
            Message::Cancel(_) => CANCEL,
            Message::Port(_) => PORT,
            Message::Suggest { .. } => SUGGEST,
            Message::HaveAll => HAVE_ALL,
            Message::HaveNone => HAVE_NONE,
            Message::Reject(_) => REJECT,
            Message::AllowedFast { .. } => ALLOWED_FAST,
            Message::Extended { .. } => EXTENDED,
            Message::Unknown { id, .. } => *id,
        })
    }

    /// Id and payload (bytes): the number in the length prefix.
    fn body_length(&self) -> usize {
        match self {
            Message::KeepAlive => 0,
            Message::Choke
            | Message::Unchoke
            | Message::Interested
            | Message::NotInterested
            | Message::HaveAll
            | Message::HaveNone => 1,
            Message::Have { .. } | Message::Suggest { .. } | Message::AllowedFast { .. } => 5,
            Message::Request(_) | Message::Cancel(_) | Message::Reject(_) => 13,
            Message::Port(_) => 3,
            Message::Bitfield(bits) => 1 + bits.len(),
            Message::Piece { data, .. } => 9 + data.len(),
            Message::Extended { payload, .. } => 2 + payload.len(),
            Message::Unknown { length, .. } => 1 + *length as usize,
        }
    }
}

/// Bytes of the length in front of every message.
pub(super) const PREFIX_LENGTH: usize = 4;

/// Bytes of the longest PIECE, length prefix excluded.
pub(super) const PIECE_LENGTH_MAX: u32 = 9 + BLOCK_LENGTH;

const CHOKE: u8 = 0;
const UNCHOKE: u8 = 1;
const INTERESTED: u8 = 2;
const NOT_INTERESTED: u8 = 3;
const HAVE: u8 = 4;
const BITFIELD: u8 = 5;
const REQUEST: u8 = 6;
const PIECE: u8 = 7;
const CANCEL: u8 = 8;
const PORT: u8 = 9;
const SUGGEST: u8 = 13;
const HAVE_ALL: u8 = 14;
const HAVE_NONE: u8 = 15;
const REJECT: u8 = 16;
const ALLOWED_FAST: u8 = 17;
const EXTENDED: u8 = 20;

/// Whether a message with this id can have this length (bytes, id included).
pub(super) fn check_length(id: u8, length: u32) -> Result<(), WireError> {
    let expected = length_of(id);
    if expected.contains(&length) {
        Ok(())
    } else {
        Err(WireError::Length { id, got: length, expected })
    }
}

fn length_of(id: u8) -> RangeInclusive<u32> {
    match id {
        CHOKE | UNCHOKE | INTERESTED | NOT_INTERESTED | HAVE_ALL | HAVE_NONE => 1..=1,
        HAVE | SUGGEST | ALLOWED_FAST => 5..=5,
        REQUEST | CANCEL | REJECT => 13..=13,
        PIECE => 9..=PIECE_LENGTH_MAX,
        PORT => 3..=3,
        EXTENDED => 2..=u32::MAX,
        _ => 1..=u32::MAX,
    }
}

fn get_block(payload: &mut Bytes) -> Block {
    Block { piece: payload.get_u32(), begin: payload.get_u32(), length: payload.get_u32() }
}

impl fmt::Display for Message {
    /// One line of a transcript: a word, then what it is about. A block is
    /// `piece+begin (bytes)`; of a payload only the length is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let block = |f: &mut fmt::Formatter<'_>, word, block: &Block| {
            let Block { piece, begin, length } = block;
            write!(f, "{word} {piece}+{begin} ({length})")
        };
        match self {
            Message::KeepAlive => f.write_str("keepalive"),
            Message::Choke => f.write_str("choke"),
            Message::Unchoke => f.write_str("unchoke"),
            Message::Interested => f.write_str("interested"),
            Message::NotInterested => f.write_str("not-interested"),
            Message::Have { piece } => write!(f, "have {piece}"),
            Message::Bitfield(bits) => write!(f, "bitfield {} bytes", bits.len()),
            Message::Request(asked) => block(f, "request", asked),
            Message::Piece { piece, begin, data } => {
                write!(f, "piece {piece}+{begin} ({})", data.len())
            }
            Message::Cancel(cancelled) => block(f, "cancel", cancelled),
            Message::Port(port) => write!(f, "port {port}"),
            Message::Suggest { piece } => write!(f, "suggest {piece}"),
            Message::HaveAll => f.write_str("have-all"),
            Message::HaveNone => f.write_str("have-none"),
            Message::Reject(rejected) => block(f, "reject", rejected),
            Message::AllowedFast { piece } => write!(f, "allowed-fast {piece}"),
            Message::Extended { id, payload } => {
                write!(f, "extended {id} ({} bytes)", payload.len())
            }
            Message::Unknown { id, length } => write!(f, "unknown {id} ({length} bytes)"),
        }
    }
}

impl fmt::Debug for Message {
    /// As `Display`: nobody wants to read 16 KiB of content in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({self})")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    const BLOCK: Block = Block { piece: 3, begin: 16_384, length: 16_384 };

    fn wire(message: Message) -> Vec<u8> {
        let mut out = BytesMut::new();
        message.encode(&mut out);
        out.to_vec()
    }

    #[test]
    fn messages_have_the_ids_and_layouts_of_their_beps() {
        let data = Bytes::from_static(b"xyz");
        let block = [0, 0, 0, 3, 0, 0, 0x40, 0, 0, 0, 0x40, 0];
        let with_block = |id| [&[0, 0, 0, 13, id], &block[..]].concat();

        assert_eq!(wire(Message::KeepAlive), [0, 0, 0, 0]);
        assert_eq!(wire(Message::Choke), [0, 0, 0, 1, 0]);
        assert_eq!(wire(Message::Unchoke), [0, 0, 0, 1, 1]);
        assert_eq!(wire(Message::Interested), [0, 0, 0, 1, 2]);
        assert_eq!(wire(Message::NotInterested), [0, 0, 0, 1, 3]);
        assert_eq!(wire(Message::Have { piece: 7 }), [0, 0, 0, 5, 4, 0, 0, 0, 7]);
        assert_eq!(wire(Message::Bitfield(data.clone())), *b"\0\0\0\x04\x05xyz");
        assert_eq!(wire(Message::Request(BLOCK)), with_block(6));
        assert_eq!(
            wire(Message::Piece { piece: 1, begin: 2, data: data.clone() }),
            *b"\0\0\0\x0c\x07\0\0\0\x01\0\0\0\x02xyz"
        );
        assert_eq!(wire(Message::Cancel(BLOCK)), with_block(8));
        assert_eq!(wire(Message::Port(0x1ae1)), [0, 0, 0, 3, 9, 0x1a, 0xe1]);
        assert_eq!(wire(Message::Suggest { piece: 7 }), [0, 0, 0, 5, 13, 0, 0, 0, 7]);
        assert_eq!(wire(Message::HaveAll), [0, 0, 0, 1, 14]);
        assert_eq!(wire(Message::HaveNone), [0, 0, 0, 1, 15]);
        assert_eq!(wire(Message::Reject(BLOCK)), with_block(16));
        assert_eq!(wire(Message::AllowedFast { piece: 7 }), [0, 0, 0, 5, 17, 0, 0, 0, 7]);
        assert_eq!(wire(Message::Extended { id: 9, payload: data }), *b"\0\0\0\x05\x14\x09xyz");
    }

    #[test]
    fn a_transcript_line_says_which_block_and_how_much() {
        let data = Bytes::from_static(&[0; 40]);
        let lines = [
            (Message::KeepAlive, "keepalive"),
            (Message::NotInterested, "not-interested"),
            (Message::Have { piece: 7 }, "have 7"),
            (Message::Bitfield(data.slice(..5)), "bitfield 5 bytes"),
            (Message::Request(BLOCK), "request 3+16384 (16384)"),
            (Message::Reject(BLOCK), "reject 3+16384 (16384)"),
            (Message::HaveAll, "have-all"),
            (Message::AllowedFast { piece: 7 }, "allowed-fast 7"),
        ];
        for (message, line) in lines {
            assert_eq!(message.to_string(), line);
        }
        let piece = Message::Piece { piece: 3, begin: 0, data: data.clone() };
        assert_eq!(piece.to_string(), "piece 3+0 (40)");
        let extended = Message::Extended { id: 1, payload: data };
        assert_eq!(extended.to_string(), "extended 1 (40 bytes)");
        assert_eq!(format!("{extended:?}"), "Message(extended 1 (40 bytes))");
    }

    /// Every message, with payloads short enough to make many of them.
    pub fn any_message() -> impl Strategy<Value = Message> {
        let payload = || prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
        let block = || {
            any::<(u32, u32, u32)>().prop_map(|(piece, begin, length)| Block {
                piece,
                begin,
                length,
            })
        };
        let plain = prop::sample::select(vec![
            Message::KeepAlive,
            Message::Choke,
            Message::Unchoke,
            Message::Interested,
            Message::NotInterested,
            Message::HaveAll,
            Message::HaveNone,
        ]);
        prop_oneof![
            plain,
            any::<u32>().prop_map(|piece| Message::Have { piece }),
            payload().prop_map(Message::Bitfield),
            block().prop_map(Message::Request),
            any::<(u32, u32)>().prop_flat_map(move |(piece, begin)| payload()
                .prop_map(move |data| Message::Piece { piece, begin, data })),
            block().prop_map(Message::Cancel),
            any::<u16>().prop_map(Message::Port),
            any::<u32>().prop_map(|piece| Message::Suggest { piece }),
            block().prop_map(Message::Reject),
            any::<u32>().prop_map(|piece| Message::AllowedFast { piece }),
            any::<u8>().prop_flat_map(
                move |id| payload().prop_map(move |payload| Message::Extended { id, payload })
            ),
            (21u8.., 0u32..40).prop_map(|(id, length)| Message::Unknown { id, length }),
        ]
    }

    proptest! {
        #[test]
        fn the_length_is_known_before_encoding(message in any_message()) {
            prop_assert_eq!(message.encoded_len(), wire(message).len());
        }
    }
}
