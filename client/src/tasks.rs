//! Tasks with a name and an owner.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use pin_project_lite::pin_project;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::Env;

/// The owner of a group of tasks. When [`shutdown`](Tasks::shutdown) returns,
/// none of them is left, nor anything that they held: sockets, timers, files.
/// Dropping the owner cancels them as well, without waiting.
///
/// A task of the group must not keep the owner, or the group would keep itself
/// alive; one that starts others keeps a [`Spawner`].
#[derive(Debug)]
pub struct Tasks {
    spawner: Spawner,
}

/// Starts tasks for the [`Tasks`] that it comes from.
#[derive(Debug, Clone)]
pub struct Spawner {
    group: Rc<Group>,
}

impl Tasks {
    /// A group without tasks.
    #[expect(
        clippy::new_without_default,
        reason = "an owner is made on purpose, where it will be shut down"
    )]
    pub fn new() -> Tasks {
        Tasks { spawner: Spawner { group: Rc::default() } }
    }

    /// A handle for a task that starts others in this group.
    pub fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// Starts a task; see [`Spawner::spawn`].
    pub fn spawn(&self, env: &impl Env, name: &str, task: impl Future<Output = ()> + 'static) {
        self.spawner.spawn(env, name, task);
    }

    /// Completes when the group is cancelled.
    pub fn cancelled(&self) -> WaitForCancellationFutureOwned {
        self.spawner.cancelled()
    }

    /// Cancels every task: each is dropped, at the point where it waits, when it
    /// is next scheduled. Nothing starts in this group any more.
    pub fn cancel(&self) {
        self.spawner.group.is_cancelled.set(true);
        self.spawner.group.token.cancel();
    }

    /// Cancels every task and returns when the last one is gone. May be called
    /// again, and may be dropped: the tasks stay cancelled. A task of the group
    /// would wait here for itself.
    pub async fn shutdown(&self) {
        self.cancel();
        self.ended().await;
    }

    /// Returns when no task is left, whether it ended by itself or was cancelled.
    pub async fn ended(&self) {
        let group = &self.spawner.group;
        while !group.running.borrow().is_empty() {
            group.emptied.notified().await;
        }
    }

    /// The names of the running tasks, in the order in which they started.
    pub fn names(&self) -> Vec<String> {
        let running = self.spawner.group.running.borrow();
        running.values().cloned().collect()
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl Spawner {
    /// Starts `task`, to run until it ends or the group is cancelled. In a
    /// cancelled group it is dropped right here.
    pub fn spawn(&self, env: &impl Env, name: &str, task: impl Future<Output = ()> + 'static) {
        if self.group.is_cancelled.get() {
            return;
        }
        let (cancelled, entry) = (self.cancelled(), self.group.enter(name));
        env.spawn(name, Owned { cancelled, signalled: None, task, entry });
    }

    /// Completes when the group is cancelled.
    pub fn cancelled(&self) -> WaitForCancellationFutureOwned {
        self.group.token.clone().cancelled_owned()
    }
}

#[derive(Debug, Default)]
struct Group {
    token: CancellationToken,
    /// Whether it is: to ask the token takes a lock, and each task asks each time that it
    /// is polled.
    is_cancelled: Cell<bool>,
    running: RefCell<BTreeMap<u64, String>>,
    started: Cell<u64>,
    emptied: Notify,
}

impl Group {
    fn enter(self: &Rc<Self>, name: &str) -> Entry {
        let number = self.started.get();
        self.started.set(number + 1);
        self.running.borrow_mut().insert(number, name.to_owned());
        Entry { group: self.clone(), number }
    }
}

/// A task's line in the register of its group.
struct Entry {
    group: Rc<Group>,
    number: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.group.running.borrow_mut().remove(&self.number);
        if self.group.running.borrow().is_empty() {
            self.group.emptied.notify_waiters();
        }
    }
}

pin_project! {
    /// A task with its group's signal. Not an `async` block, because the order of
    /// the fields matters: however this is dropped (it ended, was cancelled, panicked,
    /// or its executor went away before the first poll), the task is gone before its
    /// entry is.
    struct Owned<F> {
        #[pin]
        cancelled: WaitForCancellationFutureOwned,
        // Who is woken by the signal.
        signalled: Option<Waker>,
        #[pin]
        task: F,
        entry: Entry,
    }
}

impl<F: Future<Output = ()>> Future for Owned<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        // To ask whether there was a signal is less than to wait for it once more.
        let waits = this.signalled.as_ref().is_some_and(|it| it.will_wake(context.waker()));
        let is_cancelled = match waits {
            true => this.entry.group.is_cancelled.get(),
            false => this.cancelled.poll(context).is_ready(),
        };
        if is_cancelled {
            return Poll::Ready(());
        }
        if !waits {
            *this.signalled = Some(context.waker().clone());
        }
        this.task.poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::FutureExt;
    use tokio::task::yield_now;

    use super::*;
    use crate::manual::ManualEnv;

    #[test]
    fn shutdown_returns_only_after_every_task_was_dropped() {
        let env = ManualEnv::default();
        let tasks = Tasks::new();
        let held = Rc::new(());
        for name in ["a", "b"] {
            let held = held.clone();
            tasks.spawn(&env, name, async move {
                let _held = held;
                pending().await
            });
        }
        env.run();
        assert_eq!(tasks.names(), ["a", "b"]);

        let mut shutdown = Box::pin(tasks.shutdown());
        assert_eq!(shutdown.as_mut().now_or_never(), None);
        assert_eq!(Rc::strong_count(&held), 3, "nothing ran yet");
        env.run();
        assert_eq!(Rc::strong_count(&held), 1);
        assert_eq!(shutdown.now_or_never(), Some(()));
        assert!(tasks.names().is_empty());
    }

    #[test]
    fn a_task_that_never_waits_for_the_signal_is_dropped_where_it_stands() {
        let env = ManualEnv::default();
        let tasks = Tasks::new();
        let steps = Rc::new(Cell::new(0));
        let counted = steps.clone();
        tasks.spawn(&env, "busy", async move {
            loop {
                counted.set(counted.get() + 1);
                if counted.get() == 3 {
                    pending().await
                }
                yield_now().await;
            }
        });
        env.run();
        tasks.cancel();
        env.run();
        assert_eq!((steps.get(), Rc::strong_count(&steps)), (3, 1));
    }

    #[test]
    fn dropping_the_owner_cancels() {
        let env = ManualEnv::default();
        let tasks = Tasks::new();
        let held = Rc::new(());
        let kept = held.clone();
        tasks.spawn(&env, "keeper", async move {
            let _kept = kept;
            pending().await
        });
        drop(tasks);
        env.run();
        assert_eq!(Rc::strong_count(&held), 1);
    }

    #[test]
    fn a_task_that_ended_is_no_longer_named() {
        let env = ManualEnv::default();
        let tasks = Tasks::new();
        tasks.spawn(&env, "short", async {});
        assert_eq!(tasks.names(), ["short"]);
        env.run();
        assert!(tasks.names().is_empty());
        assert_eq!(tasks.shutdown().now_or_never(), Some(()));
    }

    #[test]
    fn nothing_starts_in_a_cancelled_group() {
        let env = ManualEnv::default();
        let tasks = Tasks::new();
        let spawner = tasks.spawner();
        tasks.cancel();
        spawner.spawn(&env, "late", async { panic!("it ran") });
        assert!(tasks.names().is_empty());
        env.run();
        assert_eq!(spawner.cancelled().now_or_never(), Some(()));
    }

    #[test]
    fn an_executor_that_goes_away_does_not_leave_names_behind() {
        let env = ManualEnv::default();
        let tasks = Tasks::new();
        tasks.spawn(&env, "never polled", pending());
        drop(env);
        assert_eq!(tasks.shutdown().now_or_never(), Some(()));
    }
}
