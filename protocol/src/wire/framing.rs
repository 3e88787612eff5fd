//! Where messages end in a stream of bytes, for who hands them on whole.

use super::{Handshake, message::PREFIX_LENGTH};

/// Follows a stream from message to message. It keeps none of its bytes and judges none:
/// that is for the [`Decoder`](super::Decoder).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Framing {
    /// What was read of a length prefix, if that is where the stream is.
    prefix: Vec<u8>,
    /// Bytes of the handshake or the message that are still to come, if it is there.
    rest: usize,
}

impl Default for Framing {
    fn default() -> Framing {
        Framing::new()
    }
}

impl Framing {
    /// At the start of a stream, before the handshake.
    pub fn new() -> Framing {
        Framing { prefix: Vec::with_capacity(PREFIX_LENGTH), rest: Handshake::LENGTH }
    }

    /// Goes on by `bytes`; returns how many of them come up to the end of the last message
    /// that ends in them, 0 if none does.
    pub fn follow(&mut self, bytes: &[u8]) -> usize {
        let (mut at, mut end) = (0, 0);
        while at < bytes.len() {
            let left = bytes.len() - at;
            if self.rest == 0 {
                let taken = left.min(PREFIX_LENGTH - self.prefix.len());
                self.prefix.extend_from_slice(&bytes[at..at + taken]);
                at += taken;
                let Some(length) = self.prefix.first_chunk() else { break };
                self.rest = u32::from_be_bytes(*length) as usize;
                self.prefix.clear();
            } else {
                let taken = left.min(self.rest);
                self.rest -= taken;
                at += taken;
            }
            if self.rest == 0 {
                end = at;
            }
        }
        end
    }

    /// Bytes that are missing, at the least, until a message ends.
    pub fn missing(&self) -> usize {
        match self.rest {
            0 => PREFIX_LENGTH - self.prefix.len(),
            rest => rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::{super::message::tests::any_message, *};
    use crate::{InfoHash, PeerId};

    fn handshake() -> [u8; Handshake::LENGTH] {
        Handshake::new(InfoHash([1; 20]), PeerId([2; 20])).encode()
    }

    #[test]
    fn the_first_message_ends_with_the_handshake() {
        let mut framing = Framing::new();
        assert_eq!(framing.missing(), 68);
        assert_eq!(framing.follow(&handshake()[..67]), 0);
        assert_eq!(framing.missing(), 1);
        assert_eq!(framing.follow(&handshake()[67..]), 1);
        assert_eq!(framing.missing(), 4);
    }

    #[test]
    fn a_keepalive_is_a_prefix_and_nothing_else() {
        let mut framing = Framing::new();
        framing.follow(&handshake());
        assert_eq!(framing.follow(&[0, 0, 0, 0, 0, 0]), 4);
        assert_eq!(framing.missing(), 2);
        assert_eq!(framing.follow(&[0, 2, 7]), 0);
        assert_eq!(framing.missing(), 1);
        assert_eq!(framing.follow(&[7, 0]), 1);
    }

    #[test]
    fn a_length_prefix_may_promise_what_it_likes() {
        let mut framing = Framing::new();
        framing.follow(&handshake());
        assert_eq!(framing.follow(&[255; 5]), 0);
        assert_eq!(framing.missing(), u32::MAX as usize - 1);
    }

    proptest! {
        #[test]
        fn however_it_comes_messages_end_where_they_end(
            messages in prop::collection::vec(any_message(), 0..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut stream = BytesMut::from(&handshake()[..]);
            let mut ends = vec![stream.len()];
            for message in &messages {
                message.encode(&mut stream);
                ends.push(stream.len());
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let mut framing = Framing::new();
            for part in cuts.windows(2) {
                let (from, to) = (part[0], part[1]);
                let last = ends.iter().rfind(|end| from < **end && **end <= to);
                let followed = framing.follow(&stream[from..to]);
                prop_assert_eq!(followed, last.map_or(0, |end| end - from));
                let next = ends.iter().copied().find(|end| *end > to).unwrap_or(stream.len() + 4);
                prop_assert!((1..=next - to).contains(&framing.missing()));
            }
        }
    }
}
