//! A live stream, of which a remote has at a time what is valid for who is where it is: a
//! quarter of the round.

use std::time::Duration;

use reseed_protocol::{
    BLOCK_LENGTH, Bitfield, Block, Layout, PeerId,
    torrent::{CloseReason, Config, LiveOptions},
    wire::{Handshake, Message},
};

use crate::{
    INFO_HASH, pieces, start,
    talk::{Talk, torrent},
};

const PIECES: u32 = 32;
const WINDOW: u32 = PIECES / 4;
const SECOND: Duration = Duration::from_secs(1);

/// A viewer of pieces of two blocks, and a remote that has `these`.
fn viewer(these: impl IntoIterator<Item = u32>) -> Talk {
    let layout = Layout::new(2 * BLOCK_LENGTH, u64::from(PIECES * 2 * BLOCK_LENGTH));
    let live = LiveOptions { piece_time: SECOND, source: false };
    let config = Config { live: Some(live), ..Config::new(PeerId([1; 20]), 6881) };
    let torrent = torrent(config, start(layout, Bitfield::empty(PIECES)));
    let remote = Handshake::new(INFO_HASH, PeerId([2; 20])).with_extensions().with_fast();
    let mut talk = Talk::greeted(torrent, &remote);
    let these: Vec<u32> = these.into_iter().collect();
    talk.hears(&Message::Bitfield(pieces(PIECES, &these).to_wire()));
    talk.hears(&Message::Unchoke);
    talk
}

fn block(piece: u32, number: u32) -> Block {
    Block { piece, begin: number * BLOCK_LENGTH, length: BLOCK_LENGTH }
}

fn claimed(talk: &Talk) -> Vec<u32> {
    talk.torrent.connection(talk.remote).unwrap().remote_pieces().iter().collect()
}

#[test]
fn who_claims_more_than_is_valid_at_a_time_is_dropped() {
    assert_eq!(viewer(0..WINDOW).closed(), None);
    let talk = viewer(0..WINDOW + 1);
    let Some(CloseReason::Violation(what)) = talk.closed() else { panic!("{:?}", talk.closed()) };
    assert_eq!(what, "9 pieces of a live stream, of which 8 are valid at a time");
}

#[test]
fn what_a_remote_has_no_more_when_it_has_moved_on_is_not_waited_for() {
    let mut talk = viewer(3..6);
    talk.passes(SECOND);
    assert!(talk.requests().contains(&block(4, 0)), "it has hooked in");
    talk.hears(&Message::Have { piece: 4 + WINDOW - 1 });
    assert_eq!(claimed(&talk), [4, 5, 11], "of a window that ends there it may still have these");
    talk.hears(&Message::Have { piece: 4 + WINDOW });
    assert_eq!(claimed(&talk), [5, 11, 12]);
    let cancelled = talk.messages();
    assert!(cancelled.contains(&Message::Cancel(block(4, 0))), "{cancelled:?}");
    assert!(!cancelled.contains(&Message::Cancel(block(5, 0))), "{cancelled:?}");
}

/// A round later another piece is there, and blocks of the two make none.
#[test]
fn what_came_of_a_piece_is_dropped_when_who_gave_it_has_the_next_one_of_that_place() {
    let mut talk = viewer(3..6);
    talk.passes(SECOND);
    assert!(talk.requests().contains(&block(5, 1)), "it has hooked in");
    talk.gets(block(5, 0));
    talk.requests();
    talk.hears(&Message::Have { piece: 6 });
    assert!(!talk.requests().contains(&block(5, 0)), "it is here");
    talk.hears(&Message::Have { piece: 5 });
    assert!(talk.requests().contains(&block(5, 0)), "it is one of another piece");
}
