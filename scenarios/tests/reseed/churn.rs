//! Peers that come and go by rate.

use reseed::Source;
use reseed_sim::{
    Plan, Report, Verdict,
    plan::{Action, When},
};

use crate::run;

/// Twelve visitors of a seed, who come and go as `churn` says.
fn visited(churn: &str, seed: u64) -> Plan {
    let text = format!(
        r#"
        name = "visited"
        torrent = {{ length = 1_048_576 }}
        tracker = {{ interval_s = 10 }}
        peers = [
            {{ name = "seed", has = "everything", upload_limit = 50_000 }},
            {{ name = "visitor", count = 12, {churn} }},
        ]
        "#
    );
    let source = Source { name: "visited".to_owned(), text };
    source.read().unwrap().plan(seed).unwrap()
}

const BUSY: &str = "churn = { arrivals_per_min = 24, departures_per_min = 20, for_s = 90, \
                    crashes = 0.5, returns = 0.8 }";

fn at(when: &When) -> u64 {
    match when {
        When::At(ms) => *ms,
        other => panic!("{other:?} is no time"),
    }
}

#[test]
fn they_come_and_go_as_often_as_it_says() {
    for seed in 0..20 {
        let plan = visited(BUSY, seed);
        let joins: Vec<u64> = plan.peers[1..].iter().map(|peer| peer.join_ms).collect();
        assert!(joins.is_sorted());
        assert!(joins.iter().all(|join| *join <= 30_000), "12 of them at 24 a minute: {joins:?}");
        let count = |action| plan.events.iter().filter(|event| event.action == action).count();
        let departures = count(Action::Leave) + count(Action::Crash);
        assert!((20..=30).contains(&departures), "seed {seed}: {departures} in 90 s");
        assert!(count(Action::Start) < departures);
        assert_eq!(plan, visited(BUSY, seed));
    }
}

#[test]
fn nobody_goes_who_is_not_there() {
    for seed in 0..20 {
        let plan = visited(BUSY, seed);
        for peer in &plan.peers {
            let mut own: Vec<_> =
                plan.events.iter().filter(|event| event.peer == peer.name).collect();
            own.sort_by_key(|event| at(&event.when));
            let (mut there, mut last) = (true, peer.join_ms);
            for event in own {
                assert!(at(&event.when) > last, "{event:?}");
                assert_eq!(there, event.action != Action::Start, "{event:?}");
                (there, last) = (!there, at(&event.when));
            }
        }
    }
}

#[test]
fn they_are_seen_to_come_and_go_and_who_stays_finishes() {
    let busy = run(&visited(BUSY, 1));
    assert_eq!(busy.verdict, Verdict::Pass, "{:?} {:?}", busy.failure, busy.doubts);
    for action in [Action::Leave, Action::Crash, Action::Start] {
        assert!(busy.fired(action.name()) > 0, "{}", action.name());
    }
    let is_whole = |run: &Report| run.peers.iter().all(|peer| peer.verified == 32);
    assert!(!is_whole(&busy), "{:?}", busy.peers);
    let quiet = run(&visited("join_s = 0", 1));
    assert!(is_whole(&quiet), "{:?}", quiet.peers);
    assert_eq!((quiet.verdict, quiet.fired), (Verdict::Pass, Vec::new()));
}
