//! SHA-1 of several contents at once.
//!
//! Each step of SHA-1 waits for the one before, so that a processor that hashes one
//! content may be idle for much of the time. Then the steps of others fit in between: four
//! contents take little more than two would one after the other. Where its unit for SHA-1 is
//! busy with one they take no less than that, and no more.

use std::{io, iter::Fuse};

use arrayvec::ArrayVec;
use bytes::{Buf, Bytes};
use sha1::block_api::compress;

/// Contents that are hashed at a time (count): more than this gain nothing.
pub(crate) const LANES: usize = 4;

/// Bytes that SHA-1 takes in at a time. FIPS 180-4 §5.2.1.
const BLOCK: usize = 64;

/// What a hash begins with. FIPS 180-4 §5.3.1.
const BEGINNING: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

/// The SHA-1 of each of `contents`, which come in chunks of any length; or why one could
/// not be read to its end.
pub(super) fn digests<C>(contents: impl IntoIterator<Item = C>) -> Vec<io::Result<[u8; 20]>>
where
    C: Iterator<Item = io::Result<Bytes>>,
{
    let mut lanes: Vec<Lane<C>> = contents.into_iter().map(Lane::new).collect();
    for lanes in lanes.chunks_mut(LANES) {
        loop {
            let mut blocks: ArrayVec<_, LANES> =
                lanes.iter_mut().filter_map(Lane::next_blocks).collect();
            let Some(steps) = blocks.iter().map(|(_, blocks)| blocks.len()).min() else { break };
            if let [(state, blocks)] = &mut *blocks {
                compress(state, blocks);
            } else {
                for step in 0..steps {
                    for (state, blocks) in &mut blocks {
                        compress(state, &blocks[step..=step]);
                    }
                }
            }
            drop(blocks);
            lanes.iter_mut().for_each(|lane| lane.advance(steps));
        }
    }
    lanes.into_iter().map(Lane::end).collect()
}

/// One content, as far as it is hashed.
struct Lane<C> {
    chunks: Fuse<C>,
    /// What is left of the chunk that came last.
    chunk: Bytes,
    /// The begin of a block that no chunk holds in one piece.
    begun: ArrayVec<u8, BLOCK>,
    state: [u32; 5],
    /// Bytes that came (count).
    length: u64,
    failed: Option<io::Error>,
}

impl<C: Iterator<Item = io::Result<Bytes>>> Lane<C> {
    fn new(chunks: C) -> Lane<C> {
        Lane {
            chunks: chunks.fuse(),
            chunk: Bytes::new(),
            begun: ArrayVec::new(),
            state: BEGINNING,
            length: 0,
            failed: None,
        }
    }

    /// The state, and the blocks that it is to take in next; `None` at the end.
    fn next_blocks(&mut self) -> Option<(&mut [u32; 5], &[[u8; BLOCK]])> {
        if self.failed.is_some() {
            return None;
        }
        while self.chunk.len() < BLOCK || !self.begun.is_empty() {
            let more = self.chunk.len().min(self.begun.remaining_capacity());
            let part = self.chunk.split_to(more);
            self.begun.try_extend_from_slice(&part).expect("there is room");
            if self.begun.is_full() {
                let block = self.begun.take().into_inner().expect("it is full");
                compress(&mut self.state, &[block]);
            } else {
                match self.chunks.next()? {
                    Ok(chunk) => {
                        self.length += chunk.len() as u64;
                        self.chunk = chunk;
                    }
                    Err(error) => {
                        self.failed = Some(error);
                        return None;
                    }
                }
            }
        }
        Some((&mut self.state, self.chunk.as_chunks().0))
    }

    /// So many of them (count) were taken in, unless it was at its end.
    fn advance(&mut self, blocks: usize) {
        if self.chunk.len() >= BLOCK {
            self.chunk.advance(blocks * BLOCK);
        }
    }

    /// The hash, after the padding. FIPS 180-4 §5.1.1.
    fn end(mut self) -> io::Result<[u8; 20]> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let mut end = [[0; BLOCK]; 2];
        let used = self.begun.len();
        let flat = end.as_flattened_mut();
        flat[..used].copy_from_slice(&self.begun);
        flat[used] = 0x80;
        let blocks = if used + 1 + 8 > BLOCK { 2 } else { 1 };
        flat[blocks * BLOCK - 8..blocks * BLOCK].copy_from_slice(&(self.length * 8).to_be_bytes());
        compress(&mut self.state, &end[..blocks]);
        let mut digest = [0; 20];
        for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        Ok(digest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha1::{Digest, Sha1};

    use super::*;

    /// Bytes from the disk, as they come.
    fn chunks(content: &[u8], lengths: &[usize]) -> Vec<io::Result<Bytes>> {
        let mut rest = content;
        let mut chunks = Vec::new();
        for length in lengths.iter().copied().chain([usize::MAX]) {
            let (chunk, behind) = rest.split_at(length.min(rest.len()));
            chunks.push(Ok(Bytes::copy_from_slice(chunk)));
            rest = behind;
        }
        chunks
    }

    #[test]
    fn one_that_cannot_be_read_fails_and_the_others_do_not() {
        let unreadable = vec![Ok(Bytes::from(vec![1; 200])), Err(io::Error::other("a bad sector"))];
        let contents = [chunks(&[7; 300], &[]), unreadable, chunks(b"abc", &[])];
        let digests = digests(contents.map(Vec::into_iter));
        assert_eq!(digests[0].as_ref().unwrap()[..], Sha1::digest([7; 300])[..]);
        assert_eq!(digests[1].as_ref().unwrap_err().to_string(), "a bad sector");
        // FIPS 180-2, appendix A.1.
        let abc =
            b"\xa9\x99\x3e\x36\x47\x06\x81\x6a\xba\x3e\x25\x71\x78\x50\xc2\x6c\x9c\xd0\xd8\x9d";
        assert_eq!(digests[2].as_ref().unwrap(), abc);
    }

    proptest! {
        #[test]
        fn each_is_the_sha1_of_its_content_whatever_its_chunks_and_its_company(
            contents in prop::collection::vec(
                (
                    prop::collection::vec(any::<u8>(), 0..400),
                    prop::collection::vec(0..130usize, 0..6),
                ),
                0..10,
            ),
        ) {
            let chunked = contents.iter().map(|(it, lengths)| chunks(it, lengths).into_iter());
            let digests = digests(chunked);
            prop_assert_eq!(digests.len(), contents.len());
            for (digest, (content, _)) in digests.into_iter().zip(&contents) {
                prop_assert_eq!(digest.unwrap(), <[u8; 20]>::from(Sha1::digest(content)));
            }
        }
    }
}
