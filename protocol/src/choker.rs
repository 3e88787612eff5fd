//! Who may download from us: tit for tat. BEP 3 §choking and optimistic
//! unchoking.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rand::{Rng, RngExt, seq::SliceRandom};

use crate::{ConnectionId, Time};

/// For how long after connecting a peer is three times as likely to be the
/// optimistic unchoke. BEP 3.
const NEW_FOR: Duration = Duration::from_secs(60);
const NEW_WEIGHT: usize = 3;

/// How many are unchoked, and how often that is thought over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChokerOptions {
    /// Upload slots (count), the optimistic one included. BEP 3: 4; libtorrent: 8.
    /// A single slot is the optimistic one; with none nobody is ever unchoked.
    pub slots: usize,
    /// Between two rounds, in which the best are chosen anew. BEP 3: 10 s.
    pub round: Duration,
    /// How long one peer holds the optimistic slot; it changes hands in the next
    /// round. BEP 3: 30 s.
    pub optimistic: Duration,
}

impl Default for ChokerOptions {
    fn default() -> ChokerOptions {
        ChokerOptions {
            slots: 4,
            round: Duration::from_secs(10),
            optimistic: Duration::from_secs(30),
        }
    }
}

/// A connection, as the choker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contender {
    /// Which one.
    pub connection: ConnectionId,
    /// Whether the peer is interested in what we have.
    pub interested: bool,
    /// Whether it is unchoked now.
    pub unchoked: bool,
    /// What comes from the peer, bytes a second.
    pub download_rate: u64,
    /// What goes to the peer, bytes a second.
    pub upload_rate: u64,
    /// Whether it has sent nothing for a minute though it could. BEP 3
    /// §anti-snubbing.
    pub snubbed: bool,
    /// When it connected.
    pub connected_at: Time,
}

/// Tit for tat: those who give the most get the slots, but for one, the
/// *optimistic*, which goes round so that everyone can show what it gives.
///
/// A seed, which gets nothing, prefers those who take the fastest. Its optimistic
/// slot goes to whoever has waited longest, so that nobody who stays interested
/// waits for ever.
#[derive(Debug, Clone)]
pub struct Choker {
    options: ChokerOptions,
    next_round: Time,
    regular: BTreeSet<ConnectionId>,
    optimistic: Option<ConnectionId>,
    optimistic_until: Time,
    /// When each connection was last unchoked, for those that ever were.
    last_unchoked: BTreeMap<ConnectionId, Time>,
}

impl Choker {
    /// Nobody unchoked; the first round is due `now`.
    pub fn new(options: ChokerOptions, now: Time) -> Choker {
        Choker {
            options,
            next_round: now,
            regular: BTreeSet::new(),
            optimistic: None,
            optimistic_until: now,
            last_unchoked: BTreeMap::new(),
        }
    }

    /// When the next round is due.
    pub fn poll_timeout(&self) -> Time {
        self.next_round
    }

    /// Who is to be unchoked from now on, of all connections; everyone else is to
    /// be choked. Only interested peers are, and never more than there are slots.
    ///
    /// Call it when a round is due, and whenever a peer comes, goes or changes
    /// its interest. Between rounds those unchoked stay so, and only slots that
    /// came free are filled. `seeding` says that we have all we want.
    pub fn rechoke(
        &mut self,
        now: Time,
        seeding: bool,
        contenders: &[Contender],
        rng: &mut impl Rng,
    ) -> BTreeSet<ConnectionId> {
        let present = |connection| contenders.iter().any(|peer| peer.connection == connection);
        self.last_unchoked.retain(|&connection, _| present(connection));
        let interested: Vec<&Contender> =
            contenders.iter().filter(|peer| peer.interested).collect();
        let stays = |connection| interested.iter().any(|peer| peer.connection == connection);
        self.regular.retain(|&connection| stays(connection));
        self.optimistic = self.optimistic.filter(|&connection| stays(connection));

        let mut ranked: Vec<&Contender> = interested.clone();
        ranked.retain(|peer| seeding || !peer.snubbed);
        ranked.shuffle(rng);
        ranked.sort_by_key(|peer| {
            let rate = if seeding { peer.upload_rate } else { peer.download_rate };
            (Reverse(rate), !peer.unchoked)
        });

        let previous = self.optimistic;
        if now >= self.next_round {
            self.next_round = now + self.options.round;
            self.regular.clear();
            if now >= self.optimistic_until {
                self.optimistic = None;
            }
            // One slot is kept for the optimistic unchoke while others may want it.
            self.fill(&ranked, self.options.slots.saturating_sub(1));
        }
        if self.optimistic.is_none() && self.regular.len() < self.options.slots {
            self.optimistic = self.choose_optimistic(now, seeding, &interested, previous, rng);
            if self.optimistic.is_some() {
                self.optimistic_until = now + self.options.optimistic;
            }
        }
        let spare = self.options.slots - usize::from(self.optimistic.is_some());
        self.fill(&ranked, spare);

        let unchoked: BTreeSet<_> = self.regular.iter().copied().chain(self.optimistic).collect();
        self.last_unchoked.extend(unchoked.iter().map(|&connection| (connection, now)));
        unchoked
    }

    /// Gives regular slots to the best, until `slots` are taken.
    fn fill(&mut self, ranked: &[&Contender], slots: usize) {
        for peer in ranked {
            if self.regular.len() >= slots {
                break;
            }
            if self.optimistic != Some(peer.connection) {
                self.regular.insert(peer.connection);
            }
        }
    }

    /// Somebody interested without a slot, rather not the `previous` one.
    fn choose_optimistic(
        &self,
        now: Time,
        seeding: bool,
        interested: &[&Contender],
        previous: Option<ConnectionId>,
        rng: &mut impl Rng,
    ) -> Option<ConnectionId> {
        let mut waiting: Vec<&Contender> = interested.to_vec();
        waiting.retain(|peer| !self.regular.contains(&peer.connection));
        if waiting.len() > 1 {
            waiting.retain(|peer| Some(peer.connection) != previous);
        }
        if seeding {
            let since = |peer: &&Contender| {
                let last_unchoked = self.last_unchoked.get(&peer.connection).copied();
                last_unchoked.unwrap_or(peer.connected_at)
            };
            let longest = waiting.iter().map(since).min()?;
            waiting.retain(|peer| since(peer) == longest);
        }
        let weight = |peer: &Contender| {
            let is_new = now - peer.connected_at < NEW_FOR;
            if is_new && !seeding { NEW_WEIGHT } else { 1 }
        };
        let lots = waiting.iter().flat_map(|peer| std::iter::repeat_n(peer, weight(peer)));
        let lots: Vec<ConnectionId> = lots.map(|peer| peer.connection).collect();
        (!lots.is_empty()).then(|| lots[rng.random_range(0..lots.len())])
    }
}
