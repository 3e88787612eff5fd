//! `reseed run`

use std::io::{self, Write};

use comfy_table::{CellAlignment, Table};
use indicatif::{ProgressBar, ProgressStyle};
use reseed::{bytes, catalogue as entries, plain_table};
use reseed_sim::{Content, Progress, Watch};

use super::{
    Status, Stop,
    campaign::Campaign,
    outcome::{Outcome, print_plan},
    prepare::{Prepared, World},
    seeds::Seeds,
};

/// The seed of a run that was given none: always the same, so that a run without
/// arguments is as reproducible as any other.
const SEED: u64 = 1;

/// Runs scenarios and prints their verdicts
#[derive(clap::Args)]
pub struct Args {
    /// Names of the catalogue, or scenario files; all of the catalogue if none
    #[arg(value_name = "NAME|FILE.toml")]
    scenarios: Vec<String>,
    /// What all that is random in the run is drawn from
    #[arg(long, value_name = "N", default_value_t = SEED)]
    seed: u64,
    /// All of these seeds instead: A..B without B, or A..=B with it
    #[arg(long, value_name = "A..B", conflicts_with = "seed")]
    seeds: Option<Seeds>,
    /// With --seeds: go on to the next scenario after the first run that does not
    /// pass
    #[arg(long, requires = "seeds")]
    until_failure: bool,
    #[command(flatten)]
    world: World,
    /// One JSON object a run, a line each, and nothing else
    #[arg(long)]
    json: bool,
}

/// What is printed of each run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Its plan before, its verdict after, and a table in the end if there were
    /// several.
    Full,
    /// A row of the table.
    Table,
    /// A line of JSON.
    Json,
}

/// Runs what was asked for.
pub fn run(args: &Args) -> Result<Status, Stop> {
    let all = names();
    let scenarios = if args.scenarios.is_empty() { &all } else { &args.scenarios };
    if let Some(seeds) = &args.seeds {
        let Args { world, until_failure, json, .. } = args;
        let campaign = Campaign { world, seeds, until_failure: *until_failure, json: *json };
        return campaign.run(scenarios, world.content()?.as_ref());
    }
    let style = if args.json { Style::Json } else { Style::Full };
    run_all(scenarios, args.seed, &args.world, style)
}

/// Runs all of the catalogue, for a table of verdicts.
pub fn catalogue() -> Result<Status, Stop> {
    run_all(&names(), SEED, &World::new(), Style::Table)
}

fn names() -> Vec<String> {
    entries().iter().map(|entry| entry.name.to_owned()).collect()
}

fn run_all(arguments: &[String], seed: u64, world: &World, style: Style) -> Result<Status, Stop> {
    let real = world.content()?;
    let prepared = arguments
        .iter()
        .map(|argument| Prepared::new(argument, seed, world, real.as_ref()))
        .collect::<miette::Result<Vec<Prepared>>>()?;
    let mut out = io::stdout().lock();
    let mut outcomes = Vec::new();
    for (index, prepared) in prepared.iter().enumerate() {
        if style == Style::Full {
            if index > 0 {
                writeln!(out)?;
            }
            print_plan(prepared, world, &mut out)?;
        }
        let outcome = run_one(prepared, real.as_ref(), world)?;
        match style {
            Style::Full => outcome.print(prepared, world, &mut out)?,
            Style::Json => {
                let record = outcome.record(prepared, world);
                serde_json::to_writer(&mut out, &record).map_err(io::Error::from)?;
                writeln!(out)?;
            }
            Style::Table => {}
        }
        outcomes.push(outcome);
    }
    let all = || prepared.iter().zip(&outcomes);
    if style == Style::Table || style == Style::Full && outcomes.len() > 1 {
        if style == Style::Full {
            writeln!(out)?;
        }
        for line in verdicts(all(), world).lines() {
            writeln!(out, "{}", line.trim())?;
        }
    }
    if style == Style::Table {
        for (prepared, outcome) in all() {
            outcome.print_reasons(prepared, world, &mut out)?;
        }
    }
    let statuses = outcomes.iter().map(|outcome| Status::from(outcome.report.verdict));
    Ok(statuses.fold(Status::Pass, Status::and))
}

fn run_one(prepared: &Prepared, real: Option<&Content>, world: &World) -> miette::Result<Outcome> {
    let generated = match real {
        Some(_) => None,
        None => Some(prepared.generate()?),
    };
    let content = real.or(generated.as_ref()).expect("there is one or the other");
    let mut line = ProgressLine::new(&prepared.plan.scenario);
    let outcome = Outcome::of(prepared, world, content, &mut line);
    line.bar.finish_and_clear();
    Ok(outcome)
}

fn verdicts<'a>(runs: impl Iterator<Item = (&'a Prepared, &'a Outcome)>, world: &World) -> Table {
    let mut table = plain_table();
    table.set_header([
        "scenario",
        "seed",
        "engine",
        "verdict",
        "digest",
        "virtual s",
        "wall s",
        "events",
        "hosts",
        "useful",
    ]);
    for (prepared, Outcome { report, wall }) in runs {
        table.add_row([
            prepared.plan.scenario.clone(),
            prepared.plan.seed.to_string(),
            world.engine.to_string(),
            report.verdict.to_string(),
            report.digest.to_string(),
            format!("{:.3}", report.ended.since_epoch().as_secs_f64()),
            format!("{:.3}", wall.as_secs_f64()),
            report.events.to_string(),
            report.hosts.to_string(),
            bytes(report.useful_bytes),
        ]);
    }
    for number in 5..10 {
        let column = table.column_mut(number).expect("there are ten");
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// How far a run is, in one line on a terminal's standard error.
struct ProgressLine {
    bar: ProgressBar,
}

impl ProgressLine {
    fn new(scenario: &str) -> ProgressLine {
        let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} pieces, {msg}")
            .expect("the template is well-formed");
        let bar = ProgressBar::new(0).with_style(style).with_prefix(scenario.to_owned());
        ProgressLine { bar }
    }
}

impl Watch for ProgressLine {
    fn progress(&mut self, progress: Progress) {
        self.bar.set_length(progress.wanted);
        self.bar.set_position(progress.verified);
        let now = progress.now.since_epoch().as_secs_f64();
        self.bar.set_message(format!("{now:.1} s of virtual time, {} events", progress.events));
    }
}
