//! Faults of disks.

use reseed_sim::{
    Engine, Plan, Report, Verdict,
    plan::{Action, EventPlan, Fault, When},
};

use super::{completed, delay, download, report};
use crate::plans::{leecher, live, plan, seed, told, with_events, with_fault};

/// What can go wrong when something is written.
const WRITES: [Fault; 3] = [
    Fault::DiskFull { room: 100_000 },
    Fault::WriteError { share: 0.5 },
    Fault::TornWrite { share: 0.5 },
];

#[test]
fn a_download_whose_disk_fails_says_so_and_goes_on_when_it_is_well_again() {
    for fault in WRITES {
        let delay = delay(fault, &["leecher"], 20_000);
        assert!(delay > 5.0, "{fault:?}: {delay} s");
        let plan = with_fault(download(), fault, &["leecher"], 2_000, 20_000);
        for engine in Engine::ALL {
            let (report, lines) = told(&plan, engine);
            assert_eq!(report.verdict, Verdict::Pass, "{fault:?}: {report:?}");
            let said = |line: &&String| line.contains("leecher cannot keep piece");
            assert!(lines.iter().any(|line| said(&line)), "{fault:?} on {engine}");
        }
    }
}

#[test]
fn what_is_torn_by_a_loss_of_power_is_not_believed() {
    let torn = Fault::TornWrite { share: 0.7 };
    let plan = with_fault(download(), torn, &["leecher"], 2_000, 6_000);
    let at = |ms| When::At(ms);
    let plan = with_events(
        plan,
        [("leecher", Action::Crash, at(5_000)), ("leecher", Action::Start, at(8_000))],
    );
    let report = report(&plan);
    assert_eq!(report.verdict, Verdict::Pass, "{:?} {:?}", report.failure, report.doubts);
}

#[test]
fn what_a_seed_cannot_read_it_does_not_give() {
    let fault = Fault::ReadError { share: 1.0 };
    let delay = delay(fault, &["seed"], 20_000);
    assert!(delay > 5.0, "{delay} s");
    let plan = with_fault(download(), fault, &["seed"], 2_000, 20_000);
    let (_, lines) = told(&plan, Engine::Turmoil);
    assert!(lines.iter().any(|line| line.contains("seed cannot read")));
}

#[test]
fn whoever_cannot_read_at_its_start_gets_the_rest_anew() {
    let mut plan = download();
    plan.peers.push(leecher("late", &["seed"]));
    plan.peers[2].address = [10, 0, 0, 9].into();
    plan.peers[2].has = reseed_sim::plan::Has::Pieces((0..100).collect());
    plan.peers[2].join_ms = 3_000;
    let downloaded = |report: &Report| report.peers[2].downloaded;
    let plain = report(&plan);
    let failing = Fault::ReadError { share: 0.6 };
    let failed = report(&with_fault(plan, failing, &["late"], 2_000, 10_000));
    assert_eq!(failed.verdict, Verdict::Pass, "{:?} {:?}", failed.failure, failed.doubts);
    assert!(failed.fired("read-error") > 0);
    assert!(downloaded(&failed) > downloaded(&plain), "some of it counts as missing");
}

#[test]
fn a_slow_disk_makes_its_host_slow() {
    // 88 pieces are left, and each is written for a second.
    let delay = delay(Fault::SlowDisk { op_us: 1_000_000 }, &["leecher"], 62_000);
    assert!(delay > 20.0, "{delay} s");
    let slow_seed = super::delay(Fault::SlowDisk { op_us: 500_000 }, &["seed"], 62_000);
    assert!(slow_seed > 20.0, "{slow_seed} s");
}

/// The seed's bits flip at 6 s. Another seed is there as well.
fn flipped(bits: u32) -> Plan {
    let mut plan = download();
    plan.peers.push(seed("other"));
    plan.peers[2].address = [10, 0, 0, 9].into();
    plan.peers[2].upload_limit = Some(64 * 1024);
    plan.peers[1].knows.push("other".to_owned());
    with_fault(plan, Fault::BitFlip { bits }, &["seed"], 6_000, 6_000)
}

#[test]
fn who_serves_what_has_flipped_on_its_disk_is_found_out_and_no_liar() {
    let (report, lines) = told(&flipped(40), Engine::TurmoilNet);
    assert_eq!(report.verdict, Verdict::Pass, "{:?} {:?}", report.failure, report.doubts);
    assert_eq!(report.fired("bit-flip"), 40);
    let found = |lines: &[String]| lines.iter().filter(|line| line.contains("corrupt")).count();
    assert!(found(&lines) > 0);
    let mut plain = flipped(1);
    plain.faults.clear();
    assert_eq!(found(&told(&plain, Engine::TurmoilNet).1), 0);
}

#[test]
fn who_alone_has_what_has_flipped_is_to_blame_for_nothing() {
    let plan = with_fault(download(), Fault::BitFlip { bits: 400 }, &["seed"], 3_000, 3_000);
    let mut plan = plan;
    plan.limits.done_ms = 60_000;
    let report = report(&plan);
    assert_eq!(report.verdict, Verdict::Unknown, "{:?}", report.failure);
    assert!(report.doubts[0].starts_with("nobody could finish"), "{:?}", report.doubts);
    assert!(report.doubts[0].contains("fault 0, bit-flip of seed, held from"));
}

#[test]
fn what_has_flipped_before_it_was_saved_is_found_at_the_next_start() {
    // The leecher loses power before it has saved anything, so all is hashed again.
    let flip = Fault::BitFlip { bits: 60 };
    let plan = with_fault(download(), flip, &["leecher"], 6_000, 6_000);
    let event = |action, at| EventPlan {
        peer: "leecher".to_owned(),
        action,
        when: When::At(at),
        delay_ms: 0,
        if_possible: false,
    };
    let mut plan = plan;
    plan.events = vec![event(Action::Crash, 7_000), event(Action::Start, 9_000)];
    let report = report(&plan);
    assert_eq!(report.verdict, Verdict::Pass, "{:?} {:?}", report.failure, report.doubts);
    assert!(completed(&report, "leecher").since_epoch().as_secs() > 16);
}

/// What is to be on a disk is not known beforehand there, and a flip is seen all the same.
#[test]
fn bits_flip_on_the_disk_of_who_views_a_live_stream() {
    let plan = live(plan(32, [seed("source"), leecher("viewer", &["source"])]), 60);
    let plan = with_fault(plan, Fault::BitFlip { bits: 40 }, &["viewer"], 3_000, 3_000);
    let report = report(&plan);
    assert_eq!(report.fired("bit-flip"), 40, "{:?} {:?}", report.failure, report.doubts);
    assert!(report.failure.is_none(), "{:?}", report.failure);
}

/// The stream does not wait until its disk has been left alone for long.
#[test]
fn who_views_a_live_stream_goes_on_when_its_disk_can_be_written_again() {
    for fault in [Fault::DiskFull { room: 0 }, Fault::WriteError { share: 1.0 }] {
        let plan = live(plan(32, [seed("source"), leecher("viewer", &["source"])]), 200);
        let report = report(&with_fault(plan, fault, &["viewer"], 3_000, 3_200));
        assert!(report.fired(fault.name()) > 0, "{fault:?}");
        // Most of it was played.
        assert_eq!(report.verdict, Verdict::Pass, "{:?} {:?}", report.failure, report.doubts);
    }
}

/// Of a live stream there is always more: its player misses what could not be read.
#[test]
fn who_views_a_live_stream_goes_on_when_its_disk_can_be_read_again() {
    let plan = live(plan(32, [seed("source"), leecher("viewer", &["source"])]), 60);
    let fault = Fault::ReadError { share: 1.0 };
    let plan = with_fault(plan, fault, &["viewer"], 3_000, 3_500);
    for engine in Engine::ALL {
        let (report, lines) = told(&plan, engine);
        assert_eq!(report.verdict, Verdict::Pass, "{:?} {:?}", report.failure, report.doubts);
        assert!(lines.iter().any(|line| line.contains("player cannot read a piece")), "{engine}");
    }
}
