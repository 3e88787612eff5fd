//! Which connections come first. BEP 40.

use std::net::SocketAddr;

use rand::Rng;

use super::{CloseReason, Torrent};
use crate::{ConnectionId, Time, connection::Connection, peer_priority};

impl Torrent {
    /// The priority of a connection to who listens at `addr`; `None` while nobody has
    /// told us where he sees us, or if priorities are not used.
    fn priority(&self, addr: SocketAddr) -> Option<u32> {
        let ours = self.own_address.like(addr.ip()).filter(|_| self.config.peer_priority)?;
        Some(peer_priority(SocketAddr::new(ours, self.config.port), addr))
    }

    /// The address to dial next.
    pub(super) fn next_dial(&mut self, now: Time, rng: &mut impl Rng) -> Option<SocketAddr> {
        let (own, port) = (&self.own_address, self.config.port);
        // Before anybody has told us where we are, one is as good as any other.
        if !self.config.peer_priority || own.is_unknown() {
            return self.peers.next_dial(now, rng);
        }
        self.peers.next_dial_by(now, |addr| {
            let ours = own.like(addr.ip()).map(|ip| SocketAddr::new(ip, port));
            ours.map_or(0, |ours| peer_priority(ours, addr))
        })
    }

    /// Ends the connection of the least priority, if that of one from `addr` is greater;
    /// whether there is room for it now. Those that still shake hands are left alone:
    /// who they are is not known yet.
    pub(super) fn make_room(&mut self, addr: SocketAddr, now: Time) -> bool {
        let Some(priority) = self.priority(addr) else { return false };
        let rank = |connection: &Connection| {
            let addr = connection.listen_addr.unwrap_or(connection.addr);
            Some((self.priority(addr)?, connection.id))
        };
        let least: Option<(u32, ConnectionId)> = self.established().filter_map(rank).min();
        match least {
            Some((least, id)) if least < priority => {
                self.close(id, CloseReason::Outranked, now);
                true
            }
            _ => false,
        }
    }
}
