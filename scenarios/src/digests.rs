//! What is remembered of runs: their digests.

use std::collections::BTreeMap;

use reseed_sim::{Digest, Engine};
use serde::{Deserialize, Serialize};

/// Digests of runs that were looked at and found right: `snapshots/digests.toml`,
/// as it was when the command was built.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordedDigests(BTreeMap<Key, String>);

/// Scenario, seed and engine.
type Key = (String, u64, String);

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
            ((scenario, seed, engine), digest)
        };
        Ok(RecordedDigests(file.runs.into_iter().map(entry).collect()))
    }

    /// The file's text, in order.
    pub fn write(&self) -> String {
        let run = |((scenario, seed, engine), digest): (&Key, &String)| Run {
            scenario: scenario.clone(),
            seed: *seed,
            engine: engine.clone(),
            digest: digest.clone(),
        };
        let file = File { runs: self.0.iter().map(run).collect() };
        HEADING.to_owned() + &toml::to_string(&file).expect("strings and numbers fit in TOML")
    }

    /// The digest of the run of `scenario` with `seed` on `engine`.
    pub fn get(&self, scenario: &str, seed: u64, engine: Engine) -> Option<&str> {
        self.0.get(&key(scenario, seed, engine)).map(String::as_str)
    }

    /// Records one, in place of an older one.
    pub fn set(&mut self, scenario: &str, seed: u64, engine: Engine, digest: Digest) {
        self.0.insert(key(scenario, seed, engine), digest.to_string());
    }
}

fn key(scenario: &str, seed: u64, engine: Engine) -> Key {
    (scenario.to_owned(), seed, engine.to_string())
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
