//! Torrents talking to each other in memory: what must hold between peers,
//! whatever carries their bytes.

mod dont_have;
mod priority;
mod super_seed;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use reseed_protocol::{
    BLOCK_LENGTH, Bitfield, Block, BlockState, ConnectionId, Forwarding, Layout, PeerId, Time,
    Video,
    torrent::{CloseReason, Config, Event, Frame, Input, Output, Speaker, Spoken, Torrent},
    tracker::Announcer,
    wire::Message,
};

use crate::{INFO_HASH, start};

/// One way, between any two peers.
const LATENCY: Duration = Duration::from_millis(50);

struct Node {
    torrent: Torrent,
    rng: ChaCha8Rng,
    /// Connections that are open, and their other ends.
    links: BTreeMap<ConnectionId, (usize, ConnectionId)>,
    events: Vec<(Time, Event)>,
    spoken: Vec<Spoken>,
    /// Blocks that come out of the disk spoilt.
    spoilt: BTreeSet<u32>,
    /// Pieces that cannot be read.
    unreadable: BTreeSet<u32>,
    received: BTreeMap<Block, Bytes>,
}

enum Happening {
    Input(usize, Input),
    Open { from: usize, connection: ConnectionId, to: SocketAddr },
}

struct Swarm {
    now: Time,
    layout: Layout,
    nodes: Vec<Node>,
    queue: BTreeMap<(Time, u64), Happening>,
    sequence: u64,
}

fn addr(node: usize) -> SocketAddr {
    SocketAddr::new([10, 0, 0, node as u8 + 1].into(), 6881)
}

/// The byte at `offset` of the content.
fn byte(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

impl Swarm {
    fn new(layout: Layout) -> Swarm {
        Swarm { now: Time::ZERO, layout, nodes: Vec::new(), queue: BTreeMap::new(), sequence: 0 }
    }

    fn add(&mut self, have: Bitfield, change: impl FnOnce(&mut Config)) -> usize {
        let node = self.nodes.len();
        let mut rng = ChaCha8Rng::seed_from_u64(node as u64);
        let mut config = Config::new(PeerId::generate(&mut rng), 6881);
        config.transcript = true;
        change(&mut config);
        let start = start(self.layout, have);
        let torrent = Torrent::new(config, start, self.now, &mut rng);
        self.nodes.push(Node {
            torrent,
            rng,
            links: BTreeMap::new(),
            events: Vec::new(),
            spoken: Vec::new(),
            spoilt: BTreeSet::new(),
            unreadable: BTreeSet::new(),
            received: BTreeMap::new(),
        });
        node
    }

    fn seed(&mut self) -> usize {
        self.add(Bitfield::full(self.layout.pieces()), |_| {})
    }

    fn leecher(&mut self) -> usize {
        self.add(Bitfield::empty(self.layout.pieces()), |_| {})
    }

    fn introduce(&mut self, node: usize, to: usize) {
        self.push(self.now, Happening::Input(node, Input::AddPeers { addrs: vec![addr(to)] }));
    }

    fn push(&mut self, at: Time, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), happening);
    }

    fn run_until(&mut self, end: Time) {
        loop {
            let timers = self.nodes.iter().enumerate();
            let timer = timers
                .filter_map(|(node, it)| it.torrent.poll_timeout().map(|at| (at, node)))
                .min();
            let queued = self.queue.first_key_value().map(|(&(at, _), _)| at);
            match (queued, timer) {
                (Some(at), timer) if timer.is_none_or(|(due, _)| at <= due) && at <= end => {
                    self.now = self.now.max(at);
                    let (_, happening) = self.queue.pop_first().expect("it was there");
                    self.happen(happening);
                }
                (_, Some((due, node))) if due <= end => {
                    self.now = self.now.max(due);
                    self.input(node, Input::Timeout);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Input(node, input) => self.input(node, input),
            Happening::Open { from, connection, to } => {
                let target = (0..self.nodes.len()).find(|node| addr(*node) == to);
                let source = SocketAddr::new(addr(from).ip(), 50_000 + connection.0 as u16);
                let Some(target) = target else { return };
                let remote = match self.nodes[target].torrent.accept(source, self.now) {
                    Ok(remote) => remote,
                    Err(_) => return self.input(from, Input::Lost { connection }),
                };
                self.nodes[from].links.insert(connection, (target, remote));
                self.nodes[target].links.insert(remote, (from, connection));
                self.input(from, Input::Dialled { connection });
            }
        }
    }

    fn input(&mut self, node: usize, input: Input) {
        let now = self.now;
        let it = &mut self.nodes[node];
        it.torrent.handle(input, now, &mut it.rng);
        it.torrent.picker().check().unwrap();
        while let Some(output) = self.nodes[node].torrent.poll_output() {
            self.output(node, output);
        }
    }

    fn output(&mut self, node: usize, output: Output) {
        let (now, later) = (self.now, self.now + LATENCY);
        let it = &mut self.nodes[node];
        match output {
            Output::Dial { connection, addr } => {
                self.push(later, Happening::Open { from: node, connection, to: addr });
            }
            Output::Send { connection, bytes } => {
                let flushed = Input::Flushed { connection, bytes: bytes.len() };
                let link = it.links.get(&connection).copied();
                self.push(now, Happening::Input(node, flushed));
                if let Some((remote, connection)) = link {
                    let bytes = BytesMut::from(bytes.to_bytes());
                    let received = Input::Received { connection, bytes };
                    self.push(later, Happening::Input(remote, received));
                }
            }
            Output::Close { connection } => {
                if let Some((remote, connection)) = it.links.remove(&connection) {
                    self.push(later, Happening::Input(remote, Input::Lost { connection }));
                }
            }
            Output::ReadBlock { connection, block } => {
                let start = self.layout.offset_of(block.piece) + u64::from(block.begin);
                let spoil = u8::from(it.spoilt.contains(&block.piece));
                let data = (start..start + u64::from(block.length)).map(|at| byte(at) ^ spoil);
                let data = match it.unreadable.contains(&block.piece) {
                    true => Err("a bad sector".to_owned()),
                    false => Ok(data.collect()),
                };
                self.push(
                    now,
                    Happening::Input(node, Input::BlockRead { connection, block, data }),
                );
            }
            Output::WriteBlock { block, data } => {
                it.received.insert(block, data);
            }
            Output::CheckPiece { piece, .. } => {
                // What is written anew can be read.
                it.unreadable.remove(&piece);
                let start = self.layout.offset_of(piece);
                let valid = self.layout.blocks(piece).all(|block| {
                    let begin = start + u64::from(block.begin);
                    it.received[&block].iter().zip(begin..).all(|(got, at)| *got == byte(at))
                });
                self.push(now, Happening::Input(node, Input::PieceChecked { piece, valid }));
            }
            Output::Event(event) => it.events.push((now, event)),
            Output::Spoken(spoken) => it.spoken.push(spoken),
            other => panic!("unexpected {other:?}"),
        }
    }

    fn is_complete(&self, node: usize) -> bool {
        self.nodes[node].torrent.is_complete()
    }

    fn said(&self, node: usize, wanted: impl Fn(&Message) -> bool) -> usize {
        let said = self.nodes[node].spoken.iter();
        said.filter(|said| {
            said.by == Speaker::Us && matches!(&said.frame, Frame::Message(it) if wanted(it))
        })
        .count()
    }

    fn closed(&self, node: usize) -> Vec<CloseReason> {
        let events = self.nodes[node].events.iter();
        events
            .filter_map(|(_, event)| match event {
                Event::Disconnected { reason, .. } => Some(reason.clone()),
                _ => None,
            })
            .collect()
    }

    fn established(&self, node: usize) -> usize {
        let connections = self.nodes[node].torrent.connections();
        connections.filter(|connection| connection.is_established()).count()
    }
}

fn secs(seconds: u64) -> Time {
    Time::from_secs(seconds)
}

fn layout() -> Layout {
    Layout::new(40_000, 20 * 40_000 + 1)
}

#[test]
fn a_leecher_gets_everything_from_a_seed() {
    let mut swarm = Swarm::new(layout());
    let (seed, leecher) = (swarm.seed(), swarm.leecher());
    swarm.introduce(leecher, seed);
    swarm.run_until(secs(60));
    assert!(swarm.is_complete(leecher));
    let blocks: u32 = (0..layout().pieces()).map(|piece| layout().blocks_in(piece)).sum();
    let requests = swarm.said(leecher, |message| matches!(message, Message::Request(_)));
    assert_eq!(requests, blocks as usize, "every block is asked for once");
    assert_eq!(swarm.nodes[leecher].torrent.redundant(), 0);
}

#[test]
fn leechers_feed_each_other() {
    let mut swarm = Swarm::new(layout());
    let seed = swarm.add(Bitfield::full(layout().pieces()), |config| config.upload_slots = 1);
    let leechers: Vec<usize> = (0..4).map(|_| swarm.leecher()).collect();
    for (at, leecher) in leechers.iter().enumerate() {
        swarm.introduce(*leecher, seed);
        for other in &leechers[..at] {
            swarm.introduce(*leecher, *other);
        }
    }
    swarm.run_until(secs(300));
    let given = |node: usize| swarm.nodes[node].torrent.uploaded();
    for leecher in &leechers {
        assert!(swarm.is_complete(*leecher), "{leecher}");
    }
    assert!(leechers.iter().any(|leecher| given(*leecher) > 0));
}

#[test]
fn of_two_connections_between_two_peers_exactly_one_stays() {
    for pieces in [0, 1] {
        let mut swarm = Swarm::new(layout());
        let mut have = Bitfield::empty(layout().pieces());
        (0..pieces).for_each(|piece| _ = have.insert(piece));
        let (a, b) = (swarm.leecher(), swarm.add(have, |_| {}));
        swarm.introduce(a, b);
        swarm.introduce(b, a);
        swarm.run_until(secs(5));
        assert_eq!((swarm.established(a), swarm.established(b)), (1, 1));
        let duplicate = |reason: &CloseReason| matches!(reason, CloseReason::Duplicate { .. });
        assert!(swarm.closed(a).iter().chain(&swarm.closed(b)).any(duplicate));
        swarm.run_until(secs(600));
        assert_eq!((swarm.established(a), swarm.established(b)), (1, 1), "and it stays");
    }
}

#[test]
fn a_connection_to_oneself_is_closed_and_never_tried_again() {
    let mut swarm = Swarm::new(layout());
    let node = swarm.leecher();
    swarm.introduce(node, node);
    swarm.run_until(secs(1000));
    let own = |reason: &CloseReason| *reason == CloseReason::SelfConnection;
    assert!(swarm.closed(node).iter().filter(|reason| own(reason)).count() >= 1);
    assert!(swarm.closed(node).len() <= 2, "one connection, both of its ends");
    assert_eq!(swarm.established(node), 0);
}

#[test]
fn a_silent_connection_is_kept_alive_every_hundred_seconds() {
    let mut swarm = Swarm::new(layout());
    let (a, b) = (swarm.leecher(), swarm.leecher());
    for node in [a, b] {
        assert_eq!(node, [a, b][node]);
    }
    swarm.introduce(a, b);
    swarm.run_until(secs(1000));
    assert_eq!((swarm.established(a), swarm.established(b)), (1, 1));
    let keepalives = swarm.said(a, |message| *message == Message::KeepAlive);
    assert!((8..=10).contains(&keepalives), "{keepalives} in 1000 s");
}

#[test]
fn who_goes_silent_is_dropped() {
    let mut swarm = Swarm::new(layout());
    let (a, b) = (swarm.leecher(), swarm.leecher());
    swarm.introduce(a, b);
    swarm.run_until(secs(1));
    swarm.nodes[b].links.clear();
    swarm.nodes[a].links.clear();
    swarm.run_until(secs(170));
    assert_eq!(swarm.established(a), 1, "two minutes of silence are nothing");
    swarm.run_until(secs(185));
    assert_eq!(swarm.closed(a), [CloseReason::Idle]);
}

#[test]
fn a_dial_and_a_handshake_that_take_too_long_are_given_up() {
    let mut swarm = Swarm::new(layout());
    let node = swarm.leecher();
    let nobody: SocketAddr = "10.9.9.9:1".parse().unwrap();
    swarm.push(Time::ZERO, Happening::Input(node, Input::AddPeers { addrs: vec![nobody] }));
    let silent = swarm.nodes[node].torrent.accept("10.9.9.8:1".parse().unwrap(), Time::ZERO);
    assert!(silent.is_ok());
    swarm.run_until(secs(16));
    assert_eq!(swarm.closed(node), [CloseReason::HandshakeTimeout, CloseReason::DialTimeout]);
    let at = |nth: usize| swarm.nodes[node].events[nth].0;
    assert_eq!((at(0), at(1)), (secs(10), secs(15)));
}

#[test]
fn requests_that_nobody_answers_go_to_somebody_else() {
    let mut swarm = Swarm::new(layout());
    let (silent, seed, leecher) = (swarm.seed(), swarm.seed(), swarm.leecher());
    swarm.introduce(leecher, silent);
    swarm.run_until(Time::from_epoch(Duration::from_millis(320)));
    assert!(swarm.said(leecher, |message| matches!(message, Message::Request(_))) > 0);
    swarm.nodes[silent].links.clear();
    swarm.introduce(leecher, seed);
    swarm.run_until(secs(30));
    swarm.run_until(secs(90));
    assert!(swarm.is_complete(leecher));
}

#[test]
fn what_a_silent_remote_did_not_bring_is_asked_of_others_before_it_is_asked_again() {
    let layout = Layout::new(7 * BLOCK_LENGTH, 99 * 7 * u64::from(BLOCK_LENGTH));
    let mut swarm = Swarm::new(layout);
    let mut add = |have| swarm.add(have, |config| config.pex = false);
    let silent = add(Bitfield::full(layout.pieces()));
    let leecher = add(Bitfield::empty(layout.pieces()));
    swarm.introduce(leecher, silent);
    // Some blocks have come, and the rest of their pieces has been asked for.
    swarm.run_until(Time::from_epoch(Duration::from_millis(420)));
    swarm.nodes[silent].links.clear();
    let picker = swarm.nodes[leecher].torrent.picker();
    let stands = |piece: u32, states: fn(&BlockState<'_>) -> bool| {
        layout.blocks(piece).any(|block| states(&picker.block_state(block)))
    };
    let begun = (0..layout.pieces()).filter(|piece| {
        stands(*piece, |state| *state == BlockState::Received)
            && stands(*piece, |state| matches!(state, BlockState::InFlight(_)))
    });
    assert_eq!(begun.count(), 1);
    // There is always more to ask the silent one for: of some pieces it has the only copy.
    let mut have = Bitfield::full(layout.pieces());
    let idle =
        |piece: &u32| layout.blocks(*piece).all(|it| picker.block_state(it) == BlockState::Free);
    (0..layout.pieces()).filter(idle).take(5).for_each(|piece| _ = have.remove(piece));
    let other = swarm.add(have.clone(), |config| config.pex = false);
    swarm.introduce(leecher, other);
    swarm.run_until(secs(59));
    assert!(!swarm.is_complete(leecher));
    swarm.run_until(secs(70));
    assert_eq!(swarm.established(leecher), 2);
    assert_eq!(*swarm.nodes[leecher].torrent.picker().have(), have);
}

#[test]
fn who_sends_a_whole_corrupt_piece_is_dropped_and_the_piece_comes_from_another() {
    let mut swarm = Swarm::new(layout());
    let (liar, seed, leecher) = (swarm.seed(), swarm.seed(), swarm.leecher());
    swarm.nodes[liar].spoilt = (0..layout().pieces()).collect();
    swarm.introduce(leecher, liar);
    swarm.run_until(secs(2));
    assert!(swarm.closed(leecher).contains(&CloseReason::Corrupt));
    swarm.introduce(leecher, seed);
    swarm.run_until(secs(60));
    assert!(swarm.is_complete(leecher));
    let reconnected = swarm.nodes[leecher].events.iter().filter(|(_, event)| {
        matches!(event, Event::Connected { addr, .. } if addr.ip() == self::addr(liar).ip())
    });
    assert_eq!(reconnected.count(), 1, "it is banned");
}

#[test]
fn peers_learn_of_each_other_by_exchange() {
    let mut swarm = Swarm::new(layout());
    let (hub, a, b) = (swarm.leecher(), swarm.leecher(), swarm.leecher());
    swarm.introduce(a, hub);
    swarm.introduce(b, hub);
    swarm.run_until(secs(130));
    assert_eq!(swarm.established(a), 2, "a knows b through the hub");
    assert_eq!(swarm.established(b), 2);
}

#[test]
fn with_peer_exchange_off_nobody_learns_anything() {
    let mut swarm = Swarm::new(layout());
    let hub = swarm.add(Bitfield::empty(layout().pieces()), |config| config.pex = false);
    let (a, b) = (swarm.leecher(), swarm.leecher());
    swarm.introduce(a, hub);
    swarm.introduce(b, hub);
    swarm.run_until(secs(600));
    assert_eq!((swarm.established(a), swarm.established(b)), (1, 1));
}

#[test]
fn two_complete_peers_part_and_leave_each_other_in_peace() {
    let mut swarm = Swarm::new(layout());
    let (a, b) = (swarm.seed(), swarm.seed());
    swarm.introduce(a, b);
    swarm.run_until(secs(1800));
    let met = |node: usize| {
        let events = swarm.nodes[node].events.iter();
        events.filter(|(_, event)| matches!(event, Event::Connected { .. })).count()
    };
    assert_eq!((met(a), met(b)), (1, 1));
    assert_eq!(swarm.established(a), 0);
}

#[test]
fn any_bytes_cost_at_most_the_connection_that_they_came_on() {
    use proptest::prelude::*;
    proptest!(ProptestConfig::with_cases(64), |(bytes: Vec<u8>, handshake: bool)| {
        let mut swarm = Swarm::new(layout());
        let (seed, leecher) = (swarm.seed(), swarm.leecher());
        swarm.introduce(leecher, seed);
        swarm.run_until(secs(1));
        let hostile = "10.9.9.9:999".parse().unwrap();
        let connection = swarm.nodes[leecher].torrent.accept(hostile, swarm.now).unwrap();
        let mut all = BytesMut::new();
        if handshake {
            let id = PeerId([b'x'; 20]);
            let hello = reseed_protocol::wire::Handshake::new(INFO_HASH, id);
            all.extend_from_slice(&hello.with_fast().with_extensions().encode());
        }
        all.extend_from_slice(&bytes);
        swarm.input(leecher, Input::Received { connection, bytes: all });
        swarm.run_until(secs(120));
        prop_assert!(swarm.is_complete(leecher));
        prop_assert!(swarm.closed(leecher).len() <= 2);
    });
}

/// A remote without the fast extension that is connected to `node`, and interested.
fn plain_remote(swarm: &mut Swarm, node: usize, name: u8) -> ConnectionId {
    let from = SocketAddr::new([10, 9, 9, name].into(), 999);
    let connection = swarm.nodes[node].torrent.accept(from, swarm.now).unwrap();
    let mut bytes = BytesMut::new();
    let hello = reseed_protocol::wire::Handshake::new(INFO_HASH, PeerId([name; 20]));
    bytes.extend_from_slice(&hello.encode());
    Message::Interested.encode(&mut bytes);
    swarm.input(node, Input::Received { connection, bytes });
    swarm.run_until(swarm.now + Duration::from_secs(1));
    connection
}

fn chokes(swarm: &Swarm, node: usize, connection: ConnectionId) -> bool {
    swarm.nodes[node].torrent.connection(connection).unwrap().is_choking()
}

#[test]
fn a_slot_whose_holder_leaves_or_wants_nothing_more_is_given_to_who_waits_for_one() {
    let leaves: [fn(ConnectionId) -> Input; 2] = [
        |connection| Input::Lost { connection },
        |connection| {
            let mut bytes = BytesMut::new();
            Message::NotInterested.encode(&mut bytes);
            Input::Received { connection, bytes }
        },
    ];
    for leave in leaves {
        let mut swarm = Swarm::new(layout());
        let seed = swarm.add(Bitfield::full(layout().pieces()), |config| config.upload_slots = 1);
        let first = plain_remote(&mut swarm, seed, b'x');
        let second = plain_remote(&mut swarm, seed, b'y');
        let waits = |swarm: &Swarm, connection| chokes(swarm, seed, connection);
        assert!(!waits(&swarm, first) && waits(&swarm, second));
        swarm.input(seed, leave(first));
        // At once, and not when the next round comes.
        swarm.run_until(swarm.now + Duration::from_millis(1));
        assert!(!waits(&swarm, second));
    }
}

#[test]
fn a_request_that_is_cancelled_while_its_block_is_read_gets_no_piece() {
    let mut swarm = Swarm::new(layout());
    let seed = swarm.seed();
    let connection = plain_remote(&mut swarm, seed, b'x');
    assert!(!chokes(&swarm, seed, connection));
    let block = layout().block(3, 1);
    let mut bytes = BytesMut::new();
    Message::Request(block).encode(&mut bytes);
    Message::Cancel(block).encode(&mut bytes);
    swarm.input(seed, Input::Received { connection, bytes });
    swarm.run_until(swarm.now + Duration::from_secs(5));
    assert_eq!(swarm.said(seed, |message| matches!(message, Message::Piece { .. })), 0);

    let mut again = BytesMut::new();
    Message::Request(block).encode(&mut again);
    swarm.input(seed, Input::Received { connection, bytes: again });
    swarm.run_until(swarm.now + Duration::from_secs(5));
    assert_eq!(swarm.said(seed, |message| matches!(message, Message::Piece { .. })), 1);
}

#[test]
fn at_its_limit_of_connections_a_torrent_waits_for_one_to_end_and_not_for_the_clock() {
    let mut swarm = Swarm::new(layout());
    let (a, b) = (swarm.leecher(), swarm.leecher());
    let full = swarm.add(Bitfield::empty(layout().pieces()), |config| config.connections_max = 1);
    swarm.introduce(full, a);
    swarm.introduce(full, b);
    swarm.run_until(secs(5));
    assert_eq!(swarm.established(full), 1);
    for second in 5..200 {
        swarm.run_until(secs(second));
        let next = swarm.nodes[full].torrent.poll_timeout();
        assert!(next.is_some_and(|at| at > swarm.now), "{second}: it would spin");
    }
    let connected = if swarm.established(a) == 1 { a } else { b };
    swarm.input(connected, Input::Stop { grace: Announcer::STOP_GRACE });
    swarm.run_until(secs(210));
    assert_eq!(swarm.established(full), 1, "the other one has been dialled");
}

/// A swarm in which a source feeds one peer, and that one another: what the source
/// hears of the one between, with the source's and the last one's wish to stream.
fn forwarded(source_streams: bool, last_streams: bool) -> (Option<Forwarding>, usize) {
    let mut swarm = Swarm::new(layout());
    let video = Video { offset: 0, length: layout().total_length(), bitrate: 100_000 };
    let stream =
        |streams: bool| move |config: &mut Config| config.stream = streams.then_some(video);
    let (full, empty) = (Bitfield::full(layout().pieces()), Bitfield::empty(layout().pieces()));
    let source = swarm.add(full, stream(source_streams));
    let between = swarm.add(empty.clone(), |config| {
        stream(true)(config);
        config.pex = false;
    });
    let last = swarm.add(empty, stream(last_streams));
    swarm.introduce(between, source);
    swarm.introduce(last, between);
    let (mut most, mut reports) = (None, 0);
    for tick in 1..1_500 {
        swarm.run_until(Time::from_epoch(Duration::from_millis(tick * 20)));
        let torrent = &swarm.nodes[source].torrent;
        most = most.max(torrent.connections().find_map(|it| it.forwarding(swarm.now)));
        reports = swarm.said(between, |it| matches!(it, Message::Extended { id: 235, .. }));
    }
    assert!(swarm.is_complete(last));
    (most, reports)
}

#[test]
fn a_source_hears_what_is_passed_on_of_what_it_gave() {
    let (heard, reports) = forwarded(true, true);
    let Forwarding { ours, overall } = heard.expect("both stream");
    assert!(ours > 0 && overall >= ours, "{ours} of {overall}");
    assert!(reports > 0 && reports <= 2 * 30 / 4, "{reports} reports in half a minute");
}

#[test]
fn what_is_passed_on_is_told_to_those_who_stream_and_nobody_else() {
    assert_eq!(forwarded(false, false), (None, 0));
    let (heard, reports) = forwarded(true, false);
    assert!(heard.is_some_and(|heard| heard.overall > 0) && reports > 0, "the source hears of it");
    assert_eq!(forwarded(false, true).0, None);
}
