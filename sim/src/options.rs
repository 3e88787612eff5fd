//! What a world is made with, and what bounds its runs.

use std::time::Duration;

use reseed_protocol::Time;
use thiserror::Error;

use crate::HostId;

/// What a world is made with.
#[derive(Debug, Clone)]
pub struct WorldOptions {
    /// Every random choice comes from it.
    pub seed: u64,
    /// Whose TCP and UDP the hosts have.
    pub stack: Stack,
    /// Probability (0..=1) that the task to poll next is drawn from all that are
    /// ready, rather than the one ready longest.
    pub perturbation: f64,
    /// Largest packet (bytes). A packet above 1500 bytes counts on a link as the
    /// Ethernet packets that it stands for, so this sets the grain, not the
    /// speed.
    pub mtu: u32,
    /// Packets are handed to their destinations at multiples of this only, never
    /// early, and so up to this much late: fewer and larger deliveries make a run
    /// quicker. Links and timers are exact all the same. Zero is exact.
    pub pass_grid: Duration,
    /// How long a connect to a host that does not answer takes to be reset.
    /// Linux gives up after 127 s.
    pub connect_timeout: Duration,
    /// How long a segment to a host that does not answer is retransmitted until
    /// the connection is reset. Linux gives up after some 924 s.
    pub established_timeout: Duration,
    /// When to stop a run that does not end.
    pub limits: Limits,
}

impl Default for WorldOptions {
    fn default() -> WorldOptions {
        WorldOptions {
            seed: 0,
            stack: Stack::TurmoilNet,
            perturbation: 0.0,
            mtu: 1500,
            pass_grid: Duration::from_millis(1),
            connect_timeout: Duration::from_secs(127),
            established_timeout: Duration::from_secs(924),
            limits: Limits::default(),
        }
    }
}

/// Whose TCP and UDP the hosts of a world have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stack {
    /// turmoil-net's. There can be one such world at a time a thread.
    #[default]
    TurmoilNet,
    /// Our own.
    Native,
}

/// Bounds on a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Steps (count).
    pub steps: u64,
    /// Virtual time.
    pub time: Time,
    /// Polls of one host's tasks without the time moving (count).
    pub polls_at_instant: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { steps: 100_000_000, time: Time::from_secs(30 * 86_400), polls_at_instant: 100_000 }
    }
}

/// A run went past one of its [`Limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::steps`].
    #[error("stopping the run after {0} steps, its limit")]
    Steps(u64),
    /// [`Limits::time`].
    #[error("stopping the run at {0} s of virtual time, its limit")]
    Time(Time),
    /// [`Limits::polls_at_instant`].
    #[error("stopping the run: {host} was polled {polls} times at {at} s and is still not done")]
    Spin {
        /// The host that spins.
        host: HostId,
        /// The time that does not move.
        at: Time,
        /// Polls of the host's tasks at that time (count).
        polls: u64,
    },
}
