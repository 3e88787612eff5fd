use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;

const STARTED: Option<Announce> = Some(Announce::Event(Event::Started));
const COMPLETED: Option<Announce> = Some(Announce::Event(Event::Completed));
const STOPPED: Option<Announce> = Some(Announce::Event(Event::Stopped));
const REGULAR: Option<Announce> = Some(Announce::Regular);

fn at(seconds: u64) -> Time {
    Time::from_secs(seconds)
}

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(1)
}

fn response(interval: u64, min_interval: Option<u64>) -> AnnounceResponse {
    let body = match min_interval {
        None => format!("d8:intervali{interval}ee"),
        Some(min) => format!("d8:intervali{interval}e12:min intervali{min}ee"),
    };
    AnnounceResponse::from_bytes(body.as_bytes()).unwrap()
}

/// An announcer whose `started` was answered at time 0 with an interval of 1800 s.
fn started() -> Announcer {
    let mut announcer = Announcer::new(at(0));
    assert_eq!(announcer.poll(at(0)), STARTED);
    announcer.answered(at(0), &response(1800, None));
    announcer
}

#[test]
fn started_comes_first_and_regular_announces_follow_at_the_interval() {
    let mut announcer = started();
    assert_eq!(announcer.poll(at(1799)), None);
    assert_eq!(announcer.poll_timeout(), Some(at(1800)));
    assert_eq!(announcer.poll(at(1800)), REGULAR);
    assert_eq!(announcer.poll(at(9999)), None, "one is in flight");
    assert_eq!(announcer.poll_timeout(), None);
}

#[test]
fn completed_follows_at_once_when_the_download_finishes() {
    let mut announcer = started();
    announcer.download_completed(at(7));
    assert_eq!(announcer.poll(at(7)), COMPLETED);
    announcer.answered(at(8), &response(1800, None));
    announcer.download_completed(at(9));
    assert_eq!(announcer.poll(at(9)), None, "it is told once");
    assert_eq!(announcer.poll(at(1808)), REGULAR);
}

#[test]
fn completed_waits_for_what_was_lost_before_the_tracker_heard() {
    let mut announcer = started();
    announcer.want_peers(at(7));
    announcer.download_completed(at(7));
    announcer.lost();
    let now = announcer.poll_timeout().unwrap();
    assert_eq!(announcer.poll(now), REGULAR);
    announcer.download_completed(at(70));
    announcer.answered(at(71), &response(1800, None));
    assert_eq!(announcer.poll(at(71)), COMPLETED);
    announcer.lost();
    announcer.failed(at(72), &mut rng());
    let now = announcer.poll_timeout().unwrap();
    assert_eq!(announcer.poll(now), REGULAR, "it would say that something is left");
    announcer.answered(now, &response(1800, None));
    announcer.download_completed(at(200));
    assert_eq!(announcer.poll(at(200)), COMPLETED);
    announcer.answered(at(200), &response(1800, None));
    announcer.lost();
    announcer.download_completed(at(300));
    assert_eq!(announcer.poll(at(300)), None, "it is told once");
}

#[test]
fn who_was_complete_at_its_start_does_not_complete_by_what_it_lost_since() {
    let mut announcer = started();
    announcer.lost();
    announcer.download_completed(at(7));
    assert_eq!(announcer.poll(at(7)), None);
}

#[test]
fn a_torrent_that_is_complete_at_its_start_never_completes() {
    let mut announcer = Announcer::new(at(0));
    announcer.download_completed(at(0));
    assert_eq!(announcer.poll(at(0)), STARTED);
    announcer.answered(at(0), &response(1800, None));
    assert_eq!(announcer.poll(at(0)), None);
    assert_eq!(announcer.poll(at(1800)), REGULAR);
}

#[test]
fn completed_waits_until_the_tracker_knows_of_the_start() {
    let mut announcer = Announcer::new(at(0));
    assert_eq!(announcer.poll(at(0)), STARTED);
    announcer.download_completed(at(1));
    announcer.failed(at(2), &mut rng());
    assert_eq!(announcer.poll(at(100)), STARTED);
    announcer.answered(at(101), &response(1800, None));
    assert_eq!(announcer.poll(at(101)), COMPLETED);
}

#[test]
fn an_event_is_announced_again_until_it_is_answered() {
    let mut announcer = started();
    announcer.download_completed(at(7));
    assert_eq!(announcer.poll(at(7)), COMPLETED);
    announcer.failed(at(8), &mut rng());
    assert_eq!(announcer.poll(at(8)), None);
    assert_eq!(announcer.poll(at(100)), COMPLETED);
    announcer.answered(at(100), &response(1800, None));
    assert_eq!(announcer.poll(at(1900)), REGULAR);
}

#[test]
fn retries_back_off_from_15_seconds_to_30_minutes() {
    let mut announcer = Announcer::new(at(0));
    let mut rng = rng();
    let mut now = at(0);
    let mut waits = Vec::new();
    for _ in 0..100 {
        assert_eq!(announcer.poll(now), STARTED);
        announcer.failed(now, &mut rng);
        let due = announcer.poll_timeout().unwrap();
        waits.push((due - now).as_secs());
        now = due;
    }
    assert!((15..=18).contains(&waits[0]), "{waits:?}");
    assert!((30..=37).contains(&waits[1]), "{waits:?}");
    assert!((60..=75).contains(&waits[2]), "{waits:?}");
    assert!(waits[8..].iter().all(|wait| *wait == 1800), "{waits:?}");

    announcer.poll(now);
    announcer.answered(now, &response(5, None));
    assert_eq!(announcer.poll_timeout(), Some(now + Duration::from_secs(5)));
}

#[test]
fn wanting_peers_is_granted_after_the_trackers_minimum_or_a_minute() {
    let mut announcer = started();
    announcer.want_peers(at(10));
    assert_eq!(announcer.poll_timeout(), Some(at(60)));
    assert_eq!(announcer.poll(at(60)), REGULAR);
    announcer.answered(at(60), &response(1800, Some(300)));
    announcer.want_peers(at(100));
    assert_eq!(announcer.poll_timeout(), Some(at(360)));
    announcer.want_peers(at(400));
    assert_eq!(announcer.poll(at(400)), REGULAR);
    announcer.failed(at(400), &mut rng());
    let retry = announcer.poll_timeout();
    announcer.want_peers(at(401));
    assert_eq!(announcer.poll_timeout(), retry, "a failure is waited out");
}

#[test]
fn an_interval_below_the_trackers_own_minimum_is_stretched_to_it() {
    let mut announcer = Announcer::new(at(0));
    announcer.poll(at(0));
    announcer.answered(at(0), &response(100, Some(300)));
    assert_eq!(announcer.poll_timeout(), Some(at(300)));
}

#[test]
fn wanting_peers_never_puts_an_announce_off() {
    let mut announcer = Announcer::new(at(0));
    announcer.poll(at(0));
    announcer.answered(at(0), &response(5, None));
    announcer.want_peers(at(1));
    assert_eq!(announcer.poll_timeout(), Some(at(5)));
}

#[test]
fn who_never_started_stops_without_a_word() {
    let mut announcer = Announcer::new(at(5));
    announcer.stop(at(5), Announcer::STOP_GRACE);
    assert!(announcer.is_finished());
    assert_eq!(announcer.poll(at(5)), None);
    assert_eq!(announcer.poll_timeout(), None);
}

#[test]
fn stopped_is_the_last_word() {
    let mut announcer = started();
    announcer.download_completed(at(7));
    announcer.stop(at(7), Announcer::STOP_GRACE);
    assert_eq!(announcer.poll_timeout(), Some(at(7)));
    assert_eq!(announcer.poll(at(7)), STOPPED);
    announcer.stop(at(8), Announcer::STOP_GRACE);
    assert!(!announcer.is_finished());
    announcer.answered(at(8), &response(1800, None));
    assert!(announcer.is_finished());
    assert_eq!(announcer.poll(at(9999)), None);
}

#[test]
fn a_stopped_that_fails_is_not_repeated() {
    let mut announcer = started();
    announcer.stop(at(7), Announcer::STOP_GRACE);
    announcer.poll(at(7));
    announcer.failed(at(8), &mut rng());
    assert!(announcer.is_finished());
}

#[test]
fn a_start_that_may_have_arrived_is_stopped_even_while_its_retry_waits() {
    let mut announcer = Announcer::new(at(0));
    announcer.poll(at(0));
    announcer.failed(at(1), &mut rng());
    announcer.stop(at(2), Announcer::STOP_GRACE);
    assert_eq!(announcer.poll(at(2)), STOPPED);
}

#[test]
fn stopped_follows_the_announce_in_flight_and_nothing_waits_for_ever() {
    let mut announcer = started();
    assert_eq!(announcer.poll(at(1800)), REGULAR);
    announcer.stop(at(1801), Announcer::STOP_GRACE);
    assert_eq!(announcer.poll(at(1802)), None);
    let mut answered = announcer.clone();
    answered.answered(at(1802), &response(1800, None));
    assert_eq!(answered.poll(at(1802)), STOPPED);

    assert_eq!(announcer.poll_timeout(), Some(at(1803)));
    assert_eq!(announcer.poll(at(1803)), STOPPED);
    assert_eq!(announcer.poll_timeout(), Some(at(1806)));
    assert_eq!(announcer.poll(at(1806)), None);
    assert!(announcer.is_finished());
}

#[test]
fn a_stop_takes_the_grace_period_that_it_is_given_and_no_longer() {
    for grace in [0, 2, 60] {
        let grace = Duration::from_secs(grace);
        let mut announcer = started();
        announcer.poll(at(1800));
        announcer.stop(at(1801), grace);
        let patient = announcer.poll_timeout().unwrap();
        assert_eq!(patient, at(1801) + grace * 2 / 5);
        assert_eq!(announcer.poll(patient), STOPPED);
        let end = announcer.poll_timeout().unwrap();
        assert_eq!(end, at(1801) + grace);
        announcer.poll(end);
        assert!(announcer.is_finished());
    }
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Poll,
    Answer(u64, Option<u64>),
    Fail,
    Complete,
    Lose,
    WantPeers,
    Stop,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u64..100).prop_map(Step::Wait),
        8 => Just(Step::Poll),
        4 => (1u64..200, prop::option::of(1u64..200)).prop_map(|(i, m)| Step::Answer(i, m)),
        2 => Just(Step::Fail),
        1 => Just(Step::Complete),
        1 => Just(Step::Lose),
        1 => Just(Step::WantPeers),
        1 => Just(Step::Stop),
    ]
}

proptest! {
    #[test]
    fn whatever_is_called_the_events_keep_their_order(
        steps in prop::collection::vec(any_step(), 0..200),
    ) {
        let mut announcer = Announcer::new(at(0));
        let mut rng = rng();
        let mut now = at(0);
        let mut in_flight = None;
        let (mut start_sent, mut start_known) = (false, false);
        let (mut finished_later, mut completed_known) = (false, false);
        let (mut complete, mut complete_at_start) = (false, false);
        let (mut stop_asked, mut stopped) = (false, false);
        for step in steps {
            match step {
                Step::Wait(seconds) => now += Duration::from_secs(seconds),
                Step::Poll => {
                    let Some(announce) = announcer.poll(now) else { continue };
                    prop_assert!(!stopped, "something after stopped");
                    match announce.event() {
                        Some(Event::Started) => {
                            prop_assert!(!start_known);
                            start_sent = true;
                        }
                        Some(Event::Completed) => {
                            prop_assert!(start_known && finished_later && !completed_known);
                            prop_assert!(complete);
                        }
                        Some(Event::Stopped) => {
                            prop_assert!(start_sent && stop_asked);
                            stopped = true;
                        }
                        None => {
                            let told = !finished_later || completed_known || !complete;
                            prop_assert!(start_known && told);
                        }
                    }
                    prop_assert!(in_flight.is_none() || stopped, "two in flight");
                    prop_assert!(stopped || !stop_asked);
                    in_flight = Some(announce);
                }
                Step::Answer(interval, min_interval) => {
                    announcer.answered(now, &response(interval, min_interval));
                    match in_flight.take() {
                        STARTED => start_known = true,
                        COMPLETED => completed_known = true,
                        _ => {}
                    }
                }
                Step::Fail => {
                    announcer.failed(now, &mut rng);
                    in_flight = None;
                }
                Step::Complete => {
                    announcer.download_completed(now);
                    complete = true;
                    finished_later |= start_sent && !complete_at_start;
                }
                Step::Lose if !complete => {}
                Step::Lose => {
                    announcer.lost();
                    complete = false;
                    complete_at_start |= !finished_later;
                }
                Step::WantPeers => announcer.want_peers(now),
                Step::Stop => {
                    announcer.stop(now, Announcer::STOP_GRACE);
                    stop_asked = true;
                }
            }
            let idle = in_flight.is_none() && !announcer.is_finished();
            prop_assert!(!idle || announcer.poll_timeout().is_some(), "nothing to wait for");
        }

        // From here on the tracker is silent.
        announcer.stop(now, Announcer::STOP_GRACE);
        let asked = now;
        for _ in 0..3 {
            announcer.poll(now);
            now = announcer.poll_timeout().map_or(now, |timeout| timeout.max(now));
        }
        prop_assert!(announcer.is_finished());
        prop_assert!(now - asked <= Duration::from_secs(5));
    }
}
