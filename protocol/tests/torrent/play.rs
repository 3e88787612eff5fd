//! What is played next and does not come: whom it is asked of, and whom it is asked of again.

use std::time::Duration;

use reseed_protocol::{
    BLOCK_LENGTH, Bitfield, Layout, PeerId, Video,
    torrent::Config,
    wire::{Handshake, Message},
};

use crate::{
    INFO_HASH, start,
    talk::{Talk, torrent},
};

const PIECES: u32 = 4;

fn handshake(peer_id: u8) -> Handshake {
    Handshake::new(INFO_HASH, PeerId([peer_id; 20])).with_extensions().with_fast()
}

/// Who streams from a remote that has everything, and brings nothing of what it is asked for.
fn viewer_of_one_who_is_silent() -> Talk {
    let layout = Layout::new(BLOCK_LENGTH, u64::from(PIECES * BLOCK_LENGTH));
    let video = Video { offset: 0, length: u64::from(PIECES * BLOCK_LENGTH), bitrate: 10_000 };
    let config = Config { stream: Some(video), ..Config::new(PeerId([1; 20]), 6881) };
    let torrent = torrent(config, start(layout, Bitfield::empty(PIECES)));
    let mut talk = Talk::greeted(torrent, &handshake(2));
    talk.hears(&Message::HaveAll);
    talk.hears(&Message::Unchoke);
    assert_eq!(talk.requests().len(), PIECES as usize);
    talk
}

/// That many seconds pass, one at a time.
fn passes(talk: &mut Talk, seconds: u32) {
    (0..seconds).for_each(|_| talk.passes(Duration::from_secs(1)));
}

fn cancels(talk: &mut Talk) -> usize {
    let messages = talk.messages();
    messages.iter().filter(|message| matches!(message, Message::Cancel(_))).count()
}

#[test]
fn nothing_is_taken_back_from_who_alone_could_bring_it() {
    let mut talk = viewer_of_one_who_is_silent();
    passes(&mut talk, 50);
    let messages = talk.messages();
    let about_blocks = |it: &&Message| matches!(it, Message::Cancel(_) | Message::Request(_));
    assert_eq!(messages.iter().find(about_blocks), None);
}

#[test]
fn what_a_silent_remote_does_not_bring_is_asked_of_another_as_soon_as_there_is_one() {
    let mut talk = viewer_of_one_who_is_silent();
    let silent = talk.remote;
    passes(&mut talk, 20);
    talk.joins(&handshake(3));
    talk.hears(&Message::HaveAll);
    talk.hears(&Message::Unchoke);
    passes(&mut talk, 2);
    assert_eq!(talk.requests().len(), PIECES as usize);
    talk.remote = silent;
    assert_eq!(cancels(&mut talk), PIECES as usize);
}
