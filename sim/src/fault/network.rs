//! What faults do to packets.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    rc::Rc,
    time::Duration,
};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use reseed_protocol::Time;

use super::{Fault, Faults, Lost};
use crate::{Fate, HostId, Impairment, PacketSummary, Plan};

/// Decides the fate of each packet by the faults that hold. Of several, one that loses
/// it counts alone; else it is late by all of them together, and may come twice if it
/// is not late.
pub(crate) struct NetworkFaults {
    faults: Rc<Faults>,
    rng: ChaCha8Rng,
    /// Whose packets each fault is about.
    addresses: Vec<BTreeSet<IpAddr>>,
    /// Each host's address, in the order of hosts.
    hosts: Vec<IpAddr>,
    /// Links that are bad now, each for one fault.
    bad: BTreeMap<(usize, IpAddr), bool>,
}

impl NetworkFaults {
    pub(crate) fn new(plan: &Plan, faults: Rc<Faults>, rng: ChaCha8Rng) -> NetworkFaults {
        let addresses = plan.faults.iter().map(|fault| fault.addresses(plan).into_iter().collect());
        let tracker = plan.tracker.iter().map(|tracker| tracker.address);
        NetworkFaults {
            faults,
            rng,
            addresses: addresses.collect(),
            hosts: plan.peers.iter().map(|peer| peer.address).chain(tracker).collect(),
            bad: BTreeMap::new(),
        }
    }

    /// What `fault` does to a packet that goes `from` a host `to` another.
    fn effect(&mut self, fault: usize, from: IpAddr, to: IpAddr, udp: bool) -> Fate {
        let hosts = &self.addresses[fault];
        let passes: Vec<IpAddr> =
            [from, to].into_iter().filter(|host| hosts.contains(host)).collect();
        let Some(&first) = passes.first() else { return Fate::Pass };
        let lose = |lost| if lost { Fate::Lose } else { Fate::Pass };
        let links = passes.len() as u32;
        match self.faults.plan(fault).fault {
            Fault::Partition => lose(links == 1),
            Fault::OneWay(Lost::Sent) => lose(links == 1 && first == from),
            Fault::OneWay(Lost::Received) => lose(links == 1 && first == to),
            Fault::LinkCut => lose(links == 2),
            Fault::Loss { share } => lose(self.rng.random_bool(share)),
            Fault::BurstyLoss { begins, ends, bad, good } => {
                let mut lost = false;
                for link in passes {
                    let is_bad = self.bad.entry((fault, link)).or_default();
                    *is_bad ^= self.rng.random_bool(if *is_bad { ends } else { begins });
                    lost |= self.rng.random_bool(if *is_bad { bad } else { good });
                }
                lose(lost)
            }
            Fault::Duplication { share } if udp && self.rng.random_bool(share) => Fate::Duplicate,
            Fault::Reordering { share, by_us } if self.rng.random_bool(share) => {
                Fate::Delay(Duration::from_micros(self.rng.random_range(1..=by_us)))
            }
            Fault::Latency { more_us } => Fate::Delay(links * Duration::from_micros(more_us)),
            Fault::Jitter { most_us } => {
                let late = passes.iter().map(|_| self.rng.random_range(0..=most_us)).sum();
                Fate::Delay(Duration::from_micros(late))
            }
            // The link itself is slower while it holds.
            Fault::Bandwidth { .. } => {
                self.faults.fire(fault);
                Fate::Pass
            }
            _ => Fate::Pass,
        }
    }
}

impl Impairment for NetworkFaults {
    fn fate(&mut self, _: Time, packet: &PacketSummary, _: HostId, _: Option<HostId>) -> Fate {
        let faults = self.faults.clone();
        let (from, to) = (packet.from.ip(), packet.to.ip());
        let (mut late, mut twice) = (Duration::ZERO, false);
        for &(fault, _) in faults.active().iter() {
            match self.effect(fault, from, to, packet.tcp.is_none()) {
                Fate::Pass => continue,
                Fate::Lose => {
                    faults.fire(fault);
                    return Fate::Lose;
                }
                Fate::Delay(delay) => late += delay,
                Fate::Duplicate => twice = true,
            }
            faults.fire(fault);
        }
        match (late, twice) {
            (Duration::ZERO, false) => Fate::Pass,
            (Duration::ZERO, true) => Fate::Duplicate,
            (late, _) => Fate::Delay(late),
        }
    }

    fn overflowed(&mut self, at: HostId) {
        let address = self.hosts[at.index()];
        for &(fault, _) in self.faults.active().iter() {
            let overflows = matches!(self.faults.plan(fault).fault, Fault::QueueOverflow { .. });
            if overflows && self.addresses[fault].contains(&address) {
                self.faults.fire(fault);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::plan::{FaultPlan, Limits, PeerPlan, TorrentPlan, When};

    /// Whether each of many packets from one host to another is lost by `fault`.
    fn lost(fault: Fault) -> Vec<bool> {
        let plan = Plan {
            scenario: String::new(),
            seed: 0,
            perturbation: 0.0,
            buggify: 0.0,
            defects: Vec::new(),
            flip: None,
            limits: Limits { done_ms: 0, steps: 0 },
            torrent: TorrentPlan {
                name: String::new(),
                piece_length: 1,
                private: false,
                merkle: false,
                bitrate: None,
                live: None,
                closed: false,
                files: Vec::new(),
            },
            tracker: None,
            peers: vec![PeerPlan::new("a")],
            events: Vec::new(),
            faults: vec![FaultPlan {
                fault,
                hosts: vec!["a".to_owned()],
                when: When::At(0),
                delay_ms: 0,
                for_ms: 1,
                if_possible: false,
            }],
        };
        let faults = Rc::new(Faults::new(&plan));
        let mut network = NetworkFaults::new(&plan, faults, ChaCha8Rng::seed_from_u64(1));
        let (from, to) = (plan.peers[0].address, [10, 0, 0, 9].into());
        (0..20_000).map(|_| network.effect(0, from, to, true) == Fate::Lose).collect()
    }

    /// The share of the lost, and how many are lost in a row on average.
    fn shape(lost: &[bool]) -> (f64, f64) {
        let bursts = lost.chunk_by(|a, b| a == b).filter(|run| run[0]).count() as f64;
        let all = lost.iter().filter(|lost| **lost).count() as f64;
        (all / lost.len() as f64, all / bursts)
    }

    #[test]
    fn random_losses_come_alone_and_bursts_in_a_row() {
        let (share, row) = shape(&lost(Fault::Loss { share: 0.2 }));
        assert!((0.18..0.22).contains(&share) && (1.2..1.3).contains(&row), "{share}, {row}");
        // On a bad link for 1 / `ends` packets, and there for a fifth of the time.
        let bursty = Fault::BurstyLoss { begins: 0.0125, ends: 0.05, bad: 1.0, good: 0.0 };
        let (share, row) = shape(&lost(bursty));
        assert!((0.15..0.25).contains(&share) && (15.0..25.0).contains(&row), "{share}, {row}");
    }

    #[test]
    fn a_good_link_and_a_bad_one_each_lose_their_share() {
        let always_good = Fault::BurstyLoss { begins: 0.0, ends: 0.0, bad: 1.0, good: 0.1 };
        let always_bad = Fault::BurstyLoss { begins: 1.0, ends: 0.0, bad: 0.7, good: 0.0 };
        let [good, bad] = [always_good, always_bad].map(|fault| shape(&lost(fault)).0);
        assert!((0.08..0.12).contains(&good) && (0.67..0.73).contains(&bad), "{good}, {bad}");
    }
}
