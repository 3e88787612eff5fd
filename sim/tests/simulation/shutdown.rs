//! A peer can be told to exit at any moment, whatever it does then: it is gone in
//! time, has told its tracker, and has saved what it should.

use proptest::prelude::*;
use reseed_sim::{
    Engine, Plan, Report, Verdict,
    oracle::Code,
    plan::{Action, AppPlan, Exit, Has, PeerPlan, When},
};

use crate::plans::{self, announced, leecher, plan, private, seed, with_events};

fn run(plan: &Plan) -> Report {
    plans::run(plan, Engine::TurmoilNet)
}

/// Any program around a peer, within what a grace period for a tracker takes.
fn any_app() -> impl Strategy<Value = AppPlan> {
    let exit =
        prop_oneof![Just(Exit::Never), Just(Exit::Finished), (0u64..5_000).prop_map(Exit::Seeded),];
    (exit, 100u64..5_000, any::<bool>(), 0u64..6_000, 0u32..4, 0u64..40_000).prop_map(
        |(exit_when, poll_ms, checkpoint, grace_ms, downloads, callback_ms)| AppPlan {
            exit_when,
            poll_ms,
            checkpoint,
            grace_ms,
            downloads,
            callback_ms,
        },
    )
}

prop_compose! {
    /// A seed and a leecher, of which the second is interrupted once or twice, at any
    /// time from its start to long after its end.
    fn any_plan()(
        seed_of_run: u64,
        perturbation in 0.0..0.5,
        app in any_app(),
        at in 0u64..12_000,
        again in prop::option::of(0u64..400),
        silent: bool,
        secluded: bool,
        has in 0u32..=12,
        rate in 20_000u64..200_000,
    ) -> Plan {
        let uploads = PeerPlan { upload_limit: Some(rate), ..seed("seed") };
        let has = Has::Pieces((0..has).collect());
        let leecher = PeerPlan { app, has, ..leecher("leecher", &["seed"]) };
        let ctrl_c = |at| ("leecher", Action::Interrupt, When::At(at));
        let interrupts = std::iter::once(ctrl_c(at)).chain(again.map(|gap| ctrl_c(at + gap)));
        let mut plan = with_events(announced(plan(12, [uploads, leecher])), interrupts);
        plan.tracker.as_mut().expect("it is announced").silent = silent;
        let plan = if secluded { private(plan) } else { plan };
        Plan { seed: seed_of_run, perturbation, ..plan }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..Default::default() })]

    #[test]
    fn whenever_it_is_interrupted_it_exits_in_time_and_leaves_nothing_undone(plan in any_plan()) {
        let report = run(&plan);
        prop_assert!(report.failure.is_none(), "{:#?}\nof {plan:?}", report.failure);
        prop_assert!(report.checks.iter().any(|(code, count)| *code == Code::Stop && *count == 2));
    }
}

#[test]
fn a_client_with_nothing_to_do_exits_at_once() {
    let app = AppPlan { downloads: 0, ..AppPlan::default() };
    let idle = PeerPlan { app, ..leecher("idle", &[]) };
    let report = run(&plan(5, [seed("seed"), leecher("leecher", &["seed"]), idle]));
    assert_eq!(report.verdict, Verdict::Pass, "{:?} {:?}", report.failure, report.doubts);
}

#[test]
fn who_seeds_for_a_time_gives_something_back_before_it_exits() {
    let app = AppPlan { exit_when: Exit::Seeded(10_000), ..AppPlan::default() };
    let first = PeerPlan { app, ..leecher("first", &["seed"]) };
    // It knows only who exits, and is done before that.
    let second = PeerPlan { join_ms: 3_000, ..leecher("second", &["first"]) };
    let report = run(&plan(5, [seed("seed"), first, second]));
    assert_eq!(report.verdict, Verdict::Pass, "{:?} {:?}", report.failure, report.doubts);
    assert!(report.peers[1].uploaded > 0);
}

#[test]
fn an_interrupt_of_one_who_has_exited_is_no_doubt() {
    let app = AppPlan { exit_when: Exit::Finished, ..AppPlan::default() };
    let peers = [seed("seed"), PeerPlan { app, ..leecher("leecher", &["seed"]) }];
    let late = ("leecher", Action::Interrupt, When::At(60_000));
    let report = run(&with_events(plan(5, peers), [late]));
    assert_eq!((report.verdict, report.doubts), (Verdict::Pass, vec![]), "{:?}", report.failure);
}
