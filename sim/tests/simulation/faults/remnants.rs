//! What an earlier run, or somebody else, left on a disk.

use reseed_sim::{
    Verdict,
    plan::{Has, PeerPlan, Remnant},
};

use super::report;
use crate::plans::{leecher, plan, seed};

fn finds(has: Has, remnant: Remnant) -> PeerPlan {
    PeerPlan { has, remnant, ..leecher("leecher", &["seed"]) }
}

#[test]
fn what_is_not_true_is_got_and_what_is_true_is_found() {
    let some = || Has::Pieces(vec![0, 3]);
    for (has, remnant, missing) in [
        (Has::Nothing, Remnant::Nothing, 5),
        (Has::Nothing, Remnant::OtherBytes, 5),
        (some(), Remnant::OtherBytes, 3),
        (Has::Nothing, Remnant::StaleResume, 5),
        (Has::Nothing, Remnant::BrokenResume, 5),
        (some(), Remnant::BrokenResume, 3),
    ] {
        let plan = plan(5, [seed("seed"), finds(has.clone(), remnant)]);
        let report = report(&plan);
        let (what, failure) = ((has, remnant), &report.failure);
        assert_eq!(report.verdict, Verdict::Pass, "{what:?}: {failure:?} {:?}", report.doubts);
        assert_eq!(report.useful_bytes, missing * 32 * 1024, "{what:?}");
    }
}

#[test]
fn resume_data_of_what_is_there_is_not_stale() {
    let plan = plan(5, [seed("seed"), finds(Has::Pieces(vec![4]), Remnant::StaleResume)]);
    let error = plan.check().unwrap_err().to_string();
    assert!(error.contains("leecher: its resume data is not stale"), "{error}");
}
