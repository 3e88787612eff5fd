//! `reseed diff`

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use miette::miette;
use reseed_protocol::{Defect, Time};
use reseed_sim::{Content, Engine, Watch};

use super::{
    Status, Stop,
    folder::written,
    prepare::{Prepared, World, is_file},
};

/// How a saved trace begins.
const HEADLINE: &str = "# reseed trace";

/// Finds the first event in which two runs differ
///
/// A run is a scenario at a seed, as in swarm@7, a plan, or a trace that replay --trace
/// saved, of another build perhaps. Events are all that the digest is over: packets,
/// polls, frames, bytes that cross a stream, what torrents report. Exit status: 0 if
/// there is no difference, 1 if there is.
#[derive(clap::Args)]
pub struct Args {
    /// One run
    #[arg(value_name = "NAME@SEED|FILE")]
    first: String,
    /// The other
    #[arg(value_name = "NAME@SEED|FILE")]
    second: String,
    /// The simulated network: turmoil-net, native or turmoil
    #[arg(long, default_value_t = Engine::TurmoilNet)]
    engine: Engine,
    /// Write this bug back into the second run
    #[arg(long = "defect", value_name = "DEFECT")]
    defects: Vec<Defect>,
    /// Events to print that both have in common before, and that each has after
    #[arg(long, value_name = "N", default_value_t = 5)]
    context: usize,
}

/// A run's events, in words.
#[derive(Default)]
pub struct Events(Vec<String>);

impl Watch for Events {
    fn wants_events(&self) -> bool {
        true
    }

    fn event(&mut self, at: Time, event: &str) {
        self.0.push(format!("{at} {}", event.replace('\n', " ")));
    }
}

/// Compares what was asked for.
pub fn diff(args: &Args) -> Result<Status, Stop> {
    let first = events(&args.first, args.engine, &[])?;
    let second = events(&args.second, args.engine, &args.defects)?;
    let mut out = io::stdout().lock();
    let common = first.0.iter().zip(&second.0).take_while(|(one, other)| one == other).count();
    if common == first.0.len() && common == second.0.len() {
        writeln!(out, "no difference in {common} events")?;
        return Ok(Status::Pass);
    }
    writeln!(out, "{common} events in common")?;
    for event in &first.0[common.saturating_sub(args.context)..common] {
        writeln!(out, "    {event}")?;
    }
    for (name, Events(events)) in [(&args.first, &first), (&args.second, &second)] {
        writeln!(out, "then {name}, of {} events:", events.len())?;
        for event in events[common..].iter().take(args.context.max(1)) {
            writeln!(out, "    {event}")?;
        }
        if events.len() == common {
            writeln!(out, "    (it ends here)")?;
        }
    }
    Ok(Status::Fail)
}

/// Writes `events` to `file`, all or nothing.
pub fn save(file: &Path, title: &str, Events(events): &Events) -> miette::Result<()> {
    let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let text = format!("{HEADLINE} of {title}\n{}\n", events.join("\n"));
    let write = || written(folder, &text)?.persist(file).map_err(io::Error::from);
    write().map(drop).map_err(|error| miette!("cannot write {}: {error}", file.display()))
}

/// The events of a run, which is made, or of a saved trace.
fn events(argument: &str, engine: Engine, defects: &[Defect]) -> miette::Result<Events> {
    let (name, seed) = match argument.rsplit_once('@') {
        Some((name, seed)) => {
            let seed = seed.parse().map_err(|_| miette!("{argument}: {seed:?} is no seed"))?;
            (name, Some(seed))
        }
        None if is_file(argument) || Path::new(argument).exists() => {
            let text = fs::read_to_string(argument)
                .map_err(|error| miette!("cannot read {argument}: {error}"))?;
            if text.starts_with(HEADLINE) {
                return Ok(Events(text.lines().skip(1).map(str::to_owned).collect()));
            }
            (argument, None)
        }
        None => (argument, None),
    };
    let world = World { engine, defects: defects.to_vec(), ..World::new() };
    let prepared = Prepared::new(name, seed.unwrap_or_default(), &world, None)?;
    if prepared.is_plan == seed.is_some() {
        let help = "a scenario needs a seed, as in swarm@7; a plan and a trace have none to give";
        return Err(miette!(help = help, "{argument} is no run"));
    }
    let content: Content = prepared.generate()?;
    let mut events = Events::default();
    reseed_sim::run(&prepared.plan, &content, engine, &mut events);
    Ok(events)
}
