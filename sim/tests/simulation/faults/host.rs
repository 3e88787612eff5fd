//! Faults of hosts: pauses, and clocks that are wrong.

use std::net::Ipv4Addr;

use reseed_sim::{
    Engine, Plan, Verdict,
    plan::{CertificatePlan, Fault, TrackerPlan},
};

use super::{completed, delay, download, report};
use crate::plans::{announced, leecher, link_ms, plan, seed, told, with_fault};

#[test]
fn while_a_host_is_paused_nothing_of_it_goes_on() {
    for host in ["seed", "leecher"] {
        let delay = delay(Fault::Pause, &[host], 12_000);
        assert!((9.0..20.0).contains(&delay), "{host}: {delay} s");
    }
}

#[test]
fn two_pauses_of_one_host_end_with_the_later_one() {
    let plan = with_fault(download(), Fault::Pause, &["seed"], 2_000, 8_000);
    let plan = with_fault(plan, Fault::Pause, &["seed"], 4_000, 14_000);
    let [one, both] = [with_fault(download(), Fault::Pause, &["seed"], 2_000, 8_000), plan]
        .map(|plan| completed(&report(&plan), "leecher").since_epoch().as_secs_f64());
    assert!((5.0..7.5).contains(&(both - one)), "{one} s and {both} s");
}

#[test]
fn a_tracker_hears_of_a_paused_peer_late_and_is_not_surprised() {
    let plan = with_fault(announced(download()), Fault::Pause, &["leecher"], 2_000, 40_000);
    let report = report(&plan);
    assert_eq!(report.verdict, Verdict::Pass, "{:?} {:?}", report.failure, report.doubts);
}

#[test]
fn a_peer_that_leaves_while_it_is_paused_leaves_afterwards() {
    use reseed_sim::plan::{Action, When};
    let mut plan = with_fault(download(), Fault::Pause, &["leecher"], 2_000, 40_000);
    plan.peers.push(leecher("other", &["seed"]));
    plan.peers[2].address = Ipv4Addr::new(10, 0, 0, 9).into();
    let plan = crate::plans::with_events(plan, [("leecher", Action::Leave, When::At(5_000))]);
    let report = report(&plan);
    assert_eq!(report.verdict, Verdict::Pass, "{:?} {:?}", report.failure, report.doubts);
}

/// A closed swarm in which the leecher's certificate ends at 300 s.
fn closed() -> Plan {
    let mut plan = download();
    plan.torrent.closed = true;
    plan.peers[1].certificate = CertificatePlan::ExpiresMs(300_000);
    plan
}

/// Whether the seed finds that the leecher's certificate has ended, and how often the
/// fault fired.
fn ends_early(plan: &Plan) -> (bool, u64) {
    let (report, lines) = told(plan, Engine::TurmoilNet);
    assert_ne!(report.verdict, Verdict::Fail, "{:?}", report.failure);
    let ended = lines.iter().any(|line| line.contains("certificate has ended"));
    (ended, report.fired("clock-jump") + report.fired("clock-skew"))
}

#[test]
fn a_clock_that_is_ahead_ends_certificates_early() {
    let jump = Fault::ClockJump { by_ms: 3_600_000 };
    assert_eq!(ends_early(&closed()), (false, 0));
    let (ended, fired) = ends_early(&with_fault(closed(), jump, &["seed"], 5_000, 10_000));
    assert!(ended && fired > 0, "{fired}");
    // Whose clock it is makes the difference.
    let (ended, _) = ends_early(&with_fault(closed(), jump, &["leecher"], 5_000, 10_000));
    assert!(!ended);
}

#[test]
fn a_clock_that_goes_fast_ends_them_when_it_is_far_enough_ahead() {
    // In ten seconds it is 10 s ahead, or 1,000 s.
    for (ppm, expected) in [(1_000_000, false), (100_000_000, true)] {
        let skew = with_fault(closed(), Fault::ClockSkew { ppm }, &["seed"], 3_000, 13_000);
        let (ended, fired) = ends_early(&skew);
        assert!(ended == expected && fired > 0, "{ppm}: {ended}, {fired}");
    }
}

#[test]
fn virtual_time_does_not_jump_with_a_clock() {
    let jump = Fault::ClockJump { by_ms: -3_600_000 };
    let mut plan = closed();
    plan.peers[1].certificate = CertificatePlan::Valid;
    let plain = report(&plan);
    let jumped = report(&with_fault(plan, jump, &["seed", "leecher"], 5_000, 12_000));
    assert_eq!(jumped.verdict, Verdict::Pass, "{:?} {:?}", jumped.failure, jumped.doubts);
    assert_eq!(completed(&plain, "leecher"), completed(&jumped, "leecher"));
}

#[test]
fn the_tracker_has_no_clock_that_could_fail() {
    let mut plan = plan(1, [seed("seed")]);
    plan.tracker = Some(TrackerPlan {
        address: Ipv4Addr::new(10, 0, 255, 1).into(),
        interval_s: 5,
        silent: false,
        faults: Vec::new(),
        udp: false,
        link: link_ms(5),
    });
    let plan = with_fault(plan, Fault::Pause, &["tracker"], 1, 2);
    assert_eq!(
        plan.check().unwrap_err().to_string(),
        "fault 0, pause: the tracker has no disk, clock or tasks that could fail"
    );
}
