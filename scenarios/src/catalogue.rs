//! The scenarios that come with the command.

use crate::{Source, nearest::did_you_mean, nearest::nearest};

/// A scenario of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// What it is called, as the scenario itself says.
    pub name: &'static str,
    text: &'static str,
}

/// A name that is not in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no scenario `{name}` in the catalogue{}", did_you_mean(nearest))]
pub struct NoSuchScenario {
    /// The name.
    pub name: String,
    /// What may have been meant.
    pub nearest: Option<String>,
}

macro_rules! entries {
    ($($name:literal),* $(,)?) => {
        &[$(Entry { name: $name, text: include_str!(concat!("../catalogue/", $name, ".toml")) }),*]
    };
}

/// All of them, simplest first.
pub fn catalogue() -> &'static [Entry] {
    entries![
        "two-peers",
        "swarm",
        "late-seed",
        "dark-seed",
        "crash-and-resume",
        "multi-file",
        "magnet",
        "udp-tracker",
        "ipv6",
        "super-seeding",
        "pex-off",
        "locality",
        "vod",
        "give-to-get",
        "live",
        "streaming-picker-crash",
        "piece-zero",
        "playback-end",
        "shutdown-deadlock",
        "announces-stop",
        "closed-swarm-attribute",
        "closed-swarm",
        "parallel-handshakes",
        "corrupt-blocks",
        "hostile",
        "status-report",
        "vod-stats-default",
        "task-order",
        "stopped-task",
        "wild",
        "wild-live",
    ]
}

/// The scenario called `name`.
pub fn find(name: &str) -> Result<&'static Entry, NoSuchScenario> {
    catalogue().iter().find(|entry| entry.name == name).ok_or_else(|| {
        let known: Vec<&str> = catalogue().iter().map(|entry| entry.name).collect();
        let nearest = nearest(name, &known).map(str::to_owned);
        NoSuchScenario { name: name.to_owned(), nearest }
    })
}

impl Entry {
    /// Its text.
    pub fn source(&self) -> Source {
        Source { name: format!("{}.toml", self.name), text: self.text.to_owned() }
    }
}
