//! What hunts came to, on a screen or as JSON.

use std::io::{self, Write};

use comfy_table::CellAlignment;
use reseed::plain_table;
use reseed_client::Buggify;
use reseed_sim::{
    Point,
    plan::{Action, Behaviour, Fault, TrackerFault},
};
use serde::Serialize;

use super::results::{Group, Totals};
use crate::command::shrink::size_of;

/// All of it, as one JSON object.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    totals: &'a Totals,
    groups: &'a [Group],
    never_fired: Vec<&'static str>,
    never_reached: Vec<&'static str>,
}

/// Prints it.
pub fn print(
    totals: &Totals,
    groups: &[Group],
    json: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let is_in = |list: &[(String, u64)], name: &str| list.iter().any(|(known, _)| known == name);
    let reached = |point: &&Point| is_in(&totals.reached, point.name());
    let never_reached: Vec<&str> =
        Point::ALL.iter().filter(|point| !reached(point)).map(|point| point.name()).collect();
    let kinds = Action::ALL.iter().map(|action| action.name()).chain(Fault::NAMES.iter().copied());
    let kinds = kinds.chain(Behaviour::NAMES.iter().copied());
    let kinds = kinds.chain(TrackerFault::NAMES.iter().copied()).chain(["nat"]);
    let kinds = kinds.chain(Buggify::ALL.iter().map(|point| point.name()));
    let never_fired: Vec<&str> = kinds.filter(|name| !is_in(&totals.fired, name)).collect();
    if json {
        let document = Document { totals, groups, never_fired, never_reached };
        serde_json::to_writer(&mut *out, &document)?;
        return writeln!(out);
    }
    let Totals { runs, passed, per_second, .. } = totals;
    let unknown: u64 =
        groups.iter().filter(|group| group.verdict == "unknown").map(|group| group.runs).sum();
    let failed = runs - passed - unknown;
    writeln!(
        out,
        "{runs} runs, {per_second:.1} a second: {passed} pass, {failed} fail, {unknown} unknown"
    )?;
    if !groups.is_empty() {
        writeln!(out)?;
        table(groups, out)?;
    }
    writeln!(out, "\nevents and faults that came to pass: {}", list(&totals.fired))?;
    if !never_fired.is_empty() {
        writeln!(out, "events and faults that never did: {}", never_fired.join(", "))?;
    }
    writeln!(out, "points reached, in how many runs:")?;
    for (point, runs) in &totals.reached {
        writeln!(out, "  {runs:>8}  {point}")?;
    }
    for point in never_reached {
        writeln!(out, "     never  {point}")?;
    }
    Ok(())
}

fn table(groups: &[Group], out: &mut impl Write) -> io::Result<()> {
    let mut table = plain_table();
    table.set_header(["runs", "oracle", "cause", "smallest", "shrunk to", "in"]);
    for group in groups {
        let (size, folder) = match &group.shrunk {
            Some((folder, size)) => (size_of(*size), folder.clone()),
            None => ("-".to_owned(), "-".to_owned()),
        };
        let oracle = if group.oracle.is_empty() { &group.verdict } else { &group.oracle };
        let smallest = format!("{} seed {}", group.scenario, group.seed);
        table.add_row([
            group.runs.to_string(),
            oracle.clone(),
            group.cause.clone(),
            smallest,
            size,
            folder,
        ]);
    }
    table.column_mut(0).expect("there are six").set_cell_alignment(CellAlignment::Right);
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn list(counts: &[(String, u64)]) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    let words: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    words.join(", ")
}
