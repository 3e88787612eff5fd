//! What a connection holds of its two byte streams. Bytes are copied in once, unless their
//! writer leaves them as they are, and out once, by their reader; between them they are
//! slices of what the writer filled.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::ReadBuf;

/// Bytes that are allocated at once for what is to be sent, if no more are written.
const CHUNK: usize = 16 * 1024;

/// The next of what waits. There are many connections, and most of the time nothing waits
/// on most of them: then no room is kept for it.
fn pop(waiting: &mut VecDeque<Bytes>) -> Option<Bytes> {
    let next = waiting.pop_front();
    if waiting.is_empty() {
        *waiting = VecDeque::new();
    }
    next
}

/// What was written and not sent.
#[derive(Default)]
pub(crate) struct SendBuffer {
    /// Chunks that are full, oldest first.
    full: VecDeque<Bytes>,
    /// The one that is being filled.
    last: BytesMut,
    length: usize,
}

impl SendBuffer {
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        self.length += bytes.len();
        let room = self.last.capacity() - self.last.len();
        if room < bytes.len() && !self.last.is_empty() {
            let (now, later) = bytes.split_at(room);
            self.last.extend_from_slice(now);
            self.full.push_back(self.last.split().freeze());
            bytes = later;
        }
        if self.last.capacity() - self.last.len() < bytes.len() {
            self.last = BytesMut::with_capacity(bytes.len().max(CHUNK));
        }
        self.last.extend_from_slice(bytes);
    }

    /// Takes `bytes` in as they are.
    pub(crate) fn push_bytes(&mut self, bytes: Bytes) {
        self.length += bytes.len();
        if !self.last.is_empty() {
            self.full.push_back(self.last.split().freeze());
        }
        self.full.push_back(bytes);
    }

    /// The first `length` bytes, which are there.
    pub(crate) fn take(&mut self, length: usize) -> Bytes {
        self.length -= length;
        let Some(first) = self.full.front_mut() else {
            return self.last.split_to(length).freeze();
        };
        if first.len() > length {
            return first.split_to(length);
        }
        if first.len() == length {
            return pop(&mut self.full).unwrap_or_default();
        }
        // A segment that spans chunks is rare, and copied.
        let mut segment = BytesMut::with_capacity(length);
        while segment.len() < length {
            let left = length - segment.len();
            match pop(&mut self.full) {
                Some(mut chunk) if chunk.len() > left => {
                    segment.extend_from_slice(&chunk.split_to(left));
                    self.full.push_front(chunk);
                }
                Some(chunk) => segment.extend_from_slice(&chunk),
                None => segment.extend_from_slice(&self.last.split_to(left)),
            }
        }
        segment.freeze()
    }

    pub(crate) fn clear(&mut self) {
        *self = SendBuffer::default();
    }
}

/// What was received and not read.
#[derive(Default)]
pub(crate) struct ReceiveBuffer {
    segments: VecDeque<Bytes>,
    length: usize,
}

impl ReceiveBuffer {
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn push(&mut self, segment: Bytes) {
        self.length += segment.len();
        self.segments.push_back(segment);
    }

    /// Moves to `buffer` what fits in it.
    pub(crate) fn read(&mut self, buffer: &mut ReadBuf<'_>) {
        self.take(buffer.remaining(), |bytes| buffer.put_slice(bytes));
    }

    /// Moves behind what `into` holds what there is, `most` bytes of it at most; returns
    /// how many.
    pub(crate) fn read_into(&mut self, most: usize, into: &mut BytesMut) -> usize {
        into.reserve(self.length.min(most));
        self.take(most, |bytes| into.extend_from_slice(bytes))
    }

    /// Hands over what there is in order, `most` bytes of it at most; returns how many.
    fn take(&mut self, most: usize, mut hand_over: impl FnMut(&[u8])) -> usize {
        let taken = self.length.min(most);
        self.length -= taken;
        let mut left = taken;
        while left > 0
            && let Some(segment) = self.segments.front_mut()
        {
            let now = segment.len().min(left);
            hand_over(&segment[..now]);
            left -= now;
            match now == segment.len() {
                true => _ = pop(&mut self.segments),
                false => segment.advance(now),
            }
        }
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
