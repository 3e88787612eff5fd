//! What a peer needs of its surroundings besides a network and a disk.

use std::{fmt::Display, future::Future, time::Duration};

use rand_chacha::ChaCha8Rng;
use reseed_protocol::{
    Time,
    torrent::{Event, Spoken, Torrent},
};

use crate::{Activity, Buggify, Wait, Waiting};

/// Clock, timers, tasks and randomness. The real one is [`crate::TokioEnv`]; in
/// a simulation each host has its own.
///
/// Everything runs on one thread, so nothing here needs to be `Send`.
pub trait Env: Clone + 'static {
    /// The time now.
    fn now(&self) -> Time;

    /// Unix time at [`Time::ZERO`], by a wall clock that may be set meanwhile; by it
    /// certificates end.
    fn unix_epoch(&self) -> Duration {
        Duration::ZERO
    }

    /// Completes at `deadline`, at once if that is past. Dropping it cancels it.
    fn sleep_until(&self, deadline: Time) -> impl Future<Output = ()> + 'static;

    /// Starts `task` under a name that tells a reader what it does and for whom.
    /// Use [`crate::Tasks`], which also gives it an owner.
    fn spawn(&self, name: &str, task: impl Future<Output = ()> + 'static);

    /// A generator of its own for the consumer that `label` names. In a
    /// simulation it is a substream of the seed, so that a new consumer does not
    /// shift the numbers of the others.
    fn rng(&self, label: &str) -> ChaCha8Rng;

    /// Whether what `point` is about is to happen now: never on a real machine, where it
    /// happens by itself.
    fn buggify(&self, _point: Buggify) -> bool {
        false
    }

    /// Shows a torrent after each step that it took, so that a simulation can
    /// hold it against its rules.
    fn stepped(&self, _torrent: &Torrent) {}

    /// Shows what happened in a torrent.
    fn happened(&self, _torrent: &Torrent, _event: &Event) {}

    /// Takes a result whose error nobody else will hear of, and tells if there is
    /// one. An error that has somebody to go to is returned to them instead.
    fn absorb<T, E: Display>(
        &self,
        doing: impl FnOnce() -> String,
        result: Result<T, E>,
    ) -> Option<T> {
        self.absorbed();
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.swallowed(&doing(), &error.to_string());
                None
            }
        }
    }

    /// Counts a result that was looked at by [`Env::absorb`].
    fn absorbed(&self) {}

    /// Something went wrong while `doing` it (with which value), was caught, and
    /// nobody is told but by this. Always a mistake: see [`Env::absorb`].
    fn swallowed(&self, doing: &str, error: &str) {
        tracing::error!(doing, error, "nobody could be told of an error");
    }

    /// Whether [`Env::spoke`] is to be called.
    fn listens(&self) -> bool {
        false
    }

    /// Shows what was said on a connection, in the order in which the torrent
    /// acted on it.
    fn spoke(&self, _torrent: &Torrent, _spoken: &Spoken) {}

    /// Shows what a peer did around its torrents: reports, work at its time.
    fn observed(&self, _activity: &Activity<'_>) {}

    /// Shows that a task is about to wait for another, until the guard is dropped.
    /// A simulation draws from it who waits for whom.
    fn waiting(&self, _wait: Wait<'_>) -> Waiting {
        Waiting::default()
    }
}
