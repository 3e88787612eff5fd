//! What proves a live piece: its sequence number, and the source's signature.

use bytes::{BufMut, Bytes, BytesMut};

use crate::extension::closed_swarm::{FLAT_LENGTH, PrivateKey, PublicKey};

/// Bytes at the end of each live piece that are not of the stream: its sequence
/// number, and the signature over the stream's bytes and that number.
pub const SEAL_LENGTH: usize = size_of::<u64>() + FLAT_LENGTH;

/// The piece that brings `payload` as number `sequence`: always the same bytes, for
/// the signature is deterministic (RFC 6979).
pub fn seal(key: &PrivateKey, payload: &[u8], sequence: u64) -> Bytes {
    let mut piece = BytesMut::with_capacity(payload.len() + SEAL_LENGTH);
    piece.put_slice(payload);
    piece.put_u64(sequence);
    let signature = key.sign_flat(&piece);
    piece.put_slice(&signature);
    piece.freeze()
}

/// The sequence number of a whole piece, if the holder of the private key to `key`
/// sealed it.
pub fn open_seal(key: &PublicKey, piece: &[u8]) -> Option<u64> {
    let (signed, signature) = piece.split_last_chunk()?;
    let (_, sequence) = signed.split_last_chunk()?;
    key.verifies_flat(signed, signature).then(|| u64::from_be_bytes(*sequence))
}
