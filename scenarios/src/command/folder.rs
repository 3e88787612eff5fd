//! What a replay leaves behind.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use miette::{Report, miette};
use reseed::Record;
use serde::Serialize;
use tempfile::NamedTempFile;

use super::{outcome::Outcome, prepare::Prepared};

/// A folder that takes all there is to keep of a run, or nothing.
pub struct Folder {
    path: PathBuf,
    transcript: io::BufWriter<NamedTempFile>,
    failed: Option<io::Error>,
}

impl Folder {
    /// The folder at `path`, made if it is not there. Fails if nothing can be written
    /// there, and leaves no file.
    pub fn open(path: &Path) -> miette::Result<Folder> {
        let open = || {
            fs::create_dir_all(path)?;
            temporary(path)
        };
        let transcript = open().map_err(|error| cannot_write(path, &error))?;
        let transcript = io::BufWriter::new(transcript);
        Ok(Folder { path: path.to_owned(), transcript, failed: None })
    }

    /// Adds a line to the transcript.
    pub fn line(&mut self, line: &str) {
        if self.failed.is_none() {
            self.failed = self.transcript.write_all(line.as_bytes()).err();
        }
    }

    /// Writes all of it.
    pub fn finish(
        self,
        prepared: &Prepared,
        record: Record,
        outcome: &Outcome,
    ) -> miette::Result<()> {
        let path = self.path.clone();
        self.write(prepared, record, outcome).map_err(|error| cannot_write(&path, &error))
    }

    /// Nothing gets its name before all of it is written.
    fn write(self, prepared: &Prepared, record: Record, outcome: &Outcome) -> io::Result<()> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let transcript = self.transcript.into_inner()?;
        let plan = toml::to_string(&prepared.plan).map_err(io::Error::other)?;
        let plan = written(&self.path, &plan)?;
        let report = serde_json::to_string_pretty(&Full::new(record, outcome))?;
        let report = written(&self.path, &(report + "\n"))?;
        for (file, name) in
            [(transcript, "transcript.txt"), (plan, "plan.toml"), (report, "report.json")]
        {
            file.persist(self.path.join(name))?;
        }
        Ok(())
    }
}

/// Everything that is known of a run.
#[derive(Serialize)]
struct Full<'a> {
    #[serde(flatten)]
    record: Record,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_at_seconds: Option<f64>,
    peers: Vec<Peer<'a>>,
    checks: BTreeMap<String, u64>,
}

#[derive(Serialize)]
struct Peer<'a> {
    name: &'a str,
    verified: u32,
    completed_seconds: Option<f64>,
    downloaded: u64,
    uploaded: u64,
}

impl<'a> Full<'a> {
    fn new(record: Record, outcome: &'a Outcome) -> Full<'a> {
        let report = &outcome.report;
        let peers = report.peers.iter().map(|peer| Peer {
            name: &peer.name,
            verified: peer.verified,
            completed_seconds: peer.completed.map(|at| at.since_epoch().as_secs_f64()),
            downloaded: peer.downloaded,
            uploaded: peer.uploaded,
        });
        let checks = report.checks.iter().map(|(code, count)| (code.to_string(), *count));
        let failed_at = report.failure.as_ref().map(|failure| failure.at);
        let failed_at_seconds = failed_at.map(|at| at.since_epoch().as_secs_f64());
        Full { record, failed_at_seconds, peers: peers.collect(), checks: checks.collect() }
    }
}

/// A file with `text` in `folder` that is gone again unless it gets a name.
pub fn written(folder: &Path, text: &str) -> io::Result<NamedTempFile> {
    let mut file = temporary(folder)?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

/// For when it cannot be done.
pub fn cannot_write(path: &Path, error: &io::Error) -> Report {
    miette!("cannot write to {}: {error}", path.display())
}

/// A file of no name yet, as readable as any other.
pub fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}
