//! Who may have content of a closed swarm: the handshakes of its connections, and
//! what follows from them.

use rand::Rng;

use super::{CloseReason, Event, Torrent, dispatch::violation};
use crate::{
    ConnectionId, Defect, Time,
    connection::{Connection, Direction},
    extension::{
        Extension,
        closed_swarm::{Certificate, Exchange, ProofMessage, Role, Swarm},
    },
    wire::Message,
};

/// What a connection of a closed swarm has proven to us.
#[derive(Debug)]
pub(crate) struct Access {
    exchange: Exchange,
    proven: Option<Certificate>,
    /// It takes part in the contest for upload slots.
    pub(super) released: bool,
}

impl Access {
    pub(crate) fn new(direction: Direction) -> Access {
        let role = match direction {
            Direction::Outbound => Role::Initiator,
            Direction::Inbound => Role::Responder,
        };
        Access { exchange: Exchange::new(role), proven: None, released: false }
    }

    /// Whether the remote may have content.
    pub(crate) fn is_proven(&self) -> bool {
        self.proven.is_some()
    }
}

/// An open swarm's connection was taken for one of a closed swarm.
#[derive(Debug, thiserror::Error)]
#[error("the connection has no attribute `closed_swarm`")]
struct NoAccess;

impl Torrent {
    /// Whether content goes only to who has proven access.
    pub fn is_closed(&self) -> bool {
        !self.torrent_keys.is_empty()
    }

    /// Begins the handshake, as who dialled does, once the remote has said that it
    /// takes part.
    pub(super) fn begin_proof(&mut self, id: ConnectionId, now: Time, rng: &mut impl Rng) {
        let wanted = self.is_closed() || self.config.defects.has(Defect::ClosedSwarmInOpenSwarm);
        let connection = &self.connections[&id];
        let addr = connection.addr;
        let Some(extension) = connection.registry.remote_id(Extension::ClosedSwarm) else { return };
        if !wanted || connection.direction != Direction::Outbound {
            return;
        }
        match self.challenge(id, now, rng) {
            Ok(Some(challenge)) => {
                let payload = challenge.encode();
                self.send(id, &Message::Extended { id: extension, payload }, now);
            }
            Ok(None) => {}
            Err(error) => {
                let doing = format!("beginning the closed-swarm handshake on {id} to {addr}");
                self.event(Event::Swallowed { doing, error: error.to_string() });
            }
        }
    }

    fn challenge(
        &mut self,
        id: ConnectionId,
        now: Time,
        rng: &mut impl Rng,
    ) -> Result<Option<ProofMessage>, NoAccess> {
        let connection = self.connections.get_mut(&id).expect("the caller has it");
        let access = connection.closed_swarm.as_mut().ok_or(NoAccess)?;
        let swarm = Swarm {
            info_hash: self.info_hash,
            torrent_keys: &self.torrent_keys,
            membership: self.config.membership.as_ref(),
            unix_s: self.config.unix_s(now),
        };
        Ok(access.exchange.begin(&swarm, rng))
    }

    /// A message of the handshake came in.
    pub(super) fn proof_message(
        &mut self,
        id: ConnectionId,
        payload: &[u8],
        now: Time,
        rng: &mut impl Rng,
    ) -> Result<(), CloseReason> {
        let connection = self.connections.get_mut(&id).expect("the caller has it");
        let addr = connection.addr;
        let Some(access) = &mut connection.closed_swarm else {
            return Err(violation("a closed swarm's handshake in an open swarm"));
        };
        let Some(extension) = connection.registry.remote_id(Extension::ClosedSwarm) else {
            return Err(violation("a closed swarm's handshake before NS_CS was declared"));
        };
        let swarm = Swarm {
            info_hash: self.info_hash,
            torrent_keys: &self.torrent_keys,
            membership: self.config.membership.as_ref(),
            unix_s: self.config.unix_s(now),
        };
        let step = match access.exchange.handle(payload, &swarm, rng) {
            Ok(step) => step,
            Err(error) if error.is_violation() => {
                return Err(violation(format!("closed swarm: {error}")));
            }
            Err(error) => {
                let reason = error.to_string();
                self.event(Event::AccessRefused { connection: id, addr, reason });
                return Ok(());
            }
        };
        if let Some(certificate) = &step.proven {
            access.proven = Some(certificate.clone());
        }
        if let Some(reply) = step.reply {
            let payload = reply.encode();
            self.send(id, &Message::Extended { id: extension, payload }, now);
        }
        if let Some(Certificate { node_key: key, expires_s, .. }) = step.proven {
            self.event(Event::AccessProven { connection: id, addr, key, expires_s });
            self.release(id, now);
            self.wake = Some(now);
        }
        Ok(())
    }

    /// Whoever has proven access hears what we have, and may be unchoked.
    fn release(&mut self, id: ConnectionId, now: Time) {
        let misdirected = self.config.defects.has(Defect::HandshakeReleasesLastPeer);
        // One note of whom to release for the whole swarm, made when a connection comes.
        let id = if misdirected { self.last_connected.unwrap_or(id) } else { id };
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(access) = &mut connection.closed_swarm else { return };
        access.released = true;
        if access.is_proven() && self.super_seed.is_some() {
            self.show_pieces(id, now);
        } else if access.is_proven() {
            self.spare_news(id);
            let have: Vec<u32> = self.picker.have().iter().collect();
            for piece in have {
                self.send(id, &Message::Have { piece }, now);
            }
            self.grant_fast(id, now);
        }
        if misdirected {
            self.connections.get_mut(&id).expect("it was there").am_choking = false;
            self.send(id, &Message::Unchoke, now);
        }
        self.turned.insert(id);
        self.rechoke |= !misdirected;
    }

    /// Takes access from those whose certificates have ended, gives up handshakes that
    /// stall, and parts from who has no access and gives us nothing.
    pub(super) fn expire_access(&mut self, now: Time) {
        if !self.is_closed() {
            return;
        }
        for id in self.established_ids() {
            let connection = self.connections.get_mut(&id).expect("it is established");
            let due = connection.established + self.config.proof_timeout;
            let addr = connection.addr;
            let access = connection.closed_swarm.as_mut().expect("the swarm is closed");
            if let Some(certificate) = &access.proven {
                if certificate.has_expired(self.config.unix_s(now)) {
                    self.lapse(id, now);
                } else if certificate.expires_s != 0 {
                    let expires = self.config.time_of(certificate.expires_s);
                    self.wake_by(expires);
                }
            }
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            let access = connection.closed_swarm.as_mut().expect("the swarm is closed");
            if access.is_proven() {
                continue;
            }
            if now < due {
                self.wake_by(due);
                continue;
            }
            if !access.exchange.has_ended() {
                access.exchange.end();
                let reason = "the handshake stalls".to_owned();
                self.event(Event::AccessRefused { connection: id, addr, reason });
            }
            if !self.picker.wants(&self.connections[&id].remote_pieces) {
                self.close(id, CloseReason::NoAccess, now);
            }
        }
    }

    /// A remote's certificate has ended while it was connected: nothing more goes to it,
    /// not even what it has requested.
    fn lapse(&mut self, id: ConnectionId, now: Time) {
        let connection = self.connections.get_mut(&id).expect("the caller has it");
        let access = connection.closed_swarm.as_mut().expect("the swarm is closed");
        access.proven = None;
        access.released = false;
        let addr = connection.addr;
        connection.granted_fast.clear();
        let waiting = connection.uploads.drain(..).chain(connection.reading.drain(..));
        let waiting: Vec<_> = waiting.collect();
        if connection.fast {
            for block in waiting {
                connection.send(&Message::Reject(block), now);
            }
            self.has_said(id);
        }
        self.event(Event::AccessExpired { connection: id, addr });
        self.turned.insert(id);
        self.rechoke = true;
    }
}

impl Connection {
    /// Whether content, and word of it, may go to the remote.
    pub fn may_have_content(&self) -> bool {
        self.closed_swarm.as_ref().is_none_or(|access| access.is_proven())
    }

    /// Whether the remote may be unchoked.
    pub(crate) fn is_released(&self) -> bool {
        self.closed_swarm.as_ref().is_none_or(|access| access.released)
    }
}
