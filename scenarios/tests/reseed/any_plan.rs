//! What is so of every plan, tried on plans that the search would draw.

mod strategy;

use proptest::{
    prelude::*,
    test_runner::{RngSeed, TestError, TestRunner},
};
use reseed_protocol::Defect;
use reseed_sim::{Cause, Plan, Verdict, simpler};

use self::strategy::{any_plan, any_plan_with};
use crate::run;

/// The same cases each time: new ones are for `reseed hunt`.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn it_is_sound_and_reads_back_as_it_was_written(plan in any_plan()) {
        prop_assert_eq!(plan.check(), Ok(()));
        let text = toml::to_string(&plan).unwrap();
        prop_assert_eq!(toml::from_str::<Plan>(&text).unwrap(), plan);
    }

    #[test]
    fn what_becomes_simpler_and_simpler_ends_with_next_to_nothing(plan in any_plan()) {
        let mut last = plan;
        for _ in 0..1_000 {
            let Some(next) = simpler(&last).into_iter().next() else { break };
            last = next;
        }
        prop_assert_eq!(simpler(&last), []);
        prop_assert!(last.peers.len() <= 1 && last.faults.is_empty(), "{:?}", last);
    }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn nothing_fails_and_it_runs_the_same_way_again(plan in any_plan()) {
        let (first, second) = (run(&plan), run(&plan));
        prop_assert_ne!(first.verdict, Verdict::Fail, "{:?}", first.failure);
        prop_assert_eq!(first.digest, second.digest);
    }
}

#[test]
fn what_fails_becomes_as_small_as_a_hunt_makes_it() {
    let defect = Defect::LoserStaysUnchoked;
    let mut runner = TestRunner::new(ProptestConfig { max_shrink_iters: 2_000, ..cases(1_000) });
    let failed = runner.run(&any_plan_with(&[defect]), |plan| {
        let report = run(&plan);
        let cause = report.failure.as_ref().map(|failure| Cause::of(failure, &plan));
        let is_it = cause.is_some_and(|cause| cause.oracle.to_string() == defect.oracle());
        prop_assert!(!is_it);
        Ok(())
    });
    let Err(TestError::Fail(_, plan)) = failed else { panic!("{failed:?}") };
    assert!(plan.hosts() <= 4, "{} hosts", plan.hosts());
    assert!(plan.faults.is_empty() && plan.events.is_empty(), "{plan:?}");
}
