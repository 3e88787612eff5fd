//! Time as the state machines see it: passed in, never read.

use std::{
    fmt,
    ops::{Add, AddAssign, Sub},
    time::Duration,
};

/// A point in time, as the duration since an epoch that the caller chose (the
/// start of a session, or of a simulated world). Nanosecond resolution; what would be
/// later than 584 years is the last of them.
// Nanoseconds in one number: with each packet times are added and compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The epoch itself.
    pub const ZERO: Time = Time(0);

    /// The point `since_epoch` after the epoch.
    #[inline]
    pub const fn from_epoch(since_epoch: Duration) -> Time {
        Time(nanos(since_epoch))
    }

    /// The point `seconds` after the epoch.
    pub const fn from_secs(seconds: u64) -> Time {
        Time::from_epoch(Duration::from_secs(seconds))
    }

    /// How long after the epoch this is.
    #[inline]
    pub const fn since_epoch(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// The point `nanos` nanoseconds after the epoch.
    #[inline]
    pub const fn from_nanos(nanos: u64) -> Time {
        Time(nanos)
    }

    /// Nanoseconds since the epoch.
    #[inline]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[inline]
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Those of `span`; if they are too many for it, the most that there can be.
#[inline]
const fn nanos(span: Duration) -> u64 {
    let nanos = span.as_nanos();
    if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 }
}

impl Add<Duration> for Time {
    type Output = Time;

    #[inline]
    fn add(self, span: Duration) -> Time {
        Time(self.0.saturating_add(nanos(span)))
    }
}

impl AddAssign<Duration> for Time {
    #[inline]
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Sub<Time> for Time {
    type Output = Duration;

    #[inline]
    fn sub(self, earlier: Time) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Time").field(&self.since_epoch()).finish()
    }
}

impl fmt::Display for Time {
    /// Seconds with microseconds, as in `12.345678`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since_epoch = self.since_epoch();
        f.pad(&format!("{}.{:06}", since_epoch.as_secs(), since_epoch.subsec_micros()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_later_than_every_time_is_the_last_of_them() {
        let last = Time::from_epoch(Duration::MAX);
        assert_eq!(last, Time::from_nanos(u64::MAX));
        assert_eq!(last + Duration::from_nanos(1), last);
        assert_eq!(Time::from_secs(1) + Duration::MAX, last);
        assert_eq!(Time::from_secs(1).since(last), Duration::ZERO);
        assert_eq!(last - Time::ZERO, last.since_epoch());
    }
}
