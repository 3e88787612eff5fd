//! A deterministic executor: one thread, virtual time, and an order of polls
//! that is the seed's.
//!
//! It knows tasks, timers and the time; it has no loop of its own. The world
//! polls ready tasks one by one and moves the time when none is left.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    future::Future,
    hint::black_box,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use reseed_protocol::Time;

use crate::{
    HostId,
    panics::{self, PanicMessage},
    timer::Timers,
};

/// A task's number, in order of spawning and never used twice in one world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u64);

/// What one poll came to.
#[derive(Debug)]
pub(crate) struct Polled {
    pub(crate) host: HostId,
    pub(crate) task: TaskId,
    /// The task's name and what it said, if the poll panicked.
    pub(crate) panic: Option<(Rc<str>, PanicMessage)>,
}

pub(crate) struct Executor {
    now: Cell<Time>,
    slots: RefCell<Slots>,
    ready: Arc<ReadyQueue>,
    pub(crate) timers: RefCell<Timers>,
    perturbation: f64,
    order: RefCell<ChaCha8Rng>,
    polls: Cell<u64>,
    polls_by_host: RefCell<Vec<InstantPolls>>,
    /// Sleeps that are over at once and may still complete in the poll that is
    /// running (count).
    short_sleeps_left: Cell<u32>,
    next_task: Cell<u64>,
    /// Hosts that are held up.
    held_up: RefCell<BTreeMap<HostId, HeldUp>>,
}

/// A host whose tasks do not run.
#[derive(Default)]
struct HeldUp {
    /// How often it was held up and not let go (count).
    times: u32,
    /// Its tasks that would run, in the order in which they were woken.
    tasks: Vec<(usize, TaskId)>,
}

/// Sleeps that are over at once and may complete in one poll (count).
const SHORT_SLEEPS_PER_POLL: u32 = 64;

/// Polls of a host without the time moving, after which each sleep takes a poll
/// (count): who spins, spins on sleeps that are over, and is to be caught soon.
const POLLS_BEFORE_SPIN: u64 = 5_000;

impl Executor {
    /// With probability `perturbation` (0..=1) the next task is drawn from all
    /// that are ready; otherwise it is the one that has waited longest.
    pub(crate) fn new(perturbation: f64, order: ChaCha8Rng) -> Executor {
        Executor {
            now: Cell::new(Time::ZERO),
            slots: RefCell::default(),
            ready: Arc::default(),
            timers: RefCell::default(),
            perturbation,
            order: RefCell::new(order),
            polls: Cell::new(0),
            polls_by_host: RefCell::default(),
            short_sleeps_left: Cell::new(0),
            next_task: Cell::new(0),
            held_up: RefCell::default(),
        }
    }

    pub(crate) fn now(&self) -> Time {
        self.now.get()
    }

    /// Moves the time on to `now`; it never goes back.
    pub(crate) fn advance(&self, now: Time) {
        assert!(now >= self.now.get(), "time went back from {} to {now}", self.now.get());
        self.now.set(now);
    }

    /// Wakes the sleepers whose time has come, by deadline, then by creation.
    pub(crate) fn fire_timers(&self) {
        let now = self.now.get();
        loop {
            let due = self.timers.borrow_mut().pop_due(now);
            let Some(waker) = due else { break };
            waker.wake();
        }
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.lock().is_empty()
    }

    pub(crate) fn spawn(
        &self,
        host: HostId,
        name: &str,
        task: impl Future<Output = ()> + 'static,
    ) -> TaskId {
        let id = TaskId(self.next_task.replace(self.next_task.get() + 1));
        let mut slots = self.slots.borrow_mut();
        let slot = slots.vacant();
        let wake = Arc::new(TaskWake {
            slot,
            id,
            queued: AtomicBool::new(false),
            queue: self.ready.clone(),
        });
        slots.tasks[slot] = Some(Task {
            id,
            host,
            name: name.into(),
            body: Some(Body { future: Box::pin(task), waker: wake.clone().into() }),
            wake: wake.clone(),
        });
        drop(slots);
        wake.wake_by_ref();
        id
    }

    /// Polls the next ready task after `enter` has been told its host; `None` if
    /// no task is ready.
    pub(crate) fn poll_next(&self, enter: impl Fn(HostId)) -> Option<Polled> {
        let (slot, id, host, mut body) = loop {
            let (slot, id) = self.pop_ready()?;
            let mut slots = self.slots.borrow_mut();
            if let Some(task) = slots.tasks[slot].as_mut().filter(|task| task.id == id) {
                if let Some(held_up) = self.held_up.borrow_mut().get_mut(&task.host) {
                    held_up.tasks.push((slot, id));
                    continue;
                }
                task.wake.queued.store(false, Ordering::Relaxed);
                // Empty when a task is polled inside its own poll, which the
                // queue does not do.
                let body = task.body.take().expect("a queued task is at rest");
                break (slot, id, task.host, body);
            }
        };
        let spins = self.count_poll(host) > POLLS_BEFORE_SPIN;
        self.short_sleeps_left.set(if spins { 0 } else { SHORT_SLEEPS_PER_POLL });
        enter(host);
        let outcome =
            panics::catch(|| body.future.as_mut().poll(&mut Context::from_waker(&body.waker)));
        let mut slots = self.slots.borrow_mut();
        let task = slots.tasks[slot].as_mut().filter(|task| task.id == id);
        let (finished, panic) = match (outcome, task) {
            (Ok(Poll::Pending), Some(task)) => {
                task.body = Some(body);
                return Some(Polled { host, task: id, panic: None });
            }
            (Ok(_), Some(_)) => (slots.remove(slot), None),
            (Err(message), Some(task)) => {
                let name = task.name.clone();
                (slots.remove(slot), Some((name, message)))
            }
            (outcome, None) => (None, outcome.err().map(|message| ("(dropped)".into(), message))),
        };
        drop(slots);
        drop_quietly((body, finished));
        Some(Polled { host, task: id, panic })
    }

    /// From now on no task of `host` is polled, until it is let go as often.
    pub(crate) fn hold_up(&self, host: HostId) {
        self.held_up.borrow_mut().entry(host).or_default().times += 1;
    }

    /// Lets `host` go; returns how many of its tasks had to wait.
    pub(crate) fn let_go(&self, host: HostId) -> u64 {
        let mut held_up = self.held_up.borrow_mut();
        let Some(host_held) = held_up.get_mut(&host) else { return 0 };
        let waited = host_held.tasks.len() as u64;
        host_held.times -= 1;
        if host_held.times == 0 {
            let tasks = held_up.remove(&host).map(|host| host.tasks).unwrap_or_default();
            self.ready.lock().extend(tasks);
        }
        waited
    }

    /// Drops all tasks of `host`, oldest first. One that is being polled is
    /// dropped when its poll returns.
    pub(crate) fn drop_host(&self, host: HostId) {
        let mut removed = Vec::new();
        {
            let mut slots = self.slots.borrow_mut();
            for slot in 0..slots.tasks.len() {
                if slots.tasks[slot].as_ref().is_some_and(|task| task.host == host) {
                    removed.extend(slots.remove(slot));
                }
            }
        }
        removed.sort_by_key(|task| task.id);
        removed.into_iter().for_each(drop_quietly);
    }

    /// Tasks that are alive on `host` (count, names in order of spawning).
    pub(crate) fn task_names(&self, host: HostId) -> Vec<Rc<str>> {
        let slots = self.slots.borrow();
        let mut names: Vec<_> = slots
            .tasks
            .iter()
            .flatten()
            .filter(|task| task.host == host)
            .map(|task| (task.id, task.name.clone()))
            .collect();
        names.sort();
        names.into_iter().map(|(_, name)| name).collect()
    }

    /// Polls so far (count).
    pub(crate) fn polls(&self) -> u64 {
        self.polls.get()
    }

    /// Polls of `host`'s tasks since the time last moved (count).
    pub(crate) fn polls_at_instant(&self, host: HostId) -> u64 {
        self.polls_by_host
            .borrow()
            .get(host.index())
            .filter(|polls| polls.at == self.now.get())
            .map_or(0, |polls| polls.count)
    }

    /// Whether one more sleep that is over already may complete within this
    /// poll. A loop around such a sleep would otherwise never leave its poll.
    pub(crate) fn may_skip_sleep(&self) -> bool {
        let left = self.short_sleeps_left.get();
        self.short_sleeps_left.set(left.saturating_sub(1));
        left > 0
    }

    fn pop_ready(&self) -> Option<(usize, TaskId)> {
        let mut ready = self.ready.lock();
        if self.perturbation > 0.0 && ready.len() > 1 {
            let mut order = self.order.borrow_mut();
            if order.random_bool(self.perturbation) {
                let chosen = order.random_range(0..ready.len());
                return ready.remove(chosen);
            }
        }
        let next = ready.pop_front();
        if let Some((slot, _)) = ready.front() {
            // So that it comes into the cache while this one is polled.
            black_box(self.slots.borrow().tasks[*slot].as_ref().map(|task| task.id));
        }
        next
    }

    /// Returns how many polls `host` has had since the time last moved.
    fn count_poll(&self, host: HostId) -> u64 {
        self.polls.set(self.polls.get() + 1);
        let mut by_host = self.polls_by_host.borrow_mut();
        if by_host.len() <= host.index() {
            by_host.resize(host.index() + 1, InstantPolls::default());
        }
        let polls = &mut by_host[host.index()];
        if polls.at != self.now.get() {
            *polls = InstantPolls { at: self.now.get(), count: 0 };
        }
        polls.count += 1;
        polls.count
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct InstantPolls {
    at: Time,
    count: u64,
}

struct Task {
    id: TaskId,
    host: HostId,
    name: Rc<str>,
    /// `None` while it is being polled.
    body: Option<Body>,
    wake: Arc<TaskWake>,
}

struct Body {
    future: Pin<Box<dyn Future<Output = ()>>>,
    waker: Waker,
}

#[derive(Default)]
struct Slots {
    tasks: Vec<Option<Task>>,
    free: Vec<usize>,
}

impl Slots {
    fn vacant(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.tasks.push(None);
            self.tasks.len() - 1
        })
    }

    fn remove(&mut self, slot: usize) -> Option<Task> {
        let task = self.tasks[slot].take()?;
        self.free.push(slot);
        Some(task)
    }
}

struct TaskWake {
    slot: usize,
    id: TaskId,
    queued: AtomicBool,
    queue: Arc<ReadyQueue>,
}

impl Wake for TaskWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.queue.lock().push_back((self.slot, self.id));
        }
    }
}

/// Wakers must be `Sync`, hence the lock, which nobody ever waits for.
#[derive(Default)]
struct ReadyQueue(Mutex<VecDeque<(usize, TaskId)>>);

impl ReadyQueue {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(usize, TaskId)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops what a task owned. A destructor that panics must not take the run down,
/// and there is nobody left to tell: its task is gone.
fn drop_quietly<T>(owned: T) {
    let _ = panics::catch(|| drop(owned));
}
