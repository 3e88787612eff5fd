//! The packets of a replay, in a file.

use std::{
    io,
    path::{Path, PathBuf},
};

use reseed_sim::Capture;
use tempfile::NamedTempFile;

use super::{
    folder::{cannot_write, temporary},
    outcome::Outcome,
    prepare::{Prepared, World},
};

/// A file that takes all of a run's packets, or is not there.
pub struct Packets {
    path: PathBuf,
    file: NamedTempFile,
}

impl Packets {
    /// The file at `path`. Fails if nothing can be written there.
    pub fn open(path: &Path) -> miette::Result<Packets> {
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        let file = temporary(folder.unwrap_or(Path::new(".")));
        let file = file.map_err(|error| cannot_write(path, &error))?;
        Ok(Packets { path: path.to_owned(), file })
    }

    /// Writes it, with how to see the run again and what came of it.
    pub fn finish(
        self,
        capture: &Capture,
        prepared: &Prepared,
        world: &World,
        outcome: &Outcome,
    ) -> miette::Result<()> {
        let Packets { path, file } = self;
        let comments = comments(capture, prepared, world, outcome);
        let write = || {
            capture.write(&comments, io::BufWriter::new(&file))?;
            file.persist(&path).map_err(io::Error::from)
        };
        write().map(drop).map_err(|error| cannot_write(&path, &error))
    }
}

fn comments(
    capture: &Capture,
    prepared: &Prepared,
    world: &World,
    outcome: &Outcome,
) -> Vec<String> {
    let (plan, report) = (&prepared.plan, &outcome.report);
    let mut comments = vec![
        format!("{}, seed {}: {}", plan.scenario, plan.seed, prepared.about),
        format!("again: {} --pcap FILE.pcapng", world.replay_command(prepared)),
        format!("{}, digest {}", report.verdict, report.digest),
        format!("{} packets set out, {} of them got lost", capture.packets(), capture.lost()),
    ];
    if (0..plan.peers.len()).any(|peer| plan.shares_host(peer)) {
        let words = "what peers on one host tell each other does not leave it, and is not here";
        comments.push(words.to_owned());
    }
    if let Some(failure) = &report.failure {
        comments
            .push(format!("{} failed at {} s: {}", failure.oracle, failure.at, failure.evidence));
    }
    comments.extend(report.doubts.iter().map(|doubt| format!("doubt: {doubt}")));
    comments
}
