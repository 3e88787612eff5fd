//! What may always happen to a client, and seldom does.

use reseed_client::Buggify;
use reseed_protocol::Defect;
use reseed_sim::{
    Engine, Plan, Verdict,
    plan::{PeerPlan, ReportsPlan},
};

use crate::plans::{leecher, plan, run, seed};

/// Two seeds and two leechers, who report.
fn swarm(buggify: f64) -> Plan {
    let reports =
        ReportsPlan { interval_ms: 1_000, server: true, fails: 0.0, takes_ms: 20, log: true };
    let reporter = |name| PeerPlan {
        reports: Some(reports),
        upload_limit: Some(100_000),
        ..leecher(name, &["seed", "other"])
    };
    let seeds = ["seed", "other"].map(|name| PeerPlan { upload_limit: Some(50_000), ..seed(name) });
    let peers = seeds.into_iter().chain(["a", "b"].map(reporter));
    Plan { buggify, ..plan(20, peers) }
}

#[test]
fn all_of_it_happens_and_everybody_finishes_all_the_same() {
    for engine in [Engine::TurmoilNet, Engine::Turmoil] {
        let report = run(&swarm(0.5), engine);
        assert_eq!(report.verdict, Verdict::Pass, "{:?} {:?}", report.failure, report.doubts);
        for point in Buggify::ALL {
            assert!(report.fired(point.name()) > 0, "{} on {engine}", point.name());
        }
    }
}

#[test]
fn none_of_it_happens_unless_it_is_asked_for() {
    let report = run(&swarm(0.0), Engine::TurmoilNet);
    assert_eq!(report.verdict, Verdict::Pass);
    assert!(Buggify::ALL.iter().all(|point| report.fired(point.name()) == 0));
}

#[test]
fn a_defect_comes_out_that_does_not_otherwise() {
    let found = |share: f64| {
        let seeds = (0..12).filter(|seed| {
            let defects = vec![Defect::KeepsOwnDial];
            let plan = Plan { seed: *seed, defects, ..swarm(share) };
            run(&plan, Engine::TurmoilNet).verdict == Verdict::Fail
        });
        seeds.count()
    };
    assert_eq!(found(0.0), 0);
    assert!(found(0.2) > 0);
}
