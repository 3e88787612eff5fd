//! What a live stream brings: the truth about pieces that are made during a run.

use std::{cell::RefCell, io::Read, rc::Rc};

use bytes::Bytes;
use reseed_client::LiveSource;
use reseed_protocol::{
    Layout,
    extension::closed_swarm::PrivateKey,
    live::{Ring, SEAL_LENGTH, seal},
};

/// How often a stream goes round once all have come as far as they are to: a stream has no
/// end, and who hangs behind can go on by what is made.
const ROUNDS_MORE: u64 = 2;

/// A live stream.
#[derive(Debug, Clone)]
pub(crate) struct Broadcast {
    ring: Ring,
    key: PrivateKey,
    /// The stream's bytes, from which it has those of its pieces.
    bytes: Bytes,
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
    pub(crate) fn new(
        layout: Layout,
        pieces: u64,
        key: PrivateKey,
        mut content: impl Read,
    ) -> Broadcast {
        let payload = layout.piece_length() as usize - SEAL_LENGTH;
        let ring = Ring::new(layout.pieces());
        let all = pieces + ROUNDS_MORE * u64::from(ring.pieces());
        let mut bytes = vec![0; payload * all as usize];
        content.read_exact(&mut bytes).expect("it is without end");
        Broadcast { ring, key, bytes: bytes.into(), payload, pieces, made: Rc::default() }
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

    /// The bytes from `at` on.
    pub(crate) fn slice(&self, at: u64, length: usize) -> Option<&[u8]> {
        let at = usize::try_from(at).ok()?;
        self.bytes.get(at..at.checked_add(length)?)
    }

    /// Where a peer has it from that makes it.
    pub(crate) fn source(&self) -> LiveSource {
        let stream = self.clone();
        LiveSource::new(self.key.clone(), move |at, length| {
            let at = usize::try_from(at).ok()?;
            let payload =
                (at + length <= stream.bytes.len()).then(|| stream.bytes.slice(at..at + length))?;
            let mut made = stream.made.borrow_mut();
            if made.len() * stream.payload == at {
                let sequence = made.len() as u64;
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
