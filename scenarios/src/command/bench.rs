//! `reseed bench`

mod measure;
mod row;

use std::{
    env,
    io::{self, Write},
    process::{Command, Stdio},
};

use clap::ValueEnum;
use comfy_table::CellAlignment;
use miette::{IntoDiagnostic, WrapErr, miette};
use reseed::{bytes, plain_table};
use reseed_sim::Engine;

use self::row::Row;
use super::{Status, Stop};

/// Measures how quick the simulator is
///
/// The swarms are those that other simulators were measured with: one peer has
/// everything, the others come for it; each is a whole peer, and its oracles look on.
/// Without a set it measures all of them, each in a process of its own. Exit status: 0
/// only if every swarm did what it should.
#[derive(clap::Args)]
pub struct Args {
    /// One set of swarms
    #[arg(long)]
    set: Option<Set>,
    /// Only the swarm of so many peers; not of a hunt
    #[arg(long, value_name = "N", requires = "set", value_parser = clap::value_parser!(u32).range(2..1_000_000))]
    peers: Option<u32>,
    /// The simulated network: turmoil-net, native or turmoil; native if nothing is said, and
    /// for a hunt what a hunt takes
    #[arg(long, requires = "set")]
    engine: Option<Engine>,
    /// Without the oracles: what is left is what they cost
    #[arg(long, requires = "set")]
    unchecked: bool,
    /// One JSON object a swarm, a line each, and nothing else
    #[arg(long)]
    json: bool,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
pub enum Set {
    /// 16 MiB over links of 50 ms without limits
    #[value(name = "A")]
    A,
    /// The same over links of 1 MB/s each way
    #[value(name = "B")]
    B,
    /// 1 MiB in pieces of 16 KiB: how many such swarms a second
    #[serde(rename = "small")]
    Small,
    /// A thousand peers in set B, with a tracker and peer exchange
    #[serde(rename = "large")]
    Large,
    /// An hour of keepalives
    #[serde(rename = "idle")]
    Idle,
    /// Seeds of `wild`, on all cores
    #[serde(rename = "hunt")]
    Hunt,
}

/// One thing to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Subject {
    set: Set,
    /// Count; of a hunt there is none.
    peers: Option<u32>,
    engine: Engine,
    unchecked: bool,
}

impl Set {
    /// The sizes that are measured if none is asked for.
    fn sizes(self) -> &'static [u32] {
        match self {
            Set::A | Set::B => &[2, 10, 50, 200],
            Set::Small => &[2, 3, 5, 10],
            Set::Large | Set::Idle => &[1000],
            Set::Hunt => &[],
        }
    }

    /// What it is measured on if nothing else is asked for.
    fn engine(self) -> Engine {
        match self {
            Set::Hunt => Engine::TurmoilNet,
            _ => Engine::Native,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Set::A => "A",
            Set::B => "B",
            Set::Small => "small",
            Set::Large => "large",
            Set::Idle => "idle",
            Set::Hunt => "hunt",
        }
    }
}

/// Measures what was asked for.
pub fn bench(args: &Args) -> Result<Status, Stop> {
    let subjects = subjects(args)?;
    let mut rows = Vec::new();
    let mut out = io::stdout().lock();
    for subject in &subjects {
        // A process of its own has a peak of memory of its own.
        let row = match subjects.len() {
            1 => subject.measure()?,
            _ => subject.measure_apart()?,
        };
        if args.json {
            serde_json::to_writer(&mut out, &row).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            eprintln!("{}: {:.1} s", row.name(), row.wall_seconds);
        }
        rows.push(row);
    }
    if !args.json {
        print(&rows, &mut out)?;
    }
    Ok(rows.iter().fold(Status::Pass, |status, row| status.and(row.status())))
}

fn subjects(args: &Args) -> Result<Vec<Subject>, Stop> {
    let Args { set, peers, engine, unchecked, .. } = *args;
    let Some(set) = set else { return Ok(all()) };
    let engine = engine.unwrap_or(set.engine());
    if set == Set::Hunt && (peers.is_some() || unchecked) {
        return Err(miette!("a hunt draws its peers itself, and is nothing without oracles").into());
    }
    if matches!(set, Set::B | Set::Large) && engine == Engine::Turmoil {
        let help = "--set A is the same without it";
        return Err(
            miette!(help = help, "turmoil has no bandwidth, and this set is about that").into()
        );
    }
    let subject = |peers| Subject { set, peers, engine, unchecked };
    Ok(match (set, peers) {
        (Set::Hunt, _) => vec![subject(None)],
        (_, Some(_)) => vec![subject(peers)],
        (_, None) => set.sizes().iter().map(|peers| subject(Some(*peers))).collect(),
    })
}

/// All sets; those of ten peers without oracles, and on the other engines, as well.
fn all() -> Vec<Subject> {
    let mut subjects = Vec::new();
    for set in [Set::A, Set::B, Set::Small, Set::Large, Set::Idle] {
        for peers in set.sizes() {
            let on = |engine, unchecked| Subject { set, peers: Some(*peers), engine, unchecked };
            subjects.push(on(set.engine(), false));
            if *peers == 10 {
                subjects.push(on(set.engine(), true));
                subjects.push(on(Engine::TurmoilNet, false));
            }
            if *peers == 10 && set == Set::A {
                subjects.push(on(Engine::Turmoil, false));
            }
        }
    }
    let engine = Set::Hunt.engine();
    subjects.push(Subject { set: Set::Hunt, peers: None, engine, unchecked: false });
    subjects
}

impl Subject {
    fn measure(self) -> miette::Result<Row> {
        match self.peers {
            Some(peers) => measure::swarm(self, peers),
            None => measure::hunt(self),
        }
    }

    /// In another process.
    fn measure_apart(self) -> miette::Result<Row> {
        let command = env::current_exe().into_diagnostic().wrap_err("finding this program")?;
        let mut child = Command::new(command);
        child.args(["bench", "--json", "--set", self.set.name()]);
        child.args(["--engine", &self.engine.to_string()]);
        if let Some(peers) = self.peers {
            child.args(["--peers", &peers.to_string()]);
        }
        if self.unchecked {
            child.arg("--unchecked");
        }
        let done = child.stderr(Stdio::inherit()).output();
        let done = done.into_diagnostic().wrap_err("starting this program anew")?;
        serde_json::from_slice(&done.stdout).map_err(|error| {
            miette!("measuring {self:?} in a process of its own: {}: {error}", done.status)
        })
    }
}

fn print(rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
    let mut table = plain_table();
    table.set_header([
        "swarm",
        "verdict",
        "virtual s",
        "wall s",
        "MiB/s",
        "peer-s/s",
        "cases/s",
        "events",
        "packets",
        "peak",
        "digest",
    ]);
    for row in rows {
        table.add_row([
            row.name(),
            row.verdict.clone(),
            format!("{:.1}", row.sim_seconds),
            format!("{:.2}", row.wall_seconds),
            format!("{:.1}", row.useful_mib_per_s),
            format!("{:.0}", row.peer_seconds_per_wall_second),
            format!("{:.2}", row.cases_per_s),
            row.events.to_string(),
            row.packets.map_or("–".to_owned(), |packets| packets.to_string()),
            bytes(row.peak_rss_bytes >> 20 << 20),
            row.digest.clone(),
        ]);
    }
    for number in 2..10 {
        let column = table.column_mut(number).expect("there are eleven");
        column.set_cell_alignment(CellAlignment::Right);
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim())?;
    }
    if let Some(row) = rows.first() {
        writeln!(out, "\nSHA-1 here, in blocks of 16 KiB: {:.0} MB/s", row.sha1_mb_per_s)?;
    }
    for row in rows.iter().filter(|row| row.set == Set::Hunt) {
        let [used, cores] = [row.cpu_seconds / row.wall_seconds, row.cores as f64];
        writeln!(out, "The hunt kept {used:.2} of {cores} cores busy")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_is_in_all_of_them_and_can_be_asked_for_by_name() {
        for set in Set::value_variants() {
            assert!(all().iter().any(|subject| subject.set == *set), "{set:?}");
            assert_eq!(Set::from_str(set.name(), false).as_ref(), Ok(set));
            let json = serde_json::to_string(set).expect("it is a word");
            assert_eq!(json, format!("{:?}", set.name()));
        }
    }
}
