//! A disk that does not keep what comes in, or does not give it back: the piece comes again,
//! nobody is to blame, and nothing is asked for until the disk has had some time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use reseed_protocol::{
    BLOCK_LENGTH, Bitfield, Block, ConnectionId, Layout, PeerId, Time,
    torrent::{Config, Event, Input, Output, Torrent},
    wire::{Decoder, Handshake, Message, message_cap},
};

use crate::{INFO_HASH, start};

const PIECES: u32 = 4;

/// A peer with nothing, and a remote that has all and lets it request.
struct Talk {
    torrent: Torrent,
    rng: ChaCha8Rng,
    now: Time,
    remote: ConnectionId,
    said: Decoder,
    /// Whether the disk keeps what is written.
    works: bool,
    events: Vec<Event>,
}

impl Talk {
    fn new() -> Talk {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let layout = Layout::new(BLOCK_LENGTH, u64::from(PIECES * BLOCK_LENGTH));
        let start = start(layout, Bitfield::empty(PIECES));
        let config = Config { dont_have: true, ..Config::new(PeerId([1; 20]), 6881) };
        let mut torrent = Torrent::new(config, start, Time::ZERO, &mut rng);
        let remote = torrent.accept(([192, 0, 2, 1], 50_000).into(), Time::ZERO).unwrap();
        let (said, events) = (Decoder::new(message_cap(None)), Vec::new());
        let mut talk = Talk { torrent, rng, now: Time::ZERO, remote, said, works: false, events };
        let handshake = Handshake::new(INFO_HASH, PeerId([2; 20])).with_fast();
        talk.input(Input::Received { connection: remote, bytes: handshake.encode()[..].into() });
        talk.said.next_handshake().unwrap().unwrap();
        talk.hears(&Message::Bitfield(Bytes::from_static(&[0b1111_0000])));
        talk.hears(&Message::Unchoke);
        talk
    }

    fn input(&mut self, input: Input) {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            self.torrent.handle(input, self.now, &mut self.rng);
            while let Some(output) = self.torrent.poll_output() {
                match output {
                    Output::Send { bytes, .. } => self.said.feed(&bytes.to_bytes()),
                    Output::CheckPiece { piece, .. } => {
                        next = Some(match self.works {
                            true => Input::PieceChecked { piece, valid: true },
                            false => {
                                Input::PieceUnwritten { piece, reason: "it is full".to_owned() }
                            }
                        });
                    }
                    Output::ReadBlock { connection, block } => {
                        let data = Err("it cannot be read".to_owned());
                        next = Some(Input::BlockRead { connection, block, data });
                    }
                    Output::Event(event) => self.events.push(event),
                    _ => {}
                }
            }
        }
    }

    fn hears(&mut self, message: &Message) {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes);
        self.input(Input::Received { connection: self.remote, bytes });
    }

    fn brings(&mut self, block: Block) {
        let data = Bytes::from(vec![0; block.length as usize]);
        self.hears(&Message::Piece { piece: block.piece, begin: block.begin, data });
    }

    /// What it requests since this was last asked.
    fn requests(&mut self) -> Vec<Block> {
        let mut requests = Vec::new();
        while let Some(message) = self.said.next_message().unwrap() {
            if let Message::Request(block) = message {
                requests.push(block);
            }
        }
        requests
    }

    fn passes(&mut self, time: Duration) {
        self.now += time;
        self.input(Input::Timeout);
    }
}

#[test]
fn what_the_disk_does_not_keep_comes_again_after_a_rest_and_nobody_is_to_blame() {
    let mut talk = Talk::new();
    let rest = talk.torrent.config().disk_rest;
    let asked = talk.requests();
    assert_eq!(asked.len(), PIECES as usize, "all is asked for at once");
    for block in asked {
        talk.brings(block);
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
    talk.works = true;
    talk.passes(Duration::from_millis(1));
    let again = talk.requests();
    assert_eq!(again.len(), PIECES as usize);
    for block in again {
        talk.brings(block);
    }
    assert!(talk.torrent.is_complete());
    assert_eq!(talk.torrent.trouble(), None, "it works again");
}

#[test]
fn what_the_disk_does_not_give_back_comes_again_after_a_rest() {
    let mut talk = Talk::new();
    talk.works = true;
    for block in talk.requests() {
        talk.brings(block);
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
    let mut talk = Talk::new();
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
