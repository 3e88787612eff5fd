//! What two peers say to each other: the handshake, the messages, and the
//! decoder that finds them in a stream of bytes.
//!
//! Encoding writes one message at a time; decoding is streaming, because TCP
//! has no message boundaries. The rules that need more than one message (who may
//! send what, and when) belong to the connection, not here. BEP 3, BEP 6, BEP 10.

mod decoder;
mod framing;
mod handshake;
mod message;
mod parts;

use std::ops::RangeInclusive;

use bytes::Bytes;

pub use decoder::{Decoder, EXTENSION_CAP, message_cap};
pub use framing::Framing;
pub use handshake::Handshake;
pub use message::Message;
pub(crate) use parts::Outbox;
pub use parts::Parts;

/// Why bytes are no peer wire stream; grounds to drop the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The stream does not open with the length and name of the protocol.
    #[error("a handshake that starts with \"{}\" instead of \"\\x13BitTorrent protocol\"", got.escape_ascii())]
    Protocol {
        /// The bytes in its place, at most 20.
        got: Bytes,
    },
    /// A length prefix that promises more than we are ready to buffer.
    #[error("a message of {length} bytes where at most {cap} are expected")]
    TooLong {
        /// Bytes announced, without the prefix.
        length: u32,
        /// Bytes that would have been taken.
        cap: usize,
    },
    /// A length that no message with this id can have.
    #[error("a message with id {id} of {got} bytes where it takes {}", Span(expected))]
    Length {
        /// Message id.
        id: u8,
        /// Bytes announced, id included, prefix not.
        got: u32,
        /// What such a message takes, counted in the same way.
        expected: RangeInclusive<u32>,
    },
}

/// A range of lengths as prose.
struct Span<'a>(&'a RangeInclusive<u32>);

impl std::fmt::Display for Span<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (*self.0.start(), *self.0.end()) {
            (least, u32::MAX) => write!(f, "at least {least}"),
            (least, most) if least == most => write!(f, "{least}"),
            (least, most) => write!(f, "{least} to {most}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_came_and_what_was_expected() {
        let length = |expected| WireError::Length { id: 6, got: 12, expected };
        assert_eq!(
            length(13..=13).to_string(),
            "a message with id 6 of 12 bytes where it takes 13"
        );
        assert!(length(13..=20).to_string().ends_with("takes 13 to 20"));
        assert!(length(13..=u32::MAX).to_string().ends_with("takes at least 13"));
        let protocol = WireError::Protocol { got: Bytes::from_static(b"GET /\r\n") };
        assert_eq!(
            protocol.to_string(),
            r#"a handshake that starts with "GET /\r\n" instead of "\x13BitTorrent protocol""#
        );
    }
}
