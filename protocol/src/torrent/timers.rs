//! What is due when.
//!
//! `Torrent::wake` is never later than the first thing due. It may be earlier: a
//! deadline that moved back is not looked for, so a wake-up may find nothing to
//! do and only reckon the next one. That keeps a message's cost independent of
//! the number of connections.

use rand::Rng;

use super::{CloseReason, Torrent};
use crate::{Time, connection::Phase, wire::Message};

impl Torrent {
    /// Does what is due, and reckons when to look next.
    pub(super) fn run_timers(&mut self, now: Time, rng: &mut impl Rng) {
        if self.wake.is_none_or(|wake| wake > now) {
            return;
        }
        self.wake = None;
        self.about = None;
        self.expire_connections(now);
        self.expire_access(now);
        self.expire_requests(now);
        self.end_rest(now);
        self.check_if_due(now, rng);
        if self.established().next().is_some() {
            if self.choker.poll_timeout() <= now {
                self.part(now);
                self.rechoke(now, rng);
            }
            self.wake_by(self.choker.poll_timeout());
        }
        self.exchange_peers(now);
        self.report_forwarded(now);
        self.go_live(now);
        self.show_overdue(now);
        self.announce(now);
        self.dial(now, rng);
        self.ask_when_alone(now);
    }

    /// Closes connections that took too long, and keeps the others alive.
    fn expire_connections(&mut self, now: Time) {
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            let connection = &self.connections[&id];
            let (due, reason) = match connection.phase {
                Phase::Dialling { since } => {
                    (since + self.config.dial_timeout, CloseReason::DialTimeout)
                }
                Phase::Handshaking { since } => {
                    (since + self.config.handshake_timeout, CloseReason::HandshakeTimeout)
                }
                Phase::Established => {
                    (connection.last_received + self.config.idle_timeout, CloseReason::Idle)
                }
            };
            if due <= now {
                self.close(id, reason, now);
                continue;
            }
            self.wake_by(due);
            if self.connections[&id].is_established() {
                let keepalive = self.config.keepalive_interval;
                if self.connections[&id].last_sent + keepalive <= now {
                    self.send(id, &Message::KeepAlive, now);
                }
                self.wake_by(self.connections[&id].last_sent + keepalive);
            }
        }
    }
}
