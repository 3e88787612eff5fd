//! From a plan that fails to the smallest that fails for the same cause.
//!
//! A pass proposes plans that are simpler in one respect; the first that still fails
//! for the same cause takes the plan's place, and the pass goes on from it. That is
//! repeated until no pass has anything more to propose. Every proposal is simpler than
//! the plan that it came of, so it ends. Nothing is left to chance: the same plan
//! always becomes the same smaller one. What has been reached so far is itself a plan,
//! so that shrinking can be broken off, and be gone on with from there.

use std::collections::BTreeSet;

use xxhash_rust::xxh3::xxh3_64;

use crate::{Cause, Content, ContentError, Engine, Plan, Report, plan::PlanError, run};

mod passes;

/// A plan on its way to be small.
pub struct Shrink {
    engine: Engine,
    cause: Cause,
    best: Plan,
    report: Report,
    runs: u64,
    runs_max: u64,
    /// Digests of the plans that were tried, none of which shows it.
    tried: BTreeSet<u64>,
}

/// Whether there is more to be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Smallest {
    /// Nothing can be taken away.
    Yes,
    /// As many runs were made as were allowed.
    OutOfRuns,
    /// Whoever looks on wished it to end.
    Interrupted,
}

/// Why a plan cannot be made smaller.
#[derive(Debug, thiserror::Error)]
pub enum NotShrunk {
    /// It speaks of what it does not have.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// What it shares cannot be made.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// There is nothing to be kept while it becomes smaller.
    #[error("it does not fail: its verdict is {}", .0.verdict)]
    NoFailure(Box<Report>),
}

impl Shrink {
    /// Runs `plan`, and is ready to make it smaller with up to `runs_max` runs more.
    pub fn new(plan: Plan, engine: Engine, runs_max: u64) -> Result<Shrink, NotShrunk> {
        plan.check()?;
        let report = report(&plan, engine)?;
        let Some(failure) = &report.failure else {
            return Err(NotShrunk::NoFailure(Box::new(report)));
        };
        let cause = Cause::of(failure, &plan);
        let tried = BTreeSet::new();
        Ok(Shrink { engine, cause, best: plan, report, runs: 0, runs_max, tried })
    }

    /// Why it fails.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// The smallest plan so far.
    pub fn best(&self) -> &Plan {
        &self.best
    }

    /// What came of it.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Runs so far (count).
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// Goes on until nothing more can be taken away. `go_on` is asked before each run.
    pub fn run(&mut self, mut go_on: impl FnMut(&Shrink) -> bool) -> Smallest {
        loop {
            let before = self.best.clone();
            for pass in passes::ALL {
                let mut next = 0;
                while let Some(simpler) = pass(&self.best).into_iter().nth(next) {
                    if self.runs == self.runs_max {
                        return Smallest::OutOfRuns;
                    }
                    if !go_on(self) {
                        return Smallest::Interrupted;
                    }
                    // Where it is taken over, what was next is now at this place.
                    next += usize::from(!self.try_out(simpler));
                }
            }
            if self.best == before {
                return Smallest::Yes;
            }
        }
    }

    /// Whether `plan` takes the place of the best so far.
    fn try_out(&mut self, plan: Plan) -> bool {
        if plan == self.best || plan.check().is_err() || !self.tried.insert(fingerprint(&plan)) {
            return false;
        }
        self.runs += 1;
        let Ok(report) = report(&plan, self.engine) else { return false };
        let fails_alike =
            report.failure.as_ref().is_some_and(|failure| Cause::of(failure, &plan) == self.cause);
        if fails_alike {
            (self.best, self.report) = (plan, report);
        }
        fails_alike
    }
}

/// Plans that are simpler than `plan` in one respect each, those that save the most
/// first. Whether they fail as it does is another question.
pub fn simpler(plan: &Plan) -> Vec<Plan> {
    let all = passes::ALL.iter().flat_map(|pass| pass(plan));
    all.filter(|simpler| simpler != plan && simpler.check().is_ok()).collect()
}

fn report(plan: &Plan, engine: Engine) -> Result<Report, ContentError> {
    let content = Content::generate(&plan.torrent)?;
    Ok(run(plan, &content, engine, &mut ()))
}

fn fingerprint(plan: &Plan) -> u64 {
    xxh3_64(format!("{plan:?}").as_bytes())
}
