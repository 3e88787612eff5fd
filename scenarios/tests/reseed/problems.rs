//! The bugs that scenarios know of: each as it was reported, and as it should have
//! been.

use reseed::{Scenario, catalogue, find, scenario::KnownDefect};
use reseed_protocol::Defect;
use reseed_sim::{Plan, Report, Verdict};

use crate::{run, snapshots};

fn scenario(name: &str) -> Scenario {
    find(name).unwrap().source().read().unwrap()
}

/// Each bug of each scenario of the catalogue.
fn known() -> Vec<(Scenario, KnownDefect)> {
    let scenarios = catalogue().iter().map(|entry| scenario(entry.name));
    scenarios
        .flat_map(|scenario| {
            let defects = scenario.defects.clone();
            defects.into_iter().map(move |known| (scenario.clone(), known))
        })
        .collect()
}

#[test]
fn with_its_defect_a_scenario_fails_as_it_was_reported() {
    let _settings = snapshots();
    for (scenario, KnownDefect { name: defect, seed, shows, .. }) in known() {
        let name = &scenario.name;
        let plan = Plan { defects: vec![defect], ..scenario.plan(seed).unwrap() };
        let report = run(&plan);
        assert_eq!(report.verdict, Verdict::Fail, "{name} with {defect}: {:?}", report.doubts);
        let failure = report.failure.expect("a run that fails has a failure");
        assert_eq!(
            failure.oracle.to_string(),
            defect.oracle(),
            "{name} with {defect}: {failure:?}"
        );
        for words in &shows {
            let evidence = &failure.evidence;
            assert!(evidence.contains(words), "{name} with {defect}: no {words:?} in {evidence}");
        }
        let told = format!("{} at {} s\n{}", failure.oracle, failure.at, failure.evidence);
        insta::assert_snapshot!(format!("defect-{name}-{defect}"), told);
    }
}

#[test]
fn without_its_defect_the_same_plan_passes() {
    for (scenario, KnownDefect { name: defect, seed, .. }) in known() {
        let report = run(&scenario.plan(seed).unwrap());
        let Report { verdict, failure, doubts, .. } = report;
        let name = &scenario.name;
        assert_eq!(verdict, Verdict::Pass, "{name} without {defect}: {failure:?} {doubts:?}");
    }
}

#[test]
fn a_scenario_that_replays_a_problem_tells_all_of_it() {
    for scenario in catalogue().iter().map(|entry| scenario(entry.name)) {
        let Some(problem) = &scenario.problem else { continue };
        for text in [&problem.reported, &problem.cause, &problem.fix] {
            assert!(!text.trim().is_empty(), "{} leaves something out", scenario.name);
        }
        assert!(!scenario.defects.is_empty(), "{} shows no defect", scenario.name);
    }
}

/// Seeds of `wild` at which it is to have found any of them (count).
const FOUND_WITHIN: u64 = 1000;

/// The same for those two that nobody could explain or reproduce.
const FOUND_SOON_WITHIN: u64 = 200;

#[test]
fn wild_finds_each_of_them_though_it_arranges_nothing_for_any() {
    let wild = scenario("wild");
    for (scenario, KnownDefect { name: defect, wild: seed, .. }) in known() {
        let name = &scenario.name;
        let seed = seed.unwrap_or_else(|| panic!("{name}: who knows how {defect} is found?"));
        let most = match defect {
            Defect::ShutdownFromCallback | Defect::NoTransporterWhenComplete => FOUND_SOON_WITHIN,
            _ => FOUND_WITHIN,
        };
        assert!((1..=most).contains(&seed), "{defect} is found at seed {seed}");
        let plan = Plan { defects: vec![defect], ..wild.plan(seed).unwrap() };
        let Report { verdict, failure, doubts, .. } = run(&plan);
        let oracle = failure.as_ref().map(|failure| failure.oracle.to_string());
        assert_eq!(
            oracle.as_deref(),
            Some(defect.oracle()),
            "wild at seed {seed} with {defect}: {verdict:?} {failure:?} {doubts:?}"
        );
        let without = run(&wild.plan(seed).unwrap());
        assert_eq!(without.verdict, Verdict::Pass, "wild at seed {seed}: {:?}", without.failure);
    }
}

#[test]
fn the_page_of_problems_says_of_each_where_it_shows() {
    let page = include_str!("../../../docs/problems.md");
    for (scenario, KnownDefect { name: defect, seed, wild, .. }) in known() {
        if scenario.problem.is_none() {
            continue;
        }
        let (name, oracle, wild) = (&scenario.name, defect.oracle(), wild.unwrap_or_default());
        let row = format!("| `{name}` | `{defect}` | {seed} | {oracle} | {wild} |");
        assert!(page.contains(&row), "no row {row:?} in docs/problems.md");
    }
}
