//! Which pieces somebody has.

use std::{fmt, iter};

use bytes::Bytes;
use fixedbitset::FixedBitSet;

/// One bit a piece. On the wire the high bit of the first byte is piece 0, and
/// spare bits at the end are zero. BEP 3.
#[derive(Clone, PartialEq, Eq)]
pub struct Bitfield {
    bits: FixedBitSet,
    count: u32,
}

/// Why bytes are no bitfield of a torrent; grounds to drop the connection. BEP 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BitfieldError {
    /// The message does not have the one length that the torrent gives it.
    #[error("a bitfield of {got} bytes where {pieces} pieces take {expected}")]
    Length {
        /// Bytes received.
        got: usize,
        /// Bytes that it must have.
        expected: usize,
        /// Pieces of the torrent.
        pieces: u32,
    },
    /// A bit behind the last piece is set.
    #[error("a bitfield with a spare bit set behind its {pieces} pieces")]
    SpareBits {
        /// Pieces of the torrent.
        pieces: u32,
    },
}

impl Bitfield {
    /// A peer that has none of `pieces`.
    pub fn empty(pieces: u32) -> Bitfield {
        Bitfield { bits: FixedBitSet::with_capacity(pieces as usize), count: 0 }
    }

    /// A peer that has all of `pieces`.
    pub fn full(pieces: u32) -> Bitfield {
        let mut bits = FixedBitSet::with_capacity(pieces as usize);
        bits.insert_range(..);
        Bitfield { bits, count: pieces }
    }

    /// Reads the payload of a BITFIELD message for a torrent of `pieces`.
    pub fn from_wire(bytes: &[u8], pieces: u32) -> Result<Bitfield, BitfieldError> {
        let expected = wire_length(pieces);
        if bytes.len() != expected {
            return Err(BitfieldError::Length { got: bytes.len(), expected, pieces });
        }
        let mut bitfield = Bitfield::empty(pieces);
        for (at, &byte) in bytes.iter().enumerate() {
            let mut rest = byte;
            while rest != 0 {
                let bit = rest.leading_zeros();
                let piece = at as u32 * 8 + bit;
                if piece >= pieces {
                    return Err(BitfieldError::SpareBits { pieces });
                }
                bitfield.insert(piece);
                rest &= !(0x80 >> bit);
            }
        }
        Ok(bitfield)
    }

    /// The payload of a BITFIELD message.
    pub fn to_wire(&self) -> Bytes {
        let mut bytes = vec![0; wire_length(self.pieces())];
        for piece in self.iter() {
            bytes[(piece / 8) as usize] |= 0x80 >> (piece % 8);
        }
        bytes.into()
    }

    /// Pieces of the torrent (count).
    pub fn pieces(&self) -> u32 {
        self.bits.len() as u32
    }

    /// Pieces that are there (count).
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether every piece is there.
    pub fn is_full(&self) -> bool {
        self.count == self.pieces()
    }

    /// Whether no piece is there.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether `piece` is there; `false` if the torrent has no such piece.
    pub fn contains(&self, piece: u32) -> bool {
        self.bits.contains(piece as usize)
    }

    /// Adds `piece`; returns whether it was new.
    ///
    /// # Panics
    /// If the torrent has no such piece.
    pub fn insert(&mut self, piece: u32) -> bool {
        let new = !self.bits.put(piece as usize);
        self.count += u32::from(new);
        new
    }

    /// Takes `piece` away; returns whether it was there.
    pub fn remove(&mut self, piece: u32) -> bool {
        let was = self.contains(piece);
        if was {
            self.bits.set(piece as usize, false);
            self.count -= 1;
        }
        was
    }

    /// The pieces that are there, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.bits.ones().map(|piece| piece as u32)
    }

    /// The pieces that are here and not in `other`, ascending.
    pub fn difference<'a>(&'a self, other: &'a Bitfield) -> impl Iterator<Item = u32> + 'a {
        let there = other.words().iter().chain(iter::repeat(&0));
        let words = self.words().iter().zip(there).zip((0..).step_by(usize::BITS as usize));
        words.flat_map(|((here, there), first)| ones(here & !there).map(move |at| first + at))
    }

    /// Whether there is a piece here that is not in `other`.
    pub fn has_more_than(&self, other: &Bitfield) -> bool {
        !self.bits.is_subset(&other.bits)
    }

    /// The bits, a machine word at a time, piece 0 in the lowest: for whole-set
    /// comparison.
    pub fn words(&self) -> &[usize] {
        self.bits.as_slice()
    }
}

/// Which bits of `word` are set, ascending.
fn ones(mut word: usize) -> impl Iterator<Item = u32> {
    iter::from_fn(move || {
        let next = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (next < usize::BITS).then_some(next)
    })
}

fn wire_length(pieces: u32) -> usize {
    pieces.div_ceil(8) as usize
}

impl fmt::Debug for Bitfield {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bitfield({} of {})", self.count, self.pieces())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn piece_zero_is_the_high_bit_of_the_first_byte() {
        let mut bitfield = Bitfield::empty(10);
        bitfield.insert(0);
        bitfield.insert(9);
        assert_eq!(bitfield.to_wire().as_ref(), [0x80, 0x40]);
    }

    #[test]
    fn a_spare_bit_or_a_wrong_length_is_an_error() {
        assert_eq!(
            Bitfield::from_wire(&[0xff, 0xff], 10),
            Err(BitfieldError::SpareBits { pieces: 10 })
        );
        assert!(matches!(Bitfield::from_wire(&[0xff], 10), Err(BitfieldError::Length { .. })));
        assert!(Bitfield::from_wire(&[0xff, 0xc0], 10).unwrap().is_full());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(pieces in 1u32..200, picks in prop::collection::vec(any::<u32>(), 0..50)) {
            let mut bitfield = Bitfield::empty(pieces);
            for pick in picks {
                bitfield.insert(pick % pieces);
            }
            prop_assert_eq!(bitfield.count() as usize, bitfield.iter().count());
            prop_assert_eq!(Bitfield::from_wire(&bitfield.to_wire(), pieces), Ok(bitfield));
        }

        #[test]
        fn a_difference_is_what_only_the_one_has(
            of in (1u32..200, 1u32..200),
            picks in prop::collection::vec((any::<u32>(), 0..3u8), 0..300),
        ) {
            let (mut one, mut other) = (Bitfield::empty(of.0), Bitfield::empty(of.1));
            for (pick, into) in picks {
                let _ = into != 1 && one.insert(pick % of.0);
                let _ = into != 0 && pick % of.0 < of.1 && other.insert(pick % of.0);
            }
            let expected = one.iter().filter(|piece| *piece >= of.1 || !other.contains(*piece));
            prop_assert!(one.difference(&other).eq(expected));
        }

        #[test]
        fn any_bytes_are_a_bitfield_or_an_error(bytes: Vec<u8>, pieces in 0u32..5000) {
            if let Ok(bitfield) = Bitfield::from_wire(&bytes, pieces) {
                prop_assert_eq!(bitfield.to_wire().to_vec(), bytes);
            }
        }
    }
}
