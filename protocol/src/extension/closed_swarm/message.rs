//! The four messages: bencoded lists that begin with their number.

use std::ops::RangeInclusive;

use bendy::{
    decoding::{Decoder, ListDecoder, Object},
    encoding::{Encoder, Error as EncodeError},
};
use bytes::Bytes;
use rand::Rng;

use super::{Certificate, MESSAGE_LENGTH_MAX, PublicKey};
use crate::{
    InfoHash,
    bencode::{self, BencodeError},
};

/// A number that is used once: what is signed with it was not signed before.
pub type Nonce = Vec<u8>;

/// Bytes of a nonce of ours.
const NONCE_LENGTH: usize = 20;

/// Bytes that a remote's nonce may have.
const NONCE_LENGTHS: RangeInclusive<usize> = 16..=64;

/// A message of the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProofMessage {
    /// A's challenge (227), or B's (228).
    Challenge {
        /// Whether it is B's.
        returned: bool,
        /// Which torrent.
        swarm: InfoHash,
        /// The sender's.
        nonce: Nonce,
    },
    /// A's proof (229), or B's (230).
    Proof {
        /// Whether it is B's.
        returned: bool,
        /// What the sender may have.
        certificate: Box<Certificate>,
        /// The holder's signature over [`ProofMessage::signed`] (DER).
        signature: Vec<u8>,
    },
}

impl ProofMessage {
    /// Its number: 227 to 230.
    pub fn number(&self) -> u8 {
        match self {
            ProofMessage::Challenge { returned, .. } => 227 + u8::from(*returned),
            ProofMessage::Proof { returned, .. } => 229 + u8::from(*returned),
        }
    }

    /// The payload to send.
    pub fn encode(&self) -> Bytes {
        let mut encoder = Encoder::new();
        let written = encoder.emit_list(|list| {
            list.emit_int(self.number())?;
            match self {
                ProofMessage::Challenge { swarm, nonce, .. } => {
                    list.emit_bytes(&swarm.0)?;
                    list.emit_bytes(nonce)
                }
                ProofMessage::Proof { certificate, signature, .. } => {
                    put(list, certificate)?;
                    list.emit_bytes(signature)
                }
            }
        });
        written.and_then(|()| encoder.get_output()).expect("a list can be written").into()
    }

    /// Reads a payload.
    pub fn decode(payload: &[u8]) -> Result<ProofMessage, BencodeError> {
        if payload.len() > MESSAGE_LENGTH_MAX {
            let got = format!("of {} bytes", payload.len());
            return Err(BencodeError::unexpected("message", got, "at most 2048"));
        }
        let mut decoder = Decoder::new(payload).with_max_depth(2);
        let object = decoder.next_object()?.ok_or(BencodeError::Missing { field: "message" })?;
        let mut items = Items(bencode::list("message", object)?);
        let number = items.number("message number")?;
        let returned = number % 2 == 0;
        let message = match number {
            227 | 228 => {
                ProofMessage::Challenge { returned, swarm: items.swarm()?, nonce: items.nonce()? }
            }
            229 | 230 => ProofMessage::Proof {
                returned,
                certificate: Box::new(items.certificate()?),
                signature: items.bytes("proof")?.to_vec(),
            },
            other => return Err(BencodeError::unexpected("message number", other, "227 to 230")),
        };
        items.end()?;
        match decoder.next_object()? {
            None => Ok(message),
            Some(_) => Err(BencodeError::unexpected("message", "followed by more", "the end")),
        }
    }

    /// What the holder of a certificate signs to prove that it is theirs: a bencoded
    /// list of both nonces, A's first, and the certificate.
    pub fn signed(nonce_a: &[u8], nonce_b: &[u8], certificate: &Certificate) -> Vec<u8> {
        let mut encoder = Encoder::new();
        let written = encoder.emit_list(|list| {
            list.emit_bytes(nonce_a)?;
            list.emit_bytes(nonce_b)?;
            list.emit_list(|list| put(list, certificate))
        });
        written.and_then(|()| encoder.get_output()).expect("a list can be written")
    }
}

/// A fresh nonce.
pub(super) fn nonce(rng: &mut impl Rng) -> Nonce {
    let mut nonce = vec![0; NONCE_LENGTH];
    rng.fill_bytes(&mut nonce);
    nonce
}

/// A certificate's five items.
fn put(list: &mut Encoder, certificate: &Certificate) -> Result<(), EncodeError> {
    list.emit_bytes(&certificate.swarm.0)?;
    list.emit_bytes(&certificate.torrent_key.to_der())?;
    list.emit_bytes(&certificate.node_key.to_der())?;
    list.emit_int(certificate.expires_s)?;
    list.emit_bytes(&certificate.signature)
}

/// A message's items, one after the other.
struct Items<'o, 'a: 'o>(ListDecoder<'o, 'a>);

impl<'o, 'a: 'o> Items<'o, 'a> {
    fn next(&mut self, field: &'static str) -> Result<Object<'_, 'a>, BencodeError> {
        self.0.next_object()?.ok_or(BencodeError::Missing { field })
    }

    fn number(&mut self, field: &'static str) -> Result<u64, BencodeError> {
        bencode::unsigned(field, self.next(field)?)
    }

    fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], BencodeError> {
        bencode::bytes(field, self.next(field)?)
    }

    fn swarm(&mut self) -> Result<InfoHash, BencodeError> {
        let bytes = self.bytes("swarm")?;
        let hash = bytes.try_into().map_err(|_| {
            BencodeError::unexpected("swarm", format!("of {} bytes", bytes.len()), "20")
        })?;
        Ok(InfoHash(hash))
    }

    fn nonce(&mut self) -> Result<Nonce, BencodeError> {
        let bytes = self.bytes("nonce")?;
        if NONCE_LENGTHS.contains(&bytes.len()) {
            return Ok(bytes.to_vec());
        }
        Err(BencodeError::unexpected("nonce", format!("of {} bytes", bytes.len()), "16 to 64"))
    }

    fn key(&mut self, field: &'static str) -> Result<PublicKey, BencodeError> {
        let key = PublicKey::from_der(self.bytes(field)?);
        key.map_err(|error| BencodeError::unexpected(field, error, "a public key"))
    }

    fn certificate(&mut self) -> Result<Certificate, BencodeError> {
        Ok(Certificate {
            swarm: self.swarm()?,
            torrent_key: self.key("torrent key")?,
            node_key: self.key("node key")?,
            expires_s: self.number("expiry")?,
            signature: self.bytes("signature")?.to_vec(),
        })
    }

    fn end(mut self) -> Result<(), BencodeError> {
        match self.0.next_object()? {
            None => Ok(()),
            Some(_) => Err(BencodeError::unexpected("message", "with more items", "its end")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::{super::PrivateKey, *};

    fn challenge(returned: bool) -> ProofMessage {
        ProofMessage::Challenge { returned, swarm: InfoHash([b's'; 20]), nonce: vec![b'n'; 20] }
    }

    fn proof(returned: bool) -> ProofMessage {
        let key = |seed| PrivateKey::generate(&mut ChaCha8Rng::seed_from_u64(seed));
        let swarm = InfoHash([b's'; 20]);
        let certificate = Box::new(Certificate::issue(&key(1), swarm, key(2).public(), 9));
        ProofMessage::Proof { returned, certificate, signature: b"signature".to_vec() }
    }

    #[test]
    fn a_challenge_is_its_number_the_swarm_and_a_nonce() {
        assert_eq!(
            challenge(false).encode().as_ref(),
            b"li227e20:ssssssssssssssssssss20:nnnnnnnnnnnnnnnnnnnne"
        );
    }

    #[test]
    fn a_proof_has_seven_items() {
        let payload = proof(true).encode();
        let mut decoder = Decoder::new(&payload);
        let Ok(Some(Object::List(mut list))) = decoder.next_object() else { panic!("no list") };
        let mut items = 0;
        while list.next_object().unwrap().is_some() {
            items += 1;
        }
        assert_eq!(items, 7);
        assert!(payload.starts_with(b"li230e20:"));
    }

    #[test]
    fn each_message_reads_back_as_it_was() {
        for message in [challenge(false), challenge(true), proof(false), proof(true)] {
            assert_eq!(ProofMessage::decode(&message.encode()), Ok(message));
        }
    }

    #[test]
    fn what_is_signed_holds_both_nonces_and_the_certificate_as_it_is_sent() {
        let ProofMessage::Proof { certificate, .. } = proof(false) else { unreachable!() };
        let signed = ProofMessage::signed(b"aaaa", b"bbbb", &certificate);
        let mut encoder = Encoder::new();
        encoder.emit_list(|list| put(list, &certificate)).unwrap();
        let certificate = encoder.get_output().unwrap();
        assert_eq!(signed, [&b"l4:aaaa4:bbbb"[..], &certificate, b"e"].concat());
    }

    #[test]
    fn what_is_no_such_message_is_an_error_that_says_why() {
        let long = [&b"l"[..], &[b'0'; MESSAGE_LENGTH_MAX]].concat();
        for (payload, why) in [
            (&b"i227e"[..], "`message` is the number 227; expected a list"),
            (b"le", "`message number` is missing"),
            (b"li226ee", "`message number` is 226; expected 227 to 230"),
            (b"li227e3:abc20:nnnnnnnnnnnnnnnnnnnne", "`swarm` is of 3 bytes; expected 20"),
            (b"li227e20:ssssssssssssssssssss1:ne", "`nonce` is of 1 bytes; expected 16 to 64"),
            (
                b"li227e20:ssssssssssssssssssss20:nnnnnnnnnnnnnnnnnnnni1ee",
                "`message` is with more items; expected its end",
            ),
            (&long, "`message` is of 2049 bytes; expected at most 2048"),
        ] {
            let error = ProofMessage::decode(payload).unwrap_err().to_string();
            assert_eq!(error, why, "{}", payload.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(at: prop::sample::Index, noise: Vec<u8>) {
            let _ = ProofMessage::decode(&noise);
            let mut bytes = proof(false).encode().to_vec();
            let at = at.index(bytes.len());
            bytes.splice(at..at + 1, noise);
            let _ = ProofMessage::decode(&bytes);
        }
    }
}
