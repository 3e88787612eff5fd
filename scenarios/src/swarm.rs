//! Swarms to measure with: the same that other simulators were measured with.

use std::net::{IpAddr, Ipv4Addr};

use reseed_sim::{
    Plan,
    plan::{FilePlan, Has, Limits, LinkPlan, PeerPlan, TorrentPlan, TrackerPlan},
};

/// A kind of swarm, of any number of peers: one has all of the content, the others
/// come for it. One way takes 50 ms. Each peer is in a network of its own, as on the
/// Internet: those of one /24 are allowed the same pieces while they are choked (BEP 6
/// §Allowed Fast), and the seed would begin by giving each the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swarm {
    /// 16 MiB over links without limits.
    Unlimited,
    /// 16 MiB over links of 1 MB/s each way.
    Limited,
    /// 1 MiB in small pieces, over links without limits.
    Small,
    /// As many as there may be: 16 MiB over links of 1 MB/s each way. Each knows a few to
    /// begin with, and hears of others from the tracker and from its peers.
    Large,
    /// Nobody has anything to give: keepalives for an hour. Then comes somebody who
    /// has the one piece that there is, so that the run can be judged.
    Idle,
}

/// Peers at most that are all connected to each other (count): in a larger swarm each
/// dials [`NEIGHBOURS`].
const MESH_MAX: usize = 50;

/// Whom each dials in a large swarm: the next so many in a ring (count).
const NEIGHBOURS: usize = 20;

/// Connections up to which each opens more in [`Swarm::Large`] (count).
const CONNECTIONS: usize = 20;

impl Swarm {
    /// The plan of such a swarm.
    ///
    /// # Panics
    ///
    /// If there are fewer than two peers, or more than 10.0.0.0/8 has networks of 256 for.
    pub fn plan(self, peers: usize, seed: u64) -> Plan {
        assert!((2..1 << 16).contains(&peers), "a swarm of {peers} peers");
        let (length, piece_length) = match self {
            Swarm::Unlimited | Swarm::Limited | Swarm::Large => (16 << 20, 256 << 10),
            Swarm::Small => (1 << 20, 16 << 10),
            Swarm::Idle => (16 << 10, 16 << 10),
        };
        Plan {
            scenario: format!("{self:?} of {peers}").to_lowercase(),
            seed,
            perturbation: 0.0,
            buggify: 0.0,
            defects: Vec::new(),
            flip: None,
            limits: Limits { done_ms: 7_200_000, steps: u64::MAX },
            torrent: TorrentPlan {
                name: "content".to_owned(),
                piece_length,
                private: false,
                merkle: false,
                bitrate: None,
                live: None,
                closed: false,
                files: vec![FilePlan { path: "content".to_owned(), length }],
            },
            tracker: (self == Swarm::Large).then(tracker),
            peers: (0..peers).map(|number| self.peer(number, peers)).collect(),
            events: Vec::new(),
            faults: Vec::new(),
        }
    }

    fn peer(self, number: usize, peers: usize) -> PeerPlan {
        let neighbours = match (self, peers) {
            (Swarm::Idle, _) => 1,
            // With those of whom it is one.
            (Swarm::Large, _) => (CONNECTIONS / 2).min(peers - 1),
            (_, ..=MESH_MAX) => peers - 1 - number,
            _ => NEIGHBOURS,
        };
        let seeds = number == 0;
        PeerPlan {
            address: IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0001 | (number as u32) << 8)),
            join_ms: if self == Swarm::Idle && seeds { 3_600_000 } else { 0 },
            has: if seeds { Has::Everything } else { Has::Nothing },
            link: LinkPlan {
                latency_us: 25_000,
                jitter_us: 0,
                bandwidth: matches!(self, Swarm::Limited | Swarm::Large).then_some(1_000_000),
                queue: None,
            },
            knows: (1..=neighbours).map(|next| name((number + next) % peers)).collect(),
            upload_slots: 8,
            pex: self == Swarm::Large,
            initiate_max: (self == Swarm::Large).then_some(CONNECTIONS),
            ..PeerPlan::new(&name(number))
        }
    }
}

fn tracker() -> TrackerPlan {
    TrackerPlan {
        address: IpAddr::from([192, 168, 0, 1]),
        interval_s: 60,
        silent: false,
        udp: false,
        faults: Vec::new(),
        link: LinkPlan { latency_us: 25_000, jitter_us: 0, bandwidth: None, queue: None },
    }
}

fn name(number: usize) -> String {
    match number {
        0 => "seed".to_owned(),
        _ => format!("leecher-{number}"),
    }
}
