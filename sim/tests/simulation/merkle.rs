//! Merkle torrents on the simulated network: everybody ends up with the content
//! and the tree, whatever they had before. BEP 30.

use reseed_sim::{
    Engine, Plan, Verdict,
    plan::{Action, Has, PeerPlan, When},
};

use crate::plans::{self, leecher, private, run, seed, with_events};

/// Eight pieces of 40 000 bytes, which are no whole blocks, but for the last one.
fn plan(peers: Vec<PeerPlan>) -> Plan {
    let mut plan = plans::plan(9, peers);
    plan.torrent.piece_length = 40_000;
    plan.torrent.merkle = true;
    plan
}

fn passes(plan: &Plan, engine: Engine) {
    let report = run(plan, engine);
    assert_eq!(report.verdict, Verdict::Pass, "{engine}: {:?} {:?}", report.failure, report.doubts);
}

#[test]
fn a_leecher_gets_it_from_a_seed_that_has_nothing_but_the_content() {
    for engine in Engine::ALL {
        let plan = plan(vec![seed("seed"), leecher("leecher", &["seed"])]);
        passes(&plan, engine);
        passes(&private(plan), engine);
    }
}

#[test]
fn two_that_have_a_part_each_prove_it_to_each_other() {
    let part = |name, knows, pieces| PeerPlan { has: Has::Pieces(pieces), ..leecher(name, knows) };
    let a = part("a", &["b"], vec![0, 2, 4, 6]);
    let b = part("b", &[], vec![1, 3, 5, 7]);
    for engine in Engine::ALL {
        passes(&plan(vec![a.clone(), b.clone()]), engine);
    }
}

#[test]
fn who_lost_its_power_goes_on_with_the_tree_that_it_kept() {
    let mut plan = plan(vec![seed("seed"), leecher("leecher", &["seed"])]);
    // 12 s or so for a copy: resume data is saved once before the power is cut.
    plan.peers[0].upload_limit = Some(25_000);
    let late = When::Verified { peer: "leecher".to_owned(), pieces: 7 };
    let events = [(Action::Crash, late), (Action::Start, When::After(0))];
    let plan = with_events(plan, events.map(|(action, when)| ("leecher", action, when)));
    for engine in Engine::ALL {
        passes(&plan, engine);
    }
}
