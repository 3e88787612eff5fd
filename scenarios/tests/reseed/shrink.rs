//! What `wild` finds becomes small, and stays what it was.

use reseed::{Source, find};
use reseed_protocol::Defect;
use reseed_sim::{Engine, NotShrunk, Plan, Shrink, Smallest};

use crate::plan;

/// Runs for one plan at most (count): it takes a few hundred.
const RUNS_MAX: u64 = 2_000;

fn wild(seed: u64, defect: Defect) -> Plan {
    Plan { defects: vec![defect], ..plan("wild", seed) }
}

fn shrunk(plan: Plan) -> Shrink {
    let mut shrink = Shrink::new(plan, Engine::TurmoilNet, RUNS_MAX).unwrap();
    assert_eq!(shrink.run(|_| true), Smallest::Yes);
    shrink
}

/// The first seed of `wild` that fails with `defect` on its own oracle.
fn found(defect: Defect) -> Plan {
    let mut plans = (1..=200).map(|seed| wild(seed, defect));
    let fails = |plan: &Plan| {
        Shrink::new(plan.clone(), Engine::TurmoilNet, 0)
            .is_ok_and(|shrink| shrink.cause().oracle.to_string() == defect.oracle())
    };
    plans.find(fails).expect("it is found within 200 seeds")
}

#[test]
fn what_is_left_fails_for_the_same_cause_with_next_to_nothing_around_it() {
    for (defect, hosts, events, pieces) in [
        // A complete peer, and somebody who unchokes it.
        (Defect::NoTransporterWhenComplete, 2, 0, 1),
        // One who is interrupted while its user takes his time over a callback.
        (Defect::ShutdownFromCallback, 1, 1, 1),
        (Defect::ClosedSwarmInOpenSwarm, 2, 0, 1),
        // Two that begin to prove their access at a time, to a third.
        (Defect::HandshakeReleasesLastPeer, 3, 0, 1),
    ] {
        let plan = found(defect);
        let before = Shrink::new(plan.clone(), Engine::TurmoilNet, 0).unwrap();
        let shrink = shrunk(plan);
        let best = shrink.best();
        assert_eq!(shrink.cause(), before.cause());
        assert!(best.hosts() <= hosts, "{defect}: {} hosts", best.hosts());
        assert!(best.pieces() <= pieces, "{defect}: {} pieces", best.pieces());
        assert_eq!((best.events.len(), best.perturbation), (events, 0.0), "{defect}");
    }
}

/// It took seven leechers who wait for a slot, until another seed was tried as well.
#[test]
fn what_took_many_peers_by_chance_is_left_with_few() {
    let name = "many-by-chance.toml".to_owned();
    let text = include_str!("shrink/many-by-chance.toml").to_owned();
    let shrink = shrunk(Source { name, text }.read_plan().unwrap());
    assert!(shrink.best().hosts() <= 4, "{} hosts", shrink.best().hosts());
}

#[test]
fn a_plan_always_becomes_the_same_one_and_can_be_gone_on_with() {
    let plan = found(Defect::NoTransporterWhenComplete);
    let whole = shrunk(plan.clone());
    let mut broken_off = Shrink::new(plan, Engine::TurmoilNet, RUNS_MAX).unwrap();
    assert_eq!(broken_off.run(|shrink| shrink.runs() < 5), Smallest::Interrupted);
    let again = shrunk(broken_off.best().clone());
    assert_eq!(again.best(), whole.best());
}

#[test]
fn what_is_left_is_a_file_that_needs_no_seed() {
    let shrink = shrunk(found(Defect::NoTransporterWhenComplete));
    let text = toml::to_string(shrink.best()).unwrap();
    let source = Source { name: "repro.toml".to_owned(), text };
    assert!(source.is_plan());
    assert_eq!(&source.read_plan().unwrap(), shrink.best());
    assert!(!find("wild").unwrap().source().is_plan());
}

#[test]
fn a_plan_that_passes_is_not_shrunk() {
    let plan = Plan { defects: Vec::new(), ..wild(1, Defect::ShutdownFromCallback) };
    let refused = Shrink::new(plan, Engine::TurmoilNet, RUNS_MAX);
    assert!(matches!(refused.err(), Some(NotShrunk::NoFailure(_))));
}

#[test]
fn a_plan_that_speaks_of_what_it_does_not_have_is_refused() {
    let plan = wild(1, Defect::ShutdownFromCallback);
    for (edit, message) in [
        ((|plan| plan.peers[0].knows.push("nobody".to_owned())) as fn(&mut Plan), "\"nobody\""),
        (|plan| plan.torrent.files.clear(), "nothing in it"),
        (|plan| plan.peers[1].name = plan.peers[0].name.clone(), "two of that name"),
        (|plan| plan.perturbation = 2.0, "no share"),
    ] {
        let mut plan = plan.clone();
        edit(&mut plan);
        let refused = plan.check().unwrap_err().to_string();
        assert!(refused.contains(message), "{refused}");
    }
}

#[test]
fn every_plan_of_the_catalogue_is_one_that_a_file_may_hold() {
    for entry in reseed::catalogue() {
        let plan = entry.source().read().unwrap().plan(3).unwrap();
        let source = Source { name: entry.name.to_owned(), text: toml::to_string(&plan).unwrap() };
        assert_eq!(source.read_plan().unwrap(), plan, "{}", entry.name);
    }
}
