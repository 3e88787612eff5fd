//! Access links: what a packet meets between a host and the middle of the
//! network, where nothing is ever slow.

use std::time::Duration;

use rand::{Rng, RngExt};
use reseed_protocol::Time;

/// One direction of a host's access link. The default is a perfect one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Link {
    /// Propagation delay, the same for every packet.
    pub latency: Duration,
    /// The most by which one packet is later than that; uniform over
    /// `0..=jitter`.
    pub jitter: Duration,
    /// Bytes a second, headers included; `None` is unlimited.
    pub bandwidth: Option<u64>,
    /// Bytes that wait at most for their turn on the link; a packet that does
    /// not fit is lost. `None` is unlimited. Without a bandwidth nothing waits.
    pub queue: Option<u64>,
}

/// A host's access link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HostLink {
    /// From the host.
    pub up: Link,
    /// To the host.
    pub down: Link,
}

impl HostLink {
    /// The same each way.
    pub const fn symmetric(link: Link) -> HostLink {
        HostLink { up: link, down: link }
    }

    /// Unlimited, with half of `one_way` on each side, so that between two such
    /// hosts a packet takes `one_way`.
    pub fn with_latency(one_way: Duration) -> HostLink {
        let link = Link { latency: one_way / 2, ..Link::default() };
        HostLink::symmetric(link)
    }
}

/// A link in use.
#[derive(Debug, Default)]
pub(crate) struct LinkState {
    pub(crate) link: Link,
    /// When what has been accepted so far will have left.
    busy_until: Time,
}

impl LinkState {
    pub(crate) fn new(link: Link) -> LinkState {
        LinkState { link, busy_until: Time::ZERO }
    }

    /// Accepts a packet of `size` bytes and tells when it comes out at the other
    /// end; `None` if the queue is full.
    pub(crate) fn accept(&mut self, now: Time, size: u64, rng: &mut impl Rng) -> Option<Time> {
        let mut sent = now;
        if let Some(bandwidth) = self.link.bandwidth {
            if let Some(room) = self.link.queue {
                let wait = self.busy_until.since(now).as_nanos();
                let waiting = wait * u128::from(bandwidth) / NANOS_PER_SECOND;
                if waiting + u128::from(size) > u128::from(room) {
                    return None;
                }
            }
            sent = self.busy_until.max(now) + serialisation(size, bandwidth);
            self.busy_until = sent;
        }
        let jitter = match self.link.jitter {
            Duration::ZERO => Duration::ZERO,
            jitter => rng.random_range(Duration::ZERO..=jitter),
        };
        Some(sent + self.link.latency + jitter)
    }
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// How long `size` bytes take. A bandwidth of zero passes nothing, which here is
/// a very long time.
fn serialisation(size: u64, bandwidth: u64) -> Duration {
    let bandwidth = bandwidth.max(1);
    // This is quicker, and fits but for what is no packet.
    let nanos = match size.checked_mul(NANOS_PER_SECOND as u64) {
        Some(nanos) => nanos / bandwidth,
        None => {
            let nanos = u128::from(size) * NANOS_PER_SECOND / u128::from(bandwidth);
            nanos.try_into().unwrap_or(u64::MAX)
        }
    };
    Duration::from_nanos(nanos)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn rng() -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(1)
    }

    #[test]
    fn a_packet_comes_out_after_its_serialisation_and_the_latency() {
        let link = Link {
            latency: Duration::from_millis(30),
            bandwidth: Some(100_000),
            ..Link::default()
        };
        let mut state = LinkState::new(link);
        let out = state.accept(Time::from_secs(1), 1000, &mut rng());
        assert_eq!(out, Some(Time::from_secs(1) + Duration::from_millis(10 + 30)));
    }

    #[test]
    fn packets_wait_for_those_before_them() {
        let mut state = LinkState::new(Link { bandwidth: Some(1000), ..Link::default() });
        let times = [0; 3].map(|_| state.accept(Time::ZERO, 500, &mut rng()).unwrap());
        let expected = [500, 1000, 1500].map(|ms| Time::ZERO + Duration::from_millis(ms));
        assert_eq!(times, expected);
    }

    #[test]
    fn a_packet_that_does_not_fit_in_the_queue_is_refused_until_there_is_room() {
        let link = Link { bandwidth: Some(1000), queue: Some(1000), ..Link::default() };
        let mut state = LinkState::new(link);
        let mut accept = |now| state.accept(now, 500, &mut rng()).is_some();
        assert!(accept(Time::ZERO) && accept(Time::ZERO));
        assert!(!accept(Time::ZERO));
        assert!(accept(Time::ZERO + Duration::from_millis(500)));
    }

    #[test]
    fn jitter_stays_within_its_bound_and_uses_it() {
        let jitter = Duration::from_millis(10);
        let mut state = LinkState::new(Link { jitter, ..Link::default() });
        let mut rng = rng();
        let delays: Vec<Duration> = (0..200)
            .map(|_| state.accept(Time::ZERO, 1, &mut rng).unwrap().since_epoch())
            .collect();
        assert!(delays.iter().all(|delay| *delay <= jitter));
        assert!(delays.iter().any(|delay| *delay > jitter * 8 / 10));
        assert!(delays.iter().any(|delay| *delay < jitter * 2 / 10));
    }
}
