//! `reseed list`

use std::io::{self, Write};

use reseed::{Scenario, catalogue, plain_table};
use serde::Serialize;

use super::{Status, Stop};

/// Lists the scenarios of the catalogue
#[derive(clap::Args)]
pub struct Args {
    /// One JSON object a line: name, about
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    about: &'a str,
}

/// Prints the catalogue.
pub fn list(args: &Args) -> Result<Status, Stop> {
    let mut scenarios: Vec<Scenario> = Vec::new();
    for entry in catalogue() {
        scenarios.push(entry.source().read().map_err(|misread| miette::Report::new(*misread))?);
    }
    let mut out = io::stdout().lock();
    if args.json {
        for Scenario { name, about, .. } in &scenarios {
            serde_json::to_writer(&mut out, &Line { name, about }).map_err(io::Error::from)?;
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
