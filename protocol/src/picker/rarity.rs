//! Who has what, and the untouched pieces in order of it.

use std::ops::Range;

use rand::{Rng, RngExt};

use crate::Bitfield;

/// How many pieces a search looks at before it gives up on the order.
const SEARCH_LIMIT: usize = 256;

/// The availability of every piece, and the *idle* pieces sorted by it.
///
/// A piece is idle while it is wanted and all its blocks are free: what a new
/// piece is chosen from. `order` is a permutation of the idle pieces, cut into
/// one bucket per availability; inside a bucket the order means nothing. As an
/// availability changes by one, its piece is swapped with the first or last
/// piece of its bucket and the boundary moves over it: constant time, however
/// many pieces there are.
///
/// Invariant: `order[bounds[a]..bounds[a + 1]]` are exactly the idle pieces of
/// availability `a`; `bounds` ascends from 0 to `order.len()`; `position` is
/// the inverse of `order`.
#[derive(Debug, Clone)]
pub(super) struct Rarity {
    availability: Vec<u32>,
    order: Vec<u32>,
    position: Vec<Option<u32>>,
    bounds: Vec<u32>,
}

/// How a bounded search ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Search {
    Found(u32),
    /// There is no such piece.
    None,
    /// It may be further down.
    GaveUp,
}

impl Rarity {
    /// No connection yet, and no idle piece.
    pub(super) fn new(pieces: u32) -> Rarity {
        Rarity {
            availability: vec![0; pieces as usize],
            order: Vec::new(),
            position: vec![None; pieces as usize],
            bounds: vec![0, 0],
        }
    }

    pub(super) fn availability(&self) -> &[u32] {
        &self.availability
    }

    pub(super) fn of(&self, piece: u32) -> u32 {
        self.availability[piece as usize]
    }

    pub(super) fn is_idle(&self, piece: u32) -> bool {
        self.position[piece as usize].is_some()
    }

    /// Pieces that are idle (count).
    pub(super) fn idle_count(&self) -> usize {
        self.order.len()
    }

    /// Makes `piece` idle. Takes time in proportion to the number of buckets.
    pub(super) fn insert(&mut self, piece: u32) {
        assert!(!self.is_idle(piece), "piece {piece} is idle already");
        let bucket = self.of(piece) as usize;
        self.cover(bucket);
        let mut hole = self.order.len() as u32;
        self.order.push(piece);
        for bound in (bucket + 1..self.bounds.len()).rev() {
            let first = self.bounds[bound];
            if first < hole {
                self.place(hole, self.order[first as usize]);
            }
            hole = first;
            self.bounds[bound] += 1;
        }
        self.place(hole, piece);
    }

    /// Takes `piece` out of the idle ones, if it is one. Takes time in
    /// proportion to the number of buckets.
    pub(super) fn remove(&mut self, piece: u32) {
        let Some(mut hole) = self.position[piece as usize].take() else {
            return;
        };
        for bound in self.of(piece) as usize + 1..self.bounds.len() {
            self.bounds[bound] -= 1;
            let last = self.bounds[bound];
            if hole < last {
                self.place(hole, self.order[last as usize]);
            }
            hole = last;
        }
        self.order.pop();
    }

    pub(super) fn increment(&mut self, piece: u32) {
        let bucket = self.of(piece) as usize;
        self.availability[piece as usize] += 1;
        if let Some(at) = self.position[piece as usize] {
            self.cover(bucket + 1);
            self.bounds[bucket + 1] -= 1;
            self.swap(at, self.bounds[bucket + 1]);
        }
    }

    pub(super) fn decrement(&mut self, piece: u32) {
        let bucket = self.of(piece) as usize;
        assert!(bucket > 0, "piece {piece} goes away and nobody had it");
        self.availability[piece as usize] -= 1;
        if let Some(at) = self.position[piece as usize] {
            self.swap(at, self.bounds[bucket]);
            self.bounds[bucket] += 1;
        }
    }

    /// A peer that has `bitfield` comes. A seed lifts every bucket by one, which
    /// moves no piece.
    pub(super) fn join(&mut self, bitfield: &Bitfield) {
        if bitfield.is_full() {
            self.availability.iter_mut().for_each(|count| *count += 1);
            self.bounds.insert(0, 0);
        } else {
            bitfield.iter().for_each(|piece| self.increment(piece));
        }
    }

    /// A peer that has `bitfield` goes.
    pub(super) fn leave(&mut self, bitfield: &Bitfield) {
        if bitfield.is_full() {
            for (piece, count) in self.availability.iter_mut().enumerate() {
                assert!(*count > 0, "piece {piece} goes away and nobody had it");
                *count -= 1;
            }
            self.bounds.remove(0);
            self.cover(0);
        } else {
            bitfield.iter().for_each(|piece| self.decrement(piece));
        }
    }

    /// One of the rarest idle pieces that `may` be taken and that somebody has.
    pub(super) fn rarest(&self, may: impl Fn(u32) -> bool, rng: &mut impl Rng) -> Search {
        let mut left = SEARCH_LIMIT;
        for bucket in 1..self.bounds.len() - 1 {
            let range = self.bounds[bucket] as usize..self.bounds[bucket + 1] as usize;
            match self.search(range, &may, &mut left, rng) {
                Search::None => {}
                found_or_gave_up => return found_or_gave_up,
            }
        }
        Search::None
    }

    /// Any idle piece that `may` be taken.
    pub(super) fn random(&self, may: impl Fn(u32) -> bool, rng: &mut impl Rng) -> Search {
        self.search(0..self.order.len(), &may, &mut { SEARCH_LIMIT }, rng)
    }

    /// Goes once around `range` of the order from a random place.
    fn search(
        &self,
        range: Range<usize>,
        may: &impl Fn(u32) -> bool,
        left: &mut usize,
        rng: &mut impl Rng,
    ) -> Search {
        if range.is_empty() {
            return Search::None;
        }
        let start = rng.random_range(range.clone());
        for at in (start..range.end).chain(range.start..start) {
            if *left == 0 {
                return Search::GaveUp;
            }
            *left -= 1;
            if may(self.order[at]) {
                return Search::Found(self.order[at]);
            }
        }
        Search::None
    }

    /// Makes sure that there is a bucket for `availability`.
    fn cover(&mut self, availability: usize) {
        while self.bounds.len() < availability + 2 {
            self.bounds.push(self.order.len() as u32);
        }
    }

    fn place(&mut self, at: u32, piece: u32) {
        self.order[at as usize] = piece;
        self.position[piece as usize] = Some(at);
    }

    fn swap(&mut self, one: u32, other: u32) {
        let (a, b) = (self.order[one as usize], self.order[other as usize]);
        self.place(one, b);
        self.place(other, a);
    }

    /// Whether the invariant holds.
    pub(super) fn check(&self) -> Result<(), String> {
        let bounds = &self.bounds;
        let ends = (bounds.first(), bounds.last());
        if ends != (Some(&0), Some(&(self.order.len() as u32))) || !bounds.is_sorted() {
            return Err(format!("bounds {bounds:?} of {} idle", self.order.len()));
        }
        for (bucket, bound) in bounds.windows(2).enumerate() {
            for at in bound[0]..bound[1] {
                let piece = self.order[at as usize];
                if self.of(piece) as usize != bucket || self.position[piece as usize] != Some(at) {
                    return Err(format!("piece {piece} at {at} of bucket {bucket}"));
                }
            }
        }
        if self.position.iter().flatten().count() != self.order.len() {
            return Err("a piece has a position and is not in the order".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Join(Vec<bool>),
        Leave(usize),
        Have(usize, u32),
        Toggle(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            prop::collection::vec(prop::bool::weighted(0.8), 12).prop_map(Step::Join),
            Just(Step::Join(vec![true; 12])),
            (0..8usize).prop_map(Step::Leave),
            (0..8usize, 0..12u32).prop_map(|(peer, piece)| Step::Have(peer, piece)),
            (0..12u32).prop_map(Step::Toggle),
        ]
    }

    proptest! {
        #[test]
        fn the_order_stays_sorted_by_availability(steps in prop::collection::vec(step(), 0..80)) {
            let mut rarity = Rarity::new(12);
            let mut peers: Vec<Bitfield> = Vec::new();
            for step in steps {
                match step {
                    Step::Join(bits) => {
                        let mut bitfield = Bitfield::empty(12);
                        for piece in 0..12 {
                            if bits[piece as usize] {
                                bitfield.insert(piece);
                            }
                        }
                        rarity.join(&bitfield);
                        peers.push(bitfield);
                    }
                    Step::Leave(peer) if peer < peers.len() => {
                        rarity.leave(&peers.swap_remove(peer));
                    }
                    Step::Have(peer, piece) if peer < peers.len() => {
                        if peers[peer].insert(piece) {
                            rarity.increment(piece);
                        }
                    }
                    Step::Toggle(piece) if rarity.is_idle(piece) => rarity.remove(piece),
                    Step::Toggle(piece) => rarity.insert(piece),
                    Step::Leave(_) | Step::Have(..) => {}
                }
                prop_assert_eq!(rarity.check(), Ok(()));
                for piece in 0..12 {
                    let have = peers.iter().filter(|peer| peer.contains(piece)).count();
                    prop_assert_eq!(rarity.of(piece) as usize, have);
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "nobody had it")]
    fn availability_never_goes_below_zero() {
        Rarity::new(3).decrement(1);
    }

    #[test]
    #[should_panic(expected = "nobody had it")]
    fn a_seed_that_never_came_cannot_go() {
        Rarity::new(3).leave(&Bitfield::full(3));
    }

    #[test]
    fn a_search_gives_up_instead_of_looking_at_every_piece() {
        let mut rarity = Rarity::new(100_000);
        (0..100_000).for_each(|piece| rarity.insert(piece));
        rarity.join(&Bitfield::full(100_000));
        let looked = std::cell::Cell::new(0);
        let never = |_| {
            looked.set(looked.get() + 1);
            false
        };
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        assert_eq!(rarity.rarest(never, &mut rng), Search::GaveUp);
        assert_eq!(looked.get(), SEARCH_LIMIT);
    }
}
