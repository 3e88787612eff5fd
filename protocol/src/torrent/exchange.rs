//! What peers and the tracker tell each other besides pieces.

use std::{collections::BTreeMap, net::SocketAddr};

use bytes::Bytes;
use rand::{Rng, seq::SliceRandom};

use super::{CloseReason, Event, Output, Torrent, dispatch::violation};
use crate::{
    ConnectionId, Defect, Source, Time,
    connection::{Connection, Direction},
    extension::{
        DontHave, Extension, ExtensionError, ExtensionHandshake, HashPiece,
        give_to_get::ForwardScore,
        pex::{PexFlags, PexMessage},
    },
    tracker::{AnnounceRequest, AnnounceResponse, Announcer},
    wire::Message,
};

/// The extended message that is the extension handshake. BEP 10.
const EXTENSION_HANDSHAKE: u8 = 0;

/// Peers that are taken of a tracker's answer (count), whichever: it may tell of any
/// number, and they may all be dead. As many as trackers commonly give at most.
const ANSWER_PEERS_MAX: usize = 200;

impl Torrent {
    /// Whether this connection takes part in peer exchange. BEP 11, BEP 27.
    fn exchanges(&self, connection: &Connection) -> bool {
        self.config.pex
            && !self.private
            && connection.may_have_content()
            && connection.registry.remote_id(Extension::Pex).is_some()
    }

    /// The extensions that we take on a new connection: what is switched on, each
    /// for itself.
    pub(super) fn offered(&self) -> Vec<Extension> {
        let private = self.private && !self.config.defects.has(Defect::PexInPrivate);
        let offers = |extension: &Extension| match extension {
            Extension::HashPiece => self.hashes.is_some(),
            Extension::Pex => self.config.pex && !private,
            Extension::ClosedSwarm => {
                self.is_closed() || self.config.defects.has(Defect::ClosedSwarmInOpenSwarm)
            }
            Extension::GiveToGet => self.config.stream.is_some(),
            Extension::Metadata => self.metadata.is_some(),
            Extension::Live => self.is_live(),
            Extension::DontHave => self.config.dont_have && !self.is_live(),
        };
        Extension::ALL.iter().copied().filter(offers).collect()
    }

    /// Tells a remote that speaks BEP 10 which extensions we take, and be it none: the
    /// rest of it is of use to every extension, and to those without one.
    pub(super) fn send_extension_handshake(&mut self, id: ConnectionId, now: Time) {
        let connection = &self.connections[&id];
        let needs_pex = self.config.defects.has(Defect::ExtensionHandshakeNeedsPex);
        if !connection.extended || needs_pex && !self.config.pex {
            return;
        }
        let handshake = ExtensionHandshake {
            m: connection.registry.handshake_m(),
            metadata_size: self.metadata_size(),
            port: Some(self.config.port),
            version: Some(ExtensionHandshake::VERSION.to_owned()),
            reqq: Some(self.config.request_queue_max),
            upload_only: self.says_upload_only().then_some(true),
            yourip: self.config.peer_priority.then(|| connection.addr.ip().to_canonical()),
        };
        let payload = handshake.encode();
        self.send(id, &Message::Extended { id: EXTENSION_HANDSHAKE, payload }, now);
    }

    /// Tells a remote that we want nothing more, where the first extension handshake
    /// could not say so yet. BEP 21.
    pub(super) fn send_upload_only(&mut self, id: ConnectionId, now: Time) {
        if self.connections[&id].extended {
            let news =
                ExtensionHandshake { upload_only: Some(true), ..ExtensionHandshake::default() };
            let payload = news.encode();
            self.send(id, &Message::Extended { id: EXTENSION_HANDSHAKE, payload }, now);
        }
    }

    /// Whether we may say that we want nothing more. One who shows its pieces one at a
    /// time would say that it has them all. BEP 16, BEP 21.
    pub(super) fn says_upload_only(&self) -> bool {
        self.config.upload_only && self.is_complete() && self.super_seed.is_none()
    }

    pub(super) fn extended(
        &mut self,
        id: ConnectionId,
        extension: u8,
        payload: &Bytes,
        now: Time,
        rng: &mut impl Rng,
    ) -> Result<(), CloseReason> {
        let connection = self.connections.get_mut(&id).expect("the caller has it");
        if extension == EXTENSION_HANDSHAKE {
            // A message that makes no sense is passed over: it costs the remote its
            // extensions, and nobody else anything.
            let handshake = match ExtensionHandshake::decode(payload) {
                Ok(handshake) => handshake,
                Err(error) => return self.ignore(id, &error),
            };
            connection.registry.apply(&handshake);
            if connection.registry.remote_id(Extension::GiveToGet).is_some() {
                self.reports_forwarded = true;
                let since = connection.established;
                connection.forward_score.get_or_insert_with(|| Box::new(ForwardScore::new(since)));
            }
            if let Some(reqq) = handshake.reqq {
                connection.remote_reqq = reqq.max(1);
            }
            connection.remote_upload_only =
                handshake.upload_only.unwrap_or(connection.remote_upload_only);
            let ip = connection.addr.ip();
            if let Some(ours) = handshake.yourip {
                self.own_address.seen(id, ours);
            }
            if let Some(port) = handshake.port {
                let addr = SocketAddr::new(ip, port);
                if self.peers.is_banned(addr) {
                    return Err(CloseReason::Banned);
                }
                self.learn_listen_addr(id, addr);
            }
            self.begin_proof(id, now, rng);
            self.wake_by(now);
            return match handshake.upload_only {
                Some(true) => self.check_purpose(id),
                _ => Ok(()),
            };
        }
        match connection.registry.local(extension) {
            Some(Extension::Pex) => {
                let message = match PexMessage::decode(payload) {
                    Ok(message) => message,
                    Err(error) => return self.ignore(id, &error),
                };
                self.contacts_came(id, &message, now)
            }
            // Unlike an extension's other messages it stands for a PIECE.
            Some(Extension::HashPiece) => {
                let message = HashPiece::decode(payload).map_err(|it| violation(it.to_string()))?;
                self.hash_piece(id, message, now, rng)
            }
            Some(Extension::ClosedSwarm) => self.proof_message(id, payload, now, rng),
            Some(Extension::GiveToGet) => match self.forward_report_came(id, payload, now) {
                Ok(()) => Ok(()),
                Err(error) => self.ignore(id, &error),
            },
            Some(Extension::DontHave) => match DontHave::decode(payload) {
                Ok(DontHave { piece }) => self.piece_lost_by(id, piece, now, rng),
                Err(error) => self.ignore(id, &error),
            },
            Some(Extension::Metadata) => self.metadata_message(id, payload, now),
            // BEP 10: an id that we never offered is to be ignored.
            Some(Extension::Live) | None => Ok(()),
        }
    }

    /// Passes over a message that makes no sense, and says so.
    pub(super) fn ignore(
        &mut self,
        connection: ConnectionId,
        error: &ExtensionError,
    ) -> Result<(), CloseReason> {
        self.event(Event::Ignored { connection, reason: error.to_string() });
        Ok(())
    }

    /// A remote tells us of its peers.
    fn contacts_came(
        &mut self,
        id: ConnectionId,
        message: &PexMessage,
        now: Time,
    ) -> Result<(), CloseReason> {
        let connection = self.connections.get_mut(&id).expect("the caller has it");
        let local = connection.addr.ip().is_loopback();
        let named = message.added.iter().find(|peer| peer.addr.ip().is_loopback());
        if let Some(named) = named
            && self.config.defects.has(Defect::PexRefusesLoopback)
        {
            return Err(violation(format!("peer exchange names {}", named.addr)));
        }
        let added = connection.pex_receiver.accept(now, message);
        for peer in added.map_err(|error| violation(error.to_string()))? {
            // A loopback address is good for those only who are on the same host.
            if local || !peer.addr.ip().is_loopback() {
                self.peers.add(peer.addr, Source::Pex, now);
            }
        }
        self.wake_by(now);
        Ok(())
    }

    /// Sends each remote what changed among our peers, where that is due.
    pub(super) fn exchange_peers(&mut self, now: Time) {
        for id in self.established_ids() {
            let connection = &self.connections[&id];
            if !self.exchanges(connection) {
                continue;
            }
            if connection.pex_sender.poll_timeout() > now {
                self.wake_by(self.connections[&id].pex_sender.poll_timeout());
                continue;
            }
            let current = self.contacts_for(id);
            if current.is_empty() && self.config.defects.has(Defect::TimerInThePast) {
                self.wake_by(self.connections[&id].pex_sender.poll_timeout());
                continue;
            }
            let connection = self.connections.get_mut(&id).expect("it is established");
            let message = connection.pex_sender.message(now, &current);
            let next = connection.pex_sender.poll_timeout();
            if let Some(message) = message {
                let pex = connection.registry.remote_id(Extension::Pex).expect("it exchanges");
                let payload = message.encode();
                self.send(id, &Message::Extended { id: pex, payload }, now);
            }
            self.wake_by(next);
        }
    }

    /// The peers that we are connected to and that others can dial, but for `id`.
    fn contacts_for(&self, id: ConnectionId) -> BTreeMap<SocketAddr, PexFlags> {
        let receiver = self.connections[&id].listen_addr;
        let local = self.connections[&id].addr.ip().is_loopback();
        self.established()
            .filter(|connection| connection.id != id && connection.listen_addr != receiver)
            // Elsewhere a loopback address is somebody else's.
            .filter(|connection| local || !connection.addr.ip().is_loopback())
            .filter_map(|connection| {
                let mut flags = PexFlags::default();
                if connection.remote_pieces.is_full() || connection.remote_upload_only {
                    flags = flags | PexFlags::UPLOAD_ONLY;
                }
                if connection.direction == Direction::Outbound {
                    flags = flags | PexFlags::REACHABLE;
                }
                Some((connection.listen_addr?, flags))
            })
            .collect()
    }

    /// Announces to the tracker, where that is due.
    pub(super) fn announce(&mut self, now: Time) {
        let wants_none = self.stopping || self.room_to_dial() <= 0;
        let Some(announcer) = &mut self.announcer else { return };
        if let Some(announce) = announcer.poll(now) {
            let request = AnnounceRequest {
                info_hash: self.info_hash,
                peer_id: self.config.peer_id,
                port: self.config.port,
                uploaded: self.uploaded,
                downloaded: self.downloaded,
                left: self.picker.left(),
                event: announce.event(),
                numwant: wants_none.then_some(0),
                compact: true,
                key: self.key,
                tracker_id: self.tracker_id.clone(),
            };
            self.outputs.push_back(Output::Announce(request));
        }
        if let Some(at) = self.announcer.as_ref().and_then(Announcer::poll_timeout) {
            self.wake_by(at);
        }
    }

    /// Who wants something, and has nobody to get it from or to dial soon, asks the tracker
    /// again before the next announce is due, as early as that allows.
    pub(super) fn ask_when_alone(&mut self, now: Time) {
        let soon = now + Announcer::MIN_INTERVAL;
        let is_alone = self.connections.is_empty()
            && self.room_to_dial() > 0
            && self.peers.poll_timeout().is_none_or(|due| due > soon);
        if let Some(announcer) = &mut self.announcer
            && is_alone
            && !self.stopping
            && !self.picker.is_finished()
        {
            announcer.want_peers(now);
            if let Some(at) = announcer.poll_timeout() {
                self.wake_by(at);
            }
        }
    }

    /// How many more connections we would open (count); negative where others opened
    /// more to us than we would have opened ourselves.
    fn room_to_dial(&self) -> i64 {
        self.config.initiate_max as i64 - self.connections.len() as i64
    }

    pub(super) fn announced(
        &mut self,
        result: Result<AnnounceResponse, String>,
        now: Time,
        rng: &mut impl Rng,
    ) {
        let ends_announces = self.config.defects.has(Defect::AnnounceAssertionEndsAnnounces);
        if ends_announces && result.is_ok() && self.room_to_dial() < -1 {
            // How many of the answer's peers to keep was -1 for all of them, and
            // anything less an assertion that fails. Whoever called this catches and
            // drops that, and with it what schedules the next announce.
            return;
        }
        let announcer = self.announcer.as_mut().expect("only who announces gets an answer");
        match result {
            Ok(response) => {
                announcer.answered(now, &response);
                self.event(Event::Announced);
                self.tracker_id = response.tracker_id.or(self.tracker_id.take());
                let mut peers = response.peers;
                if peers.len() > ANSWER_PEERS_MAX {
                    let (some, _) = peers.partial_shuffle(rng, ANSWER_PEERS_MAX);
                    peers = some.to_vec();
                }
                if !peers.is_empty() {
                    self.peers.outdate();
                }
                for addr in peers {
                    self.peers.add(addr, Source::Tracker, now);
                }
                if let Some(warning) = response.warning {
                    self.event(Event::TrackerWarning { warning });
                }
            }
            Err(reason) => {
                announcer.failed(now, rng);
                self.event(Event::AnnounceFailed { reason });
            }
        }
        self.wake = Some(now);
    }
}
