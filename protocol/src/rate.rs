//! How fast bytes go by.

use crate::Time;

/// How far back a rate looks, in buckets of one second.
const WINDOW_SECS: u64 = 20;

/// Counts bytes, and says how many a second there were of late: over the last 20
/// seconds, or since the start if that is less. 20 seconds is what mainline
/// measures over for BEP 3's choking. Takes the same memory whatever goes by; of 4 GiB and
/// more in one second it counts as many.
#[derive(Debug, Clone)]
pub struct Meter {
    started: Time,
    total: u64,
    /// The bytes of second `s` are in bucket `s % WINDOW_SECS`.
    buckets: [u32; WINDOW_SECS as usize],
    /// The last second, since the start, in which bytes were counted. Buckets of
    /// later seconds still hold what came a window earlier.
    last: u64,
}

impl Meter {
    /// Nothing counted yet.
    pub fn new(now: Time) -> Meter {
        Meter { started: now, total: 0, buckets: [0; WINDOW_SECS as usize], last: 0 }
    }

    /// Counts `bytes`.
    pub fn add(&mut self, bytes: u64, now: Time) {
        let second = (now - self.started).as_secs().max(self.last);
        let skipped = (second - self.last).min(WINDOW_SECS);
        for stale in second + 1 - skipped..=second {
            self.buckets[(stale % WINDOW_SECS) as usize] = 0;
        }
        self.last = second;
        let bucket = &mut self.buckets[(second % WINDOW_SECS) as usize];
        *bucket = bucket.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.total += bytes;
    }

    /// Bytes a second. Asking changes nothing.
    pub fn rate(&self, now: Time) -> u64 {
        let elapsed = now - self.started;
        let second = elapsed.as_secs().max(self.last);
        let first = (second + 1).saturating_sub(WINDOW_SECS);
        let in_second = |second| u64::from(self.buckets[(second % WINDOW_SECS) as usize]);
        let bytes: u64 = (first..=self.last).map(in_second).sum();
        let span = elapsed.as_millis().saturating_sub(u128::from(first) * 1000);
        (u128::from(bytes) * 1000 / span.max(1000)) as u64
    }

    /// Bytes since the start.
    pub fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_steady_stream_has_its_rate_at_once_and_for_ever() {
        let mut meter = Meter::new(Time::from_secs(100));
        for tick in 0..600 {
            let now = Time::from_secs(100) + Duration::from_millis(tick * 100);
            meter.add(1_000, now);
            if tick >= 10 {
                let rate = meter.rate(now + Duration::from_millis(100));
                assert!((9_900..=10_100).contains(&rate), "{rate} after {tick} ticks");
            }
        }
        assert_eq!(meter.total(), 600_000);
    }

    #[test]
    fn in_the_first_second_nothing_is_multiplied_up() {
        let mut meter = Meter::new(Time::ZERO);
        meter.add(16_384, Time::from_epoch(Duration::from_millis(1)));
        assert_eq!(meter.rate(Time::from_epoch(Duration::from_millis(2))), 16_384);
    }

    #[test]
    fn what_came_more_than_twenty_seconds_ago_is_forgotten() {
        let mut meter = Meter::new(Time::ZERO);
        meter.add(20_000, Time::ZERO);
        assert_eq!(meter.rate(Time::from_secs(10)), 2_000);
        assert_eq!(meter.rate(Time::from_secs(20)), 0);
        meter.add(190, Time::from_secs(1_000_007));
        assert_eq!(meter.rate(Time::from_secs(1_000_007)), 10);
        assert_eq!(meter.total(), 20_190);
    }

    proptest! {
        #[test]
        fn a_rate_is_what_the_window_holds_over_how_long_it_is(
            steps in prop::collection::vec((0..30_000u64, 0..1_000_000u64), 0..60),
            wait in 0..40_000u64,
        ) {
            let mut meter = Meter::new(Time::ZERO);
            let mut log = Vec::new();
            let mut millis = 0;
            for (pause, bytes) in steps {
                millis += pause;
                meter.add(bytes, Time::from_epoch(Duration::from_millis(millis)));
                log.push((millis, bytes));
            }
            millis += wait;
            let from = (millis / 1000 + 1).saturating_sub(20) * 1000;
            let held: u64 = log.iter().filter(|(at, _)| *at >= from).map(|(_, bytes)| bytes).sum();
            prop_assert_eq!(
                meter.rate(Time::from_epoch(Duration::from_millis(millis))),
                held * 1000 / (millis - from).max(1000)
            );
            prop_assert_eq!(meter.total(), log.iter().map(|(_, bytes)| bytes).sum::<u64>());
        }
    }
}
