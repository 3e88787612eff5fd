//! Many runs at a time: a thread for each, and nothing shared between them.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, mpsc},
    thread,
};

use reseed::Scenario;
use reseed_sim::{Cause, Content, Plan, Report, Verdict};

use super::results::Row;
use crate::command::prepare::World;

/// A scenario that is hunted in.
pub struct Ground {
    /// What it was called.
    pub argument: String,
    /// What plans are made of.
    pub scenario: Scenario,
}

impl Ground {
    /// What is to happen at `seed`.
    pub fn plan(&self, seed: u64, world: &World) -> Result<Plan, String> {
        let plan = self.scenario.plan(seed).map_err(|no| no.to_string())?;
        Ok(Plan { defects: world.defects.clone(), ..plan })
    }
}

/// Runs that may wait to be taken in (count): whoever takes them in is quicker.
const WAITING_MAX: usize = 64;

/// Runs every scenario and seed that `next` gives out on `jobs` threads, and hands over what comes of
/// it in whatever order it comes. It ends when there is nothing more, or when `take`
/// says no.
pub fn run<'a>(
    jobs: usize,
    world: &World,
    next: impl Iterator<Item = (&'a Ground, u64)> + Send,
    mut take: impl FnMut(Row) -> bool,
) {
    let next = Mutex::new(next.fuse());
    let (to, rows) = mpsc::sync_channel(WAITING_MAX);
    thread::scope(|scope| {
        for _ in 0..jobs {
            let (next, to) = (&next, to.clone());
            scope.spawn(move || {
                loop {
                    let given = next.lock().expect("nobody panics over it").next();
                    let Some((ground, seed)) = given else { return };
                    if to.send(row(ground, seed, world)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(to);
        while let Ok(row) = rows.recv() {
            if !take(row) {
                break;
            }
        }
        // Whoever still runs finds nobody to tell, and ends.
        drop(rows);
    });
}

/// What comes of it at `seed`. A panic of the simulator itself is a failure like others.
fn row(ground: &Ground, seed: u64, world: &World) -> Row {
    let run = || -> Result<(Plan, Report), String> {
        let plan = ground.plan(seed, world)?;
        let content = Content::generate(&plan.torrent).map_err(|no| no.to_string())?;
        let report = reseed_sim::run(&plan, &content, world.engine, &mut ());
        Ok((plan, report))
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok((plan, report))) => told(&ground.argument, &plan, &report),
        Ok(Err(no)) => broken(&ground.argument, seed, "unknown", "plan", &no),
        Err(panic) => {
            let words = panic.downcast_ref::<String>().cloned();
            let words = words.or_else(|| panic.downcast_ref::<&str>().map(|it| it.to_string()));
            broken(&ground.argument, seed, "fail", "panic", &words.unwrap_or_default())
        }
    }
}

fn told(scenario: &str, plan: &Plan, report: &Report) -> Row {
    let (cause, evidence) = match (&report.failure, report.verdict) {
        (Some(failure), _) => {
            let cause = Cause::of(failure, plan);
            (Some((cause.oracle.to_string(), cause.words)), Some(failure.evidence.clone()))
        }
        (None, Verdict::Pass) => (None, None),
        (None, _) => {
            let first = report.doubts.first().and_then(|doubt| doubt.lines().next());
            let cause = Cause::words_of(first.unwrap_or_default(), plan);
            (Some((String::new(), cause)), Some(report.doubts.join("\n")))
        }
    };
    Row {
        scenario: scenario.to_owned(),
        seed: plan.seed,
        verdict: report.verdict.to_string(),
        cause,
        evidence,
        digest: report.digest.to_string(),
        size: size(plan),
        fired: report.fired.clone(),
        reached: report.reached.iter().map(|point| point.name()).collect(),
    }
}

/// Hosts, events and faults together, and pieces (counts).
pub fn size(plan: &Plan) -> [usize; 3] {
    [plan.hosts(), plan.happenings(), usize::try_from(plan.pieces()).unwrap_or(usize::MAX)]
}

fn broken(scenario: &str, seed: u64, verdict: &str, what: &str, words: &str) -> Row {
    Row {
        scenario: scenario.to_owned(),
        seed,
        verdict: verdict.to_owned(),
        cause: Some((what.to_owned(), words.lines().next().unwrap_or_default().to_owned())),
        evidence: Some(words.to_owned()),
        digest: String::new(),
        size: [0; 3],
        fired: Vec::new(),
        reached: Vec::new(),
    }
}
