//! Timers of virtual time, exact to the nanosecond.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use reseed_protocol::Time;

use crate::executor::Executor;

/// Who sleeps until when. Only a sleep that was polled and is not over is here.
#[derive(Default)]
pub(crate) struct Timers {
    wakers: BTreeMap<(Time, u64), Waker>,
    created: u64,
}

impl Timers {
    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Time> {
        self.wakers.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// Sleeps that wait (count).
    pub(crate) fn len(&self) -> usize {
        self.wakers.len()
    }

    pub(crate) fn pop_due(&mut self, now: Time) -> Option<Waker> {
        let entry = self.wakers.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }
}

/// Completes at a deadline. Dropping it cancels it.
pub(crate) struct Sleep {
    executor: Rc<Executor>,
    deadline: Time,
    /// Ranks it among sleeps with the same deadline.
    number: u64,
    /// Who is woken, once it was polled.
    waker: Option<Waker>,
}

impl Sleep {
    pub(crate) fn new(executor: Rc<Executor>, deadline: Time) -> Sleep {
        let number = {
            let mut timers = executor.timers.borrow_mut();
            timers.created += 1;
            timers.created
        };
        Sleep { executor, deadline, number, waker: None }
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
        if self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        let key = (self.deadline, self.number);
        let replaced = self.executor.timers.borrow_mut().wakers.insert(key, cx.waker().clone());
        drop(replaced);
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if self.waker.is_some() {
            let key = (self.deadline, self.number);
            let removed = self.executor.timers.borrow_mut().wakers.remove(&key);
            drop(removed);
        }
    }
}
