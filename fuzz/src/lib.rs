//! Any bytes at all, fed to everything that reads what others send.
//!
//! A target takes bytes and holds what must hold of them; it panics if that does not.
//! Each runs in two ways: as a test, over its corpus and over thousands of variations
//! that a fixed seed makes of it ([`property`]); and under libFuzzer, which learns from
//! coverage what to vary (`.ci/fuzz`).
//!
//! [`connection`] is a whole peer, whom a script drives that the bytes spell.

pub mod bencode;
pub mod connection;
pub mod extension;
pub mod input;
pub mod metadata;
pub mod metainfo;
pub mod property;
pub mod resume;
pub mod tracker;
pub mod wire;

/// What takes bytes.
#[derive(Clone, Copy)]
pub struct Target {
    /// What it is called, and its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Panics if anything is wrong with how they are taken.
    pub run: fn(&[u8]),
    /// Inputs to begin with, which reach far in.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "bencode", run: bencode::run, seeds: bencode::seeds },
    Target { name: "connection", run: connection::run, seeds: connection::seeds },
    Target { name: "extension", run: extension::run, seeds: extension::seeds },
    Target { name: "metadata", run: metadata::run, seeds: metadata::seeds },
    Target { name: "metainfo", run: metainfo::run, seeds: metainfo::seeds },
    Target { name: "resume", run: resume::run, seeds: resume::seeds },
    Target { name: "tracker", run: tracker::run, seeds: tracker::seeds },
    Target { name: "wire", run: wire::run, seeds: wire::seeds },
];

impl Target {
    /// The target of that name.
    ///
    /// # Panics
    /// If there is none.
    pub fn named(name: &str) -> Target {
        let target = TARGETS.iter().find(|target| target.name == name);
        *target.unwrap_or_else(|| {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            panic!("there is no target {name:?}; expected one of {}", names.join(", "))
        })
    }
}
