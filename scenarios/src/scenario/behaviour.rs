//! What a peer's host runs, as a scenario says it.

use reseed_sim::plan;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Draw, Place, Problem, ScenarioError, peers::Drafting, plan::at_most};

/// What a peer does on its connections: `"honest"`, `"any-bytes"`, `"claims-falsely"`,
/// `"never-reads"`, `"never-sends"`, `{ floods-pex = { contacts = 2_000 } }`,
/// `{ floods-requests = { per_s = 1_000 } }`, `{ half-open = { connections = 100 } }`,
/// `{ trickles = { every_ms = 50 } }`, or `{ one_of = ["honest", "never-reads"] }`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    /// It runs our client.
    #[default]
    Honest,
    /// It says any bytes at all, before a handshake, within one, or after it.
    AnyBytes,
    /// It says that it has everything, unchokes, and rejects all that is asked of it.
    ClaimsFalsely,
    /// It tells of contacts at which nobody listens, and of others' addresses, once a
    /// second.
    FloodsPex {
        /// Contacts a message (count).
        contacts: Draw<u32>,
    },
    /// It asks for blocks without end, whether it is choked or not, and reads them.
    FloodsRequests {
        /// Requests a second (count).
        per_s: Draw<u32>,
    },
    /// It opens connections and says nothing.
    HalfOpen {
        /// Connections to each peer at a time (count).
        connections: Draw<u32>,
    },
    /// It asks for blocks, and reads none.
    NeverReads,
    /// It says that it has everything, unchokes, and passes over what is asked of it.
    NeverSends,
    /// It serves true blocks, and says everything a byte at a time.
    Trickles {
        /// From one byte to the next, milliseconds.
        every_ms: Draw<u64>,
    },
    /// One of these, each as likely as any other.
    #[serde(rename = "one_of")]
    OneOf(Vec<Behaviour>),
}

impl Drafting<'_> {
    pub(super) fn behaviour(
        &self,
        behaviour: &Behaviour,
        place: &Place,
    ) -> Result<plan::Behaviour, ScenarioError> {
        let (dice, at) = (self.dice, |kind, field| place.clone().field(kind).field(field));
        let (planned, place) = match behaviour {
            Behaviour::Honest => (plan::Behaviour::Honest, place.clone()),
            Behaviour::AnyBytes => (plan::Behaviour::AnyBytes, place.clone()),
            Behaviour::ClaimsFalsely => (plan::Behaviour::ClaimsFalsely, place.clone()),
            Behaviour::NeverReads => (plan::Behaviour::NeverReads, place.clone()),
            Behaviour::NeverSends => (plan::Behaviour::NeverSends, place.clone()),
            Behaviour::FloodsPex { contacts } => {
                let place = at("floods-pex", "contacts");
                (plan::Behaviour::FloodsPex { contacts: dice.number(*contacts, &place) }, place)
            }
            Behaviour::FloodsRequests { per_s } => {
                let place = at("floods-requests", "per_s");
                (plan::Behaviour::FloodsRequests { per_s: dice.number(*per_s, &place) }, place)
            }
            Behaviour::HalfOpen { connections } => {
                let place = at("half-open", "connections");
                let connections = dice.number(*connections, &place);
                (plan::Behaviour::HalfOpen { connections }, place)
            }
            Behaviour::Trickles { every_ms } => {
                let place = at("trickles", "every_ms");
                (plan::Behaviour::Trickles { every_ms: dice.number(*every_ms, &place) }, place)
            }
            Behaviour::OneOf(choices) => {
                let (choice, place) = self.one_of(choices, place)?;
                return self.behaviour(choice, &place);
            }
        };
        match planned.number() {
            Some((0, _, what)) => Err(place.problem(Problem::Zero { what })),
            Some((number, most, what)) => {
                at_most(number as f64, most as f64, what, place).map(|_| planned)
            }
            None => Ok(planned),
        }
    }
}
