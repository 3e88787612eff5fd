//! What is kept of a run: one line of JSON, and its digest.

use std::{collections::BTreeMap, time::Duration};

use reseed_sim::{Digest, Engine, Plan, Report, Verdict};
use serde::{Deserialize, Serialize};

/// A run in one JSON object.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// The engine.
    pub engine: Engine,
    /// What the run shows.
    pub verdict: Verdict,
    /// Sixteen hexadecimal digits.
    pub digest: String,
    /// Virtual time at the end.
    pub sim_seconds: f64,
    /// Time that it took.
    pub wall_seconds: f64,
    /// Events in the trace (count).
    pub events: u64,
    /// Hosts (count), the tracker among them.
    pub hosts: usize,
    /// Content bytes that peers verified and did not have before.
    pub useful_bytes: u64,
    /// The oracle that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oracle: Option<String>,
    /// What it saw.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// Why the verdict is unknown, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubts: Option<Vec<String>>,
}

impl Record {
    /// The record of a run of `plan` that took `wall`.
    pub fn new(plan: &Plan, engine: Engine, report: &Report, wall: Duration) -> Record {
        let failure = report.failure.as_ref();
        Record {
            scenario: plan.scenario.clone(),
            seed: plan.seed,
            engine,
            verdict: report.verdict,
            digest: report.digest.to_string(),
            sim_seconds: report.ended.since_epoch().as_secs_f64(),
            wall_seconds: wall.as_secs_f64(),
            events: report.events,
            hosts: report.hosts,
            useful_bytes: report.useful_bytes,
            oracle: failure.map(|failure| failure.oracle.to_string()),
            evidence: failure.map(|failure| failure.evidence.clone()),
            doubts: (report.verdict == Verdict::Unknown).then(|| report.doubts.clone()),
        }
    }
}

/// Digests of runs that were looked at and found right: `snapshots/digests.toml`,
/// as it was when the command was built.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordedDigests(BTreeMap<Recorded, String>);

/// Which run a digest is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// The engine's name.
    pub engine: String,
}

/// A file of digests that is none.
#[derive(Debug, thiserror::Error)]
#[error("these are no recorded digests: {0}")]
pub struct BadDigests(#[from] toml::de::Error);

#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    runs: Vec<Run>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    scenario: String,
    seed: u64,
    engine: String,
    digest: String,
}

const HEADING: &str = "\
# Digests of runs that were looked at and found right. To look at one and record it:
#
#     reseed replay NAME --seed N [--engine ENGINE] --record snapshots/digests.toml

";

impl RecordedDigests {
    /// Those that were there when the command was built.
    pub fn built_in() -> RecordedDigests {
        RecordedDigests::read(include_str!("../../snapshots/digests.toml"))
            .expect("a test reads this file")
    }

    /// Reads a file of them.
    pub fn read(text: &str) -> Result<RecordedDigests, BadDigests> {
        let file: File = toml::from_str(text)?;
        let entry = |run: Run| {
            let Run { scenario, seed, engine, digest } = run;
            (Recorded { scenario, seed, engine }, digest)
        };
        Ok(RecordedDigests(file.runs.into_iter().map(entry).collect()))
    }

    /// The file's text, in order.
    pub fn write(&self) -> String {
        let run = |(run, digest): (&Recorded, &String)| Run {
            scenario: run.scenario.clone(),
            seed: run.seed,
            engine: run.engine.clone(),
            digest: digest.clone(),
        };
        let file = File { runs: self.0.iter().map(run).collect() };
        HEADING.to_owned() + &toml::to_string(&file).expect("strings and numbers fit in TOML")
    }

    /// The digest of the run of `scenario` with `seed` on `engine`.
    pub fn get(&self, scenario: &str, seed: u64, engine: Engine) -> Option<&str> {
        self.0.get(&Recorded::of(scenario, seed, engine)).map(String::as_str)
    }

    /// Records one, in place of an older one.
    pub fn set(&mut self, scenario: &str, seed: u64, engine: Engine, digest: Digest) {
        self.0.insert(Recorded::of(scenario, seed, engine), digest.to_string());
    }
}

impl Recorded {
    fn of(scenario: &str, seed: u64, engine: Engine) -> Recorded {
        Recorded { scenario: scenario.to_owned(), seed, engine: engine.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_digests_are_well_formed_and_in_order() {
        let text = include_str!("../../snapshots/digests.toml");
        assert_eq!(RecordedDigests::read(text).unwrap().write(), text);
    }

    #[test]
    fn a_recorded_digest_is_found_again_under_its_run_alone() {
        let mut digests = RecordedDigests::default();
        digests.set("swarm", u64::MAX, Engine::Turmoil, Digest(0xab));
        let read = RecordedDigests::read(&digests.write()).unwrap();
        assert_eq!(read.get("swarm", u64::MAX, Engine::Turmoil), Some("00000000000000ab"));
        assert_eq!(read.get("swarm", u64::MAX, Engine::TurmoilNet), None);
        assert_eq!(read.get("swarm", 1, Engine::Turmoil), None);
    }
}
