//! What a run says of itself.

use std::{fmt, str::FromStr};

use reseed_protocol::Time;
use serde::{Deserialize, Serialize};

use crate::{Point, oracle::Code};

/// Which simulated network a run is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// Our own event loop over turmoil-net's packets.
    TurmoilNet,
    /// The same event loop over packets of our own TCP and UDP.
    Native,
    /// turmoil itself: one runtime a host, ticked.
    Turmoil,
}

impl Engine {
    /// All of them.
    pub const ALL: [Engine; 3] = [Engine::TurmoilNet, Engine::Native, Engine::Turmoil];

    /// Whether it tells its packets one by one, so that a [`Capture`](crate::Capture)
    /// can be had of a run.
    pub fn shows_packets(self) -> bool {
        self != Engine::Turmoil
    }
}

/// What a run shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything was checked, and held.
    Pass,
    /// An oracle failed.
    Fail,
    /// Something that should have been checked was not.
    Unknown,
}

/// The outcome of one run.
#[derive(Debug, Clone)]
pub struct Report {
    /// What it shows.
    pub verdict: Verdict,
    /// The oracle that failed, and what it saw.
    pub failure: Option<Failure>,
    /// Why it shows nothing, if it does not.
    pub doubts: Vec<String>,
    /// Digest over every event, in order: equal for equal runs.
    pub digest: Digest,
    /// Events in the trace (count).
    pub events: u64,
    /// Packets that hosts sent (count), where the engine has any.
    pub packets: Option<u64>,
    /// Virtual time at the end.
    pub ended: Time,
    /// Hosts (count), the tracker among them.
    pub hosts: usize,
    /// Content bytes that peers verified and did not have before.
    pub useful_bytes: u64,
    /// How often each oracle checked something.
    pub checks: Vec<(Code, u64)>,
    /// How often each kind of event was carried out, and how often each kind of fault
    /// did something.
    pub fired: Vec<(&'static str, u64)>,
    /// Points that it came to.
    pub reached: Vec<Point>,
    /// What each peer came to.
    pub peers: Vec<PeerReport>,
}

impl Report {
    /// How often what is called so came to pass: an event that was carried out, a fault
    /// that did something.
    pub fn fired(&self, name: &str) -> u64 {
        self.fired.iter().find(|(kind, _)| *kind == name).map_or(0, |(_, times)| *times)
    }
}

/// An oracle's finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which oracle.
    pub oracle: Code,
    /// When, in virtual time.
    pub at: Time,
    /// What it saw, for a reader: who, what, and what was expected.
    pub evidence: String,
}

/// What one peer came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerReport {
    /// Its name.
    pub name: String,
    /// Pieces verified at the end (count).
    pub verified: u32,
    /// When it had them all, if ever; `None` for one that had them from the start.
    pub completed: Option<Time>,
    /// Content bytes received, the useless ones among them.
    pub downloaded: u64,
    /// Content bytes sent.
    pub uploaded: u64,
}

/// A 64-bit digest, as sixteen hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(pub u64);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Unknown => "unknown",
        })
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Engine::TurmoilNet => "turmoil-net",
            Engine::Native => "native",
            Engine::Turmoil => "turmoil",
        })
    }
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(name: &str) -> Result<Engine, String> {
        match name {
            "turmoil-net" => Ok(Engine::TurmoilNet),
            "native" => Ok(Engine::Native),
            "turmoil" => Ok(Engine::Turmoil),
            other => Err(format!(
                "there is no engine {other:?}; expected turmoil-net, native or turmoil"
            )),
        }
    }
}
