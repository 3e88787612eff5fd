//! Trackers that do something wrong for a time: it happens, it alone is the cause of what
//! then comes of it, and everybody finishes.

use reseed_protocol::Time;
use reseed_sim::{
    Engine, Plan, Point, Report, Verdict,
    plan::{TrackerFault, TrackerFaultPlan},
};

use crate::plans::{announced, leecher, plan, run, seed};

/// Whether a run shows something.
type Shows = fn(&Report) -> bool;

const FAILS: Shows = |run| run.reached.contains(&Point::AnnounceFailed);

/// What a tracker does wrong, and what comes of it that would not come otherwise.
const KINDS: [(TrackerFault, Shows); 8] = [
    (TrackerFault::DeadAddresses { count: 10_000 }, |run| {
        run.reached.contains(&Point::DialTimedOut)
    }),
    (TrackerFault::Down, FAILS),
    (TrackerFault::NotBencode, FAILS),
    (TrackerFault::OwnAddress, |run| run.reached.contains(&Point::SelfConnection)),
    (TrackerFault::ServerError, FAILS),
    (TrackerFault::Slow { ms: 3_000 }, |run| {
        run.peers[1].completed.is_none_or(|at| at > Time::from_secs(3))
    }),
    (TrackerFault::Truncated, FAILS),
    (TrackerFault::WrongTypes, FAILS),
];

/// A seed and a leecher who learn of each other by the tracker alone.
fn by_tracker(faults: &[TrackerFault], udp: bool) -> Plan {
    let mut plan = announced(plan(10, [seed("seed"), leecher("leecher", &[])]));
    let tracker = plan.tracker.as_mut().unwrap();
    let fault = |fault: &TrackerFault| TrackerFaultPlan {
        fault: *fault,
        from_ms: 0,
        for_ms: 20_000,
        if_possible: false,
    };
    (tracker.udp, tracker.faults) = (udp, faults.iter().map(fault).collect());
    plan
}

#[test]
fn whatever_it_does_wrong_everybody_finishes() {
    for (engine, udp) in
        [(Engine::TurmoilNet, false), (Engine::TurmoilNet, true), (Engine::Turmoil, false)]
    {
        for (fault, _) in KINDS {
            let report = run(&by_tracker(&[fault], udp), engine);
            let what = format!("{} on {engine}, UDP {udp}", fault.name());
            let Report { verdict, failure, doubts, .. } = &report;
            assert_eq!(*verdict, Verdict::Pass, "{what}: {failure:?} {doubts:?}");
            assert!(report.fired(fault.name()) > 0, "{what}");
        }
    }
}

#[test]
fn each_fault_alone_is_the_cause_of_what_comes_of_it() {
    let without = run(&by_tracker(&[], false), Engine::TurmoilNet);
    for (fault, shows) in KINDS {
        let with = run(&by_tracker(&[fault], false), Engine::TurmoilNet);
        assert!(shows(&with), "{}: {:?}", fault.name(), with.reached);
        assert!(!shows(&without), "without {}: {:?}", fault.name(), without.reached);
    }
}

#[test]
fn a_fault_that_nobody_comes_upon_shows_nothing() {
    let mut plan = by_tracker(&[TrackerFault::Down], false);
    let fault = &mut plan.tracker.as_mut().unwrap().faults[0];
    (fault.from_ms, fault.for_ms) = (6_000, 1);
    let report = run(&plan, Engine::TurmoilNet);
    assert_eq!(report.verdict, Verdict::Unknown);
    assert_eq!(report.doubts, ["nobody ever came upon a fault of the tracker: tracker-down"]);
}

#[test]
fn faults_add_up() {
    let all: Vec<TrackerFault> = KINDS.iter().map(|(fault, _)| *fault).collect();
    let report = run(&by_tracker(&all, false), Engine::TurmoilNet);
    assert_eq!(report.verdict, Verdict::Unknown, "while it is down, it does nothing else wrong");
    let some = [TrackerFault::OwnAddress, TrackerFault::Slow { ms: 1_000 }];
    let report = run(&by_tracker(&some, false), Engine::TurmoilNet);
    assert_eq!(report.verdict, Verdict::Pass, "{:?} {:?}", report.failure, report.doubts);
    assert!(some.iter().all(|fault| report.fired(fault.name()) > 0));
}
