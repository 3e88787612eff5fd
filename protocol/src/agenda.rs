//! What is to be done at which time, and for whom.

use std::{collections::BTreeMap, time::Duration};

use crate::{Defect, Defects, Time};

/// Whose tasks: one life of a download, never used twice. A download that is started
/// again has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(u64);

/// Tasks with their times, each with an owner.
///
/// - An owner's tasks come in the order of their times, and those of one time in
///   the order in which they were scheduled.
/// - When an owner ends, its tasks are gone at once: not even one that is due
///   already comes any more. The tasks of others stay.
///
/// Nothing here needs the nanosecond, so tasks are done in batches, for fewer
/// wake-ups: one is due at the end of the [`Agenda::GRAIN`] that its time falls
/// in. Within a batch the exact times still order.
#[derive(Debug)]
pub struct Agenda<T> {
    owners: BTreeMap<Owner, Tasks<T>>,
    next_owner: u64,
    next_task: u64,
}

#[derive(Debug)]
struct Tasks<T> {
    waiting: BTreeMap<Place, T>,
    defects: Defects,
}

/// Where a task stands among those of its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    at: Time,
    /// What orders tasks of one time.
    turn: u64,
}

impl<T> Agenda<T> {
    /// How far apart batches are. Tribler's engine looks after its buffers and its
    /// callbacks ten times a second.
    pub const GRAIN: Duration = Duration::from_millis(100);

    /// Nothing is to be done.
    pub fn new() -> Agenda<T> {
        Agenda { owners: BTreeMap::new(), next_owner: 0, next_task: 0 }
    }

    /// Somebody new, without a task and with these bugs.
    pub fn begin(&mut self, defects: Defects) -> Owner {
        let owner = Owner(self.next_owner);
        self.next_owner += 1;
        self.owners.insert(owner, Tasks { waiting: BTreeMap::new(), defects });
        owner
    }

    /// `owner` has ended, and with it all that was to be done for it. What is
    /// scheduled for it from now on is refused.
    pub fn end(&mut self, owner: Owner) {
        self.owners.remove(&owner);
    }

    /// Puts `task` down for `at`; returns whether it was taken, which it is not for
    /// an owner that has ended.
    pub fn schedule(&mut self, owner: Owner, at: Time, task: T) -> bool {
        let number = self.next_task;
        self.next_task += 1;
        let Some(tasks) = self.owners.get_mut(&owner) else { return false };
        let unordered = tasks.defects.has(Defect::EqualTimesUnordered);
        let turn = if unordered { address(number) } else { number };
        tasks.waiting.insert(Place { at, turn }, task);
        true
    }

    /// When to ask [`Agenda::pop`] for `owner`, if ever.
    pub fn poll_timeout(&self, owner: Owner) -> Option<Time> {
        let (place, _) = self.owners.get(&owner)?.waiting.first_key_value()?;
        Some(due(place.at))
    }

    /// The next task of `owner` that is due, until there is none.
    pub fn pop(&mut self, owner: Owner, now: Time) -> Option<T> {
        let waiting = &mut self.owners.get_mut(&owner)?.waiting;
        let first = waiting.first_entry().filter(|first| due(first.key().at) <= now)?;
        Some(first.remove())
    }

    /// Tasks that wait, all owners together (count).
    pub fn waiting(&self) -> usize {
        self.owners.values().map(|tasks| tasks.waiting.len()).sum()
    }
}

impl<T> Default for Agenda<T> {
    fn default() -> Agenda<T> {
        Agenda::new()
    }
}

/// When a task for `at` is due.
fn due(at: Time) -> Time {
    let grain = Agenda::<()>::GRAIN.as_nanos() as u64;
    Time::from_nanos(at.as_nanos().div_ceil(grain).saturating_mul(grain))
}

/// Where the `number`th task would lie in memory, as good as random: what orders
/// tasks of one time in a queue that compares what it holds when times are equal.
/// The mixing steps of splitmix64.
fn address(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn agenda() -> Agenda<u32> {
        Agenda::new()
    }

    fn take_due(agenda: &mut Agenda<u32>, owner: Owner, now: Time) -> Vec<u32> {
        std::iter::from_fn(|| agenda.pop(owner, now)).collect()
    }

    fn millis(millis: u64) -> Time {
        Time::from_epoch(Duration::from_millis(millis))
    }

    #[test]
    fn tasks_of_one_time_come_in_the_order_in_which_they_were_scheduled() {
        let mut agenda = agenda();
        let owner = agenda.begin(Defects::NONE);
        for task in 0..50 {
            assert!(agenda.schedule(owner, millis(100), task));
        }
        assert!(take_due(&mut agenda, owner, millis(100)).into_iter().eq(0..50));
    }

    #[test]
    fn a_batch_is_what_falls_due_within_one_grain_in_the_order_of_time() {
        let mut agenda = agenda();
        let owner = agenda.begin(Defects::NONE);
        for (at, task) in [(200, 3), (101, 1), (150, 2), (201, 4)] {
            agenda.schedule(owner, millis(at), task);
        }
        assert_eq!(agenda.poll_timeout(owner), Some(millis(200)));
        assert_eq!(agenda.pop(owner, millis(199)), None, "the batch is not due yet");
        assert_eq!(take_due(&mut agenda, owner, millis(200)), [1, 2, 3]);
        assert_eq!(agenda.poll_timeout(owner), Some(millis(300)));
    }

    #[test]
    fn an_owner_that_ends_amid_a_batch_takes_the_rest_of_it_along() {
        let mut agenda = agenda();
        let (owner, other) = (agenda.begin(Defects::NONE), agenda.begin(Defects::NONE));
        agenda.schedule(owner, millis(10), 1);
        agenda.schedule(owner, millis(20), 2);
        agenda.schedule(other, millis(20), 3);
        assert_eq!(agenda.pop(owner, millis(100)), Some(1));
        agenda.end(owner);
        assert_eq!(agenda.pop(owner, millis(100)), None);
        assert_eq!(agenda.poll_timeout(owner), None);
        assert_eq!((agenda.pop(other, millis(100)), agenda.waiting()), (Some(3), 0));
    }

    #[test]
    fn the_next_life_does_not_lose_its_tasks_when_the_last_one_ends() {
        let mut agenda = agenda();
        let last = agenda.begin(Defects::NONE);
        let next = agenda.begin(Defects::NONE);
        agenda.schedule(next, millis(5), 7);
        agenda.end(last);
        assert!(!agenda.schedule(last, millis(5), 8), "who has ended schedules nothing");
        assert_eq!(take_due(&mut agenda, next, millis(100)), [7]);
    }

    #[cfg(feature = "defects")]
    #[test]
    fn by_address_tasks_of_one_time_lose_their_order_and_others_do_not() {
        let mut agenda = Agenda::new();
        let owner = agenda.begin(Defects::NONE.with(Defect::EqualTimesUnordered));
        for task in 0..6 {
            agenda.schedule(owner, millis(100 * u64::from(task / 3)), task);
        }
        let order = take_due(&mut agenda, owner, millis(200));
        assert_ne!(order, [0, 1, 2, 3, 4, 5]);
        let (mut first, mut second) = (order[..3].to_vec(), order[3..].to_vec());
        first.sort_unstable();
        second.sort_unstable();
        assert_eq!((first, second), (vec![0, 1, 2], vec![3, 4, 5]));
    }

    /// What is done to an agenda of three owners.
    #[derive(Debug, Clone)]
    enum Step {
        Schedule {
            owner: usize,
            at: u64,
        },
        /// The owner ends, and another begins in its place.
        Renew {
            owner: usize,
        },
        Run {
            owner: usize,
            now: u64,
        },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..3usize, 0..400u64).prop_map(|(owner, at)| Step::Schedule { owner, at }),
            1 => (0..3usize).prop_map(|owner| Step::Renew { owner }),
            2 => (0..3usize, 0..500u64).prop_map(|(owner, now)| Step::Run { owner, now }),
        ]
    }

    proptest! {
        #[test]
        fn each_owner_gets_its_own_tasks_by_time_and_then_by_turn(
            steps in prop::collection::vec(step(), 0..80)
        ) {
            let mut agenda = agenda();
            let mut owners = [agenda.begin(Defects::NONE), agenda.begin(Defects::NONE), agenda.begin(Defects::NONE)];
            // For each owner (when, which), in the order of scheduling.
            let mut waiting: [Vec<(u64, u32)>; 3] = Default::default();
            let mut numbers = 0..;
            for step in steps {
                match step {
                    Step::Schedule { owner, at } => {
                        let number = numbers.next().expect("they do not end");
                        prop_assert!(agenda.schedule(owners[owner], millis(at), number));
                        waiting[owner].push((at, number));
                    }
                    Step::Renew { owner } => {
                        agenda.end(owners[owner]);
                        owners[owner] = agenda.begin(Defects::NONE);
                        waiting[owner].clear();
                    }
                    Step::Run { owner, now } => {
                        let is_due = |at: u64| at.div_ceil(100) * 100 <= now;
                        let mut due = waiting[owner].clone();
                        due.retain(|(at, _)| is_due(*at));
                        due.sort_by_key(|(at, _)| *at);
                        waiting[owner].retain(|(at, _)| !is_due(*at));
                        let tasks: Vec<u32> = due.into_iter().map(|(_, task)| task).collect();
                        prop_assert_eq!(take_due(&mut agenda, owners[owner], millis(now)), tasks);
                    }
                }
                prop_assert_eq!(agenda.waiting(), waiting.iter().map(Vec::len).sum::<usize>());
            }
        }
    }
}
