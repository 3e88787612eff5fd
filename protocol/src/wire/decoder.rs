//! Finds the handshake and the messages in a stream of bytes.

use bytes::{Buf, BytesMut};

use super::{
    Handshake, Message, WireError,
    handshake::check_protocol,
    message::{PIECE_LENGTH_MAX, PREFIX_LENGTH, check_length},
};

/// The longest extended message that is taken (bytes, length prefix excluded).
///
/// No BEP sets one. 1 MiB clears what is known to be legal: libtorrent ends a
/// connection over a peer exchange message of 500 KiB, a piece of metadata is
/// 16 KiB (BEP 9), and a bitfield that comes before the metadata is known may
/// still speak of eight million pieces.
pub const EXTENSION_CAP: usize = 1024 * 1024;

/// The longest message to expect (bytes, length prefix excluded) in a torrent of
/// `pieces`, or before its metadata is known: a bitfield, a PIECE or an extended
/// message, whichever is longest.
pub fn message_cap(pieces: Option<u32>) -> usize {
    let bitfield = pieces.map_or(0, |pieces| 1 + pieces.div_ceil(8) as usize);
    EXTENSION_CAP.max(bitfield).max(PIECE_LENGTH_MAX as usize)
}

/// Turns what arrives on a connection into a [`Handshake`] and [`Message`]s.
///
/// Feed it what was read, then take messages until there is none, and so on.
/// Used so, it holds less than one message of the cap's length, whatever a length
/// prefix promises: that is checked as soon as it is there. An error is final: the
/// stream has no place to go on from, so every later call returns it again.
///
/// Payloads are slices of the bytes fed, not copies.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    cap: usize,
    failed: Option<WireError>,
}

impl Decoder {
    /// A decoder that takes messages of at most `cap` bytes, length prefix
    /// excluded; see [`message_cap`].
    pub fn new(cap: usize) -> Decoder {
        Decoder { buffer: BytesMut::new(), cap, failed: None }
    }

    /// Changes the cap for all messages not yet taken, as when the metadata, and
    /// with it the number of pieces, gets known.
    pub fn set_cap(&mut self, cap: usize) {
        self.cap = cap;
    }

    /// Takes in bytes that were read.
    pub fn feed(&mut self, data: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(data);
        }
    }

    /// As [`Decoder::feed`], without a copy unless part of a message is waiting.
    pub fn feed_owned(&mut self, data: BytesMut) {
        if self.failed.is_none() && self.buffer.is_empty() {
            self.buffer = data;
        } else {
            self.feed(&data);
        }
    }

    /// Takes the handshake, the first thing in every stream, once all of it is
    /// there. A stream of another protocol fails at the first byte that differs.
    pub fn next_handshake(&mut self) -> Result<Option<Handshake>, WireError> {
        self.guarded(|decoder| {
            check_protocol(&decoder.buffer)?;
            let Some(bytes) = decoder.buffer.first_chunk() else {
                return Ok(None);
            };
            let handshake = Handshake::decode(bytes)?;
            decoder.buffer.advance(Handshake::LENGTH);
            Ok(Some(handshake))
        })
    }

    /// Takes the next message, once all of it is there. A wrong length fails as
    /// soon as the prefix and the id show it.
    pub fn next_message(&mut self) -> Result<Option<Message>, WireError> {
        self.guarded(|decoder| {
            let Some(prefix) = decoder.buffer.first_chunk() else {
                return Ok(None);
            };
            let length = u32::from_be_bytes(*prefix);
            if length as usize > decoder.cap {
                return Err(WireError::TooLong { length, cap: decoder.cap });
            }
            if length == 0 {
                decoder.buffer.advance(PREFIX_LENGTH);
                return Ok(Some(Message::KeepAlive));
            }
            let Some(&id) = decoder.buffer.get(PREFIX_LENGTH) else {
                return Ok(None);
            };
            check_length(id, length)?;
            let whole = PREFIX_LENGTH + length as usize;
            if decoder.buffer.len() < whole {
                return Ok(None);
            }
            let mut payload = match decoder.buffer.len() == whole {
                // What is cut off, though empty, would keep the room of all.
                true => std::mem::take(&mut decoder.buffer).freeze(),
                false => decoder.buffer.split_to(whole).freeze(),
            };
            payload.advance(PREFIX_LENGTH + 1);
            Ok(Some(Message::decode(id, payload)))
        })
    }

    /// Bytes fed and not yet taken.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Runs `step` unless one has failed before; keeps its error and lets go of
    /// the bytes if it fails.
    fn guarded<T>(
        &mut self,
        step: impl FnOnce(&mut Decoder) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        step(self).inspect_err(|error| {
            self.failed = Some(error.clone());
            self.buffer = BytesMut::new();
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::{super::message::tests::any_message, *};
    use crate::{BLOCK_LENGTH, InfoHash, PeerId};

    fn decode(bytes: &[u8]) -> Result<Option<Message>, WireError> {
        let mut decoder = Decoder::new(message_cap(None));
        decoder.feed(bytes);
        decoder.next_message()
    }

    fn handshake() -> Handshake {
        Handshake::new(InfoHash([1; 20]), PeerId([2; 20])).with_fast()
    }

    #[test]
    fn the_cap_follows_the_longest_legal_message() {
        assert_eq!(message_cap(None), EXTENSION_CAP);
        assert_eq!(message_cap(Some(1000)), EXTENSION_CAP);
        assert_eq!(message_cap(Some(80_000_001)), 1 + 10_000_001);
    }

    #[test]
    fn a_stream_of_another_protocol_fails_at_its_first_byte() {
        let mut decoder = Decoder::new(message_cap(None));
        decoder.feed(b"G");
        assert!(matches!(decoder.next_handshake(), Err(WireError::Protocol { .. })));
    }

    #[test]
    fn a_handshake_waits_for_its_last_byte_and_leaves_what_follows() {
        let mut decoder = Decoder::new(message_cap(None));
        let bytes = handshake().encode();
        decoder.feed(&bytes[..67]);
        assert_eq!(decoder.next_handshake(), Ok(None));
        decoder.feed(&[bytes[67], 0, 0, 0, 1, 1]);
        assert_eq!(decoder.next_handshake(), Ok(Some(handshake())));
        assert_eq!(decoder.next_message(), Ok(Some(Message::Unchoke)));
        assert_eq!(decoder.next_message(), Ok(None));
        assert_eq!(decoder.buffered(), 0);
    }

    #[test]
    fn a_length_over_the_cap_fails_on_the_prefix_alone() {
        let mut decoder = Decoder::new(100);
        decoder.feed(&[0, 0, 0, 101]);
        let error = Err(WireError::TooLong { length: 101, cap: 100 });
        assert_eq!(decoder.next_message(), error);
    }

    #[test]
    fn a_higher_cap_lets_a_longer_message_through() {
        let mut decoder = Decoder::new(5);
        decoder.set_cap(6);
        decoder.feed(&[0, 0, 0, 6, 5, 1, 2, 3, 4, 5]);
        assert!(matches!(decoder.next_message(), Ok(Some(Message::Bitfield(_)))));
    }

    #[test]
    fn a_wrong_length_fails_before_the_payload_is_there() {
        for (id, right) in [
            (0, 1),
            (1, 1),
            (2, 1),
            (3, 1),
            (4, 5),
            (6, 13),
            (8, 13),
            (9, 3),
            (13, 5),
            (14, 1),
            (15, 1),
            (16, 13),
            (17, 5),
        ] {
            for wrong in [right - 1, right + 1] {
                // One byte less than CHOKE and its like is a KEEPALIVE.
                if wrong > 0 {
                    assert_eq!(
                        decode(&[0, 0, 0, wrong, id]),
                        Err(WireError::Length {
                            id,
                            got: wrong.into(),
                            expected: right.into()..=right.into()
                        })
                    );
                }
            }
        }
    }

    #[test]
    fn a_piece_has_a_header_and_at_most_one_block_of_data() {
        assert!(decode(&[0, 0, 0, 8, 7]).is_err(), "no room for its header");
        let longest = (9 + BLOCK_LENGTH).to_be_bytes();
        let too_long = (9 + BLOCK_LENGTH + 1).to_be_bytes();
        assert_eq!(decode(&[&longest[..], &[7]].concat()), Ok(None));
        assert!(decode(&[&too_long[..], &[7]].concat()).is_err());
    }

    #[test]
    fn an_extended_message_has_an_id_of_its_own() {
        assert!(decode(&[0, 0, 0, 1, 20]).is_err());
        assert_eq!(
            decode(&[0, 0, 0, 2, 20, 0]),
            Ok(Some(Message::Extended { id: 0, payload: Bytes::new() }))
        );
    }

    #[test]
    fn an_unknown_message_is_named_and_skipped() {
        let mut decoder = Decoder::new(message_cap(None));
        decoder.feed(&[0, 0, 0, 3, 99, 1, 2, 0, 0, 0, 1, 0]);
        assert_eq!(decoder.next_message(), Ok(Some(Message::Unknown { id: 99, length: 2 })));
        assert_eq!(decoder.next_message(), Ok(Some(Message::Choke)));
    }

    #[test]
    fn an_error_is_final_and_lets_go_of_the_bytes() {
        let mut decoder = Decoder::new(100);
        decoder.feed(&[0, 0, 0, 2, 0, 0, 0, 0, 0, 1, 0]);
        let error = decoder.next_message().unwrap_err();
        decoder.feed(&[0, 0, 0, 1, 0]);
        decoder.feed_owned(BytesMut::from(&[0, 0, 0, 1, 0][..]));
        assert_eq!(decoder.next_message(), Err(error.clone()));
        assert_eq!(decoder.next_handshake(), Err(error));
        assert_eq!(decoder.buffered(), 0);
    }

    #[test]
    fn owned_bytes_are_not_copied_when_nothing_is_waiting() {
        let bytes = BytesMut::from(&b"\0\0\0\x04\x05xyz"[..]);
        let payload_at = bytes[5..].as_ptr();
        let mut decoder = Decoder::new(100);
        decoder.feed_owned(bytes);
        let Ok(Some(Message::Bitfield(bits))) = decoder.next_message() else {
            panic!("a bitfield was fed");
        };
        assert_eq!(bits.as_ptr(), payload_at);
    }

    /// Takes messages until none is left; stops at an error.
    fn drain(decoder: &mut Decoder, into: &mut Vec<Message>) -> Result<(), WireError> {
        while let Some(message) = decoder.next_message()? {
            into.push(message);
        }
        Ok(())
    }

    /// Frames with lengths that fit a cap of 100 more often than not.
    fn noise() -> impl Strategy<Value = Vec<u8>> {
        let frame = (0u8..120, prop::collection::vec(any::<u8>(), 0..120))
            .prop_map(|(length, body)| [&[0, 0, 0, length], &body[..]].concat());
        prop::collection::vec(prop_oneof![frame, prop::collection::vec(any::<u8>(), 0..20)], 0..8)
            .prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn messages_survive_any_cut_of_the_stream(
            messages in prop::collection::vec(any_message(), 0..12),
            cuts in prop::collection::vec((1usize..60, any::<bool>()), 1..20),
        ) {
            let mut stream = BytesMut::from(&handshake().encode()[..]);
            for message in &messages {
                message.encode(&mut stream);
            }
            let mut decoder = Decoder::new(message_cap(None));
            let mut greeted = None;
            let mut taken = Vec::new();
            for (length, owned) in cuts.into_iter().cycle() {
                if stream.is_empty() {
                    break;
                }
                let chunk = stream.split_to(length.min(stream.len()));
                if owned {
                    decoder.feed_owned(chunk);
                } else {
                    decoder.feed(&chunk);
                }
                if greeted.is_none() {
                    greeted = decoder.next_handshake().unwrap();
                }
                if greeted.is_some() {
                    drain(&mut decoder, &mut taken).unwrap();
                }
            }
            prop_assert_eq!(greeted, Some(handshake()));
            prop_assert_eq!(taken, messages);
            prop_assert_eq!(decoder.buffered(), 0);
        }

        #[test]
        fn any_bytes_are_bounded_and_never_panic(
            bytes in noise(),
            chunk in 1usize..50,
            greet: bool,
        ) {
            const CAP: usize = 100;
            let mut decoder = Decoder::new(CAP);
            let mut taken = Vec::new();
            for chunk in bytes.chunks(chunk) {
                decoder.feed(chunk);
                let failed = match greet {
                    true => decoder.next_handshake().is_err(),
                    false => drain(&mut decoder, &mut taken).is_err(),
                };
                prop_assert!(decoder.buffered() < PREFIX_LENGTH + CAP);
                prop_assert!(!failed || decoder.buffered() == 0);
            }
        }

        #[test]
        fn what_is_read_writes_back(bytes in noise()) {
            let mut decoder = Decoder::new(100);
            decoder.feed(&bytes);
            let mut taken = Vec::new();
            let _ = drain(&mut decoder, &mut taken);
            let mut at = 0;
            for message in taken {
                let mut out = BytesMut::new();
                message.encode(&mut out);
                let end = at + out.len();
                if !matches!(message, Message::Unknown { .. }) {
                    prop_assert_eq!(&out[..], &bytes[at..end]);
                }
                at = end;
            }
        }
    }
}
