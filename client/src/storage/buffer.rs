use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use reseed_protocol::wire::Parts;

/// Pieces that are being put together, in bounded memory.
#[derive(Debug)]
pub struct PieceBuffer {
    capacity: usize,
    used: usize,
    /// Each started piece; `None` for one that found no room. It is remembered, lest its
    /// later blocks be kept without the earlier ones.
    started: BTreeMap<u32, Option<Started>>,
}

/// What has come of a piece.
#[derive(Debug)]
struct Started {
    length: usize,
    /// Where each part begins, and its bytes as they came: the piece is never laid out in
    /// one place.
    parts: Vec<(usize, Bytes)>,
}

impl PieceBuffer {
    pub fn new(capacity: usize) -> PieceBuffer {
        PieceBuffer { capacity, used: 0, started: BTreeMap::new() }
    }

    /// Takes in bytes of a piece of `length`, unless the piece found no room when
    /// its first ones came; returns whether it did.
    pub fn keep(&mut self, piece: u32, length: usize, begin: usize, bytes: &Bytes) -> bool {
        let room = self.capacity - self.used;
        let held = self.started.entry(piece).or_insert_with(|| {
            (length <= room).then(|| {
                self.used += length;
                Started { length, parts: Vec::new() }
            })
        });
        if let Some(held) = held {
            held.parts.push((begin, bytes.clone()));
        }
        held.is_some()
    }

    /// Forgets the piece and returns its bytes in order, if it was kept.
    pub fn take(&mut self, piece: u32) -> Option<Parts> {
        let taken = self.started.remove(&piece).flatten()?;
        self.used -= taken.length;
        Some(taken.in_order())
    }
}

impl Started {
    fn in_order(mut self) -> Parts {
        let came = self.parts.clone();
        self.parts.sort_by_key(|(begin, _)| *begin);
        let mut end = 0;
        let is_seamless = self.parts.iter().all(|(begin, bytes)| {
            let follows = *begin == end;
            end += bytes.len();
            follows
        });
        if is_seamless && end == self.length {
            let mut parts = Parts::default();
            self.parts.into_iter().for_each(|(_, bytes)| parts.push(bytes));
            return parts;
        }
        // What came last counts, and what did not come is zeros.
        let mut whole = BytesMut::zeroed(self.length);
        for (begin, bytes) in came {
            whole[begin..begin + bytes.len()].copy_from_slice(&bytes);
        }
        whole.freeze().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(buffer: &mut PieceBuffer, piece: u32, length: usize, begin: usize, of: &str) -> bool {
        buffer.keep(piece, length, begin, &Bytes::copy_from_slice(of.as_bytes()))
    }

    fn take(buffer: &mut PieceBuffer, piece: u32) -> Option<Vec<u8>> {
        buffer.take(piece).map(|parts| parts.to_bytes().to_vec())
    }

    #[test]
    fn the_pieces_kept_never_exceed_the_capacity() {
        let mut buffer = PieceBuffer::new(10);
        assert!(keep(&mut buffer, 1, 6, 0, "ab"));
        assert!(!keep(&mut buffer, 2, 6, 0, "ab"));
        assert!(keep(&mut buffer, 3, 4, 0, "ab"));
        assert!(!keep(&mut buffer, 4, 1, 0, "a"));
        assert!(keep(&mut buffer, 1, 6, 2, "cdef"));
        assert_eq!(take(&mut buffer, 1).unwrap(), b"abcdef");
        assert_eq!(take(&mut buffer, 1), None);
        assert!(!keep(&mut buffer, 2, 6, 2, "cdef"), "its start is elsewhere");
        assert_eq!(take(&mut buffer, 2), None);
        assert!(keep(&mut buffer, 2, 6, 2, "cdef"));
    }

    #[test]
    fn parts_come_in_any_order_and_the_last_word_counts() {
        let mut buffer = PieceBuffer::new(10);
        keep(&mut buffer, 1, 6, 4, "ef");
        keep(&mut buffer, 1, 6, 0, "abcd");
        assert!(buffer.take(1).unwrap().iter().eq(["abcd", "ef"]));
        keep(&mut buffer, 1, 6, 3, "xy");
        keep(&mut buffer, 1, 6, 1, "bcd");
        assert_eq!(take(&mut buffer, 1).unwrap(), b"\0bcdy\0");
    }
}
