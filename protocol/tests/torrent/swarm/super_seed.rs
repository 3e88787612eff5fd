//! Pieces that are shown one at a time. BEP 16.

use reseed_protocol::{
    BLOCK_LENGTH,
    wire::{Decoder, Handshake, message_cap},
};

use super::*;

/// A seed that shows its pieces one at a time, and remotes that are played by hand.
struct Seed {
    torrent: Torrent,
    rng: ChaCha8Rng,
    now: Time,
    remotes: Vec<(ConnectionId, Decoder)>,
}

const PIECES: u32 = 8;

impl Seed {
    fn new(remotes: usize) -> Seed {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let config =
            Config { super_seed: true, upload_only: true, ..Config::new(PeerId([1; 20]), 6881) };
        let layout = Layout::new(BLOCK_LENGTH, u64::from(PIECES * BLOCK_LENGTH));
        let start = start(layout, Bitfield::full(PIECES));
        let torrent = Torrent::new(config, start, Time::ZERO, &mut rng);
        let mut seed = Seed { torrent, rng, now: Time::ZERO, remotes: Vec::new() };
        (0..remotes).for_each(|_| seed.connect());
        seed
    }

    fn connect(&mut self) {
        let number = self.remotes.len() as u8 + 2;
        let from = SocketAddr::from(([192, 0, 2, number], 50_000));
        let connection = self.torrent.accept(from, self.now).unwrap();
        self.remotes.push((connection, Decoder::new(message_cap(None))));
        let handshake = Handshake::new(INFO_HASH, PeerId([number; 20])).with_fast();
        self.input(Input::Received { connection, bytes: handshake.encode()[..].into() });
        let (_, said) = self.remotes.last_mut().unwrap();
        said.next_handshake().unwrap().unwrap();
    }

    fn input(&mut self, input: Input) {
        self.torrent.handle(input, self.now, &mut self.rng);
        while let Some(output) = self.torrent.poll_output() {
            if let Output::Send { connection, bytes } = output {
                let remote = self.remotes.iter_mut().find(|(id, _)| *id == connection);
                remote.expect("it is one of them").1.feed(&bytes.to_bytes());
            }
        }
    }

    fn hears(&mut self, remote: usize, message: &Message) {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes);
        self.input(Input::Received { connection: self.remotes[remote].0, bytes });
    }

    /// The pieces that it has shown a remote since the last call.
    fn shown(&mut self, remote: usize) -> Vec<u32> {
        let said = self.said(remote);
        said.iter()
            .filter_map(|it| if let Message::Have { piece } = it { Some(*piece) } else { None })
            .collect()
    }

    fn said(&mut self, remote: usize) -> Vec<Message> {
        let decoder = &mut self.remotes[remote].1;
        std::iter::from_fn(|| decoder.next_message().unwrap()).collect()
    }
}

#[test]
fn it_looks_like_one_that_has_nothing_and_then_comes_to_a_piece() {
    let mut seed = Seed::new(1);
    let said = seed.said(0);
    assert_eq!(said[..2], [Message::HaveNone, Message::Have { piece: 0 }]);
    assert_eq!(said[2], Message::Have { piece: 1 }, "one ahead, so that it need not wait");
    let claims = |it: &&Message| matches!(it, Message::Have { .. } | Message::Bitfield(_));
    assert_eq!(said.iter().filter(claims).count(), 2, "{said:?}");
}

#[test]
fn each_is_shown_other_pieces_and_one_more_once_somebody_else_has_one() {
    let mut seed = Seed::new(2);
    assert_eq!((seed.shown(0), seed.shown(1)), (vec![0, 1], vec![2, 3]));
    // That it got it itself shows nothing.
    seed.hears(0, &Message::Have { piece: 0 });
    assert_eq!((seed.shown(0), seed.shown(1)), (vec![], vec![]));
    seed.hears(1, &Message::Have { piece: 0 });
    assert_eq!((seed.shown(0), seed.shown(1)), (vec![4], vec![]));
    seed.hears(0, &Message::Have { piece: 3 });
    assert_eq!((seed.shown(0), seed.shown(1)), (vec![], vec![5]));
}

#[test]
fn the_only_leecher_gets_one_piece_after_the_other() {
    let mut seed = Seed::new(1);
    assert_eq!(seed.shown(0), [0, 1]);
    for piece in 0..PIECES {
        seed.hears(0, &Message::Have { piece });
        let next = piece + 2;
        assert_eq!(seed.shown(0), if next < PIECES { vec![next] } else { vec![] });
    }
}

#[test]
fn who_waits_for_somebody_that_is_gone_waits_no_more() {
    let mut seed = Seed::new(2);
    seed.hears(0, &Message::Have { piece: 0 });
    assert_eq!(seed.shown(0), [0, 1]);
    let gone = seed.remotes[1].0;
    seed.input(Input::Lost { connection: gone });
    // The gone one was shown pieces 2 and 3, which may be on their way.
    assert_eq!(seed.shown(0), [4], "nobody else is there to pass it on to");
}

#[test]
fn who_cannot_pass_pieces_on_is_shown_others_after_a_minute() {
    let mut seed = Seed::new(2);
    seed.hears(0, &Message::Have { piece: 0 });
    assert_eq!(seed.shown(0), [0, 1]);
    seed.now = secs(59);
    seed.input(Input::Timeout);
    assert_eq!(seed.shown(0), []);
    seed.now = secs(60);
    seed.input(Input::Timeout);
    assert_eq!(seed.shown(0).len(), 2);
}

#[test]
fn what_was_not_shown_is_not_given() {
    let mut seed = Seed::new(1);
    seed.hears(0, &Message::Interested);
    let said = seed.said(0);
    assert!(said.contains(&Message::Unchoke), "{said:?}");
    let hidden = Block { piece: 7, begin: 0, length: BLOCK_LENGTH };
    seed.hears(0, &Message::Request(hidden));
    assert_eq!(seed.said(0), [Message::Reject(hidden)]);
}

/// What the seed sends, in copies of the content, until four leechers have it who know
/// each other.
fn copies(super_seed: bool) -> f64 {
    let mut swarm = Swarm::new(layout());
    let full = Bitfield::full(layout().pieces());
    let seed = swarm.add(full, |config| config.super_seed = super_seed);
    let leechers: Vec<usize> = (0..4).map(|_| swarm.leecher()).collect();
    for (at, leecher) in leechers.iter().enumerate() {
        swarm.introduce(*leecher, seed);
        leechers[..at].iter().for_each(|other| swarm.introduce(*leecher, *other));
    }
    let content = layout().total_length();
    swarm.run_until(secs(1200));
    for leecher in leechers {
        assert!(swarm.is_complete(leecher), "{leecher}, super-seeding: {super_seed}");
    }
    swarm.nodes[seed].torrent.uploaded() as f64 / content as f64
}

#[test]
fn each_piece_leaves_it_about_once() {
    let (with, without) = (copies(true), copies(false));
    assert!(with < 1.2, "{with} copies");
    assert!(without > 1.5, "{without} copies");
}
