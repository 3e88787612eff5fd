//! What runs are checked against.
//!
//! An oracle is a statement that must hold at every step. It is shown what
//! each torrent does, and keeps its own record beside it, made from what was said
//! on the wire and from the true content, never from what the peer believes of
//! itself. It counts what it checked: one that never had occasion to check
//! anything makes a run's verdict `unknown`.

use std::{fmt, net::SocketAddr, rc::Rc};

use bytes::Bytes;
use reseed_client::Activity;
use reseed_protocol::{
    Block, Connection, Time, Torrent,
    extension::{Extension, HashPiece},
    torrent::{Event, Spoken},
    tracker::AnnounceRequest,
    wire::Message,
};

use crate::{Content, Plan, SimDisk, StreamId};

mod access;
mod availability;
mod ban;
mod blocks;
mod errors;
mod fair;
mod give;
mod have;
mod init;
mod live;
mod lives;
mod memory;
mod one;
mod private;
mod progress;
mod reports;
mod resume;
mod slots;
mod streaming;
mod tracker;
mod waste;
mod wire;

/// An oracle's identifier, as in reports and scenario files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Code {
    /// Availability is the number of connections whose bitfield has the piece.
    Avail,
    /// Who is banned has sent wrong bytes, and who goes on sending them is banned.
    Ban,
    /// Every block is in exactly one state, and in flight where it was requested.
    Blk,
    /// In a closed swarm content goes to who has proven access, and to nobody else.
    Cs,
    /// Every download finishes, with the true content.
    Done,
    /// No error is caught and dropped.
    Err,
    /// Who stays interested is unchoked before long.
    Fair,
    /// Switching an option changes that option's frames and nothing else.
    Flag,
    /// Among those who stream, who passes on more is unchoked before who passes on less.
    Give,
    /// Only verified pieces are announced, and true bytes served.
    Have,
    /// Nobody is called before it is there, or when it is no more.
    Init,
    /// Memory is bounded, whatever a remote declares.
    Mem,
    /// Between two peers there is one connection, and none to oneself.
    One,
    /// A private torrent's peers come from its tracker alone.
    Priv,
    /// Who can have a block gets one before long.
    Prog,
    /// Who watches a download is told, in time, and always in the same form.
    Report,
    /// What is remembered of a download is there, whatever the moment of a crash.
    Resume,
    /// Nothing panics, whatever comes in.
    Robust,
    /// Slots and queues keep to their limits and are empty at rest.
    Slot,
    /// Nobody works without end while time stands still.
    Spin,
    /// After a shutdown nothing is left.
    Stop,
    /// What is played next is asked of somebody who can bring it in time.
    Stream,
    /// The tracker hears of a download's beginning, of its end, and in between.
    Trk,
    /// Nobody asks again and again, and what comes is mostly of use.
    Waste,
    /// What is sent may be sent.
    Wire,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Code::Avail => "I-AVAIL",
            Code::Ban => "I-BAN",
            Code::Blk => "I-BLK",
            Code::Cs => "I-CS",
            Code::Done => "I-DONE",
            Code::Err => "I-ERR",
            Code::Fair => "I-FAIR",
            Code::Flag => "I-FLAG",
            Code::Give => "I-GIVE",
            Code::Have => "I-HAVE",
            Code::Init => "I-INIT",
            Code::Mem => "I-MEM",
            Code::One => "I-ONE",
            Code::Priv => "I-PRIV",
            Code::Prog => "I-PROG",
            Code::Report => "I-REPORT",
            Code::Resume => "I-RESUME",
            Code::Robust => "I-ROBUST",
            Code::Slot => "I-SLOT",
            Code::Spin => "I-SPIN",
            Code::Stop => "I-STOP",
            Code::Stream => "I-STREAM",
            Code::Trk => "I-TRK",
            Code::Waste => "I-WASTE",
            Code::Wire => "I-WIRE",
        })
    }
}

/// Whose doings an oracle is shown, and when.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) now: Time,
    /// The peer's index in the plan.
    pub(crate) peer: usize,
    /// The peer's disk.
    pub(crate) disk: &'a SimDisk,
}

/// The connections that a torrent's last step changed, if they were few; `None` if it may
/// have been any of them. They are looked up once, for all oracles.
pub(crate) type Touched<'a> = Option<&'a [&'a Connection]>;

/// What an oracle found wrong, in words.
pub(crate) type Finding = Result<(), String>;

/// A statement that must hold at every step.
pub(crate) trait Oracle {
    /// Its identifier.
    fn code(&self) -> Code;

    /// How often it checked something.
    fn checks(&self) -> u64;

    /// Whether the plan may rightly come to an end before there was anything to check.
    fn may_rest(&self) -> bool {
        false
    }

    /// A peer starts, with no memory of an earlier life.
    fn started(&mut self, _peer: usize) {}

    /// The same, for whom its disk matters.
    fn starts(&mut self, _scene: Scene<'_>) -> Finding {
        Ok(())
    }

    /// A peer is gone, whether it parted or lost its power.
    fn gone(&mut self, _peer: usize) {}

    /// A peer has parted as it should; `tracker_heard` if it had time enough to tell
    /// the tracker so.
    fn parted(&mut self, _peer: usize, _tracker_heard: bool) -> Finding {
        Ok(())
    }

    /// Time goes by: asked each virtual second at least.
    fn passed(&mut self, _now: Time) -> Finding {
        Ok(())
    }

    /// The tracker heard an announce.
    fn announced(&mut self, _scene: Scene<'_>, _announce: &AnnounceRequest) -> Finding {
        Ok(())
    }

    /// What of it looks at the bytes of streams, if anything does; always or never.
    fn listener(&mut self) -> Option<&mut dyn Listener> {
        None
    }

    /// A frame was said or heard, and acted on.
    fn spoke(&mut self, _scene: Scene<'_>, _torrent: &Torrent, _spoken: &Spoken) -> Finding {
        Ok(())
    }

    /// Something happened.
    fn happened(&mut self, _scene: Scene<'_>, _torrent: &Torrent, _event: &Event) -> Finding {
        Ok(())
    }

    /// A result was looked at whose error nobody else would have heard of.
    fn absorbed(&mut self) {}

    /// Somebody caught an error and told nobody of it.
    fn swallowed(&mut self, _doing: &str, _error: &str) -> Finding {
        Ok(())
    }

    /// A torrent took a step, in which it changed no more connections than those it `touched`.
    fn stepped(&mut self, _scene: Scene<'_>, _torrent: &Torrent, _touched: Touched<'_>) -> Finding {
        Ok(())
    }

    /// A player was given these bytes of a live stream, from byte `at` on.
    fn watched(&mut self, _scene: Scene<'_>, _at: u64, _bytes: &[u8]) -> Finding {
        Ok(())
    }

    /// A peer did something around its torrents.
    fn observed(&mut self, _scene: Scene<'_>, _activity: &Activity<'_>) -> Finding {
        Ok(())
    }

    /// The run is over, before anybody is shut down.
    fn ended(&mut self) -> Finding {
        Ok(())
    }

    /// The same, for whom the time matters.
    fn ended_at(&mut self, _now: Time) -> Finding {
        self.ended()
    }

    /// From now on packets are late or lost by a fault, or not; and `peer` is held up by
    /// one, or not. What it measures of that peer's times does not count meanwhile.
    fn faulty(&mut self, _now: Time, _peer: usize, _network: bool, _held_up: bool) {}

    /// What it found wrong with `peer`, and keeps to itself until the peer or the run ends.
    fn noted(&self, _peer: usize) -> Option<String> {
        None
    }

    /// What led to how `peer` stands, for the evidence of others.
    fn story(&self, _peer: usize) -> Option<String> {
        None
    }
}

/// What an oracle looks at the bytes of streams with. Hardly any does, and there are many
/// bytes.
pub(crate) trait Listener {
    /// A stream of a peer is open, and leads to `remote`.
    fn opened(&mut self, peer: usize, stream: StreamId, remote: SocketAddr);

    /// Bytes were written to a stream.
    fn wrote(&mut self, stream: StreamId, bytes: &[u8]) -> Finding;

    /// Bytes were read from a stream.
    fn read(&mut self, stream: StreamId, bytes: &[u8]);

    /// Nobody holds a stream any more.
    fn closed(&mut self, stream: StreamId);
}

/// All oracles that check every step of a run of `plan`.
pub(crate) fn all(plan: &Plan, content: &Rc<Content>) -> Vec<Box<dyn Oracle>> {
    let peers = plan.peers.len();
    let names = plan.peers.iter().map(|peer| peer.name.clone());
    let mut oracles: Vec<Box<dyn Oracle>> = vec![
        Box::new(availability::Availability::new(peers)),
        Box::new(ban::Ban::new(names, content.clone())),
        Box::new(blocks::Blocks::new(peers)),
        Box::new(errors::Errors::default()),
        Box::new(fair::Fair::new(peers)),
        Box::new(have::Have::new(plan, content.clone())),
        Box::new(lives::Lives::new(peers)),
        Box::new(memory::Memory::default()),
        Box::new(one::One::new(plan.peers.iter().map(|peer| (peer.name.clone(), peer.magnet)))),
        Box::new(slots::Slots::new(peers)),
        Box::new(wire::Wire::new(plan)),
    ];
    if plan.streams() {
        oracles.push(Box::new(init::Init::new(plan)));
        oracles.push(Box::new(streaming::Stream::new(plan)));
        oracles.push(Box::new(give::Give::new(plan, content.layout())));
    }
    if content.broadcast().is_none() {
        oracles.push(Box::new(progress::Progress::new(plan)));
        oracles.push(Box::new(resume::Resume::new(plan, content.clone())));
        oracles.push(Box::new(waste::Waste::new(plan, content.layout())));
    }
    if content.broadcast().is_some() {
        oracles.push(Box::new(live::Live::new(plan, content.clone())));
    }
    if let Some(tracker) = plan.tracker.as_ref().filter(|_| plan.announces()) {
        oracles.push(Box::new(tracker::Tracker::new(plan, tracker, content)));
    }
    if plan.peers.iter().any(|peer| peer.reports.is_some()) {
        oracles.push(Box::new(reports::Reports::new(plan, content)));
    }
    if plan.torrent.closed {
        oracles.push(Box::new(access::Access::new(plan)));
    }
    if content.metainfo().info.is_private() {
        oracles.push(Box::new(private::Private::new(peers)));
    }
    oracles
}

/// The block that a message brings: PIECE's, or a Merkle torrent's. BEP 3, BEP 30.
pub(crate) fn brought(message: &Message) -> Option<(Block, Bytes)> {
    match message {
        Message::Piece { piece, begin, data } => {
            let block = Block { piece: *piece, begin: *begin, length: data.len() as u32 };
            Some((block, data.clone()))
        }
        Message::Extended { id, payload } if *id == Extension::HashPiece.local_id() => {
            let message = HashPiece::decode(payload).ok()?;
            Some((message.block(), message.data))
        }
        _ => None,
    }
}

/// What tests of oracles show them.
#[cfg(test)]
pub(crate) mod stage {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use reseed_protocol::{
        Bitfield, ConnectionId, PeerId,
        torrent::{Config, Frame, Speaker, Start},
        wire::Message,
    };

    use super::*;
    use crate::plan::{FilePlan, TorrentPlan};

    /// Three pieces of one block.
    pub(super) fn content() -> Rc<Content> {
        let file = FilePlan { path: "content".to_owned(), length: 3 * 16 * 1024 };
        let torrent = TorrentPlan {
            name: file.path.clone(),
            piece_length: 16 * 1024,
            private: true,
            merkle: false,
            bitrate: None,
            live: None,
            closed: false,
            files: vec![file],
        };
        Rc::new(Content::generate(&torrent).expect("it can be made"))
    }

    /// The torrent of [`content`] as the peer called `id` has it, with no connection.
    pub(crate) fn torrent(id: PeerId) -> Torrent {
        let content = content();
        let start = Start {
            info_hash: content.metainfo().info_hash,
            layout: content.layout(),
            private: true,
            hashes: None,
            torrent_keys: Vec::new(),
            have: Bitfield::empty(content.layout().pieces()),
            announce: false,
            totals: (0, 0),
        };
        let rng = &mut ChaCha8Rng::seed_from_u64(0);
        Torrent::new(Config::new(id, 6881), start, Time::ZERO, rng)
    }

    pub(crate) fn id(number: u8) -> PeerId {
        PeerId([number; 20])
    }

    pub(super) fn scene(peer: usize, seconds: u64, disk: &SimDisk) -> Scene<'_> {
        Scene { now: Time::from_secs(seconds), peer, disk }
    }

    /// We say `message`.
    pub(super) fn said(message: Message) -> Spoken {
        let (connection, addr) = (ConnectionId(1), ([10, 0, 0, 2], 6881).into());
        Spoken { connection, addr, by: Speaker::Us, frame: Frame::Message(message) }
    }
}
