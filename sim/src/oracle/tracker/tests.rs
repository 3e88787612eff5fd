use std::net::{IpAddr, Ipv4Addr};

use reseed_protocol::{
    PeerId,
    tracker::Event::{self as Announced, Completed, Started, Stopped},
};

use super::{
    super::stage::{content, id, scene, torrent},
    *,
};
use crate::{
    SimDisk,
    plan::{Limits, PeerPlan, TrackerFault, TrackerFaultPlan},
};

/// A plan with a tracker that asks for an announce every 30 s.
fn plan(silent: bool) -> Plan {
    let link = LinkPlan { latency_us: 0, jitter_us: 0, bandwidth: None, queue: None };
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Plan {
        scenario: "test".to_owned(),
        seed: 0,
        perturbation: 0.0,
        buggify: 0.0,
        defects: Vec::new(),
        flip: None,
        limits: Limits { done_ms: 1, steps: 1 },
        torrent: content().plan(),
        tracker: Some(TrackerPlan {
            address,
            interval_s: 30,
            silent,
            udp: false,
            faults: Vec::new(),
            link,
        }),
        peers: vec![PeerPlan { announce: true, ..PeerPlan::new("leecher") }],
        events: Vec::new(),
        faults: Vec::new(),
    }
}

fn oracle(silent: bool) -> Tracker {
    let plan = plan(silent);
    Tracker::new(&plan, plan.tracker.as_ref().unwrap(), &content())
}

fn announce(event: Option<Announced>, left: u64) -> AnnounceRequest {
    AnnounceRequest {
        info_hash: content().metainfo().info_hash,
        peer_id: PeerId([1; 20]),
        port: 6881,
        uploaded: 0,
        downloaded: 0,
        left,
        event,
        numwant: None,
        compact: true,
        key: 0,
        tracker_id: None,
    }
}

/// The tracker hears `events` of one run, a second apart; what the last one gives.
fn hear(oracle: &mut Tracker, events: &[Option<Announced>]) -> Finding {
    let disk = SimDisk::new();
    let mut last = Ok(());
    for (second, event) in events.iter().enumerate() {
        assert_eq!(last, Ok(()), "before the last of {events:?}");
        last = oracle.announced(scene(0, second as u64, &disk), &announce(*event, 0));
    }
    last
}

#[test]
fn a_run_that_starts_completes_and_stops_is_right() {
    let mut oracle = oracle(false);
    let events = [Some(Started), None, Some(Completed), None, Some(Stopped)];
    assert_eq!(hear(&mut oracle, &events), Ok(()));
    assert_eq!(oracle.parted(0, true), Ok(()));
    assert_eq!(oracle.checks(), 6);
}

#[test]
fn what_was_not_answered_may_be_said_again() {
    for event in [Started, Completed] {
        let events = [Some(Started), Some(event), Some(event)];
        assert_eq!(hear(&mut oracle(false), &events), Ok(()));
    }
}

#[test]
fn events_out_of_order_are_found() {
    let wrong: [(&[Option<Announced>], &str); 6] = [
        (&[None], "an announce of torrent"),
        (&[Some(Completed)], "`completed` of torrent"),
        (&[Some(Started), None, Some(Started)], "came in the middle of a run"),
        (&[Some(Started), Some(Completed), Some(Started)], "came in the middle of a run"),
        (&[Some(Started), Some(Stopped), Some(Stopped)], "`stopped` of torrent"),
        (&[Some(Started), Some(Stopped), None], "came after `stopped`"),
    ];
    for (events, says) in wrong {
        let found = hear(&mut oracle(false), events).unwrap_err();
        assert!(found.contains(says), "{events:?}: {found}");
    }
}

#[test]
fn who_completes_has_nothing_left() {
    let (mut oracle, disk) = (oracle(false), SimDisk::new());
    let at = scene(0, 0, &disk);
    assert_eq!(oracle.announced(at, &announce(Some(Started), 5)), Ok(()));
    let found = oracle.announced(at, &announce(Some(Completed), 5)).unwrap_err();
    assert!(found.contains("came with bytes left"), "{found}");
}

#[test]
fn who_parts_has_said_so() {
    let mut oracle = oracle(false);
    assert_eq!(oracle.parted(0, true), Ok(()), "it never announced");
    hear(&mut oracle, &[Some(Started)]).unwrap();
    let found = oracle.parted(0, true).unwrap_err();
    assert!(found.contains("the tracker never heard `stopped` of torrent"), "{found}");
}

#[test]
fn announces_do_not_end_while_the_download_lives() {
    let mut oracle = oracle(false);
    hear(&mut oracle, &[Some(Started), None]).unwrap();
    assert_eq!(oracle.passed(Time::from_secs(36)), Ok(()));
    let found = oracle.passed(Time::from_secs(37)).unwrap_err();
    assert!(found.contains("leecher announced last at 1.000000 s"), "{found}");
    oracle.gone(0);
    assert_eq!(oracle.passed(Time::from_secs(37)), Ok(()), "who is gone need not");
}

#[test]
fn after_a_failure_the_peer_chooses_when_to_try_again() {
    let (mut oracle, disk) = (oracle(false), SimDisk::new());
    hear(&mut oracle, &[Some(Started)]).unwrap();
    let event = Event::AnnounceFailed { reason: "no answer".to_owned() };
    oracle.happened(scene(0, 15, &disk), &torrent(id(1)), &event).unwrap();
    assert_eq!(oracle.passed(Time::from_secs(1000)), Ok(()));
}

#[test]
fn of_a_silent_tracker_no_more_is_expected_than_the_order() {
    let mut oracle = oracle(true);
    hear(&mut oracle, &[Some(Started)]).unwrap();
    assert_eq!(oracle.passed(Time::from_secs(1000)), Ok(()));
    assert!(
        oracle.parted(0, true).is_err(),
        "it hears a `stopped`, and answers it no more than others"
    );
}

#[test]
fn a_new_run_starts_anew() {
    let mut oracle = oracle(false);
    hear(&mut oracle, &[Some(Started), None]).unwrap();
    oracle.started(0);
    assert_eq!(hear(&mut oracle, &[Some(Started)]), Ok(()));
}

#[test]
fn what_was_on_its_way_when_the_power_went_is_heard_and_means_nothing() {
    let mut oracle = oracle(false);
    hear(&mut oracle, &[Some(Started)]).unwrap();
    oracle.gone(0);
    assert_eq!(hear(&mut oracle, &[Some(Completed)]), Ok(()));
    assert_eq!(oracle.passed(Time::from_secs(1000)), Ok(()));
    oracle.started(0);
    assert!(hear(&mut oracle, &[Some(Completed)]).is_err(), "of the new run nothing was heard");
}

#[test]
fn who_has_stopped_and_is_gone_says_no_more() {
    let mut oracle = oracle(false);
    hear(&mut oracle, &[Some(Started), Some(Stopped)]).unwrap();
    oracle.gone(0);
    assert!(hear(&mut oracle, &[None]).is_err());
}

#[test]
fn who_was_held_up_may_take_its_time_over_what_it_sent_meanwhile() {
    let heard = |seconds| {
        let (mut oracle, disk) = (oracle(false), SimDisk::new());
        oracle.faulty(Time::from_secs(10), 0, true, false);
        oracle.faulty(Time::from_secs(20), 0, false, false);
        oracle.announced(scene(0, seconds, &disk), &announce(Some(Started), 1)).unwrap();
        oracle.passed(Time::from_secs(seconds + 60))
    };
    assert_eq!(heard(21), Ok(()), "its peer gave it up before the fault was over");
    assert!(heard(36).is_err());
}

#[test]
fn who_was_not_told_an_interval_need_not_keep_to_it() {
    let heard = |fault| {
        let mut plan = plan(false);
        let tracker = plan.tracker.as_mut().unwrap();
        tracker.faults.push(TrackerFaultPlan {
            fault,
            from_ms: 0,
            for_ms: 5_000,
            if_possible: false,
        });
        let mut oracle = Tracker::new(&plan, plan.tracker.as_ref().unwrap(), &content());
        let disk = SimDisk::new();
        oracle.announced(scene(0, 1, &disk), &announce(Some(Started), 1)).unwrap();
        oracle.passed(Time::from_secs(60))
    };
    assert_eq!(heard(TrackerFault::ServerError), Ok(()));
    assert!(heard(TrackerFault::OwnAddress).is_err());
}

#[test]
fn nobody_is_heard_while_the_tracker_is_down() {
    let heard = |from_ms| {
        let mut plan = plan(false);
        let (tracker, fault) = (plan.tracker.as_mut().unwrap(), TrackerFault::Down);
        tracker.faults.push(TrackerFaultPlan { fault, from_ms, for_ms: 5_000, if_possible: false });
        let mut oracle = Tracker::new(&plan, plan.tracker.as_ref().unwrap(), &content());
        let disk = SimDisk::new();
        oracle.announced(scene(0, 1, &disk), &announce(Some(Started), 1)).unwrap();
        oracle.passed(Time::from_secs(60))
    };
    assert_eq!(heard(29_000), Ok(()));
    assert!(heard(100_000).is_err());
}
