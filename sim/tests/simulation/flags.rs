//! I-FLAG: plans that are run twice, with an option switched the second time.

use reseed_sim::{
    Engine, Plan, Report, Verdict,
    oracle::Code,
    plan::{Action, Feature, FlipPlan, PeerPlan, PlayerPlan, When},
};

use crate::plans::{self, leecher, run, seed, with_events};

const ENGINES: [Engine; 2] = [Engine::TurmoilNet, Engine::Turmoil];

fn switching(feature: Feature, peers: &[&str], mut plan: Plan) -> Plan {
    let peers = peers.iter().map(|name| (*name).to_owned()).collect();
    plan.flip = Some(FlipPlan { feature, peers });
    plan
}

fn checks(report: &Report) -> u64 {
    let checks = report.checks.iter().find(|(code, _)| *code == Code::Flag);
    checks.map_or(0, |(_, checks)| *checks)
}

fn pair() -> Plan {
    plans::plan(10, [seed("seed"), leecher("leecher", &["seed"])])
}

fn three() -> Plan {
    plans::plan(10, [seed("seed"), leecher("a", &["seed"]), leecher("b", &["seed", "a"])])
}

#[test]
fn of_two_peers_every_frame_is_the_same_with_peer_exchange_and_without() {
    for peers in [&["seed"][..], &["leecher"], &["seed", "leecher"]] {
        for engine in ENGINES {
            let report = run(&switching(Feature::Pex, peers, pair()), engine);
            assert_eq!(report.verdict, Verdict::Pass, "{:?} {:?}", report.failure, report.doubts);
            // Twenty blocks are requested and brought, and more is said beside that.
            assert!(checks(&report) > 40, "{}", checks(&report));
        }
    }
}

#[test]
fn of_three_peers_all_that_is_not_left_to_chance_is_the_same() {
    for feature in [Feature::Pex, Feature::Fast] {
        for engine in ENGINES {
            let report = run(&switching(feature, &["seed", "a", "b"], three()), engine);
            assert_eq!(report.verdict, Verdict::Pass, "{:?} {:?}", report.failure, report.doubts);
            assert!(checks(&report) >= 6, "{}", checks(&report));
        }
    }
}

#[test]
fn streaming_changes_no_more_than_who_is_asked_for_what_and_when() {
    let mut plan = three();
    plan.torrent.bitrate = Some(100_000);
    plan.peers[1].player = Some(PlayerPlan { start_ms: 0, from: 0, acts: Vec::new() });
    for engine in ENGINES {
        let report = run(&switching(Feature::Stream, &["a", "b"], plan.clone()), engine);
        assert_eq!(report.verdict, Verdict::Pass, "{:?} {:?}", report.failure, report.doubts);
        assert!(checks(&report) >= 6, "{}", checks(&report));
    }
}

/// The first run is what is reported; the second leaves no trace in it.
#[test]
fn a_second_run_changes_no_digest() {
    let once = run(&three(), Engine::TurmoilNet);
    let twice = run(&switching(Feature::Pex, &["a"], three()), Engine::TurmoilNet);
    assert_eq!((once.digest, once.events), (twice.digest, twice.events));
    assert_eq!((once.ended, once.peers), (twice.ended, twice.peers));
}

#[test]
fn a_plan_that_cannot_be_compared_is_unknown_and_says_why() {
    let strangers =
        plans::plan(10, [seed("seed"), leecher("a", &["seed"]), leecher("b", &["seed"])]);
    let late = [seed("seed"), PeerPlan { join_ms: 500, ..leecher("late", &[]) }];
    let mut late = plans::plan(10, late);
    late.peers[0].knows = vec!["late".to_owned()];
    let leaves = with_events(three(), [("b", Action::Leave, When::At(60_000))]);
    for (plan, why) in [
        (strangers, "a and b may learn of each other by it"),
        (late, "seed and late may learn of each other by it"),
        (leaves, "peers come and go"),
    ] {
        let mut plan = switching(Feature::Pex, &["seed"], plan);
        plan.limits.done_ms = 100_000;
        let report = run(&plan, Engine::TurmoilNet);
        assert_eq!(report.verdict, Verdict::Unknown, "{why}: {:?}", report.failure);
        assert!(report.doubts.iter().any(|doubt| doubt.contains(why)), "{:?}", report.doubts);
        assert_eq!(checks(&report), 0);
    }
}
