//! The catalogue of scenarios, their format, and what is known of their runs.
//!
//! A [`Source`] is a scenario's TOML text; it reads as a [`Scenario`], and that
//! with a seed makes the [`Plan`](reseed_sim::Plan) that runs.

mod catalogue;
mod digests;
mod nearest;
mod record;
pub mod scenario;
mod source;
mod summary;
mod swarm;

pub use catalogue::{Entry, NoSuchScenario, catalogue, find};
pub use digests::{BadDigests, RecordedDigests};
pub use record::Record;
pub use scenario::{Scenario, ScenarioError};
pub use source::{Misread, Source};
pub use summary::{bytes, plain_table, summary};
pub use swarm::Swarm;
