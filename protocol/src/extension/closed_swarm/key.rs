//! Keys, and what is signed with them.

use std::fmt;

use p256::{
    ecdsa::{
        DerSignature, Signature, SigningKey, VerifyingKey,
        signature::{Signer, Verifier},
    },
    pkcs8::{DecodePublicKey, EncodePublicKey},
};
use rand::Rng;

/// Bytes of a signature that is two numbers of 32 bytes.
pub const FLAT_LENGTH: usize = 64;

/// A public key: of a torrent, or of a member of its swarm. On the wire and in a
/// torrent it is DER (SubjectPublicKeyInfo, RFC 5480).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey(VerifyingKey);

/// A private key. Neither [`Debug`](fmt::Debug) nor anything else shows what it is.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(SigningKey);

/// Bytes that are no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes that are no public key on P-256: {reason}")]
pub struct KeyError {
    /// How many there are.
    pub length: usize,
    /// What the reader of keys found.
    pub reason: String,
}

impl PrivateKey {
    /// A fresh key. On a machine `rng` must be one that nobody can guess.
    pub fn generate(rng: &mut impl Rng) -> PrivateKey {
        loop {
            let mut bytes = [0; 32];
            rng.fill_bytes(&mut bytes);
            // One in 2^32 is no key: zero, or not below the order of the curve.
            if let Ok(key) = SigningKey::from_slice(&bytes) {
                return PrivateKey(key);
            }
        }
    }

    /// What others know it by.
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.0.verifying_key())
    }

    /// Its signature over `bytes`: DER, the same each time (RFC 6979).
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let signature: DerSignature = self.0.sign(bytes);
        signature.as_bytes().to_vec()
    }

    /// The same where its length must be known: as two numbers of 32 bytes.
    pub fn sign_flat(&self, bytes: &[u8]) -> [u8; FLAT_LENGTH] {
        let signature: Signature = self.0.sign(bytes);
        signature.to_bytes().into()
    }
}

impl PublicKey {
    /// Reads a key from DER.
    pub fn from_der(der: &[u8]) -> Result<PublicKey, KeyError> {
        let error = |reason: String| KeyError { length: der.len(), reason };
        let key = VerifyingKey::from_public_key_der(der).map_err(|why| error(why.to_string()))?;
        Ok(PublicKey(key))
    }

    /// The key as DER.
    pub fn to_der(&self) -> Vec<u8> {
        self.0.to_public_key_der().expect("a key can be written").into_vec()
    }

    /// Whether `signature` (DER) over `bytes` was made with the private key to this one.
    pub fn verifies(&self, bytes: &[u8], signature: &[u8]) -> bool {
        DerSignature::from_bytes(signature)
            .is_ok_and(|signature| self.0.verify(bytes, &signature).is_ok())
    }

    /// The same for a signature of [`PrivateKey::sign_flat`].
    pub fn verifies_flat(&self, bytes: &[u8], signature: &[u8; FLAT_LENGTH]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.0.verify(bytes, &signature).is_ok())
    }
}

impl fmt::Display for PublicKey {
    /// The first digits of its x-coordinate: enough to tell a few keys apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let point = self.0.to_sec1_point(true);
        f.pad(&data_encoding::HEXLOWER.encode(&point.as_bytes()[1..5]))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {})", self.public())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn key(seed: u64) -> PrivateKey {
        PrivateKey::generate(&mut ChaCha8Rng::seed_from_u64(seed))
    }

    #[test]
    fn a_signature_is_of_one_key_and_one_text() {
        let signature = key(1).sign(b"text");
        assert!(key(1).public().verifies(b"text", &signature));
        assert!(!key(2).public().verifies(b"text", &signature), "another key");
        let flat = key(1).sign_flat(b"text");
        assert!(key(1).public().verifies_flat(b"text", &flat));
        assert!(!key(1).public().verifies_flat(b"tex", &flat), "another text");
        assert!(!key(1).public().verifies(b"test", &signature), "another text");
        assert!(!key(1).public().verifies(b"text", &signature[1..]), "no signature");
        assert!(!key(1).public().verifies(b"text", b""), "nothing");
    }

    #[test]
    fn the_same_text_is_signed_the_same_way_each_time() {
        assert_eq!(key(1).sign(b"text"), key(1).sign(b"text"));
    }

    #[test]
    fn a_public_key_reads_back_from_its_der() {
        let public = key(1).public();
        let der = public.to_der();
        assert_eq!(der.len(), 91, "SubjectPublicKeyInfo with a point that is not compressed");
        assert_eq!(PublicKey::from_der(&der), Ok(public));
        let error = PublicKey::from_der(&der[1..]).unwrap_err();
        assert!(error.to_string().starts_with("90 bytes that are no public key on P-256: "));
    }

    #[test]
    fn nothing_of_a_private_key_is_shown() {
        let secret = data_encoding::HEXLOWER.encode(&key(1).0.to_bytes());
        let shown = format!("{:?}", key(1));
        assert_eq!(shown, format!("PrivateKey(of {})", key(1).public()));
        assert!(!shown.contains(&secret[..8]));
    }
}
