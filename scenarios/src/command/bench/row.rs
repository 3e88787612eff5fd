//! What a measurement comes to.

use reseed_sim::Engine;
use serde::{Deserialize, Serialize};

use super::Set;
use crate::command::Status;

/// One swarm's figures; of several runs, sums or the first one's, as it says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    pub set: Set,
    pub engine: Engine,
    /// Peers (count); 0 for a hunt, which draws them.
    pub peers: u32,
    /// Whether oracles looked on.
    pub checked: bool,
    /// Of all runs the worst.
    pub verdict: String,
    /// Runs (count).
    pub cases: u64,
    /// Virtual time, of all runs.
    pub sim_seconds: f64,
    /// How long all of them took.
    pub wall_seconds: f64,
    /// Time of all cores that they took.
    pub cpu_seconds: f64,
    /// Threads that ran them (count).
    pub cores: usize,
    /// Content that was verified and not there before, of all runs.
    pub useful_bytes: u64,
    pub useful_mib_per_s: f64,
    /// Virtual seconds of all peers for each second that it took.
    pub peer_seconds_per_wall_second: f64,
    pub cases_per_s: f64,
    /// In the traces of all runs (count).
    pub events: u64,
    /// Of all runs (count), where the engine has packets.
    pub packets: Option<u64>,
    /// Of this process, over all its time.
    pub peak_rss_bytes: u64,
    /// The first run's.
    pub digest: String,
    /// How quick this machine is at what cannot be saved: 10⁶ bytes a second.
    pub sha1_mb_per_s: f64,
}

impl Row {
    pub fn name(&self) -> String {
        let mut name = self.set.name().to_owned();
        if self.peers > 0 {
            name += &format!(" {}", self.peers);
        }
        if self.engine != Engine::TurmoilNet {
            name += &format!(" on {}", self.engine);
        }
        if !self.checked {
            name += ", unchecked";
        }
        name
    }

    /// A swarm that nobody checked has no verdict to be blamed for.
    pub fn status(&self) -> Status {
        match (self.verdict.as_str(), self.checked) {
            ("pass", _) | ("unknown", false) => Status::Pass,
            ("fail", _) => Status::Fail,
            _ => Status::Unknown,
        }
    }
}
