//! How connections begin and end.

use std::{net::SocketAddr, time::Duration};

use bytes::BytesMut;
use rand::Rng;

use super::{CloseReason, Event, Frame, Output, Speaker, Torrent, dispatch::violation};
use crate::{
    ALLOWED_FAST_PIECES, ConnectionId, Defect, PeerId, PlaybackStats, Time, allowed_fast_set,
    connection::{Connection, Direction, Phase},
    wire::{Handshake, Message},
};

/// Why an inbound connection is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// There are as many as the settings allow.
    #[error("as many connections as allowed ({limit})")]
    Full {
        /// `Config::connections_max`.
        limit: usize,
    },
    /// The torrent is stopping.
    #[error("stopping")]
    Stopping,
}

impl Torrent {
    /// Takes in a connection that `from` opened to us; its handshake is still to
    /// come, as [`Input::Received`](super::Input::Received).
    pub fn accept(&mut self, from: SocketAddr, now: Time) -> Result<ConnectionId, Refused> {
        if self.stopping {
            return Err(Refused::Stopping);
        }
        if self.connections.len() >= self.config.connections_max && !self.make_room(from, now) {
            return Err(Refused::Full { limit: self.config.connections_max });
        }
        let id = self.open(from, Direction::Inbound, now);
        self.wake_by(now + self.config.handshake_timeout);
        Ok(id)
    }

    /// Dials who may be dialled, as far as the limits go. At a limit it is not the
    /// time that lets it go on, but a connection that comes to something or ends.
    pub(super) fn dial(&mut self, now: Time, rng: &mut impl Rng) {
        if self.stopping {
            return;
        }
        let mut half_open = self
            .connections
            .values()
            .filter(|connection| matches!(connection.phase, Phase::Dialling { .. }))
            .count();
        let most = self.config.initiate_max.min(self.config.connections_max);
        while half_open < self.config.half_open_max && self.connections.len() < most {
            let Some(addr) = self.next_dial(now, rng) else {
                if let Some(at) = self.peers.poll_timeout() {
                    self.wake_by(at);
                }
                return;
            };
            let connection = self.open(addr, Direction::Outbound, now);
            self.outputs.push_back(Output::Dial { connection, addr });
            self.wake_by(now + self.config.dial_timeout);
            half_open += 1;
        }
    }

    pub(super) fn dialled(&mut self, id: ConnectionId, now: Time) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.phase = Phase::Handshaking { since: now };
        // Another may be dialled now.
        self.wake = Some(now);
        self.send_handshake(id, now);
    }

    fn send_handshake(&mut self, id: ConnectionId, now: Time) {
        let handshake = Handshake::new(self.info_hash, self.config.peer_id).with_extensions();
        let handshake = if self.config.fast { handshake.with_fast() } else { handshake };
        let connection = self.connections.get_mut(&id).expect("the caller has it");
        connection.send_handshake(handshake, now);
        self.has_said(id);
    }

    /// Bytes came in: whatever they complete is acted on, in order.
    pub(super) fn received(
        &mut self,
        id: ConnectionId,
        bytes: BytesMut,
        now: Time,
        rng: &mut impl Rng,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.last_received = now;
        connection.decoder.feed_owned(bytes);
        self.act_on_received(id, now, rng);
        self.put_out_spoken(id);
    }

    fn act_on_received(&mut self, id: ConnectionId, now: Time, rng: &mut impl Rng) {
        // Acting on a message may end the connection, so it is looked up anew.
        while let Some(connection) = self.connections.get_mut(&id) {
            let done = if connection.is_established() {
                match connection.next_message() {
                    Ok(Some(message)) => {
                        connection.record(Speaker::Remote, || Frame::Message(message.clone()));
                        self.message(id, message, now, rng)
                    }
                    Ok(None) => return,
                    Err(error) => Err(CloseReason::Violation(error.to_string())),
                }
            } else {
                match connection.decoder.next_handshake() {
                    Ok(Some(handshake)) => {
                        connection.record(Speaker::Remote, || Frame::Handshake(handshake));
                        self.handshake(id, &handshake, now)
                    }
                    Ok(None) => return,
                    Err(error) => Err(CloseReason::Violation(error.to_string())),
                }
            };
            if let Err(reason) = done {
                self.close(id, reason, now);
            }
        }
    }

    fn handshake(
        &mut self,
        id: ConnectionId,
        handshake: &Handshake,
        now: Time,
    ) -> Result<(), CloseReason> {
        if handshake.info_hash != self.info_hash {
            return Err(CloseReason::OtherTorrent);
        }
        let connection = self.connections.get_mut(&id).expect("the caller has it");
        let (addr, direction) = (connection.addr, connection.direction);
        if connection.remote_id.is_some() {
            return Err(violation("a second handshake"));
        }
        if handshake.peer_id == self.config.peer_id {
            // Only the end that dialled knows which address is our own, and only
            // from the answer: it closes.
            return match direction {
                Direction::Outbound => Err(CloseReason::SelfConnection),
                Direction::Inbound => {
                    connection.remote_id = Some(handshake.peer_id);
                    self.send_handshake(id, now);
                    Ok(())
                }
            };
        }
        if self.peers.is_banned_id(handshake.peer_id) {
            return Err(CloseReason::Banned);
        }
        if let Some(kept) = self.resolve_duplicate(id, direction, handshake.peer_id, now) {
            return Err(CloseReason::Duplicate { kept });
        }
        if direction == Direction::Inbound {
            self.send_handshake(id, now);
        } else {
            self.peers.connected(addr);
        }
        let connection = self.connections.get_mut(&id).expect("only others were closed");
        connection.phase = Phase::Established;
        connection.established = now;
        connection.last_block = now;
        connection.remote_id = Some(handshake.peer_id);
        connection.fast = self.config.fast && handshake.supports_fast();
        connection.extended = handshake.supports_extensions();
        self.last_connected = Some(id);
        self.event(Event::Connected { connection: id, addr, peer_id: handshake.peer_id });
        self.rechoke = true;
        self.send_pieces(id, now);
        self.send_extension_handshake(id, now);
        self.show_pieces(id, now);
        self.wake_by(now + self.config.keepalive_interval);
        Ok(())
    }

    /// Of several connections to one peer exactly one may stay, and both ends must
    /// choose the same one without a word: the one that the peer with the greater
    /// id opened, and of two that the same peer opened the older. Returns the one
    /// to be kept if it is not `id`; closes the other one if it is.
    fn resolve_duplicate(
        &mut self,
        id: ConnectionId,
        direction: Direction,
        remote_id: PeerId,
        now: Time,
    ) -> Option<ConnectionId> {
        let other = self
            .established()
            .find(|other| other.id != id && other.remote_id == Some(remote_id))?;
        let ours_stays =
            self.config.peer_id > remote_id || self.config.defects.has(Defect::KeepsOwnDial);
        let favoured = if ours_stays { Direction::Outbound } else { Direction::Inbound };
        let (other, other_direction) = (other.id, other.direction);
        if other_direction == direction || other_direction == favoured {
            return Some(other);
        }
        self.close(other, CloseReason::Duplicate { kept: id }, now);
        None
    }

    /// Tells a new peer which pieces are here: the first message. BEP 3, BEP 6.
    fn send_pieces(&mut self, id: ConnectionId, now: Time) {
        let have = self.picker.have();
        let fast = self.connections[&id].fast;
        let shows_all = self.connections[&id].may_have_content() && self.super_seed.is_none();
        let nothing = have.is_empty() || !shows_all;
        let message = match (fast, nothing, have.is_full()) {
            (true, true, _) => Message::HaveNone,
            (false, true, _) => return,
            (true, false, true) => Message::HaveAll,
            _ => Message::Bitfield(have.to_wire()),
        };
        self.spare_news(id);
        self.send(id, &message, now);
    }

    /// Lets a peer that has next to nothing request a few pieces at once. BEP 6.
    pub(super) fn grant_fast(&mut self, id: ConnectionId, now: Time) {
        let connection = &self.connections[&id];
        let std::net::IpAddr::V4(ip) = connection.addr.ip() else { return };
        let newcomer = (connection.remote_pieces.count() as usize) < ALLOWED_FAST_PIECES;
        let shows_all = connection.may_have_content() && self.super_seed.is_none();
        if !connection.fast || !newcomer || !shows_all {
            return;
        }
        for piece in allowed_fast_set(ip, self.info_hash, self.layout.pieces(), ALLOWED_FAST_PIECES)
        {
            if self.picker.have().contains(piece) {
                self.send(id, &Message::AllowedFast { piece }, now);
                let connection = self.connections.get_mut(&id).expect("it was there");
                connection.granted_fast.insert(piece);
            }
        }
    }

    /// Ends a connection, and everything that hung on it.
    pub(super) fn close(&mut self, id: ConnectionId, reason: CloseReason, now: Time) {
        self.put_out_spoken(id);
        let Some(connection) = self.connections.remove(&id) else { return };
        self.unsent.remove(&id);
        self.about = None;
        self.turns.leave(id);
        self.own_address.forget(id);
        self.picker.release_all(id);
        self.picker.peer_gone(&connection.remote_pieces);
        self.refill |= !self.config.defects.has(Defect::DisconnectWakesNobody);
        if connection.peer_interested {
            self.turned.insert(id);
        }
        self.rechoke |= !connection.am_choking;
        self.forget_peer(&connection, &reason, now);
        if reason != CloseReason::Lost {
            self.outputs.push_back(Output::Close { connection: id });
        }
        self.event(Event::Disconnected { connection: id, addr: connection.addr, reason });
        self.hidden_from(id, now);
        self.wake = Some(now);
    }

    /// Tells the peer table how a connection ended.
    fn forget_peer(&mut self, connection: &Connection, reason: &CloseReason, now: Time) {
        if *reason == CloseReason::Corrupt
            && let Some(peer_id) = connection.remote_id
        {
            let addr = connection.listen_addr.unwrap_or(connection.addr);
            self.peers.ban(connection.listen_addr, peer_id);
            self.event(Event::Banned { addr, peer_id });
        }
        let Some(addr) = connection.listen_addr else { return };
        if let CloseReason::Duplicate { kept } = reason {
            self.learn_listen_addr(*kept, addr);
        }
        match reason {
            CloseReason::SelfConnection => self.peers.mark_self(addr),
            _ if self.is_pointless(connection) => self.peers.satisfied(addr, now),
            _ if connection.is_established() => self.peers.disconnected(addr, now),
            _ => self.peers.failed(addr, now),
        }
    }

    /// A peer that connected to us told, or betrayed, where it listens.
    pub(super) fn learn_listen_addr(&mut self, id: ConnectionId, addr: SocketAddr) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.listen_addr.is_none() {
            connection.listen_addr = Some(addr);
            self.peers.learned_listen_addr(addr);
        }
    }

    pub(super) fn stop(&mut self, now: Time, grace: Duration) {
        self.stopping = true;
        self.played = PlaybackStats::of_video(self, now);
        self.transporter = None;
        self.next_check = None;
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in ids {
            self.close(id, CloseReason::Stopping, now);
        }
        if let Some(announcer) = &mut self.announcer {
            announcer.stop(now, grace);
        }
        self.wake = Some(now);
    }
}
