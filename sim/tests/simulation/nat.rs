//! Peers behind a NAT, who can dial and not be dialled.

use reseed_sim::{Engine, Plan, Point, Verdict, plan::PeerPlan};

use crate::plans::{announced, leecher, plan, run, seed};

/// A leecher that knows a seed behind a NAT.
fn behind_nat(nat: bool) -> Plan {
    plan(10, [PeerPlan { nat, ..seed("seed") }, leecher("leecher", &["seed"])])
}

#[test]
fn who_is_behind_a_nat_is_met_by_whom_it_dials() {
    for engine in Engine::ALL {
        let [with, without] = [true, false].map(|nat| run(&announced(behind_nat(nat)), engine));
        assert_eq!(with.verdict, Verdict::Pass, "{:?} {:?}", with.failure, with.doubts);
        assert!(with.fired("nat") > 0);
        assert!(with.reached.contains(&Point::DialTimedOut), "{:?}", with.reached);
        assert!(!without.reached.contains(&Point::DialTimedOut), "{:?}", without.reached);
        assert_eq!(without.fired("nat"), 0);
    }
}

#[test]
fn of_whom_it_knows_nothing_nobody_could_have_what_it_has() {
    let report = run(&behind_nat(true), Engine::TurmoilNet);
    assert_eq!(report.verdict, Verdict::Unknown, "{:?}", report.failure);
    assert!(report.doubts[0].starts_with("nobody could finish"), "{:?}", report.doubts);
    let report = run(&behind_nat(false), Engine::TurmoilNet);
    assert_eq!(report.verdict, Verdict::Pass);
}

#[test]
fn who_shares_its_host_is_in_front_of_no_nat() {
    let mut plan = behind_nat(true);
    plan.peers[1].address = plan.peers[0].address;
    plan.peers[1].port = 6882;
    plan.peers[0].if_possible = true;
    let report = run(&plan, Engine::TurmoilNet);
    assert_eq!((report.verdict, report.fired("nat")), (Verdict::Pass, 0), "{:?}", report.doubts);
}
