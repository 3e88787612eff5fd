//! `reseed shrink`

use std::{
    io::{self, Write},
    path::PathBuf,
};

use indicatif::{ProgressBar, ProgressStyle};
use miette::{IntoDiagnostic, miette};
use reseed_sim::{Plan, Shrink, Smallest};

use super::{
    Status, Stop, interrupt,
    prepare::{Prepared, World, is_file},
    repro,
};

/// Runs for one plan (count), unless others are asked for.
pub const RUNS_MAX: u64 = 2_000;

/// Makes a plan that fails as small as it can be and still fail for the same cause
///
/// Nothing of it is random: the same plan becomes the same smaller one. Ctrl-C ends it
/// with what is reached so far, and to shrink that goes on from there.
#[derive(clap::Args)]
pub struct Args {
    /// A plan, or a scenario with --seed
    #[arg(value_name = "FILE.toml|NAME")]
    scenario: String,
    /// What a scenario's plan is drawn from; a plan has its own
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    world: World,
    /// Where the smaller plan goes; a plan is replaced by it if nothing is said
    #[arg(long, value_name = "FILE.toml")]
    out: Option<PathBuf>,
    /// Runs at most
    #[arg(long, value_name = "N", default_value_t = RUNS_MAX)]
    runs: u64,
}

/// Shrinks what was asked for.
pub fn shrink(args: &Args) -> Result<Status, Stop> {
    let world = &args.world;
    let prepared = Prepared::new(&args.scenario, args.seed.unwrap_or_default(), world, None)?;
    let out = match (&args.out, prepared.is_plan, args.seed) {
        (_, false, None) => {
            return Err(miette!(help = "as in --seed 1", "{} needs a seed", args.scenario).into());
        }
        (_, true, Some(_)) => {
            return Err(miette!("{} is a plan, and has its seed", args.scenario).into());
        }
        (Some(out), ..) => out.clone(),
        (None, true, None) => PathBuf::from(&args.scenario),
        (None, false, Some(seed)) if is_file(&args.scenario) => {
            PathBuf::from(&args.scenario).with_extension(format!("{seed}.toml"))
        }
        (None, false, Some(seed)) => PathBuf::from(format!("{}-{seed}.toml", args.scenario)),
    };
    let before = prepared.plan.clone();
    let mut shrink = Shrink::new(prepared.plan, world.engine, args.runs).into_diagnostic()?;
    let interrupted = interrupt::flag()?;
    let bar = ProgressBar::new_spinner()
        .with_style(ProgressStyle::with_template("{spinner} {msg}").expect("it is well-formed"));
    let smallest = shrink.run(|shrink| {
        bar.set_message(format!("{} runs, {}", shrink.runs(), size(shrink.best())));
        bar.tick();
        !interrupted.is_set()
    });
    bar.finish_and_clear();
    repro::write(&out, shrink.best(), shrink.report(), world.engine)
        .map_err(|error| miette!("cannot write {}: {error}", out.display()))?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", shrink.cause())?;
    writeln!(stdout, "  before  {}", size(&before))?;
    writeln!(stdout, "  now     {}, after {} runs", size(shrink.best()), shrink.runs())?;
    let more = match smallest {
        Smallest::Yes => "nothing more can be taken away",
        Smallest::OutOfRuns => "there may be more to take away: shrink it again",
        Smallest::Interrupted => "interrupted: shrink it again to go on",
    };
    writeln!(stdout, "  {more}")?;
    writeln!(stdout, "  again   reseed replay {}", out.display())?;
    Ok(Status::Fail)
}

/// How large a plan is, in words.
pub fn size(plan: &Plan) -> String {
    let pieces = usize::try_from(plan.pieces()).unwrap_or(usize::MAX);
    size_of([plan.hosts(), plan.happenings(), pieces])
}

/// The same of these counts: hosts, events and faults together, pieces.
pub fn size_of(size: [usize; 3]) -> String {
    let words = size.into_iter().zip(["host", "event", "piece"]).map(|(count, what)| {
        let plural = if count == 1 { "" } else { "s" };
        format!("{count} {what}{plural}")
    });
    words.collect::<Vec<String>>().join(", ")
}
