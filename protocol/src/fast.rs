//! Pieces that a peer may download while it is choked. BEP 6.

use std::net::Ipv4Addr;

use sha1::{Digest, Sha1};

use crate::InfoHash;

/// Pieces in an allowed-fast set (count). BEP 6 §allowed fast suggests 10;
/// libtorrent defaults to 5.
pub const ALLOWED_FAST_PIECES: usize = 10;

/// The canonical allowed-fast set for the peer at `ip`, in a torrent of `pieces`:
/// `k` pieces, or all of them if there are no more. Whoever computes it gets the
/// same pieces in the same order, and a larger `k` only appends. BEP 6 §allowed
/// fast set generation.
///
/// There is none for an IPv6 peer: BEP 6 does not say how to make one.
pub fn allowed_fast_set(ip: Ipv4Addr, info_hash: InfoHash, pieces: u32, k: usize) -> Vec<u32> {
    // Drawing until the last piece turns up would take long; and with every
    // piece allowed, no order is to be kept.
    if pieces as usize <= k {
        return (0..pieces).collect();
    }
    // The last octet is left out, so that a second address in the same network
    // does not bring a second set.
    let [a, b, c, _] = ip.octets();
    let mut digest: [u8; 20] =
        Sha1::new().chain_update([a, b, c, 0]).chain_update(info_hash.0).finalize().into();
    let mut set = Vec::with_capacity(k);
    loop {
        for word in digest.as_chunks().0 {
            if set.len() == k {
                return set;
            }
            let piece = u32::from_be_bytes(*word) % pieces;
            if !set.contains(&piece) {
                set.push(piece);
            }
        }
        digest = Sha1::digest(digest).into();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INFO_HASH: InfoHash = InfoHash([0xaa; 20]);

    fn example(last_octet: u8, k: usize) -> Vec<u32> {
        allowed_fast_set(Ipv4Addr::new(80, 4, 4, last_octet), INFO_HASH, 1313, k)
    }

    #[test]
    fn the_sets_are_those_of_bep_6_in_its_order() {
        assert_eq!(example(200, 7), [1059, 431, 808, 1217, 287, 376, 1188]);
        assert_eq!(example(200, 9), [1059, 431, 808, 1217, 287, 376, 1188, 353, 508]);
    }

    #[test]
    fn addresses_of_one_network_share_a_set() {
        assert_eq!(example(1, 9), example(200, 9));
    }

    #[test]
    fn a_torrent_with_few_pieces_allows_them_all() {
        let set = |pieces| allowed_fast_set(Ipv4Addr::LOCALHOST, INFO_HASH, pieces, 10);
        assert_eq!(set(0), []);
        assert_eq!(set(3), [0, 1, 2]);
    }

    proptest! {
        #[test]
        fn a_set_has_k_different_pieces_and_a_larger_k_appends(
            ip: u32,
            info_hash: [u8; 20],
            pieces in 12u32..,
            k in 0usize..11,
        ) {
            let set = |k| allowed_fast_set(ip.into(), InfoHash(info_hash), pieces, k);
            let mut sorted = set(k);
            sorted.sort_unstable();
            sorted.dedup();
            prop_assert_eq!(sorted.len(), k);
            prop_assert!(sorted.iter().all(|&piece| piece < pieces));
            prop_assert!(set(k + 1).starts_with(&set(k)));
        }
    }
}
