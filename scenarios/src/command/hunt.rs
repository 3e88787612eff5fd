//! `reseed hunt`

mod findings;
mod report;
mod results;
pub(super) mod workers;

use std::{
    collections::BTreeSet,
    io,
    ops::RangeInclusive,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use miette::{Report, miette};
use reseed_sim::Engine;

use self::{
    results::{Results, Under},
    workers::Ground,
};
use super::{
    Status, Stop,
    interrupt::{self, Interrupt},
    prepare::{World, source},
    seeds::Seeds,
    shrink::RUNS_MAX,
};

/// Rows that are kept at a time (count): what is lost if the process is killed.
const ROWS: usize = 256;

/// Runs scenarios at many seeds, on all cores, and keeps what does not pass
///
/// Failures are grouped by their cause. Of each group the smallest run is shrunk and
/// written to a folder of its own, with its transcript. Ctrl-C ends the hunt with what
/// was found so far. Exit status: 0 only if something was run, all of it was checked,
/// and nothing was found.
#[derive(clap::Args)]
pub struct Args {
    /// Names of the catalogue, or scenario files; `wild` if none
    #[arg(value_name = "NAME|FILE.toml", default_value = "wild")]
    scenarios: Vec<String>,
    /// Which seeds: A..B without B, or A..=B with it
    #[arg(long, value_name = "A..B", default_value = "1..=1000")]
    seeds: Seeds,
    /// For so long instead, as in 90s, 10m or 2h: from seed 1 on, or from the first that
    /// is not in the results
    #[arg(long = "for", value_name = "TIME", value_parser = duration, conflicts_with = "seeds")]
    time: Option<Duration>,
    /// Runs at a time; as many as there are cores if nothing is said
    #[arg(long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    /// The simulated network: turmoil-net, native or turmoil
    #[arg(long, default_value_t = Engine::TurmoilNet)]
    engine: Engine,
    /// Write this bug back into every peer; may be given several times
    #[arg(long = "defect", value_name = "DEFECT")]
    defects: Vec<reseed_protocol::Defect>,
    /// End with the first run that fails
    #[arg(long)]
    until_failure: bool,
    /// Keep what was run in this SQLite file, and leave out what is in it already
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
    /// Where what fails goes, in a folder for each cause
    #[arg(long, value_name = "DIR", default_value = "failures")]
    out: PathBuf,
    /// Run nothing, and tell what is in the results
    #[arg(long, requires = "results", conflicts_with_all = ["time", "jobs", "until_failure"])]
    report: bool,
    /// The report as one JSON object, and nothing else
    #[arg(long)]
    json: bool,
}

/// Hunts, or tells of hunts.
pub fn hunt(args: &Args) -> Result<Status, Stop> {
    if args.report {
        let file = args.results.as_deref().expect("it is required");
        if !file.exists() {
            return Err(miette!("there are no results in {}", file.display()).into());
        }
    }
    let grounds: Vec<Ground> =
        args.scenarios.iter().map(|argument| ground(argument)).collect::<Result<_, _>>()?;
    let mut results = Results::open(args.results.as_deref())?;
    let mut ran = 0;
    if !args.report {
        ran = run(args, &grounds, &mut results)?;
    }
    let groups = results.groups()?;
    let totals = results.totals()?;
    let mut out = io::stdout().lock();
    report::print(&totals, &groups, args.json, &mut out)?;
    let status = |verdict: &str| groups.iter().any(|group| group.verdict == verdict);
    Ok(match (status("fail"), status("unknown"), ran > 0 || args.report && totals.runs > 0) {
        (true, ..) => Status::Fail,
        (_, true, _) | (.., false) => Status::Unknown,
        _ => Status::Pass,
    })
}

/// Runs, and makes what it finds small; returns how many runs there were.
fn run(args: &Args, grounds: &[Ground], results: &mut Results) -> Result<u64, Stop> {
    let world = World { engine: args.engine, defects: args.defects.clone(), ..World::new() };
    let names: Vec<&str> = args.defects.iter().map(|defect| defect.name()).collect();
    let under = Under { engine: args.engine.to_string(), defects: names.join(",") };
    let jobs = args.jobs.map_or_else(cores, usize::from);
    let interrupt = interrupt::flag()?;
    let mut plan = Vec::new();
    for ground in grounds {
        // What is wrong with a scenario is said before anything runs.
        ground
            .plan(*args.seeds.0.start(), &world)
            .map_err(|no| miette!("{}: {no}", ground.argument))?;
        plan.push((ground, results.seeds(&ground.argument, &under)?));
    }
    let seeds = if args.time.is_some() { 1..=u64::MAX } else { args.seeds.0.clone() };
    let bar = bar(args, grounds.len());
    let began = wall_clock();
    let (mut ran, mut found, mut rows) = (0u64, BTreeSet::new(), Vec::new());
    let mut failed = Ok(());
    workers::run(jobs, &world, order(&plan, seeds), |row| {
        ran += 1;
        found.extend(row.cause.clone().filter(|_| row.verdict == "fail"));
        rows.push(row);
        let took = began.elapsed();
        if rows.len() == ROWS {
            failed = results.add(&std::mem::take(&mut rows), &under);
        }
        bar.set_position(args.time.map_or(ran, |_| took.as_secs()));
        let per_second = ran as f64 / took.as_secs_f64().max(0.001);
        bar.set_message(format!("{ran} runs, {per_second:.0} a second, {} causes", found.len()));
        let enough = args.until_failure && !found.is_empty();
        let out_of_time = args.time.is_some_and(|time| took >= time);
        failed.is_ok() && !interrupt.is_set() && !out_of_time && !enough
    });
    bar.finish_and_clear();
    failed?;
    results.add(&rows, &under)?;
    results.finish(ran, jobs, began.elapsed())?;
    make_small(args, grounds, &world, results, &interrupt)?;
    Ok(ran)
}

/// All of `seeds`, for each of them every scenario in which it was not run before.
fn order<'a>(
    plan: &'a [(&'a Ground, BTreeSet<u64>)],
    seeds: RangeInclusive<u64>,
) -> impl Iterator<Item = (&'a Ground, u64)> + Send + 'a {
    seeds.flat_map(move |seed| {
        let fresh = plan.iter().filter(move |(_, before)| !before.contains(&seed));
        fresh.map(move |(ground, _)| (*ground, seed))
    })
}

fn make_small(
    args: &Args,
    grounds: &[Ground],
    world: &World,
    results: &Results,
    interrupt: &Interrupt,
) -> Result<(), Stop> {
    let under: Vec<&str> = world.defects.iter().map(|defect| defect.name()).collect();
    for group in results.groups()? {
        let is_ours = group.verdict == "fail" && group.defects == under.join(",");
        let ground = grounds.iter().find(|ground| ground.argument == group.scenario);
        let (true, None, Some(ground)) = (is_ours, &group.shrunk, ground) else { continue };
        if let Some((folder, size)) =
            findings::write(&args.out, &group, ground, world, RUNS_MAX, interrupt)?
        {
            results.shrunk(&group, &folder.to_string_lossy(), size)?;
        }
    }
    Ok(())
}

pub(super) fn ground(argument: &str) -> Result<Ground, Stop> {
    let source = source(argument)?;
    if source.is_plan() {
        let help = "reseed replay runs it, reseed shrink makes it smaller";
        return Err(miette!(help = help, "{argument} is a plan, and always the same").into());
    }
    let scenario = source.read().map_err(|misread| Report::new(*misread))?;
    Ok(Ground { argument: argument.to_owned(), scenario })
}

pub(super) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn bar(args: &Args, scenarios: usize) -> ProgressBar {
    let (length, unit) = match args.time {
        Some(time) => (Some(time.as_secs()), "s"),
        None => (args.seeds.count().and_then(|seeds| seeds.checked_mul(scenarios as u64)), "runs"),
    };
    let template = format!("{{bar:30}} {{pos}}/{{len}} {unit}, {{msg}}");
    let style = ProgressStyle::with_template(&template).expect("it is well-formed");
    length.map_or_else(ProgressBar::no_length, ProgressBar::new).with_style(style)
}

/// `90s`, `10m`, `2h`.
fn duration(text: &str) -> Result<Duration, String> {
    let no = || format!("{text:?} is no time, expected as in 90s, 10m or 2h");
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        _ => return Err(no()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| no())?;
    let seconds = count.checked_mul(unit).filter(|seconds| *seconds > 0);
    seconds.map(Duration::from_secs).ok_or_else(no)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a hunt is in the real world; its runs do not see it"
)]
fn wall_clock() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for text in ["", "10", "m", "0s", "-1m", "1d", "999999999999999999h"] {
            assert!(duration(text).unwrap_err().contains("expected as in"), "{text}");
        }
    }
}
