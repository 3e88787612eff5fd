//! What goes wrong around peers for a time.

use rand::RngExt;
use reseed_sim::plan::{self, FaultPlan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Draw, Flag, Place, Problem, ScenarioError, When,
    events::Timetable,
    peers::{Roster, TRACKER},
    plan::{Dice, at_most, check_name},
};

/// Something that goes wrong for a time. Several may at once. It counts as fired when it
/// really did something: one that never did makes a run show nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What its draws are named after; without it its place in the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What goes wrong.
    pub kind: FaultKind,
    /// Its hosts: peers, groups of them, or `tracker` where it is about packets; by
    /// default every peer.
    #[serde(default)]
    pub peers: Vec<String>,
    /// Probability that each of them is really one of its hosts, 0 to 1.
    #[serde(default = "always")]
    pub peers_chance: Draw<f64>,
    /// Probability that it happens at all, 0 to 1.
    #[serde(default = "one")]
    pub chance: f64,
    /// Whether the run may go by without it: if it finds nothing to do, or the run is
    /// over before.
    #[serde(default)]
    pub if_possible: bool,
    /// It begins as soon as this holds.
    pub when: When,
    /// And this much later, seconds.
    #[serde(default = "Draw::<f64>::zero")]
    pub delay_s: Draw<f64>,
    /// How long it holds, seconds.
    #[serde(default = "Draw::<f64>::zero")]
    pub for_s: Draw<f64>,
}

/// What can go wrong: `"partition"`, `{ loss = { share = 0.1 } }`, or
/// `{ one_of = ["partition", "link-cut"] }`. Shares are probabilities, 0 to 1, for each
/// packet or each operation of a disk on its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum FaultKind {
    /// No packet passes between its hosts and all others.
    Partition,
    /// Packets pass one way only between its hosts and all others.
    OneWay(Lost),
    /// No packet passes between any two of its hosts.
    LinkCut,
    /// Packets from and to its hosts are lost.
    Loss {
        /// Of the packets.
        share: Draw<f64>,
    },
    /// Packets from and to its hosts are lost in bursts: a link is good or bad, and may
    /// change with each packet.
    BurstyLoss {
        /// Probability that a good link becomes bad.
        begins: Draw<f64>,
        /// Probability that a bad link becomes good.
        ends: Draw<f64>,
        /// Of the packets on a bad link.
        bad: Draw<f64>,
        /// Of the packets on a good link.
        #[serde(default = "Draw::<f64>::zero")]
        good: Draw<f64>,
    },
    /// Datagrams from and to its hosts arrive twice.
    Duplication {
        /// Of the datagrams.
        share: Draw<f64>,
    },
    /// Packets from and to its hosts are held up, so that others overtake them.
    Reordering {
        /// Of the packets.
        share: Draw<f64>,
        /// By up to so much, milliseconds.
        by_ms: Draw<f64>,
    },
    /// Packets take longer, all by as much.
    Latency {
        /// Each time that they pass a link of its hosts, milliseconds.
        more_ms: Draw<f64>,
    },
    /// Packets take longer, each by another time.
    Jitter {
        /// The most, each time that they pass a link of its hosts, milliseconds.
        most_ms: Draw<f64>,
    },
    /// The links of its hosts are slower.
    Bandwidth {
        /// Bytes a second, each way.
        bytes_per_s: Draw<u64>,
    },
    /// The links of its hosts are slow, and have so short a queue that packets find no
    /// room in it.
    QueueOverflow {
        /// Bytes a second, each way.
        bytes_per_s: Draw<u64>,
        /// Bytes that may wait.
        queue: Draw<u64>,
    },
    /// The tasks of its hosts do not run. Their stacks go on.
    Pause,
    /// The wall clocks of its hosts are set, and set right at the end.
    ClockJump {
        /// Whether back rather than forward.
        #[serde(default = "no")]
        back: Flag,
        /// By so much, seconds.
        by_s: Draw<f64>,
    },
    /// The wall clocks of its hosts go fast or slow, and are set right at the end.
    ClockSkew {
        /// Whether slow rather than fast.
        #[serde(default = "no")]
        slow: Flag,
        /// By so many parts in a million.
        ppm: Draw<u32>,
    },
    /// The disks of its hosts have only so much room left.
    DiskFull {
        /// Bytes.
        room: Draw<u64>,
    },
    /// Reads of its hosts' disks fail.
    ReadError {
        /// Of the reads.
        share: Draw<f64>,
    },
    /// Writes to its hosts' disks fail, and nothing is written.
    WriteError {
        /// Of the writes.
        share: Draw<f64>,
    },
    /// Writes to its hosts' disks fail when a part of them is written.
    TornWrite {
        /// Of the writes.
        share: Draw<f64>,
    },
    /// Each operation of its hosts' disks takes so long, and their tasks wait for it.
    SlowDisk {
        /// Milliseconds.
        op_ms: Draw<f64>,
    },
    /// Bits of what lies on its hosts' disks flip, once and for all.
    BitFlip {
        /// On each disk (count).
        bits: Draw<u32>,
    },
    /// One of these, each as likely as any other.
    #[serde(rename = "one_of")]
    OneOf(Vec<FaultKind>),
}

/// What of the packets between some hosts and all others is lost: `"sent"` (those that
/// they send) or `"received"` (those that are sent to them).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Lost {
    /// They hear, and are not heard.
    Sent,
    /// They are heard, and do not hear.
    Received,
}

fn no() -> Flag {
    Flag::Fixed(false)
}

fn always() -> Draw<f64> {
    Draw::Fixed(1.0)
}

fn one() -> f64 {
    1.0
}

pub(super) fn plan(
    faults: &[Fault],
    roster: &Roster<'_>,
    has_tracker: bool,
    timetable: &Timetable<'_>,
    dice: Dice<'_>,
) -> Result<Vec<FaultPlan>, ScenarioError> {
    let mut planned = Vec::new();
    for (index, fault) in faults.iter().enumerate() {
        let place = Place::root().field("faults").index(index);
        let subject = match &fault.name {
            Some(name) => {
                check_name(name, place.clone().field("name"))?;
                format!("fault {name}")
            }
            None => format!("fault {index}"),
        };
        let drafting = Drafting { fault, dice: dice.of(&subject), place };
        planned.extend(drafting.plan(roster, has_tracker, timetable)?);
    }
    Ok(planned)
}

/// What the plan of one fault needs to know.
struct Drafting<'a> {
    fault: &'a Fault,
    dice: Dice<'a>,
    place: Place,
}

impl Drafting<'_> {
    /// The fault, if it is to happen: by chance, and because there is a host for it.
    fn plan(
        &self,
        roster: &Roster<'_>,
        has_tracker: bool,
        timetable: &Timetable<'_>,
    ) -> Result<Option<FaultPlan>, ScenarioError> {
        let Fault { kind, chance, if_possible, when, delay_s, for_s, .. } = self.fault;
        let chance = at_most(*chance, 1.0, "as a chance", self.at("chance"))?;
        let happens = self.dice.flag(Flag::Drawn { chance }, &self.at("chance"));
        let fault = self.kind(kind, &self.at("kind"))?;
        let hosts = self.hosts(roster, has_tracker)?;
        let whose = hosts.first().map(String::as_str).unwrap_or_default();
        let when = timetable.when(when, self.dice, whose, &self.place)?;
        let (delay_ms, for_ms) = (
            self.dice.millis(*delay_s, self.at("delay_s"))?,
            self.dice.millis(*for_s, self.at("for_s"))?,
        );
        if for_ms == 0 && !fault.is_instant() {
            return Err(self.at("for_s").problem(Problem::Zero { what: "seconds" }));
        }
        let for_ms = if fault.is_instant() { 0 } else { for_ms };
        let planned = when.filter(|_| happens && !hosts.is_empty());
        let if_possible = *if_possible;
        Ok(planned.map(|when| FaultPlan { fault, hosts, when, delay_ms, for_ms, if_possible }))
    }

    fn hosts(&self, roster: &Roster<'_>, has_tracker: bool) -> Result<Vec<String>, ScenarioError> {
        let mut hosts: Vec<String> = Vec::new();
        for (index, name) in self.fault.peers.iter().enumerate() {
            let place = self.at("peers").index(index);
            match name == TRACKER {
                true if has_tracker => hosts.push(name.clone()),
                true => {}
                false => hosts.extend(roster.all(name, place)?.iter().cloned()),
            }
        }
        if self.fault.peers.is_empty() {
            hosts.extend(roster.everybody().cloned());
        }
        let chance = self.dice.share(self.fault.peers_chance, self.at("peers_chance"))?;
        let mut rng = self.dice.rng(&self.at("peers"));
        let mut known = std::collections::BTreeSet::new();
        hosts.retain(|host| known.insert(host.clone()) && rng.random_bool(chance));
        Ok(hosts)
    }

    fn kind(&self, kind: &FaultKind, place: &Place) -> Result<plan::Fault, ScenarioError> {
        let at = |field| place.clone().field(field);
        let share = |draw: Draw<f64>, field| self.dice.share(draw, at(field));
        let micros = |draw: Draw<f64>, field| {
            let micros = self.dice.micros(draw, at(field))?;
            match micros {
                0 => Err(at(field).problem(Problem::Zero { what: "milliseconds" })),
                _ => Ok(micros),
            }
        };
        let bytes = |draw: Draw<u64>, field| self.dice.some(draw, "bytes", at(field));
        Ok(match kind {
            FaultKind::Partition => plan::Fault::Partition,
            FaultKind::OneWay(Lost::Sent) => plan::Fault::OneWay(plan::Lost::Sent),
            FaultKind::OneWay(Lost::Received) => plan::Fault::OneWay(plan::Lost::Received),
            FaultKind::LinkCut => plan::Fault::LinkCut,
            FaultKind::Loss { share: of } => plan::Fault::Loss { share: share(*of, "loss")? },
            FaultKind::BurstyLoss { begins, ends, bad, good } => plan::Fault::BurstyLoss {
                begins: share(*begins, "begins")?,
                ends: share(*ends, "ends")?,
                bad: share(*bad, "bad")?,
                good: share(*good, "good")?,
            },
            FaultKind::Duplication { share: of } => {
                plan::Fault::Duplication { share: share(*of, "duplication")? }
            }
            FaultKind::Reordering { share: of, by_ms } => plan::Fault::Reordering {
                share: share(*of, "reordering")?,
                by_us: micros(*by_ms, "by_ms")?,
            },
            FaultKind::Latency { more_ms } => {
                plan::Fault::Latency { more_us: micros(*more_ms, "more_ms")? }
            }
            FaultKind::Jitter { most_ms } => {
                plan::Fault::Jitter { most_us: micros(*most_ms, "most_ms")? }
            }
            FaultKind::Bandwidth { bytes_per_s } => {
                plan::Fault::Bandwidth { bytes_per_s: bytes(*bytes_per_s, "bytes_per_s")? }
            }
            FaultKind::QueueOverflow { bytes_per_s, queue } => plan::Fault::QueueOverflow {
                bytes_per_s: bytes(*bytes_per_s, "bytes_per_s")?,
                queue: bytes(*queue, "queue")?,
            },
            FaultKind::Pause => plan::Fault::Pause,
            FaultKind::ClockJump { back, by_s } => plan::Fault::ClockJump {
                by_ms: self.signed(self.dice.millis(*by_s, at("by_s"))?, *back, &at("back")),
            },
            FaultKind::ClockSkew { slow, ppm } => {
                let ppm = self.dice.some(*ppm, "parts in a million", at("ppm"))?;
                plan::Fault::ClockSkew { ppm: self.signed(ppm.into(), *slow, &at("slow")) }
            }
            FaultKind::DiskFull { room } => {
                plan::Fault::DiskFull { room: self.dice.number(*room, &at("room")) }
            }
            FaultKind::ReadError { share: of } => {
                plan::Fault::ReadError { share: share(*of, "read_error")? }
            }
            FaultKind::WriteError { share: of } => {
                plan::Fault::WriteError { share: share(*of, "write_error")? }
            }
            FaultKind::TornWrite { share: of } => {
                plan::Fault::TornWrite { share: share(*of, "torn_write")? }
            }
            FaultKind::SlowDisk { op_ms } => {
                plan::Fault::SlowDisk { op_us: micros(*op_ms, "op_ms")? }
            }
            FaultKind::BitFlip { bits } => {
                plan::Fault::BitFlip { bits: self.dice.some(*bits, "bits", at("bits"))? }
            }
            FaultKind::OneOf(choices) => {
                let place = at("one_of");
                if choices.is_empty() {
                    return Err(place.problem(Problem::Zero { what: "choices" }));
                }
                let choice = self.dice.rng(&place).random_range(0..choices.len());
                self.kind(&choices[choice], &place.index(choice))?
            }
        })
    }

    fn signed(&self, size: u64, negative: Flag, place: &Place) -> i64 {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        if self.dice.flag(negative, place) { -size } else { size }
    }

    fn at(&self, field: &'static str) -> Place {
        self.place.clone().field(field)
    }
}
