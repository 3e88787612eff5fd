//! One torrent: all of its connections, and what is decided between them.
//!
//! A [`Torrent`] is driven by [`Torrent::handle`]; after each call the caller
//! drains [`Torrent::poll_output`] and sleeps until [`Torrent::poll_timeout`].
//! What happens to a connection's bytes is spread over the files by idea:
//!
//! - `establish`: dial, handshake, duplicates, and every way to end
//! - `dispatch`: what each message means, and whether it may be said now
//! - `fetch`: interest, requests, blocks that come in
//! - `serve`: chokes, requests of others, blocks that go out
//! - `access`: who may have content of a closed swarm
//! - `play`: what is played while it comes in, and the check that it comes in time
//! - `forward`: give-to-get
//! - `live`: pieces that are made, played and forgotten in their time
//! - `exchange`: extension handshakes, peer exchange, tracker
//! - `news`: who is told of pieces that come, and when
//! - `dont_have`: pieces that are gone
//! - `priority`: which connections come first
//! - `super_seed`: pieces that are shown one at a time
//! - `metadata`: the metadata, for who has only its hash
//! - `timers`: what is due when
//! - `turns`: whose turn it is to be sent a block

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
};

use bytes::Bytes;
use rand::Rng;

use crate::{
    Bitfield, Choker, ChokerOptions, ConnectionId, Defect, HashTree, InfoHash, Layout, PeerTable,
    Picker, PickerOptions, PlaybackStats, Source, Time, Transporter,
    connection::{Connection, Direction, Phase},
    extension::{Registry, closed_swarm::PublicKey},
    few::Few,
    metadata_fetch::Handover,
    priority::OwnAddress,
    tracker::Announcer,
    wire::{self, Message},
};

mod access;
mod config;
mod dispatch;
mod dont_have;
mod establish;
mod exchange;
mod fetch;
mod forward;
mod io;
mod live;
mod metadata;
mod news;
mod play;
mod priority;
mod serve;
mod super_seed;
mod timers;
mod turns;

use news::News;
use super_seed::SuperSeed;
use turns::Turns;

pub(crate) use access::Access;
pub use config::{Config, LiveOptions};
pub use establish::Refused;
pub use io::{CloseReason, Event, Frame, Input, Output, Speaker, Spoken};
pub use play::CheckFailed;

/// Bytes that may wait for one remote to read them. A bitfield of the largest
/// torrent and a full allowance of blocks fit in.
const BACKLOG_LIMIT: usize = 2 * 1024 * 1024;

/// Outputs that there is room for when there are none (count).
const OUTPUTS_KEPT: usize = 32;

/// One torrent as one peer lives it, from the first connection to [`Input::Stop`].
pub struct Torrent {
    config: Config,
    info_hash: InfoHash,
    layout: Layout,
    private: bool,
    /// What pieces must hash to, in a Merkle torrent. BEP 30.
    hashes: Option<HashTree>,
    /// With any, the swarm is closed.
    torrent_keys: Vec<PublicKey>,
    /// The connection that was made last, for [`Defect::HandshakeReleasesLastPeer`].
    last_connected: Option<ConnectionId>,
    /// Whether some pieces are not wanted.
    selects: bool,
    /// The info dictionary, if it is given away. BEP 9.
    metadata: Option<Bytes>,
    picker: Picker,
    choker: Choker,
    turns: Turns,
    news: News,
    /// Our part in a live stream, if that is the content.
    live: Option<live::Live>,
    /// In boxes: a node of the map would have room for eleven, whether they are there or not.
    connections: BTreeMap<ConnectionId, Box<Connection>>,
    next_connection: u64,
    peers: PeerTable,
    /// Where others see us.
    own_address: OwnAddress,
    /// Which pieces were shown to whom, if they are shown one at a time.
    super_seed: Option<SuperSeed>,
    announcer: Option<Announcer>,
    /// Told to the tracker, so that it knows us behind a changed address. BEP 7.
    key: u32,
    /// To be given back to the tracker. BEP 3.
    tracker_id: Option<Vec<u8>>,
    downloaded: u64,
    uploaded: u64,
    redundant: u64,
    stopping: bool,
    outputs: VecDeque<Output>,
    /// Connections with something in their outbox.
    unsent: BTreeSet<ConnectionId>,
    /// Connections on which something else was said since the last input than which piece
    /// has come.
    changed: Vec<ConnectionId>,
    /// The connection that the last input was about, if all that came of it is there and
    /// in what has changed.
    about: Option<ConnectionId>,
    /// Whether somebody has asked to be told what we give to others.
    reports_forwarded: bool,
    /// Blocks became free since connections were last asked to request more.
    refill: bool,
    /// Whether no block was free when that was last looked at.
    endgame: bool,
    /// Somebody's interest changed, somebody came, or an unchoked peer left.
    rechoke: bool,
    /// Whose interest the choker is to hear of: it changed, they left, or may now be
    /// unchoked or not.
    turned: BTreeSet<ConnectionId>,
    /// What the disk said when it last failed to keep a piece, until it keeps one.
    trouble: Option<String>,
    /// Until when nothing is asked for because of that.
    rests_until: Option<Time>,
    /// What hands the pieces to the reader, if the download is streamed.
    transporter: Option<Transporter>,
    /// What playing had come to when the torrent was stopped.
    played: Option<PlaybackStats>,
    /// The number that the reader gave to what it reads now.
    stream: u64,
    /// When the one-second check is due, and when it was made last.
    next_check: Option<Time>,
    checked: Option<Time>,
    /// Never later than the first thing due; see `timers`.
    wake: Option<Time>,
}

/// What a torrent starts from.
#[derive(Debug, Clone)]
pub struct Start {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// Its grid.
    pub layout: Layout,
    /// Whether peers come from the tracker alone. BEP 27.
    pub private: bool,
    /// The keys that the torrent names; with any, its swarm is closed.
    pub torrent_keys: Vec<PublicKey>,
    /// The pieces that are on disk and verified.
    pub have: Bitfield,
    /// What is known of the tree of hashes, in a Merkle torrent: the hashes of
    /// `have` at least. BEP 30.
    pub hashes: Option<HashTree>,
    /// Whether to announce to a tracker.
    pub announce: bool,
    /// Content bytes downloaded and uploaded before, in earlier sessions.
    pub totals: (u64, u64),
}

impl Torrent {
    /// A torrent with no connection yet. Everything follows from
    /// [`Torrent::handle`]; the first [`Torrent::poll_timeout`] is at once.
    pub fn new(config: Config, start: Start, now: Time, rng: &mut impl Rng) -> Torrent {
        let live = config.live.map(|it| live::Live::new(it, start.layout.pieces(), now));
        let picker = {
            let remembers_senders = !config.defects.has(Defect::HashFailureBlamesNobody);
            let options = PickerOptions { remembers_senders, ..PickerOptions::default() };
            match live {
                Some(_) => Picker::live(start.layout, options),
                None => Picker::new(start.layout, &start.have, options),
            }
        };
        let choking = ChokerOptions {
            slots: config.upload_slots,
            round: config.choke_round,
            optimistic: config.choke_round * 3,
            ..ChokerOptions::default()
        };
        let choker = Choker::new(choking, now).with_defects(config.defects);
        let peers = PeerTable::new().with_defects(config.defects);
        let mut torrent = Torrent {
            info_hash: start.info_hash,
            layout: start.layout,
            private: start.private,
            hashes: start.hashes,
            torrent_keys: start.torrent_keys,
            last_connected: None,
            selects: false,
            metadata: None,
            announcer: start.announce.then(|| Announcer::new(now)),
            key: rng.next_u32(),
            tracker_id: None,
            downloaded: start.totals.0,
            uploaded: start.totals.1,
            picker,
            choker,
            turns: Turns::default(),
            news: News::default(),
            live,
            config,
            connections: BTreeMap::new(),
            next_connection: 1,
            peers,
            own_address: OwnAddress::default(),
            super_seed: None,
            redundant: 0,
            stopping: false,
            outputs: VecDeque::new(),
            unsent: BTreeSet::new(),
            changed: Vec::new(),
            reports_forwarded: false,
            about: None,
            refill: false,
            endgame: false,
            rechoke: false,
            turned: BTreeSet::new(),
            trouble: None,
            rests_until: None,
            transporter: None,
            played: None,
            stream: 0,
            next_check: None,
            checked: None,
            wake: Some(now),
        };
        torrent.start_streaming(now);
        torrent.start_super_seeding();
        torrent
    }

    /// Goes on from the fetch of its metadata: the same peer in the eyes of its tracker,
    /// with numbers for connections that none had before. To be called before anything
    /// else.
    #[must_use]
    pub fn after(self, before: Handover) -> Torrent {
        let Handover { next_connection, peers, announcer, key, tracker_id } = before;
        Torrent { next_connection, peers, announcer, key, tracker_id, ..self }
    }

    /// Gets the pieces in `wanted` only. BEP 21 calls who has these and no more a partial
    /// seed. To be called before there are connections.
    #[must_use]
    pub fn wanting(mut self, wanted: &Bitfield) -> Torrent {
        for piece in (0..self.layout.pieces()).filter(|piece| !wanted.contains(*piece)) {
            self.picker.set_wanted(piece, false);
            self.selects = true;
        }
        self
    }

    /// Takes in something that happened at `now`.
    pub fn handle(&mut self, input: Input, now: Time, rng: &mut impl Rng) {
        self.about = input.connection();
        self.changed.clear();
        match input {
            Input::Timeout => {}
            Input::Dialled { connection } => self.dialled(connection, now),
            Input::Received { connection, bytes } => self.received(connection, bytes, now, rng),
            Input::Flushed { connection, bytes } => self.flushed(connection, bytes),
            Input::Lost { connection } => self.close(connection, CloseReason::Lost, now),
            Input::BlockRead { connection, block, data } => {
                self.block_read(connection, block, data, now);
            }
            Input::PieceChecked { piece, valid } => self.piece_checked(piece, valid, now),
            Input::PieceUnwritten { piece, reason } => self.piece_unwritten(piece, reason, now),
            Input::PieceOpened { piece, sequence } => self.piece_opened(piece, sequence, now),
            Input::PieceMade { sequence, made } => self.piece_made(sequence, made, now),
            Input::Announced { result } => self.announced(result.map(|it| *it), now, rng),
            Input::AddPeers { addrs } => {
                for addr in addrs {
                    self.peers.add(addr, Source::Manual, now);
                }
                self.wake = Some(now);
            }
            Input::Seek { stream, at } => self.seek(stream, at, now),
            Input::Taken { stream, bytes } => self.taken(stream, bytes, now),
            Input::Pause { paused } => self.pause_playing(paused, now),
            Input::Stop { grace } => self.stop(now, grace),
        }
        self.settle(now, rng);
    }

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(id) = self.unsent.pop_first() {
            let connection = self.connections.get_mut(&id).expect("unsent names live connections");
            let bytes = connection.outbox.take();
            connection.backlog += bytes.len();
            return Some(Output::Send { connection: id, bytes });
        }
        let next = self.outputs.pop_front();
        if next.is_none() {
            self.outputs.shrink_to(OUTPUTS_KEPT);
        }
        next
    }

    /// When to call [`Torrent::handle`] with [`Input::Timeout`], if ever.
    pub fn poll_timeout(&self) -> Option<Time> {
        [self.wake, self.news_due()].into_iter().flatten().min()
    }

    /// Whether [`Input::Stop`] has been given.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether [`Input::Stop`] has been carried out whole: no connection is left,
    /// and the tracker has been told or has had its chance.
    pub fn is_stopped(&self) -> bool {
        self.stopping
            && self.connections.is_empty()
            && self.announcer.as_ref().is_none_or(Announcer::is_finished)
    }

    /// The wall clock was set, or runs otherwise than ours: Unix time (seconds) at
    /// [`Time::ZERO`] is this now. By it certificates end.
    pub fn set_unix_epoch(&mut self, unix_epoch_s: u64, now: Time) {
        if std::mem::replace(&mut self.config.unix_epoch_s, unix_epoch_s) != unix_epoch_s {
            self.expire_access(now);
            self.wake = Some(now);
        }
    }

    /// What the disk said when it last failed to keep a piece, if it has kept none since.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Whether nothing is asked for, because the disk has failed of late.
    pub fn rests(&self) -> bool {
        self.rests_until.is_some()
    }

    /// Our settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Which torrent it is.
    pub fn info_hash(&self) -> InfoHash {
        self.info_hash
    }

    /// Its grid of pieces.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Whether peers come from the tracker alone. BEP 27.
    pub fn is_private(&self) -> bool {
        self.private
    }

    /// What is known of the tree of hashes, in a Merkle torrent. BEP 30.
    pub fn hashes(&self) -> Option<&HashTree> {
        self.hashes.as_ref()
    }

    /// The states of all blocks.
    pub fn picker(&self) -> &Picker {
        &self.picker
    }

    /// Who may download from us.
    pub fn choker(&self) -> &Choker {
        &self.choker
    }

    /// The connections, oldest first.
    pub fn connections(&self) -> impl ExactSizeIterator<Item = &Connection> {
        self.connections.values().map(Box::as_ref)
    }

    /// The connections that the last input changed, if it was about one of them: that, and
    /// those to which something else goes out now than word of a piece. Some may come twice.
    /// `None` means any of them, or that one ended.
    pub fn touched(&self) -> Option<impl Iterator<Item = &Connection>> {
        let about = self.about?;
        let others = self.changed.iter().copied().filter(move |id| *id != about);
        let touched = std::iter::once(about).chain(others);
        Some(touched.filter_map(|id| self.connection(id)))
    }

    /// The connection that is our number `id`.
    pub fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(&id).map(Box::as_ref)
    }

    /// Addresses that we know of (count).
    pub fn known_peers(&self) -> usize {
        self.peers.len()
    }

    /// Content bytes that came in, in this session and before; those that came
    /// twice or were bad are counted.
    pub fn downloaded(&self) -> u64 {
        self.downloaded
    }

    /// Content bytes that went out, in this session and before.
    pub fn uploaded(&self) -> u64 {
        self.uploaded
    }

    /// Content bytes that came in and were here already.
    pub fn redundant(&self) -> u64 {
        self.redundant
    }

    /// Whether every wanted piece is here and verified.
    pub fn is_complete(&self) -> bool {
        self.picker.is_complete() || self.selects && self.picker.is_finished()
    }

    /// Whether we give without getting: all that there is to get is here, or made here.
    pub fn is_seeding(&self) -> bool {
        self.is_complete() || self.broadcast().is_some()
    }

    /// What a change makes necessary elsewhere: after every input, once.
    fn settle(&mut self, now: Time, rng: &mut impl Rng) {
        self.tell_news_if_due(now);
        self.run_timers(now, rng);
        self.play(now);
        if std::mem::take(&mut self.rechoke) {
            self.rechoke(now, rng);
        }
        self.refill |= self.begins_endgame();
        while std::mem::take(&mut self.refill) {
            for id in self.best_first(|connection| self.may_request(connection)) {
                self.request_more(id, now, rng);
            }
            self.refill |= self.begins_endgame();
        }
        self.drop_who_does_not_read(now);
        if self.config.transcript {
            for id in &self.unsent {
                if let Some(connection) = self.connections.get_mut(id) {
                    put_out_spoken(connection, &mut self.outputs);
                }
            }
        }
    }

    /// Puts out what was said on a connection since the last time.
    fn put_out_spoken(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            put_out_spoken(connection, &mut self.outputs);
        }
    }

    /// Whether the endgame has begun since the last call: now those who had nothing
    /// left to ask for may ask for what others are asked for.
    fn begins_endgame(&mut self) -> bool {
        let before = std::mem::replace(&mut self.endgame, self.picker.is_endgame());
        self.endgame && !before
    }

    /// A remote that takes nothing while it makes us answer may not make us hold
    /// more than [`BACKLOG_LIMIT`].
    fn drop_who_does_not_read(&mut self, now: Time) {
        if self.config.defects.has(Defect::UnboundedBacklog) {
            return;
        }
        let stuck: Vec<ConnectionId> = self
            .unsent
            .iter()
            .copied()
            .filter(|id| self.connections[id].unsent_bytes() > BACKLOG_LIMIT)
            .collect();
        for id in stuck {
            self.close(id, dispatch::violation("it does not read what it asks for"), now);
        }
    }

    /// A new connection's state.
    fn open(&mut self, addr: SocketAddr, direction: Direction, now: Time) -> ConnectionId {
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        let pieces = self.layout.pieces();
        let mut connection = Connection::new(
            id,
            addr,
            direction,
            pieces,
            wire::message_cap(Some(pieces)),
            Registry::new(&self.offered()),
            now,
        );
        connection.closed_swarm = self.is_closed().then(|| Box::new(Access::new(direction)));
        connection.spoken = self.config.transcript.then(Few::default);
        connection.defects = self.config.defects;
        self.connections.insert(id, Box::new(connection));
        id
    }

    /// Sends `message` on a connection, if it is there still.
    fn send(&mut self, id: ConnectionId, message: &Message, now: Time) {
        if let Some(connection) = self.connections.get_mut(&id) {
            self.news.tell(connection, now);
            connection.send(message, now);
            match message {
                Message::Have { .. } => _ = self.unsent.insert(id),
                _ => self.has_said(id),
            }
        }
    }

    /// Something else was said on a connection than which piece has come.
    fn has_said(&mut self, id: ConnectionId) {
        self.unsent.insert(id);
        if self.changed.last() != Some(&id) {
            self.changed.push(id);
        }
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn established(&self) -> impl Iterator<Item = &Connection> {
        self.connections().filter(|connection| connection.phase == Phase::Established)
    }

    fn established_ids(&self) -> Vec<ConnectionId> {
        let mut ids = Vec::with_capacity(self.connections.len());
        ids.extend(self.established().map(|connection| connection.id));
        ids
    }

    /// Sees to it that [`Input::Timeout`] comes at `at` at the latest.
    fn wake_by(&mut self, at: Time) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// Puts out what was said on a connection since the last time.
fn put_out_spoken(connection: &mut Connection, outputs: &mut VecDeque<Output>) {
    let (id, addr) = (connection.id, connection.addr);
    let Some(spoken) = &mut connection.spoken else { return };
    for (by, frame) in std::mem::take(spoken) {
        outputs.push_back(Output::Spoken(Spoken { connection: id, addr, by, frame }));
    }
}
