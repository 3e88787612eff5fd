//! Merkle torrents between two peers in memory: pieces come with what proves their
//! hashes, and nobody believes anything else. BEP 30.

use std::{collections::BTreeMap, net::SocketAddr};

use bytes::{Bytes, BytesMut};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use reseed_protocol::{
    Bitfield, ConnectionId, HashTree, Layout, PeerId, Time,
    extension::{Extension, ExtensionHandshake, HashPiece},
    torrent::{CloseReason, Config, Event, Frame, Input, Output, Speaker, Spoken, Start, Torrent},
    wire::{Handshake, Message},
};
use sha1::{Digest, Sha1};

use crate::{INFO_HASH, start};

/// Five pieces of two blocks, the last one of one.
fn layout() -> Layout {
    Layout::new(20_000, 4 * 20_000 + 7)
}

/// The content's bytes from `offset`.
fn content(offset: u64, length: u32) -> Bytes {
    (offset..offset + u64::from(length)).map(|at| (at * 31 % 251) as u8).collect()
}

fn tree() -> HashTree {
    let hash = |piece| {
        let bytes = content(layout().offset_of(piece), layout().length_of(piece));
        Sha1::digest(bytes).into()
    };
    HashTree::from_pieces(&(0..layout().pieces()).map(hash).collect::<Vec<[u8; 20]>>())
}

/// A peer, and what it wants done.
struct Peer {
    torrent: Torrent,
    rng: ChaCha8Rng,
    /// Bytes that it sent, by connection.
    sent: BTreeMap<ConnectionId, BytesMut>,
    closed: Vec<CloseReason>,
    spoken: Vec<Spoken>,
    received: BTreeMap<u32, BTreeMap<u32, Bytes>>,
}

const LEECHER: u8 = 1;
const SEED: u8 = 2;

impl Peer {
    fn new(number: u8, change: impl FnOnce(&mut Config)) -> Peer {
        let mut rng = ChaCha8Rng::seed_from_u64(number.into());
        let mut config = Config::new(PeerId([number; 20]), 6881);
        config.transcript = true;
        change(&mut config);
        let (have, hashes) = match number {
            SEED => (Bitfield::full(layout().pieces()), tree()),
            _ => {
                let root = HashTree::from_root(tree().root(), layout().pieces());
                (Bitfield::empty(layout().pieces()), root)
            }
        };
        let start = Start { hashes: Some(hashes), ..start(layout(), have) };
        Peer {
            torrent: Torrent::new(config, start, Time::ZERO, &mut rng),
            rng,
            sent: BTreeMap::new(),
            closed: Vec::new(),
            spoken: Vec::new(),
            received: BTreeMap::new(),
        }
    }

    /// Somebody with `id` connects, and has everything.
    fn meets(&mut self, from: [u8; 4], id: u8) -> ConnectionId {
        let from: SocketAddr = (from, 50_000).into();
        let connection = self.torrent.accept(from, Time::ZERO).unwrap();
        let handshake = Handshake::new(INFO_HASH, PeerId([id; 20])).with_extensions();
        self.hears_bytes(connection, &handshake.with_fast().encode());
        self.hears(connection, Message::HaveAll);
        connection
    }

    fn hears(&mut self, connection: ConnectionId, message: Message) {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes);
        self.hears_bytes(connection, &bytes);
    }

    /// It hears which extensions are taken under which ids.
    fn hears_of_extensions(&mut self, connection: ConnectionId, m: &[(&str, u8)]) {
        let m = m.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect();
        let payload = ExtensionHandshake { m, ..ExtensionHandshake::default() }.encode();
        self.hears(connection, Message::Extended { id: 0, payload });
    }

    fn hears_bytes(&mut self, connection: ConnectionId, bytes: &[u8]) {
        self.input(Input::Received { connection, bytes: bytes.into() });
    }

    fn input(&mut self, input: Input) {
        let mut next = vec![input];
        while let Some(input) = next.pop() {
            self.torrent.handle(input, Time::ZERO, &mut self.rng);
            while let Some(output) = self.torrent.poll_output() {
                next.extend(self.carry_out(output));
            }
        }
    }

    fn carry_out(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Send { connection, bytes } => {
                self.sent.entry(connection).or_default().extend_from_slice(&bytes.to_bytes());
                return Some(Input::Flushed { connection, bytes: bytes.len() });
            }
            Output::ReadBlock { connection, block } => {
                let start = layout().offset_of(block.piece) + u64::from(block.begin);
                let data = Ok(content(start, block.length));
                return Some(Input::BlockRead { connection, block, data });
            }
            Output::WriteBlock { block, data } => {
                self.received.entry(block.piece).or_default().insert(block.begin, data);
            }
            Output::CheckPiece { piece, hash } => {
                let bytes: Vec<Bytes> = self.received[&piece].values().cloned().collect();
                let found: [u8; 20] = Sha1::digest(bytes.concat()).into();
                return Some(Input::PieceChecked { piece, valid: Some(found) == hash });
            }
            Output::Event(Event::Disconnected { reason, .. }) => self.closed.push(reason),
            Output::Spoken(spoken) => self.spoken.push(spoken),
            _ => {}
        }
        None
    }

    /// Blocks that it asked of `connection` for.
    fn requests(&self, connection: ConnectionId) -> Vec<reseed_protocol::Block> {
        let said = self.spoken.iter().filter(|it| it.by == Speaker::Us);
        said.filter(|it| it.connection == connection)
            .filter_map(|it| match &it.frame {
                Frame::Message(Message::Request(block)) => Some(*block),
                _ => None,
            })
            .collect()
    }

    fn said(&self, wanted: impl Fn(&Message) -> bool) -> Vec<Message> {
        let said = self.spoken.iter().filter(|it| it.by == Speaker::Us);
        said.filter_map(|it| match &it.frame {
            Frame::Message(message) if wanted(message) => Some(message.clone()),
            _ => None,
        })
        .collect()
    }
}

/// Carries bytes between a connection of `a` and one of `b` until neither says more.
fn converse(a: (&mut Peer, ConnectionId), b: (&mut Peer, ConnectionId)) {
    loop {
        let from_a = a.0.sent.remove(&a.1).unwrap_or_default();
        let from_b = b.0.sent.remove(&b.1).unwrap_or_default();
        if from_a.is_empty() && from_b.is_empty() {
            return;
        }
        a.0.hears_bytes(a.1, &from_b);
        b.0.hears_bytes(b.1, &from_a);
    }
}

/// A leecher that dialled a seed, and all that they said.
fn leech(pex: bool) -> (Peer, Peer) {
    let (mut leecher, mut seed) =
        (Peer::new(LEECHER, |config| config.pex = pex), Peer::new(SEED, |it| it.pex = pex));
    leecher.input(Input::AddPeers { addrs: vec![([10, 0, 0, 2], 6881).into()] });
    let dialled = leecher.torrent.connections().next().unwrap().id();
    let accepted = seed.torrent.accept(([10, 0, 0, 1], 50_000).into(), Time::ZERO).unwrap();
    leecher.input(Input::Dialled { connection: dialled });
    converse((&mut leecher, dialled), (&mut seed, accepted));
    (leecher, seed)
}

fn hash_piece(message: &Message) -> Option<HashPiece> {
    let Message::Extended { id: 250, payload } = message else { return None };
    HashPiece::decode(payload).ok()
}

#[test]
fn a_leecher_gets_everything_by_hash_pieces_and_learns_the_tree() {
    for pex in [true, false] {
        let (leecher, seed) = leech(pex);
        assert!(leecher.torrent.is_complete(), "pex: {pex}, {:?}", leecher.closed);
        assert_eq!(leecher.torrent.hashes(), Some(&tree()));
        assert!(seed.said(|message| matches!(message, Message::Piece { .. })).is_empty());
        let given = seed.said(|message| hash_piece(message).is_some());
        assert_eq!(given.len(), 9);
        for message in given.iter().filter_map(hash_piece) {
            let expected = if message.begin == 0 { tree().proof(message.piece) } else { None };
            assert_eq!(message.hashes, expected.unwrap_or_default());
        }
    }
}

#[test]
fn the_extension_handshake_offers_what_is_on_and_goes_out_whatever_is() {
    let offered = |pex| {
        let (leecher, _) = leech(pex);
        let handshakes = leecher.said(|message| matches!(message, Message::Extended { id: 0, .. }));
        let [Message::Extended { payload, .. }] = &handshakes[..] else {
            panic!("one goes out, not {handshakes:?}");
        };
        ExtensionHandshake::decode(payload).unwrap().m
    };
    let m = |names: &[(&str, u8)]| names.iter().map(|(name, id)| ((*name).into(), *id)).collect();
    assert_eq!(offered(true), m(&[("Tr_hashpiece", 250), ("ut_pex", 1)]));
    assert_eq!(offered(false), m(&[("Tr_hashpiece", 250)]));
}

/// A leecher, unchoked by somebody that has everything and means no good.
fn tempted() -> (Peer, ConnectionId) {
    let mut leecher = Peer::new(LEECHER, |_| {});
    let liar = leecher.meets([10, 0, 0, 66], 66);
    leecher.hears_of_extensions(liar, &[("Tr_hashpiece", 250)]);
    leecher.hears(liar, Message::Unchoke);
    assert!(!leecher.requests(liar).is_empty());
    (leecher, liar)
}

/// The true answer to a request for the first block of `piece`.
fn answer(piece: u32) -> HashPiece {
    let block = layout().block(piece, 0);
    let data = content(layout().offset_of(piece), block.length);
    HashPiece { piece, begin: 0, hashes: tree().proof(piece).unwrap(), data }
}

/// What the leecher parts with, when it is answered `message`.
fn parts_over(message: impl FnOnce(u32) -> Message) -> Option<String> {
    let (mut leecher, liar) = tempted();
    let first = leecher.requests(liar).into_iter().find(|block| block.begin == 0).unwrap();
    leecher.hears(liar, message(first.piece));
    leecher.torrent.picker().check().unwrap();
    if leecher.closed.is_empty() {
        return None;
    }
    let blank = HashTree::from_root(tree().root(), layout().pieces());
    assert_eq!(leecher.torrent.hashes(), Some(&blank), "nothing of it is believed");
    Some(leecher.closed[0].to_string())
}

fn extended(message: HashPiece) -> Message {
    Message::Extended { id: Extension::HashPiece.local_id(), payload: message.encode() }
}

#[test]
fn hashes_that_do_not_lead_to_the_root_cost_the_connection() {
    assert_eq!(parts_over(|piece| extended(answer(piece))), None);
    for at in 0..4 {
        let reason = parts_over(|piece| {
            let mut lie = answer(piece);
            lie.hashes[at].1[0] ^= 1;
            extended(lie)
        });
        assert!(reason.unwrap().contains("make another node"), "hash {at}");
    }
}

#[test]
fn the_first_block_of_a_piece_comes_with_its_hashes_or_costs_the_connection() {
    let bare = |piece| HashPiece { hashes: Vec::new(), ..answer(piece) };
    let reason = parts_over(|piece| extended(bare(piece))).unwrap();
    assert!(reason.contains("without its hashes"), "{reason}");
    let reason = parts_over(|piece| {
        let HashPiece { piece, begin, data, .. } = answer(piece);
        Message::Piece { piece, begin, data }
    });
    assert!(reason.unwrap().contains("without its hashes"));
}

#[test]
fn what_is_no_hash_piece_or_of_no_piece_costs_the_connection() {
    let payload = Bytes::from_static(b"no such thing");
    let reason = parts_over(|_| Message::Extended { id: 250, payload });
    assert!(reason.unwrap().contains("block with hashes"));
    let reason = parts_over(|_| extended(HashPiece { piece: 5, ..answer(0) })).unwrap();
    assert!(reason.contains("hashes of piece 5, of 5"), "{reason}");
    let reason = parts_over(|_| extended(HashPiece { piece: 5, hashes: Vec::new(), ..answer(0) }));
    assert!(reason.unwrap().contains("piece 5"));
}

/// Hashes are the root's word, not the remote's: bytes that do not fit them are.
#[test]
fn bytes_that_do_not_fit_proven_hashes_are_no_piece() {
    let (mut leecher, liar) = tempted();
    let requests = leecher.requests(liar);
    for block in requests.iter().filter(|block| block.piece == requests[0].piece) {
        let mut lie = answer(block.piece);
        if block.begin > 0 {
            lie = HashPiece { begin: block.begin, hashes: Vec::new(), ..lie };
        }
        lie.data = vec![0xff; block.length as usize].into();
        leecher.hears(liar, extended(lie));
    }
    assert_eq!(leecher.torrent.picker().have().count(), 0);
    assert_eq!(leecher.closed, [CloseReason::Corrupt]);
}

#[test]
fn who_takes_no_hash_pieces_is_rejected_and_costs_nobody_else_anything() {
    let mut seed = Peer::new(SEED, |_| {});
    let other = Handshake::new(INFO_HASH, PeerId([9; 20])).with_extensions().with_fast();
    let silent = seed.torrent.accept(([10, 0, 0, 9], 50_000).into(), Time::ZERO).unwrap();
    seed.hears_bytes(silent, &other.encode());
    seed.hears(silent, Message::HaveNone);
    seed.hears(silent, Message::Interested);
    seed.hears(silent, Message::Request(layout().block(0, 0)));
    let rejected = seed.said(|message| matches!(message, Message::Reject(_)));
    assert_eq!(rejected, [Message::Reject(layout().block(0, 0))]);

    let mut leecher = Peer::new(LEECHER, |_| {});
    let dialled = leecher.meets([10, 0, 0, 2], SEED);
    let taken = seed.torrent.accept(([10, 0, 0, 1], 50_000).into(), Time::ZERO).unwrap();
    // Each has heard the other's opening already, but for what it says from here on.
    leecher.sent.clear();
    let hello = Handshake::new(INFO_HASH, PeerId([LEECHER; 20]));
    seed.hears_bytes(taken, &hello.with_extensions().with_fast().encode());
    seed.hears(taken, Message::HaveNone);
    seed.hears_of_extensions(taken, &[("Tr_hashpiece", 250)]);
    seed.hears(taken, Message::Interested);
    leecher.hears_of_extensions(dialled, &[("Tr_hashpiece", 250)]);
    leecher.hears(dialled, Message::Unchoke);
    seed.sent.clear();
    converse((&mut leecher, dialled), (&mut seed, taken));
    assert!(leecher.torrent.is_complete());
    assert_eq!(seed.torrent.upload_turns(), (None, Vec::new()));
}
