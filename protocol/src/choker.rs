//! Who may download from us: tit for tat. BEP 3 §choking and optimistic
//! unchoking; give-to-get among those who stream; a preference for who is near.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rand::{Rng, RngExt, seq::SliceRandom};

use crate::{ConnectionId, Defect, Defects, Time};

/// For how long after connecting a peer is three times as likely to be the
/// optimistic unchoke. BEP 3.
const NEW_FOR: Duration = Duration::from_secs(60);
const NEW_WEIGHT: usize = 3;
/// How much likelier a peer that is near is to be a leecher's optimistic unchoke.
const NEAR_WEIGHT: usize = 2;
/// A peer that has waited for so many times as many turns of the optimistic slot
/// as there are peers waiting is past its turn, and draws no more lots.
const PATIENCE: u32 = 2;

/// How many are unchoked, and how often that is thought over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChokerOptions {
    /// Upload slots (count), the optimistic one included. BEP 3: 4; libtorrent: 8.
    /// A single slot is the optimistic one; with none nobody is ever unchoked.
    pub slots: usize,
    /// Whether those who want nothing are unchoked as well while slots are free, so
    /// that they may ask at once when that changes. Mainline does; BEP 3 §choking
    /// unchokes the uninterested too, and chokes somebody when they want something. It is
    /// seen to with each round, and not whenever a slot is free for a moment: in a mesh of
    /// 50 peers that made three times as many chokes, and eight times as many rejects.
    pub fill: bool,
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
            fill: true,
            round: Duration::from_secs(10),
            optimistic: Duration::from_secs(30),
        }
    }
}

impl ChokerOptions {
    /// How long one peer can hold the optimistic slot: it changes hands in a round.
    pub fn turn(&self) -> Duration {
        self.optimistic + self.round
    }

    /// How long a peer that stays interested waits for a slot at most, where there
    /// is one and never more than `waiting` peers (count, itself among them) wait.
    /// `seeding` says that we had all we want all the time.
    ///
    /// On a seed everyone before it in the queue has a turn at most. On a leecher
    /// lots are drawn until it is past its turn; then there is a queue as well.
    pub fn wait_max(&self, seeding: bool, waiting: usize) -> Duration {
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        let queue = self.turn().saturating_mul(waiting) + self.round;
        if seeding {
            return queue;
        }
        queue + self.optimistic.saturating_mul(waiting.saturating_mul(PATIENCE)) + self.turn()
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
    /// Bytes a second: what comes from the peer or, once we seed, what goes to it.
    pub rate: u64,
    /// Whether it has sent nothing for a minute though it could. BEP 3
    /// §anti-snubbing.
    pub snubbed: bool,
    /// When it connected.
    pub connected_at: Time,
    /// How near it is: the greater, the nearer. See [`Locality`](crate::Locality).
    pub rank: u32,
    /// What it says it forwards, where give-to-get is used with it.
    pub forwarding: Option<Forwarding>,
}

/// What a peer says it gives to others, bytes a second. The greater is the better:
/// first by what it had of us. Nobody but the peer itself vouches for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Forwarding {
    /// Of what we sent it.
    pub ours: u64,
    /// Of anything.
    pub overall: u64,
}

/// Tit for tat: those who give the most get the slots, but for one, the
/// *optimistic*, which goes round so that everyone can show what it gives.
///
/// A seed, which gets nothing, prefers those who are near, then those who take the
/// fastest; to a leecher nearness decides between equals. A seed's optimistic slot
/// goes to whoever has waited longest, and so does a leecher's once somebody is
/// past its turn, so that nobody who stays interested waits for ever
/// ([`ChokerOptions::wait_max`]).
///
/// Peers that forward (give-to-get) are ranked by what they forward, and take turns
/// at the slots with the best of the others.
#[derive(Debug, Clone)]
pub struct Choker {
    options: ChokerOptions,
    defects: Defects,
    next_round: Time,
    regular: BTreeSet<ConnectionId>,
    optimistic: Option<ConnectionId>,
    optimistic_until: Time,
    /// Since when those wait who are interested and have no slot.
    waiting_since: BTreeMap<ConnectionId, Time>,
}

impl Choker {
    /// Nobody unchoked; the first round is due `now`.
    pub fn new(options: ChokerOptions, now: Time) -> Choker {
        Choker {
            options,
            defects: Defects::NONE,
            next_round: now,
            regular: BTreeSet::new(),
            optimistic: None,
            optimistic_until: now,
            waiting_since: BTreeMap::new(),
        }
    }

    /// The same with these bugs written back in.
    pub fn with_defects(self, defects: Defects) -> Choker {
        Choker { defects, ..self }
    }

    /// Its settings.
    pub fn options(&self) -> ChokerOptions {
        self.options
    }

    /// When the next round is due.
    pub fn poll_timeout(&self) -> Time {
        self.next_round
    }

    /// Who is to be unchoked from now on, of all connections; everyone else is to
    /// be choked. Never are more interested peers than there are slots, and if there
    /// are fewer in a round, so are all that are not interested ([`ChokerOptions::fill`]).
    ///
    /// Call it when a round is due, and whenever a peer comes, goes or changes
    /// its interest. Between rounds those unchoked stay so while there is room, and only
    /// slots that came free are filled. `seeding` says that we have all we want.
    pub fn rechoke(
        &mut self,
        now: Time,
        seeding: bool,
        contenders: &[Contender],
        rng: &mut impl Rng,
    ) -> BTreeSet<ConnectionId> {
        let interested: Vec<&Contender> =
            contenders.iter().filter(|peer| peer.interested).collect();
        let mut staying: Vec<ConnectionId> =
            interested.iter().map(|peer| peer.connection).collect();
        staying.sort_unstable();
        let stays = |connection: ConnectionId| staying.binary_search(&connection).is_ok();
        self.regular.retain(|&connection| stays(connection));
        self.optimistic = self.optimistic.filter(|&connection| stays(connection));
        let ranked = ranking(lots(&interested, seeding, rng), seeding);

        let previous = self.optimistic;
        let is_round = now >= self.next_round;
        if is_round {
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

        self.see_who_waits(now, &staying);
        let unchoked: BTreeSet<_> = self.regular.iter().copied().chain(self.optimistic).collect();
        if !self.options.fill || unchoked.len() >= self.options.slots {
            return unchoked;
        }
        let idle = contenders.iter().filter(|peer| !peer.interested);
        let idle = idle.filter(|peer| is_round || peer.unchoked).map(|peer| peer.connection);
        unchoked.into_iter().chain(idle).collect()
    }

    /// The peer of a connection is `interested` now, or is so no longer, or has gone.
    /// Between two calls of [`Choker::rechoke`] this is all that [`Choker::stays`] goes by.
    pub fn see_interest(&mut self, connection: ConnectionId, interested: bool, now: Time) {
        let holds = self.optimistic == Some(connection) || self.regular.contains(&connection);
        if !interested {
            self.regular.remove(&connection);
            self.optimistic = self.optimistic.filter(|it| *it != connection);
            self.waiting_since.remove(&connection);
        } else if !holds {
            self.waiting_since.entry(connection).or_insert(now);
        }
    }

    /// Whether no round is due, and nobody waits or all slots are taken by connections that
    /// are still interested: then [`Choker::rechoke`] would change nothing.
    pub fn stays(&self, now: Time) -> bool {
        let taken = self.regular.len() + usize::from(self.optimistic.is_some());
        let has_cause = taken < self.options.slots && !self.waiting_since.is_empty();
        now < self.next_round && !has_cause
    }

    /// Remembers since when each of those that are `interested` (these, in order) is without
    /// a slot.
    fn see_who_waits(&mut self, now: Time, interested: &[ConnectionId]) {
        let (regular, optimistic) = (&self.regular, self.optimistic);
        let waits = |it: &ConnectionId| !regular.contains(it) && optimistic != Some(*it);
        self.waiting_since.retain(|it, _| waits(it) && interested.binary_search(it).is_ok());
        for it in interested.iter().filter(|it| waits(it)) {
            self.waiting_since.entry(*it).or_insert(now);
        }
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
        if self.defects.has(Defect::LocalityStarvesRemotes) {
            // Sorted by rank, the nearest are always first in turn.
            let nearest = waiting.iter().map(|peer| peer.rank).max()?;
            waiting.retain(|peer| peer.rank == nearest);
        }
        if waiting.len() > 1 {
            waiting.retain(|peer| Some(peer.connection) != previous);
        }
        let since =
            |peer: &&Contender| self.waiting_since.get(&peer.connection).copied().unwrap_or(now);
        let longest = waiting.iter().map(since).min()?;
        let patience = self.options.optimistic * PATIENCE * waiting.len() as u32;
        let queue = seeding || now - longest >= patience;
        if queue {
            waiting.retain(|peer| since(peer) == longest);
        }
        let weight = |peer: &Contender| {
            let is_new = now - peer.connected_at < NEW_FOR;
            let new = if is_new { NEW_WEIGHT } else { 1 };
            let near = if peer.rank > 0 { NEAR_WEIGHT } else { 1 };
            if queue { 1 } else { new * near }
        };
        let lots = waiting.iter().flat_map(|peer| std::iter::repeat_n(peer, weight(peer)));
        let lots: Vec<ConnectionId> = lots.map(|peer| peer.connection).collect();
        (!lots.is_empty()).then(|| lots[rng.random_range(0..lots.len())])
    }
}

/// Who may have the regular slots, in the order in which equals get them.
fn lots<'a>(interested: &[&'a Contender], seeding: bool, rng: &mut impl Rng) -> Vec<&'a Contender> {
    let mut lots = interested.to_vec();
    // Who forwards gives to others, and need not give to us.
    lots.retain(|peer| seeding || !peer.snubbed || peer.forwarding.is_some());
    lots.shuffle(rng);
    lots
}

/// Who is to have the regular slots, the best first.
fn ranking(ranked: Vec<&Contender>, seeding: bool) -> Vec<&Contender> {
    let (mut forwarders, mut traders): (Vec<&Contender>, Vec<&Contender>) =
        ranked.into_iter().partition(|peer| peer.forwarding.is_some());
    forwarders.sort_by_key(|peer| (Reverse(peer.forwarding), Reverse(peer.rank), !peer.unchoked));
    if seeding {
        traders.sort_by_key(|peer| (Reverse(peer.rank), Reverse(peer.rate), !peer.unchoked));
    } else {
        traders.sort_by_key(|peer| (Reverse(peer.rate), Reverse(peer.rank), !peer.unchoked));
    }
    let (mut forwarders, mut traders) = (forwarders.into_iter(), traders.into_iter());
    let mut merged = Vec::new();
    loop {
        let before = merged.len();
        merged.extend(forwarders.next());
        merged.extend(traders.next());
        if merged.len() == before {
            return merged;
        }
    }
}

#[cfg(test)]
mod tests;
