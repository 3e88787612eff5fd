//! What clients in the field do that no BEP says, and that a peer has to live with.

use bytes::BytesMut;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use reseed_protocol::{
    Bitfield, Block, ConnectionId, Layout, PeerId, Time,
    torrent::{Config, Event, Frame, Input, Output, Speaker, Torrent},
    wire::{Handshake, Message},
};

use crate::{INFO_HASH, start};

const PIECES: u32 = 10;
/// Bytes a piece, each of which is one block.
const BLOCK: u32 = 16_384;

/// A leecher to whom one remote talks.
struct Leecher {
    torrent: Torrent,
    rng: ChaCha8Rng,
    remote: ConnectionId,
    requested: Vec<Block>,
    closed: Option<String>,
}

impl Leecher {
    /// It has exchanged handshakes with the remote.
    fn new() -> Leecher {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let config = Config { transcript: true, ..Config::new(PeerId([1; 20]), 6881) };
        let layout = Layout::new(BLOCK, u64::from(PIECES * BLOCK));
        let start = start(layout, Bitfield::empty(PIECES));
        let mut torrent = Torrent::new(config, start, Time::ZERO, &mut rng);
        let remote = torrent.accept(([192, 0, 2, 1], 50_000).into(), Time::ZERO).unwrap();
        let mut leecher = Leecher { torrent, rng, remote, requested: Vec::new(), closed: None };
        let handshake = Handshake::new(INFO_HASH, PeerId([2; 20])).with_extensions();
        leecher.hears_bytes(&handshake.with_fast().encode());
        leecher
    }

    fn hears(&mut self, message: &Message) {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes);
        self.hears_bytes(&bytes);
    }

    fn hears_bytes(&mut self, bytes: &[u8]) {
        let input = Input::Received { connection: self.remote, bytes: bytes.into() };
        self.torrent.handle(input, Time::ZERO, &mut self.rng);
        while let Some(output) = self.torrent.poll_output() {
            match output {
                Output::Event(Event::Disconnected { reason, .. }) => {
                    self.closed = Some(reason.to_string());
                }
                Output::Spoken(spoken) if spoken.by == Speaker::Us => {
                    if let Frame::Message(Message::Request(block)) = spoken.frame {
                        self.requested.push(block);
                    }
                }
                _ => {}
            }
        }
    }

    fn remote_has(&self) -> Vec<u32> {
        self.torrent.connection(self.remote).unwrap().remote_pieces().iter().collect()
    }
}

fn bitfield(pieces: &[u32]) -> Message {
    let mut bitfield = Bitfield::empty(PIECES);
    for piece in pieces {
        bitfield.insert(*piece);
    }
    Message::Bitfield(bitfield.to_wire())
}

/// aria2 1.36 has one go out where it would have many HAVEs to say.
#[test]
fn a_later_bitfield_stands_for_a_have_of_each_piece_that_is_new() {
    let mut leecher = Leecher::new();
    leecher.hears(&bitfield(&[1, 2]));
    leecher.hears(&Message::Have { piece: 3 });
    leecher.hears(&Message::Unchoke);
    let before = leecher.requested.len();
    leecher.hears(&bitfield(&[1, 2, 3, 5, 8]));
    assert_eq!(leecher.closed, None);
    assert_eq!(leecher.remote_has(), [1, 2, 3, 5, 8]);
    let availability = leecher.torrent.picker().availability();
    assert_eq!(availability, [0, 1, 1, 1, 0, 1, 0, 0, 1, 0]);
    let asked: Vec<u32> = leecher.requested[before..].iter().map(|block| block.piece).collect();
    assert!(!asked.is_empty() && asked.iter().all(|piece| [5, 8].contains(piece)), "{asked:?}");

    leecher.hears(&bitfield(&[5]));
    assert_eq!(leecher.remote_has(), [1, 2, 3, 5, 8], "what it leaves out it has still");
    leecher.hears(&Message::HaveAll);
    assert_eq!(leecher.remote_has().len(), PIECES as usize);
    assert_eq!(leecher.closed, None);
}

#[test]
fn that_there_is_nothing_is_said_first_or_not_at_all() {
    let mut leecher = Leecher::new();
    leecher.hears(&Message::Have { piece: 3 });
    leecher.hears(&Message::HaveNone);
    assert!(leecher.closed.unwrap().contains("not as the first message"));
}
