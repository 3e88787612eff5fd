//! What a peer's host runs: a client of ours, or something that means no good.

use serde::{Deserialize, Serialize};

/// What a peer does on its connections.
///
/// Whatever is not honest runs no client of ours. It speaks to whom it knows and to
/// whoever comes, and the others have to finish without it, and in spite of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    /// It runs our client.
    #[default]
    Honest,
    /// It says any bytes at all: before a handshake, in the middle of one, or after it,
    /// drawn, or made of what would have been right.
    AnyBytes,
    /// It says that it has everything, unchokes, and rejects all that is asked of it;
    /// without the fast extension it chokes and unchokes instead.
    ClaimsFalsely,
    /// It tells of contacts at which nobody listens, and of others' addresses as if they
    /// were peers'.
    FloodsPex {
        /// Contacts a message (count), a message a second.
        contacts: u32,
    },
    /// It asks for blocks without end, whether it is choked or not, and reads them.
    FloodsRequests {
        /// Requests a second (count).
        per_s: u32,
    },
    /// It opens connections and says nothing.
    HalfOpen {
        /// Connections to each peer at a time (count).
        connections: u32,
    },
    /// It asks for blocks, and reads none.
    NeverReads,
    /// It says that it has everything, unchokes, and passes over what is asked of it.
    NeverSends,
    /// It serves true blocks, and says everything a byte at a time.
    Trickles {
        /// From one byte to the next, milliseconds.
        every_ms: u64,
    },
}

impl Behaviour {
    /// The names of all that are not honest.
    pub const NAMES: &[&str] = &[
        "any-bytes",
        "claims-falsely",
        "floods-pex",
        "floods-requests",
        "half-open",
        "never-reads",
        "never-sends",
        "trickles",
    ];

    /// Its name in plans and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Behaviour::Honest => "honest",
            Behaviour::AnyBytes => "any-bytes",
            Behaviour::ClaimsFalsely => "claims-falsely",
            Behaviour::FloodsPex { .. } => "floods-pex",
            Behaviour::FloodsRequests { .. } => "floods-requests",
            Behaviour::HalfOpen { .. } => "half-open",
            Behaviour::NeverReads => "never-reads",
            Behaviour::NeverSends => "never-sends",
            Behaviour::Trickles { .. } => "trickles",
        }
    }

    /// Whether a client of ours runs.
    pub fn is_honest(&self) -> bool {
        *self == Behaviour::Honest
    }

    /// Its number, if it has one, the most that it may be, and what it counts. The least
    /// is 1.
    pub fn number(self) -> Option<(u64, u64, &'static str)> {
        Some(match self {
            Behaviour::FloodsPex { contacts } => (contacts.into(), CONTACTS_MAX, "contacts"),
            Behaviour::FloodsRequests { per_s } => (per_s.into(), PER_S_MAX, "requests a second"),
            Behaviour::HalfOpen { connections } => {
                (connections.into(), CONNECTIONS_MAX, "connections")
            }
            Behaviour::Trickles { every_ms } => (every_ms, EVERY_MS_MAX, "milliseconds a byte"),
            _ => return None,
        })
    }

    /// What is wrong with its number, if something is.
    pub(super) fn complaint(self) -> Option<String> {
        let (number, most, what) = self.number()?;
        (number == 0 || number > most)
            .then(|| format!("{} with {number} {what}; from 1 to {most} make sense", self.name()))
    }
}

/// What fits in the longest message of peer exchange that is read (500 KiB).
const CONTACTS_MAX: u64 = 50_000;
/// More is work for the simulator, and nothing else.
const PER_S_MAX: u64 = 100_000;
/// As many as a host has ports to spare for.
const CONNECTIONS_MAX: u64 = 1_000;
/// A byte a minute.
const EVERY_MS_MAX: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_written_under_its_name() {
        let all = [
            Behaviour::AnyBytes,
            Behaviour::ClaimsFalsely,
            Behaviour::FloodsPex { contacts: 1 },
            Behaviour::FloodsRequests { per_s: 1 },
            Behaviour::HalfOpen { connections: 1 },
            Behaviour::NeverReads,
            Behaviour::NeverSends,
            Behaviour::Trickles { every_ms: 1 },
        ];
        assert_eq!(all.map(Behaviour::name), Behaviour::NAMES);
        for behaviour in all {
            let json = serde_json::to_string(&behaviour).unwrap();
            assert!(json.contains(&format!("\"{}\"", behaviour.name())), "{json}");
            assert_eq!(serde_json::from_str::<Behaviour>(&json).unwrap(), behaviour);
        }
    }

    #[test]
    fn a_number_that_makes_no_sense_is_told() {
        let words = |behaviour: Behaviour| behaviour.complaint();
        assert_eq!(words(Behaviour::Trickles { every_ms: 1 }), None);
        let told = words(Behaviour::HalfOpen { connections: 0 }).unwrap();
        assert_eq!(told, "half-open with 0 connections; from 1 to 1000 make sense");
        assert!(words(Behaviour::FloodsRequests { per_s: u32::MAX }).is_some());
    }
}
