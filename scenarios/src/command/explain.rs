//! `reseed explain`

use std::io::{self, Write};

use miette::{Report, miette};
use reseed::{Scenario, Source, catalogue, find, scenario::KnownDefect};
use reseed_protocol::Defect;

use super::{Status, Stop};

/// Tells what a scenario replays: what was reported, its cause, its fix, and the
/// commands that show it
#[derive(clap::Args)]
pub struct Args {
    /// A scenario of the catalogue, or a defect that one of them shows
    #[arg(value_name = "NAME")]
    name: String,
}

/// Prints the explanation.
pub fn explain(args: &Args) -> Result<Status, Stop> {
    let scenario = named(&args.name)?;
    let mut out = io::stdout().lock();
    tell(&scenario, &mut out)?;
    Ok(Status::Pass)
}

/// The scenario called `name`, or the one that shows the defect called `name`.
fn named(name: &str) -> miette::Result<Scenario> {
    let no_such = match find(name) {
        Ok(entry) => return read(&entry.source()),
        Err(error) => error,
    };
    let Ok(defect) = name.parse::<Defect>() else {
        let names: Vec<&str> = catalogue().iter().map(|entry| entry.name).collect();
        return Err(miette!(help = format!("expected one of {}", names.join(", ")), "{no_such}"));
    };
    for entry in catalogue() {
        let scenario = read(&entry.source())?;
        if scenario.defects.iter().any(|known| known.name == defect) {
            return Ok(scenario);
        }
    }
    Err(miette!("{defect} is in no scenario of the catalogue: {}", defect.summary()))
}

fn read(source: &Source) -> miette::Result<Scenario> {
    source.read().map_err(|misread| Report::new(*misread))
}

fn tell(scenario: &Scenario, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", scenario.name)?;
    writeln!(out, "  {}", scenario.about)?;
    if let Some(problem) = &scenario.problem {
        let headline = match problem.number {
            Some(number) => format!("Reported, as problem {number} of 2010"),
            None => "Reported".to_owned(),
        };
        for (headline, text) in [
            (headline.as_str(), &problem.reported),
            ("Cause", &problem.cause),
            ("Fix", &problem.fix),
        ] {
            writeln!(out, "\n{headline}")?;
            for line in text.trim().lines() {
                writeln!(out, "{}", format!("  {line}").trim_end())?;
            }
        }
    }
    for known in &scenario.defects {
        tell_defect(scenario, known, out)?;
    }
    if scenario.defects.is_empty() {
        writeln!(out, "\nRun it\n  reseed run {}", scenario.name)?;
    }
    Ok(())
}

/// A bug, and the commands that show it, its absence, and how it is found.
fn tell_defect(scenario: &Scenario, known: &KnownDefect, out: &mut impl Write) -> io::Result<()> {
    let KnownDefect { name: defect, seed, wild, .. } = known;
    let name = &scenario.name;
    writeln!(out, "\n{defect}")?;
    writeln!(out, "  {}", defect.summary())?;
    writeln!(out, "  as reported:     reseed replay {name} --seed {seed} --defect {defect}")?;
    writeln!(out, "                   fails, {}", defect.oracle())?;
    writeln!(out, "  as it should be: reseed replay {name} --seed {seed}")?;
    writeln!(out, "                   passes")?;
    if let Some(wild) = wild {
        writeln!(out, "  found by chance: reseed run wild --seed {wild} --defect {defect}")?;
    }
    Ok(())
}
