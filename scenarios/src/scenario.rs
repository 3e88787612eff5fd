//! A scenario: what is shared, by whom, and what happens to them, as a TOML file
//! says it.
//!
//! Every number may be fixed (`latency_ms = 20`) or drawn from the seed
//! (`latency_ms = { from = 5, to = 60 }`); every peer of a group draws for
//! itself. With a `chance` too, it is drawn as often as that, and else zero, or left out
//! where it may be. Only a name, a torrent and the peers have to be there:
//!
//! ```toml
//! name = "two-peers"
//!
//! [torrent]
//! length = 163_840
//!
//! [[peers]]
//! name = "seed"
//! has = "everything"
//!
//! [[peers]]
//! name = "leecher"
//! knows = ["seed"]
//! ```

mod app;
mod axes;
mod behaviour;
mod churn;
mod draw;
mod error;
mod events;
mod faults;
mod flag;
mod history;
mod peers;
mod plan;
mod player;
mod torrent;
mod tracker;

pub use app::{App, ExitWhen};
pub use behaviour::Behaviour;
pub use churn::Churn;
pub use draw::{Draw, Quantity};
pub(crate) use error::Step;
pub use error::{Place, Problem, ScenarioError};
pub use faults::{Fault, FaultKind, Lost};
pub use flag::Flag;
pub use history::{History, KnownDefect};
pub use player::Player;
use reseed_sim::plan::{Action, Feature};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
pub use tracker::{TrackerFault, TrackerFaultKind};

/// A scenario. With a seed it makes a plan: [`Scenario::plan`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is called: letters, digits, `-` and `_`.
    pub name: String,
    /// What it shows, in a sentence or two.
    #[serde(default)]
    pub about: String,
    /// The problem that it replays, if it replays one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<History>,
    /// The bugs that it shows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub defects: Vec<KnownDefect>,
    /// How often the next task is drawn at random instead of in turn, 0 to 1. By
    /// default drawn from 0 to 0.5.
    #[serde(default = "perturbation")]
    pub perturbation: Draw<f64>,
    /// How often what may always happen to a client happens, at each point where it may:
    /// short reads and writes, timers and wake-ups that come early, callbacks, dials and
    /// bytes that come late; 0 to 1.
    #[serde(default = "Draw::<f64>::zero")]
    pub buggify: Draw<f64>,
    /// Where a run ends at the latest.
    #[serde(default)]
    pub limits: Limits,
    /// Whether everybody, the tracker too, has an IPv6 address instead of an IPv4 one.
    /// BEP 7.
    #[serde(default = "no")]
    pub ipv6: Flag,
    /// What is shared.
    pub torrent: Torrent,
    /// The tracker. Without this table there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracker: Option<Tracker>,
    /// An option that must not change anything but itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flip: Option<Flip>,
    /// The peers, alone or in groups.
    pub peers: Vec<Peers>,
    /// What is done to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// What goes wrong around them for a time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

/// Where a run ends at the latest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Virtual time by which every download must be complete, seconds.
    pub done_s: Draw<f64>,
    /// Steps of the world (count).
    pub steps: Draw<u64>,
}

/// What is shared: made-up bytes in this shape, the same under every seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Torrent {
    /// Name of the file, or of the folder.
    #[serde(default = "content_name")]
    pub name: String,
    /// Bytes a piece; by default 32 KiB. Not necessarily a multiple of 16 KiB.
    #[serde(default = "piece_length")]
    pub piece_length: Draw<u32>,
    /// Whether peers come from the tracker alone. BEP 27.
    #[serde(default = "no")]
    pub private: Flag,
    /// Whether the torrent has the root of a tree of hashes instead of all of them:
    /// a Merkle torrent. BEP 30.
    #[serde(default = "no")]
    pub merkle: Flag,
    /// Bytes a second that it plays with, if its largest file is a video; peers with
    /// `stream` play it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate: Option<Draw<u64>>,
    /// How many pieces of it are to come to everybody, if it is a live stream. It goes on for
    /// as long as the run, round the torrent's pieces, of which there are at least 32, all of
    /// one length. The one peer that has everything makes it, and nobody else has any of it
    /// before; those with `stream` view, from the edge on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Draw<u64>>,
    /// Whether its swarm is closed: content goes only to who has proven access, by
    /// a certificate.
    #[serde(default = "no")]
    pub closed: Flag,
    /// Bytes of it, all together. Either this or `files`. What is drawn for a live stream
    /// is cut off to whole pieces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<Draw<u64>>,
    /// How many files in a folder `length` is cut into, at drawn places, so that some may
    /// be empty (count). Without it a single file, and no folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_count: Option<Draw<u32>>,
    /// The files in the folder. Either this or `length`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<File>>,
}

/// A file of the torrent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Its path below the torrent's folder, parts joined by `/`.
    pub path: String,
    /// Bytes; may be zero.
    pub length: Draw<u64>,
}

/// The tracker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tracker {
    /// Whether it is there at all.
    pub present: Flag,
    /// Seconds that it tells peers to wait between announces.
    pub interval_s: Draw<u32>,
    /// It hears announces, and never answers.
    pub silent: Flag,
    /// It speaks UDP (BEP 15) rather than HTTP.
    pub udp: Flag,
    /// What it does wrong for a time.
    pub faults: Vec<TrackerFault>,
    /// Its link.
    pub link: Link,
}

/// A peer, or a group of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Peers {
    /// Its name, used in events, transcripts and evidence. With a `count` the
    /// peers are called `name-1`, `name-2` and so on.
    pub name: String,
    /// How many there are; without it one, called just `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Draw<u32>>,
    /// When it starts, seconds of virtual time.
    #[serde(default = "Draw::<f64>::zero")]
    pub join_s: Draw<f64>,
    /// How the peers of a group come and go, by rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub churn: Option<Churn>,
    /// What is on its disk when it first starts.
    #[serde(default)]
    pub has: Has,
    /// What else is on its disk then.
    #[serde(default)]
    pub remnant: Remnant,
    /// Its access link.
    #[serde(default)]
    pub link: Link,
    /// Whether it is there at all.
    #[serde(default = "yes")]
    pub here: Flag,
    /// Whether it runs on one host with all others of which that is so: one address,
    /// a port and a disk each. They reach each other by loopback.
    #[serde(default = "no")]
    pub same_host: Flag,
    /// Exchange peers with peers. BEP 11.
    #[serde(default = "yes")]
    pub pex: Flag,
    /// Speak the fast extension. BEP 6.
    #[serde(default = "yes")]
    pub fast: Flag,
    /// Announce to the tracker; by default whenever there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announce: Option<Flag>,
    /// Peers that it knows from the start; the name of a group means all of it.
    #[serde(default)]
    pub knows: Vec<String>,
    /// Probability that it knows each of the others too, 0 to 1.
    #[serde(default = "Draw::<f64>::zero")]
    pub knows_chance: Draw<f64>,
    /// Whether those that it knows know it as well, so that both may dial at once.
    #[serde(default = "no")]
    pub known_back: Flag,
    /// Peers that it unchokes at a time (count). BEP 3: 4.
    #[serde(default = "upload_slots")]
    pub upload_slots: Draw<u32>,
    /// Bytes a second that its client sends at most; without it no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_limit: Option<Draw<u64>>,
    /// Bytes a second that its client receives at most; without it no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download_limit: Option<Draw<u64>>,
    /// In which subnet it is, 0 to 254: the second byte of its address, or the fourth
    /// group of an IPv6 one.
    #[serde(default = "Draw::<u32>::zero")]
    pub subnet: Draw<u32>,
    /// Whom it prefers to upload to.
    #[serde(default)]
    pub locality: Locality,
    /// Between two rounds of its choker, seconds; the optimistic slot changes hands
    /// every third. BEP 3: 10 s.
    #[serde(default = "choke_round")]
    pub choke_round_s: Draw<f64>,
    /// Fetch the video in the order in which it is played. Needs the torrent's
    /// `bitrate`.
    #[serde(default = "no")]
    pub stream: Flag,
    /// Who watches what it streams; by default somebody does, from start to end.
    #[serde(default)]
    pub player: Player,
    /// Give the metadata to whom asks for it (BEP 9).
    #[serde(default = "no")]
    pub metadata: Flag,
    /// Start from a magnet link, with nothing but the torrent's hash and its tracker; but
    /// of a private torrent from that. Somebody must give the metadata.
    #[serde(default = "no")]
    pub magnet: Flag,
    /// Prefer connections of a greater priority (BEP 40).
    #[serde(default = "no")]
    pub peer_priority: Flag,
    /// Say that a piece is gone when it cannot be read, and take such word (BEP 54).
    #[serde(default = "no")]
    pub dont_have: Flag,
    /// As a seed, show each peer a piece at a time, and another once others have that
    /// (BEP 16).
    #[serde(default = "no")]
    pub super_seed: Flag,
    /// Connections at a time, beyond which it opens none itself (count); without it as
    /// many as it may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initiate_max: Option<Draw<u32>>,
    /// The program around its client.
    #[serde(default)]
    pub app: App,
    /// Who is told how its download stands; without it nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reports: Option<Reports>,
    /// What it shows to prove that it may have the content of a closed swarm.
    #[serde(default)]
    pub certificate: Certificate,
    /// What it serves with other bytes than the true ones, which are on its disk.
    #[serde(default)]
    pub lies: Lies,
    /// What its host runs: our client, or something that means no good. Then what is said
    /// of a client is not heeded.
    #[serde(default)]
    pub behaviour: Behaviour,
    /// Whether it is behind a NAT: it can dial, and not be dialled.
    #[serde(default = "no")]
    pub nat: Flag,
    /// Whether a run may go by without anything coming of its behaviour, if that is not
    /// honest, or of its NAT, because it met nobody in time.
    #[serde(default = "no")]
    pub if_possible: Flag,
}

/// Whom a peer prefers to upload to: `"anywhere"` (nobody), `"subnet"` (those in its
/// own), `"parity"` (those whose address is odd, or even, as its own is), or
/// `{ one_of = ["anywhere", "subnet"] }`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Locality {
    /// Nobody.
    #[default]
    Anywhere,
    /// Those in its own subnet.
    Subnet,
    /// Those whose address ends in an odd, or even, byte as its own does.
    Parity,
    /// One of these, each as likely as any other.
    #[serde(rename = "one_of")]
    OneOf(Vec<Locality>),
}

/// Who is told how a peer's download stands, and how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reports {
    /// Whether anybody is.
    pub on: Flag,
    /// Seconds between two reports. SmoothIT defaults to 5.
    pub interval_s: Draw<f64>,
    /// Whether the monitoring server is told, before others.
    pub server: Flag,
    /// How often the server does not take a report, because it is down: 0 to 1.
    pub fails: Draw<f64>,
    /// How long the server takes for one, milliseconds.
    pub takes_ms: Draw<f64>,
    /// Whether the log is told.
    pub log: Flag,
}

/// A certificate: `"valid"`, `"none"`, `"expired"`, `"forged"` (expired, with a later
/// time written into it), `"self-made"`, `"other-swarm"`, `{ expires_s = 30 }` (virtual
/// time), or `{ one_of = ["valid", "none"] }`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Certificate {
    /// The owner gave it, for ever.
    #[default]
    Valid,
    /// There is none.
    None,
    /// It had ended before the run began.
    Expired,
    /// It had ended, and a later time was written into it.
    Forged,
    /// The peer signed it itself.
    SelfMade,
    /// The owner gave it for another torrent.
    OtherSwarm,
    /// It ends at this virtual time, seconds.
    #[serde(rename = "expires_s")]
    ExpiresS(Draw<f64>),
    /// One of these, each as likely as any other.
    #[serde(rename = "one_of")]
    OneOf(Vec<Certificate>),
}

/// What a peer lies about: `"nothing"`, `{ blocks = 0.5 }`, `{ pieces = [0, 3] }`,
/// `{ share = 0.5 }`, or `{ one_of = ["nothing", { blocks = 1.0 }] }`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Lies {
    /// It is honest.
    #[default]
    Nothing,
    /// Each block, with this probability.
    Blocks(Draw<f64>),
    /// The pieces with these indices, from 0.
    Pieces(Vec<u32>),
    /// This share of the pieces, 0 to 1; which ones is drawn.
    Share(Draw<f64>),
    /// One of these, each as likely as any other.
    #[serde(rename = "one_of")]
    OneOf(Vec<Lies>),
}

/// What a peer has on its disk to begin with: `"nothing"`, `"everything"`,
/// `{ pieces = [0, 3] }`, `{ share = 0.5 }`, or `{ one_of = ["nothing", "everything"] }`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Has {
    /// Nothing.
    #[default]
    Nothing,
    /// All of the content.
    Everything,
    /// The pieces with these indices, from 0.
    Pieces(Vec<u32>),
    /// This share of the pieces, 0 to 1; which ones is drawn.
    Share(Draw<f64>),
    /// One of these, each as likely as any other.
    #[serde(rename = "one_of")]
    OneOf(Vec<Has>),
}

/// What somebody else, or an earlier run, left on a peer's disk: `"nothing"`,
/// `"other-bytes"` in the place of what it does not have, `"stale-resume"` (resume data of
/// a time when it had everything, and the files are gone: only of who has nothing),
/// `"broken-resume"`, or `{ one_of = ["nothing", "other-bytes"] }`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Remnant {
    /// Nothing.
    #[default]
    Nothing,
    /// Other bytes in the place of the pieces that it does not have.
    OtherBytes,
    /// Resume data of a time when it had everything; the files are gone since. Who has
    /// something has no such data.
    StaleResume,
    /// Resume data that was damaged.
    BrokenResume,
    /// One of these, each as likely as any other.
    #[serde(rename = "one_of")]
    OneOf(Vec<Remnant>),
}

/// An access link, the same both ways. A packet goes up the sender's and down the
/// receiver's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Link {
    /// One way, milliseconds.
    pub latency_ms: Draw<f64>,
    /// Up to this much more, drawn for each packet, milliseconds.
    pub jitter_ms: Draw<f64>,
    /// Bytes a second; without it no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Draw<u64>>,
    /// Bytes that may wait while the link is busy; without it no limit. Needs a
    /// `bandwidth`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Draw<u64>>,
}

/// An option to switch for a second run, which is compared with the first: nothing
/// may differ but the option's own frames (I-FLAG). There is no second run of a plan
/// in which it may rightly change more, as where peers learn of each other by peer
/// exchange alone, or come and go in between.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Flip {
    /// Which option: `"pex"`, `"fast"` or `"stream"`.
    #[schemars(with = "FeatureNames")]
    pub feature: Feature,
    /// The peers at which it is switched; by default all of them.
    #[serde(default)]
    pub peers: Vec<String>,
    /// Whether there is a second run at all.
    #[serde(default = "yes")]
    pub wanted: Flag,
}

/// Something that is done to a peer, once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// What other events call it in their `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The peer that it is done to; the name of a group means each of its peers, and
    /// every one draws for itself.
    pub peer: String,
    /// Probability that it happens at all, 0 to 1. What waits for one that does not
    /// happen does not happen either.
    #[serde(default = "one")]
    pub chance: f64,
    /// Whether the run may go by without it: if its peer is not there when it is
    /// due, or the run is over before.
    #[serde(default)]
    pub if_possible: bool,
    /// What is done: `"leave"`, its user shuts it down, and everything else waits until
    /// it has; `"interrupt"`, its user presses Ctrl-C, maybe again; `"crash"`, it loses power;
    /// `"start"`, it starts (again) from what is on its disk; `"wipe"`, its disk
    /// is emptied.
    #[schemars(with = "ActionNames")]
    pub action: Action,
    /// As soon as this holds.
    pub when: When,
    /// And this much later, seconds.
    #[serde(default = "Draw::<f64>::zero")]
    pub delay_s: Draw<f64>,
}

/// What an event waits for: `{ at_s = 10 }`, `{ verified = { share = 0.5 } }`,
/// `{ copy_without = "seed" }` or `{ after = "power-cut" }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Virtual time, seconds.
    AtS(Draw<f64>),
    /// A peer has verified so many pieces.
    Verified(Verified),
    /// The live peers other than this one together have every piece.
    CopyWithout(String),
    /// The event of this name was carried out.
    After(String),
}

/// How many pieces which peer has verified: either `pieces` or `share`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verified {
    /// The peer; by default the one that the event is done to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pieces: Option<Draw<u32>>,
    /// Share of all pieces, 0 to 1, rounded up to whole ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Draw<f64>>,
}

impl Scenario {
    /// The JSON Schema of the TOML format, for editors.
    pub fn schema() -> schemars::Schema {
        schemars::schema_for!(Scenario)
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { done_s: Draw::Fixed(3600.0), steps: Draw::Fixed(100_000_000) }
    }
}

impl Default for Tracker {
    fn default() -> Tracker {
        Tracker {
            present: yes(),
            interval_s: Draw::Fixed(60),
            silent: no(),
            udp: no(),
            faults: Vec::new(),
            link: Link::default(),
        }
    }
}

impl Default for Reports {
    fn default() -> Reports {
        Reports {
            on: yes(),
            interval_s: Draw::Fixed(5.0),
            server: yes(),
            fails: Draw::zero(),
            takes_ms: Draw::Fixed(20.0),
            log: yes(),
        }
    }
}

impl Default for Link {
    fn default() -> Link {
        Link {
            latency_ms: Draw::Fixed(20.0),
            jitter_ms: Draw::zero(),
            bandwidth: None,
            queue: None,
        }
    }
}

/// The names of [`Feature`], for the schema alone.
#[derive(JsonSchema)]
#[schemars(rename = "Feature", rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
enum FeatureNames {
    Pex,
    Fast,
    Stream,
}

/// The names of [`Action`], for the schema alone.
#[derive(JsonSchema)]
#[schemars(rename = "Action", rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
enum ActionNames {
    Leave,
    Interrupt,
    Crash,
    Start,
    Wipe,
}

fn perturbation() -> Draw<f64> {
    Draw::Range { from: 0.0, to: 0.5 }
}

fn content_name() -> String {
    "content".to_owned()
}

fn piece_length() -> Draw<u32> {
    Draw::Fixed(32 * 1024)
}

fn upload_slots() -> Draw<u32> {
    Draw::Fixed(4)
}

fn one() -> f64 {
    1.0
}

fn choke_round() -> Draw<f64> {
    Draw::Fixed(10.0)
}

fn yes() -> Flag {
    Flag::Fixed(true)
}

fn no() -> Flag {
    Flag::Fixed(false)
}
