//! Several peers on one host: an address and a link in common, and each its own
//! port, tasks and disk. They reach each other by loopback.

use reseed_sim::{
    Engine, Plan, Report, Verdict,
    plan::{Action, PeerPlan, When},
};

use crate::plans::{self, leecher, seed, with_events};

const ENGINES: [Engine; 2] = [Engine::TurmoilNet, Engine::Turmoil];

/// These peers on one host, and the others each on its own.
fn plan(peers: impl IntoIterator<Item = PeerPlan>, together: &[&str]) -> Plan {
    let mut plan = plans::plan(20, peers);
    let mut shared = None;
    for peer in plan.peers.iter_mut().filter(|peer| together.contains(&peer.name.as_str())) {
        let (address, port) = shared.get_or_insert((peer.address, peer.port));
        (peer.address, peer.port) = (*address, *port);
        *port += 1;
    }
    plan
}

fn passes(plan: &Plan, engine: Engine) -> (Report, Vec<String>) {
    let (report, transcript) = plans::told(plan, engine);
    let Report { verdict, failure, doubts, .. } = &report;
    assert_eq!(*verdict, Verdict::Pass, "{engine}: {failure:?} {doubts:?}");
    (report, transcript)
}

#[test]
fn three_on_one_host_share_by_loopback_and_tell_each_other_of_it() {
    let peers = [seed("seed"), leecher("a", &["seed"]), leecher("b", &["seed", "a"])];
    let plan = plan(peers, &["seed", "a", "b"]);
    for engine in ENGINES {
        let (_, lines) = passes(&plan, engine);
        let told = |line: &&String| line.contains("ut_pex") && line.contains("+127.0.0.1:688");
        assert!(lines.iter().any(|line| told(&line)), "{engine}");
        let bare = |line: &&String| line.contains("→ 127.0.0.1");
        assert_eq!(lines.iter().find(bare), None, "{engine}: each has its name");
    }
}

/// A loopback address means somebody else there.
#[test]
fn those_on_other_hosts_are_not_told_of_loopback_addresses() {
    let peers = [
        seed("seed"),
        leecher("a", &["seed"]),
        leecher("far", &["seed", "a"]),
        leecher("farther", &["seed", "a", "far"]),
    ];
    let plan = plan(peers, &["seed", "a"]);
    for engine in ENGINES {
        let (_, lines) = passes(&plan, engine);
        assert!(lines.iter().any(|line| line.contains("→ far") && line.contains("ut_pex")));
        let told = |line: &&String| line.contains("→ far") && line.contains("+127.0.0.1");
        assert_eq!(lines.iter().find(told), None, "{engine}");
    }
}

#[test]
fn who_is_killed_leaves_the_others_on_its_host_alone() {
    let peers = [
        PeerPlan { upload_limit: Some(200_000), ..seed("seed") },
        leecher("a", &["seed"]),
        leecher("b", &["seed", "a"]),
    ];
    let half = When::Verified { peer: "a".to_owned(), pieces: 10 };
    let events = [("a", Action::Crash, half), ("a", Action::Start, When::After(0))];
    let mut plan = with_events(plan(peers, &["seed", "a", "b"]), events);
    plan.events[1].delay_ms = 3_000;
    for engine in ENGINES {
        let (report, lines) = passes(&plan, engine);
        assert!(lines.iter().any(|line| line == "a is killed"), "{engine}");
        assert_eq!(report.peers.len(), 3);
        assert_eq!(lines.iter().filter(|line| line.ends_with(" starts")).count(), 4);
    }
}

#[test]
fn the_same_plan_gives_the_same_digest() {
    let peers = [seed("seed"), leecher("a", &["seed"]), leecher("b", &["seed", "a"])];
    let plan = plan(peers, &["seed", "a", "b"]);
    for engine in ENGINES {
        assert_eq!(passes(&plan, engine).0.digest, passes(&plan, engine).0.digest, "{engine}");
    }
}
