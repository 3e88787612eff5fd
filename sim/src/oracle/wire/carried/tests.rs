use bytes::{Bytes, BytesMut};
use reseed_protocol::{InfoHash, PeerId, extension::ExtensionHandshake, wire::Handshake};

use super::*;

const STREAM: StreamId = StreamId(7);

fn remote() -> SocketAddr {
    ([10, 0, 0, 2], 6881).into()
}

fn handshake() -> Frame {
    Frame::Handshake(Handshake::new(InfoHash([1; 20]), PeerId([2; 20])).with_extensions())
}

fn have(piece: u32) -> Frame {
    Frame::Message(Message::Have { piece })
}

fn piece(data: &'static [u8]) -> Frame {
    Frame::Message(Message::Piece { piece: 1, begin: 0, data: Bytes::from_static(data) })
}

fn bytes(frames: &[Frame]) -> Vec<u8> {
    let mut out = BytesMut::new();
    for frame in frames {
        match frame {
            Frame::Handshake(handshake) => out.extend_from_slice(&handshake.encode()),
            Frame::Message(message) => message.encode(&mut out),
        }
    }
    out.to_vec()
}

/// A stream on which nothing was said.
fn open() -> Carried {
    let mut carried = Carried::default();
    carried.opened(0, STREAM, remote());
    carried
}

/// Our peer tells of these frames.
fn tell(carried: &mut Carried, by: Speaker, frames: &[Frame]) -> Finding {
    frames.iter().try_for_each(|frame| {
        let (connection, addr) = (ConnectionId(1), remote());
        carried.spoke(0, &Spoken { connection, addr, by, frame: frame.clone() })
    })
}

fn say(carried: &mut Carried, frames: &[Frame]) -> Finding {
    tell(carried, Speaker::Us, frames)
}

fn hear(carried: &mut Carried, frames: &[Frame]) -> Finding {
    tell(carried, Speaker::Remote, frames)
}

#[test]
fn words_and_bytes_that_agree_are_compared_however_they_are_cut() {
    let frames = [handshake(), have(1), piece(b"data"), Frame::Message(Message::KeepAlive)];
    for cut in [1, 3, 50, 1000] {
        let mut carried = open();
        say(&mut carried, &frames).unwrap();
        for chunk in bytes(&frames).chunks(cut) {
            carried.wrote(STREAM, chunk).unwrap();
            carried.read(STREAM, chunk);
        }
        hear(&mut carried, &frames).unwrap();
        assert_eq!(carried.compared(), 2 * frames.len() as u64);
    }
}

#[test]
fn what_was_said_last_may_never_leave_and_what_was_read_last_be_passed_over() {
    let mut carried = open();
    say(&mut carried, &[handshake(), have(1)]).unwrap();
    carried.wrote(STREAM, &bytes(&[handshake()])).unwrap();
    carried.read(STREAM, &bytes(&[handshake(), have(2)]));
    hear(&mut carried, &[handshake()]).unwrap();
    carried.closed(STREAM);
    hear(&mut carried, &[have(2)]).expect("it had been read before");
    carried.ended(0, ConnectionId(1));
    carried.wrote(STREAM, b"anything").expect("it is nobody's connection any more");
}

#[test]
fn a_frame_that_is_written_otherwise_than_it_was_said_is_found() {
    for (said, written) in [
        (have(1), bytes(&[have(0x0100_0000)])),
        (piece(b"data"), bytes(&[piece(b"dat4")])),
        (piece(b"data"), bytes(&[piece(b"dat")])),
        (have(1), bytes(&[have(2), have(1)])),
        (Frame::Message(Message::Choke), bytes(&[Frame::Message(Message::Unchoke)])),
    ] {
        let mut carried = open();
        say(&mut carried, &[handshake(), said.clone()]).unwrap();
        let found = carried.wrote(STREAM, &[bytes(&[handshake()]), written].concat());
        assert!(found.unwrap_err().contains("the bytes that it writes are message"), "{said}");
    }
}

#[test]
fn a_frame_that_is_written_twice_or_was_never_said_is_found() {
    let mut carried = open();
    say(&mut carried, &[handshake(), have(1)]).unwrap();
    let found = carried.wrote(STREAM, &bytes(&[handshake(), have(1), have(1)]));
    assert_eq!(found.unwrap_err(), "it writes message 4 1 to 10.0.0.2:6881, which it never said");
}

#[test]
fn bytes_that_cannot_be_read_are_found() {
    let mut carried = open();
    say(&mut carried, &[handshake(), have(1)]).unwrap();
    let broken = [&bytes(&[handshake()])[..], b"\0\0\0\x04\x04\0\0\x01"].concat();
    let found = carried.wrote(STREAM, &broken).unwrap_err();
    assert_eq!(found, "what it writes to 10.0.0.2:6881 cannot be read: a message 4 of 4 bytes");
}

#[test]
fn a_frame_that_is_heard_otherwise_than_it_was_read_is_found() {
    let mut carried = open();
    carried.read(STREAM, &bytes(&[handshake(), have(1), have(2)]));
    hear(&mut carried, &[handshake()]).unwrap();
    let found = hear(&mut carried, &[have(2)]).unwrap_err();
    assert!(found.contains("the bytes that it read are message 4 1"), "one was skipped: {found}");
}

#[test]
fn a_frame_that_is_heard_and_was_never_read_is_found() {
    let mut carried = open();
    carried.read(STREAM, &bytes(&[handshake()]));
    hear(&mut carried, &[handshake()]).unwrap();
    let found = hear(&mut carried, &[have(1)]).unwrap_err();
    assert!(found.contains("which it never read: no more came in"), "{found}");
}

#[test]
fn an_extended_message_is_read_too() {
    let declares = ExtensionHandshake {
        m: [("ut_pex".to_owned(), 3)].into(),
        ..ExtensionHandshake::default()
    };
    let extended = |id, payload| Frame::Message(Message::Extended { id, payload });
    let theirs = [handshake(), extended(0, declares.encode())];
    let mut carried = open();
    carried.read(STREAM, &bytes(&theirs));
    hear(&mut carried, &theirs).unwrap();
    let pex = Bytes::from_static(b"d5:added7:abcdefge");
    let found = say(&mut carried, &[handshake(), extended(3, pex)]).unwrap_err();
    assert!(found.starts_with("its peer exchange cannot be read"), "{found}");
}

#[test]
fn a_stream_of_something_else_is_nobodys_business() {
    let mut carried = open();
    carried.wrote(STREAM, b"GET /announce HTTP/1.1\r\n").unwrap();
    carried.read(STREAM, &[0; UNCLAIMED_MAX + 1]);
    assert!(carried.streams.get(STREAM.0).is_none());
    say(&mut carried, &[handshake()]).expect("its stream was closed before a word");
    assert_eq!(carried.compared(), 0);
}

#[test]
fn of_two_streams_to_one_address_the_newer_is_the_connections() {
    let mut carried = open();
    carried.opened(0, StreamId(8), remote());
    carried.opened(1, StreamId(9), remote());
    say(&mut carried, &[handshake()]).unwrap();
    carried.wrote(StreamId(8), &bytes(&[handshake()])).unwrap();
    assert_eq!(carried.compared(), 1);
}

#[test]
fn streams_of_other_torrents_to_the_same_address_are_told_apart_by_their_handshakes() {
    let mut carried = open();
    let (other, third) = (StreamId(8), StreamId(9));
    carried.opened(0, other, remote());
    carried.opened(0, third, remote());
    let foreign = Handshake::new(InfoHash([3; 20]), PeerId([4; 20]));
    let foreign = bytes(&[Frame::Handshake(foreign)]);
    say(&mut carried, &[handshake(), have(1)]).unwrap();
    carried.wrote(other, &foreign).expect("it is not ours");
    carried.wrote(third, &foreign).expect("nor is this one");
    carried.wrote(STREAM, &bytes(&[handshake()])).unwrap();
    assert_eq!(carried.compared(), 1);
    let found = carried.wrote(STREAM, &bytes(&[have(2)])).unwrap_err();
    assert!(found.contains("the bytes that it writes are message"), "{found}");
}
