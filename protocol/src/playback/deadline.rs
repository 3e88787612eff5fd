//! When a request for something that is wanted soon is given up.

use std::time::Duration;

/// How much patience there is with a request of the high range. The figures are
/// the legacy engine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delays {
    /// A request is not judged before it is this old.
    pub min: Duration,
    /// A block that takes longer than this from now on is late, whenever it is due.
    pub max: Duration,
    /// What is granted on top (or, for a player that waits, taken away).
    pub grace: Duration,
}

impl Delays {
    /// While it plays.
    pub const PLAYING: Delays =
        Delays { min: Duration::from_secs(5), max: Duration::from_secs(20), grace: Duration::ZERO };

    /// While it fills its buffer.
    pub const BUFFERING: Delays = Delays {
        min: Duration::from_millis(7_500),
        max: Duration::from_secs(30),
        grace: Duration::from_secs(10),
    };

    /// Added to what is expected while it plays: who comes just in time is late.
    const MARGIN: Duration = Duration::from_millis(500);

    /// Whether a block that is expected after `expected` from now comes too late
    /// for a piece that is due after `due` from now, if it is due at all.
    pub fn misses(&self, expected: Duration, due: Option<Duration>) -> bool {
        let deadline = due.map_or(self.max, |due| due.min(self.max)) + self.grace;
        let margin = if due.is_some() { Delays::MARGIN } else { Duration::ZERO };
        expected + margin > deadline
    }
}

/// How long `bytes` take at `rate` bytes a second; for ever if nothing comes.
pub(crate) fn expected(bytes: u64, rate: u64) -> Duration {
    match rate {
        0 => Duration::MAX / 4,
        rate => Duration::from_secs_f64(bytes as f64 / rate as f64),
    }
}
