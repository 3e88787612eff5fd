//! Small plans, built in Rust.

use std::net::Ipv4Addr;

use reseed_protocol::Time;
use reseed_sim::{
    Content, Engine, Plan, Report, Watch,
    plan::{
        Action, EventPlan, Fault, FaultPlan, FilePlan, Has, Limits, LinkPlan, PeerPlan, PlayerPlan,
        TorrentPlan, TrackerPlan, When,
    },
};

/// Two blocks.
const PIECE_LENGTH: u32 = 32 * 1024;

/// What comes of a plan, which is sound.
pub fn run(plan: &Plan, engine: Engine) -> Report {
    watched(plan, engine, &mut ())
}

/// The same, and the lines of its transcript.
pub fn told(plan: &Plan, engine: Engine) -> (Report, Vec<String>) {
    let mut lines = Lines(Vec::new());
    (watched(plan, engine, &mut lines), lines.0)
}

fn watched(plan: &Plan, engine: Engine, watch: &mut dyn Watch) -> Report {
    plan.check().unwrap();
    let content = Content::generate(&plan.torrent).unwrap();
    reseed_sim::run(plan, &content, engine, watch)
}

struct Lines(Vec<String>);

impl Watch for Lines {
    fn wants_lines(&self) -> bool {
        true
    }

    fn line(&mut self, _: Time, line: &str) {
        self.0.push(line.to_owned());
    }
}

/// `pieces` pieces of two blocks each, and these peers at 10.0.0.1 and up, 10 ms
/// from each other.
pub fn plan(pieces: u32, peers: impl IntoIterator<Item = PeerPlan>) -> Plan {
    let length = u64::from(pieces) * u64::from(PIECE_LENGTH);
    let placed = |(index, peer): (u32, PeerPlan)| PeerPlan {
        address: Ipv4Addr::from_bits(0x0a00_0001 + index).into(),
        ..peer
    };
    Plan {
        scenario: "test".to_owned(),
        seed: 7,
        perturbation: 0.0,
        buggify: 0.0,
        defects: Vec::new(),
        flip: None,
        limits: Limits { done_ms: 600_000, steps: 10_000_000 },
        torrent: TorrentPlan {
            name: "content".to_owned(),
            piece_length: PIECE_LENGTH,
            private: false,
            merkle: false,
            bitrate: None,
            live: None,
            closed: false,
            files: vec![FilePlan { path: "content".to_owned(), length }],
        },
        tracker: None,
        peers: (0..).zip(peers).map(placed).collect(),
        events: Vec::new(),
        faults: Vec::new(),
    }
}

/// A peer that has everything and knows nobody.
pub fn seed(name: &str) -> PeerPlan {
    PeerPlan { has: Has::Everything, ..leecher(name, &[]) }
}

/// A peer that has nothing and knows these.
pub fn leecher(name: &str, knows: &[&str]) -> PeerPlan {
    PeerPlan {
        link: link_ms(5),
        knows: knows.iter().map(|name| (*name).to_owned()).collect(),
        ..PeerPlan::new(name)
    }
}

/// The same plan for a private torrent. BEP 27.
pub fn private(mut plan: Plan) -> Plan {
    plan.torrent.private = true;
    plan
}

/// The same plan for a video of 100 kB a second, which its peers stream, and play if
/// they have not got it all.
pub fn video(mut plan: Plan) -> Plan {
    plan.torrent.bitrate = Some(100_000);
    for peer in &mut plan.peers {
        peer.stream = true;
        let player = PlayerPlan { start_ms: 0, from: 0, acts: Vec::new() };
        peer.player = (peer.has != Has::Everything).then_some(player);
    }
    plan
}

/// The same plan for a live stream of so many pieces, of which some seven play in a
/// second.
pub fn live(plan: Plan, pieces: u64) -> Plan {
    let mut plan = video(plan);
    plan.torrent.bitrate = Some(230_000);
    plan.torrent.live = Some(pieces);
    plan
}

/// The same plan with a tracker, to which everybody announces every 5 s.
pub fn announced(mut plan: Plan) -> Plan {
    let address = Ipv4Addr::new(10, 0, 255, 1).into();
    plan.tracker = Some(TrackerPlan {
        address,
        interval_s: 5,
        silent: false,
        udp: false,
        faults: Vec::new(),
        link: link_ms(5),
    });
    plan.peers.iter_mut().for_each(|peer| peer.announce = true);
    plan
}

/// The same plan, and what is done to its peers.
pub fn with_events<'a>(
    mut plan: Plan,
    events: impl IntoIterator<Item = (&'a str, Action, When)>,
) -> Plan {
    plan.events.extend(events.into_iter().map(|(peer, action, when)| EventPlan {
        peer: peer.to_owned(),
        action,
        when,
        delay_ms: 0,
        if_possible: false,
    }));
    plan
}

/// The same plan, and what goes wrong with whom for a time, milliseconds from and to.
pub fn with_fault(mut plan: Plan, fault: Fault, hosts: &[&str], from: u64, to: u64) -> Plan {
    plan.faults.push(FaultPlan {
        fault,
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        when: When::At(from),
        delay_ms: 0,
        for_ms: to - from,
        if_possible: false,
    });
    plan
}

/// A link of this latency each way, without bounds.
pub fn link_ms(latency: u64) -> LinkPlan {
    LinkPlan { latency_us: latency * 1_000, jitter_us: 0, bandwidth: None, queue: None }
}
