//! Faults of the network.

use reseed_protocol::Time;
use reseed_sim::{
    Engine, Plan, Verdict,
    plan::{Fault, Lost},
};

use super::{completed, delay, download, report};
use crate::plans::{announced, leecher, plan, run, seed, with_fault};

#[test]
fn while_nothing_passes_nothing_comes_in() {
    for fault in [Fault::Partition, Fault::OneWay(Lost::Sent), Fault::OneWay(Lost::Received)] {
        let delay = delay(fault, &["seed"], 12_000);
        assert!((5.0..60.0).contains(&delay), "{fault:?}: {delay} s");
    }
    let delay = delay(Fault::LinkCut, &["seed", "leecher"], 12_000);
    assert!((5.0..60.0).contains(&delay), "{delay} s");
}

#[test]
fn a_partition_with_everybody_on_one_side_does_nothing() {
    let plan = with_fault(download(), Fault::Partition, &["seed", "leecher"], 2_000, 12_000);
    let report = report(&plan);
    assert_eq!(report.verdict, Verdict::Unknown);
    let doubt = "fault 0, partition of seed, leecher, never did anything";
    assert_eq!(report.doubts, [doubt]);
}

#[test]
fn a_link_cut_leaves_the_way_round() {
    let mut plan = plan(32, [seed("seed"), leecher("a", &["seed", "b"]), leecher("b", &["seed"])]);
    plan.peers[0].upload_limit = Some(64 * 1024);
    // For so long that whoever is cut off would not wait for it.
    let cut = report(&with_fault(plan.clone(), Fault::LinkCut, &["seed", "b"], 1_000, 900_000));
    let apart = report(&with_fault(plan, Fault::Partition, &["b"], 1_000, 900_000));
    assert!(completed(&cut, "b") < Time::from_secs(300), "{:?}", completed(&cut, "b"));
    assert!(completed(&apart, "b") > Time::from_secs(900), "{:?}", completed(&apart, "b"));
    assert!(cut.fired("link-cut") > 0 && apart.fired("partition") > 0);
}

#[test]
fn lost_and_late_packets_make_a_download_late() {
    let at_least = [
        (Fault::Loss { share: 0.3 }, 2.0),
        (Fault::BurstyLoss { begins: 0.05, ends: 0.1, bad: 0.8, good: 0.0 }, 2.0),
        (Fault::Reordering { share: 0.5, by_us: 2_000_000 }, 2.0),
        (Fault::Latency { more_us: 1_500_000 }, 2.0),
        (Fault::Jitter { most_us: 4_000_000 }, 2.0),
        (Fault::Bandwidth { bytes_per_s: 20_000 }, 5.0),
        (Fault::QueueOverflow { bytes_per_s: 100_000, queue: 20_000 }, 2.0),
    ];
    for (fault, least) in at_least {
        let delay = delay(fault, &["leecher"], 22_000);
        assert!(delay > least, "{fault:?}: {delay} s");
    }
}

#[test]
fn datagrams_that_come_twice_are_heard_twice() {
    let mut plan = announced(download());
    plan.tracker.as_mut().unwrap().udp = true;
    let announces = |plan: &Plan| {
        let report = report(plan);
        assert_eq!(report.verdict, Verdict::Pass, "{report:?}");
        (report.fired("duplication"), report.digest)
    };
    let twice = Fault::Duplication { share: 1.0 };
    let (none, before) = announces(&plan);
    let (some, after) = announces(&with_fault(plan, twice, &["tracker"], 2_000, 14_000));
    assert_eq!(none, 0);
    assert!(some > 0 && before != after);
}

#[test]
fn segments_that_come_twice_are_nothing_to_tcp() {
    let twice = Fault::Duplication { share: 1.0 };
    let report = report(&with_fault(download(), twice, &["seed"], 2_000, 12_000));
    assert_eq!(report.verdict, Verdict::Unknown, "{report:?}");
}

#[test]
fn a_plan_without_faults_is_as_if_there_were_none() {
    let unheard = Fault::Loss { share: 1.0 };
    let mut later = with_fault(download(), unheard, &["seed"], 9_000_000, 9_001_000);
    later.faults[0].if_possible = true;
    let [plain, later] = [download(), later].map(|plan| report(&plan));
    assert_eq!((plain.verdict, later.verdict), (Verdict::Pass, Verdict::Pass));
    assert_eq!(plain.digest, later.digest);
}

#[test]
fn several_faults_may_hold_at_once() {
    let plan = with_fault(download(), Fault::Loss { share: 0.1 }, &["seed"], 1_000, 9_000);
    let plan = with_fault(plan, Fault::Latency { more_us: 50_000 }, &["leecher"], 2_000, 8_000);
    let plan =
        with_fault(plan, Fault::Bandwidth { bytes_per_s: 90_000 }, &["leecher"], 3_000, 7_000);
    let report = report(&plan);
    assert_eq!(report.verdict, Verdict::Pass, "{:?} {:?}", report.failure, report.doubts);
    for name in ["loss", "latency", "bandwidth"] {
        assert!(report.fired(name) > 0, "{name}");
    }
}

#[test]
fn a_download_has_its_time_from_when_the_faults_are_over() {
    let mut plan = with_fault(download(), Fault::Partition, &["seed"], 2_000, 100_000);
    plan.limits.done_ms = 90_000;
    let report = report(&plan);
    assert_eq!(report.verdict, Verdict::Pass, "{:?} {:?}", report.failure, report.doubts);
    assert!(completed(&report, "leecher") > Time::from_secs(100));
}

#[test]
fn what_all_lies_in_the_first_tenth_shows_nothing() {
    let early = with_fault(download(), Fault::Loss { share: 0.5 }, &["seed"], 0, 1_000);
    let report = report(&early);
    assert_eq!(report.verdict, Verdict::Unknown, "{report:?}");
    assert!(report.doubts[0].contains("in the first tenth"), "{:?}", report.doubts);
}

#[test]
fn the_second_engine_says_what_it_cannot_do() {
    let plan = with_fault(download(), Fault::Partition, &["seed"], 2_000, 12_000);
    let report = run(&plan, Engine::Turmoil);
    assert_eq!(report.verdict, Verdict::Unknown);
    assert_eq!(report.doubts, ["turmoil cannot do what fault 0, partition, is to do"]);
}

#[test]
fn a_plan_whose_faults_make_no_sense_is_refused() {
    let loss = |share| Fault::Loss { share };
    let cases: [(Fault, &[&str], u64, &str); 7] = [
        (loss(1.5), &["seed"], 9, "fault 0, loss: `share` is 1.5, and a share is from 0 to 1"),
        (loss(0.5), &["sed"], 9, "fault 0, loss: there is no peer \"sed\""),
        (loss(0.5), &[], 9, "fault 0, loss: it is about no host"),
        (loss(0.5), &["seed", "seed"], 9, "fault 0, loss: seed is among its hosts twice"),
        (loss(0.5), &["tracker"], 9, "fault 0, loss: there is no tracker"),
        (loss(0.5), &["seed"], 0, "fault 0, loss: `for_ms` is 0, so that it would never hold"),
        (
            Fault::Latency { more_us: 0 },
            &["seed"],
            9,
            "fault 0, latency: `more_us` is 0, so that it could do nothing",
        ),
    ];
    for (fault, hosts, for_ms, message) in cases {
        let plan = with_fault(download(), fault, hosts, 1, 1 + for_ms);
        assert_eq!(plan.check().unwrap_err().to_string(), message);
    }
}
