//! Timers of virtual time, exact to the nanosecond.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use reseed_protocol::Time;

use crate::executor::Executor;

/// Who sleeps until when. Only a sleep that was polled and is not over is here.
///
/// Most sleeps are given up long before they are over, and others are begun in their place:
/// those are left in the queue until their turn comes, or until there are many of them.
#[derive(Default)]
pub(crate) struct Timers {
    queue: BinaryHeap<Reverse<Turn>>,
    slots: Vec<Option<Sleeper>>,
    free: Vec<u32>,
    created: u64,
}

/// When it is a sleeper's turn, among those with the same deadline in order of creation; its
/// number, and the slot that it has unless it was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    deadline: Time,
    number: u64,
    slot: u32,
}

struct Sleeper {
    number: u64,
    waker: Waker,
}

/// Turns of sleeps that were given up, beside as many as there are sleepers, that are not
/// worth looking for (count).
const GIVEN_UP_MAX: usize = 64;

impl Timers {
    /// The earliest deadline.
    pub(crate) fn next(&mut self) -> Option<Time> {
        while let Some(Reverse(turn)) = self.queue.peek().copied() {
            if has_slot(&self.slots, turn) {
                return Some(turn.deadline);
            }
            self.queue.pop();
        }
        None
    }

    /// Sleeps that wait (count).
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn pop_due(&mut self, now: Time) -> Option<Waker> {
        if self.next()? > now {
            return None;
        }
        let Reverse(turn) = self.queue.pop()?;
        self.free.push(turn.slot);
        self.slots[turn.slot as usize].take().map(|sleeper| sleeper.waker)
    }

    /// Returns its slot.
    fn insert(&mut self, deadline: Time, number: u64, waker: Waker) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize] = Some(Sleeper { number, waker });
        self.queue.push(Reverse(Turn { deadline, number, slot }));
        slot
    }

    /// Who is woken in the name of sleep `number`, if it waits in `slot` still.
    fn waker(&mut self, slot: u32, number: u64) -> Option<&mut Waker> {
        let sleeper = self.slots[slot as usize].as_mut();
        sleeper.filter(|it| it.number == number).map(|it| &mut it.waker)
    }

    /// Sleep `number` is given up, if it waits in `slot` still.
    fn remove(&mut self, slot: u32, number: u64) -> Option<Waker> {
        self.waker(slot, number)?;
        self.free.push(slot);
        let sleeper = self.slots[slot as usize].take();
        if self.queue.len() > 2 * self.len() + GIVEN_UP_MAX {
            let slots = &self.slots;
            self.queue.retain(|Reverse(turn)| has_slot(slots, *turn));
        }
        sleeper.map(|sleeper| sleeper.waker)
    }
}

/// Whether whose turn that is was not given up.
fn has_slot(slots: &[Option<Sleeper>], turn: Turn) -> bool {
    slots[turn.slot as usize].as_ref().is_some_and(|sleeper| sleeper.number == turn.number)
}

/// Completes at a deadline. Dropping it cancels it.
pub(crate) struct Sleep {
    executor: Rc<Executor>,
    deadline: Time,
    /// Ranks it among sleeps with the same deadline.
    number: u64,
    /// Where it waits, once it was polled.
    slot: Option<u32>,
}

impl Sleep {
    pub(crate) fn new(executor: Rc<Executor>, deadline: Time) -> Sleep {
        let number = {
            let mut timers = executor.timers.borrow_mut();
            timers.created += 1;
            timers.created
        };
        Sleep { executor, deadline, number, slot: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.executor.now() >= self.deadline {
            if self.executor.may_skip_sleep() {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Sleep { deadline, number, slot, .. } = *self;
        let mut timers = self.executor.timers.borrow_mut();
        let replaced = match slot.and_then(|slot| timers.waker(slot, number)) {
            Some(waker) if waker.will_wake(cx.waker()) => None,
            Some(waker) => Some(std::mem::replace(waker, cx.waker().clone())),
            None => {
                let slot = timers.insert(deadline, number, cx.waker().clone());
                drop(timers);
                self.slot = Some(slot);
                return Poll::Pending;
            }
        };
        drop(timers);
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            let removed = self.executor.timers.borrow_mut().remove(slot, self.number);
            drop(removed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
        task::Wake,
    };

    use proptest::prelude::*;

    use super::*;

    /// Tells who was woken last.
    struct Told(u64, Arc<AtomicU64>);

    impl Wake for Told {
        fn wake(self: Arc<Told>) {
            self.1.store(self.0, Ordering::Relaxed);
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Doing {
        Sleep(u64),
        GiveUp(usize),
        Wait(u64),
    }

    fn doing() -> impl Strategy<Value = Doing> {
        prop_oneof![
            3 => (0..2000u64).prop_map(Doing::Sleep),
            3 => any::<usize>().prop_map(Doing::GiveUp),
            1 => (0..300u64).prop_map(Doing::Wait),
        ]
    }

    proptest! {
        #[test]
        fn sleepers_wake_by_deadline_and_then_as_they_fell_asleep_unless_they_gave_up(
            doings in prop::collection::vec(doing(), 0..600),
        ) {
            let (mut timers, woken) = (Timers::default(), Arc::<AtomicU64>::default());
            let mut asleep: BTreeMap<(u64, u64), u32> = BTreeMap::new();
            let mut gone = Vec::new();
            let (mut now, mut number) = (0, 0);
            for doing in doings {
                match doing {
                    Doing::Sleep(long) => {
                        number += 1;
                        let waker = Arc::new(Told(number, woken.clone())).into();
                        let slot = timers.insert(Time::from_nanos(now + long), number, waker);
                        asleep.insert((now + long, number), slot);
                    }
                    Doing::GiveUp(which) if !asleep.is_empty() => {
                        let (&(at, number), &slot) =
                            asleep.iter().nth(which % asleep.len()).expect("there are so many");
                        asleep.remove(&(at, number));
                        prop_assert!(timers.remove(slot, number).is_some());
                        gone.push((slot, number));
                    }
                    Doing::GiveUp(_) => {}
                    Doing::Wait(long) => {
                        now += long;
                        while let Some(waker) = timers.pop_due(Time::from_nanos(now)) {
                            waker.wake();
                            let ((at, number), slot) = asleep.pop_first().expect("it waited");
                            prop_assert!(at <= now);
                            prop_assert_eq!(woken.load(Ordering::Relaxed), number);
                            gone.push((slot, number));
                        }
                    }
                }
                let next = asleep.first_key_value().map(|((at, _), _)| Time::from_nanos(*at));
                prop_assert_eq!(timers.next(), next);
                prop_assert_eq!(timers.len(), asleep.len());
                prop_assert!(timers.queue.len() <= 2 * timers.len() + GIVEN_UP_MAX + 1);
            }
            for (slot, number) in gone {
                prop_assert!(timers.remove(slot, number).is_none(), "its slot is another's now");
            }
        }
    }
}
