//! Scenarios at many seeds.

use std::io::{self, Write};

use comfy_table::CellAlignment;
use indicatif::{ProgressBar, ProgressStyle};
use miette::miette;
use reseed::plain_table;
use reseed_sim::{Content, Verdict};

use super::{
    Status, Stop,
    outcome::Outcome,
    prepare::{Prepared, World},
    seeds::Seeds,
};

/// Reasons that are printed for one scenario (count): after that the table says
/// how many runs more there are.
const REASONS_MAX: usize = 5;

/// What is run, and how it is told.
pub struct Campaign<'a> {
    /// Where.
    pub world: &'a World,
    /// At which seeds.
    pub seeds: &'a Seeds,
    /// Whether a scenario ends at its first run that does not pass.
    pub until_failure: bool,
    /// Whether each run is told as a line of JSON, and nothing else is.
    pub json: bool,
}

/// What came of one scenario's runs.
#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    unknown: u64,
    /// The first seed that did not pass.
    first: Option<u64>,
    /// The first runs that did not pass.
    reasons: Vec<(Prepared, Outcome)>,
}

impl Campaign<'_> {
    /// Runs `scenarios` one after the other.
    pub fn run(&self, scenarios: &[String], real: Option<&Content>) -> Result<Status, Stop> {
        // What is wrong with a scenario is said before the first one runs.
        for scenario in scenarios {
            let prepared = Prepared::new(scenario, *self.seeds.0.start(), self.world, real)?;
            if prepared.is_plan {
                let help = "leave out --seeds";
                return Err(miette!(help = help, "{scenario} is a plan, and has its seed").into());
            }
        }
        let mut out = io::stdout().lock();
        let mut tallies = Vec::new();
        for scenario in scenarios {
            tallies.push(self.run_one(scenario, real, &mut out)?);
        }
        if !self.json {
            self.print(scenarios, &tallies, &mut out)?;
        }
        Ok(tallies.iter().map(Tally::status).fold(Status::Pass, Status::and))
    }

    fn run_one(
        &self,
        scenario: &str,
        real: Option<&Content>,
        out: &mut impl Write,
    ) -> Result<Tally, Stop> {
        let bar = progress_bar(scenario, self.seeds);
        let mut tally = Tally::default();
        for seed in self.seeds.0.clone() {
            let prepared = Prepared::new(scenario, seed, self.world, real)?;
            let generated = real.is_none().then(|| prepared.generate()).transpose()?;
            let content = real.or(generated.as_ref()).expect("there is one or the other");
            let outcome = Outcome::of(&prepared, self.world, content, &mut ());
            if self.json {
                let record = outcome.record(&prepared, self.world);
                serde_json::to_writer(&mut *out, &record).map_err(io::Error::from)?;
                writeln!(out)?;
            }
            tally.count(prepared, outcome);
            bar.inc(1);
            bar.set_message(format!("{} do not pass", tally.failed + tally.unknown));
            if self.until_failure && tally.first.is_some() {
                break;
            }
        }
        bar.finish_and_clear();
        Ok(tally)
    }

    fn print(
        &self,
        scenarios: &[String],
        tallies: &[Tally],
        out: &mut impl Write,
    ) -> io::Result<()> {
        let mut table = plain_table();
        table.set_header(["scenario", "engine", "runs", "pass", "fail", "unknown", "first"]);
        for (scenario, tally) in scenarios.iter().zip(tallies) {
            table.add_row([
                scenario.clone(),
                self.world.engine.to_string(),
                (tally.passed + tally.failed + tally.unknown).to_string(),
                tally.passed.to_string(),
                tally.failed.to_string(),
                tally.unknown.to_string(),
                tally.first.map_or("-".to_owned(), |seed| format!("seed {seed}")),
            ]);
        }
        for number in 2..6 {
            let column = table.column_mut(number).expect("there are seven");
            column.set_cell_alignment(CellAlignment::Right);
        }
        for line in table.lines() {
            writeln!(out, "{}", line.trim())?;
        }
        for (prepared, outcome) in tallies.iter().flat_map(|tally| &tally.reasons) {
            let plan = &prepared.plan;
            writeln!(out, "\n{}, seed {}: {}", plan.scenario, plan.seed, outcome.report.verdict)?;
            outcome.print_reasons(prepared, self.world, out)?;
        }
        Ok(())
    }
}

impl Tally {
    fn count(&mut self, prepared: Prepared, outcome: Outcome) {
        *match outcome.report.verdict {
            Verdict::Pass => &mut self.passed,
            Verdict::Fail => &mut self.failed,
            Verdict::Unknown => &mut self.unknown,
        } += 1;
        if outcome.report.verdict == Verdict::Pass {
            return;
        }
        self.first.get_or_insert(prepared.plan.seed);
        if self.reasons.len() < REASONS_MAX {
            self.reasons.push((prepared, outcome));
        }
    }

    fn status(&self) -> Status {
        match (self.failed, self.unknown) {
            (0, 0) => Status::Pass,
            (0, _) => Status::Unknown,
            _ => Status::Fail,
        }
    }
}

/// How far a scenario's runs are, on a terminal's standard error.
fn progress_bar(scenario: &str, seeds: &Seeds) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} seeds, {msg}")
        .expect("the template is well-formed");
    let bar = match seeds.count() {
        Some(count) => ProgressBar::new(count),
        None => ProgressBar::no_length(),
    };
    bar.with_style(style).with_prefix(scenario.to_owned())
}
