//! Magnet links, and the fetch of their metadata, driven by any bytes at any times.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::LazyLock,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use reseed_protocol::{
    ConnectionId, Info, InfoHash, Magnet, MetadataFetch, PeerId, Time,
    extension::{
        Extension, ExtensionHandshake, METADATA_PIECE_LENGTH, MetadataMessage, metadata_span,
    },
    torrent::{Config, Event, Input as Happening, Output},
    wire::{Handshake, Message},
};

use crate::input::{Ear, Input};

const OTHERS_MAX: usize = 6;

/// Bytes that wait for one who does not read, at most: a little more than the fetch's own
/// limit.
const UNREAD_MAX: usize = 70 * 1024;

/// How long the honest one may have to wait for those who are asked before it and say
/// nothing.
const FINISH_WITHIN: Duration = Duration::from_secs(120);

const OURS: PeerId = PeerId([1; 20]);
const HONEST: PeerId = PeerId([2; 20]);

/// Three pieces, the last of them short.
static METADATA: LazyLock<Bytes> = LazyLock::new(|| {
    (0..2 * METADATA_PIECE_LENGTH + 100).map(|at| (at * 31 % 251) as u8).collect()
});

static INFO_HASH: LazyLock<InfoHash> = LazyLock::new(|| Info::hash(&METADATA));

/// The first byte says what follows: a link, or a script.
///
/// A link reads back as it is written. In a script, some remotes say and do what the
/// bytes spell; then an honest one comes, and must not be dropped or banned before the
/// metadata is here, which is the true one. What waits for who does not read is bounded.
pub fn run(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    match (kind % 2, str::from_utf8(rest)) {
        (0, Ok(text)) => link(text),
        (0, Err(_)) => {}
        _ => script(rest),
    }
}

fn link(text: &str) {
    let Ok(magnet) = text.parse::<Magnet>() else { return };
    assert_eq!(magnet.to_string().parse(), Ok(magnet));
}

fn script(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut play = Play::new();
    while !input.is_empty() && play.fetch.metadata().is_none() {
        play.step(&mut input);
    }
    play.end();
}

struct Play {
    fetch: MetadataFetch,
    rng: ChaCha8Rng,
    now: Time,
    queue: VecDeque<Happening>,
    honest: Option<(ConnectionId, Ear)>,
    others: BTreeMap<ConnectionId, (Ear, usize)>,
    dials: VecDeque<ConnectionId>,
    came: u8,
}

impl Play {
    fn new() -> Play {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let config = Config::new(OURS, 6881);
        let fetch = MetadataFetch::new(config, *INFO_HASH, false, Time::ZERO, &mut rng);
        Play {
            fetch,
            rng,
            now: Time::ZERO,
            queue: VecDeque::new(),
            honest: None,
            others: BTreeMap::new(),
            dials: VecDeque::new(),
            came: 0,
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 11 {
            0 => {
                let connection = self.other(input.byte());
                let length = input.byte();
                self.hear(connection, input.take(length.into()));
            }
            1 => self.comes(input.byte()),
            2 => {
                let connection = self.other(input.byte());
                self.greet(connection, input.byte());
            }
            3 => {
                let connection = self.other(input.byte());
                let size = u32::from(input.byte()) * 256 + u32::from(input.byte());
                let known = METADATA.len() as u32;
                self.declare(connection, [known, size, u32::MAX][usize::from(input.byte()) % 3]);
            }
            4 => {
                let connection = self.other(input.byte());
                self.piece(connection, input);
            }
            5 => {
                let connection = self.other(input.byte());
                let piece = input.byte().into();
                // As often as it likes.
                for _ in 0..=input.short() % 2048 {
                    self.say(connection, &MetadataMessage::Request { piece });
                }
            }
            6 => {
                let connection = self.other(input.byte());
                self.say(connection, &MetadataMessage::Reject { piece: input.byte().into() });
            }
            7 => self.pass(Duration::from_secs(input.byte().into())),
            8 => {
                if let Some(connection) = self.other(input.byte()) {
                    let bytes =
                        std::mem::take(&mut self.others.get_mut(&connection).expect("it is").1);
                    self.tell(Happening::Flushed { connection, bytes });
                }
            }
            9 => {
                if let Some(connection) = self.other(input.byte()) {
                    self.others.remove(&connection);
                    self.tell(Happening::Lost { connection });
                }
            }
            _ => {
                self.tell(Happening::AddPeers { addrs: vec![addr(input.byte(), 6881)] });
                if let Some(connection) = self.dials.pop_front() {
                    self.others.insert(connection, Default::default());
                    self.tell(Happening::Dialled { connection });
                }
            }
        }
    }

    fn other(&self, number: u8) -> Option<ConnectionId> {
        let number = usize::from(number) % self.others.len().max(1);
        self.others.keys().nth(number).copied()
    }

    /// One comes, and greets if it is odd.
    fn comes(&mut self, host: u8) {
        self.came = self.came.wrapping_add(1);
        let from = addr(host, 50_000 + u16::from(self.came));
        if self.others.len() < OTHERS_MAX
            && let Ok(connection) = self.fetch.accept(from, self.now)
        {
            self.others.insert(connection, Default::default());
            if host & 1 == 1 {
                self.greet(Some(connection), 0x12);
                self.declare(Some(connection), METADATA.len() as u32);
            }
        }
    }

    fn greet(&mut self, connection: Option<ConnectionId>, what: u8) {
        let number = connection.map_or(0, |connection| connection.0 as u8);
        let peer_id = if what >> 4 == 0 { OURS } else { PeerId([number.max(3); 20]) };
        let mut handshake = Handshake::new(*INFO_HASH, peer_id);
        if what & 2 != 0 {
            handshake = handshake.with_extensions();
        }
        self.hear(connection, &handshake.encode());
    }

    fn declare(&mut self, connection: Option<ConnectionId>, size: u32) {
        let handshake = ExtensionHandshake {
            m: [(Extension::Metadata.name().to_owned(), 9)].into(),
            metadata_size: Some(size),
            ..ExtensionHandshake::default()
        };
        self.extended(connection, 0, handshake.encode());
    }

    /// A piece, true or not, asked for or not.
    fn piece(&mut self, connection: Option<ConnectionId>, input: &mut Input<'_>) {
        let (piece, how, total_size) = (u32::from(input.byte() % 4), input.byte(), METADATA.len());
        let span = metadata_span(piece, total_size as u32).unwrap_or(0..0);
        let mut data = METADATA[span].to_vec();
        if how & 1 == 1 {
            data.iter_mut().take(1).for_each(|byte| *byte ^= 1);
        }
        if how & 2 == 2 {
            data.truncate(input.byte().into());
        }
        let (total_size, data) = (total_size as u32, data.into());
        self.say(connection, &MetadataMessage::Data { piece, total_size, data });
    }

    fn say(&mut self, connection: Option<ConnectionId>, message: &MetadataMessage) {
        self.extended(connection, Extension::Metadata.local_id(), message.encode());
    }

    fn extended(&mut self, connection: Option<ConnectionId>, id: u8, payload: Bytes) {
        let mut bytes = BytesMut::new();
        Message::Extended { id, payload }.encode(&mut bytes);
        self.hear(connection, &bytes);
    }

    fn hear(&mut self, connection: Option<ConnectionId>, bytes: &[u8]) {
        if let Some(connection) = connection {
            self.tell(Happening::Received { connection, bytes: bytes.into() });
        }
    }

    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut at_instant = 0;
        while let Some(due) = self.fetch.poll_timeout().filter(|due| *due <= end) {
            at_instant = if due > self.now { 0 } else { at_instant + 1 };
            assert!(at_instant < 1000, "a timer is always due at {due}");
            self.now = self.now.max(due);
            self.tell(Happening::Timeout);
        }
        self.now = end;
    }

    fn tell(&mut self, happening: Happening) {
        self.queue.push_back(happening);
        while let Some(happening) = self.queue.pop_front() {
            self.fetch.handle(happening, self.now, &mut self.rng);
            while let Some(output) = self.fetch.poll_output() {
                self.carry_out(output);
            }
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Dial { connection, .. } => self.dials.push_back(connection),
            Output::Send { connection, bytes } => self.sent(connection, &bytes.to_bytes()),
            Output::Event(Event::Banned { peer_id, .. }) => assert_ne!(peer_id, HONEST),
            Output::Event(Event::Disconnected { connection, reason, .. }) => {
                self.others.remove(&connection);
                self.dials.retain(|dial| *dial != connection);
                if self.honest.take_if(|(honest, _)| *honest == connection).is_some() {
                    assert!(self.fetch.metadata().is_some(), "the honest one is dropped: {reason}");
                }
            }
            _ => {}
        }
    }

    fn sent(&mut self, connection: ConnectionId, bytes: &[u8]) {
        if let Some((ear, unread)) = self.others.get_mut(&connection) {
            ear.hear(bytes);
            *unread += bytes.len();
            assert!(*unread <= UNREAD_MAX, "{unread} bytes wait for who does not read");
        }
        let Some((_, ear)) = self.honest.as_mut().filter(|(it, _)| *it == connection) else {
            return;
        };
        for message in ear.hear(bytes) {
            let Message::Extended { id: 9, payload } = message else { continue };
            let Ok(Some(MetadataMessage::Request { piece })) = MetadataMessage::decode(&payload)
            else {
                panic!("we only ask")
            };
            let total_size = METADATA.len() as u32;
            let span = metadata_span(piece, total_size).expect("we ask for what there is");
            let data = METADATA.slice(span);
            let payload = MetadataMessage::Data { piece, total_size, data }.encode();
            let mut bytes = BytesMut::new();
            Message::Extended { id: Extension::Metadata.local_id(), payload }.encode(&mut bytes);
            self.queue.push_back(Happening::Received { connection, bytes });
        }
    }

    fn end(&mut self) {
        if self.fetch.metadata().is_none() {
            let from = SocketAddr::from(([10, 9, 9, 9], 50_000));
            let connection = self.fetch.accept(from, self.now).expect("there is room");
            self.honest = Some((connection, Ear::default()));
            let handshake = Handshake::new(*INFO_HASH, HONEST).with_extensions();
            self.hear(Some(connection), &handshake.encode());
            self.declare(Some(connection), METADATA.len() as u32);
            self.pass(FINISH_WITHIN);
        }
        assert_eq!(self.fetch.metadata(), Some(&*METADATA), "it comes, and is the true one");
        self.tell(Happening::Stop { grace: Duration::from_secs(5) });
        assert!(self.fetch.is_stopped());
    }
}

fn addr(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], port))
}

/// Links, and scripts with those who give, lie, refuse, ask and say nothing.
pub fn seeds() -> Vec<Vec<u8>> {
    let links: [&[u8]; 2] = [
        b"\0magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567&dn=a+b&tr=http%3A%2F%2Fa%2F\
          &x.pe=10.0.0.1:6881&so=0,2,4-6",
        b"\0magnet:?xt.1=urn:btih:AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH",
    ];
    let scripts: [&[u8]; 6] = [
        &[1, 1, 3, 4, 0, 0, 0, 4, 0, 1, 0, 4, 0, 2, 0],
        &[1, 1, 3, 4, 0, 0, 1, 4, 0, 1, 0, 4, 0, 2, 0],
        &[1, 1, 3, 6, 0, 1, 1, 5, 4, 0, 0, 2, 9, 7, 30],
        &[1, 1, 3, 1, 5, 1, 7, 1, 9, 5, 0, 0, 0xff, 0xff, 8, 0, 7, 19],
        &[1, 1, 2, 2, 0, 0x02, 2, 0, 0x02, 1, 4, 2, 0, 0x12, 3, 0, 1, 0, 1, 9, 0],
        &[1, 10, 7, 2, 0, 0x12, 3, 0, 0, 0, 0, 7, 255, 10, 8, 0, 0, 5, 0, 0xff, 0xff, 0xff, 0xff],
    ];
    links.into_iter().chain(scripts).map(Vec::from).collect()
}
