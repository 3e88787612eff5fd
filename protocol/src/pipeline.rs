//! How many requests to keep outstanding to one peer.

use std::time::Duration;

use crate::{BLOCK_LENGTH, Time};

/// Requests (count) to begin with, as in libtorrent.
const TARGET_START: usize = 4;
/// Requests (count) below which the link would idle between two blocks, as in
/// libtorrent.
const TARGET_MIN: usize = 2;
/// Requests (count) beyond which no link needs more, as in libtorrent.
const TARGET_MAX: usize = 500;
/// How long a full queue keeps the peer busy: `request_queue_time` of libtorrent.
const QUEUE_SECS: u64 = 3;
/// Slow start is over when one second brings no more than this many bytes above
/// the second before, as in libtorrent.
const GROWTH_MIN: u64 = 5_000;

/// The length of the request queue to one peer, from its unchoke on.
///
/// It begins in *slow start*, and grows by one with every block, so that it
/// doubles each round trip, until the peer delivers no faster for it. From then
/// on it holds 3 seconds of the measured rate: as long as a round trip takes
/// less than that, the peer never waits for a request, and a rate that is too
/// low corrects itself.
#[derive(Debug, Clone, Default)]
pub struct Pipeline {
    blocks: usize,
    growth: Growth,
}

#[derive(Debug, Clone, Default)]
enum Growth {
    /// No block yet.
    #[default]
    Waiting,
    SlowStart {
        /// Start of the second that is being counted.
        since: Time,
        /// Bytes in it.
        bytes: u64,
        /// Bytes in the second before.
        before: u64,
    },
    Over,
}

impl Pipeline {
    /// A peer that has just unchoked us. Begin anew with every unchoke.
    pub fn new() -> Pipeline {
        Pipeline::default()
    }

    /// The peer sent a block of `bytes` that it was asked for.
    pub fn block_arrived(&mut self, now: Time, bytes: u32) {
        let arrived = u64::from(bytes);
        self.growth = match self.growth {
            Growth::Waiting => Growth::SlowStart { since: now, bytes: arrived, before: 0 },
            Growth::SlowStart { since, bytes, before } => {
                let seconds = (now - since).as_secs();
                match seconds {
                    0 => Growth::SlowStart { since, bytes: bytes + arrived, before },
                    1 if bytes > before + GROWTH_MIN => Growth::SlowStart {
                        since: since + Duration::from_secs(1),
                        bytes: arrived,
                        before: bytes,
                    },
                    _ => Growth::Over,
                }
            }
            Growth::Over => Growth::Over,
        };
        self.blocks = self.blocks.saturating_add(1);
    }

    /// Requests (count) to have outstanding, where the peer delivers `rate`
    /// bytes a second and declared to queue `reqq` requests at most (BEP 10; 250
    /// if it declared nothing). At least 2, or 1 if the peer queues no more.
    pub fn target(&self, rate: u64, reqq: u32) -> usize {
        let wanted = match self.growth {
            Growth::Over => {
                let blocks = rate.saturating_mul(QUEUE_SECS).div_ceil(BLOCK_LENGTH.into());
                usize::try_from(blocks).unwrap_or(TARGET_MAX)
            }
            Growth::Waiting | Growth::SlowStart { .. } => TARGET_START.saturating_add(self.blocks),
        };
        let most = (reqq as usize).clamp(1, TARGET_MAX);
        wanted.clamp(TARGET_MIN.min(most), most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_epoch(Duration::from_millis(millis))
    }

    /// A peer that sent `blocks` a second, each second the given number.
    fn after(blocks: &[u64]) -> Pipeline {
        let mut pipeline = Pipeline::new();
        for (second, &count) in (0..).zip(blocks) {
            for block in 0..count {
                pipeline.block_arrived(at(second * 1000 + block * 1000 / count), BLOCK_LENGTH);
            }
        }
        pipeline
    }

    #[test]
    fn slow_start_begins_with_four_and_adds_one_a_block() {
        assert_eq!(after(&[]).target(0, 250), 4);
        assert_eq!(after(&[1]).target(0, 250), 5);
        assert_eq!(after(&[10, 30, 60]).target(0, 250), 104);
    }

    #[test]
    fn slow_start_ends_when_the_rate_grows_no_more() {
        let rate = 40 * u64::from(BLOCK_LENGTH);
        assert_eq!(after(&[10, 40, 40]).target(rate, 250), 4 + 90, "not known yet");
        assert_eq!(after(&[10, 40, 40, 1]).target(rate, 250), 120);
        assert_eq!(after(&[10, 0, 1]).target(rate, 250), 120, "a silent second");
    }

    #[test]
    fn afterwards_three_seconds_of_the_rate_are_outstanding() {
        let steady = after(&[40, 40, 40]);
        assert_eq!(steady.target(640_000, 250), 118);
        assert_eq!(steady.target(0, 250), 2);
        assert_eq!(steady.target(u64::MAX, u32::MAX), 500);
    }

    #[test]
    fn never_more_is_outstanding_than_the_peer_queues() {
        for pipeline in [after(&[]), after(&[100]), after(&[40, 40, 40])] {
            assert!(pipeline.target(10_000_000, 3) <= 3);
            assert_eq!(pipeline.target(10_000_000, 1), 1);
            assert_eq!(pipeline.target(10_000_000, 0), 1, "zero would be a choke for ever");
        }
    }

    #[test]
    fn a_peer_at_640_kb_a_second_and_100_ms_away_never_waits_for_a_request() {
        let mut steady = after(&[40, 40, 40]);
        steady.block_arrived(at(3_000), BLOCK_LENGTH);
        let round_trip_bytes = 640_000 / 10;
        assert!(steady.target(640_000, 250) as u64 * u64::from(BLOCK_LENGTH) > round_trip_bytes);
    }

    #[test]
    fn a_rate_measured_too_low_corrects_itself() {
        let steady = after(&[40, 40, 40]);
        let mut rate = 0;
        for _ in 0..10 {
            let in_a_round_trip_of_100_ms = steady.target(rate, 250) as u64;
            rate = (in_a_round_trip_of_100_ms * u64::from(BLOCK_LENGTH) * 10).min(640_000);
        }
        assert_eq!(rate, 640_000);
    }
}
