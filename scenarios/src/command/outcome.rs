//! A run, timed, and what is said of it.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use reseed::{Record, bytes, summary};
use reseed_sim::{Content, Report, Verdict, Watch};

use super::prepare::{Prepared, World};

/// What came of a run.
pub struct Outcome {
    /// What it says of itself.
    pub report: Report,
    /// How long it took.
    pub wall: Duration,
}

impl Outcome {
    /// Runs `prepared` to its end.
    pub fn of(
        prepared: &Prepared,
        world: &World,
        content: &Content,
        watch: &mut dyn Watch,
    ) -> Outcome {
        let started = wall_clock();
        let report = reseed_sim::run(&prepared.plan, content, world.engine, watch);
        Outcome { report, wall: started.elapsed() }
    }

    /// The run as one JSON object.
    pub fn record(&self, prepared: &Prepared, world: &World) -> Record {
        Record::new(&prepared.plan, world.engine, &self.report, self.wall)
    }

    /// Prints the verdict, its figures, and its reasons if it is no pass.
    pub fn print(&self, prepared: &Prepared, world: &World, out: &mut dyn Write) -> io::Result<()> {
        let report = &self.report;
        writeln!(
            out,
            "{}  digest {}, {:.3} s of virtual time in {:.3} s, {} events, {} hosts, {} useful",
            report.verdict,
            report.digest,
            report.ended.since_epoch().as_secs_f64(),
            self.wall.as_secs_f64(),
            report.events,
            report.hosts,
            bytes(report.useful_bytes),
        )?;
        self.print_reasons(prepared, world, out)
    }

    /// Prints why it is no pass, and how to see it again.
    pub fn print_reasons(
        &self,
        prepared: &Prepared,
        world: &World,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        if let Some(failure) = &self.report.failure {
            writeln!(out, "  {} failed at {} s:", failure.oracle, failure.at)?;
            for line in failure.evidence.lines() {
                writeln!(out, "    {line}")?;
            }
        }
        for doubt in &self.report.doubts {
            writeln!(out, "  doubt: {}", doubt.replace('\n', "\n    "))?;
        }
        if self.report.verdict != Verdict::Pass {
            writeln!(out, "  again: {}", world.replay_command(prepared))?;
        }
        Ok(())
    }
}

/// Prints what is about to run.
pub fn print_plan(prepared: &Prepared, world: &World, out: &mut dyn Write) -> io::Result<()> {
    let plan = &prepared.plan;
    writeln!(out, "{}, seed {}, on {}", plan.scenario, plan.seed, world.engine)?;
    if !prepared.about.is_empty() {
        writeln!(out, "  {}", prepared.about)?;
    }
    writeln!(out, "\n{}", summary(plan))
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a run takes is about the real world, and nothing in the run sees it"
)]
fn wall_clock() -> Instant {
    Instant::now()
}
