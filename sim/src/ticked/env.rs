//! A ticked host's clock, timers, tasks and randomness.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use rand_chacha::ChaCha8Rng;
use reseed_client::Env;
use reseed_protocol::Time;

use super::host::{Entry, Host};
use crate::host::Incarnation;

/// A host's clock, timers, tasks and randomness.
#[derive(Clone)]
pub(crate) struct TickedEnv {
    host: Rc<Host>,
    incarnation: Incarnation,
}

impl TickedEnv {
    pub(super) fn new(host: Rc<Host>, incarnation: Incarnation) -> TickedEnv {
        TickedEnv { host, incarnation }
    }
}

impl Env for TickedEnv {
    fn now(&self) -> Time {
        self.host.now()
    }

    fn sleep_until(&self, deadline: Time) -> impl Future<Output = ()> + 'static {
        Sleep { host: self.host.clone(), deadline, waiting: None }
    }

    /// On a host that has stopped, `task` is dropped.
    fn spawn(&self, name: &str, task: impl Future<Output = ()> + 'static) {
        if self.incarnation.is_current() {
            self.host.spawn(name, task);
        }
    }

    /// The substream `name/incarnation/label`, as on the first engine.
    fn rng(&self, label: &str) -> ChaCha8Rng {
        let (name, number) = (&self.host.name, self.incarnation.number());
        self.host.shared.streams.stream(&format!("{name}/{number}/{label}"))
    }
}

/// Completes at a deadline. It counts as a timer once it was polled.
struct Sleep {
    host: Rc<Host>,
    deadline: Time,
    waiting: Option<(Pin<Box<tokio::time::Sleep>>, Entry<()>)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Sleep { host, deadline, waiting } = &mut *self;
        let (sleep, _) = waiting.get_or_insert_with(|| {
            #[expect(clippy::disallowed_methods, reason = "it is how `Env::sleep_until` sleeps")]
            let sleep = tokio::time::sleep(deadline.since(host.now()));
            (Box::pin(sleep), host.timers.enter(()))
        });
        ready!(sleep.as_mut().poll(cx));
        *waiting = None;
        Poll::Ready(())
    }
}
