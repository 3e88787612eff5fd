//! Bytes to be sent that do not lie in one place.

use bytes::{Buf, Bytes, BytesMut};

use super::Message;
use crate::few::Few;

/// Bytes in a row, in parts: a block that is sent is among them as it was read, and is
/// copied by nobody on its way to the socket. No part is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    parts: Few<Bytes>,
    length: usize,
}

impl Parts {
    /// Bytes (count).
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Puts `bytes` behind the others.
    pub fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.length += bytes.len();
            self.parts.push_back(bytes);
        }
    }

    /// Puts `more` behind the others, and leaves nothing in it.
    pub fn append(&mut self, more: &mut Parts) {
        self.length += std::mem::take(&mut more.length);
        self.parts.append(&mut more.parts);
    }

    /// The parts, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.parts.iter()
    }

    /// The first `length` bytes, in as many parts as they lie in.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn first(&self, length: usize) -> impl Iterator<Item = Bytes> {
        self.cut(length).map(|(part, length)| part.slice(..length))
    }

    /// The same, for who only looks at them.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn slices(&self, length: usize) -> impl Iterator<Item = &[u8]> + Clone {
        self.cut(length).map(|(part, length)| &part[..length])
    }

    /// The parts that the first `length` bytes lie in, and how much of each is of them.
    fn cut(&self, length: usize) -> impl Iterator<Item = (&Bytes, usize)> + Clone {
        assert!(length <= self.length, "{length} bytes of {}", self.length);
        let mut left = length;
        self.parts.iter().map_while(move |part| {
            let now = part.len().min(left);
            left -= now;
            (now > 0).then_some((part, now))
        })
    }

    /// Lets go of the first `length` bytes.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn advance(&mut self, length: usize) {
        assert!(length <= self.length, "{length} bytes of {}", self.length);
        self.length -= length;
        let mut left = length;
        while left > 0
            && let Some(first) = self.parts.front_mut()
        {
            let now = first.len().min(left);
            left -= now;
            match now == first.len() {
                true => _ = self.parts.pop_front(),
                false => first.advance(now),
            }
        }
    }

    /// Takes the first `length` bytes away.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn split_to(&mut self, length: usize) -> Parts {
        assert!(length <= self.length, "{length} bytes of {}", self.length);
        if length == self.length {
            return std::mem::take(self);
        }
        let mut taken = Parts::default();
        while taken.length < length
            && let Some(first) = self.parts.front_mut()
        {
            let left = length - taken.length;
            let part = match first.len() > left {
                true => first.split_to(left),
                false => self.parts.pop_front().unwrap_or_default(),
            };
            self.length -= part.len();
            taken.push(part);
        }
        taken
    }

    /// Takes the first `length` bytes away, in one place; copied only if they lie in several.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn split_bytes_to(&mut self, length: usize) -> Bytes {
        match self.parts.front_mut() {
            Some(first) if first.len() > length => {
                self.length -= length;
                first.split_to(length)
            }
            Some(first) if first.len() == length => {
                self.length -= length;
                self.parts.pop_front().unwrap_or_default()
            }
            _ => {
                let mut whole = BytesMut::with_capacity(length);
                self.slices(length).for_each(|slice| whole.extend_from_slice(slice));
                self.advance(length);
                whole.freeze()
            }
        }
    }

    /// All bytes in one place; copied only if they are not yet.
    pub fn to_bytes(&self) -> Bytes {
        self.clone().split_bytes_to(self.length)
    }
}

impl From<Bytes> for Parts {
    fn from(bytes: Bytes) -> Parts {
        let mut parts = Parts::default();
        parts.push(bytes);
        parts
    }
}

/// A part that is not worth its keep is copied (bytes).
const COPIED_MAX: usize = 1024;

/// Room that is made at once for what is said, if no more is needed (bytes): some ten of the
/// usual small messages.
const CHUNK: usize = 128;

/// What is said on a connection, until it is taken to be sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    parts: Parts,
    /// The end of it, and room for more.
    last: BytesMut,
}

impl Outbox {
    /// Bytes that wait (count).
    pub(crate) fn len(&self) -> usize {
        self.parts.len() + self.last.len()
    }

    /// Puts `message` behind what waits.
    pub(crate) fn say(&mut self, message: &Message) {
        match message {
            Message::Piece { data, .. } if data.len() > COPIED_MAX => {
                self.make_room(message.encoded_len() - data.len());
                message.encode_head(&mut self.last);
                self.end_part();
                self.parts.push(data.clone());
            }
            _ => {
                self.make_room(message.encoded_len());
                message.encode(&mut self.last);
            }
        }
    }

    /// Puts bytes behind what waits.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len());
        self.last.extend_from_slice(bytes);
    }

    /// Takes all that waits.
    pub(crate) fn take(&mut self) -> Parts {
        self.end_part();
        std::mem::take(&mut self.parts)
    }

    fn make_room(&mut self, bytes: usize) {
        if self.last.is_empty() && self.last.capacity() < bytes {
            self.last = BytesMut::with_capacity(bytes.max(CHUNK));
        }
    }

    /// What is said next is of another part.
    fn end_part(&mut self) {
        if !self.last.is_empty() {
            self.parts.push(self.last.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::message::tests::any_message, *};

    proptest! {
        #[test]
        fn what_is_said_comes_out_as_it_is_encoded_however_it_is_cut(
            messages in prop::collection::vec(any_message(), 0..12),
            long in 0..3 * COPIED_MAX,
            cuts in prop::collection::vec(0..2 * COPIED_MAX, 0..8),
        ) {
            let data = Bytes::from(vec![7; long]);
            let block = Message::Piece { piece: 1, begin: 0, data };
            let (mut outbox, mut encoded) = (Outbox::default(), BytesMut::new());
            for message in messages.iter().chain([&block]).chain(&messages) {
                outbox.say(message);
                message.encode(&mut encoded);
                prop_assert_eq!(outbox.len(), encoded.len());
            }
            let mut parts = outbox.take();
            prop_assert_eq!(outbox.len(), 0);
            prop_assert_eq!(parts.to_bytes(), &encoded);
            for cut in cuts {
                let length = cut.min(parts.len());
                let first: Vec<Bytes> = parts.first(length).collect();
                let slices: Vec<&[u8]> = parts.slices(length).collect();
                prop_assert_eq!(slices.concat(), first.concat());
                let mut rest = parts.clone();
                rest.advance(length);
                let taken = parts.split_to(length);
                prop_assert_eq!(rest.to_bytes(), parts.to_bytes());
                let mut others = first.iter().cloned().fold(Parts::default(), |mut all, part| {
                    all.push(part);
                    all
                });
                others.append(&mut rest.clone());
                prop_assert_eq!(others.split_bytes_to(length), first.concat());
                prop_assert_eq!(&others, &parts);
                prop_assert_eq!(rest.len(), parts.len());
                prop_assert_eq!(taken.len(), length);
                prop_assert_eq!(taken.to_bytes(), first.concat());
                prop_assert_eq!(taken.to_bytes(), encoded.split_to(length));
            }
            prop_assert_eq!(parts.to_bytes(), &encoded);
            prop_assert_eq!(parts.is_empty(), encoded.is_empty());
        }
    }
}
