//! Who wants nothing more, be it that it has all or only what it wants, says so, and is
//! not kept waiting by others of its kind. BEP 21.

use reseed_protocol::{
    BLOCK_LENGTH, Bitfield, Block, Layout, PeerId,
    extension::ExtensionHandshake,
    torrent::{CloseReason, Config, Start},
    wire::{Handshake, Message},
};

use crate::{
    INFO_HASH, start,
    talk::{Talk, torrent},
};

const PIECES: u32 = 4;

/// One that has `have` and wants `wanted`, after handshakes.
fn talk(upload_only: bool, have: Bitfield, wanted: &Bitfield) -> Talk {
    let config = Config { upload_only, ..Config::new(PeerId([1; 20]), 6881) };
    let layout = Layout::new(BLOCK_LENGTH, u64::from(PIECES * BLOCK_LENGTH));
    let torrent = torrent(config, Start { announce: true, ..start(layout, have) });
    let handshake = Handshake::new(INFO_HASH, PeerId([2; 20])).with_extensions();
    Talk::greeted(torrent.wanting(wanted), &handshake)
}

fn hears_upload_only(talk: &mut Talk, flag: bool) {
    let handshake = ExtensionHandshake { upload_only: Some(flag), ..ExtensionHandshake::default() };
    talk.hears(&Message::Extended { id: 0, payload: handshake.encode() });
}

/// What each extension handshake since the last call has of it.
fn said(talk: &mut Talk) -> Vec<Option<bool>> {
    let of_it = |message| match message {
        Message::Extended { id: 0, payload } => {
            Some(ExtensionHandshake::decode(&payload).unwrap().upload_only)
        }
        _ => None,
    };
    talk.messages().into_iter().filter_map(of_it).collect()
}

fn pieces(pieces: &[u32]) -> Bitfield {
    crate::pieces(PIECES, pieces)
}

#[test]
fn a_seed_says_it_in_its_first_handshake_if_it_is_to() {
    let all = Bitfield::full(PIECES);
    assert_eq!(said(&mut talk(true, all.clone(), &all)), [Some(true)]);
    assert_eq!(said(&mut talk(false, all.clone(), &all)), [None]);
    assert_eq!(said(&mut talk(true, pieces(&[1]), &pieces(&[1]))), [Some(true)], "a partial one");
}

#[test]
fn who_has_what_it_wanted_says_so_and_is_no_seed_to_its_tracker() {
    let mut talk = talk(true, pieces(&[]), &pieces(&[2]));
    assert_eq!(said(&mut talk), [None]);
    talk.hears(&Message::Bitfield(Bitfield::full(PIECES).to_wire()));
    talk.hears(&Message::Unchoke);
    assert!(!talk.torrent.is_complete());
    talk.gets(Block { piece: 2, begin: 0, length: BLOCK_LENGTH });
    assert!(talk.torrent.is_complete());
    assert_eq!(said(&mut talk), [Some(true)]);
    let events: Vec<_> = talk.announces.iter().map(|it| it.event).collect();
    assert_eq!(events.len(), 1, "no `completed`: {events:?}");
}

#[test]
fn of_two_that_want_nothing_more_one_parts() {
    let all = Bitfield::full(PIECES);
    let mut seed = talk(true, all.clone(), &all);
    seed.hears(&Message::Bitfield(pieces(&[0]).to_wire()));
    hears_upload_only(&mut seed, false);
    assert_eq!(seed.closed(), None);
    hears_upload_only(&mut seed, true);
    assert_eq!(seed.closed(), Some(&CloseReason::BothComplete));
    let mut leecher = talk(true, pieces(&[1]), &all);
    hears_upload_only(&mut leecher, true);
    assert_eq!(leecher.closed(), None, "it may have what we want");
}
