//! Bytes as a supply of choices, and what hears the answers.

use reseed_protocol::wire::{Decoder, Message, message_cap};

/// Hands out bytes, and zeros when there are none left.
pub struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    /// All of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Input<'a> {
        Input { bytes }
    }

    /// Whether there are none left.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.bytes.split_first().unwrap_or((&0, &[]));
        self.bytes = rest;
        *first
    }

    /// The next two bytes, big-endian.
    pub fn short(&mut self) -> u16 {
        u16::from(self.byte()) << 8 | u16::from(self.byte())
    }

    /// The next bytes, as many as there are up to `length`.
    pub fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(length.min(self.bytes.len()));
        self.bytes = rest;
        taken
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }
}

/// A remote's ear: whatever it said itself, what it hears is one handshake and messages.
pub struct Ear {
    decoder: Decoder,
    greeted: bool,
}

impl Default for Ear {
    fn default() -> Ear {
        Ear { decoder: Decoder::new(message_cap(None)), greeted: false }
    }
}

impl Ear {
    /// Takes in bytes; returns the messages that they complete.
    ///
    /// # Panics
    /// If they are no messages.
    pub fn hear(&mut self, bytes: &[u8]) -> Vec<Message> {
        self.decoder.feed(bytes);
        if !self.greeted {
            let handshake = self.decoder.next_handshake().expect("a peer begins with a handshake");
            self.greeted = handshake.is_some();
        }
        let mut next = || self.decoder.next_message().expect("a peer says what can be read");
        std::iter::from_fn(&mut next).collect()
    }
}
