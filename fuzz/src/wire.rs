//! The wire decoder.

use std::mem::{Discriminant, discriminant};

use bytes::BytesMut;
use reseed_protocol::{
    Block, InfoHash, PeerId,
    wire::{Decoder, Handshake, Message, WireError},
};

use crate::input::Input;

/// A message's length and id.
const HEAD: usize = 5;

/// The first byte says whether there is a handshake, the second the cap on messages,
/// the third where the stream is cut; what follows is the stream.
///
/// However it is cut, the same is read; no more is held than a message of the cap's
/// length; what was read writes back; after an error nothing is held or read.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let greets = input.byte() & 1 == 1;
    let cap = usize::from(input.byte()) * 64;
    let cut = usize::from(input.byte()).max(1);
    let stream = input.rest();
    let whole = decode(stream, greets, cap, stream.len().max(1), false);
    for owned in [false, true] {
        let cut = decode(stream, greets, cap, cut, owned);
        assert_eq!(cut, whole, "the cut makes no difference");
    }
    if let (Some(handshake), ..) = &whole {
        assert_eq!(handshake.encode()[..], stream[..Handshake::LENGTH]);
    }
    let mut at = if greets { Handshake::LENGTH } else { 0 };
    for message in &whole.1 {
        let mut out = BytesMut::new();
        message.encode(&mut out);
        assert_eq!(out.len(), message.encoded_len());
        // Of a message that it does not know the payload is not kept.
        let known = if matches!(message, Message::Unknown { .. }) { HEAD } else { out.len() };
        assert_eq!(out[..known], stream[at..at + known], "{message}");
        at += out.len();
    }
}

/// What was read, and the kind of error that it ended with: what that shows of the
/// stream depends on how much was there.
type Read = (Option<Handshake>, Vec<Message>, Option<Discriminant<WireError>>);

fn decode(stream: &[u8], greets: bool, cap: usize, cut: usize, owned: bool) -> Read {
    let mut decoder = Decoder::new(cap);
    let (mut handshake, mut messages) = (None, Vec::new());
    for chunk in stream.chunks(cut) {
        if owned {
            decoder.feed_owned(BytesMut::from(chunk));
        } else {
            decoder.feed(chunk);
        }
        let failed = drain(&mut decoder, greets, &mut handshake, &mut messages);
        let most = if failed.is_some() { 0 } else { cap.max(Handshake::LENGTH) + HEAD };
        assert!(decoder.buffered() <= most, "{} bytes are held", decoder.buffered());
        if failed.is_some() {
            decoder.feed(b"\0\0\0\0");
            assert_eq!(decoder.next_message().err(), failed, "an error is final");
            return (handshake, messages, failed.as_ref().map(discriminant));
        }
    }
    (handshake, messages, None)
}

fn drain(
    decoder: &mut Decoder,
    greets: bool,
    handshake: &mut Option<Handshake>,
    messages: &mut Vec<Message>,
) -> Option<WireError> {
    if greets && handshake.is_none() {
        match decoder.next_handshake() {
            Ok(Some(came)) => *handshake = Some(came),
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    }
    loop {
        match decoder.next_message() {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    }
}

/// A handshake and every message.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut stream = BytesMut::new();
    for message in messages() {
        message.encode(&mut stream);
    }
    let handshake = Handshake::new(InfoHash([1; 20]), PeerId([2; 20])).with_fast().encode();
    let with = |head: [u8; 3], parts: &[&[u8]]| [&head[..], &parts.concat()].concat();
    vec![
        with([1, 255, 7], &[&handshake, &stream]),
        with([0, 255, 1], &[&stream]),
        with([0, 1, 3], &[&stream]),
    ]
}

/// One of each kind.
pub(crate) fn messages() -> Vec<Message> {
    let block = Block { piece: 1, begin: 16_384, length: 16_384 };
    vec![
        Message::HaveAll,
        Message::Bitfield(vec![0xf0].into()),
        Message::HaveNone,
        Message::KeepAlive,
        Message::Unchoke,
        Message::Choke,
        Message::Interested,
        Message::NotInterested,
        Message::Have { piece: 3 },
        Message::Request(block),
        Message::Cancel(block),
        Message::Reject(block),
        Message::Piece { piece: 1, begin: 0, data: vec![7; 20].into() },
        Message::Port(6881),
        Message::Suggest { piece: 2 },
        Message::AllowedFast { piece: 4 },
        Message::Extended { id: 0, payload: b"d1:md6:ut_pexi1eee"[..].into() },
    ]
}
