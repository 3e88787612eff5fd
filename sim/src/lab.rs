//! Where a run is observed: every host's probe, and the network's, report here.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::Future,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use arrayvec::ArrayVec;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use reseed_client::{Activity, Buggify, Env, Wait, Waiting};
use reseed_protocol::{
    Bitfield, Connection, ConnectionId, InfoHash, PeerId, Time, Torrent, Video,
    torrent::{CloseReason, Event, Frame, Speaker, Spoken},
    tracker::AnnounceRequest,
    wire::Parts,
};
use turmoil_net::Packet;

use crate::{
    Capture, Content, Failure, Point, Recorder, SimDisk, StreamId, Tap,
    fault::Faults,
    members,
    oracle::{self, Code, Finding, Listener, Oracle, Scene},
    plan::{Plan, TRACKER},
    points::Reached,
    table::Table,
    tap::Direction,
    trace::Trace,
    transcript,
    twin::Conversation,
    waits::Waits,
};

/// One run's observations.
pub(crate) struct Lab {
    /// The torrent that the peers share: any other is somebody's private affair.
    shared: InfoHash,
    /// Who waits for whom.
    pub(crate) waits: Rc<Waits>,
    inner: RefCell<Inner>,
    /// Something happened that the run wants to look at.
    attention: Cell<bool>,
    /// Whether to remember how connections stand, to explain a stall.
    explaining: Cell<bool>,
}

struct Inner {
    trace: Trace,
    reached: Reached,
    oracles: Vec<Box<dyn Oracle>>,
    /// Whether each of them looks at the bytes of streams.
    listens: Vec<bool>,
    peers: Vec<Peer>,
    /// Who listens where.
    names: BTreeMap<SocketAddr, String>,
    /// Whose whole host an address is.
    owners: BTreeMap<IpAddr, String>,
    /// Which peer announces from where: its host, and the port that it listens on.
    announcers: BTreeMap<SocketAddr, usize>,
    /// Which peer a peer's connection leads to, once that said who it is.
    remotes: Vec<Table<usize>>,
    /// Who calls itself what.
    ids: BTreeMap<PeerId, usize>,
    /// Which host's stream each open one is.
    streams: Table<usize>,
    /// Where each peer's player begins, for peers that have one.
    players: Vec<Option<u64>>,
    /// What they play, and its true bytes.
    video: Option<Video>,
    content: Rc<Content>,
    failure: Option<Failure>,
    /// What was said, to be compared; `None` if nobody compares.
    conversation: Option<Conversation>,
    /// What was said, for a reader; `None` if nobody reads.
    lines: Option<Vec<(Time, String)>>,
    /// What was sent; `None` if nobody wants it.
    capture: Option<Capture>,
    /// What was asked for to go wrong, with whom (nobody is the tracker), and how often
    /// it did.
    fired: BTreeMap<(Option<usize>, &'static str), u64>,
}

/// What is known of a peer.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) disk: Option<SimDisk>,
    pub(crate) up: bool,
    /// Whether it may have all of the content, so that it is to finish (I-DONE).
    pub(crate) to_finish: bool,
    /// Whether others can have true bytes of it.
    pub(crate) gives: bool,
    /// Whether it reads other bytes from its disk than the true ones, be it for others
    /// or for itself.
    pub(crate) lies: bool,
    /// Whether a client of ours runs there, which is held to the rules.
    pub(crate) runs_client: bool,
    /// Pieces that it has had verified since it last started.
    pub(crate) verified: Bitfield,
    /// Since when it has all of them, since it last started.
    pub(crate) finished: Option<Time>,
    /// When it last started.
    pub(crate) started: Option<Time>,
    /// Whether its download has come past its checking, since it last started.
    pub(crate) ran: bool,
    /// When its program came to its end, since it last started.
    pub(crate) exited: Option<Time>,
    /// Whether it was complete when it started first.
    pub(crate) completed: Option<Time>,
    pub(crate) useful_bytes: u64,
    pub(crate) downloaded: u64,
    pub(crate) uploaded: u64,
    /// Where its player is, bytes from the start of the video, until it has seen the
    /// end.
    pub(crate) playing: Option<u64>,
    /// When it saw the end, since its peer last started.
    pub(crate) seen: Option<Time>,
    /// How far it is in a live stream, and how long that is (pieces).
    pub(crate) live: Option<(u64, u64)>,
    /// For the evidence of a stall: whom it is connected to, and how that stands.
    pub(crate) connections: Vec<String>,
    /// The first exceptions in its own code, for the same evidence.
    pub(crate) exceptions: Vec<String>,
    /// Why its uploads stand still, if they do.
    pub(crate) uploads: Option<String>,
}

impl Peer {
    /// Whether nothing is left to be waited for: it is complete and has played all
    /// that it wanted to, or it is not there or need
    /// not finish.
    pub(crate) fn is_done(&self) -> bool {
        let is_complete = match self.live {
            Some((at, end)) => at >= end,
            None => self.verified.is_full() && self.playing.is_none(),
        };
        !self.up || !self.to_finish || is_complete
    }
}
/// Exceptions of a peer that are kept (count): they are mostly one and the same.
const EXCEPTIONS_MAX: usize = 3;

/// Connections that a step changed up to which they are looked at alone (count).
const TOUCHED_MAX: usize = 16;

impl Lab {
    pub(crate) fn new(
        plan: &Plan,
        content: &Rc<Content>,
        lines: bool,
        conversation: bool,
    ) -> Rc<Lab> {
        let peer = |peer: &crate::plan::PeerPlan| Peer {
            name: peer.name.clone(),
            disk: None,
            up: false,
            to_finish: members::is_to_finish(plan, peer),
            gives: members::is_to_finish(plan, peer) && peer.lies.is_none(),
            lies: peer.lies.is_some(),
            runs_client: peer.runs_client(),
            verified: Bitfield::empty(content.layout().pieces()),
            finished: None,
            started: None,
            ran: false,
            exited: None,
            completed: None,
            useful_bytes: 0,
            downloaded: 0,
            uploaded: 0,
            playing: None,
            seen: None,
            live: content.broadcast().map(|broadcast| (0, broadcast.pieces())),
            connections: Vec::new(),
            exceptions: Vec::new(),
            uploads: None,
        };
        let watched = |peer: &crate::plan::PeerPlan| {
            let player = peer.player.as_ref().filter(|_| peer.stream)?;
            plan.torrent.video().map(|_| player.from)
        };
        let mut names = BTreeMap::new();
        let mut owners = BTreeMap::new();
        let mut announcers = BTreeMap::new();
        for (index, peer) in plan.peers.iter().enumerate() {
            let listens = SocketAddr::new(peer.address, peer.port);
            names.insert(listens, peer.name.clone());
            if peer.runs_client() {
                announcers.insert(listens, index);
            }
            if plan.shares_host(index) {
                // Of two shared hosts the names on the last one win; who has said who it
                // is is told apart all the same.
                names.insert(plan.contact(index, index), peer.name.clone());
            } else {
                owners.insert(peer.address, peer.name.clone());
            }
        }
        if let Some(tracker) = &plan.tracker {
            owners.insert(tracker.address, "tracker".to_owned());
        }
        let mut oracles = oracle::all(plan, content);
        let listens = oracles.iter_mut().map(|oracle| oracle.listener().is_some()).collect();
        Rc::new(Lab {
            shared: content.metainfo().info_hash,
            waits: Rc::default(),
            inner: RefCell::new(Inner {
                trace: Trace::new(),
                reached: Reached::default(),
                oracles,
                listens,
                peers: plan.peers.iter().map(peer).collect(),
                names,
                owners,
                announcers,
                remotes: plan.peers.iter().map(|_| Table::default()).collect(),
                ids: BTreeMap::new(),
                streams: Table::default(),
                players: plan.peers.iter().map(watched).collect(),
                video: plan.torrent.video(),
                content: content.clone(),
                failure: None,
                conversation: conversation.then(Conversation::default),
                lines: lines.then(Vec::new),
                capture: None,
                fired: BTreeMap::new(),
            }),
            attention: Cell::new(false),
            explaining: Cell::new(false),
        })
    }

    /// From now on nobody checks anything.
    pub(crate) fn dismiss_oracles(&self) {
        self.inner.borrow_mut().oracles.clear();
    }

    /// Whether something happened since the last call of [`Lab::look`].
    pub(crate) fn wants_attention(&self) -> bool {
        self.attention.get()
    }

    /// The run looks now.
    pub(crate) fn look(&self) {
        self.attention.set(false);
    }

    /// From now on, remembers how each peer's connections stand.
    pub(crate) fn explain(&self) {
        self.explaining.set(true);
    }

    pub(crate) fn peer(&self, peer: usize) -> Peer {
        self.inner.borrow().peers[peer].clone()
    }

    /// The same, for who needs little of it.
    pub(crate) fn look_at<R>(&self, peer: usize, look: impl FnOnce(&Peer) -> R) -> R {
        look(&self.inner.borrow().peers[peer])
    }

    pub(crate) fn with_peers<R>(&self, look: impl FnOnce(&[Peer]) -> R) -> R {
        look(&self.inner.borrow().peers)
    }

    pub(crate) fn trace<R>(&self, look: impl FnOnce(&Trace) -> R) -> R {
        look(&self.inner.borrow().trace)
    }

    pub(crate) fn failure(&self) -> Option<Failure> {
        self.inner.borrow().failure.clone()
    }

    /// From now on keeps the packets.
    pub(crate) fn capture(&self, capture: Capture) {
        self.inner.borrow_mut().capture = Some(capture);
    }

    pub(crate) fn take_capture(&self) -> Option<Capture> {
        self.inner.borrow_mut().capture.take()
    }

    /// Something went wrong as it was asked for: with a peer, or with the tracker.
    pub(crate) fn fired(&self, now: Time, peer: Option<usize>, what: &'static str) {
        let mut inner = self.inner.borrow_mut();
        let times = inner.fired.entry((peer, what)).or_default();
        *times += 1;
        if *times == 1 {
            let name = peer.map_or(TRACKER.to_owned(), |peer| inner.peers[peer].name.clone());
            inner.note(now, format!("{name} {what}"));
        }
    }

    /// How often `what` went wrong with a peer, or with the tracker.
    pub(crate) fn times_fired(&self, peer: Option<usize>, what: &'static str) -> u64 {
        self.inner.borrow().fired.get(&(peer, what)).copied().unwrap_or_default()
    }

    /// How often each kind of thing went wrong.
    pub(crate) fn all_fired(&self) -> BTreeMap<&'static str, u64> {
        let mut all = BTreeMap::new();
        for ((_, what), times) in &self.inner.borrow().fired {
            *all.entry(*what).or_default() += times;
        }
        all
    }

    /// Who runs no client of ours says who it is.
    pub(crate) fn calls_itself(&self, peer: usize, id: PeerId) {
        self.inner.borrow_mut().ids.insert(id, peer);
    }

    /// Points that the run came to.
    pub(crate) fn reached(&self) -> Vec<Point> {
        self.inner.borrow().reached.points()
    }

    /// What was said so far, if that was to be recorded.
    pub(crate) fn take_conversation(&self) -> Conversation {
        self.inner.borrow_mut().conversation.take().unwrap_or_default()
    }

    /// From now on, keeps all that is in the digest in words as well.
    pub(crate) fn keep_words(&self) {
        self.inner.borrow_mut().trace.keep_words();
    }

    pub(crate) fn take_words(&self) -> Vec<(Time, String)> {
        self.inner.borrow_mut().trace.take_words()
    }

    pub(crate) fn take_lines(&self) -> Vec<(Time, String)> {
        self.inner.borrow_mut().lines.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// How often each oracle checked something that had something to check.
    pub(crate) fn checks(&self) -> Vec<(Code, u64)> {
        let inner = self.inner.borrow();
        let oracles = inner.oracles.iter();
        let mut checks = BTreeMap::new();
        for oracle in oracles.filter(|oracle| oracle.checks() > 0 || !oracle.may_rest()) {
            *checks.entry(oracle.code()).or_default() += oracle.checks();
        }
        checks.into_iter().collect()
    }

    /// A peer starts, for the first time or again, from `disk`.
    pub(crate) fn started(&self, peer: usize, disk: SimDisk, now: Time) {
        let mut inner = self.inner.borrow_mut();
        inner.oracles.iter_mut().for_each(|oracle| oracle.started(peer));
        inner.remotes[peer].clear();
        let player = inner.players[peer];
        let state = &mut inner.peers[peer];
        state.playing = player;
        if let Some((at, _)) = &mut state.live {
            *at = 0;
        }
        state.verified = Bitfield::empty(state.verified.pieces());
        state.finished = None;
        state.exited = None;
        state.started = Some(now);
        state.seen = None;
        state.ran = false;
        state.disk = Some(disk);
        state.up = true;
        let words = format!("{} starts", state.name);
        inner.note(now, words);
        inner.check(now, peer, |oracle, scene| oracle.starts(scene));
    }

    /// A peer's program has come to its end; what is left of it is seen to next.
    pub(crate) fn exited(&self, peer: usize, now: Time) {
        self.inner.borrow_mut().peers[peer].exited = Some(now);
        self.attention.set(true);
    }

    /// A peer has parted as it should, `tracker_heard` if with time enough to tell the
    /// tracker so; what an oracle has to say to that.
    pub(crate) fn parted(&self, peer: usize, tracker_heard: bool) -> Option<(Code, String)> {
        let mut inner = self.inner.borrow_mut();
        if !inner.peers[peer].runs_client {
            return None;
        }
        inner.oracles.iter_mut().find_map(|oracle| {
            let words = oracle.parted(peer, tracker_heard).err()?;
            Some((oracle.code(), words))
        })
    }

    /// Time goes by.
    pub(crate) fn passed(&self, now: Time) {
        let mut inner = self.inner.borrow_mut();
        if inner.failure.is_some() {
            return;
        }
        let mut oracles = std::mem::take(&mut inner.oracles);
        for oracle in &mut oracles {
            let finding = oracle.passed(now);
            inner.judge(now, oracle.code(), None, finding);
        }
        inner.oracles = oracles;
    }

    /// From now on packets of everybody are late or lost, or not; and `peer` itself is held
    /// up, or not.
    pub(crate) fn faulty(&self, now: Time, peer: usize, network: bool, held_up: bool) {
        let mut inner = self.inner.borrow_mut();
        inner.oracles.iter_mut().for_each(|oracle| oracle.faulty(now, peer, network, held_up));
    }

    /// What led to how `peer` stands, as far as an oracle knows.
    pub(crate) fn story(&self, peer: usize) -> Vec<String> {
        let inner = self.inner.borrow();
        inner.oracles.iter().filter_map(|oracle| oracle.story(peer)).collect()
    }

    /// What an oracle found wrong with `peer`, and keeps until the peer or the run ends.
    pub(crate) fn noted(&self, peer: usize) -> Option<(Code, String)> {
        let inner = self.inner.borrow();
        let mut oracles = inner.oracles.iter();
        oracles.find_map(|oracle| Some((oracle.code(), oracle.noted(peer)?)))
    }

    /// A peer is gone: shut down, or without power.
    pub(crate) fn ended(&self, peer: usize, now: Time, how: &str) {
        let mut inner = self.inner.borrow_mut();
        inner.oracles.iter_mut().for_each(|oracle| oracle.gone(peer));
        inner.peers[peer].up = false;
        let words = format!("{} {how}", inner.peers[peer].name);
        inner.note(now, words);
    }

    /// Something that the run does or sees, in words.
    pub(crate) fn note(&self, now: Time, words: String) {
        self.inner.borrow_mut().note(now, words);
    }

    /// A peer's player was given `bytes`, from byte `at` of the video on. They must be
    /// true, and none may come after the last.
    pub(crate) fn played(&self, peer: usize, at: u64, bytes: &[u8], now: Time) {
        let mut inner = self.inner.borrow_mut();
        let video = inner.video.expect("a player plays a video");
        inner.peers[peer].playing = Some(at + bytes.len() as u64);
        if bytes.is_empty() {
            let words = format!("{}'s player begins at byte {at}", inner.peers[peer].name);
            return inner.note(now, words);
        }
        let finding = if at + bytes.len() as u64 > video.length {
            Err(format!(
                "its player has played all {} bytes and is given {} more: it never sees the end",
                video.length,
                bytes.len(),
            ))
        } else if inner.peers[peer].lies || inner.has_flipped(peer) {
            Ok(())
        } else if !inner.content.truth().is(video.offset + at, bytes) {
            let last = at + bytes.len() as u64 - 1;
            Err(format!("its player is given wrong bytes, of {at} to {last} of the video"))
        } else {
            Ok(())
        };
        inner.judge(now, Code::Done, Some(peer), finding);
        self.attention.set(self.attention.get() || inner.failure.is_some());
    }

    /// A peer's player was given `bytes` of the live stream, from byte `at` on.
    pub(crate) fn watched(&self, peer: usize, at: u64, bytes: &[u8], now: Time) {
        let mut inner = self.inner.borrow_mut();
        inner.check(now, peer, |oracle, scene| oracle.watched(scene, at, bytes));
        self.attention.set(self.attention.get() || inner.failure.is_some());
    }

    /// A peer's player was told that `at` is the end.
    pub(crate) fn play_ended(&self, peer: usize, at: u64, now: Time) {
        let mut inner = self.inner.borrow_mut();
        let length = inner.video.expect("a player plays a video").length;
        inner.peers[peer].playing = None;
        inner.peers[peer].seen = Some(now);
        let words = format!("{}'s player sees the end, at byte {at}", inner.peers[peer].name);
        inner.note(now, words);
        if at != length {
            let words = format!("its player sees the end at byte {at} of {length}");
            inner.judge(now, Code::Done, Some(peer), Err(words));
        }
        self.attention.set(true);
    }

    /// Lets the oracles say their last word.
    pub(crate) fn end(&self, now: Time) {
        let mut inner = self.inner.borrow_mut();
        let mut oracles = std::mem::take(&mut inner.oracles);
        for oracle in &mut oracles {
            let finding = oracle.ended_at(now);
            inner.judge(now, oracle.code(), None, finding);
        }
        inner.oracles = oracles;
    }

    /// An oracle outside of this module found something.
    pub(crate) fn fail(&self, now: Time, oracle: Code, evidence: String) {
        self.inner.borrow_mut().judge(now, oracle, None, Err(evidence));
        self.attention.set(true);
    }

    /// Streams that a host's processes hold open, in words.
    pub(crate) fn open_streams(&self, peer: usize) -> Vec<String> {
        let inner = self.inner.borrow();
        let open = inner.streams.iter().filter(|(_, owner)| **owner == peer);
        open.map(|(stream, _)| format!("stream {stream}")).collect()
    }

    /// The tracker heard an announce.
    pub(crate) fn announced(&self, now: Time, from: IpAddr, announce: &AnnounceRequest) {
        let mut inner = self.inner.borrow_mut();
        let from = SocketAddr::new(from, announce.port);
        let name = inner.name(from);
        let event = announce.event.map_or("announce".to_owned(), |event| event.to_string());
        inner.note(now, format!("{name} → tracker  {event}, {} bytes left", announce.left));
        let Some(peer) = inner.announcers.get(&from).copied() else { return };
        inner.check(now, peer, |oracle, scene| oracle.announced(scene, announce));
        self.attention.set(self.attention.get() || inner.failure.is_some());
    }

    fn spoke(&self, now: Time, peer: usize, torrent: &Torrent, spoken: &Spoken) {
        if torrent.info_hash() != self.shared {
            return;
        }
        let mut inner = self.inner.borrow_mut();
        inner.trace.spoken(now, peer, spoken);
        inner.reached.spoke(torrent, spoken);
        inner.learn(peer, torrent, spoken);
        if let (Some(conversation), Speaker::Us) = (&mut inner.conversation, spoken.by) {
            conversation.say(now, peer, spoken.connection, &spoken.frame);
        }
        if inner.lines.is_some() && spoken.by == Speaker::Us {
            let from = inner.peers[peer].name.clone();
            let to = inner.remote(peer, spoken.connection, spoken.addr);
            let line = format!("{from} → {to}  {}", transcript::frame(&spoken.frame));
            inner.lines.as_mut().expect("it was there").push((now, line));
        }
        inner.check(now, peer, |oracle, scene| oracle.spoke(scene, torrent, spoken));
        self.attention.set(self.attention.get() || inner.failure.is_some());
    }

    fn happened(&self, now: Time, peer: usize, torrent: &Torrent, event: &Event) {
        if torrent.info_hash() != self.shared {
            return;
        }
        let mut inner = self.inner.borrow_mut();
        inner.trace.torrent(now, peer, event);
        inner.reached.happened(event);
        inner.check(now, peer, |oracle, scene| oracle.happened(scene, torrent, event));
        let state = &mut inner.peers[peer];
        match event {
            Event::PieceVerified { piece } => {
                state.useful_bytes += u64::from(torrent.layout().length_of(*piece));
            }
            Event::Completed => state.completed = Some(now),
            Event::Disconnected { connection, reason, .. } => {
                inner.parted(now, peer, *connection, reason);
            }
            _ => {}
        }
        if inner.lines.is_some() {
            let names = |connection, addr| inner.remote(peer, connection, addr);
            if let Some(words) = transcript::event(event, names) {
                let line = format!("{} {words}", inner.peers[peer].name);
                inner.lines.as_mut().expect("it was there").push((now, line));
            }
        }
        self.attention.set(true);
    }

    fn absorbed(&self, now: Time, peer: usize) {
        let mut inner = self.inner.borrow_mut();
        inner.check(now, peer, |oracle, _| {
            oracle.absorbed();
            Ok(())
        });
    }

    fn swallowed(&self, now: Time, peer: usize, doing: &str, error: &str) {
        let mut inner = self.inner.borrow_mut();
        let name = inner.peers[peer].name.clone();
        inner.note(now, format!("{name} swallows an error while {doing}: {error}"));
        inner.check(now, peer, |oracle, _| oracle.swallowed(doing, error));
        self.attention.set(true);
    }

    fn observed(&self, now: Time, peer: usize, activity: &Activity<'_>) {
        let mut inner = self.inner.borrow_mut();
        inner.reached.observed(activity);
        inner.check(now, peer, |oracle, scene| oracle.observed(scene, activity));
        if let Some(words) = transcript::activity(activity) {
            let words = format!("{} {words}", inner.peers[peer].name);
            inner.note(now, words);
        }
        self.attention.set(self.attention.get() || inner.failure.is_some());
    }

    fn stepped(&self, now: Time, peer: usize, torrent: &Torrent) {
        if torrent.info_hash() != self.shared {
            return;
        }
        let mut inner = self.inner.borrow_mut();
        let touched = if_few(torrent.touched());
        inner.check(now, peer, |oracle, scene| oracle.stepped(scene, torrent, touched.as_deref()));
        let state = &mut inner.peers[peer];
        state.ran = true;
        if let Some((at, end)) = &mut state.live {
            let made = torrent.broadcast().map(|broadcast| broadcast.valid().end);
            let viewer = torrent.viewer().filter(|viewer| viewer.is_numbered());
            let is_at = made.or_else(|| viewer?.position()).unwrap_or(0);
            self.attention.set(self.attention.get() || (*at < *end && is_at >= *end));
            *at = is_at;
        }
        state.downloaded = torrent.downloaded();
        state.uploaded = torrent.uploaded();
        if self.explaining.get() {
            let mut lines = transcript::connections(torrent, |connection, addr| {
                inner.remote(peer, connection, addr)
            });
            lines.extend(transcript::playback(torrent));
            inner.peers[peer].connections = lines;
            inner.peers[peer].uploads = transcript::uploads(torrent, |connection, addr| {
                inner.remote(peer, connection, addr)
            });
        }
        let state = &mut inner.peers[peer];
        let have = torrent.picker().have();
        if state.verified.count() != have.count() {
            state.verified.clone_from(have);
            state.finished = match state.verified.is_full() {
                true => state.finished.or(Some(now)),
                false => None,
            };
            self.attention.set(true);
        }
        self.attention.set(self.attention.get() || inner.failure.is_some());
    }
}

/// All of `connections`, unless they are so many that one may as well look at all that there
/// are.
fn if_few<'a>(
    connections: Option<impl Iterator<Item = &'a Connection>>,
) -> Option<ArrayVec<&'a Connection, TOUCHED_MAX>> {
    let mut few = ArrayVec::new();
    connections?.try_for_each(|connection| few.try_push(connection)).ok()?;
    Some(few)
}

impl Inner {
    /// Whether what the host with this number says and hears is held to the rules; the
    /// tracker's words are those of no peer, and no oracle takes them for such.
    fn is_held_to_rules(&self, owner: usize) -> bool {
        self.peers.get(owner).is_none_or(|peer| peer.runs_client)
    }

    /// Who listens at `addr`, or whose host it is.
    fn name(&self, addr: SocketAddr) -> String {
        let name = self.names.get(&addr).or_else(|| self.owners.get(&addr.ip()));
        name.cloned().unwrap_or_else(|| addr.to_string())
    }

    /// Whom a peer's connection leads to.
    fn remote(&self, peer: usize, connection: ConnectionId, addr: SocketAddr) -> String {
        match self.remotes[peer].get(connection.0) {
            Some(remote) => self.peers[*remote].name.clone(),
            None => self.name(addr),
        }
    }

    /// A connection of `peer` is over.
    fn parted(&mut self, now: Time, peer: usize, connection: ConnectionId, reason: &CloseReason) {
        if let Some(conversation) = &mut self.conversation {
            conversation.end(peer, connection, reason);
        }
        let exceptions = &self.peers[peer].exceptions;
        if let CloseReason::Exception(words) = reason
            && exceptions.len() < EXCEPTIONS_MAX
        {
            let remote = self.remotes[peer].get(connection.0);
            let name = remote.map_or("somebody", |remote| &self.peers[*remote].name);
            let words = format!("at {now} s, over {connection} to {name}: {words}");
            self.peers[peer].exceptions.push(words);
        }
    }

    /// Whether bits on a peer's disk have flipped.
    fn has_flipped(&self, peer: usize) -> bool {
        self.peers[peer].disk.as_ref().is_some_and(SimDisk::has_any_flipped)
    }

    /// Remembers who calls itself what, and to whom a connection leads: where peers
    /// share a host, addresses do not tell.
    fn learn(&mut self, peer: usize, torrent: &Torrent, spoken: &Spoken) {
        let Frame::Handshake(handshake) = &spoken.frame else { return };
        self.ids.insert(torrent.config().peer_id, peer);
        if spoken.by == Speaker::Remote
            && let Some(remote) = self.ids.get(&handshake.peer_id)
        {
            self.remotes[peer].insert(spoken.connection.0, *remote);
            if let Some(conversation) = &mut self.conversation {
                conversation.meet(peer, spoken.connection, *remote);
            }
        }
    }

    fn note(&mut self, now: Time, words: String) {
        self.trace.note(now, &words);
        if let Some(capture) = &mut self.capture {
            capture.note(now, &words);
        }
        if let Some(lines) = &mut self.lines {
            lines.push((now, words));
        }
    }

    fn check(
        &mut self,
        now: Time,
        peer: usize,
        mut show: impl FnMut(&mut dyn Oracle, Scene<'_>) -> Finding,
    ) {
        if self.failure.is_some() {
            return;
        }
        let disk = self.peers[peer].disk.take().expect("it was started");
        let scene = Scene { now, peer, disk: &disk };
        let mut oracles = std::mem::take(&mut self.oracles);
        for oracle in &mut oracles {
            if let Err(words) = show(oracle.as_mut(), scene) {
                self.judge(now, oracle.code(), Some(peer), Err(words));
            }
        }
        self.oracles = oracles;
        self.peers[peer].disk = Some(disk);
    }

    /// Whoever looks at the bytes of streams, and as what.
    fn listeners(&mut self) -> impl Iterator<Item = (Code, &mut dyn Listener)> {
        let oracles = self.oracles.iter_mut().zip(&self.listens).filter(|(_, listens)| **listens);
        oracles.filter_map(|(oracle, _)| Some((oracle.code(), oracle.listener()?)))
    }

    /// Shows them what was written to a stream at once, part by part.
    fn wrote<'a>(
        &mut self,
        now: Time,
        stream: StreamId,
        parts: impl Iterator<Item = &'a [u8]> + Clone,
    ) {
        if self.failure.is_some() {
            return;
        }
        let wrong = self.listeners().find_map(|(code, listener)| {
            let finding = parts.clone().try_for_each(|part| listener.wrote(stream, part));
            finding.is_err().then_some((code, finding))
        });
        if let Some((code, finding)) = wrong {
            let peer = self.streams.get(stream.0).copied().filter(|peer| *peer < self.peers.len());
            self.judge(now, code, peer, finding);
        }
    }

    /// The first finding is what a run fails with: what follows it follows from it.
    fn judge(&mut self, at: Time, oracle: Code, peer: Option<usize>, finding: Finding) {
        let Err(words) = finding else { return };
        if self.failure.is_none() {
            let who = peer.map(|peer| format!("{}: ", self.peers[peer].name));
            let evidence = format!("{}{words}", who.unwrap_or_default());
            self.failure = Some(Failure { oracle, at, evidence });
        }
    }
}

/// A host's environment, observed.
pub(crate) struct Probed<E> {
    env: E,
    lab: Rc<Lab>,
    peer: usize,
    faults: Rc<Faults>,
    chance: Option<Rc<Chance>>,
}

/// Decides what of all that may happen happens.
struct Chance {
    share: f64,
    rng: RefCell<ChaCha8Rng>,
}

impl<E: Env> Probed<E> {
    /// Where this share of what may always happen happens.
    pub(crate) fn new(
        env: E,
        lab: Rc<Lab>,
        peer: usize,
        faults: Rc<Faults>,
        share: f64,
    ) -> Probed<E> {
        let chance = || Rc::new(Chance { share, rng: RefCell::new(env.rng("buggify")) });
        let chance = (share > 0.0).then(chance);
        Probed { env, lab, peer, faults, chance }
    }
}

impl<E: Clone> Clone for Probed<E> {
    fn clone(&self) -> Self {
        let Probed { env, lab, peer, faults, chance } = self;
        Probed {
            env: env.clone(),
            lab: lab.clone(),
            peer: *peer,
            faults: faults.clone(),
            chance: chance.clone(),
        }
    }
}

impl<E: Env> Env for Probed<E> {
    fn now(&self) -> Time {
        self.env.now()
    }

    fn unix_epoch(&self) -> Duration {
        let epoch = Duration::from_secs(members::UNIX_EPOCH_S);
        let name = &self.lab.inner.borrow().peers[self.peer].name;
        let ahead = self.faults.clock_ahead_ms(name, self.now());
        let by = Duration::from_millis(ahead.unsigned_abs());
        if ahead < 0 { epoch.saturating_sub(by) } else { epoch + by }
    }

    fn sleep_until(&self, deadline: Time) -> impl Future<Output = ()> + 'static {
        self.env.sleep_until(deadline)
    }

    fn spawn(&self, name: &str, task: impl Future<Output = ()> + 'static) {
        self.env.spawn(name, task);
    }

    fn rng(&self, label: &str) -> ChaCha8Rng {
        self.env.rng(label)
    }

    fn buggify(&self, point: Buggify) -> bool {
        let Some(Chance { share, rng }) = self.chance.as_deref() else { return false };
        let happens = rng.borrow_mut().random_bool(*share);
        if happens {
            self.lab.fired(self.now(), Some(self.peer), point.name());
        }
        happens
    }

    fn stepped(&self, torrent: &Torrent) {
        self.lab.stepped(self.now(), self.peer, torrent);
    }

    fn happened(&self, torrent: &Torrent, event: &Event) {
        self.lab.happened(self.now(), self.peer, torrent, event);
    }

    fn absorbed(&self) {
        self.lab.absorbed(self.now(), self.peer);
    }

    fn swallowed(&self, doing: &str, error: &str) {
        self.lab.swallowed(self.now(), self.peer, doing, error);
    }

    fn listens(&self) -> bool {
        true
    }

    fn observed(&self, activity: &Activity<'_>) {
        self.lab.observed(self.now(), self.peer, activity);
    }

    fn spoke(&self, torrent: &Torrent, spoken: &Spoken) {
        self.lab.spoke(self.now(), self.peer, torrent, spoken);
    }
    fn waiting(&self, wait: Wait<'_>) -> Waiting {
        self.lab.waits.begin(self.peer, wait, self.now())
    }
}

impl Recorder for Lab {
    fn record(&self, at: Time, event: &crate::Event<'_>) {
        let mut inner = self.inner.borrow_mut();
        inner.trace.world(at, event);
        if let Some(capture) = &mut inner.capture {
            capture.event(at, event);
        }
        if matches!(event, crate::Event::Panicked { .. }) {
            self.attention.set(true);
        }
    }

    fn sets_out(&self, at: Time, number: u64, again: bool, packet: &Packet) {
        if let Some(capture) = &mut self.inner.borrow_mut().capture {
            capture.sets_out(at, number, again, packet);
        }
    }
}

impl Tap for Lab {
    fn opened(
        &self,
        stream: StreamId,
        now: Time,
        owner: usize,
        [_, remote]: [SocketAddr; 2],
        direction: Direction,
    ) {
        let mut inner = self.inner.borrow_mut();
        inner.streams.insert(stream.0, owner);
        if inner.is_held_to_rules(owner) {
            inner.listeners().for_each(|(_, it)| it.opened(owner, stream, remote));
        }
        inner.trace.stream(now, stream, b'o', usize::from(direction == Direction::Outgoing));
    }

    fn wrote(&self, stream: StreamId, now: Time, bytes: &[u8]) {
        let mut inner = self.inner.borrow_mut();
        inner.trace.stream(now, stream, b'w', bytes.len());
        inner.wrote(now, stream, [bytes].into_iter());
        self.attention.set(self.attention.get() || inner.failure.is_some());
    }

    fn wrote_parts(&self, stream: StreamId, now: Time, bytes: &Parts, length: usize) {
        let mut inner = self.inner.borrow_mut();
        inner.trace.stream(now, stream, b'w', length);
        inner.wrote(now, stream, bytes.slices(length));
        self.attention.set(self.attention.get() || inner.failure.is_some());
    }

    fn read(&self, stream: StreamId, now: Time, bytes: &[u8]) {
        let mut inner = self.inner.borrow_mut();
        inner.trace.stream(now, stream, b'r', bytes.len());
        inner.listeners().for_each(|(_, it)| it.read(stream, bytes));
    }

    fn closed(&self, stream: StreamId, now: Time) {
        let mut inner = self.inner.borrow_mut();
        inner.streams.remove(stream.0);
        inner.listeners().for_each(|(_, it)| it.closed(stream));
        inner.trace.stream(now, stream, b'c', 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::stage::{id, torrent};

    #[test]
    fn connections_that_changed_are_all_shown_or_none_of_them() {
        let mut torrent = torrent(id(1));
        for host in 0..=TOUCHED_MAX as u8 {
            torrent.accept(([10, 0, 0, host], 6881).into(), Time::ZERO).unwrap();
        }
        let few: Vec<ConnectionId> =
            torrent.connections().take(TOUCHED_MAX).map(Connection::id).collect();
        let shown = if_few(Some(torrent.connections().take(TOUCHED_MAX)));
        let shown = shown.map(|all| all.iter().map(|it| it.id()).collect());
        assert_eq!(shown, Some(few));
        assert!(if_few(Some(torrent.connections())).is_none());
        assert!(if_few(None::<std::iter::Empty<&Connection>>).is_none());
    }
}
