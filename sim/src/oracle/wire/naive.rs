//! What bytes say, read from the BEPs alone.
//!
//! Deliberately naive, and of its own: it shares no code with `reseed_protocol::wire`,
//! so that a mistake there is not made here too. It knows how long a message is and
//! which of its bytes are numbers. What is left of a message is not kept: its length
//! and a sum of how it begins are, which tell it from any other.

use std::fmt;

use arrayvec::ArrayVec;
use xxhash_rust::xxh64::{Xxh64, xxh64};

/// What stands on the wire in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// The first thing each way. BEP 3.
    Handshake { reserved: [u8; 8], info_hash: [u8; 20], peer_id: [u8; 20] },
    /// A length of zero, and nothing else. BEP 3.
    KeepAlive,
    /// Anything with an id: the numbers that begin it, and what is left.
    Message { id: u8, numbers: Numbers, rest: Rest },
}

/// The numbers that a message begins with; zeros behind them.
pub(super) type Numbers = [u32; 3];

/// Bytes at most of the end of a message that are summed: all that peers say about
/// themselves and others.
const SUMMED: usize = 4 * 1024;

/// The same of a block, of which it is enough to see that it is in its place: its bytes
/// are held against the truth by others, and one more or less of them would spoil the
/// message behind.
const BLOCK_SUMMED: usize = 64;

/// How much of the end of message `id` is summed.
fn summed(id: u8) -> usize {
    if id == PIECE { BLOCK_SUMMED } else { SUMMED }
}

/// The message that brings a block. BEP 3.
pub(super) const PIECE: u8 = 7;

/// The end of a message: how long it is, and a sum of its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rest {
    pub(super) length: u32,
    sum: u64,
}

impl Rest {
    /// Of message `id`, which ends with `bytes`.
    pub(super) fn of(id: u8, bytes: &[u8]) -> Rest {
        let sum = xxh64(&bytes[..bytes.len().min(summed(id))], 0);
        Rest { length: bytes.len() as u32, sum }
    }

    pub(super) fn none() -> Rest {
        Rest::of(0, &[])
    }

    /// Of bytes that nobody kept.
    pub(super) fn unknown(length: u32) -> Rest {
        Rest { length, sum: 0 }
    }
}

/// The widths (bytes) of the numbers that a message begins with, and whether more
/// follows them. BEP 3 §peer messages, BEP 5, BEP 6, BEP 10.
fn grammar(id: u8) -> (&'static [usize], bool) {
    match id {
        // choke, unchoke, interested, not interested; have all, have none
        0 | 1 | 2 | 3 | 14 | 15 => (&[], false),
        // have; suggest, allowed fast
        4 | 13 | 17 => (&[4], false),
        // bitfield
        5 => (&[], true),
        // request, cancel; reject
        6 | 8 | 16 => (&[4, 4, 4], false),
        // piece
        PIECE => (&[4, 4], true),
        // port
        9 => (&[2], false),
        // extended
        20 => (&[1], true),
        // whatever it is, it is to be passed over
        _ => (&[], true),
    }
}

/// The first byte of a handshake is the length of this. BEP 3.
const PROTOCOL: &[u8] = b"BitTorrent protocol";

/// Bytes of a handshake.
const HANDSHAKE: usize = 1 + PROTOCOL.len() + 8 + 20 + 20;

/// Bytes at most of a message's length, id and numbers.
const HEAD_MAX: usize = 4 + 1 + 3 * 4;

/// Reads what one side writes on one connection, however it is cut.
#[derive(Default)]
pub(super) struct Reader {
    state: State,
    /// The bytes of the next message's head that are there.
    head: ArrayVec<u8, HEAD_MAX>,
}

enum State {
    /// As many bytes of the handshake are there.
    Handshake(Vec<u8>),
    Head,
    /// The head is there, and nothing of the rest.
    Begun {
        id: u8,
        numbers: Numbers,
        length: usize,
    },
    Rest(Box<Unfinished>),
    /// Nothing can be told any more.
    Lost(String),
}

impl Default for State {
    fn default() -> State {
        State::Handshake(Vec::new())
    }
}

/// A message whose end is still to come.
struct Unfinished {
    id: u8,
    numbers: Numbers,
    length: usize,
    missing: usize,
    sum: Xxh64,
    unsummed: usize,
}

impl Reader {
    /// Takes in `bytes`; tells what they complete, in order.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Reading)) {
        loop {
            let reading = match &mut self.state {
                State::Handshake(_) => self.handshake(&mut bytes),
                State::Head => self.message(&mut bytes),
                State::Begun { id, numbers, length } => {
                    let (id, numbers, length) = (*id, *numbers, *length);
                    self.begun(id, numbers, length, &mut bytes)
                }
                State::Rest(_) => self.rest(&mut bytes),
                State::Lost(_) => return,
            };
            match reading {
                Some(reading) => tell(reading),
                None if bytes.is_empty() => return,
                None => {}
            }
        }
    }

    /// Why nothing more can be read, if that is so.
    pub(super) fn lost(&self) -> Option<&str> {
        match &self.state {
            State::Lost(why) => Some(why),
            _ => None,
        }
    }

    /// Puts more bytes into the head until it has `length`; whether it does.
    fn fill(&mut self, bytes: &mut &[u8], length: usize) -> bool {
        let more = take(bytes, length.saturating_sub(self.head.len()));
        self.head.try_extend_from_slice(more).expect("no head is longer");
        self.head.len() >= length
    }

    fn lose(&mut self, why: String) -> Option<Reading> {
        self.state = State::Lost(why);
        None
    }

    fn handshake(&mut self, bytes: &mut &[u8]) -> Option<Reading> {
        let State::Handshake(begun) = &mut self.state else { return None };
        begun.extend_from_slice(take(bytes, HANDSHAKE - begun.len()));
        let name = &begun[..begun.len().min(1 + PROTOCOL.len())];
        if !name.is_empty() && (name[0] != 19 || !PROTOCOL.starts_with(&name[1..])) {
            return self.lose("it begins with no handshake".to_owned());
        }
        if begun.len() < HANDSHAKE {
            return None;
        }
        let field = |from: usize, to: usize| &begun[from..to];
        let reading = Reading::Handshake {
            reserved: field(20, 28).try_into().expect("it is 8 long"),
            info_hash: field(28, 48).try_into().expect("it is 20 long"),
            peer_id: field(48, 68).try_into().expect("it is 20 long"),
        };
        self.state = State::Head;
        Some(reading)
    }

    fn message(&mut self, bytes: &mut &[u8]) -> Option<Reading> {
        if !self.fill(bytes, 4) {
            return None;
        }
        let length = number(&self.head[..4]) as usize;
        if length == 0 {
            self.head.clear();
            return Some(Reading::KeepAlive);
        }
        if !self.fill(bytes, 5) {
            return None;
        }
        let id = self.head[4];
        let (widths, has_rest) = grammar(id);
        let fixed = 1 + widths.iter().sum::<usize>();
        if length < fixed || length > fixed && !has_rest {
            return self.lose(format!("a message {id} of {length} bytes"));
        }
        if !self.fill(bytes, 4 + fixed) {
            return None;
        }
        let mut numbers = [0; 3];
        let mut at = 5;
        for (slot, width) in numbers.iter_mut().zip(widths) {
            *slot = number(&self.head[at..at + width]);
            at += width;
        }
        self.head.clear();
        let length = length - fixed;
        if length > 0 && bytes.is_empty() {
            self.state = State::Begun { id, numbers, length };
            return None;
        }
        self.begun(id, numbers, length, bytes)
    }

    fn begun(
        &mut self,
        id: u8,
        numbers: Numbers,
        length: usize,
        bytes: &mut &[u8],
    ) -> Option<Reading> {
        self.state = State::Head;
        if let Some((rest, behind)) = bytes.split_at_checked(length) {
            *bytes = behind;
            return Some(Reading::Message { id, numbers, rest: Rest::of(id, rest) });
        }
        self.state = State::Rest(Box::new(Unfinished {
            id,
            numbers,
            length,
            missing: length,
            sum: Xxh64::new(0),
            unsummed: summed(id),
        }));
        None
    }

    fn rest(&mut self, bytes: &mut &[u8]) -> Option<Reading> {
        let State::Rest(unfinished) = &mut self.state else { return None };
        let now = take(bytes, unfinished.missing);
        let summed = &now[..now.len().min(unfinished.unsummed)];
        unfinished.sum.update(summed);
        unfinished.unsummed -= summed.len();
        unfinished.missing -= now.len();
        if unfinished.missing > 0 {
            return None;
        }
        let rest = Rest { length: unfinished.length as u32, sum: unfinished.sum.digest() };
        let reading = Reading::Message { id: unfinished.id, numbers: unfinished.numbers, rest };
        self.state = State::Head;
        Some(reading)
    }
}

/// Takes `most` bytes off the front of `bytes`, or all that there are.
fn take<'a>(bytes: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (taken, left) = bytes.split_at(most.min(bytes.len()));
    *bytes = left;
    taken
}

/// Big-endian, as all numbers on the wire. BEP 3.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, numbers, rest) = match self {
            Reading::Handshake { peer_id, .. } => {
                return write!(f, "a handshake of `{}`", peer_id.escape_ascii());
            }
            Reading::KeepAlive => return f.write_str("a keepalive"),
            Reading::Message { id, numbers, rest } => (id, numbers, rest),
        };
        write!(f, "message {id}")?;
        let (widths, has_rest) = grammar(*id);
        numbers[..widths.len()].iter().try_for_each(|number| write!(f, " {number}"))?;
        match has_rest {
            true => write!(f, " and {} bytes", rest.length),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: &[&[u8]]) -> (Vec<Reading>, Option<String>) {
        let mut reader = Reader { state: State::Head, head: ArrayVec::new() };
        let mut readings = Vec::new();
        for chunk in chunks {
            reader.read(chunk, |reading| readings.push(reading));
        }
        (readings, reader.lost().map(str::to_owned))
    }

    fn message(id: u8, numbers: Numbers, rest: &[u8]) -> Reading {
        Reading::Message { id, numbers, rest: Rest::of(id, rest) }
    }

    #[test]
    fn messages_are_laid_out_as_in_their_beps() {
        for (bytes, expected) in [
            (&b"\0\0\0\0"[..], Reading::KeepAlive),
            (b"\0\0\0\x01\x00", message(0, [0; 3], b"")),
            (b"\0\0\0\x01\x03", message(3, [0; 3], b"")),
            (b"\0\0\0\x05\x04\0\0\x01\x02", message(4, [0x102, 0, 0], b"")),
            (b"\0\0\0\x03\x05\xf0\x80", message(5, [0; 3], b"\xf0\x80")),
            (b"\0\0\0\x0d\x06\0\0\0\x01\0\0\x40\0\0\0\x20\0", message(6, [1, 0x4000, 0x2000], b"")),
            (b"\0\0\0\x0c\x07\0\0\0\x01\0\0\x40\0xyz", message(7, [1, 0x4000, 0], b"xyz")),
            (b"\0\0\0\x0d\x08\0\0\0\x01\0\0\0\x02\0\0\0\x03", message(8, [1, 2, 3], b"")),
            (b"\0\0\0\x03\x09\x1a\xe1", message(9, [6881, 0, 0], b"")),
            (b"\0\0\0\x05\x0d\0\0\0\x07", message(13, [7, 0, 0], b"")),
            (b"\0\0\0\x01\x0e", message(14, [0; 3], b"")),
            (b"\0\0\0\x01\x0f", message(15, [0; 3], b"")),
            (b"\0\0\0\x0d\x10\0\0\0\x01\0\0\0\x02\0\0\0\x03", message(16, [1, 2, 3], b"")),
            (b"\0\0\0\x05\x11\0\0\0\x07", message(17, [7, 0, 0], b"")),
            (b"\0\0\0\x04\x14\x03de", message(20, [3, 0, 0], b"de")),
            (b"\0\0\0\x03\x63ab", message(99, [0; 3], b"ab")),
        ] {
            assert_eq!(read(&[bytes]), (vec![expected], None), "{}", bytes.escape_ascii());
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(read(&single), (vec![expected], None), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_handshake_is_68_bytes_and_begins_with_the_name_of_the_protocol() {
        let bytes = [b"\x13BitTorrent protocol".as_slice(), &[1; 8], &[2; 20], &[3; 20]].concat();
        let expected =
            Reading::Handshake { reserved: [1; 8], info_hash: [2; 20], peer_id: [3; 20] };
        let mut reader = Reader::default();
        let mut readings = Vec::new();
        reader.read(&bytes[..60], |reading| readings.push(reading));
        assert_eq!(readings, []);
        reader.read(&[&bytes[60..], &[0; 4]].concat(), |reading| readings.push(reading));
        assert_eq!(readings, [expected, Reading::KeepAlive]);

        let mut other = Reader::default();
        other.read(b"GET /", |_| panic!("it says nothing"));
        assert!(other.lost().is_some());
    }

    #[test]
    fn after_a_length_that_no_such_message_has_nothing_can_be_read() {
        for bytes in [
            &b"\0\0\0\x02\0\0"[..],
            b"\0\0\0\x04\x04\0\0\0",
            b"\0\0\0\x06\x04\0\0\0\0\0",
            b"\0\0\0\x08\x07\0\0\0\0\0\0\0",
            b"\0\0\0\x01\x14",
        ] {
            let (readings, lost) = read(&[bytes, &[0; 40]]);
            assert!(readings.is_empty() && lost.is_some(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn the_rest_of_a_message_is_told_from_any_other() {
        let cut = read(&[b"\0\0\0\x0c\x07\0\0\0\x01\0\0\0\0x", b"y", b"z"]);
        assert_eq!(cut.0, [message(7, [1, 0, 0], b"xyz")]);
        assert_ne!(cut.0, [message(7, [1, 0, 0], b"xyy")]);

        let long: Vec<u8> = (0..3 * SUMMED).map(|at| (at % 251) as u8).collect();
        for (id, numbers) in [(PIECE, 8), (20, 1)] {
            let length = (1 + numbers + long.len() as u32).to_be_bytes();
            let numbers = vec![0; numbers as usize];
            let bytes = [&length[..], &[id], &numbers, &long].concat();
            let chunks: Vec<&[u8]> = bytes.chunks(1000).collect();
            assert_eq!(read(&chunks).0, [message(id, [0; 3], &long)]);
            assert_ne!(read(&chunks).0, [message(id, [0; 3], &long[1..])]);
            let changed = [&[!long[0]], &long[1..]].concat();
            assert_ne!(read(&chunks).0, [message(id, [0; 3], &changed)]);
        }
    }
}
