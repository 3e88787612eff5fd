//! What a peer needs of its surroundings besides a network and a disk.

use std::future::Future;

use rand_chacha::ChaCha8Rng;
use reseed_protocol::Time;

/// Clock, timers, tasks and randomness. The real one is [`crate::TokioEnv`]; in
/// a simulation each host has its own.
///
/// Everything runs on one thread, so nothing here needs to be `Send`.
pub trait Env: Clone + 'static {
    /// The time now.
    fn now(&self) -> Time;

    /// Completes at `deadline`, at once if that is past. Dropping it cancels it.
    fn sleep_until(&self, deadline: Time) -> impl Future<Output = ()> + 'static;

    /// Starts `task` under a name that tells a reader what it does and for whom.
    /// Use [`crate::Tasks`], which also gives it an owner.
    fn spawn(&self, name: &str, task: impl Future<Output = ()> + 'static);

    /// A generator of its own for the consumer that `label` names. In a
    /// simulation it is a substream of the seed, so that a new consumer does not
    /// shift the numbers of the others.
    fn rng(&self, label: &str) -> ChaCha8Rng;
}
