//! Pieces that are gone. BEP 54.

use reseed_protocol::extension::{DontHave, Extension};

use super::*;

const LOST: u32 = 3;

fn dont_have(config: &mut Config) {
    config.dont_have = true;
}

/// Words of a lost piece that `node` sent (count).
fn told(swarm: &Swarm, node: usize) -> usize {
    let payload = DontHave { piece: LOST }.encode();
    let word = Message::Extended { id: Extension::DontHave.local_id(), payload };
    swarm.said(node, |message| *message == word)
}

fn requests(swarm: &Swarm, node: usize) -> usize {
    swarm.said(node, |message| matches!(message, Message::Request(it) if it.piece == LOST))
}

/// A seed that cannot read a piece, and a leecher that has got the others of it.
fn seed_that_lost_a_piece(fast: bool) -> (Swarm, usize, usize) {
    let mut swarm = Swarm::new(layout());
    let change = |config: &mut Config| {
        dont_have(config);
        config.fast = fast;
    };
    let seed = swarm.add(Bitfield::full(layout().pieces()), change);
    swarm.nodes[seed].unreadable.insert(LOST);
    let leecher = swarm.add(Bitfield::empty(layout().pieces()), change);
    swarm.introduce(leecher, seed);
    swarm.run_until(secs(60));
    (swarm, seed, leecher)
}

#[test]
fn a_piece_that_cannot_be_read_is_disowned_and_nobody_asks_for_it_again() {
    for fast in [true, false] {
        let (mut swarm, seed, leecher) = seed_that_lost_a_piece(fast);
        assert_eq!(told(&swarm, seed), 1, "fast: {fast}");
        let torrent = &swarm.nodes[leecher].torrent;
        assert!(!torrent.connections().next().unwrap().remote_pieces().contains(LOST));
        assert_eq!(torrent.picker().availability()[LOST as usize], 0);
        assert_eq!(torrent.picker().have().count(), layout().pieces() - 1);
        assert!(torrent.connections().all(|it| it.requested().len() == 0), "fast: {fast}");
        let asked = requests(&swarm, leecher);
        swarm.run_until(secs(600));
        assert_eq!(requests(&swarm, leecher), asked, "fast: {fast}");
        assert!(!swarm.is_complete(seed));
    }
}

#[test]
fn who_lost_a_piece_gets_it_again_and_says_so() {
    let (mut swarm, seed, leecher) = seed_that_lost_a_piece(true);
    let other = swarm.add(Bitfield::full(layout().pieces()), dont_have);
    swarm.introduce(seed, other);
    swarm.run_until(secs(120));
    assert!(swarm.is_complete(seed) && swarm.is_complete(leecher));
    assert!(swarm.said(seed, |message| *message == Message::Have { piece: LOST }) > 0);
}

#[test]
fn a_remote_that_does_not_take_the_extension_is_told_nothing() {
    let mut swarm = Swarm::new(layout());
    let seed = swarm.add(Bitfield::full(layout().pieces()), dont_have);
    swarm.nodes[seed].unreadable.insert(LOST);
    let leecher = swarm.leecher();
    swarm.introduce(leecher, seed);
    swarm.run_until(secs(30));
    assert_eq!(told(&swarm, seed), 0);
    assert!(!swarm.is_complete(leecher) && !swarm.is_complete(seed));
}

#[test]
fn word_of_a_piece_that_nobody_claimed_changes_nothing_and_of_no_piece_is_a_violation() {
    let mut swarm = Swarm::new(layout());
    let pieces = layout().pieces();
    let leecher = swarm.add(Bitfield::empty(pieces), dont_have);
    let from = "10.9.9.9:1".parse().unwrap();
    let connection = swarm.nodes[leecher].torrent.accept(from, Time::ZERO).unwrap();
    let handshake = reseed_protocol::wire::Handshake::new(INFO_HASH, PeerId([9; 20]));
    let handshake = handshake.with_extensions();
    let mut hears = |bytes: BytesMut| {
        swarm.input(leecher, Input::Received { connection, bytes });
        swarm.closed(leecher)
    };
    let word = |piece| {
        let payload = DontHave { piece }.encode();
        let mut bytes = BytesMut::new();
        let id = Extension::DontHave.local_id();
        Message::Extended { id, payload }.encode(&mut bytes);
        bytes
    };
    hears(handshake.encode()[..].into());
    assert_eq!(hears(word(LOST)), []);
    let closed = hears(word(pieces));
    assert!(matches!(&closed[..], [CloseReason::Violation(_)]), "{closed:?}");
}
