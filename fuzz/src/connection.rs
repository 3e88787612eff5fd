//! A whole peer, driven by any bytes at any times.
//!
//! The input is a script: what the torrent is like, and then, step by step, which remote
//! says what, who comes and goes, how the time passes, what the tracker, the disk and
//! the player do. One remote is honest throughout. What must hold:
//!
//! - Nothing panics, and the picker's books are right after every step.
//! - What a connection, the peer table and the peer as a whole hold is bounded (I-MEM),
//!   and what the others' connections held is given back when they end.
//! - The honest one is neither dropped nor banned for anything that the others say, and
//!   once they are gone the download comes to its end with it (I-ROBUST).
//! - Only true pieces are taken for verified.
//! - Time goes on, and a stop comes to its end.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{LazyLock, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use reseed_protocol::{
    Bitfield, Block, ConnectionId, Defects, HashTree, InfoHash, Layout, PeerId, Time, Video,
    extension::closed_swarm::{Certificate, Membership, PrivateKey},
    torrent::{Config, Input as Happening, Start, Torrent},
};
use sha1::{Digest, Sha1};

use crate::input::{Ear, Input};

mod around;
mod check;
mod script;

/// Connections of others at a time (count).
const OTHERS_MAX: usize = 6;

/// Outputs that may follow one happening (count): a hundred times what is usual.
const OUTPUTS_MAX: usize = 20_000;

/// Times that a timer may be due at one instant (count).
const TIMEOUTS_AT_INSTANT_MAX: usize = 1000;

/// Bytes that a connection may hold beside a message that is coming in: what a remote has
/// not read yet (2 MiB), and its queues; as I-MEM of the simulator has it.
const CONNECTION_MAX: usize = 3 * 1024 * 1024;

/// Bytes of the heap that all else of a peer may take: its peer table, most of all.
const PEER_MAX: usize = 4 * 1024 * 1024;

/// How long the honest one may take for what is left of so small a torrent, in the worst
/// case: some rounds of request time-outs.
const FINISH_WITHIN: Duration = Duration::from_secs(1200);

/// Two pieces of metadata are given away, where any is (bytes).
const METADATA_LENGTH: usize = 20_000;

const INFO_HASH: InfoHash = InfoHash([7; 20]);
const OURS: PeerId = PeerId([1; 20]);
const HONEST: PeerId = PeerId([2; 20]);

static HEAP: OnceLock<fn() -> usize> = OnceLock::new();

/// From now on the heap is measured too: `heap` says how many bytes of it are in use. For
/// programs in which nothing else runs meanwhile.
pub fn measure(heap: fn() -> usize) {
    HEAP.get_or_init(|| heap);
}

/// The owner's key, and our own certificate: they take a while to make.
static KEYS: LazyLock<(PrivateKey, Membership)> = LazyLock::new(|| {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (owner, own) = (PrivateKey::generate(&mut rng), PrivateKey::generate(&mut rng));
    let certificate = Certificate::issue(&owner, INFO_HASH, own.public(), 0);
    (owner, Membership { certificate, key: own })
});

/// Runs the script that `bytes` are.
pub fn run(bytes: &[u8]) {
    run_with(bytes, Defects::NONE);
}

/// The same, with a peer that has these defects.
pub fn run_with(bytes: &[u8], defects: Defects) {
    LazyLock::force(&KEYS);
    let heap = HEAP.get().map(|heap| heap());
    let mut input = Input::new(bytes);
    let mut play = Play::new(&mut input, heap, defects);
    play.honest_comes();
    while !input.is_empty() {
        play.step(&mut input);
        play.check();
    }
    play.end();
}

/// The peer, and what is around it.
struct Play {
    torrent: Torrent,
    rng: ChaCha8Rng,
    now: Time,
    layout: Layout,
    fast: bool,
    tree: Option<HashTree>,
    /// Heap in use before the peer was there.
    heap: Option<usize>,
    /// What is still to be told to the torrent, in order.
    queue: VecDeque<Happening>,
    honest: Option<Honest>,
    others: BTreeMap<ConnectionId, Other>,
    /// Remotes that came in all (count).
    came: u8,
    dials: VecDeque<ConnectionId>,
    announces: usize,
    /// Blocks on the disk, and whether they are true.
    stored: BTreeMap<Block, bool>,
    disk_fails: bool,
    /// What the player has not taken yet.
    delivered: VecDeque<(u64, u64)>,
    streams: u64,
}

/// The remote that does all as it should.
struct Honest {
    connection: ConnectionId,
    ear: Ear,
}

/// Any other remote: it hears what we say, and it is as if it had not.
#[derive(Default)]
struct Other {
    ear: Ear,
    /// Bytes that it has not read yet.
    unread: usize,
}

fn content(block: Block, layout: Layout) -> Bytes {
    let start = layout.offset_of(block.piece) + u64::from(block.begin);
    (start..start + u64::from(block.length)).map(|at| (at * 31 % 251) as u8).collect()
}

fn tree(layout: Layout) -> HashTree {
    let hash = |piece| {
        let mut sum = Sha1::new();
        layout.blocks(piece).for_each(|block| sum.update(content(block, layout)));
        sum.finalize().into()
    };
    HashTree::from_pieces(&(0..layout.pieces()).map(hash).collect::<Vec<[u8; 20]>>())
}

impl Play {
    fn new(input: &mut Input<'_>, heap: Option<usize>, defects: Defects) -> Play {
        let (options, shape) = (input.byte(), input.byte());
        let option = |bit: u8| options & 1 << bit != 0;
        let piece_length = if shape & 1 == 0 { 16 * 1024 } else { 40_000 };
        let pieces = 1 + u64::from(shape >> 1 & 7);
        let layout = Layout::new(piece_length, pieces * u64::from(piece_length) - 1234);
        let mut have = Bitfield::empty(layout.pieces());
        let known = [0, 1, layout.pieces() / 2, layout.pieces()][usize::from(shape >> 4 & 3)];
        (0..known.min(layout.pieces())).for_each(|piece| _ = have.insert(piece));
        let tree = option(2).then(|| tree(layout));
        let hashes = tree.as_ref().map(|tree| {
            let whole = have.is_full();
            let mut known = HashTree::from_root(tree.root(), layout.pieces());
            for piece in have.iter() {
                let proof = tree.proof(piece).expect("the whole tree is known");
                known.learn(piece, &proof).expect("it is true");
            }
            if whole { tree.clone() } else { known }
        });
        let (closed, streams) = (option(3), option(4));
        let (owner, membership) = &*KEYS;
        let config = Config {
            fast: option(0),
            pex: option(1),
            membership: closed.then(|| membership.clone()),
            stream: streams.then(|| Video {
                offset: 0,
                length: layout.total_length(),
                bitrate: 20_000,
            }),
            transcript: shape & 1 << 6 != 0,
            request_queue_max: 20,
            upload_slots: 2,
            defects,
            ..Config::new(OURS, 6881)
        };
        let start = Start {
            info_hash: INFO_HASH,
            layout,
            private: option(5),
            torrent_keys: if closed { vec![owner.public()] } else { Vec::new() },
            have,
            hashes,
            announce: option(6),
            totals: (0, 0),
        };
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut torrent = Torrent::new(config, start, Time::ZERO, &mut rng);
        if shape & 1 << 7 != 0 {
            torrent = torrent.with_metadata(Bytes::from_static(&[7; METADATA_LENGTH]));
        }
        Play {
            torrent,
            rng,
            now: Time::ZERO,
            layout,
            fast: option(0),
            tree,
            heap,
            queue: VecDeque::new(),
            honest: None,
            others: BTreeMap::new(),
            came: 0,
            dials: VecDeque::new(),
            announces: 0,
            stored: BTreeMap::new(),
            disk_fails: option(7),
            delivered: VecDeque::new(),
            streams: 0,
        }
    }
}

/// Scripts that reach all of it.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for options in [0b0000_0011, 0, 0b0100_0111, 0b0001_0011, 0b0000_1011, 0b1010_0011] {
        for shape in [0b1000_1110, 0b0010_0111, 0b0111_0101, 0b1011_0100] {
            let steps: [&[u8]; 15] = [
                // Two come, and have something.
                &[17, 3, 0x23, 0xff],
                &[17, 4, 0x22, 0xa0],
                // One says who it is in its extension handshake, and who else is there.
                &[3, 0, 0, 24],
                b"d1:md6:ut_pexi3ee1:pi7ee",
                &[6, 200, 15],
                // Another wants the metadata.
                &[3, 1, 0, 24],
                b"d1:md11:ut_metadatai9eee",
                b"\x03\x01\x02\x19d8:msg_typei0e5:piecei1ee",
                // Blocks come, true and not, and are asked for.
                &[2, 0, 0, 0, 0, 2, 0, 1, 0, 1, 2, 1, 0, 0, 1],
                &[1, 0, 6, 0, 0, 4, 1, 1, 6, 0, 0, 4, 10, 1, 1, 0, 8, 0, 0, 4],
                &[7, 11, 12, 1, 11, 2, 5, 0x1a, 0xe1, 6, 0x1a, 0xe1, 12, 0, 13, 30, 1, 7, 1, 1],
                &[1, 0, 4, 1, 1, 1, 14, 8, 0x80, 0, 14, 80, 15, 16, 1],
                // The length of a message that is too long.
                &[5, 9, 4, 2, 0x33, 0, 2, 5, 0xff, 0xff, 0xff, 0xff, 7],
                // Somebody else who is we ourselves.
                &[5, 8, 4, 2, 0x03, 7, 120, 10, 0, 9, 1],
                &[7, 255, 1, 0, 0, 7, 70, 2, 0, 1, 0, 0],
            ];
            seeds.push([&[options, shape][..], &steps.concat()].concat());
        }
    }
    seeds
}
