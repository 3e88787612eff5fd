//! One seed, many independent generators.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha1::{Digest, Sha1};

/// The generator of the consumer that `label` names, under `seed`. Different
/// labels give independent streams, so a new consumer does not shift the others.
///
/// The 256-bit key is SHA-1(`seed` big-endian, 0, `label`) followed by the first
/// 12 bytes of SHA-1(`seed` big-endian, 1, `label`). It must never change: every
/// seed that anybody has written down depends on it.
pub fn substream(seed: u64, label: &str) -> ChaCha8Rng {
    let half = |index: u8| {
        Sha1::new()
            .chain_update(seed.to_be_bytes())
            .chain_update([index])
            .chain_update(label)
            .finalize()
    };
    let mut key = [0; 32];
    key[..20].copy_from_slice(&half(0));
    key[20..].copy_from_slice(&half(1)[..12]);
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    fn first(seed: u64, label: &str) -> u64 {
        substream(seed, label).next_u64()
    }

    #[test]
    fn seed_and_label_both_choose_the_stream() {
        assert_eq!(first(1, "picker"), first(1, "picker"));
        assert_ne!(first(1, "picker"), first(2, "picker"));
        assert_ne!(first(1, "picker"), first(1, "choker"));
    }

    #[test]
    fn a_seed_that_was_written_down_still_means_the_same() {
        assert_eq!(first(42, "picker"), 12_731_116_473_586_138_074);
    }
}
