//! How much of what a peer tells us about others to believe.

use std::{
    collections::{BTreeSet, VecDeque},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::{PEX_CONTACTS_MAX, PEX_FIRST_CONTACTS_MAX, PEX_INTERVAL, PexMessage, PexPeer};
use crate::Time;

/// Conduct that is grounds to drop the connection: BEP 11 allows it for egregious
/// violations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PexViolation {
    /// Far more than one message a minute.
    #[error("{messages} peer exchanges in {} seconds where one a minute is allowed", span.as_secs_f64())]
    TooOften {
        /// Messages (count).
        messages: usize,
        /// Time from the first to the last of them.
        span: Duration,
    },
}

/// The receiving half of peer exchange on one connection.
#[derive(Debug, Clone, Default)]
pub struct PexReceiver {
    /// When messages came that still count, oldest first; at most
    /// [`MESSAGES_MAX`].
    recent: VecDeque<Time>,
    started: bool,
}

impl PexReceiver {
    /// A receiver that has heard nothing yet.
    pub fn new() -> PexReceiver {
        PexReceiver::default()
    }

    /// Takes a message and returns the contacts it adds that one could try, each
    /// once: at most [`PEX_FIRST_CONTACTS_MAX`] of the first message and
    /// [`PEX_CONTACTS_MAX`] of every other, the rest is ignored. IPv4 contacts in
    /// IPv6 notation come as IPv4.
    ///
    /// They are still a stranger's word. Our own address, and many contacts at one
    /// address, are for the caller to leave out, who knows all sources.
    ///
    /// A sixth message in less than a minute is a violation, no earlier one: a slow
    /// connection may hold messages up and then deliver them all at once.
    /// (libtorrent looks back as far, and disconnects at the seventh.)
    pub fn accept(
        &mut self,
        now: Time,
        message: &PexMessage,
    ) -> Result<Vec<PexPeer>, PexViolation> {
        self.count(now)?;
        let most = match std::mem::replace(&mut self.started, true) {
            true => PEX_CONTACTS_MAX,
            false => PEX_FIRST_CONTACTS_MAX,
        };
        let dropped: BTreeSet<SocketAddr> = message.dropped.iter().map(canonical).collect();
        let mut seen = BTreeSet::new();
        Ok(message
            .added
            .iter()
            .map(|peer| PexPeer { addr: canonical(&peer.addr), ..*peer })
            .filter(|peer| is_dialable(peer.addr) && !dropped.contains(&peer.addr))
            .filter(|peer| seen.insert(peer.addr))
            .take(most)
            .collect())
    }

    fn count(&mut self, now: Time) -> Result<(), PexViolation> {
        while let Some(&oldest) = self.recent.front() {
            let span = now - oldest;
            if span < PEX_INTERVAL {
                if self.recent.len() < MESSAGES_MAX {
                    break;
                }
                return Err(PexViolation::TooOften { messages: MESSAGES_MAX + 1, span });
            }
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        Ok(())
    }
}

/// Messages that may come within [`PEX_INTERVAL`] (count).
const MESSAGES_MAX: usize = 5;

/// The one notation of an address that has two.
fn canonical(addr: &SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Whether a connection to `addr` could exist at all. Private and loopback
/// addresses could.
fn is_dialable(addr: SocketAddr) -> bool {
    let ip = addr.ip();
    addr.port() != 0
        && !ip.is_unspecified()
        && !ip.is_multicast()
        && ip != IpAddr::V4(Ipv4Addr::BROADCAST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{PexFlags, PexSender},
        *,
    };

    fn contact(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn adding(addrs: impl IntoIterator<Item = SocketAddr>) -> PexMessage {
        PexMessage {
            added: addrs
                .into_iter()
                .map(|addr| PexPeer { addr, flags: PexFlags::UPLOAD_ONLY })
                .collect(),
            dropped: Vec::new(),
        }
    }

    fn accepted(message: &PexMessage) -> Vec<SocketAddr> {
        let peers = PexReceiver::new().accept(Time::ZERO, message).unwrap();
        peers.into_iter().map(|peer| peer.addr).collect()
    }

    #[test]
    fn what_cannot_be_dialled_is_left_out() {
        let message = adding(
            [
                "10.0.0.1:0",
                "0.0.0.0:1",
                "255.255.255.255:1",
                "224.0.0.1:1",
                "[::]:1",
                "[ff02::1]:1",
                "[::ffff:0.0.0.0]:1",
                "127.0.0.1:1",
                "[2001:db8::1]:1",
            ]
            .map(contact),
        );
        let left = ["127.0.0.1:1", "[2001:db8::1]:1"].map(contact);
        assert_eq!(accepted(&message), left);
    }

    #[test]
    fn a_contact_counts_once_in_whichever_notation() {
        let twice = adding(["10.0.0.1:1", "[::ffff:10.0.0.1]:1", "10.0.0.1:1"].map(contact));
        assert_eq!(accepted(&twice), [contact("10.0.0.1:1")]);
    }

    #[test]
    fn a_contact_that_is_dropped_in_the_same_message_is_not_added() {
        let mut message = adding(["10.0.0.1:1", "10.0.0.2:1"].map(contact));
        message.dropped = vec![contact("10.0.0.1:1")];
        assert_eq!(accepted(&message), [contact("10.0.0.2:1")]);
    }

    #[test]
    fn a_first_message_may_add_a_hundred_and_another_fifty() {
        let many = adding((1..=300).map(|port| ([10, 0, 0, 1], port).into()));
        let mut receiver = PexReceiver::new();
        assert_eq!(receiver.accept(Time::ZERO, &many).unwrap().len(), 100);
        let later = Time::from_secs(60);
        assert_eq!(receiver.accept(later, &many).unwrap().len(), 50);
    }

    #[test]
    fn flags_come_with_the_contact() {
        let message = adding([contact("10.0.0.1:1")]);
        let peers = PexReceiver::new().accept(Time::ZERO, &message).unwrap();
        assert!(peers[0].flags.contains(PexFlags::UPLOAD_ONLY));
    }

    #[test]
    fn the_sixth_message_in_less_than_a_minute_is_a_violation() {
        let message = adding([]);
        let mut receiver = PexReceiver::new();
        for second in 0..5 {
            let now = Time::from_secs(second * 10);
            assert!(receiver.accept(now, &message).is_ok());
        }
        assert_eq!(
            receiver.accept(Time::from_secs(59), &message),
            Err(PexViolation::TooOften { messages: 6, span: Duration::from_secs(59) })
        );
        assert!(receiver.accept(Time::from_secs(60), &message).is_ok());
        assert!(receiver.accept(Time::from_secs(69), &message).is_err());
    }

    proptest! {
        #[test]
        fn what_our_sender_says_is_accepted_however_it_is_delayed(
            delays in prop::collection::vec(0u64..200, 1..30),
        ) {
            let mut sender = PexSender::new();
            let mut receiver = PexReceiver::new();
            let mut arrived = Time::ZERO;
            for (turn, delay) in (0u64..).zip(delays) {
                let sent = Time::from_secs(turn * 60);
                let contact = ([10, 0, 0, 1], 1 + turn as u16).into();
                let current = [(contact, PexFlags::default())].into();
                let message = sender.message(sent, &current).unwrap();
                // TCP keeps the order, so a late message holds up those behind it.
                arrived = arrived.max(sent + Duration::from_secs(delay));
                let accepted = receiver.accept(arrived, &message).unwrap();
                prop_assert_eq!(accepted.len(), 1);
            }
        }

        #[test]
        fn no_stream_of_messages_makes_it_remember_more(
            steps in prop::collection::vec(0u64..30, 0..60),
        ) {
            let mut receiver = PexReceiver::new();
            let mut now = Time::ZERO;
            for step in steps {
                now += Duration::from_secs(step);
                let _ = receiver.accept(now, &adding([]));
                prop_assert!(receiver.recent.len() <= MESSAGES_MAX);
            }
        }
    }
}
