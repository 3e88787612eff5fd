//! What a connection holds of its two byte streams. Bytes are copied in once, unless their
//! writer leaves them as they are, and out once, by their reader; between them they are
//! slices of what the writer filled.

use bytes::{Bytes, BytesMut};
use reseed_protocol::wire::Parts;
use tokio::io::ReadBuf;

/// Bytes that are allocated at once for what is to be sent, if no more are written.
const CHUNK: usize = 16 * 1024;

/// What was written and not sent.
#[derive(Default)]
pub(crate) struct SendBuffer {
    /// Chunks that are full, oldest first.
    full: Parts,
    /// The one that is being filled.
    last: BytesMut,
}

impl SendBuffer {
    pub(crate) fn len(&self) -> usize {
        self.full.len() + self.last.len()
    }

    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        let room = self.last.capacity() - self.last.len();
        if room < bytes.len() && !self.last.is_empty() {
            let (now, later) = bytes.split_at(room);
            self.last.extend_from_slice(now);
            self.full.push(self.last.split().freeze());
            bytes = later;
        }
        if self.last.capacity() - self.last.len() < bytes.len() {
            self.last = BytesMut::with_capacity(bytes.len().max(CHUNK));
        }
        self.last.extend_from_slice(bytes);
    }

    /// Takes `bytes` in as they are.
    pub(crate) fn push_bytes(&mut self, bytes: Bytes) {
        if !self.last.is_empty() {
            self.full.push(self.last.split().freeze());
        }
        self.full.push(bytes);
    }

    /// The first `length` bytes, which are there. A segment that spans chunks is copied.
    pub(crate) fn take(&mut self, length: usize) -> Bytes {
        if length > self.full.len() {
            self.full.push(self.last.split().freeze());
        }
        self.full.split_bytes_to(length)
    }

    pub(crate) fn clear(&mut self) {
        *self = SendBuffer::default();
    }
}

/// What was received and not read.
#[derive(Default)]
pub(crate) struct ReceiveBuffer {
    segments: Parts,
}

impl ReceiveBuffer {
    pub(crate) fn len(&self) -> usize {
        self.segments.len()
    }

    pub(crate) fn push(&mut self, segment: Bytes) {
        self.segments.push(segment);
    }

    /// Moves to `buffer` what fits in it.
    pub(crate) fn read(&mut self, buffer: &mut ReadBuf<'_>) {
        self.take(buffer.remaining(), |bytes| buffer.put_slice(bytes));
    }

    /// Moves behind what `into` holds what there is, `most` bytes of it at most; returns
    /// how many.
    pub(crate) fn read_into(&mut self, most: usize, into: &mut BytesMut) -> usize {
        into.reserve(self.len().min(most));
        self.take(most, |bytes| into.extend_from_slice(bytes))
    }

    /// Hands over what there is in order, `most` bytes of it at most; returns how many.
    fn take(&mut self, most: usize, hand_over: impl FnMut(&[u8])) -> usize {
        let taken = self.len().min(most);
        self.segments.slices(taken).for_each(hand_over);
        self.segments.advance(taken);
        taken
    }

    pub(crate) fn clear(&mut self) {
        *self = ReceiveBuffer::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(
            writes in prop::collection::vec(1..40_000usize, 1..20),
            segment in 1..3000usize,
            read in 1..5000usize,
        ) {
            let total: usize = writes.iter().sum();
            let bytes: Vec<u8> = (0..total).map(|at| (at / 7) as u8).collect();
            let (mut sender, mut receiver) = (SendBuffer::default(), ReceiveBuffer::default());
            let (mut at, mut out) = (0, Vec::new());
            for (number, length) in writes.into_iter().enumerate() {
                match number % 2 {
                    0 => sender.push(&bytes[at..at + length]),
                    _ => sender.push_bytes(Bytes::copy_from_slice(&bytes[at..at + length])),
                }
                at += length;
                // What is left at the end of a chunk stays for the next write.
                while sender.len() > segment {
                    receiver.push(sender.take(segment));
                }
            }
            receiver.push(sender.take(sender.len()));
            while receiver.len() > 0 {
                let mut space = vec![0; read];
                let mut buffer = ReadBuf::new(&mut space);
                receiver.read(&mut buffer);
                out.extend_from_slice(buffer.filled());
                let mut more = BytesMut::new();
                let length = receiver.read_into(read, &mut more);
                prop_assert_eq!(length, more.len());
                out.extend_from_slice(&more);
            }
            prop_assert!(out == bytes);
            prop_assert_eq!(sender.len(), 0);
        }
    }
}
