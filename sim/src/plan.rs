//! A plan: everything that is to happen in a run, spelled out.
//!
//! A scenario and a seed make a plan; the plan alone is what runs. It can be
//! saved, edited and run again, and the same plan always gives the same run.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

mod behaviour;
mod check;
mod tracker_fault;

pub use self::{
    behaviour::Behaviour,
    check::PlanError,
    tracker_fault::{TrackerFault, TrackerFaultPlan},
};
pub use crate::{
    fault::{Fault, FaultPlan, Lost},
    feature::Feature,
};
use reseed_protocol::{Defect, Video};
use serde::{Deserialize, Serialize};

/// All of a run that is decided before it starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The scenario that it was made from.
    pub scenario: String,
    /// Root of all randomness during the run: task order, jitter, peer ids, the
    /// peers' own choices.
    pub seed: u64,
    /// How often the next task is drawn at random instead of in turn, 0 to 1.
    pub perturbation: f64,
    /// How often what may always happen to a client happens, at each point where it may:
    /// 0 to 1. See [`Buggify`](reseed_client::Buggify).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub buggify: f64,
    /// Bugs that are written back into every peer.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "defects")]
    pub defects: Vec<Defect>,
    /// An option that must not change anything but itself: the plan is run again with
    /// it switched, and the two runs are compared (I-FLAG).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flip: Option<FlipPlan>,
    /// Where the run ends at the latest.
    pub limits: Limits,
    /// What is shared.
    pub torrent: TorrentPlan,
    /// The tracker, if there is one.
    pub tracker: Option<TrackerPlan>,
    /// The peers, in the order in which they are numbered.
    pub peers: Vec<PeerPlan>,
    /// What is done to them.
    pub events: Vec<EventPlan>,
    /// What goes wrong around them for a time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultPlan>,
}

/// What the tracker's host is called, in faults and reports.
pub const TRACKER: &str = "tracker";

/// An option to switch for a second run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlipPlan {
    /// Which.
    pub feature: Feature,
    /// Names of the peers at which to switch it.
    pub peers: Vec<String>,
}

/// Bounds of a run. One that is hit makes the verdict `fail` where an oracle was
/// waiting for progress, and `unknown` otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Virtual time by which every download must be complete, milliseconds.
    pub done_ms: u64,
    /// Steps of the world (count).
    pub steps: u64,
}

/// The torrent that is shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TorrentPlan {
    /// Its name: that of the file, or of the folder.
    pub name: String,
    /// Nominal bytes a piece.
    pub piece_length: u32,
    /// Whether peers come from the tracker alone. BEP 27.
    pub private: bool,
    /// Whether the metainfo has the root of a tree of hashes alone. BEP 30.
    #[serde(default, skip_serializing_if = "is_false")]
    pub merkle: bool,
    /// Bytes a second that it plays with, if its largest file is a video.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate: Option<u64>,
    /// How many pieces of it are to come to everybody, if it is a live stream: it goes round
    /// the torrent's for as long as the run. Who has everything makes it; the others view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<u64>,
    /// Whether content goes only to who has proven access: its swarm is closed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
    /// Its files. One whose path is just the torrent's name makes a single-file
    /// torrent.
    pub files: Vec<FilePlan>,
}

/// A file of the torrent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilePlan {
    /// Its path below the torrent's folder, parts joined by `/`.
    pub path: String,
    /// Bytes.
    pub length: u64,
}

/// The tracker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrackerPlan {
    /// Its address.
    pub address: IpAddr,
    /// Seconds that it tells peers to wait between announces.
    pub interval_s: u32,
    /// It hears announces, and never answers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub silent: bool,
    /// It speaks UDP, BEP 15, rather than HTTP.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub udp: bool,
    /// What it does wrong for a time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<TrackerFaultPlan>,
    /// Its link.
    pub link: LinkPlan,
}

/// A peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerPlan {
    /// Its name, used in events, transcripts and evidence.
    pub name: String,
    /// Its address. Peers that have one in common run on one host, and reach each
    /// other by loopback.
    pub address: IpAddr,
    /// The TCP port that it listens on. BEP 3 suggests 6881.
    #[serde(default = "port", skip_serializing_if = "is_port")]
    pub port: u16,
    /// When it starts, milliseconds of virtual time.
    pub join_ms: u64,
    /// What is on its disk when it first starts.
    pub has: Has,
    /// What else is on its disk then.
    #[serde(default, skip_serializing_if = "Remnant::is_nothing")]
    pub remnant: Remnant,
    /// Its link.
    pub link: LinkPlan,
    /// Exchange peers with peers. BEP 11.
    pub pex: bool,
    /// Speak the fast extension. BEP 6.
    pub fast: bool,
    /// Announce to the tracker.
    pub announce: bool,
    /// Names of peers that it knows from the start.
    pub knows: Vec<String>,
    /// Peers that it unchokes at a time (count).
    pub upload_slots: usize,
    /// Bytes a second that its client sends at most.
    pub upload_limit: Option<u64>,
    /// Bytes a second that its client receives at most.
    pub download_limit: Option<u64>,
    /// Between two rounds of its choker, milliseconds.
    #[serde(default = "choke_round_ms", skip_serializing_if = "is_choke_round_ms")]
    pub choke_round_ms: u64,
    /// Whom it prefers to upload to.
    #[serde(default, skip_serializing_if = "is_anywhere")]
    pub locality: Locality,
    /// Fetch the video in the order in which it is played; only with a bitrate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stream: bool,
    /// Who watches what it streams, if somebody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub player: Option<PlayerPlan>,
    /// It gives the metadata to whom asks for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub metadata: bool,
    /// It starts from a magnet link, with nothing but the torrent's hash and its tracker.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub magnet: bool,
    /// It prefers connections of a greater priority. BEP 40.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub peer_priority: bool,
    /// It says that a piece is gone when it cannot read it, and takes such word. BEP 54.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dont_have: bool,
    /// As a seed it shows each peer a piece at a time. BEP 16.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub super_seed: bool,
    /// Connections that it opens itself at most, those opened to it counted (count);
    /// none is as many as it may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initiate_max: Option<usize>,
    /// The program around its client.
    #[serde(default, skip_serializing_if = "AppPlan::is_default")]
    pub app: AppPlan,
    /// Who is told how its download stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reports: Option<ReportsPlan>,
    /// What it shows in a closed swarm.
    #[serde(default, skip_serializing_if = "CertificatePlan::is_valid")]
    pub certificate: CertificatePlan,
    /// What it serves with other bytes than the true ones, if anything. What is on its
    /// disk is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lies: Option<Lies>,
    /// What its host runs.
    #[serde(default, skip_serializing_if = "Behaviour::is_honest")]
    pub behaviour: Behaviour,
    /// It is behind a NAT: it can dial, and not be dialled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nat: bool,
    /// Whether the run may go by without anything coming of its behaviour, if that is not
    /// honest, or of its NAT.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub if_possible: bool,
}

/// Somebody who watches the video from some byte to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlayerPlan {
    /// How long after its peer starts, milliseconds.
    pub start_ms: u64,
    /// Where it begins, bytes from the start of the video.
    pub from: u64,
    /// What it does in between, each once so many bytes were played; in that order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acts: Vec<(u64, PlayerAct)>,
}

/// What somebody who watches may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlayerAct {
    /// Go elsewhere.
    Seek {
        /// Bytes from the start of the video.
        to: u64,
    },
    /// Stand still.
    Pause {
        /// For how long, milliseconds.
        ms: u64,
    },
}

/// Who is told how a peer's download stands: the monitoring server first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportsPlan {
    /// How often, milliseconds.
    pub interval_ms: u64,
    /// The monitoring server is.
    pub server: bool,
    /// How often it does not take a report, 0 to 1.
    pub fails: f64,
    /// How long it takes for one, milliseconds.
    pub takes_ms: u64,
    /// The log is.
    pub log: bool,
}

/// What a peer shows to prove that it may have the content of a closed swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificatePlan {
    /// A certificate that the owner gave it, for ever.
    #[default]
    Valid,
    /// One that ends at this virtual time, milliseconds, rounded up to a second.
    ExpiresMs(u64),
    /// Nothing.
    None,
    /// One that had ended before the run began.
    Expired,
    /// One that had ended, with a later time written into it.
    Forged,
    /// One that it signed itself.
    SelfMade,
    /// One that the owner gave it for another torrent.
    OtherSwarm,
}

impl CertificatePlan {
    fn is_valid(&self) -> bool {
        *self == CertificatePlan::Valid
    }
}

/// What a liar lies about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lies {
    /// Each block that it serves, with this probability.
    Blocks(f64),
    /// All blocks of these pieces.
    Pieces(Vec<u32>),
}

impl PeerPlan {
    /// A peer that starts at once, with nothing, on a link without latency or bounds,
    /// that knows nobody; to be placed and adorned.
    pub fn new(name: &str) -> PeerPlan {
        PeerPlan {
            name: name.to_owned(),
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            port: port(),
            join_ms: 0,
            has: Has::Nothing,
            remnant: Remnant::Nothing,
            link: LinkPlan { latency_us: 0, jitter_us: 0, bandwidth: None, queue: None },
            pex: true,
            fast: true,
            announce: false,
            knows: Vec::new(),
            upload_slots: 4,
            upload_limit: None,
            download_limit: None,
            choke_round_ms: choke_round_ms(),
            locality: Locality::Anywhere,
            stream: false,
            player: None,
            metadata: false,
            magnet: false,
            peer_priority: false,
            dont_have: false,
            super_seed: false,
            initiate_max: None,
            app: AppPlan::default(),
            reports: None,
            certificate: CertificatePlan::Valid,
            lies: None,
            behaviour: Behaviour::Honest,
            nat: false,
            if_possible: false,
        }
    }
}

impl PeerPlan {
    /// Whether its host runs a client of ours, which is held to all rules.
    pub fn runs_client(&self) -> bool {
        self.behaviour.is_honest()
    }

    /// Why it can have no part in a live stream: which field of it speaks of content that is
    /// there beforehand, or comes to an end, and what is wrong with that.
    pub fn live_complaint(&self) -> Option<(&'static str, &'static str)> {
        if matches!(self.has, Has::Pieces(_)) {
            return Some(("has", "nobody has pieces of a live stream before it is made"));
        }
        if self.remnant != Remnant::Nothing {
            return Some(("remnant", "a live stream leaves nothing on disks before it is made"));
        }
        let is_endless = self.app.exit_when == Exit::Never;
        (!is_endless).then_some(("app", "it exits when a live stream is over, which never is"))
    }

    /// The same peer, without what is said of its client alone.
    pub fn without_client(&self) -> PeerPlan {
        PeerPlan {
            address: self.address,
            port: self.port,
            join_ms: self.join_ms,
            link: self.link,
            announce: self.announce,
            knows: self.knows.clone(),
            behaviour: self.behaviour,
            nat: self.nat,
            if_possible: self.if_possible,
            ..PeerPlan::new(&self.name)
        }
    }
}

/// Whom a peer prefers to upload to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Locality {
    /// Nobody.
    #[default]
    Anywhere,
    /// Those in its own subnet: the first two bytes of their addresses are its own.
    Subnet,
    /// Those with an address whose last byte is odd if its own is, even if not.
    Parity,
}

/// BEP 3: 10 s.
fn choke_round_ms() -> u64 {
    10_000
}

fn is_choke_round_ms(round_ms: &u64) -> bool {
    *round_ms == choke_round_ms()
}

fn is_anywhere(locality: &Locality) -> bool {
    *locality == Locality::Anywhere
}

/// The program around a peer's client: what it does besides sharing, and when it
/// exits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AppPlan {
    /// When it exits by itself.
    pub exit_when: Exit,
    /// How often it looks at its downloads for that, milliseconds.
    pub poll_ms: u64,
    /// Whether it saves on exit what it needs to go on another time.
    pub checkpoint: bool,
    /// How long its parting may take, milliseconds.
    pub grace_ms: u64,
    /// Downloads (count): with none it has nothing to do and exits at once. Any
    /// after the first is a small torrent that nobody else has, complete from the
    /// start.
    pub downloads: u32,
    /// How long a callback of its user takes that begins when it starts,
    /// milliseconds; with 0 there is none.
    pub callback_ms: u64,
}

/// When a program exits by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// Never.
    #[default]
    Never,
    /// When every download is finished.
    Finished,
    /// When every download has been finished for this long, milliseconds.
    Seeded(u64),
    /// When its player has seen the end.
    Played,
}

impl Default for AppPlan {
    fn default() -> AppPlan {
        AppPlan {
            exit_when: Exit::Never,
            poll_ms: 5_000,
            checkpoint: true,
            grace_ms: 5_000,
            downloads: 1,
            callback_ms: 0,
        }
    }
}

impl AppPlan {
    fn is_default(&self) -> bool {
        *self == AppPlan::default()
    }
}

/// What a peer has on its disk to begin with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Has {
    /// Nothing.
    Nothing,
    /// All of the content.
    Everything,
    /// These pieces.
    Pieces(Vec<u32>),
}

/// What somebody else, or an earlier run, left on a peer's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remnant {
    /// Nothing.
    #[default]
    Nothing,
    /// Other bytes in the place of the pieces that it does not have.
    OtherBytes,
    /// Resume data of a time when it had everything; the files are gone since. Only of
    /// who has nothing.
    StaleResume,
    /// Resume data that was damaged.
    BrokenResume,
}

impl Remnant {
    fn is_nothing(&self) -> bool {
        *self == Remnant::Nothing
    }
}

/// A host's access link, the same both ways. A packet goes up the sender's and
/// down the receiver's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkPlan {
    /// One way, microseconds.
    pub latency_us: u64,
    /// Up to this much more, drawn for each packet, microseconds.
    pub jitter_us: u64,
    /// Bytes a second; none is without limit.
    pub bandwidth: Option<u64>,
    /// Bytes that may wait for a busy link; none is without limit.
    pub queue: Option<u64>,
}

/// Something that is done to a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventPlan {
    /// To whom.
    pub peer: String,
    /// What.
    pub action: Action,
    /// As soon as this holds.
    pub when: When,
    /// And this much later, milliseconds.
    pub delay_ms: u64,
    /// Whether the run may go by without it: if it finds nothing to do when it is due,
    /// or everything else is over before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub if_possible: bool,
}

/// What can be done to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Its user shuts it down, and everything else waits until it has.
    Leave,
    /// Its user interrupts it, with Ctrl-C; it may be done again.
    Interrupt,
    /// It loses power: no FIN, and of what was written and not synced some is lost.
    /// One that has to share its host is killed instead: its sockets are closed, and
    /// its disk loses nothing.
    Crash,
    /// It starts (again) from what is on its disk.
    Start,
    /// Its disk is emptied.
    Wipe,
}

impl Action {
    /// All of them.
    pub const ALL: &[Action] =
        &[Action::Leave, Action::Interrupt, Action::Crash, Action::Start, Action::Wipe];

    /// Its name in plans and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Action::Leave => "leave",
            Action::Interrupt => "interrupt",
            Action::Crash => "crash",
            Action::Start => "start",
            Action::Wipe => "wipe",
        }
    }
}

/// What an event waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// Virtual time, milliseconds.
    At(u64),
    /// Peer `peer` has verified `pieces` pieces.
    Verified {
        /// Its name.
        peer: String,
        /// Count.
        pieces: u32,
    },
    /// The live peers other than `peer` together have every piece.
    CopyWithout {
        /// Its name.
        peer: String,
    },
    /// The event with this index in the plan was carried out.
    After(usize),
}

fn port() -> u16 {
    6881
}

fn is_port(number: &u16) -> bool {
    *number == port()
}

fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// Defects by their names.
mod defects {
    use reseed_protocol::Defect;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(defects: &[Defect], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(defects.iter().map(|defect| defect.name()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Defect>, D::Error> {
        let names = Vec::<String>::deserialize(from)?;
        names.iter().map(|name| name.parse().map_err(D::Error::custom)).collect()
    }
}

impl TorrentPlan {
    /// What is played, if anything is that was made before: the largest file.
    pub fn video(&self) -> Option<Video> {
        let bitrate = self.bitrate.filter(|_| self.live.is_none())?;
        let largest = self.files.iter().map(|file| file.length).max()?;
        let before = self.files.iter().take_while(|file| file.length < largest);
        let offset = before.map(|file| file.length).sum();
        Some(Video { offset, length: largest, bitrate })
    }
}

impl TrackerPlan {
    /// The TCP port that it answers on: the one that is customary.
    pub const PORT: u16 = 6969;

    /// What it tells peers to wait between announces.
    pub(crate) fn interval(&self) -> Duration {
        Duration::from_secs(self.interval_s.into())
    }

    /// Where peers announce.
    pub fn announce_url(&self) -> String {
        let scheme = if self.udp { "udp" } else { "http" };
        format!("{scheme}://{}/announce", SocketAddr::new(self.address, TrackerPlan::PORT))
    }
}

impl Plan {
    /// The peer called `name`, as an index into [`Plan::peers`].
    pub fn peer(&self, name: &str) -> Option<usize> {
        self.peers.iter().position(|peer| peer.name == name)
    }

    /// Where `peer` reaches `other`, both as indices: by loopback if they run on one
    /// host.
    pub fn contact(&self, peer: usize, other: usize) -> SocketAddr {
        let PeerPlan { address, port, .. } = self.peers[other];
        let loopback = || match address {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        let ip = if self.peers[peer].address == address { loopback() } else { address };
        SocketAddr::new(ip, port)
    }

    /// Whether `peer` has its host to share with others.
    pub fn shares_host(&self, peer: usize) -> bool {
        let address = self.peers[peer].address;
        self.peers.iter().filter(|other| other.address == address).count() > 1
    }

    /// Hosts (count): one for each peer, and the tracker's.
    pub fn hosts(&self) -> usize {
        self.peers.len() + usize::from(self.tracker.is_some())
    }

    /// What is done to its hosts, and what goes wrong around them: events and faults
    /// (count).
    pub fn happenings(&self) -> usize {
        let of_tracker = self.tracker.as_ref().map_or(0, |tracker| tracker.faults.len());
        self.events.len() + self.faults.len() + of_tracker
    }

    /// Whether somebody streams.
    pub fn streams(&self) -> bool {
        self.torrent.video().is_some() && self.peers.iter().any(|peer| peer.stream)
    }

    /// Whether some peer is to fetch a video in order that no event takes away, and may
    /// have it.
    pub fn streams_on(&self) -> bool {
        let stays = |peer: &PeerPlan| self.events.iter().all(|event| event.peer != peer.name);
        let is_let_in =
            |peer: &PeerPlan| !self.torrent.closed || peer.certificate == CertificatePlan::Valid;
        let streams = |peer: &PeerPlan| peer.stream && stays(peer) && is_let_in(peer);
        self.torrent.video().is_some() && self.peers.iter().any(streams)
    }

    /// Whether some client is to announce something to a tracker.
    pub fn announces(&self) -> bool {
        let announces =
            |peer: &PeerPlan| peer.runs_client() && peer.announce && peer.app.downloads > 0;
        self.tracker.is_some() && self.peers.iter().any(announces)
    }

    /// Whether some link has a bandwidth or a queue.
    pub fn shapes_links(&self) -> bool {
        let tracker = self.tracker.iter().map(|tracker| tracker.link);
        let links = self.peers.iter().map(|peer| peer.link).chain(tracker);
        links.into_iter().any(|link| link.bandwidth.is_some() || link.queue.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Written {
        #[serde(default, with = "defects")]
        defects: Vec<Defect>,
    }

    #[test]
    fn defects_are_written_by_their_names() {
        let plan = Written { defects: vec![Defect::PexInPrivate, Defect::HaveBeforeCheck] };
        let json = serde_json::to_string(&plan).unwrap();
        assert_eq!(json, r#"{"defects":["pex-in-private","have-before-check"]}"#);
        assert_eq!(serde_json::from_str::<Written>(&json).unwrap(), plan);
    }

    #[test]
    fn a_plan_need_not_speak_of_defects_and_may_not_make_them_up() {
        assert_eq!(serde_json::from_str::<Written>("{}").unwrap(), Written { defects: vec![] });
        let error = serde_json::from_str::<Written>(r#"{"defects":["rust"]}"#).unwrap_err();
        assert!(error.to_string().contains("there is no defect \"rust\""), "{error}");
    }
}
