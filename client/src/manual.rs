//! An [`Env`] for tests: a clock that the test moves, and an executor of a few
//! lines.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use rand_chacha::ChaCha8Rng;
use reseed_protocol::Time;

use crate::{Env, substream};

#[derive(Clone, Default)]
pub struct ManualEnv {
    world: Rc<World>,
}

#[derive(Default)]
struct World {
    now: Cell<Time>,
    spawned: RefCell<Vec<Task>>,
    timers: RefCell<Vec<(Time, Waker)>>,
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    woken: Arc<Flag>,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl ManualEnv {
    /// Polls what was woken, in the order of spawning, until nothing is.
    pub fn run(&self) {
        let mut tasks = Vec::new();
        loop {
            tasks.append(&mut self.world.spawned.borrow_mut());
            let mut idle = true;
            tasks.retain_mut(|task: &mut Task| {
                if !task.woken.0.swap(false, Ordering::Relaxed) {
                    return true;
                }
                idle = false;
                let waker = Waker::from(task.woken.clone());
                let polled = task.future.as_mut().poll(&mut Context::from_waker(&waker));
                polled.is_pending()
            });
            if idle && self.world.spawned.borrow().is_empty() {
                break;
            }
        }
        *self.world.spawned.borrow_mut() = tasks;
    }

    /// Moves the clock to each deadline up to `end` in turn, and runs what wakes.
    pub fn run_until(&self, end: Time) {
        loop {
            self.run();
            let next = (self.world.timers.borrow().iter()).map(|&(deadline, _)| deadline).min();
            let Some(next) = next.filter(|&next| next <= end) else {
                break;
            };
            self.world.now.set(next.max(self.world.now.get()));
            let mut due = Vec::new();
            self.world.timers.borrow_mut().retain(|(deadline, waker)| {
                let later = *deadline > next;
                if !later {
                    due.push(waker.clone());
                }
                later
            });
            due.into_iter().for_each(Waker::wake);
        }
        self.world.now.set(end);
    }
}

impl Env for ManualEnv {
    fn now(&self) -> Time {
        self.world.now.get()
    }

    fn sleep_until(&self, deadline: Time) -> impl Future<Output = ()> + 'static {
        let env = self.clone();
        poll_fn(move |context| {
            if env.now() >= deadline {
                return Poll::Ready(());
            }
            let timer = (deadline, context.waker().clone());
            env.world.timers.borrow_mut().push(timer);
            Poll::Pending
        })
    }

    fn spawn(&self, _name: &str, task: impl Future<Output = ()> + 'static) {
        self.world
            .spawned
            .borrow_mut()
            .push(Task { future: Box::pin(task), woken: Arc::new(Flag(AtomicBool::new(true))) });
    }

    fn rng(&self, label: &str) -> ChaCha8Rng {
        substream(0, label)
    }
}
