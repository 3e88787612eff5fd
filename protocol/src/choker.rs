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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn rng(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }

    /// An interested peer that connected long ago and moves no bytes.
    fn peer(id: u64) -> Contender {
        Contender {
            connection: ConnectionId(id),
            interested: true,
            unchoked: false,
            download_rate: 0,
            upload_rate: 0,
            snubbed: false,
            connected_at: Time::ZERO,
        }
    }

    fn giving(id: u64, download_rate: u64) -> Contender {
        Contender { download_rate, ..peer(id) }
    }

    fn ids(of: impl IntoIterator<Item = u64>) -> BTreeSet<ConnectionId> {
        of.into_iter().map(ConnectionId).collect()
    }

    fn choker() -> Choker {
        Choker::new(ChokerOptions::default(), Time::from_secs(1000))
    }

    /// A round every ten seconds, each with the outcome of the last.
    fn rounds(
        count: u64,
        seeding: bool,
        peers: &mut [Contender],
        seed: u64,
    ) -> Vec<BTreeSet<ConnectionId>> {
        let (mut choker, mut rng) = (choker(), rng(seed));
        let mut outcomes = Vec::new();
        for _ in 0..count {
            let now = choker.poll_timeout();
            let unchoked = choker.rechoke(now, seeding, peers, &mut rng);
            for peer in &mut *peers {
                peer.unchoked = unchoked.contains(&peer.connection);
            }
            outcomes.push(unchoked);
        }
        outcomes
    }

    #[test]
    fn a_leecher_unchokes_the_three_that_give_most_and_one_more() {
        let mut peers: Vec<_> = (0..10).map(|id| giving(id, id * 1000)).collect();
        for unchoked in rounds(20, false, &mut peers, 1) {
            assert!(unchoked.is_superset(&ids([7, 8, 9])));
            assert_eq!(unchoked.len(), 4);
        }
    }

    #[test]
    fn a_seed_unchokes_the_three_that_take_fastest_and_one_more() {
        let taking = |id| Contender { upload_rate: id * 1000, snubbed: true, ..peer(id) };
        let mut peers: Vec<_> = (0..10).map(taking).collect();
        for unchoked in rounds(20, true, &mut peers, 1) {
            assert!(unchoked.is_superset(&ids([7, 8, 9])));
            assert_eq!(unchoked.len(), 4);
        }
    }

    #[test]
    fn the_optimistic_slot_changes_hands_every_third_round() {
        let mut peers: Vec<_> = (0..10).map(|id| giving(id, 1 + id * 1000)).collect();
        let outcomes = rounds(60, false, &mut peers, 2);
        let best = ids([7, 8, 9]);
        let optimistic: Vec<_> =
            outcomes.iter().map(|unchoked| unchoked.difference(&best).next()).collect();
        for three in optimistic.chunks(3) {
            assert!(three.iter().all(|one| *one == three[0]), "{optimistic:?}");
        }
        for pair in optimistic.chunks(3).collect::<Vec<_>>().windows(2) {
            assert_ne!(pair[0], pair[1]);
        }
    }

    #[test]
    fn when_few_are_interested_all_of_them_are_unchoked() {
        let uninterested = Contender { interested: false, download_rate: 1_000_000, ..peer(9) };
        let mut peers = vec![peer(0), peer(1), peer(2), peer(3), uninterested];
        for unchoked in rounds(10, false, &mut peers, 3) {
            assert_eq!(unchoked, ids(0..4));
        }
    }

    #[test]
    fn who_snubs_us_gets_the_optimistic_slot_and_no_other() {
        let snubbing = |id| Contender { snubbed: true, ..giving(id, 1_000_000) };
        let mut peers = vec![snubbing(0), snubbing(1), giving(2, 1)];
        for unchoked in rounds(30, false, &mut peers, 4) {
            assert_eq!(unchoked.len(), 2);
            assert!(unchoked.contains(&ConnectionId(2)));
        }
    }

    #[test]
    fn between_rounds_nobody_loses_a_slot_to_somebody_better() {
        let (mut choker, mut rng) = (choker(), rng(5));
        let mut peers: Vec<_> = (0..6).map(|id| giving(id, 1000)).collect();
        let start = choker.poll_timeout();
        let before = choker.rechoke(start, false, &peers, &mut rng);
        peers.push(giving(6, 1_000_000));
        let at_once = choker.rechoke(start + Duration::from_secs(5), false, &peers, &mut rng);
        assert_eq!(at_once, before);
        assert_eq!(choker.poll_timeout(), start + Duration::from_secs(10));
        let next = choker.rechoke(choker.poll_timeout(), false, &peers, &mut rng);
        assert!(next.contains(&ConnectionId(6)));
    }

    #[test]
    fn a_slot_that_comes_free_between_rounds_is_filled_at_once() {
        let (mut choker, mut rng) = (choker(), rng(6));
        let mut peers: Vec<_> = (0..6).map(|id| giving(id, 1000)).collect();
        let start = choker.poll_timeout();
        let before = choker.rechoke(start, false, &peers, &mut rng);
        let gone = *before.first().unwrap();
        peers.retain(|peer| peer.connection != gone);
        let after = choker.rechoke(start + Duration::from_secs(1), false, &peers, &mut rng);
        assert_eq!(after.len(), 4);
        assert_eq!(before.difference(&after).collect::<Vec<_>>(), [&gone]);
    }

    #[test]
    fn a_new_peer_is_three_times_as_likely_to_be_the_optimistic_one() {
        let options = ChokerOptions { slots: 1, ..ChokerOptions::default() };
        let now = Time::from_secs(1000);
        let new = Contender { connected_at: now, ..peer(0) };
        let peers = [new, peer(1), peer(2), peer(3)];
        let chosen = |seed| Choker::new(options, now).rechoke(now, false, &peers, &mut rng(seed));
        let times = (0..2000).filter(|&seed| chosen(seed) == ids([0])).count();
        assert!((900..1100).contains(&times), "{times} of 2000, not about half");
    }

    #[test]
    fn nobody_who_stays_interested_in_a_seed_waits_for_ever() {
        let mut peers: Vec<_> = (0..40).map(peer).collect();
        let served: BTreeSet<_> =
            rounds(3 * 40, true, &mut peers, 7).into_iter().flatten().collect();
        assert_eq!(served, ids(0..40));
    }

    #[test]
    fn newcomers_do_not_keep_a_seed_from_those_who_wait() {
        let (mut choker, mut rng) = (choker(), rng(8));
        let hog = |id| Contender { upload_rate: 1_000_000, ..peer(id) };
        let mut peers: Vec<_> = (0..3).map(hog).chain([peer(3)]).collect();
        let mut last_served = 0;
        for round in 0..600 {
            let now = choker.poll_timeout();
            peers.retain(|peer| {
                now - peer.connected_at < Duration::from_secs(200) || peer.connection.0 < 4
            });
            peers.push(Contender { connected_at: now, ..peer(100 + round) });
            let unchoked = choker.rechoke(now, true, &peers, &mut rng);
            if unchoked.contains(&ConnectionId(3)) {
                last_served = round;
            }
            assert!(round - last_served < 100, "unserved since round {last_served}");
        }
    }

    fn contender() -> impl Strategy<Value = Contender> {
        let flags = any::<(bool, bool, bool)>();
        (0..12u64, flags, 0..4u64, 0..4u64, 0..200u64).prop_map(
            |(id, (interested, unchoked, snubbed), download_rate, upload_rate, connected)| {
                Contender {
                    connection: ConnectionId(id),
                    interested,
                    unchoked,
                    download_rate,
                    upload_rate,
                    snubbed,
                    connected_at: Time::from_secs(connected),
                }
            },
        )
    }

    proptest! {
        #[test]
        fn no_more_than_the_slots_and_only_the_interested_are_unchoked(
            slots in 0..6usize,
            seed: u64,
            steps in prop::collection::vec(
                (prop::collection::vec(contender(), 0..12), 0..40u64, any::<bool>()),
                1..20,
            ),
        ) {
            let options = ChokerOptions { slots, ..ChokerOptions::default() };
            let (mut choker, mut generator) = (Choker::new(options, Time::ZERO), rng(seed));
            let (mut twin, mut again) = (choker.clone(), rng(seed));
            let mut now = Time::ZERO;
            for (mut peers, pause, seeding) in steps {
                peers.sort_by_key(|peer| peer.connection);
                peers.dedup_by_key(|peer| peer.connection);
                now += Duration::from_secs(pause);
                let unchoked = choker.rechoke(now, seeding, &peers, &mut generator);
                prop_assert_eq!(&twin.rechoke(now, seeding, &peers, &mut again), &unchoked);
                prop_assert!(choker.poll_timeout() > now);
                prop_assert!(unchoked.len() <= slots);
                let is_interested = |id| peers.iter().any(|peer| peer.connection == id && peer.interested);
                prop_assert!(unchoked.iter().all(|&id| is_interested(id)));
                let waiting = peers.iter().filter(|peer| peer.interested && (seeding || !peer.snubbed));
                prop_assert!(unchoked.len() >= waiting.count().min(slots), "a slot is idle");
            }
        }
    }
}
