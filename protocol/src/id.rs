//! Identities: of a torrent, of a peer in it, and of a connection to that peer.

use std::fmt;

use rand::{Rng, RngExt};

/// SHA-1 of the bencoded `info` dictionary, over its raw bytes. BEP 3.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHash(pub [u8; 20]);

/// A peer's identity for one run of one download. BEP 3, BEP 20.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub [u8; 20]);

/// Our own number for a connection, never used twice in one torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl PeerId {
    /// Client code and version in Azureus style. BEP 20.
    pub const PREFIX: &[u8; 8] = b"-RE0001-";

    /// A fresh id: [`PeerId::PREFIX`] and 12 random alphanumeric bytes.
    pub fn generate(rng: &mut impl Rng) -> PeerId {
        const ALPHABET: &[u8; 62] =
            b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let mut id = [0; 20];
        id[..8].copy_from_slice(Self::PREFIX);
        for byte in &mut id[8..] {
            *byte = ALPHABET[rng.random_range(0..ALPHABET.len())];
        }
        PeerId(id)
    }

    /// The client code of an Azureus-style id: `RE` of `-RE0001-…`. BEP 20.
    pub fn client(&self) -> Option<&str> {
        let well_formed = self.0[0] == b'-' && self.0[7] == b'-';
        let code = &self.0[1..3];
        (well_formed && code.iter().all(u8::is_ascii_alphanumeric))
            .then(|| std::str::from_utf8(code).expect("ASCII is UTF-8"))
    }
}

impl fmt::Display for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InfoHash({self})")
    }
}

impl fmt::Display for PeerId {
    /// Printable ASCII as it is, every other byte as `\xNN`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn a_generated_peer_id_follows_bep_20() {
        let id = PeerId::generate(&mut ChaCha8Rng::seed_from_u64(1));
        assert_eq!(&id.0[..8], b"-RE0001-");
        assert!(id.0[8..].iter().all(u8::is_ascii_alphanumeric));
        assert_eq!(id.client(), Some("RE"));
    }

    #[test]
    fn an_id_without_the_azureus_dashes_names_no_client() {
        assert_eq!(PeerId([b'x'; 20]).client(), None);
        assert_eq!(PeerId(*b"-\xff\xff0001-aaaaaaaaaaaa").client(), None);
    }
}
