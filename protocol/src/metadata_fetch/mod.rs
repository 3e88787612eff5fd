//! Getting a torrent's metadata from peers, for who has only its hash. BEP 9.
//!
//! A [`MetadataFetch`] is what a magnet link's download is before there can be a
//! [`Torrent`](crate::Torrent), and has the same contract, inputs and outputs. It dials
//! peers and asks those who have the metadata for it. What one remote says is never
//! mixed with what another says: so if the hash is wrong, it is known who lied. When
//! the metadata is here it closes every connection, and a [`Handover`] tells the
//! torrent what it has to know.

mod assembly;
mod link;

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use rand::Rng;

use crate::{
    ConnectionId, Direction, Info, InfoHash, PeerTable, Phase, Source, Time,
    extension::{Extension, ExtensionHandshake, METADATA_LENGTH_MAX, MetadataMessage},
    torrent::{CloseReason, Config, Event, Input, Output, Refused},
    tracker::{AnnounceRequest, AnnounceResponse, Announcer},
    wire::{Handshake, Message},
};
use assembly::Assembly;
use link::Link;

/// Remotes that are asked at a time (count). Each is asked for everything, so this is
/// what several silent or lying ones may cost, in time and in memory.
const SOURCES_MAX: usize = 3;

/// How long a remote may take for its extension handshake, and for any piece of the
/// metadata that it was asked for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes that may wait for one remote to read them: what we have to say is a few hundred,
/// and the rest are refusals of what it asks for.
const BACKLOG_LIMIT: usize = 64 * 1024;

/// After the metadata is here, how long its torrent waits before it dials: the remotes
/// must have seen the end of the connections that there were, or they would take a new
/// one for a duplicate.
const REDIAL_AFTER: Duration = Duration::from_secs(1);

/// Bytes that are still to come, told to trackers while nobody knows how many they are.
/// Anything but 0, which would say that we seed.
const LEFT_UNKNOWN: u64 = 1;

/// Getting the metadata of one torrent.
pub struct MetadataFetch {
    config: Config,
    info_hash: InfoHash,
    links: BTreeMap<ConnectionId, Link>,
    next_connection: u64,
    peers: PeerTable,
    announcer: Option<Announcer>,
    key: u32,
    tracker_id: Option<Vec<u8>>,
    metadata: Option<Bytes>,
    stopping: bool,
    outputs: VecDeque<Output>,
    wake: Option<Time>,
}

/// What a torrent takes over from the fetch of its metadata, so that to trackers and
/// tasks the two are one.
pub struct Handover {
    pub(crate) next_connection: u64,
    pub(crate) peers: PeerTable,
    pub(crate) announcer: Option<Announcer>,
    pub(crate) key: u32,
    pub(crate) tracker_id: Option<Vec<u8>>,
}

impl MetadataFetch {
    /// The fetch of the metadata of `info_hash`, with no connection yet. Everything
    /// follows from [`MetadataFetch::handle`], as with a torrent.
    pub fn new(
        config: Config,
        info_hash: InfoHash,
        announce: bool,
        now: Time,
        rng: &mut impl Rng,
    ) -> MetadataFetch {
        MetadataFetch {
            config,
            info_hash,
            links: BTreeMap::new(),
            next_connection: 1,
            peers: PeerTable::new(),
            announcer: announce.then(|| Announcer::new(now)),
            key: rng.next_u32(),
            tracker_id: None,
            metadata: None,
            stopping: false,
            outputs: VecDeque::new(),
            wake: Some(now),
        }
    }

    /// Takes in a connection that `from` opened to us; see
    /// [`Torrent::accept`](crate::Torrent::accept).
    pub fn accept(&mut self, from: SocketAddr, now: Time) -> Result<ConnectionId, Refused> {
        if self.stopping || self.metadata.is_some() {
            return Err(Refused::Stopping);
        }
        if self.links.len() >= self.config.connections_max {
            return Err(Refused::Full { limit: self.config.connections_max });
        }
        Ok(self.open(from, Direction::Inbound, now))
    }

    /// Takes in something that happened at `now`.
    pub fn handle(&mut self, input: Input, now: Time, rng: &mut impl Rng) {
        match input {
            Input::Dialled { connection } => {
                if let Some(link) = self.links.get_mut(&connection) {
                    link.phase = Phase::Handshaking { since: now };
                    let handshake = self.handshake();
                    self.send(connection, &handshake.encode());
                }
            }
            Input::Received { connection, bytes } => self.received(connection, bytes, now),
            Input::Flushed { connection, bytes } => {
                if let Some(link) = self.links.get_mut(&connection) {
                    link.unsent = link.unsent.saturating_sub(bytes);
                }
            }
            Input::Lost { connection } => self.close(connection, CloseReason::Lost, now),
            Input::Announced { result } => self.announced(result.map(|it| *it), now, rng),
            Input::AddPeers { addrs } => {
                for addr in addrs {
                    self.peers.add(addr, Source::Manual, now);
                }
            }
            Input::Stop { grace } => {
                self.stopping = true;
                self.close_all(&CloseReason::Stopping, now);
                if let Some(announcer) = &mut self.announcer {
                    announcer.stop(now, grace);
                }
            }
            // Nothing is read, written or played yet.
            _ => {}
        }
        self.expire(now);
        // Whose turn it is now that others are gone.
        self.ask(now);
        self.run_timers(now, rng);
    }

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`MetadataFetch::handle`] with [`Input::Timeout`], if ever.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.wake
    }

    /// The metadata, once it is here: its hash is that of the torrent.
    pub fn metadata(&self) -> Option<&Bytes> {
        self.metadata.as_ref()
    }

    /// Whether [`Input::Stop`] has been carried out whole.
    pub fn is_stopped(&self) -> bool {
        self.stopping && self.announcer.as_ref().is_none_or(Announcer::is_finished)
    }

    /// Connections with whom handshakes were exchanged (count).
    pub fn connected(&self) -> usize {
        self.links.values().filter(|link| link.phase == Phase::Established).count()
    }

    /// What the torrent is to take over.
    pub fn hand_over(self) -> Handover {
        Handover {
            next_connection: self.next_connection,
            peers: self.peers,
            announcer: self.announcer,
            key: self.key,
            tracker_id: self.tracker_id,
        }
    }

    fn open(&mut self, addr: SocketAddr, direction: Direction, now: Time) -> ConnectionId {
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        self.links.insert(id, Link::new(addr, direction, now));
        self.wake = Some(now);
        id
    }

    fn send(&mut self, connection: ConnectionId, bytes: &[u8]) {
        if let Some(link) = self.links.get_mut(&connection) {
            link.unsent += bytes.len();
        }
        let bytes = Bytes::copy_from_slice(bytes).into();
        self.outputs.push_back(Output::Send { connection, bytes });
    }

    fn say(&mut self, connection: ConnectionId, id: u8, payload: Bytes) {
        let mut bytes = BytesMut::new();
        Message::Extended { id, payload }.encode(&mut bytes);
        self.send(connection, &bytes);
    }

    fn handshake(&self) -> Handshake {
        Handshake::new(self.info_hash, self.config.peer_id).with_extensions()
    }

    fn received(&mut self, id: ConnectionId, bytes: BytesMut, now: Time) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.decoder.feed_owned(bytes);
        // Acting on a message may end the connection, so it is looked up anew.
        while let Some(link) = self.links.get_mut(&id) {
            let next = match link.phase {
                Phase::Established => link.decoder.next_message().map(|it| it.map(Frame::Message)),
                _ => link.decoder.next_handshake().map(|it| it.map(Frame::Handshake)),
            };
            let done = match next {
                Ok(None) => return,
                Ok(Some(Frame::Handshake(handshake))) => self.shake_hands(id, &handshake, now),
                Ok(Some(Frame::Message(message))) => self.message(id, message, now),
                Err(error) => Err(CloseReason::Violation(error.to_string())),
            };
            if let Err(reason) = done {
                self.close(id, reason, now);
            }
        }
    }

    fn shake_hands(
        &mut self,
        id: ConnectionId,
        handshake: &Handshake,
        now: Time,
    ) -> Result<(), CloseReason> {
        let (ours, peer_id) = (self.handshake(), handshake.peer_id);
        if handshake.info_hash != self.info_hash {
            return Err(CloseReason::OtherTorrent);
        }
        let link = self.links.get_mut(&id).expect("the caller has it");
        let inbound = link.direction == Direction::Inbound;
        if link.remote_id.replace(peer_id).is_some() {
            return Err(CloseReason::Violation("a second handshake".to_owned()));
        }
        if inbound {
            self.send(id, &ours.encode());
        }
        if peer_id == self.config.peer_id {
            // Only the end that dialled knows which address is our own, and only from
            // the answer: it closes.
            return if inbound { Ok(()) } else { Err(CloseReason::SelfConnection) };
        }
        if self.peers.is_banned_id(peer_id) {
            return Err(CloseReason::Banned);
        }
        let link = self.links.get_mut(&id).expect("the caller has it");
        link.phase = Phase::Established;
        link.heard = now;
        let addr = link.addr;
        if link.direction == Direction::Outbound {
            self.peers.connected(addr);
        }
        self.outputs.push_back(Output::Event(Event::Connected { connection: id, addr, peer_id }));
        if !handshake.supports_extensions() {
            return Err(CloseReason::NoMetadata);
        }
        let extensions = ExtensionHandshake {
            m: self.links[&id].registry.handshake_m(),
            port: Some(self.config.port),
            version: Some(ExtensionHandshake::VERSION.to_owned()),
            ..ExtensionHandshake::default()
        };
        self.say(id, 0, extensions.encode());
        Ok(())
    }

    fn message(
        &mut self,
        id: ConnectionId,
        message: Message,
        now: Time,
    ) -> Result<(), CloseReason> {
        // Who has which pieces, and whom we may ask for them, is of no use yet.
        let Message::Extended { id: extension, payload } = message else { return Ok(()) };
        let link = self.links.get_mut(&id).expect("the caller has it");
        if extension == 0 {
            return self.extensions_came(id, &payload);
        }
        if link.registry.local(extension) != Some(Extension::Metadata) {
            return Ok(());
        }
        let message = MetadataMessage::decode(&payload)
            .map_err(|error| CloseReason::Violation(error.to_string()))?;
        match message {
            Some(MetadataMessage::Data { piece, data, .. }) => {
                let Some(assembly) = &mut link.assembly else { return Ok(()) };
                link.heard = now;
                assembly.receive(piece, data).map_err(|error| {
                    CloseReason::Violation(format!("metadata piece {piece}: {error}"))
                })?;
                match assembly.finish() {
                    Some(metadata) => self.came(id, metadata, now),
                    None => Ok(()),
                }
            }
            Some(MetadataMessage::Reject { .. }) => Err(CloseReason::NoMetadata),
            Some(MetadataMessage::Request { piece }) => {
                if link.unsent > BACKLOG_LIMIT {
                    let why = "it does not read what it asks for".to_owned();
                    return Err(CloseReason::Violation(why));
                }
                if let Some(extension) = link.registry.remote_id(Extension::Metadata) {
                    self.say(id, extension, MetadataMessage::Reject { piece }.encode());
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn extensions_came(&mut self, id: ConnectionId, payload: &Bytes) -> Result<(), CloseReason> {
        let handshake = ExtensionHandshake::decode(payload)
            .map_err(|error| CloseReason::Violation(error.to_string()))?;
        let link = self.links.get_mut(&id).expect("the caller has it");
        link.registry.apply(&handshake);
        if let (Some(port), Direction::Inbound, None) =
            (handshake.port, link.direction, link.listen_addr)
        {
            let addr = SocketAddr::new(link.addr.ip(), port);
            link.listen_addr = Some(addr);
            self.peers.learned_listen_addr(addr);
        }
        let offers = link.registry.remote_id(Extension::Metadata).is_some();
        match handshake.metadata_size.filter(|size| *size <= METADATA_LENGTH_MAX) {
            Some(size) if offers => {
                link.size = Some(size);
                Ok(())
            }
            // Who sends another one later may have said it before.
            _ if link.size.is_some() => Ok(()),
            _ => Err(CloseReason::NoMetadata),
        }
    }

    /// The metadata came from one remote as a whole.
    fn came(&mut self, id: ConnectionId, metadata: Bytes, now: Time) -> Result<(), CloseReason> {
        if Info::hash(&metadata) != self.info_hash {
            let link = &self.links[&id];
            let (addr, peer_id) = (link.listen_addr, link.remote_id.expect("it is established"));
            self.peers.ban(addr, peer_id);
            let addr = addr.unwrap_or(link.addr);
            self.outputs.push_back(Output::Event(Event::Banned { addr, peer_id }));
            return Err(CloseReason::Corrupt);
        }
        self.metadata = Some(metadata);
        self.close_all(&CloseReason::MetadataHere, now);
        self.peers.start_anew(now + REDIAL_AFTER);
        Ok(())
    }

    /// Asks who can be asked, as far as the limits go.
    fn ask(&mut self, now: Time) {
        let mut asked = self.links.values().filter(|link| link.assembly.is_some()).count();
        let ids: Vec<ConnectionId> = self.links.keys().copied().collect();
        for id in ids {
            let link = self.links.get_mut(&id).expect("nobody was closed");
            if let (Some(size), None, true) = (link.size, &link.assembly, asked < SOURCES_MAX) {
                link.assembly = Some(Assembly::new(size));
                link.heard = now;
                asked += 1;
            }
            let Some(assembly) = &mut link.assembly else { continue };
            let wanted: Vec<u32> = std::iter::from_fn(|| assembly.next_request()).collect();
            // A later handshake may have switched it off; then it falls silent.
            let Some(extension) = link.registry.remote_id(Extension::Metadata) else { continue };
            for piece in wanted {
                self.say(id, extension, MetadataMessage::Request { piece }.encode());
            }
        }
    }

    fn close(&mut self, id: ConnectionId, reason: CloseReason, now: Time) {
        let Some(link) = self.links.remove(&id) else { return };
        if let Some(addr) = link.listen_addr {
            match (link.phase, &reason) {
                (_, CloseReason::SelfConnection) => self.peers.mark_self(addr),
                (_, CloseReason::Corrupt) => {}
                (Phase::Established, _) => self.peers.disconnected(addr, now),
                _ => self.peers.failed(addr, now),
            }
        }
        self.outputs.push_back(Output::Close { connection: id });
        let event = Event::Disconnected { connection: id, addr: link.addr, reason };
        self.outputs.push_back(Output::Event(event));
        self.wake = Some(now);
    }

    fn close_all(&mut self, reason: &CloseReason, now: Time) {
        let ids: Vec<ConnectionId> = self.links.keys().copied().collect();
        for id in ids {
            self.close(id, reason.clone(), now);
        }
    }

    fn announced(
        &mut self,
        result: Result<AnnounceResponse, String>,
        now: Time,
        rng: &mut impl Rng,
    ) {
        let announcer = self.announcer.as_mut().expect("only who announces gets an answer");
        let event = match result {
            Ok(response) => {
                announcer.answered(now, &response);
                self.tracker_id = response.tracker_id.or(self.tracker_id.take());
                for addr in response.peers {
                    self.peers.add(addr, Source::Tracker, now);
                }
                Event::Announced
            }
            Err(reason) => {
                announcer.failed(now, rng);
                Event::AnnounceFailed { reason }
            }
        };
        self.outputs.push_back(Output::Event(event));
    }

    /// Does what is due, and reckons when to look next.
    fn run_timers(&mut self, now: Time, rng: &mut impl Rng) {
        self.wake = None;
        self.announce(now);
        self.dial(now, rng);
        let due = self.links.values().map(|link| self.due(link).0).min();
        let announce = self.announcer.as_ref().and_then(Announcer::poll_timeout);
        let dial = self.peers.poll_timeout().filter(|_| self.may_dial());
        self.wake = [due, announce, dial].into_iter().flatten().min();
    }

    /// When a connection has taken too long, and for what.
    fn due(&self, link: &Link) -> (Time, CloseReason) {
        match link.phase {
            Phase::Dialling { since } => {
                (since + self.config.dial_timeout, CloseReason::DialTimeout)
            }
            Phase::Handshaking { since } => {
                (since + self.config.handshake_timeout, CloseReason::HandshakeTimeout)
            }
            Phase::Established if link.size.is_some() && link.assembly.is_none() => {
                (link.heard + self.config.idle_timeout, CloseReason::Idle)
            }
            Phase::Established => (link.heard + ANSWER_TIMEOUT, CloseReason::NoMetadata),
        }
    }

    fn expire(&mut self, now: Time) {
        let late = |link: &Link| Some(self.due(link)).filter(|(due, _)| *due <= now);
        let late: Vec<_> = self
            .links
            .iter()
            .filter_map(|(id, link)| late(link).map(|(_, reason)| (*id, reason)))
            .collect();
        for (id, reason) in late {
            self.close(id, reason, now);
        }
    }

    fn may_dial(&self) -> bool {
        let half_open =
            self.links.values().filter(|link| matches!(link.phase, Phase::Dialling { .. })).count();
        !self.stopping
            && self.metadata.is_none()
            && half_open < self.config.half_open_max
            && self.links.len() < self.config.initiate_max.min(self.config.connections_max)
    }

    fn dial(&mut self, now: Time, rng: &mut impl Rng) {
        while self.may_dial() {
            let Some(addr) = self.peers.next_dial(now, rng) else { return };
            let connection = self.open(addr, Direction::Outbound, now);
            self.outputs.push_back(Output::Dial { connection, addr });
        }
    }

    fn announce(&mut self, now: Time) {
        // What is due now the torrent announces, which knows how much is left.
        if self.metadata.is_some() && !self.stopping {
            return;
        }
        let Some(announce) = self.announcer.as_mut().and_then(|it| it.poll(now)) else { return };
        self.outputs.push_back(Output::Announce(AnnounceRequest {
            info_hash: self.info_hash,
            peer_id: self.config.peer_id,
            port: self.config.port,
            uploaded: 0,
            downloaded: 0,
            left: LEFT_UNKNOWN,
            event: announce.event(),
            numwant: self.stopping.then_some(0),
            compact: true,
            key: self.key,
            tracker_id: self.tracker_id.clone(),
        }));
    }
}

/// What comes on a connection.
enum Frame {
    Handshake(Handshake),
    Message(Message),
}

#[cfg(test)]
mod tests;
