//! Faults: what goes wrong around peers for a time, each with its parameters.
//!
//! An [`Action`](crate::plan::Action) is done to a peer once; a fault holds, from a time
//! and for a time, and several may hold at once. It counts as fired when it really did
//! something: when a packet was lost by it, a write failed, a task had to wait.

mod disk;
mod network;
mod state;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub(crate) use self::{
    disk::{DiskFaults, Written},
    network::NetworkFaults,
    state::Faults,
};
use crate::plan::{Plan, TRACKER, When};

/// A fault, when it holds, and for whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultPlan {
    /// What goes wrong.
    pub fault: Fault,
    /// The hosts that it is about: names of peers, or `tracker`. Of peers that share a
    /// host one stands for all where it is about packets.
    pub hosts: Vec<String>,
    /// It begins as soon as this holds.
    pub when: When,
    /// And this much later, milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub delay_ms: u64,
    /// How long it holds, milliseconds. A bit flips at once, and stays so.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub for_ms: u64,
    /// Whether the run may go by without it: if it finds nothing to do, or everything
    /// else is over before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub if_possible: bool,
}

/// What can go wrong. Shares are probabilities, 0 to 1, drawn for each packet or each
/// operation of a disk on its own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// No packet passes between these hosts and all others: with one host it is
    /// isolated, with half of them the network is split in two.
    Partition,
    /// Packets pass one way only between these hosts and all others.
    OneWay(Lost),
    /// No packet passes between any two of these hosts. They reach all others.
    LinkCut,
    /// Packets from and to these hosts are lost, each on its own.
    Loss {
        /// Of the packets.
        share: f64,
    },
    /// Packets from and to these hosts are lost in bursts: a link is good or bad, and
    /// may change with each packet. E. N. Gilbert (1960), E. O. Elliott (1963).
    BurstyLoss {
        /// Probability that a good link becomes bad.
        begins: f64,
        /// Probability that a bad link becomes good.
        ends: f64,
        /// Of the packets on a bad link.
        bad: f64,
        /// Of the packets on a good link.
        good: f64,
    },
    /// Datagrams from and to these hosts arrive twice. TCP would not tell.
    Duplication {
        /// Of the datagrams.
        share: f64,
    },
    /// Packets from and to these hosts are held up, so that others overtake them: TCP
    /// segments behind them wait at the receiver.
    Reordering {
        /// Of the packets.
        share: f64,
        /// By up to so much, microseconds.
        by_us: u64,
    },
    /// Packets from and to these hosts take longer, all by as much.
    Latency {
        /// Each time that they pass a link of these, microseconds.
        more_us: u64,
    },
    /// Packets from and to these hosts take longer, each by another time.
    Jitter {
        /// The most, each time that they pass a link of these, microseconds.
        most_us: u64,
    },
    /// The links of these hosts have this bandwidth, if they had no smaller one.
    Bandwidth {
        /// Bytes a second, each way.
        bytes_per_s: u64,
    },
    /// The links of these hosts are slow and have so short a queue that packets find no
    /// room in it. It fires where one does not.
    QueueOverflow {
        /// Bytes a second, each way.
        bytes_per_s: u64,
        /// Bytes that may wait.
        queue: u64,
    },
    /// The tasks of these hosts do not run: what wakes them waits. Their stacks go on
    /// and take what comes, as long as they have room. SIGSTOP, or a virtual machine
    /// that is moved.
    Pause,
    /// The wall clocks of these hosts are set, and set right at the end. Virtual time
    /// goes on, as a monotonic clock does. It fires where somebody looks at the clock.
    ClockJump {
        /// By so much, milliseconds: forward or, negative, back.
        by_ms: i64,
    },
    /// The wall clocks of these hosts go fast or slow, and are set right at the end.
    ClockSkew {
        /// Parts in a million: fast or, negative, slow.
        ppm: i64,
    },
    /// The disks of these hosts have only so much room left.
    DiskFull {
        /// Bytes, in pages.
        room: u64,
    },
    /// Reads of these hosts' disks fail.
    ReadError {
        /// Of the reads.
        share: f64,
    },
    /// Writes to these hosts' disks fail, and nothing is written; so do syncs.
    WriteError {
        /// Of the writes.
        share: f64,
    },
    /// Writes to these hosts' disks fail when a part of them is written.
    TornWrite {
        /// Of the writes.
        share: f64,
    },
    /// Each operation of these hosts' disks takes so long, and their tasks wait for it.
    SlowDisk {
        /// Microseconds.
        op_us: u64,
    },
    /// Bits of what lies on these hosts' disks flip, anywhere, and nobody is told.
    BitFlip {
        /// On each disk (count).
        bits: u32,
    },
}

/// What of the packets between some hosts and all others is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lost {
    /// What they send: they hear, and are not heard.
    Sent,
    /// What is sent to them: they are heard, and do not hear.
    Received,
}

impl Fault {
    /// The names of all kinds, in plans and reports.
    pub const NAMES: &[&str] = &[
        "partition",
        "one-way",
        "link-cut",
        "loss",
        "bursty-loss",
        "duplication",
        "reordering",
        "latency",
        "jitter",
        "bandwidth",
        "queue-overflow",
        "pause",
        "clock-jump",
        "clock-skew",
        "disk-full",
        "read-error",
        "write-error",
        "torn-write",
        "slow-disk",
        "bit-flip",
    ];

    /// The name of its kind.
    pub const fn name(&self) -> &'static str {
        match self {
            Fault::Partition => "partition",
            Fault::OneWay(_) => "one-way",
            Fault::LinkCut => "link-cut",
            Fault::Loss { .. } => "loss",
            Fault::BurstyLoss { .. } => "bursty-loss",
            Fault::Duplication { .. } => "duplication",
            Fault::Reordering { .. } => "reordering",
            Fault::Latency { .. } => "latency",
            Fault::Jitter { .. } => "jitter",
            Fault::Bandwidth { .. } => "bandwidth",
            Fault::QueueOverflow { .. } => "queue-overflow",
            Fault::Pause => "pause",
            Fault::ClockJump { .. } => "clock-jump",
            Fault::ClockSkew { .. } => "clock-skew",
            Fault::DiskFull { .. } => "disk-full",
            Fault::ReadError { .. } => "read-error",
            Fault::WriteError { .. } => "write-error",
            Fault::TornWrite { .. } => "torn-write",
            Fault::SlowDisk { .. } => "slow-disk",
            Fault::BitFlip { .. } => "bit-flip",
        }
    }

    /// Whether it is about packets, so that the tracker may be among its hosts.
    pub const fn is_of_network(&self) -> bool {
        match self {
            Fault::Partition
            | Fault::OneWay(_)
            | Fault::LinkCut
            | Fault::Loss { .. }
            | Fault::BurstyLoss { .. }
            | Fault::Duplication { .. }
            | Fault::Reordering { .. }
            | Fault::Latency { .. }
            | Fault::Jitter { .. }
            | Fault::Bandwidth { .. }
            | Fault::QueueOverflow { .. } => true,
            Fault::Pause | Fault::ClockJump { .. } | Fault::ClockSkew { .. } => false,
            _ => !self.is_of_disk(),
        }
    }

    /// Whether it is about wall clocks.
    pub(crate) const fn is_of_clock(&self) -> bool {
        matches!(self, Fault::ClockJump { .. } | Fault::ClockSkew { .. })
    }

    /// Whether it is about disks, so that a download may end with what that says.
    pub const fn is_of_disk(&self) -> bool {
        matches!(
            self,
            Fault::DiskFull { .. }
                | Fault::ReadError { .. }
                | Fault::WriteError { .. }
                | Fault::TornWrite { .. }
                | Fault::SlowDisk { .. }
                | Fault::BitFlip { .. }
        )
    }

    /// Whether what the tasks of its hosts do at a time is late by it.
    pub(crate) const fn holds_up(&self) -> bool {
        matches!(self, Fault::Pause | Fault::SlowDisk { .. })
    }

    /// Whether it happens at one time, and does not hold.
    pub const fn is_instant(&self) -> bool {
        matches!(self, Fault::BitFlip { .. })
    }

    /// Whether turmoil can do it: its packets are its own affair, what is lost is never
    /// sent again, and its hosts cannot be held up.
    pub const fn is_for_turmoil(&self) -> bool {
        !self.is_of_network() && !self.holds_up()
    }

    /// Its probabilities, by name.
    fn shares(&self) -> Vec<(&'static str, f64)> {
        match *self {
            Fault::Loss { share }
            | Fault::Duplication { share }
            | Fault::ReadError { share }
            | Fault::WriteError { share }
            | Fault::TornWrite { share }
            | Fault::Reordering { share, .. } => vec![("share", share)],
            Fault::BurstyLoss { begins, ends, bad, good } => {
                vec![("begins", begins), ("ends", ends), ("bad", bad), ("good", good)]
            }
            _ => Vec::new(),
        }
    }

    /// Its sizes and times, by name: without one it could never do anything.
    fn amounts(&self) -> Vec<(&'static str, u64)> {
        match *self {
            Fault::Reordering { by_us, .. } => vec![("by_us", by_us)],
            Fault::Latency { more_us } => vec![("more_us", more_us)],
            Fault::Jitter { most_us } => vec![("most_us", most_us)],
            Fault::Bandwidth { bytes_per_s } => vec![("bytes_per_s", bytes_per_s)],
            Fault::ClockJump { by_ms } => vec![("by_ms", by_ms.unsigned_abs())],
            Fault::ClockSkew { ppm } => vec![("ppm", ppm.unsigned_abs())],
            Fault::SlowDisk { op_us } => vec![("op_us", op_us)],
            Fault::BitFlip { bits } => vec![("bits", bits.into())],
            Fault::QueueOverflow { bytes_per_s, queue } => {
                vec![("bytes_per_s", bytes_per_s), ("queue", queue)]
            }
            _ => Vec::new(),
        }
    }

    /// What is wrong with its parameters, if something is.
    pub(crate) fn complaint(&self) -> Option<String> {
        let no_share = |(_, share): &(_, f64)| !(0.0..=1.0).contains(share);
        if let Some((name, share)) = self.shares().into_iter().find(no_share) {
            return Some(format!("`{name}` is {share}, and a share is from 0 to 1"));
        }
        let nothing = self.amounts().into_iter().find(|(_, amount)| *amount == 0);
        nothing.map(|(name, _)| format!("`{name}` is 0, so that it could do nothing"))
    }

    /// The same with simpler values, none of which makes it worse.
    pub(crate) fn simpler(&self) -> Vec<Fault> {
        let all: &[Fault] = match *self {
            Fault::OneWay(_) => &[Fault::Partition],
            Fault::Loss { .. } => &[Fault::Loss { share: 0.5 }],
            Fault::BurstyLoss { .. } => &[Fault::Loss { share: 0.5 }],
            Fault::Duplication { .. } => &[Fault::Duplication { share: 1.0 }],
            Fault::Reordering { .. } => &[Fault::Reordering { share: 0.5, by_us: 100_000 }],
            Fault::Latency { .. } => &[Fault::Latency { more_us: 100_000 }],
            Fault::Jitter { .. } => {
                &[Fault::Latency { more_us: 100_000 }, Fault::Jitter { most_us: 100_000 }]
            }
            Fault::Bandwidth { .. } => &[Fault::Bandwidth { bytes_per_s: 10_000 }],
            Fault::QueueOverflow { .. } => {
                &[Fault::QueueOverflow { bytes_per_s: 10_000, queue: 4_000 }]
            }
            Fault::ClockJump { by_ms } if by_ms > 0 => &[Fault::ClockJump { by_ms: 3_600_000 }],
            Fault::ClockJump { .. } => &[Fault::ClockJump { by_ms: -3_600_000 }],
            Fault::ClockSkew { .. } => &[Fault::ClockJump { by_ms: 3_600_000 }],
            Fault::DiskFull { .. } => &[Fault::DiskFull { room: 0 }],
            Fault::ReadError { .. } => &[Fault::ReadError { share: 1.0 }],
            Fault::TornWrite { .. } | Fault::WriteError { .. } => {
                &[Fault::WriteError { share: 1.0 }]
            }
            Fault::SlowDisk { .. } => &[Fault::Pause, Fault::SlowDisk { op_us: 100_000 }],
            Fault::BitFlip { .. } => &[Fault::BitFlip { bits: 1 }],
            Fault::Partition | Fault::LinkCut | Fault::Pause => &[],
        };
        all.to_vec()
    }
}

impl FaultPlan {
    /// What goes wrong with whom, in a few words.
    pub fn words(&self) -> String {
        format!("{} of {}", self.fault.name(), self.hosts.join(", "))
    }

    /// The addresses of its hosts in `plan`.
    fn addresses(&self, plan: &Plan) -> Vec<IpAddr> {
        let address = |name: &String| match plan.peer(name) {
            Some(peer) => Some(plan.peers[peer].address),
            None => plan.tracker.as_ref().filter(|_| name == TRACKER).map(|it| it.address),
        };
        self.hosts.iter().filter_map(address).collect()
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
