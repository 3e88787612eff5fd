use std::collections::BTreeMap;

/// Pieces that are being put together, in bounded memory.
#[derive(Debug)]
pub struct PieceBuffer {
    capacity: usize,
    used: usize,
    /// The bytes of each started piece; `None` for one that found no room. It is
    /// remembered, lest its later blocks be kept without the earlier ones.
    started: BTreeMap<u32, Option<Vec<u8>>>,
}

impl PieceBuffer {
    pub fn new(capacity: usize) -> PieceBuffer {
        PieceBuffer { capacity, used: 0, started: BTreeMap::new() }
    }

    /// Takes in bytes of a piece of `length`, unless the piece found no room when
    /// its first ones came; returns whether it did.
    pub fn keep(&mut self, piece: u32, length: usize, begin: usize, bytes: &[u8]) -> bool {
        let room = self.capacity - self.used;
        let held = self.started.entry(piece).or_insert_with(|| {
            (length <= room).then(|| {
                self.used += length;
                vec![0; length]
            })
        });
        if let Some(held) = held {
            held[begin..begin + bytes.len()].copy_from_slice(bytes);
        }
        held.is_some()
    }

    /// Forgets the piece and returns its bytes, if it was kept.
    pub fn take(&mut self, piece: u32) -> Option<Vec<u8>> {
        let taken = self.started.remove(&piece).flatten()?;
        self.used -= taken.len();
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_kept_never_exceed_the_capacity() {
        let mut buffer = PieceBuffer::new(10);
        assert!(buffer.keep(1, 6, 0, b"ab"));
        assert!(!buffer.keep(2, 6, 0, b"ab"));
        assert!(buffer.keep(3, 4, 0, b"ab"));
        assert!(!buffer.keep(4, 1, 0, b"a"));
        assert!(buffer.keep(1, 6, 2, b"cdef"));
        assert_eq!(buffer.take(1).unwrap(), b"abcdef");
        assert_eq!(buffer.take(1), None);
        assert!(!buffer.keep(2, 6, 2, b"cdef"), "its start is elsewhere");
        assert_eq!(buffer.take(2), None);
        assert!(buffer.keep(2, 6, 2, b"cdef"));
    }
}
