//! `reseed list`

use std::io::{self, Write};

use reseed::{Scenario, catalogue, plain_table};
use serde::Serialize;

use super::{Status, Stop};

/// Lists the scenarios of the catalogue
#[derive(clap::Args)]
pub struct Args {
    /// One JSON object a line: name, about, defects
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    about: &'a str,
    defects: Vec<&'static str>,
}

impl<'a> From<&'a Scenario> for Line<'a> {
    fn from(scenario: &'a Scenario) -> Line<'a> {
        let defects = scenario.defects.iter().map(|known| known.name.name()).collect();
        Line { name: &scenario.name, about: &scenario.about, defects }
    }
}

/// Prints the catalogue.
pub fn list(args: &Args) -> Result<Status, Stop> {
    let mut scenarios: Vec<Scenario> = Vec::new();
    for entry in catalogue() {
        scenarios.push(entry.source().read().map_err(|misread| miette::Report::new(*misread))?);
    }
    let mut out = io::stdout().lock();
    if args.json {
        for scenario in &scenarios {
            serde_json::to_writer(&mut out, &Line::from(scenario)).map_err(io::Error::from)?;
            writeln!(out)?;
        }
    } else {
        let mut table = plain_table();
        for Scenario { name, about, .. } in &scenarios {
            table.add_row([name, about]);
        }
        for line in table.lines() {
            writeln!(out, "{}", line.trim())?;
        }
    }
    Ok(Status::Pass)
}
