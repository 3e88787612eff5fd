use std::collections::BTreeMap;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::{
    Bitfield, Layout, PeerId, Torrent,
    extension::metadata_span,
    torrent::Start,
    tracker::Event as TrackerEvent,
    wire::{Decoder, message_cap},
};

/// Three pieces of metadata, the last of them short.
fn metadata() -> Bytes {
    (0..2 * 16_384 + 100).map(|at: u32| (at * 31 % 251) as u8).collect()
}

fn info_hash() -> InfoHash {
    Info::hash(&metadata())
}

/// A fetch, and remotes whose lines are written in the tests.
struct Fetch {
    fetch: MetadataFetch,
    rng: ChaCha8Rng,
    now: Time,
    dialled: BTreeMap<SocketAddr, ConnectionId>,
    said: BTreeMap<ConnectionId, Decoder>,
    closed: BTreeMap<ConnectionId, CloseReason>,
    announces: Vec<AnnounceRequest>,
}

const OFFERS: u8 = 9;

impl Fetch {
    fn new(peers: &[SocketAddr]) -> Fetch {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let config = Config::new(PeerId([1; 20]), 6881);
        let fetch = MetadataFetch::new(config, info_hash(), true, Time::ZERO, &mut rng);
        let mut fetch = Fetch {
            fetch,
            rng,
            now: Time::ZERO,
            dialled: BTreeMap::new(),
            said: BTreeMap::new(),
            closed: BTreeMap::new(),
            announces: Vec::new(),
        };
        fetch.input(Input::AddPeers { addrs: peers.to_vec() });
        fetch
    }

    /// One that has exchanged handshakes with each of so many remotes that it dialled.
    fn with(remotes: u8) -> (Fetch, Vec<ConnectionId>) {
        let addrs: Vec<_> = (1..=remotes).map(addr).collect();
        let mut fetch = Fetch::new(&addrs);
        let ids: Vec<ConnectionId> = addrs.iter().map(|addr| fetch.dialled[addr]).collect();
        for (number, id) in (1..).zip(&ids) {
            fetch.input(Input::Dialled { connection: *id });
            assert_eq!(fetch.handshake_of_ours(*id).info_hash, info_hash());
            let handshake = Handshake::new(info_hash(), PeerId([100 + number; 20]));
            fetch.hears_bytes(*id, &handshake.with_extensions().encode());
        }
        (fetch, ids)
    }

    fn input(&mut self, input: Input) {
        self.fetch.handle(input, self.now, &mut self.rng);
        while let Some(output) = self.fetch.poll_output() {
            match output {
                Output::Dial { connection, addr } => _ = self.dialled.insert(addr, connection),
                Output::Send { connection, bytes } => {
                    let decoder = || Decoder::new(message_cap(None));
                    self.said.entry(connection).or_insert_with(decoder).feed(&bytes.to_bytes());
                }
                Output::Event(Event::Disconnected { connection, reason, .. }) => {
                    self.closed.insert(connection, reason);
                }
                Output::Announce(request) => self.announces.push(request),
                _ => {}
            }
        }
    }

    fn passes(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.input(Input::Timeout);
    }

    fn hears_bytes(&mut self, connection: ConnectionId, bytes: &[u8]) {
        self.input(Input::Received { connection, bytes: bytes.into() });
    }

    fn hears(&mut self, connection: ConnectionId, id: u8, payload: Bytes) {
        let mut bytes = BytesMut::new();
        Message::Extended { id, payload }.encode(&mut bytes);
        self.hears_bytes(connection, &bytes);
    }

    fn hears_of(&mut self, connection: ConnectionId, size: Option<u32>) {
        let handshake = ExtensionHandshake {
            m: [("ut_metadata".to_owned(), OFFERS)].into(),
            metadata_size: size,
            ..ExtensionHandshake::default()
        };
        self.hears(connection, 0, handshake.encode());
    }

    fn gets(&mut self, connection: ConnectionId, message: &MetadataMessage) {
        self.hears(connection, Extension::Metadata.local_id(), message.encode());
    }

    fn gets_piece(&mut self, connection: ConnectionId, piece: u32, of: &Bytes) {
        let total_size = of.len() as u32;
        let data = of.slice(metadata_span(piece, total_size).unwrap());
        self.gets(connection, &MetadataMessage::Data { piece, total_size, data });
    }

    fn handshake_of_ours(&mut self, connection: ConnectionId) -> Handshake {
        self.said.get_mut(&connection).unwrap().next_handshake().unwrap().unwrap()
    }

    /// The pieces that it has asked a remote for since the last call.
    fn asked(&mut self, connection: ConnectionId) -> Vec<u32> {
        let said = self.said.get_mut(&connection).unwrap();
        let mut asked = Vec::new();
        while let Some(message) = said.next_message().unwrap() {
            let Message::Extended { id, payload } = message else { panic!("{message}") };
            if id != 0 {
                assert_eq!(id, OFFERS);
                match MetadataMessage::decode(&payload).unwrap().unwrap() {
                    MetadataMessage::Request { piece } => asked.push(piece),
                    other => panic!("{other:?}"),
                }
            }
        }
        asked
    }
}

fn addr(number: u8) -> SocketAddr {
    ([192, 0, 2, number], 6881).into()
}

fn answer() -> AnnounceResponse {
    AnnounceResponse::from_bytes(b"d8:intervali60e5:peers0:e").unwrap()
}

#[test]
fn the_metadata_comes_piece_by_piece_in_any_order_and_ends_every_connection() {
    let (mut fetch, ids) = Fetch::with(2);
    fetch.hears_of(ids[0], Some(metadata().len() as u32));
    assert_eq!(fetch.asked(ids[0]), [0, 1, 2]);
    for piece in [2, 0] {
        fetch.gets_piece(ids[0], piece, &metadata());
        assert_eq!(fetch.fetch.metadata(), None);
    }
    fetch.gets_piece(ids[0], 1, &metadata());
    assert_eq!(fetch.fetch.metadata(), Some(&metadata()));
    assert!(ids.iter().all(|id| fetch.closed[id] == CloseReason::MetadataHere));
}

#[test]
fn of_long_metadata_a_few_pieces_are_asked_for_at_a_time() {
    let (mut fetch, ids) = Fetch::with(1);
    let long = Bytes::from(vec![7; 10 * 16_384]);
    fetch.hears_of(ids[0], Some(long.len() as u32));
    assert_eq!(fetch.asked(ids[0]), [0, 1, 2, 3]);
    fetch.gets_piece(ids[0], 1, &long);
    assert_eq!(fetch.asked(ids[0]), [4]);
}

#[test]
fn who_sends_metadata_with_another_hash_is_banned_and_another_one_gives_it() {
    let (mut fetch, ids) = Fetch::with(2);
    let mut wrong = metadata().to_vec();
    wrong[20_000] ^= 1;
    for (id, content) in [(ids[0], Bytes::from(wrong)), (ids[1], metadata())] {
        fetch.hears_of(id, Some(metadata().len() as u32));
        (0..3).for_each(|piece| fetch.gets_piece(id, piece, &content));
    }
    assert_eq!(fetch.closed[&ids[0]], CloseReason::Corrupt);
    assert_eq!(fetch.fetch.metadata(), Some(&metadata()));
    assert!(fetch.fetch.peers.is_banned(addr(1)) && !fetch.fetch.peers.is_banned(addr(2)));
}

#[test]
fn who_does_not_have_it_is_parted_from() {
    let size = Some(metadata().len() as u32);
    let reason = |act: fn(&mut Fetch, ConnectionId, Option<u32>)| {
        let (mut fetch, ids) = Fetch::with(1);
        act(&mut fetch, ids[0], size);
        fetch.closed.remove(&ids[0])
    };
    let none = Some(CloseReason::NoMetadata);
    assert_eq!(reason(|fetch, id, _| fetch.hears_of(id, None)), none);
    let too_long = |fetch: &mut Fetch, id, _| fetch.hears_of(id, Some(METADATA_LENGTH_MAX + 1));
    assert_eq!(reason(too_long), none);
    let rejects = |fetch: &mut Fetch, id, size| {
        fetch.hears_of(id, size);
        fetch.gets(id, &MetadataMessage::Reject { piece: 1 });
    };
    assert_eq!(reason(rejects), none);
    let falls_silent = |fetch: &mut Fetch, id, size| {
        fetch.hears_of(id, size);
        fetch.gets_piece(id, 0, &metadata());
        fetch.passes(19);
        assert!(fetch.closed.is_empty());
        fetch.passes(1);
    };
    assert_eq!(reason(falls_silent), none);
    let says_nothing = |fetch: &mut Fetch, _, _| fetch.passes(20);
    assert_eq!(reason(says_nothing), none);
    assert_eq!(reason(|fetch, id, size| fetch.hears_of(id, size)), None, "who has it stays");
}

#[test]
fn what_was_not_asked_for_or_is_too_long_costs_the_connection() {
    let data = |piece, length| MetadataMessage::Data {
        piece,
        total_size: metadata().len() as u32,
        data: vec![0; length].into(),
    };
    for (piece, length) in [(3, 16_384), (u32::MAX, 1), (0, 16_383), (0, 16_385), (2, 101)] {
        let (mut fetch, ids) = Fetch::with(1);
        fetch.hears_of(ids[0], Some(metadata().len() as u32));
        fetch.gets(ids[0], &data(piece, length));
        let closed = &fetch.closed[&ids[0]];
        assert!(matches!(closed, CloseReason::Violation(_)), "{piece}, {length}: {closed}");
    }
    let (mut fetch, ids) = Fetch::with(1);
    fetch.hears_of(ids[0], Some(metadata().len() as u32));
    fetch.gets_piece(ids[0], 0, &metadata());
    fetch.gets_piece(ids[0], 0, &metadata());
    assert!(matches!(fetch.closed[&ids[0]], CloseReason::Violation(_)), "twice");
}

#[test]
fn three_are_asked_at_a_time_and_the_next_one_when_one_of_them_fails() {
    let (mut fetch, ids) = Fetch::with(4);
    for id in &ids {
        fetch.hears_of(*id, Some(metadata().len() as u32));
    }
    let asked: Vec<usize> = ids.iter().map(|id| fetch.asked(*id).len()).collect();
    assert_eq!(asked, [3, 3, 3, 0]);
    fetch.gets(ids[1], &MetadataMessage::Reject { piece: 0 });
    assert_eq!(fetch.asked(ids[3]), [0, 1, 2]);
}

#[test]
fn when_those_who_are_asked_say_nothing_the_next_is_asked_without_a_word_of_its_own() {
    let (mut fetch, ids) = Fetch::with(4);
    ids.iter().for_each(|id| fetch.hears_of(*id, Some(metadata().len() as u32)));
    assert!(fetch.asked(ids[3]).is_empty(), "three are asked at a time");
    fetch.passes(20);
    assert_eq!(fetch.closed.len(), 3);
    assert_eq!(fetch.asked(ids[3]), [0, 1, 2]);
}

#[test]
fn a_request_is_rejected() {
    let (mut fetch, ids) = Fetch::with(1);
    fetch.hears_of(ids[0], Some(metadata().len() as u32));
    fetch.asked(ids[0]);
    fetch.gets(ids[0], &MetadataMessage::Request { piece: 0 });
    let said = fetch.said.get_mut(&ids[0]).unwrap().next_message().unwrap().unwrap();
    let Message::Extended { id: OFFERS, payload } = said else { panic!("{said}") };
    let rejection = MetadataMessage::Reject { piece: 0 };
    assert_eq!(MetadataMessage::decode(&payload), Ok(Some(rejection)));
}

#[test]
fn who_asks_without_end_and_reads_nothing_is_parted_from() {
    let (mut fetch, ids) = Fetch::with(1);
    fetch.hears_of(ids[0], Some(1000));
    let mut asked = 0;
    while !fetch.closed.contains_key(&ids[0]) {
        fetch.gets(ids[0], &MetadataMessage::Request { piece: 0 });
        asked += 1;
        assert!(asked < 10_000, "what it does not read is held for it");
    }
    let reason = &fetch.closed[&ids[0]];
    assert_eq!(reason.to_string(), "protocol violation: it does not read what it asks for");
}

#[test]
fn who_asks_without_end_and_reads_the_answers_is_answered() {
    let (mut fetch, ids) = Fetch::with(1);
    fetch.hears_of(ids[0], Some(1000));
    for _ in 0..10_000 {
        fetch.gets(ids[0], &MetadataMessage::Request { piece: 0 });
        fetch.input(Input::Flushed { connection: ids[0], bytes: 1000 });
    }
    assert_eq!(fetch.closed.get(&ids[0]), None);
}

#[test]
fn a_second_handshake_is_not_answered_not_even_by_who_says_it_is_us() {
    let mut fetch = Fetch::new(&[]);
    let id = fetch.fetch.accept(addr(9), Time::ZERO).unwrap();
    let ours = Handshake::new(info_hash(), PeerId([1; 20])).encode();
    fetch.hears_bytes(id, &ours);
    assert_eq!(fetch.handshake_of_ours(id).info_hash, info_hash());
    fetch.hears_bytes(id, &ours);
    assert_eq!(fetch.said[&id].buffered(), 0);
    assert!(matches!(fetch.closed[&id], CloseReason::Violation(_)));
}

#[test]
fn the_torrent_goes_on_where_the_fetch_ended() {
    let (mut fetch, ids) = Fetch::with(1);
    assert_eq!(fetch.announces.len(), 1);
    assert_eq!(fetch.announces[0].event, Some(TrackerEvent::Started));
    assert_ne!(fetch.announces[0].left, 0);
    fetch.hears_of(ids[0], Some(metadata().len() as u32));
    (0..3).for_each(|piece| fetch.gets_piece(ids[0], piece, &metadata()));

    let (now, key) = (fetch.now, fetch.announces[0].key);
    let start = Start {
        info_hash: info_hash(),
        layout: Layout::new(16_384, 100_000),
        private: false,
        torrent_keys: Vec::new(),
        have: Bitfield::empty(7),
        hashes: None,
        announce: true,
        totals: (0, 0),
    };
    let config = Config::new(PeerId([1; 20]), 6881);
    let torrent = Torrent::new(config, start, now, &mut fetch.rng);
    let mut torrent = torrent.after(fetch.fetch.hand_over());
    let mut dials = Vec::new();
    let mut announces = Vec::new();
    let mut run = |torrent: &mut Torrent, input, now| {
        torrent.handle(input, now, &mut fetch.rng);
        while let Some(output) = torrent.poll_output() {
            match output {
                Output::Dial { connection, addr } => dials.push((connection, addr)),
                Output::Announce(request) => announces.push(request),
                _ => {}
            }
        }
        (std::mem::take(&mut dials), std::mem::take(&mut announces))
    };
    // The announce that is under way is answered to the torrent; it says no `started`.
    assert_eq!(run(&mut torrent, Input::Timeout, now), (vec![], vec![]));
    let result = Ok(Box::new(answer()));
    assert_eq!(run(&mut torrent, Input::Announced { result }, now), (vec![], vec![]));
    let (dials, announces) = run(&mut torrent, Input::Timeout, now + Duration::from_secs(1));
    assert_eq!(dials, [(ConnectionId(ids[0].0 + 1), addr(1))]);
    assert!(announces.is_empty());
    let (_, announces) = run(&mut torrent, Input::Timeout, now + Duration::from_secs(60));
    assert_eq!((announces[0].event, announces[0].key), (None, key));
}

#[test]
fn a_stop_parts_from_everybody_and_tells_the_tracker() {
    let (mut fetch, ids) = Fetch::with(1);
    let result = Ok(Box::new(answer()));
    fetch.input(Input::Announced { result });
    fetch.input(Input::Stop { grace: Duration::from_secs(5) });
    assert_eq!(fetch.closed[&ids[0]], CloseReason::Stopping);
    assert_eq!(fetch.announces[1].event, Some(TrackerEvent::Stopped));
    assert!(!fetch.fetch.is_stopped());
    let result = Ok(Box::new(answer()));
    fetch.input(Input::Announced { result });
    assert!(fetch.fetch.is_stopped());
    assert!(fetch.fetch.accept(addr(9), fetch.now).is_err());
}
