//! Peers that mean no good: each does what it is there for, it alone is the cause of what
//! then happens, and the others finish all the same.

use reseed_sim::{
    Engine, Plan, Point, Report, Verdict,
    plan::{Behaviour, PeerPlan},
};

use crate::plans::{leecher, link_ms, plan, run, seed};

/// Whether a run shows something.
type Shows = fn(&Report) -> bool;

/// What a peer does, and what comes of it that would not come otherwise.
const KINDS: [(Behaviour, Shows); 8] = [
    (Behaviour::AnyBytes, |run| run.reached.contains(&Point::BrokeRules)),
    (Behaviour::ClaimsFalsely, |run| run.reached.contains(&Point::RequestRefused)),
    (Behaviour::FloodsPex { contacts: 2_000 }, |run| run.reached.contains(&Point::DialTimedOut)),
    (Behaviour::FloodsRequests { per_s: 500 }, |run| run.reached.contains(&Point::Rejected)),
    (Behaviour::HalfOpen { connections: 100 }, |run| {
        run.reached.contains(&Point::HandshakeTimedOut)
    }),
    // The seed sends more than anybody could need.
    (Behaviour::NeverReads, |run| run.peers[0].uploaded > PIECES * 32 * 1024),
    (Behaviour::NeverSends, |run| run.reached.contains(&Point::RequestTimedOut)),
    (Behaviour::Trickles { every_ms: 50 }, |run| run.reached.contains(&Point::RequestTimedOut)),
];

/// Pieces of the torrent (count).
const PIECES: u64 = 40;

/// A seed that takes its time, a leecher, and somebody whom the leecher knows as well.
fn among(behaviour: Behaviour) -> Plan {
    let seed = PeerPlan { upload_limit: Some(20_000), ..seed("seed") };
    let mallory = PeerPlan {
        behaviour,
        link: link_ms(5),
        knows: vec!["seed".to_owned(), "leecher".to_owned()],
        ..PeerPlan::new("mallory")
    };
    plan(PIECES as u32, [seed, leecher("leecher", &["seed", "mallory"]), mallory])
}

#[test]
fn each_does_what_it_is_there_for_and_the_others_finish() {
    for engine in Engine::ALL {
        for (behaviour, _) in KINDS {
            let (name, report) = (behaviour.name(), run(&among(behaviour), engine));
            let Report { verdict, failure, doubts, .. } = &report;
            assert_eq!(*verdict, Verdict::Pass, "{name} on {engine}: {failure:?} {doubts:?}");
            assert!(report.fired(name) > 0, "{name} on {engine}");
        }
    }
}

#[test]
fn each_alone_is_the_cause_of_what_comes_of_it() {
    let mut alone = among(Behaviour::NeverSends);
    alone.peers.pop();
    alone.peers[1].knows.pop();
    let without = run(&alone, Engine::TurmoilNet);
    assert_eq!(without.verdict, Verdict::Pass);
    for (behaviour, shows) in KINDS {
        let with = run(&among(behaviour), Engine::TurmoilNet);
        assert!(shows(&with), "{}: {:?}", behaviour.name(), with.reached);
        assert!(!shows(&without), "without {}: {:?}", behaviour.name(), without.reached);
    }
}

#[test]
fn a_run_in_which_it_never_came_to_that_shows_nothing() {
    let mut plan = among(Behaviour::NeverSends);
    plan.peers[1].knows.pop();
    plan.peers[2].knows.clear();
    let report = run(&plan, Engine::TurmoilNet);
    assert_eq!(report.verdict, Verdict::Unknown);
    let words = "mallory never came to do what it is there for: never-sends";
    assert_eq!(report.doubts, [words]);
    plan.peers[2].if_possible = true;
    assert_eq!(run(&plan, Engine::TurmoilNet).verdict, Verdict::Pass);
}
