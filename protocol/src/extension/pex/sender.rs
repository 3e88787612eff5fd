//! What to tell a peer about our other connections, and when.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{SocketAddr, SocketAddrV4, SocketAddrV6},
};

use super::{
    PEX_CONTACTS_MAX, PEX_FIRST_CONTACTS_MAX, PEX_INTERVAL, PexFlags, PexMessage, PexPeer,
};
use crate::Time;

/// The sending half of peer exchange on one connection.
///
/// It remembers what the peer was told, and tells it the difference, so that a
/// contact that came and went in between is never mentioned and every contact that
/// was added is dropped in the end. BEP 11.
#[derive(Debug, Clone, Default)]
pub struct PexSender {
    /// What the peer believes, if it got everything.
    told: Contacts,
    due_at: Time,
    started: bool,
}

impl PexSender {
    /// A sender to a peer that has been told nothing; its first message is due at
    /// once.
    pub fn new() -> PexSender {
        PexSender::default()
    }

    /// Whether a message may be sent.
    pub fn due(&self, now: Time) -> bool {
        now >= self.poll_timeout()
    }

    /// When to call [`PexSender::message`] next.
    pub fn poll_timeout(&self) -> Time {
        self.due_at
    }

    /// The message that brings the peer closer to knowing `current`: our
    /// connections that are established, without the one to that peer itself.
    ///
    /// `None` if it is not due or nothing changed. Either way the next one is due
    /// [`PEX_INTERVAL`] after a call that was due. What does not fit in one message
    /// waits for the next.
    pub fn message(
        &mut self,
        now: Time,
        current: &BTreeMap<SocketAddr, PexFlags>,
    ) -> Option<PexMessage> {
        if !self.due(now) {
            return None;
        }
        self.due_at = now + PEX_INTERVAL;
        let added_max = match self.started {
            true => PEX_CONTACTS_MAX,
            false => PEX_FIRST_CONTACTS_MAX,
        };
        let message = PexMessage {
            added: current
                .iter()
                .filter(|(addr, _)| !self.told.contains(**addr))
                .take(added_max)
                .map(|(&addr, &flags)| PexPeer { addr, flags })
                .collect(),
            dropped: self
                .told
                .iter()
                .filter(|addr| !current.contains_key(addr))
                .take(PEX_CONTACTS_MAX)
                .collect(),
        };
        if message.is_empty() {
            return None;
        }
        self.started = true;
        message.dropped.iter().for_each(|addr| self.told.remove(*addr));
        message.added.iter().for_each(|peer| self.told.insert(peer.addr));
        Some(message)
    }
}

/// Addresses in order, by family: most are of IPv4, and take a fifth of the room so.
#[derive(Debug, Clone, Default)]
struct Contacts {
    v4: BTreeSet<SocketAddrV4>,
    v6: BTreeSet<SocketAddrV6>,
}

impl Contacts {
    fn contains(&self, addr: SocketAddr) -> bool {
        match addr {
            SocketAddr::V4(addr) => self.v4.contains(&addr),
            SocketAddr::V6(addr) => self.v6.contains(&addr),
        }
    }

    fn insert(&mut self, addr: SocketAddr) {
        match addr {
            SocketAddr::V4(addr) => _ = self.v4.insert(addr),
            SocketAddr::V6(addr) => _ = self.v6.insert(addr),
        }
    }

    fn remove(&mut self, addr: SocketAddr) {
        match addr {
            SocketAddr::V4(addr) => _ = self.v4.remove(&addr),
            SocketAddr::V6(addr) => _ = self.v6.remove(&addr),
        }
    }

    fn iter(&self) -> impl Iterator<Item = SocketAddr> {
        let v6 = self.v6.iter().copied().map(SocketAddr::V6);
        self.v4.iter().copied().map(SocketAddr::V4).chain(v6)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// The contacts with these numbers, of both families.
    fn contacts(numbers: impl IntoIterator<Item = u16>) -> BTreeMap<SocketAddr, PexFlags> {
        numbers
            .into_iter()
            .map(|number| {
                let addr = match number % 3 {
                    0 => ([0x20, 1, 0, 0, 0, 0, 0, number], 6881).into(),
                    _ => ([10, 0, (number >> 8) as u8, number as u8], 6881).into(),
                };
                (addr, PexFlags::REACHABLE)
            })
            .collect()
    }

    fn minute(minutes: u64) -> Time {
        Time::from_secs(60 * minutes)
    }

    #[test]
    fn the_first_message_holds_what_is_there_and_later_ones_what_changed() {
        let mut sender = PexSender::new();
        let first = sender.message(Time::ZERO, &contacts([1, 2, 3])).unwrap();
        assert_eq!(first.to_string(), "pex +3 -0");
        assert_eq!(first.added[0].flags, PexFlags::REACHABLE);

        let second = sender.message(minute(1), &contacts([1, 2, 4])).unwrap();
        assert_eq!(second.added[0].addr, "10.0.0.4:6881".parse().unwrap());
        assert_eq!(second.dropped, ["[20:1::3]:6881".parse().unwrap()]);
        assert_eq!(second.to_string(), "pex +1 -1");
    }

    #[test]
    fn there_is_at_most_one_message_a_minute() {
        let mut sender = PexSender::new();
        assert!(sender.due(Time::ZERO));
        assert!(sender.message(Time::ZERO, &contacts([1])).is_some());
        assert_eq!(sender.poll_timeout(), minute(1));
        let early = Time::from_epoch(Duration::from_millis(59_999));
        assert!(!sender.due(early));
        assert_eq!(sender.message(early, &contacts([2])), None);
        assert!(sender.message(minute(1), &contacts([2])).is_some());
    }

    #[test]
    fn when_nothing_changed_nothing_is_sent_and_the_next_look_is_a_minute_later() {
        let mut sender = PexSender::new();
        assert_eq!(sender.message(Time::ZERO, &contacts([])), None);
        assert_eq!(sender.poll_timeout(), minute(1));
        assert!(sender.message(minute(1), &contacts([1])).is_some());
        assert_eq!(sender.message(minute(2), &contacts([1])), None);
        assert_eq!(sender.poll_timeout(), minute(3));
    }

    #[test]
    fn what_came_and_went_between_two_messages_is_not_mentioned() {
        let mut sender = PexSender::new();
        assert!(sender.message(Time::ZERO, &contacts([1])).is_some());
        assert_eq!(sender.message(minute(0), &contacts([1, 2])), None);
        assert_eq!(sender.message(minute(1), &contacts([1])), None);
    }

    #[test]
    fn what_does_not_fit_comes_with_the_next_message() {
        let mut sender = PexSender::new();
        let many = contacts(0..170);
        let none = contacts([]);
        let mut line = |minutes, current| {
            let message = sender.message(minute(minutes), current);
            message.map(|message| message.to_string())
        };
        assert_eq!(line(0, &many).as_deref(), Some("pex +100 -0"));
        assert_eq!(line(1, &many).as_deref(), Some("pex +50 -0"));
        assert_eq!(line(2, &many).as_deref(), Some("pex +20 -0"));
        assert_eq!(line(3, &many), None);
        assert_eq!(line(4, &none).as_deref(), Some("pex +0 -50"));
    }

    proptest! {
        #[test]
        fn a_peer_that_follows_the_messages_ends_up_with_our_connections(
            steps in prop::collection::vec(
                (0u64..100, prop::collection::btree_set(0u16..300, 0..250)),
                1..12,
            ),
        ) {
            let mut sender = PexSender::new();
            let mut known = BTreeSet::new();
            let mut now = Time::ZERO;
            let mut last = None;
            let goal = contacts(steps.last().unwrap().1.iter().copied());
            // Time enough, after the last change, to add and drop everything.
            let settle = std::iter::repeat_n((60, None), 8);
            let changes = steps.into_iter().map(|(wait, set)| (wait, Some(contacts(set))));
            for (wait, current) in changes.chain(settle) {
                now += Duration::from_secs(wait);
                let current = current.unwrap_or_else(|| goal.clone());
                let Some(message) = sender.message(now, &current) else {
                    continue;
                };
                prop_assert!(!message.is_empty());
                prop_assert!(last.is_none_or(|last| now - last >= PEX_INTERVAL));
                let added_max = if last.is_none() { 100 } else { 50 };
                prop_assert!(message.added.len() <= added_max);
                prop_assert!(message.dropped.len() <= 50);
                for peer in &message.added {
                    prop_assert!(current.contains_key(&peer.addr));
                    prop_assert!(known.insert(peer.addr), "added twice or dropped too");
                }
                for addr in &message.dropped {
                    prop_assert!(known.remove(addr), "dropped and never added");
                    prop_assert!(message.added.iter().all(|peer| peer.addr != *addr));
                }
                last = Some(now);
            }
            prop_assert!(known.iter().eq(goal.keys()));
        }
    }
}
