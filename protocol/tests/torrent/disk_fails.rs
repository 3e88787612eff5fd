//! A disk that does not keep what comes in, or does not give it back: the piece comes again,
//! nobody is to blame, and nothing is asked for until the disk has had some time.

use std::time::Duration;

use bytes::Bytes;
use reseed_protocol::{
    BLOCK_LENGTH, Bitfield, Block, Layout, PeerId,
    torrent::{Config, Event},
    wire::{Handshake, Message},
};

use crate::{
    INFO_HASH, start,
    talk::{Talk, torrent},
};

const PIECES: u32 = 4;

/// A remote that has everything is about to be asked for it.
fn talk() -> Talk {
    let layout = Layout::new(BLOCK_LENGTH, u64::from(PIECES * BLOCK_LENGTH));
    let config = Config { dont_have: true, ..Config::new(PeerId([1; 20]), 6881) };
    let torrent = torrent(config, start(layout, Bitfield::empty(PIECES)));
    let mut talk = Talk::greeted(torrent, &Handshake::new(INFO_HASH, PeerId([2; 20])).with_fast());
    talk.hears(&Message::Bitfield(Bytes::from_static(&[0b1111_0000])));
    talk.hears(&Message::Unchoke);
    talk
}

#[test]
fn what_the_disk_does_not_keep_comes_again_after_a_rest_and_nobody_is_to_blame() {
    let mut talk = talk();
    talk.disk_works = false;
    let rest = talk.torrent.config().disk_rest;
    let asked = talk.requests();
    assert_eq!(asked.len(), PIECES as usize, "all is asked for at once");
    for block in asked {
        talk.gets(block);
    }
    assert_eq!(talk.requests(), [], "what comes would only be thrown away");
    assert_eq!(talk.torrent.trouble(), Some("it is full"));
    assert!(talk.torrent.rests());
    assert_eq!(talk.torrent.picker().have().count(), 0);
    let failed = |event: &&Event| matches!(event, Event::WriteFailed { .. });
    assert_eq!(talk.events.iter().filter(failed).count(), PIECES as usize);
    let blames = |event: &Event| {
        matches!(
            event,
            Event::PieceFailed { .. } | Event::Disconnected { .. } | Event::Banned { .. }
        )
    };
    assert!(!talk.events.iter().any(blames), "{:?}", talk.events);
    talk.passes(rest - Duration::from_millis(1));
    assert_eq!(talk.requests(), []);
    talk.disk_works = true;
    talk.passes(Duration::from_millis(1));
    let again = talk.requests();
    assert_eq!(again.len(), PIECES as usize);
    for block in again {
        talk.gets(block);
    }
    assert!(talk.torrent.is_complete());
    assert_eq!(talk.torrent.trouble(), None, "it works again");
}

#[test]
fn what_the_disk_does_not_give_back_comes_again_after_a_rest() {
    let mut talk = talk();
    for block in talk.requests() {
        talk.gets(block);
    }
    assert!(talk.torrent.is_complete());
    // The remote has lost it as well, and asks us.
    talk.hears(&Message::Interested);
    let block = Block { piece: 1, begin: 0, length: BLOCK_LENGTH };
    talk.hears(&Message::Request(block));
    assert!(talk.events.iter().any(|event| matches!(event, Event::PieceLost { piece: 1 })));
    let rest = talk.torrent.config().disk_rest;
    talk.passes(rest - Duration::from_millis(1));
    assert_eq!(talk.requests(), []);
    talk.passes(Duration::from_millis(1));
    assert_eq!(talk.requests(), [block]);
}

#[test]
fn a_remote_whose_disk_failed_for_a_while_is_asked_again_though_it_says_nothing() {
    let mut talk = talk();
    let mut refused = 0;
    loop {
        let asked = talk.requests();
        if asked.is_empty() {
            break;
        }
        for block in asked {
            talk.hears(&Message::Reject(block));
            refused += 1;
        }
        assert!(refused < 1_000, "it is asked without end");
    }
    talk.passes(talk.torrent.config().request_timeout);
    assert_ne!(talk.requests(), [], "after {refused} rejects it is never asked again");
}
