//! Bytes that are known wherever one looks: what copies of them are held against.

use std::{
    io::{self, Read},
    iter,
    ops::Range,
    ptr,
    sync::OnceLock,
};

use bytes::Bytes;
use rand::Rng;

use crate::Substreams;

/// What is made up is so in stretches of this length, the usual one of a block (bytes).
const STRETCH: usize = 16 << 10;

/// Where stretches begin in what they are cut from (count): so many of them are all
/// different, and so are their pages.
const BEGINNINGS: usize = 1 << 17;

/// How far on the next stretch begins (bytes). Odd, so that it comes around to where the
/// first one begins only after all the others.
const STRIDE: usize = 40_503;

/// The bytes of a torrent, or of a file of it.
///
/// Those made up are the same every time and take no room of their own: each stretch of them
/// is cut from the same 144 KiB of noise, elsewhere than the one before, so that what is at
/// one place is at no other. What is of one stretch is had without a copy.
#[derive(Debug, Clone)]
pub(crate) struct Truth {
    source: Source,
    start: u64,
    length: u64,
}

#[derive(Debug, Clone)]
enum Source {
    Held(Bytes),
    /// With the noise that all of it is cut from.
    MadeUp(Bytes),
}

impl Truth {
    /// These bytes.
    pub(crate) fn held(bytes: Bytes) -> Truth {
        Truth { start: 0, length: bytes.len() as u64, source: Source::Held(bytes) }
    }

    /// The first `length` of those that are made up.
    pub(crate) fn made_up(length: u64) -> Truth {
        Truth { start: 0, length, source: Source::MadeUp(noise().clone()) }
    }

    /// Bytes (count).
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// `length` of them from `offset` on, if there are so many.
    pub(crate) fn part(&self, offset: u64, length: u64) -> Option<Truth> {
        let end = offset.checked_add(length)?;
        let within = end <= self.length;
        within.then(|| Truth { source: self.source.clone(), start: self.start + offset, length })
    }

    /// The same in one piece; a copy only where they are of several stretches.
    pub(crate) fn bytes(&self, offset: u64, length: usize) -> Option<Bytes> {
        if let Some((source, range)) = self.whole(offset, length) {
            return Some(source.slice(range));
        }
        let part = self.part(offset, length as u64)?;
        let mut bytes = Vec::with_capacity(length);
        part.slices().for_each(|slice| bytes.extend_from_slice(slice));
        Some(bytes.into())
    }

    /// The same if it takes no copy.
    pub(crate) fn slice(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let (source, range) = self.whole(offset, length)?;
        Some(&source[range])
    }

    /// All of them, stretch by stretch.
    pub(crate) fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let mut offset = 0;
        iter::from_fn(move || {
            let stretch = match self.source {
                Source::Held(_) => u64::MAX,
                Source::MadeUp(_) => STRETCH as u64 - (self.start + offset) % STRETCH as u64,
            };
            let length = stretch.min(self.length - offset);
            let slice = self.slice(offset, length as usize).expect("it is of one stretch");
            offset += length;
            (length > 0).then_some(slice)
        })
    }

    /// Whether `bytes` are those from `offset` on.
    pub(crate) fn is(&self, offset: u64, bytes: &[u8]) -> bool {
        if let Some(truth) = self.slice(offset, bytes.len()) {
            return same(truth, bytes);
        }
        let mut rest = bytes;
        self.part(offset, bytes.len() as u64).is_some_and(|part| {
            part.slices().all(|truth| {
                let (bytes, after) = rest.split_at(truth.len());
                rest = after;
                same(truth, bytes)
            })
        })
    }

    /// Those from `offset` on, to be kept in place of `bytes`: if they are the same, and
    /// take no copy.
    pub(crate) fn in_place_of(&self, bytes: &[u8], offset: u64) -> Option<Bytes> {
        let (source, range) = self.whole(offset, bytes.len())?;
        same(&source[range.clone()], bytes).then(|| source.slice(range))
    }

    /// To read them from the first to the last.
    pub(crate) fn reader(&self) -> impl Read {
        Reader { truth: self, offset: 0 }
    }

    /// Where they lie one after the other, if they do.
    fn whole(&self, offset: u64, length: usize) -> Option<(&Bytes, Range<usize>)> {
        if offset.checked_add(length as u64)? > self.length {
            return None;
        }
        let start = usize::try_from(self.start + offset).ok()?;
        match &self.source {
            Source::Held(bytes) => Some((bytes, start..start + length)),
            Source::MadeUp(noise) => {
                let (number, within) = (start / STRETCH, start % STRETCH);
                let begin = number.wrapping_mul(STRIDE) % BEGINNINGS + within;
                (within + length <= STRETCH).then(|| (noise, begin..begin + length))
            }
        }
    }
}

/// Whether two stretches of bytes are the same. What was never copied since it was made is
/// not even looked at.
pub(crate) fn same(these: &[u8], those: &[u8]) -> bool {
    ptr::eq(these, those) || these == those
}

struct Reader<'a> {
    truth: &'a Truth,
    offset: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.truth.part(self.offset, self.truth.length - self.offset);
        let rest = rest.expect("it is not past the end");
        let next = rest.slices().next().unwrap_or_default();
        let length = next.len().min(buffer.len());
        buffer[..length].copy_from_slice(&next[..length]);
        self.offset += length as u64;
        Ok(length)
    }
}

/// What stretches are cut from. It does not depend on a run's seed.
fn noise() -> &'static Bytes {
    static NOISE: OnceLock<Bytes> = OnceLock::new();
    NOISE.get_or_init(|| {
        let mut noise = vec![0; BEGINNINGS + STRETCH];
        Substreams::new(0).stream("content").fill_bytes(&mut noise);
        noise.into()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Three stretches and a bit, by their definition.
    fn all() -> Vec<u8> {
        let at = |place: usize| noise()[place / STRETCH * STRIDE % BEGINNINGS + place % STRETCH];
        (0..3 * STRETCH + 100).map(at).collect()
    }

    #[test]
    fn made_up_bytes_are_a_function_of_their_place() {
        let (all, truth) = (all(), Truth::made_up(3 * STRETCH as u64 + 100));
        let mut read = Vec::new();
        truth.reader().read_to_end(&mut read).unwrap();
        assert_eq!(read, all);
        let begins = [0, 1, STRETCH - 1, STRETCH, 2 * STRETCH + 7, all.len() - 1, all.len()];
        for begin in begins {
            for end in begins.into_iter().filter(|end| *end >= begin) {
                let bytes = truth.bytes(begin as u64, end - begin).unwrap();
                assert_eq!(bytes, all[begin..end]);
                assert!(truth.is(begin as u64, &bytes));
                let part = truth.part(begin as u64, (end - begin) as u64).unwrap();
                assert_eq!(part.slices().collect::<Vec<_>>().concat(), all[begin..end]);
            }
        }
        assert!(truth.bytes(all.len() as u64, 1).is_none() && truth.part(u64::MAX, 2).is_none());
    }

    #[test]
    fn one_wrong_byte_is_not_the_truth_wherever_it_is() {
        let truths = [Truth::made_up(3 * STRETCH as u64 + 100), Truth::held(Bytes::from(all()))];
        for truth in truths {
            let begin = STRETCH - 5;
            for wrong in [0, 4, 5, STRETCH + 4, STRETCH + 5, STRETCH + 9] {
                let mut bytes = all()[begin..][..STRETCH + 10].to_vec();
                assert!(truth.is(begin as u64, &bytes));
                bytes[wrong] ^= 0x10;
                assert!(!truth.is(begin as u64, &bytes), "byte {wrong}");
            }
            assert!(!truth.is(truth.length() - 3, &all()[..4]), "past the end");
        }
    }

    #[test]
    fn no_two_pages_of_a_gibibyte_are_alike_in_two_stretches() {
        let truth = Truth::made_up(1 << 30);
        let page =
            |place: u64| u128::from_le_bytes(truth.slice(place, 16).unwrap().try_into().unwrap());
        let stretches: BTreeSet<u128> = (0..1 << 16).map(|number| page(number << 14)).collect();
        assert_eq!(stretches.len(), 1 << 16);
        let pages: BTreeSet<u128> = (0..1 << 12).map(|number| page(number << 12)).collect();
        assert_eq!(pages.len(), 1 << 12, "of 16 MiB");
    }
}
