//! What a tracker does wrong, as a scenario says it.

use rand::RngExt;
use reseed_sim::plan::{self, TrackerFaultPlan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Draw, Flag, Place, Problem, ScenarioError,
    plan::{Dice, at_most},
};

/// Something that the tracker does wrong for a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrackerFault {
    /// What.
    pub fault: TrackerFaultKind,
    /// From when on, seconds of virtual time.
    #[serde(default = "Draw::<f64>::zero")]
    pub from_s: Draw<f64>,
    /// For how long, seconds.
    pub for_s: Draw<f64>,
    /// Whether it is there at all.
    #[serde(default = "super::yes")]
    pub present: Flag,
    /// Whether a run may go by without anybody asking meanwhile.
    #[serde(default = "super::no")]
    pub if_possible: Flag,
}

/// What a tracker may do wrong: `"down"` (it refuses connections), `"not-bencode"`,
/// `"own-address"` (it tells of whoever asks), `"server-error"`, `"truncated"`,
/// `"wrong-types"`, `{ slow = { ms = 5_000 } }`, `{ dead-addresses = { count = 10_000 } }`,
/// or `{ one_of = ["down", "truncated"] }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TrackerFaultKind {
    /// Its answers tell of peers that are not there, along with those that are.
    DeadAddresses {
        /// Addresses an answer (count).
        count: Draw<u32>,
    },
    /// It refuses connections, and hears no datagrams.
    Down,
    /// It answers with something that is no bencode.
    NotBencode,
    /// Its answers tell whoever asks of their own address.
    OwnAddress,
    /// It answers with HTTP status 500 or, over UDP, an error.
    ServerError,
    /// It answers late.
    Slow {
        /// By this much, milliseconds.
        ms: Draw<u64>,
    },
    /// Its answers break off in the middle.
    Truncated,
    /// Its answers are bencode, and nothing in them has the type that it should have.
    WrongTypes,
    /// One of these, each as likely as any other.
    #[serde(rename = "one_of")]
    OneOf(Vec<TrackerFaultKind>),
}

pub(super) fn faults(
    faults: &[TrackerFault],
    dice: Dice<'_>,
    place: &Place,
) -> Result<Vec<TrackerFaultPlan>, ScenarioError> {
    let mut planned = Vec::new();
    for (index, fault) in faults.iter().enumerate() {
        let subject = format!("tracker fault {index}");
        let (dice, at) = (dice.of(&subject), |field| place.clone().index(index).field(field));
        let plan = TrackerFaultPlan {
            fault: kind(&fault.fault, dice, &at("fault"))?,
            from_ms: dice.millis(fault.from_s, at("from_s"))?,
            for_ms: dice.millis(fault.for_s, at("for_s"))?,
            if_possible: dice.flag(fault.if_possible, &at("if_possible")),
        };
        if plan.for_ms == 0 {
            return Err(at("for_s").problem(Problem::Zero { what: "milliseconds" }));
        }
        if dice.flag(fault.present, &at("present")) {
            planned.push(plan);
        }
    }
    Ok(planned)
}

fn kind(
    kind: &TrackerFaultKind,
    dice: Dice<'_>,
    place: &Place,
) -> Result<plan::TrackerFault, ScenarioError> {
    Ok(match kind {
        TrackerFaultKind::DeadAddresses { count } => {
            let at = place.clone().field("dead-addresses").field("count");
            let count = dice.some(*count, "addresses", at.clone())?;
            let most = plan::TrackerFault::ADDRESSES_MAX.into();
            at_most(count.into(), most, "addresses", at)?;
            plan::TrackerFault::DeadAddresses { count }
        }
        TrackerFaultKind::Down => plan::TrackerFault::Down,
        TrackerFaultKind::NotBencode => plan::TrackerFault::NotBencode,
        TrackerFaultKind::OwnAddress => plan::TrackerFault::OwnAddress,
        TrackerFaultKind::ServerError => plan::TrackerFault::ServerError,
        TrackerFaultKind::Slow { ms } => {
            let at = place.clone().field("slow").field("ms");
            plan::TrackerFault::Slow { ms: dice.some(*ms, "milliseconds", at)? }
        }
        TrackerFaultKind::Truncated => plan::TrackerFault::Truncated,
        TrackerFaultKind::WrongTypes => plan::TrackerFault::WrongTypes,
        TrackerFaultKind::OneOf(choices) => {
            let place = place.clone().field("one_of");
            if choices.is_empty() {
                return Err(place.problem(Problem::Zero { what: "choices" }));
            }
            let choice = dice.rng(&place).random_range(0..choices.len());
            return self::kind(&choices[choice], dice, &place.index(choice));
        }
    })
}
