//! Certificates: what says that a key may have a torrent's content.

use bendy::encoding::{Encoder, Error as EncodeError};

use super::{PrivateKey, PublicKey};
use crate::InfoHash;

/// A proof of access: the owner of a torrent says that the holder of a key may have
/// its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Which torrent.
    pub swarm: InfoHash,
    /// The torrent's key that signed it.
    pub torrent_key: PublicKey,
    /// The key of the holder.
    pub node_key: PublicKey,
    /// When it ends (Unix seconds); 0 is never.
    pub expires_s: u64,
    /// The owner's signature over all of the above (DER).
    pub signature: Vec<u8>,
}

/// A certificate and the key that it is for: what its holder shows others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Says who may have what.
    pub certificate: Certificate,
    /// The private key to the certificate's `node_key`.
    pub key: PrivateKey,
}

impl Certificate {
    /// Makes the certificate with which the holder of `node_key` may have the content
    /// of `swarm`. `owner` is a private key to one of the torrent's `cs_keys`.
    pub fn issue(
        owner: &PrivateKey,
        swarm: InfoHash,
        node_key: PublicKey,
        expires_s: u64,
    ) -> Certificate {
        let torrent_key = owner.public();
        let signature = owner.sign(&signed(&swarm, &torrent_key, &node_key, expires_s));
        Certificate { swarm, torrent_key, node_key, expires_s, signature }
    }

    /// Whether the owner signed it as it is.
    pub fn is_signed(&self) -> bool {
        let signed = signed(&self.swarm, &self.torrent_key, &self.node_key, self.expires_s);
        self.torrent_key.verifies(&signed, &self.signature)
    }

    /// Whether it has ended by `unix_s` (Unix seconds).
    pub fn has_expired(&self, unix_s: u64) -> bool {
        self.expires_s != 0 && self.expires_s <= unix_s
    }
}

/// What the owner signs: a bencoded list.
fn signed(
    swarm: &InfoHash,
    torrent_key: &PublicKey,
    node_key: &PublicKey,
    expires_s: u64,
) -> Vec<u8> {
    let write = || -> Result<Vec<u8>, EncodeError> {
        let mut encoder = Encoder::new();
        encoder.emit_list(|list| {
            list.emit_bytes(&swarm.0)?;
            list.emit_bytes(&torrent_key.to_der())?;
            list.emit_bytes(&node_key.to_der())?;
            list.emit_int(expires_s)
        })?;
        encoder.get_output()
    };
    write().expect("a list of strings can be written")
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn key(seed: u64) -> PrivateKey {
        PrivateKey::generate(&mut ChaCha8Rng::seed_from_u64(seed))
    }

    fn issued() -> Certificate {
        Certificate::issue(&key(1), InfoHash([7; 20]), key(2).public(), 100)
    }

    #[test]
    fn every_field_is_signed_and_so_is_the_expiry() {
        let issued = issued();
        assert!(issued.is_signed());
        let others = [
            Certificate { swarm: InfoHash([8; 20]), ..issued.clone() },
            Certificate { torrent_key: key(3).public(), ..issued.clone() },
            Certificate { node_key: key(3).public(), ..issued.clone() },
            Certificate { expires_s: 0, ..issued.clone() },
            Certificate { signature: Vec::new(), ..issued.clone() },
        ];
        for other in others {
            assert!(!other.is_signed(), "{other:?}");
        }
    }

    #[test]
    fn it_ends_at_its_time_and_never_at_zero() {
        let ends_at = |expires_s| Certificate { expires_s, ..issued() };
        assert!(!ends_at(100).has_expired(99));
        assert!(ends_at(100).has_expired(100));
        assert!(!ends_at(0).has_expired(u64::MAX));
    }
}
