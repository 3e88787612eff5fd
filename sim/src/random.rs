//! One seed, many generators: each consumer draws from a substream of its own,
//! so that a new consumer does not shift the numbers of the others.

use rand_chacha::ChaCha8Rng;
use reseed_client::substream;

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

    /// The generator that `label` names, at its start.
    pub fn stream(self, label: &str) -> ChaCha8Rng {
        substream(self.seed, label)
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
}
