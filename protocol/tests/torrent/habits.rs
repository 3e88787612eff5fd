//! What clients in the field do that no BEP says, and that a peer has to live with.

use reseed_protocol::{
    Bitfield, Layout, PeerId,
    torrent::Config,
    wire::{Handshake, Message},
};

use crate::{
    INFO_HASH, start,
    talk::{Talk, torrent},
};

const PIECES: u32 = 10;
/// Bytes a piece, each of which is one block.
const BLOCK: u32 = 16_384;

/// One that has nothing, after handshakes.
fn leecher() -> Talk {
    let layout = Layout::new(BLOCK, u64::from(PIECES * BLOCK));
    let config = Config::new(PeerId([1; 20]), 6881);
    let torrent = torrent(config, start(layout, Bitfield::empty(PIECES)));
    let handshake = Handshake::new(INFO_HASH, PeerId([2; 20])).with_extensions().with_fast();
    Talk::greeted(torrent, &handshake)
}

fn remote_has(talk: &Talk) -> Vec<u32> {
    talk.torrent.connection(talk.remote).unwrap().remote_pieces().iter().collect()
}

fn bitfield(pieces: &[u32]) -> Message {
    Message::Bitfield(crate::pieces(PIECES, pieces).to_wire())
}

/// aria2 1.36 has one go out where it would have many HAVEs to say.
#[test]
fn a_later_bitfield_stands_for_a_have_of_each_piece_that_is_new() {
    let mut leecher = leecher();
    leecher.hears(&bitfield(&[1, 2]));
    leecher.hears(&Message::Have { piece: 3 });
    leecher.hears(&Message::Unchoke);
    leecher.requests();
    leecher.hears(&bitfield(&[1, 2, 3, 5, 8]));
    assert_eq!(leecher.closed(), None);
    assert_eq!(remote_has(&leecher), [1, 2, 3, 5, 8]);
    let availability = leecher.torrent.picker().availability();
    assert_eq!(availability, [0, 1, 1, 1, 0, 1, 0, 0, 1, 0]);
    let asked: Vec<u32> = leecher.requests().iter().map(|block| block.piece).collect();
    assert!(!asked.is_empty() && asked.iter().all(|piece| [5, 8].contains(piece)), "{asked:?}");

    leecher.hears(&bitfield(&[5]));
    assert_eq!(remote_has(&leecher), [1, 2, 3, 5, 8], "what it leaves out it has still");
    leecher.hears(&Message::HaveAll);
    assert_eq!(remote_has(&leecher).len(), PIECES as usize);
    assert_eq!(leecher.closed(), None);
}

#[test]
fn that_there_is_nothing_is_said_first_or_not_at_all() {
    let mut leecher = leecher();
    leecher.hears(&Message::Have { piece: 3 });
    leecher.hears(&Message::HaveNone);
    let reason = leecher.closed().expect("it parts").to_string();
    assert!(reason.contains("not as the first message"), "{reason}");
}
