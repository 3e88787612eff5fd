//! Every oracle fails where it should: each defect is written back into the peers
//! of a plan that passes without it.

mod plans;

use std::collections::BTreeSet;

use plans::{leecher, plan, private, seed, with_events};
use reseed_protocol::Defect;
use reseed_sim::{
    Content, Engine, Plan, Report, Verdict,
    oracle::Code,
    plan::{Action, Has, PeerPlan, When},
};

/// A plan in which a defect shows, and how.
struct Canary {
    plan: Plan,
    /// Whom the evidence names.
    peer: &'static str,
    /// What it says.
    says: &'static str,
}

fn canary(defect: Defect) -> Canary {
    let (plan, peer, says) = match defect {
        Defect::CancelKeepsRequest => {
            (two_seeds(), "leecher", "waits in the queue of #2, but is not in flight from it")
        }
        Defect::DisconnectWakesNobody => {
            (three_leave_and_one_stays(), "leecher", "has 0 of 1 pieces")
        }
        Defect::HaveBeforeCheck => (in_a_row(), "a", "which is not whole on its disk"),
        Defect::HaveCountedTwice => (in_a_row(), "b", "but 1 connections have it"),
        Defect::KeepsOwnDial => (halves(), "a", "each closed the other's connection"),
        Defect::LateCancelPanics => (two_seeds(), "seed", "is cancelled, but was never requested"),
        Defect::LoserStaysUnchoked => {
            (two_for_one_slot(), "seed", "2 upload slots in use; the limit is 1")
        }
        Defect::PexInPrivate => (private(two_seeds()), "leecher", "it offers ut_pex as 1"),
        Defect::RequestWhileChoked => (one_to_one(20), "leecher", "the remote chokes us"),
        Defect::TaskWithoutOwner => (one_to_one(5), "seed", "there is left: seed: task \"saver\""),
        Defect::TimerInThePast => (one_to_one(5), "seed", "times at 0.0"),
        Defect::UnboundedBacklog => (slow_seed(), "seed", "bytes; "),
        _ => panic!("{defect} has no plan to show itself in"),
    };
    Canary { plan, peer, says }
}

/// A seed, and one who has nothing.
fn one_to_one(pieces: u32) -> Plan {
    plan(pieces, [seed("seed"), leecher("leecher", &["seed"])])
}

/// Two seeds give the same blocks in the endgame.
fn two_seeds() -> Plan {
    plan(8, [seed("seed"), seed("other"), leecher("leecher", &["seed", "other"])])
}

/// The seed knows `a`'s dial only, and `b` gets everything from `a`.
fn in_a_row() -> Plan {
    plan(8, [seed("seed"), leecher("a", &["seed"]), leecher("b", &["a"])])
}

/// Each has what the other lacks, and dials it at the same moment.
fn halves() -> Plan {
    let half = |pieces: [u32; 4], peer| PeerPlan { has: Has::Pieces(pieces.into()), ..peer };
    plan(8, [half([0, 1, 2, 3], leecher("a", &["b"])), half([4, 5, 6, 7], leecher("b", &["a"]))])
}

/// Two who want the one upload slot for longer than the optimistic unchoke stays
/// with one of them.
fn two_for_one_slot() -> Plan {
    let seed = PeerPlan { upload_slots: 1, upload_limit: Some(20_000), ..seed("seed") };
    plan(50, [seed, leecher("a", &["seed"]), leecher("b", &["seed"])])
}

/// More requests wait than the seed's client sends in a second.
fn slow_seed() -> Plan {
    let seed = PeerPlan { upload_limit: Some(4_000_000), ..seed("seed") };
    plan(400, [seed, leecher("leecher", &["seed"])])
}

/// Every block is asked of three seeds, the most that the endgame asks; before one
/// comes they leave, and a fourth, of which nothing was asked, stays.
fn three_leave_and_one_stays() -> Plan {
    let slow = |name| PeerPlan { upload_limit: Some(1_000), ..seed(name) };
    let late = PeerPlan { join_ms: 1_000, knows: vec!["leecher".to_owned()], ..seed("late") };
    let leave = |name| (name, Action::Leave, When::At(3_000));
    let peers = [slow("x"), slow("y"), slow("z"), late, leecher("leecher", &["x", "y", "z"])];
    with_events(plan(1, peers), [leave("x"), leave("y"), leave("z")])
}

fn run(plan: &Plan) -> Report {
    let content = Content::generate(&plan.torrent).expect("the torrent can be made");
    reseed_sim::run(plan, &content, Engine::TurmoilNet, &mut ())
}

#[test]
fn every_defect_is_found_by_its_oracle_with_evidence_that_names_the_peer() {
    let mut wrong = Vec::new();
    for defect in Defect::ALL {
        let Canary { plan, peer, says } = canary(defect);
        let report = run(&Plan { defects: vec![defect], ..plan });
        let found = report.failure.as_ref().is_some_and(|failure| {
            let evidence = &failure.evidence;
            failure.oracle.to_string() == defect.oracle()
                && evidence.contains(peer)
                && evidence.contains(says)
        });
        if report.verdict != Verdict::Fail || !found {
            wrong.push(format!(
                "{defect}: {} expected, of {peer}, with {says:?}; got {} {:#?} {:?}",
                defect.oracle(),
                report.verdict,
                report.failure,
                report.doubts,
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn without_its_defect_each_plan_passes() {
    let mut wrong = Vec::new();
    for defect in Defect::ALL {
        let report = run(&canary(defect).plan);
        if report.verdict != Verdict::Pass {
            let (verdict, failure) = (report.verdict, report.failure);
            wrong.push(format!("{defect}: {verdict} {failure:#?} {:?}", report.doubts));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_oracle_of_a_run_has_a_defect_that_it_finds() {
    let found: BTreeSet<&str> = Defect::ALL.iter().map(|defect| defect.oracle()).collect();
    let report = run(&private(one_to_one(1)));
    for (code, _) in report.checks {
        assert!(found.contains(code.to_string().as_str()), "no defect proves {code}");
    }
}
