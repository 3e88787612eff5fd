use rand::{Rng, RngExt};

/// A torrent's trackers, in the order in which they are to be asked. BEP 12.
///
/// The first tier is asked first, another only if nobody in it answers. Within a tier
/// the order is drawn once, and who answers comes to its front.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trackers {
    tiers: Vec<Vec<String>>,
}

impl Trackers {
    /// The trackers that a torrent names, by tier.
    pub fn new(mut tiers: Vec<Vec<String>>, rng: &mut impl Rng) -> Trackers {
        for tier in &mut tiers {
            for last in (1..tier.len()).rev() {
                tier.swap(last, rng.random_range(0..=last));
            }
        }
        Trackers { tiers }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tiers.iter().all(Vec::is_empty)
    }

    /// Their URLs, the one to be asked first at the front.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        self.tiers.iter().flatten().map(String::as_str)
    }

    /// The tracker at `url` answered: next time it is asked before the others of its
    /// tier.
    pub fn answered(&mut self, url: &str) {
        for tier in &mut self.tiers {
            if let Some(place) = tier.iter().position(|known| known == url) {
                tier[..=place].rotate_right(1);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn trackers(seed: u64) -> Trackers {
        let tiers = [vec!["a", "b", "c"], vec![], vec!["d"], vec!["e", "f"]];
        let tiers = tiers.map(|tier| tier.into_iter().map(str::to_owned).collect());
        Trackers::new(tiers.into(), &mut ChaCha8Rng::seed_from_u64(seed))
    }

    fn order(trackers: &Trackers) -> String {
        trackers.urls().collect()
    }

    #[test]
    fn tiers_keep_their_order_and_within_one_every_order_is_drawn() {
        let orders: BTreeSet<String> = (0..200).map(|seed| order(&trackers(seed))).collect();
        assert_eq!(orders.len(), 6 * 2);
        for order in orders {
            let sorted = |part: &str| part.chars().collect::<BTreeSet<_>>();
            assert_eq!(sorted(&order[..3]), sorted("abc"));
            assert_eq!(&order[3..4], "d");
        }
    }

    #[test]
    fn who_answers_comes_to_the_front_of_its_tier_and_the_others_keep_their_order() {
        let mut trackers = trackers(1);
        let before: Vec<char> = order(&trackers).chars().collect();
        trackers.answered(&before[2].to_string());
        trackers.answered("d");
        trackers.answered("not there");
        let expected: String = [2, 0, 1, 3, 4, 5].map(|place| before[place]).iter().collect();
        assert_eq!(order(&trackers), expected);
    }

    #[test]
    fn without_a_url_there_is_no_tracker() {
        assert!(!trackers(1).is_empty());
        let none = vec![Vec::new()];
        assert!(Trackers::new(none, &mut ChaCha8Rng::seed_from_u64(1)).is_empty());
    }
}
