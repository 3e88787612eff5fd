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
        rate: 0,
        snubbed: false,
        connected_at: Time::ZERO,
        rank: 0,
        forwarding: None,
    }
}

fn giving(id: u64, rate: u64) -> Contender {
    Contender { rate, ..peer(id) }
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
    let taking = |id| Contender { rate: id * 1000, snubbed: true, ..peer(id) };
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
    let uninterested = Contender { interested: false, rate: 1_000_000, ..peer(9) };
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
    let served: BTreeSet<_> = rounds(3 * 40, true, &mut peers, 7).into_iter().flatten().collect();
    assert_eq!(served, ids(0..40));
}

#[test]
fn newcomers_do_not_keep_a_seed_from_those_who_wait() {
    let (mut choker, mut rng) = (choker(), rng(8));
    let hog = |id| Contender { rate: 1_000_000, ..peer(id) };
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

fn near(id: u64) -> Contender {
    Contender { rank: 100, ..peer(id) }
}

/// Four near and three far peers, for three slots.
fn near_and_far() -> Vec<Contender> {
    (0..4).map(near).chain((4..7).map(peer)).collect()
}

fn three_slots() -> Choker {
    let options = ChokerOptions { slots: 3, ..ChokerOptions::default() };
    Choker::new(options, Time::from_secs(1000))
}

/// How many of twenty turns of the optimistic slot each peer spends unchoked.
fn turns_of_three(mut choker: Choker, seeding: bool) -> [usize; 7] {
    let (mut turns, mut peers, mut rng) = ([0; 7], near_and_far(), rng(9));
    for _ in 0..60 {
        let now = choker.poll_timeout();
        let unchoked = choker.rechoke(now, seeding, &peers, &mut rng);
        for peer in &mut peers {
            peer.unchoked = unchoked.contains(&peer.connection);
            turns[peer.connection.0 as usize] += usize::from(peer.unchoked);
        }
    }
    turns.map(|rounds| rounds / 3)
}

#[test]
fn who_is_near_is_preferred_and_who_is_far_gets_its_turn() {
    for seeding in [false, true] {
        let turns = turns_of_three(three_slots(), seeding);
        assert!(turns[4..].iter().all(|far| *far > 0), "{turns:?}");
        let (near, far): (usize, usize) = (turns[..4].iter().sum(), turns[4..].iter().sum());
        assert!(near > 2 * far, "{turns:?}");
    }
}

#[cfg(feature = "defects")]
#[test]
fn sorted_by_nearness_the_queue_never_comes_to_those_who_are_far() {
    for seeding in [false, true] {
        let defects = Defects::NONE.with(Defect::LocalityStarvesRemotes);
        let turns = turns_of_three(three_slots().with_defects(defects), seeding);
        assert_eq!(turns[4..], [0, 0, 0], "{turns:?}");
    }
}

#[test]
fn to_a_leecher_what_a_peer_gives_counts_for_more_than_where_it_is() {
    let mut peers = near_and_far();
    peers[4].rate = 1000;
    peers[5].rate = 1000;
    for unchoked in rounds(20, false, &mut peers, 10) {
        assert!(unchoked.is_superset(&ids([4, 5])));
    }
}

fn forwarding(id: u64, ours: u64, overall: u64) -> Contender {
    Contender { forwarding: Some(Forwarding { ours, overall }), snubbed: true, ..peer(id) }
}

#[test]
fn who_forwards_takes_turns_at_the_slots_with_who_gives() {
    let forwarders = [forwarding(0, 10, 900), forwarding(1, 500, 600), forwarding(2, 0, 9999)];
    let mut peers: Vec<_> = (10..20).map(|id| giving(id, id * 1000)).collect();
    peers.extend(forwarders);
    for unchoked in rounds(20, false, &mut peers, 11) {
        assert!(unchoked.is_superset(&ids([1, 19, 0])), "{unchoked:?}");
        assert_eq!(unchoked.len(), 4);
    }
}

#[test]
fn of_those_who_forward_the_best_is_who_forwards_what_it_had_of_us() {
    let mut peers = vec![
        forwarding(0, 10, 900),
        forwarding(1, 500, 600),
        forwarding(2, 0, 9999),
        forwarding(3, 500, 700),
        forwarding(4, 0, 10_000),
    ];
    for unchoked in rounds(20, true, &mut peers, 12) {
        assert!(unchoked.is_superset(&ids([0, 1, 3])), "{unchoked:?}");
    }
}

fn contender() -> impl Strategy<Value = Contender> {
    let flags = any::<(bool, bool, bool)>();
    (0..12u64, flags, 0..4u64, 0..200u64).prop_map(
        |(id, (interested, unchoked, snubbed), rate, connected)| Contender {
            connection: ConnectionId(id),
            interested,
            unchoked,
            rate,
            snubbed,
            connected_at: Time::from_secs(connected),
            rank: (id % 3) as u32,
            forwarding: (id % 2 == 0).then_some(Forwarding { ours: id % 4, overall: id }),
        },
    )
}

proptest! {
    #[test]
    fn no_more_than_the_slots_are_unchoked_and_in_a_round_the_uninterested_if_some_are_free(
        slots in 0..6usize,
        fill: bool,
        seed: u64,
        steps in prop::collection::vec(
            (prop::collection::vec(contender(), 0..12), 0..40u64, any::<bool>()),
            1..20,
        ),
    ) {
        let options = ChokerOptions { slots, fill, ..ChokerOptions::default() };
        let (mut choker, mut generator) = (Choker::new(options, Time::ZERO), rng(seed));
        let (mut twin, mut again) = (choker.clone(), rng(seed));
        let mut now = Time::ZERO;
        let mut held = BTreeSet::new();
        for (mut peers, pause, seeding) in steps {
            peers.sort_by_key(|peer| peer.connection);
            peers.dedup_by_key(|peer| peer.connection);
            now += Duration::from_secs(pause);
            let interested: BTreeSet<ConnectionId> =
                peers.iter().filter(|peer| peer.interested).map(|peer| peer.connection).collect();
            // In one that heard of each change, or in one that hears of them all at once.
            let mut told = choker.clone();
            for id in (0..12).map(ConnectionId) {
                told.see_interest(id, interested.contains(&id), now);
            }
            let stays = told.stays(now);
            if stays {
                choker = told;
            }
            let is_round = choker.poll_timeout() <= now;
            let unchoked = choker.rechoke(now, seeding, &peers, &mut generator);
            prop_assert_eq!(&twin.rechoke(now, seeding, &peers, &mut again), &unchoked);
            prop_assert!(choker.poll_timeout() > now);
            // Where nothing was to change, nothing has; of the others below.
            held.retain(|it| interested.contains(it));
            let holding = interested.iter().copied().filter(|it| unchoked.contains(it)).collect();
            let before = std::mem::replace(&mut held, holding);
            prop_assert!(!stays || before == held);
            let interested = peers.iter().filter(|peer| peer.interested);
            let served = interested.filter(|peer| unchoked.contains(&peer.connection)).count();
            prop_assert!(served <= slots);
            for peer in peers.iter().filter(|peer| !peer.interested) {
                let filled = fill && served < slots && (is_round || peer.unchoked);
                prop_assert_eq!(unchoked.contains(&peer.connection), filled);
            }
            let waiting = peers.iter().filter(|peer| {
                peer.interested && (seeding || !peer.snubbed || peer.forwarding.is_some())
            });
            prop_assert!(served >= waiting.count().min(slots), "a slot is idle");
        }
    }

    #[test]
    fn nobody_who_stays_interested_waits_longer_than_promised(
        slots in 1..4usize,
        seed: u64,
        peers in prop::collection::btree_map(0..12u64, contender(), 1..12),
        steps in prop::collection::vec((contender(), 0..12u64, any::<bool>()), 1..120),
        seeding_from in 0..120usize,
    ) {
        let options = ChokerOptions { slots, ..ChokerOptions::default() };
        let (mut choker, mut generator) = (Choker::new(options, Time::ZERO), rng(seed));
        let mut now = Time::ZERO;
        // Those of even number stay interested; the others come, go and change.
        let mut peers: BTreeMap<u64, Contender> = peers
            .into_iter()
            .map(|(id, peer)| {
                let connection = ConnectionId(id);
                (id, Contender { connection, interested: id % 2 == 0, ..peer })
            })
            .collect();
        let mut waits: BTreeMap<u64, (Time, usize, bool)> = BTreeMap::new();
        for (step, (change, pause, present)) in steps.into_iter().enumerate() {
            let seeding = step >= seeding_from;
            let id = change.connection.0;
            if id % 2 == 1 && present {
                peers.insert(id, change);
            } else if id % 2 == 1 {
                peers.remove(&id);
            }
            // A round that is due is never left out.
            let until = now + Duration::from_secs(pause);
            loop {
                let contenders: Vec<Contender> = peers.values().copied().collect();
                let unchoked = choker.rechoke(now, seeding, &contenders, &mut generator);
                let waiting: Vec<u64> = peers
                    .iter()
                    .filter(|(_, peer)| peer.interested && !unchoked.contains(&peer.connection))
                    .map(|(id, _)| *id)
                    .collect();
                waits.retain(|id, _| waiting.contains(id));
                for id in &waiting {
                    let wait = waits.entry(*id).or_insert((now, 0, seeding));
                    wait.1 = wait.1.max(waiting.len());
                    let most = options.wait_max(wait.2 && seeding, wait.1);
                    prop_assert!(now - wait.0 <= most, "{} waits since {:?}", id, wait.0);
                }
                for peer in peers.values_mut() {
                    peer.unchoked = unchoked.contains(&peer.connection);
                }
                if choker.poll_timeout() > until {
                    break;
                }
                now = choker.poll_timeout();
            }
            now = until;
        }
    }
}
