//! What a scenario replays: a problem that somebody had, and the bugs behind it.

use reseed_protocol::Defect;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A problem that was reported, as `reseed explain` tells it. Each text is prose,
/// with its lines broken as they are to be printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Its number in the list of 2010, if it is on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
    /// What was seen.
    pub reported: String,
    /// What caused it.
    pub cause: String,
    /// What mends it.
    pub fix: String,
}

/// A bug that this scenario shows when it is written back into every peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KnownDefect {
    /// Its name.
    #[serde(with = "name")]
    #[schemars(with = "String")]
    pub name: Defect,
    /// A seed at which it shows, on the first engine. At the same seed the scenario
    /// passes without it.
    pub seed: u64,
    /// Words that the evidence then holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shows: Vec<String>,
    /// The first seed, from 1, at which `wild` finds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wild: Option<u64>,
}

/// A defect by its name.
mod name {
    use reseed_protocol::Defect;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(defect: &Defect, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(defect.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Defect, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
