//! Segments that were lost, until they set out again.

use std::collections::BTreeMap;

use reseed_protocol::Time;

/// When each sets out again, by its flow and its place there.
#[derive(Default)]
pub(crate) struct Resends {
    due: BTreeMap<(Time, u32, u64), u32>,
    by_place: BTreeMap<(u32, u64), Time>,
}

impl Resends {
    /// The segment in `slot`, of place `order` in its flow, sets out again `at` that time.
    pub(crate) fn insert(&mut self, at: Time, flow: u32, order: u64, slot: u32) {
        let before = self.by_place.insert((flow, order), at);
        assert!(before.is_none(), "segment {order} of flow {flow} is lost twice");
        self.due.insert((at, flow, order), slot);
    }

    /// When the next one sets out.
    pub(crate) fn next(&self) -> Option<Time> {
        self.due.first_key_value().map(|((at, ..), _)| *at)
    }

    /// The next one that sets out by `now`: when, and its slot.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<(Time, u32)> {
        let first = self.due.first_entry().filter(|first| first.key().0 <= now)?;
        let ((at, flow, order), slot) = first.remove_entry();
        self.by_place.remove(&(flow, order));
        Some((at, slot))
    }

    /// It never sets out again. Returns whether it was to.
    pub(crate) fn remove(&mut self, flow: u32, order: u64) -> bool {
        let at = self.by_place.remove(&(flow, order));
        at.is_some_and(|at| self.due.remove(&(at, flow, order)).is_some())
    }

    /// All of a flow set out by `at`.
    pub(crate) fn hasten(&mut self, flow: u32, at: Time) {
        for ((flow, order), due) in self.by_place.range_mut((flow, 0)..=(flow, u64::MAX)) {
            if *due > at {
                let slot = self.due.remove(&(*due, *flow, *order)).expect("it is in both");
                self.due.insert((at, *flow, *order), slot);
                *due = at;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_secs(seconds)
    }

    /// Two flows, of which the first has lost three.
    fn lost() -> Resends {
        let mut resends = Resends::default();
        for (seconds, flow, order) in [(9, 1, 7), (4, 1, 5), (8, 2, 5), (6, 1, 6)] {
            resends.insert(at(seconds), flow, order, flow * 100 + order as u32);
        }
        resends
    }

    fn popped(mut resends: Resends) -> Vec<(Time, u32)> {
        std::iter::from_fn(|| resends.pop_due(at(100))).collect()
    }

    #[test]
    fn each_sets_out_when_it_is_due() {
        let mut resends = lost();
        assert_eq!((resends.next(), resends.pop_due(at(3))), (Some(at(4)), None));
        assert_eq!(popped(resends), [(at(4), 105), (at(6), 106), (at(8), 205), (at(9), 107)]);
    }

    #[test]
    fn what_is_hastened_sets_out_in_order_of_its_flow_and_never_later() {
        let mut resends = lost();
        resends.hasten(1, at(5));
        assert_eq!(popped(resends), [(at(4), 105), (at(5), 106), (at(5), 107), (at(8), 205)]);
    }

    #[test]
    fn what_is_removed_does_not_set_out() {
        let mut resends = lost();
        assert!(resends.remove(1, 6));
        assert!(!resends.remove(1, 6));
        assert_eq!(popped(resends), [(at(4), 105), (at(8), 205), (at(9), 107)]);
    }
}
