//! The first 68 bytes each way.

use std::fmt;

use bytes::Bytes;

use super::WireError;
use crate::{InfoHash, PeerId};

/// What each side says before anything else. BEP 3 §peer protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// 64 bits that announce extensions of the protocol; unknown ones are ignored.
    pub reserved: [u8; 8],
    /// Which torrent the connection is about.
    pub info_hash: InfoHash,
    /// Who is speaking.
    pub peer_id: PeerId,
}

impl Handshake {
    /// Bytes on the wire.
    pub const LENGTH: usize = 68;

    /// How every handshake starts: the length of the protocol's name, and the name.
    pub const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";

    /// A handshake that announces no extension of the protocol.
    pub fn new(info_hash: InfoHash, peer_id: PeerId) -> Handshake {
        Handshake { reserved: [0; 8], info_hash, peer_id }
    }

    /// Announces the fast extension. BEP 6.
    #[must_use]
    pub fn with_fast(mut self) -> Handshake {
        self.reserved[7] |= FAST;
        self
    }

    /// Announces the extension protocol. BEP 10.
    #[must_use]
    pub fn with_extensions(mut self) -> Handshake {
        self.reserved[5] |= EXTENSIONS;
        self
    }

    /// Whether the sender speaks the fast extension. It is in force only if both
    /// sides do. BEP 6.
    pub fn supports_fast(&self) -> bool {
        self.reserved[7] & FAST != 0
    }

    /// Whether the sender speaks the extension protocol. BEP 10.
    pub fn supports_extensions(&self) -> bool {
        self.reserved[5] & EXTENSIONS != 0
    }

    /// The bytes to send.
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..20].copy_from_slice(Self::PROTOCOL);
        bytes[20..28].copy_from_slice(&self.reserved);
        bytes[28..48].copy_from_slice(&self.info_hash.0);
        bytes[48..].copy_from_slice(&self.peer_id.0);
        bytes
    }

    /// Reads the bytes received; fails unless they start with
    /// [`Handshake::PROTOCOL`].
    pub fn decode(bytes: &[u8; Self::LENGTH]) -> Result<Handshake, WireError> {
        check_protocol(bytes)?;
        let mut handshake = Handshake::new(InfoHash([0; 20]), PeerId([0; 20]));
        handshake.reserved.copy_from_slice(&bytes[20..28]);
        handshake.info_hash.0.copy_from_slice(&bytes[28..48]);
        handshake.peer_id.0.copy_from_slice(&bytes[48..]);
        Ok(handshake)
    }
}

const FAST: u8 = 0x04;
const EXTENSIONS: u8 = 0x10;

/// Whether `start`, as much as there is of it, can become a handshake.
pub(super) fn check_protocol(start: &[u8]) -> Result<(), WireError> {
    let start = &start[..start.len().min(Handshake::PROTOCOL.len())];
    if Handshake::PROTOCOL.starts_with(start) {
        Ok(())
    } else {
        Err(WireError::Protocol { got: Bytes::copy_from_slice(start) })
    }
}

impl fmt::Display for Handshake {
    /// One line of a transcript: `handshake <info hash> <peer id> fast extensions`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "handshake {} {}", self.info_hash, self.peer_id)?;
        if self.supports_fast() {
            f.write_str(" fast")?;
        }
        if self.supports_extensions() {
            f.write_str(" extensions")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: Handshake = Handshake {
        reserved: [0; 8],
        info_hash: InfoHash([0xaa; 20]),
        peer_id: PeerId(*b"-RE0001-abcdefghijkl"),
    };

    #[test]
    fn the_bytes_are_in_the_order_of_bep_3() {
        let mut expected = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x04".to_vec();
        expected.extend([0xaa; 20]);
        expected.extend(b"-RE0001-abcdefghijkl");
        let handshake = PLAIN.with_fast().with_extensions();
        assert_eq!(handshake.encode().as_slice(), expected);
    }

    #[test]
    fn each_extension_has_its_own_reserved_bit() {
        assert!(!PLAIN.supports_fast() && !PLAIN.supports_extensions());
        let fast = PLAIN.with_fast();
        assert!(fast.supports_fast() && !fast.supports_extensions());
        let extensions = PLAIN.with_extensions();
        assert!(!extensions.supports_fast() && extensions.supports_extensions());
    }

    #[test]
    fn another_protocol_is_an_error() {
        let mut bytes = PLAIN.encode();
        bytes[19] = b'x';
        assert!(matches!(
            Handshake::decode(&bytes),
            Err(WireError::Protocol { got }) if got.len() == 20
        ));
    }

    #[test]
    fn a_transcript_shows_who_wants_what_and_how() {
        assert_eq!(
            PLAIN.with_fast().with_extensions().to_string(),
            "handshake aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa -RE0001-abcdefghijkl fast extensions"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(reserved: [u8; 8], info_hash: [u8; 20], peer_id: [u8; 20]) {
            let handshake = Handshake {
                reserved,
                info_hash: InfoHash(info_hash),
                peer_id: PeerId(peer_id),
            };
            prop_assert_eq!(Handshake::decode(&handshake.encode()), Ok(handshake));
        }
    }
}
