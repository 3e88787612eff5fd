//! What a tracker may do wrong.

use std::time::Duration;

use reseed_protocol::Time;
use serde::{Deserialize, Serialize};

use super::TrackerPlan;

/// Something that a tracker does wrong for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrackerFaultPlan {
    /// What.
    pub fault: TrackerFault,
    /// From when on, milliseconds of virtual time.
    pub from_ms: u64,
    /// For how long, milliseconds.
    pub for_ms: u64,
    /// Whether the run may go by without anybody asking meanwhile.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub if_possible: bool,
}

/// For how long a client of ours asks a tracker over UDP, and then some.
const UDP_PATIENCE: Duration = Duration::from_secs(60);

/// What a tracker may do wrong. Several at a time add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrackerFault {
    /// Its answers tell of peers that are not there, along with those that are.
    DeadAddresses {
        /// Addresses an answer (count).
        count: u32,
    },
    /// It is down: it refuses connections, and hears no datagrams.
    Down,
    /// It answers with something that is no bencode.
    NotBencode,
    /// Its answers tell whoever asks of their own address.
    OwnAddress,
    /// It answers with HTTP status 500 or, over UDP, an error (BEP 15).
    ServerError,
    /// It answers late.
    Slow {
        /// By this much, milliseconds.
        ms: u64,
    },
    /// Its answers break off in the middle.
    Truncated,
    /// Its answers are bencode, and nothing in them has the type that it should have.
    WrongTypes,
}

impl TrackerFault {
    /// The names of all of them.
    pub const NAMES: &[&str] = &[
        "tracker-dead-addresses",
        "tracker-down",
        "tracker-not-bencode",
        "tracker-own-address",
        "tracker-server-error",
        "tracker-slow",
        "tracker-truncated",
        "tracker-wrong-types",
    ];

    /// Whether who asks still learns when to ask again.
    pub(crate) const fn tells_interval(self) -> bool {
        use TrackerFault::{DeadAddresses, OwnAddress, Slow};
        matches!(self, DeadAddresses { .. } | OwnAddress | Slow { .. })
    }

    /// What it is called in reports.
    pub const fn name(self) -> &'static str {
        let index = match self {
            TrackerFault::DeadAddresses { .. } => 0,
            TrackerFault::Down => 1,
            TrackerFault::NotBencode => 2,
            TrackerFault::OwnAddress => 3,
            TrackerFault::ServerError => 4,
            TrackerFault::Slow { .. } => 5,
            TrackerFault::Truncated => 6,
            TrackerFault::WrongTypes => 7,
        };
        TrackerFault::NAMES[index]
    }

    /// Addresses that can be told of in an answer at most (count).
    pub const ADDRESSES_MAX: u32 = 10_000;
}

impl TrackerPlan {
    /// What it does wrong at a time.
    pub fn faults_at(&self, now: Time) -> impl Iterator<Item = TrackerFault> + '_ {
        let now = now.since_epoch();
        let holds = move |plan: &&TrackerFaultPlan| {
            let from = Duration::from_millis(plan.from_ms);
            from <= now && now < from + Duration::from_millis(plan.for_ms)
        };
        self.faults.iter().filter(holds).map(|plan| plan.fault)
    }

    /// Whether there are times from `since` to `until` at which nobody comes to announce:
    /// it is down, or is not understood by who has to ask for leave first (BEP 15).
    pub(crate) fn is_deaf(&self, since: Time, until: Time) -> bool {
        let deafens = |fault: TrackerFault| match fault {
            TrackerFault::Down => true,
            fault => self.udp && !fault.tells_interval(),
        };
        (self.udp && self.silent)
            || self.faults.iter().any(|plan| {
                let from = Time::from_epoch(Duration::from_millis(plan.from_ms));
                let end = from + Duration::from_millis(plan.for_ms);
                deafens(plan.fault) && from <= until && since < end
            })
    }

    /// When, after `now`, it goes down, or comes back if it is down.
    pub(crate) fn turns(&self, now: Time) -> Option<Time> {
        let is_down = |at: Time| self.faults_at(at).any(|fault| fault == TrackerFault::Down);
        let down = self.faults.iter().filter(|plan| plan.fault == TrackerFault::Down);
        let at = |ms| Time::from_epoch(Duration::from_millis(ms));
        let ends = down.flat_map(|plan| [at(plan.from_ms), at(plan.from_ms + plan.for_ms)]);
        ends.filter(|end| *end > now && is_down(*end) != is_down(now)).min()
    }

    /// How much later than usual an announce may come to an end at some time. Over UDP it
    /// is made again, in silence, where no answer comes that makes sense.
    pub(crate) fn slowness(&self) -> Duration {
        if self.udp && !self.faults.is_empty() {
            return UDP_PATIENCE;
        }
        let slow = self.faults.iter().filter_map(|plan| match plan.fault {
            TrackerFault::Slow { ms } => Some(Duration::from_millis(ms)),
            _ => None,
        });
        slow.sum()
    }
}
