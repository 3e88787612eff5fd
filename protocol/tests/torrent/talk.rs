//! A torrent that remotes talk to, one at a time.

use std::{collections::BTreeMap, iter, time::Duration};

use bytes::{Bytes, BytesMut};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use reseed_protocol::{
    Block, ConnectionId, Time,
    torrent::{CloseReason, Config, Event, Input, Output, Start, Torrent},
    tracker::AnnounceRequest,
    wire::{Decoder, Handshake, Message, message_cap},
};

/// A torrent, remotes that have connected to it, and what is around it.
pub struct Talk {
    pub torrent: Torrent,
    /// The one that speaks and listens.
    pub remote: ConnectionId,
    /// Whether its disk keeps what is written; what is read of it always fails.
    pub disk_works: bool,
    pub events: Vec<Event>,
    pub announces: Vec<AnnounceRequest>,
    /// What it has said to each, and nobody has asked for yet.
    said: BTreeMap<ConnectionId, Decoder>,
    now: Time,
    rng: ChaCha8Rng,
}

/// One that starts now.
pub fn torrent(config: Config, start: Start) -> Torrent {
    Torrent::new(config, start, Time::ZERO, &mut ChaCha8Rng::seed_from_u64(1))
}

impl Talk {
    /// Before anything is said.
    pub fn new(mut torrent: Torrent) -> Talk {
        let remote = torrent.accept(([192, 0, 2, 1], 50_000).into(), Time::ZERO).unwrap();
        Talk {
            torrent,
            remote,
            disk_works: true,
            events: Vec::new(),
            announces: Vec::new(),
            said: BTreeMap::new(),
            now: Time::ZERO,
            rng: ChaCha8Rng::seed_from_u64(2),
        }
    }

    /// After the handshakes, of which the remote's is `handshake`.
    pub fn greeted(torrent: Torrent, handshake: &Handshake) -> Talk {
        let mut talk = Talk::new(torrent);
        talk.hears_bytes(&handshake.encode());
        talk.said().next_handshake().unwrap().expect("it answers");
        talk
    }

    /// Another remote connects, whose handshake is `handshake`; it speaks from now on.
    pub fn joins(&mut self, handshake: &Handshake) -> ConnectionId {
        self.remote = self.torrent.accept(([198, 51, 100, 1], 50_000).into(), self.now).unwrap();
        self.hears_bytes(&handshake.encode());
        self.said().next_handshake().unwrap().expect("it answers");
        self.remote
    }

    /// What it has said to the remote that speaks, and nobody has asked for yet.
    pub fn said(&mut self) -> &mut Decoder {
        self.said.entry(self.remote).or_insert_with(|| Decoder::new(message_cap(None)))
    }

    fn input(&mut self, input: Input) {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            self.torrent.handle(input, self.now, &mut self.rng);
            while let Some(output) = self.torrent.poll_output() {
                match output {
                    Output::Send { connection, bytes } => {
                        let said = self.said.entry(connection);
                        let said = said.or_insert_with(|| Decoder::new(message_cap(None)));
                        said.feed(&bytes.to_bytes());
                    }
                    Output::CheckPiece { piece, .. } => {
                        next = Some(match self.disk_works {
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
                    Output::Announce(request) => self.announces.push(request),
                    _ => {}
                }
            }
        }
    }

    pub fn hears_bytes(&mut self, bytes: &[u8]) {
        self.input(Input::Received { connection: self.remote, bytes: bytes.into() });
    }

    pub fn hears(&mut self, message: &Message) {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes);
        self.hears_bytes(&bytes);
    }

    /// The remote brings a block of zeros.
    pub fn gets(&mut self, block: Block) {
        let data = Bytes::from(vec![0; block.length as usize]);
        self.hears(&Message::Piece { piece: block.piece, begin: block.begin, data });
    }

    pub fn passes(&mut self, time: Duration) {
        self.now += time;
        self.input(Input::Timeout);
    }

    /// What it has said to the remote since this, or [`Talk::requests`], was last asked.
    pub fn messages(&mut self) -> Vec<Message> {
        iter::from_fn(|| self.said().next_message().unwrap()).collect()
    }

    /// What it has requested since then.
    pub fn requests(&mut self) -> Vec<Block> {
        let requested = |message| match message {
            Message::Request(block) => Some(block),
            _ => None,
        };
        self.messages().into_iter().filter_map(requested).collect()
    }

    /// Why it has parted from the remote, if it has.
    pub fn closed(&self) -> Option<&CloseReason> {
        self.events.iter().find_map(|event| match event {
            Event::Disconnected { reason, .. } => Some(reason),
            _ => None,
        })
    }
}
