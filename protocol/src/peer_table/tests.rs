use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;

fn at(seconds: u64) -> Time {
    Time::from_secs(seconds)
}

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(1)
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn id(n: u32) -> PeerId {
    let mut id = [0; 20];
    id[..4].copy_from_slice(&n.to_be_bytes());
    PeerId(id)
}

fn nth(n: u32) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from_bits(0x0a00_0000 + n), 6881))
}

fn table_of(addrs: &[SocketAddr], source: Source) -> PeerTable {
    let mut table = PeerTable::new();
    for &addr in addrs {
        assert!(table.add(addr, source, at(0)));
    }
    table
}

fn dial_all(table: &mut PeerTable, now: Time) -> Vec<SocketAddr> {
    let mut rng = rng();
    std::iter::from_fn(|| table.next_dial(now, &mut rng)).collect()
}

#[test]
fn each_address_is_dialled_once_in_an_order_that_the_seed_chooses() {
    let addrs: Vec<_> = (0..20).map(nth).collect();
    let order = |seed| {
        let mut table = table_of(&addrs, Source::Tracker);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let order: Vec<_> = std::iter::from_fn(|| table.next_dial(at(0), &mut rng)).collect();
        order
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
    let mut sorted = order(1);
    sorted.sort();
    assert_eq!(sorted, addrs);
}

/// BEP 40.
#[test]
fn the_greater_priority_is_dialled_first_and_what_has_to_wait_waits() {
    let addrs: Vec<_> = (0..20).map(nth).collect();
    let mut table = table_of(&addrs, Source::Tracker);
    // Some order that is not that of the addresses.
    let priority = |addr: SocketAddr| match addr {
        SocketAddr::V4(addr) => addr.ip().to_bits().wrapping_mul(0x9e37_79b9),
        SocketAddr::V6(_) => 0,
    };
    let mut expected = addrs.clone();
    expected.sort_by_key(|addr| std::cmp::Reverse(priority(*addr)));
    let next = |table: &mut PeerTable, now| table.next_dial_by(now, priority);
    let order: Vec<_> = std::iter::from_fn(|| next(&mut table, at(0))).collect();
    assert_eq!(order, expected);
    table.failed(expected[0], at(0));
    table.failed(expected[1], at(10));
    assert_eq!(next(&mut table, at(59)), None);
    assert_eq!(next(&mut table, at(60)), Some(expected[0]));
    assert_eq!(next(&mut table, at(70)), Some(expected[1]));
}

#[test]
fn an_address_that_is_known_is_not_new() {
    let mut table = table_of(&[addr("1.2.3.4:5")], Source::Tracker);
    assert!(!table.add(addr("1.2.3.4:5"), Source::Pex, at(0)));
    assert!(!table.add(addr("[::ffff:1.2.3.4]:5"), Source::Pex, at(0)));
    assert!(table.add(addr("1.2.3.4:6"), Source::Pex, at(0)));
    assert_eq!(table.len(), 2);
}

#[test]
fn an_address_that_nobody_can_listen_at_is_left_out() {
    let mut table = PeerTable::new();
    for text in
        ["1.2.3.4:0", "0.0.0.0:1", "224.0.0.1:1", "255.255.255.255:1", "[::]:1", "[ff02::1]:1"]
    {
        assert!(!table.add(addr(text), Source::Manual, at(0)), "{text}");
        table.learned_listen_addr(addr(text));
    }
    assert!(table.is_empty());
}

#[test]
fn a_failed_attempt_is_repeated_after_60_s_then_120_s_then_given_up() {
    let peer = nth(1);
    let mut table = table_of(&[peer], Source::Tracker);
    let mut now = at(0);
    for wait in [60, 120] {
        assert_eq!(dial_all(&mut table, now), [peer]);
        table.failed(peer, now);
        assert_eq!(dial_all(&mut table, now), []);
        let due = now + Duration::from_secs(wait);
        assert_eq!(table.poll_timeout(), Some(due));
        now = due;
    }
    assert_eq!(dial_all(&mut table, now), [peer]);
    table.failed(peer, now);
    assert_eq!(table.poll_timeout(), None);
    assert!(!table.add(peer, Source::Pex, now), "gossip does not bring it back at once");
    now += Duration::from_secs(240);
    assert_eq!(dial_all(&mut table, now), []);
    assert!(table.is_empty());
    assert!(table.add(peer, Source::Pex, now));
}

#[test]
fn the_users_addresses_are_never_given_up() {
    let peer = nth(1);
    let mut table = table_of(&[peer], Source::Manual);
    let mut now = at(0);
    for _ in 0..50 {
        assert_eq!(dial_all(&mut table, now), [peer]);
        table.failed(peer, now);
        let due = table.poll_timeout().unwrap();
        assert!(due - now <= PeerTable::RECONNECT_AFTER_MAX);
        now = due;
    }
}

#[test]
fn the_user_can_bring_back_what_was_given_up() {
    let peer = nth(1);
    let mut table = table_of(&[peer], Source::Pex);
    for now in [at(0), at(60), at(180)] {
        assert_eq!(dial_all(&mut table, now), [peer]);
        table.failed(peer, now);
    }
    table.add(peer, Source::Manual, at(190));
    assert_eq!(table.poll_timeout(), Some(at(420)));
    assert_eq!(dial_all(&mut table, at(420)), [peer]);
}

#[test]
fn a_success_forgives_the_failures_before_it() {
    let peer = nth(1);
    let mut table = table_of(&[peer], Source::Tracker);
    for now in [at(0), at(60)] {
        dial_all(&mut table, now);
        table.failed(peer, now);
    }
    dial_all(&mut table, at(180));
    table.connected(peer);
    table.disconnected(peer, at(200));
    assert_eq!(table.poll_timeout(), Some(at(260)));
    dial_all(&mut table, at(260));
    table.failed(peer, at(260));
    assert_eq!(table.poll_timeout(), Some(at(320)));
}

#[test]
fn a_peer_is_not_dialled_while_it_is_connected_to_us() {
    let peer = nth(1);
    let mut table = table_of(&[peer], Source::Tracker);
    table.learned_listen_addr(peer);
    assert_eq!(dial_all(&mut table, at(0)), []);
    table.disconnected(peer, at(5));
    assert_eq!(dial_all(&mut table, at(64)), []);
    assert_eq!(dial_all(&mut table, at(65)), [peer]);

    let stranger = nth(2);
    table.learned_listen_addr(stranger);
    assert!(!table.add(stranger, Source::Pex, at(70)));
    assert_eq!(dial_all(&mut table, at(1000)), []);
    table.disconnected(stranger, at(1000));
    assert_eq!(dial_all(&mut table, at(1060)), [stranger]);
}

#[test]
fn while_one_of_two_connections_stands_there_is_no_dialling() {
    let peer = nth(1);
    let mut table = table_of(&[peer], Source::Tracker);
    dial_all(&mut table, at(0));
    table.learned_listen_addr(peer);
    table.failed(peer, at(1));
    assert_eq!(dial_all(&mut table, at(1000)), [], "our attempt failed, theirs stands");
    table.learned_listen_addr(peer);
    table.disconnected(peer, at(1001));
    assert_eq!(dial_all(&mut table, at(2000)), []);
    table.disconnected(peer, at(2001));
    assert_eq!(dial_all(&mut table, at(2061)), [peer]);
    table.disconnected(peer, at(2062));
    assert_eq!(table.poll_timeout(), None, "it is being dialled");
}

#[test]
fn our_own_address_and_banned_ones_never_come_back() {
    let (own, bad, good) = (addr("1.1.1.1:1"), addr("2.2.2.2:2"), addr("1.1.1.1:2"));
    let mut table = table_of(&[own, bad, good], Source::Manual);
    table.mark_self(own);
    table.ban(Some(bad), PeerId([2; 20]));
    assert!(table.is_banned(addr("[::ffff:2.2.2.2]:2")));
    assert_eq!(dial_all(&mut table, at(0)), [good]);
    for addr in [own, bad] {
        assert!(!table.add(addr, Source::Manual, at(0)));
        table.learned_listen_addr(addr);
        table.disconnected(addr, at(0));
    }
    assert_eq!(table.len(), 1);
    assert_eq!(dial_all(&mut table, at(9999)), []);
}

#[test]
fn gossip_cannot_shut_out_the_tracker_nor_both_the_user() {
    let mut table = PeerTable::new();
    let mut fill = |source, from: u32| {
        (from..from + 5000).filter(|n| table.add(nth(*n), source, at(0))).count()
    };
    assert_eq!(fill(Source::Pex, 0), 2000);
    assert_eq!(fill(Source::Tracker, 10_000), 900);
    assert_eq!(fill(Source::Manual, 20_000), 100);
    assert_eq!(table.len(), PeerTable::ENTRIES_MAX);
}

#[test]
fn a_ban_is_of_one_peer_and_not_of_all_at_its_address() {
    let (bad, other) = (addr("2.2.2.2:2"), addr("2.2.2.2:3"));
    let mut table = table_of(&[bad, other], Source::Manual);
    table.ban(Some(bad), PeerId([2; 20]));
    assert!(!table.is_banned(other));
    assert!(table.is_banned_id(PeerId([2; 20])));
    assert!(!table.is_banned_id(PeerId([3; 20])));
    assert_eq!(dial_all(&mut table, at(0)), [other]);
}

#[test]
fn bans_are_bounded_and_the_oldest_is_forgotten() {
    let mut table = PeerTable::new();
    for n in 0..=PeerTable::ENTRIES_MAX as u32 {
        table.ban(Some(nth(n)), id(n));
    }
    for (n, banned) in [(0, false), (1, true), (PeerTable::ENTRIES_MAX as u32, true)] {
        assert_eq!((table.is_banned(nth(n)), table.is_banned_id(id(n))), (banned, banned));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Add(u32, Source),
    Dial,
    Connected(u32),
    Failed(u32),
    Disconnected(u32),
    Learned(u32),
    Own(u32),
    Ban(u32),
}

fn any_step() -> impl Strategy<Value = Step> {
    let n = || 0u32..6;
    let source = prop::sample::select(vec![Source::Pex, Source::Tracker, Source::Manual]);
    prop_oneof![
        4 => (0u64..100).prop_map(Step::Wait),
        6 => (n(), source).prop_map(|(n, source)| Step::Add(n, source)),
        6 => Just(Step::Dial),
        3 => n().prop_map(Step::Connected),
        3 => n().prop_map(Step::Failed),
        3 => n().prop_map(Step::Disconnected),
        2 => n().prop_map(Step::Learned),
        1 => n().prop_map(Step::Own),
        1 => n().prop_map(Step::Ban),
    ]
}

proptest! {
    #[test]
    fn no_address_is_dialled_twice_at_once_nor_within_a_minute(
        steps in prop::collection::vec(any_step(), 0..300),
    ) {
        let mut table = PeerTable::new();
        let mut rng = rng();
        let mut now = at(0);
        let mut dialling = BTreeSet::new();
        let mut refused = BTreeSet::new();
        let mut ended: BTreeMap<SocketAddr, Time> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Wait(seconds) => now += Duration::from_secs(seconds),
                Step::Add(n, source) => {
                    prop_assert!(!table.add(nth(n), source, now) || !refused.contains(&nth(n)));
                }
                Step::Dial => {
                    let Some(addr) = table.next_dial(now, &mut rng) else {
                        prop_assert!(table.poll_timeout().is_none_or(|due| due > now));
                        continue;
                    };
                    prop_assert!(dialling.insert(addr), "dialled twice");
                    prop_assert!(!refused.contains(&addr));
                    if let Some(&ended) = ended.get(&addr) {
                        prop_assert!(now - ended >= PeerTable::RECONNECT_AFTER);
                    }
                }
                Step::Connected(n) if dialling.remove(&nth(n)) => table.connected(nth(n)),
                Step::Connected(_) => {}
                Step::Failed(n) => {
                    table.failed(nth(n), now);
                    if dialling.remove(&nth(n)) {
                        ended.insert(nth(n), now);
                    }
                }
                Step::Disconnected(n) => table.disconnected(nth(n), now),
                Step::Learned(n) => table.learned_listen_addr(nth(n)),
                Step::Own(n) => {
                    table.mark_self(nth(n));
                    refused.insert(nth(n));
                }
                Step::Ban(n) => {
                    table.ban(Some(nth(n)), id(n));
                    refused.insert(nth(n));
                }
            }
            let queued = table.ready.iter().map(IndexSet::len).sum::<usize>() + table.waiting.len() + table.given_up.len();
            let busy = table.entries.values().filter(|entry| entry.dialling || entry.connections > 0);
            prop_assert_eq!(queued + busy.count(), table.len());
        }
    }
}

fn gossip(number: u16) -> SocketAddr {
    SocketAddr::from(([172, 16, (number >> 8) as u8, number as u8], 6881))
}

#[test]
fn who_is_trusted_more_is_dialled_first_however_much_gossip_there_is() {
    let mut table = PeerTable::new();
    (0..1000).for_each(|number| _ = table.add(gossip(number), Source::Pex, Time::ZERO));
    let told = SocketAddr::from(([10, 0, 0, 1], 6881));
    table.add(told, Source::Tracker, Time::ZERO);
    // One of the many turns out to be known to the user.
    table.add(gossip(500), Source::Manual, Time::ZERO);
    let rng = &mut rng();
    let mut next = || table.next_dial(Time::ZERO, rng).unwrap();
    assert_eq!([next(), next()], [gossip(500), told]);
    assert_ne!(next(), told);
}

#[test]
fn a_full_table_forgets_who_failed_for_who_is_new_but_nobody_that_is_trusted_more() {
    let mut table = PeerTable::new();
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let trusted = SocketAddr::from(([10, 0, 0, 1], 6881));
    table.add(trusted, Source::Tracker, Time::ZERO);
    table.next_dial(Time::ZERO, rng).unwrap();
    table.failed(trusted, Time::ZERO);
    (0..3000).for_each(|number| _ = table.add(gossip(number), Source::Pex, Time::ZERO));
    let full = table.len();
    assert!(!table.add(gossip(5000), Source::Pex, Time::ZERO), "none of them failed yet");
    let dead = table.next_dial(Time::ZERO, rng).unwrap();
    table.failed(dead, Time::ZERO);
    assert!(table.add(gossip(5000), Source::Pex, Time::ZERO));
    assert_eq!(table.len(), full);
    assert!(!table.add(dead, Source::Pex, Time::ZERO), "nobody else failed");
    assert!(!table.add(trusted, Source::Tracker, Time::ZERO), "it is there still");
}

#[test]
fn whom_the_tracker_told_of_last_is_dialled_before_whom_it_tells_of_no_more() {
    let mut table = PeerTable::new();
    let rng = &mut rng();
    (0..500).for_each(|number| _ = table.add(gossip(number), Source::Tracker, Time::ZERO));
    table.outdate();
    let fresh = [gossip(7), gossip(5000)];
    fresh.iter().for_each(|addr| _ = table.add(*addr, Source::Tracker, Time::ZERO));
    let mut next = [(); 2].map(|()| table.next_dial(Time::ZERO, rng).unwrap());
    next.sort_unstable();
    assert_eq!(next, fresh);
    assert!(table.next_dial(Time::ZERO, rng).is_some(), "the others are there still");
}

#[test]
fn who_was_left_in_peace_is_dialled_again_soon_after_something_is_needed() {
    let mut table = PeerTable::new();
    let (rng, addr) = (&mut rng(), gossip(1));
    table.add(addr, Source::Tracker, Time::ZERO);
    table.next_dial(Time::ZERO, rng).unwrap();
    table.connected(addr);
    table.satisfied(addr, Time::from_secs(10));
    assert_eq!(table.poll_timeout(), Some(Time::from_secs(10 + 60 * 60)));
    table.in_need(Time::from_secs(100));
    assert_eq!(table.poll_timeout(), Some(Time::from_secs(160)));
    table.in_need(Time::from_secs(150));
    assert_eq!(table.poll_timeout(), Some(Time::from_secs(160)), "a second loss puts nothing off");
    assert_eq!(table.next_dial(Time::from_secs(160), rng), Some(addr));
}
