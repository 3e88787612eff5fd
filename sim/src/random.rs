//! One seed, many generators: each consumer draws from a substream of its own,
//! so that a new consumer does not shift the numbers of the others.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// The substreams of one seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Substreams {
    seed: u64,
}

impl Substreams {
    /// The substreams of `seed`.
    pub const fn new(seed: u64) -> Substreams {
        Substreams { seed }
    }

    /// The seed that they come from.
    pub const fn seed(self) -> u64 {
        self.seed
    }

    /// The generator that `label` names, at its start. Its 256-bit key is
    /// XXH3-128 of the label under the seed, then under the seed's complement,
    /// each in little-endian order.
    pub fn stream(self, label: &str) -> ChaCha8Rng {
        let mut key = [0; 32];
        let halves = [self.seed, !self.seed];
        for (half, seed) in key.chunks_exact_mut(16).zip(halves) {
            half.copy_from_slice(&xxh3_128_with_seed(label.as_bytes(), seed).to_le_bytes());
        }
        ChaCha8Rng::from_seed(key)
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn the_same_seed_and_label_give_the_same_numbers() {
        let streams = Substreams::new(7);
        assert_eq!(streams.stream("links").next_u64(), streams.stream("links").next_u64());
    }

    #[test]
    fn another_seed_or_another_label_gives_other_numbers() {
        let links = Substreams::new(7).stream("links").next_u64();
        assert_ne!(links, Substreams::new(8).stream("links").next_u64());
        assert_ne!(links, Substreams::new(!7).stream("links").next_u64());
        assert_ne!(links, Substreams::new(7).stream("link").next_u64());
    }

    #[test]
    fn the_derivation_does_not_change_between_versions() {
        assert_eq!(Substreams::new(42).stream("links").next_u64(), 10_839_648_955_808_198_774);
    }
}
