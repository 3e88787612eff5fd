//! Where the user's callbacks run: beside the session, so that one that is slow
//! holds up nobody but other callbacks.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use reseed_protocol::{Defect, Defects, Time};
use tokio::sync::Notify;

use crate::{Activity, Buggify, Env, Tasks, Wait, race::timeout_at};

/// The workers' names, as tasks and in evidence. That there are two is what the
/// engine that this follows had: one slow callback does not hold up all others.
const WORKERS: [&str; 2] = ["callback worker 1", "callback worker 2"];

/// How often the drain of [`Defect::PoolDrainsItself`] looks at the queue.
const LOOK_EACH: Duration = Duration::from_millis(100);

/// Two workers that run the user's callbacks, in the order in which they were
/// submitted. How many may wait is not bounded here: who submits one again and
/// again waits for the last before the next.
///
/// This is the owner. Who only submits keeps a [`Callbacks`], which a callback may
/// keep as well. Dropping the owner drops every callback where it stands.
pub struct CallbackPool<E> {
    env: E,
    callbacks: Callbacks,
    workers: Tasks,
    defects: Defects,
}

/// A handle to a [`CallbackPool`], to submit callbacks.
#[derive(Clone)]
pub struct Callbacks {
    shared: Rc<Shared>,
}

/// The pool drains or is gone, and takes no callback any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the callbacks are being shut down; no more are taken")]
pub struct PoolClosed;

/// A callback was to wait for something that itself waits for the callback to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a callback on {worker:?} waits for its own end; ask for a shutdown, and return")]
pub struct WaitsForItself {
    /// The worker that runs the callback.
    pub worker: &'static str,
}

impl<E: Env> CallbackPool<E> {
    /// A pool with its two workers, which wait for callbacks.
    pub fn new(env: E, defects: Defects) -> CallbackPool<E> {
        let callbacks = Callbacks { shared: Rc::default() };
        let workers = Tasks::new();
        for (number, name) in WORKERS.into_iter().enumerate() {
            workers.spawn(&env, name, work(env.clone(), callbacks.shared.clone(), number));
        }
        CallbackPool { env, callbacks, workers, defects }
    }

    /// A handle to submit callbacks with.
    pub fn callbacks(&self) -> Callbacks {
        self.callbacks.clone()
    }

    /// Queues a callback; see [`Callbacks::submit`].
    pub fn submit(
        &self,
        name: &str,
        callback: impl Future<Output = ()> + 'static,
    ) -> Result<(), PoolClosed> {
        self.callbacks.submit(name, callback)
    }

    /// Takes no more callbacks, and lets those that are queued or running end. What
    /// has not ended at `until` is dropped where it stands. When this returns, no
    /// worker is left. The answer is the names of the callbacks that were dropped.
    ///
    /// `who` waits here, in evidence. A callback cannot: its worker would be waited
    /// for by itself, which is the error.
    pub async fn drain(
        &self,
        who: &str,
        until: Option<Time>,
    ) -> Result<Vec<String>, WaitsForItself> {
        let shared = &self.callbacks.shared;
        shared.closed.set(true);
        shared.came.notify_waiters();
        if self.defects.has(Defect::PoolDrainsItself) {
            self.until_the_queue_is_empty(who).await;
            return Ok(Vec::new());
        }
        if let Some(worker) = self.callbacks.running_here() {
            return Err(WaitsForItself { worker });
        }
        let ended = self.wait_for_workers(who);
        match until {
            None => ended.await,
            Some(until) => _ = timeout_at(&self.env, until, ended).await,
        }
        let mut dropped = Vec::new();
        if !self.workers.names().is_empty() {
            dropped.extend(shared.running.borrow().iter().flatten().map(ToString::to_string));
            dropped.extend(shared.queue.borrow().iter().map(|queued| queued.name.to_string()));
            tracing::warn!(?dropped, "callbacks took longer than the grace period");
            self.env.observed(&Activity::CallbacksDropped);
            self.workers.shutdown().await;
        }
        let queued = shared.queue.take();
        drop(queued);
        Ok(dropped)
    }

    /// The names of the workers that are left.
    pub fn workers(&self) -> Vec<String> {
        self.workers.names()
    }

    async fn wait_for_workers(&self, who: &str) {
        let shared = &self.callbacks.shared;
        for (number, on) in WORKERS.into_iter().enumerate() {
            let running = shared.running.borrow()[number].clone();
            let to = match running {
                Some(callback) => format!("end its callback {callback:?}"),
                None => "end".to_owned(),
            };
            let _waiting = self.env.waiting(Wait { who, on, to: &to });
            while shared.at_work.borrow()[number] {
                shared.left.notified().await;
            }
        }
        self.workers.ended().await;
    }

    /// The drain as it was: whoever calls it, be it a worker, waits until somebody
    /// else has taken the last callback from the queue.
    async fn until_the_queue_is_empty(&self, who: &str) {
        let queue = "callback queue";
        let who = self.callbacks.running_here().unwrap_or(who);
        let _empty = self.env.waiting(Wait { who, on: queue, to: "be empty" });
        let free = |on| self.env.waiting(Wait { who: queue, on, to: "be free" });
        let _free = WORKERS.map(free);
        while !self.callbacks.shared.queue.borrow().is_empty() {
            self.env.sleep_until(self.env.now() + LOOK_EACH).await;
        }
    }
}

impl<E> Drop for CallbackPool<E> {
    fn drop(&mut self) {
        self.callbacks.shared.closed.set(true);
        let queued = self.callbacks.shared.queue.take();
        drop(queued);
    }
}

impl Callbacks {
    /// Queues a callback, to run when a worker is free. Its name tells a reader for
    /// whom it is, and what it is told.
    pub fn submit(
        &self,
        name: &str,
        callback: impl Future<Output = ()> + 'static,
    ) -> Result<(), PoolClosed> {
        if self.shared.closed.get() {
            return Err(PoolClosed);
        }
        let callback = Callback { name: name.into(), future: Box::pin(callback) };
        self.shared.queue.borrow_mut().push_back(callback);
        self.shared.came.notify_one();
        Ok(())
    }

    /// The worker in whose callback this is asked; `None` outside of callbacks.
    pub fn running_here(&self) -> Option<&'static str> {
        self.shared.polled.get().map(|number| WORKERS[number])
    }
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callbacks")
            .field("queued", &self.shared.queue.borrow().len())
            .field("running", &self.shared.running.borrow())
            .finish()
    }
}

struct Callback {
    name: Rc<str>,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

#[derive(Default)]
struct Shared {
    queue: RefCell<VecDeque<Callback>>,
    closed: Cell<bool>,
    /// A callback came, or no more will.
    came: Notify,
    /// A worker has left.
    left: Notify,
    at_work: RefCell<[bool; WORKERS.len()]>,
    /// The callback that each worker runs.
    running: RefCell<[Option<Rc<str>>; WORKERS.len()]>,
    /// The worker whose callback is being polled.
    polled: Cell<Option<usize>>,
}

/// A worker: runs callbacks until the pool is closed and the queue is empty.
fn work<E: Env>(env: E, shared: Rc<Shared>, number: usize) -> impl Future<Output = ()> {
    // Here and not in the task, which may be waited for before its first poll.
    shared.at_work.borrow_mut()[number] = true;
    let here = AtWork { shared, number };
    async move {
        let AtWork { shared, number } = &here;
        loop {
            let came = shared.came.notified();
            let next = shared.queue.borrow_mut().pop_front();
            match next {
                Some(Callback { name, future }) => {
                    shared.running.borrow_mut()[*number] = Some(name);
                    if env.buggify(Buggify::LateCallback) {
                        env.sleep_until(env.now() + Buggify::WHILE).await;
                    }
                    Running { here: &here, future }.await;
                    shared.running.borrow_mut()[*number] = None;
                }
                None if shared.closed.get() => return,
                None => came.await,
            }
        }
    }
}

/// A worker that has not left, however it will.
struct AtWork {
    shared: Rc<Shared>,
    number: usize,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.shared.at_work.borrow_mut()[self.number] = false;
        self.shared.running.borrow_mut()[self.number] = None;
        self.shared.left.notify_waiters();
    }
}

/// A callback on a worker, which is known while it is polled.
struct Running<'a> {
    here: &'a AtWork,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

impl Future for Running<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let polled = &self.here.shared.clone().polled;
        let _here = Polled { before: polled.replace(Some(self.here.number)), polled };
        self.future.as_mut().poll(context)
    }
}

/// Puts back who was polled before, however the poll ends.
struct Polled<'a> {
    polled: &'a Cell<Option<usize>>,
    before: Option<usize>,
}

impl Drop for Polled<'_> {
    fn drop(&mut self) {
        self.polled.set(self.before);
    }
}

#[cfg(test)]
mod tests;
