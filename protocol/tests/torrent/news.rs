//! Who is told of a piece, and when: at once whom it lets do something, and everybody else
//! with the next word, or a second later.

use std::time::Duration;

use reseed_protocol::{
    BLOCK_LENGTH, Bitfield, Block, ConnectionId, Layout, PeerId, Time,
    torrent::{Config, LiveOptions},
    wire::{Handshake, Message},
};

use crate::{
    INFO_HASH, start,
    talk::{Talk, torrent},
};

const PIECES: u32 = 4;
const SECOND: Duration = Duration::from_secs(1);

/// A leecher with two remotes.
struct Between {
    talk: Talk,
    giver: ConnectionId,
    other: ConnectionId,
}

fn handshake(peer_id: u8) -> Handshake {
    Handshake::new(INFO_HASH, PeerId([peer_id; 20])).with_extensions().with_fast()
}

fn config() -> Config {
    Config::new(PeerId([1; 20]), 6881)
}

fn between(says: &[Message]) -> Between {
    between_with(config(), says)
}

/// One remote has everything and lets the leecher request it; of the other `says` is all
/// that is heard.
fn between_with(config: Config, says: &[Message]) -> Between {
    let layout = Layout::new(BLOCK_LENGTH, u64::from(PIECES * BLOCK_LENGTH));
    let torrent = torrent(config, start(layout, Bitfield::empty(PIECES)));
    let mut talk = Talk::greeted(torrent, &handshake(2));
    let giver = talk.remote;
    talk.hears(&Message::HaveAll);
    talk.hears(&Message::Unchoke);
    let other = talk.joins(&handshake(3));
    says.iter().for_each(|message| talk.hears(message));
    talk.messages();
    Between { talk, giver, other }
}

impl Between {
    /// The giver brings `piece`.
    fn gets(&mut self, piece: u32) {
        self.talk.remote = self.giver;
        self.talk.gets(block(piece));
    }

    /// What a remote has been told since it was last asked.
    fn told(&mut self, remote: ConnectionId) -> Vec<Message> {
        self.talk.remote = remote;
        self.talk.messages()
    }
}

/// Each piece is one block.
fn block(piece: u32) -> Block {
    Block { piece, begin: 0, length: BLOCK_LENGTH }
}

fn have(piece: u32) -> Message {
    Message::Have { piece }
}

fn bitfield(these: &[u32]) -> Message {
    Message::Bitfield(crate::pieces(PIECES, these).to_wire())
}

#[test]
fn whom_a_piece_makes_interested_is_told_at_once() {
    let mut between = between(&[Message::HaveNone]);
    between.gets(2);
    assert_eq!(between.told(between.other), [have(2)]);
}

#[test]
fn who_may_request_a_piece_is_told_at_once() {
    let mut between = between(&[Message::HaveNone, Message::Interested]);
    let connection = between.talk.torrent.connection(between.other).unwrap();
    assert!(!connection.is_choking(), "there are slots enough");
    between.gets(2);
    assert_eq!(between.told(between.other), [have(2)]);
}

#[test]
fn who_serves_us_is_told_at_once_because_it_may_be_a_super_seed() {
    let mut between = between(&[Message::HaveNone]);
    between.gets(2);
    assert_eq!(between.told(between.giver).last(), Some(&have(2)));
}

#[test]
fn who_has_a_piece_is_told_of_it_within_a_second_and_once() {
    let mut between = between(&[bitfield(&[0, 2, 3])]);
    between.gets(2);
    between.gets(3);
    assert_eq!(between.told(between.other), []);
    let due = between.talk.torrent.poll_timeout();
    assert!(due.is_some_and(|due| due <= Time::ZERO + SECOND), "{due:?}");
    between.talk.passes(SECOND);
    assert_eq!(between.told(between.other), [have(2), have(3)]);
    between.talk.passes(SECOND);
    assert_eq!(between.told(between.other), []);
}

#[test]
fn who_waits_for_a_slot_is_told_within_a_second() {
    let config = Config { upload_slots: 0, ..config() };
    let mut between = between_with(config, &[Message::HaveNone, Message::Interested]);
    between.gets(2);
    assert_eq!(between.told(between.other), [], "it cannot ask for it");
    between.talk.passes(SECOND);
    assert_eq!(between.told(between.other), [have(2)]);
}

#[test]
fn word_of_a_piece_goes_before_whatever_is_said_next() {
    let mut between = between(&[bitfield(&[0, 2])]);
    between.gets(2);
    between.talk.remote = between.other;
    between.talk.hears(&Message::Interested);
    assert_eq!(between.told(between.other), [have(2), Message::Unchoke]);
    between.talk.passes(SECOND);
    assert_eq!(between.told(between.other), []);
}

#[test]
fn who_comes_later_has_heard_of_it_with_all_the_others() {
    let mut between = between(&[bitfield(&[0, 2])]);
    between.gets(2);
    between.talk.joins(&handshake(4));
    assert_eq!(between.talk.messages().first(), Some(&bitfield(&[2])), "BEP 3: first of all");
    between.talk.passes(SECOND);
    assert_eq!(between.talk.messages(), []);
}

#[test]
fn nobody_is_told_of_a_piece_that_is_gone_again() {
    let config = Config { dont_have: true, ..config() };
    let mut between = between_with(config, &[bitfield(&[0, 2, 3])]);
    between.gets(2);
    between.gets(3);
    between.talk.remote = between.giver;
    between.talk.hears(&Message::Interested);
    // No block can be read of this disk.
    between.talk.hears(&Message::Request(block(2)));
    assert!(!between.talk.torrent.picker().have().contains(2));
    between.talk.passes(SECOND);
    assert_eq!(between.told(between.other), [have(3)]);
}

#[test]
fn in_a_live_stream_everybody_is_told_at_once() {
    let live = LiveOptions { piece_time: SECOND, source: false };
    let pieces = 32;
    let layout = Layout::new(BLOCK_LENGTH, u64::from(pieces * BLOCK_LENGTH));
    let config = Config { live: Some(live), ..config() };
    let torrent = torrent(config, start(layout, Bitfield::empty(pieces)));
    let mut talk = Talk::greeted(torrent, &handshake(2));
    let (giver, has) = (talk.remote, crate::pieces(pieces, &[3, 4, 5]));
    talk.hears(&Message::Bitfield(has.to_wire()));
    talk.hears(&Message::Unchoke);
    let other = talk.joins(&handshake(3));
    talk.hears(&Message::Bitfield(has.to_wire()));
    talk.passes(SECOND);
    talk.messages();
    talk.remote = giver;
    assert!(talk.requests().contains(&block(5)), "it has hooked in");
    talk.gets(block(5));
    talk.remote = other;
    assert_eq!(talk.messages(), [have(5)], "though it has that");
}
