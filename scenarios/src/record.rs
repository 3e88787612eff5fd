//! A run in one line of JSON.

use std::time::Duration;

use reseed_sim::{Engine, Plan, Report, Verdict};
use serde::Serialize;

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
            sim_seconds: seconds(report.ended.since_epoch()),
            wall_seconds: seconds(wall),
            events: report.events,
            hosts: report.hosts,
            useful_bytes: report.useful_bytes,
            oracle: failure.map(|failure| failure.oracle.to_string()),
            evidence: failure.map(|failure| failure.evidence.clone()),
            doubts: (report.verdict == Verdict::Unknown).then(|| report.doubts.clone()),
        }
    }
}

/// Whole microseconds, in seconds: the nearest `f64` prints as short as they do.
fn seconds(span: Duration) -> f64 {
    span.as_micros() as f64 / 1e6
}
