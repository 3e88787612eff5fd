use std::io;

use reseed_protocol::{Bitfield, Layout};

use super::Storage;
use crate::Disk;

/// A check of a whole content, a piece a step, so that the caller can let others
/// run in between.
#[derive(Debug)]
pub struct Checker {
    next: u32,
    verified: Bitfield,
}

impl Checker {
    /// A check that has not begun.
    pub fn new(layout: Layout) -> Checker {
        Checker { next: 0, verified: Bitfield::empty(layout.pieces()) }
    }

    /// Checks the next piece against the SHA-1 that `expected` gives for it, and
    /// returns the piece and whether it is there and right; `None` at the end. A
    /// piece that could not be read is the next one again.
    pub fn check_next<D: Disk>(
        &mut self,
        storage: &Storage<D>,
        expected: impl FnOnce(u32) -> [u8; 20],
    ) -> io::Result<Option<(u32, bool)>> {
        let piece = self.next;
        if piece == self.verified.pieces() {
            return Ok(None);
        }
        let good = storage.check(piece, &expected(piece))?;
        if good {
            self.verified.insert(piece);
        }
        self.next += 1;
        Ok(Some((piece, good)))
    }

    /// The pieces that were found there and right so far.
    pub fn verified(&self) -> &Bitfield {
        &self.verified
    }

    /// The same, at the end.
    pub fn into_verified(self) -> Bitfield {
        self.verified
    }
}

#[cfg(test)]
mod tests {
    use sha1::{Digest, Sha1};

    use super::*;
    use crate::MemoryDisk;

    #[test]
    fn a_check_finds_exactly_the_pieces_that_are_there_and_right() {
        let layout = Layout::new(4, 14);
        let files = vec![("a".into(), 10), ("b".into(), 4)];
        let storage = Storage::new(MemoryDisk::new(99), files, layout);
        storage.write_block(0, 0, b"abcd").unwrap();
        storage.write_block(1, 0, b"eFgh").unwrap();
        storage.write_block(3, 0, b"mn").unwrap();
        let expected = |piece| {
            let start = piece as usize * 4;
            Sha1::digest(&b"abcdefghijklmn"[start..(start + 4).min(14)]).into()
        };
        let mut checker = Checker::new(layout);
        let mut steps = Vec::new();
        while let Some(step) = checker.check_next(&storage, expected).unwrap() {
            steps.push(step);
        }
        assert_eq!(steps, [(0, true), (1, false), (2, false), (3, true)]);
        assert_eq!(checker.into_verified().iter().collect::<Vec<_>>(), [0, 3]);
    }
}
