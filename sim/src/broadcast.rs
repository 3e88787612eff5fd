//! What a live stream brings: the truth about pieces that are made during a run.

use std::{cell::RefCell, rc::Rc};

use bytes::Bytes;
use reseed_client::LiveSource;
use reseed_protocol::{
    Layout,
    extension::closed_swarm::PrivateKey,
    live::{Ring, SEAL_LENGTH, seal},
};

use crate::truth::Truth;

/// A live stream, which has no end: who hangs behind can go on by what is made.
#[derive(Debug, Clone)]
pub(crate) struct Broadcast {
    ring: Ring,
    key: PrivateKey,
    /// The stream's bytes, from which it has those of its pieces.
    truth: Truth,
    /// Bytes of the stream that one piece brings (count).
    payload: usize,
    /// How far everybody is to come (pieces).
    pieces: u64,
    /// The pieces that were made, as they lie on disks, by sequence number.
    made: Rc<RefCell<Vec<Bytes>>>,
}

impl Broadcast {
    /// A stream of which so many pieces are to come to everybody, of which one is as long as
    /// one of `layout`.
    pub(crate) fn new(layout: Layout, pieces: u64, key: PrivateKey) -> Broadcast {
        let payload = layout.piece_length() as usize - SEAL_LENGTH;
        let (ring, truth) = (Ring::new(layout.pieces()), Truth::made_up(u64::MAX));
        Broadcast { ring, key, truth, payload, pieces, made: Rc::default() }
    }

    /// Where its pieces lie.
    pub(crate) fn ring(&self) -> Ring {
        self.ring
    }

    /// Bytes of the stream that are to come to everybody (count).
    pub(crate) fn length(&self) -> u64 {
        self.pieces * self.payload()
    }

    /// Pieces that are (count).
    pub(crate) fn pieces(&self) -> u64 {
        self.pieces
    }

    /// Bytes of the stream that one piece brings (count).
    pub(crate) fn payload(&self) -> u64 {
        self.payload as u64
    }

    /// Whether `bytes` are those from `at` on.
    pub(crate) fn is(&self, at: u64, bytes: &[u8]) -> bool {
        self.truth.is(at, bytes)
    }

    /// Where a peer has it from that makes it.
    pub(crate) fn source(&self) -> LiveSource {
        let stream = self.clone();
        LiveSource::new(self.key.clone(), move |at, length| {
            let payload = stream.truth.bytes(at, length)?;
            let mut made = stream.made.borrow_mut();
            let sequence = at / stream.payload();
            if made.len() as u64 == sequence {
                made.push(seal(&stream.key, &payload, sequence));
            }
            Some(payload)
        })
    }

    /// Those that were made for `place`, by sequence number.
    pub(crate) fn at(&self, place: u32) -> impl Iterator<Item = (u64, Bytes)> {
        let made = self.made.borrow();
        let step = self.ring.pieces() as usize;
        let of_place = (0..).zip(made.iter().cloned()).skip(place as usize).step_by(step);
        of_place.collect::<Vec<_>>().into_iter()
    }
}
