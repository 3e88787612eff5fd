//! What a live stream brings: the truth about pieces that are made during a run.

use std::io::Read;

use bytes::Bytes;
use reseed_client::LiveSource;
use reseed_protocol::{
    Layout,
    extension::closed_swarm::PrivateKey,
    live::{Ring, SEAL_LENGTH, seal},
};

/// A live stream from beginning to end.
#[derive(Debug, Clone)]
pub(crate) struct Broadcast {
    ring: Ring,
    key: PrivateKey,
    /// The stream's bytes, from which it has those of its pieces.
    bytes: Bytes,
    /// Its pieces as they lie on disks, by sequence number.
    pieces: Vec<Bytes>,
}

impl Broadcast {
    /// A stream of so many pieces, of which one is as long as one of `layout`.
    pub(crate) fn new(
        layout: Layout,
        pieces: u64,
        key: PrivateKey,
        mut content: impl Read,
    ) -> Broadcast {
        let payload = layout.piece_length() as usize - SEAL_LENGTH;
        let mut bytes = vec![0; payload * pieces as usize];
        content.read_exact(&mut bytes).expect("it is without end");
        let sealed = bytes.chunks(payload).zip(0..).map(|(payload, at)| seal(&key, payload, at));
        let pieces = sealed.collect();
        Broadcast { ring: Ring::new(layout.pieces()), key, bytes: bytes.into(), pieces }
    }

    /// Where its pieces lie.
    pub(crate) fn ring(&self) -> Ring {
        self.ring
    }

    /// Bytes of the stream (count).
    pub(crate) fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Pieces (count).
    pub(crate) fn pieces(&self) -> u64 {
        self.pieces.len() as u64
    }

    /// Bytes of the stream that one piece brings (count).
    pub(crate) fn payload(&self) -> u64 {
        self.length() / self.pieces()
    }

    /// The bytes from `at` on.
    pub(crate) fn slice(&self, at: u64, length: usize) -> Option<&[u8]> {
        let at = usize::try_from(at).ok()?;
        self.bytes.get(at..at.checked_add(length)?)
    }

    /// Where a peer has it from that makes it.
    pub(crate) fn source(&self) -> LiveSource {
        let bytes = self.bytes.clone();
        LiveSource::new(self.key.clone(), move |at, length| {
            let at = usize::try_from(at).ok()?;
            (at + length <= bytes.len()).then(|| bytes.slice(at..at + length))
        })
    }

    /// Those that lie at `place` in their time, by sequence number.
    pub(crate) fn at(&self, place: u32) -> impl Iterator<Item = (u64, &Bytes)> {
        let pieces = (0..).zip(&self.pieces);
        pieces.skip(place as usize).step_by(self.ring.pieces() as usize)
    }
}
