//! Who wants something and has nobody to get it from asks the tracker before its interval
//! is over, as often as that allows and no more.

use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use reseed_protocol::{
    BLOCK_LENGTH, Bitfield, Layout, PeerId, Time,
    torrent::{Config, Input, Output, Start, Torrent},
    tracker::AnnounceResponse,
};

use crate::start;

/// When it announces, in the first two hours, to a tracker that tells of `peers` and asks
/// for an announce each half hour, but allows one in five minutes.
fn announces(have: Bitfield, peers: &[&str]) -> Vec<u64> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let layout = Layout::new(BLOCK_LENGTH, u64::from(BLOCK_LENGTH));
    let start = Start { announce: true, ..start(layout, have) };
    let config = Config::new(PeerId([1; 20]), 6881);
    let mut torrent = Torrent::new(config, start, Time::ZERO, &mut rng);
    let (mut now, mut times) = (Time::ZERO, Vec::new());
    while now < Time::from_secs(2 * 60 * 60) {
        let mut next = Some(Input::Timeout);
        while let Some(input) = next.take() {
            torrent.handle(input, now, &mut rng);
            while let Some(output) = torrent.poll_output() {
                if let Output::Announce(_) = output {
                    times.push(now.since_epoch().as_secs());
                    next = Some(Input::Announced {
                        result: Ok(Box::new(AnnounceResponse {
                            interval: Duration::from_secs(30 * 60),
                            min_interval: Some(Duration::from_secs(5 * 60)),
                            peers: peers.iter().map(|addr| addr.parse().unwrap()).collect(),
                            tracker_id: None,
                            warning: None,
                            complete: None,
                            incomplete: None,
                        })),
                    });
                }
            }
        }
        now = torrent.poll_timeout().unwrap();
    }
    times
}

#[test]
fn who_is_alone_asks_as_often_as_the_tracker_allows() {
    let times = announces(Bitfield::empty(1), &[]);
    assert_eq!(times[..4], [0, 300, 600, 900]);
}

#[test]
fn who_has_everything_waits_its_time() {
    assert_eq!(announces(Bitfield::full(1), &[]), [0, 1800, 3600, 5400]);
}

#[test]
fn who_is_told_of_somebody_who_is_not_there_asks_no_more_often() {
    let times = announces(Bitfield::empty(1), &["192.0.2.1:6881"]);
    assert!(times.len() > 4, "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 300), "{times:?}");
}
