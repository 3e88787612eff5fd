//! What is measured, by the clock and in instructions alike.

use std::{net::IpAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reseed::Swarm;
use reseed_client::{Env, MemoryDisk, Storage};
use reseed_protocol::{
    BLOCK_LENGTH, Bitfield, Block, ConnectionId, Layout, Picker, PickerOptions, Receipt, Time,
    wire::{Decoder, Message, message_cap},
};
use reseed_sim::{Content, Engine, HostLink, Plan, Verdict, World, WorldOptions, run};

/// Blocks of a piece in [`Picking`] (count).
const BLOCKS: u32 = 16;

#[derive(Clone)]
/// A picker, and remotes that each have some two thirds of the pieces.
pub struct Picking {
    picker: Picker,
    remotes: Vec<Bitfield>,
    rng: ChaCha8Rng,
}

/// Nobody has been asked for anything yet.
pub fn picking(pieces: u32, remotes: usize) -> Picking {
    let piece_length = BLOCKS * BLOCK_LENGTH;
    let layout = Layout::new(piece_length, u64::from(piece_length) * u64::from(pieces));
    let options = PickerOptions::default();
    let mut picker = Picker::new(layout, &Bitfield::empty(pieces), options);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut remote = || {
        let mut has = Bitfield::empty(pieces);
        for piece in 0..pieces {
            if rng.random_ratio(2, 3) {
                has.insert(piece);
            }
        }
        has
    };
    let remotes: Vec<Bitfield> = (0..remotes).map(|_| remote()).collect();
    remotes.iter().for_each(|has| picker.peer_has_all_of(has));
    Picking { picker, remotes, rng }
}

/// Four whole pieces.
pub fn content() -> Storage<MemoryDisk> {
    let (piece_length, pieces) = (BLOCKS * BLOCK_LENGTH, 4);
    let length = u64::from(piece_length) * pieces;
    let files = vec![("content".into(), length)];
    let disk = MemoryDisk::new(length);
    let storage = Storage::new(disk, files, Layout::new(piece_length, length));
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for piece in 0..pieces as u32 {
        let mut bytes = vec![0; piece_length as usize];
        rng.fill_bytes(&mut bytes);
        storage.write_block(piece, 0, &bytes).expect("there is room");
    }
    storage
}

/// 64 times, asks a remote for a piece's worth of blocks, and takes what it brings.
/// Returns how many blocks came.
pub fn pick(picking: &mut Picking) -> usize {
    let Picking { picker, remotes, rng } = picking;
    let mut came = 0;
    for turn in 0..64 {
        let remote = turn % remotes.len();
        let connection = ConnectionId(remote as u64 + 1);
        for block in picker.pick(connection, &remotes[remote], BLOCKS as usize, None, rng) {
            if let Receipt::Accepted { piece_complete: true, .. } =
                picker.received(connection, block)
            {
                picker.verified(block.piece);
            }
            came += 1;
        }
    }
    came
}

/// A thousand messages as they come in a download: a PIECE, the HAVEs and requests of
/// others.
pub fn messages() -> Bytes {
    let data = Bytes::from(vec![7; BLOCK_LENGTH as usize]);
    let mut stream = BytesMut::new();
    for number in 0..250 {
        let block = Block { piece: number, begin: 0, length: BLOCK_LENGTH };
        Message::Piece { piece: number, begin: 0, data: data.clone() }.encode(&mut stream);
        Message::Have { piece: number }.encode(&mut stream);
        Message::Request(block).encode(&mut stream);
        Message::Cancel(block).encode(&mut stream);
    }
    stream.freeze()
}

/// Reads `stream` in packets of an MTU, and returns how many messages are in it.
pub fn decode(stream: &Bytes) -> usize {
    let mut decoder = Decoder::new(message_cap(None));
    let mut messages = 0;
    for packet in stream.chunks(1460) {
        decoder.feed(packet);
        while let Some(message) = decoder.next_message().expect("it is well-formed") {
            std::hint::black_box(message);
            messages += 1;
        }
    }
    messages
}

/// So many hosts, each with a timer that fires each second.
pub fn ticking(hosts: u32) -> World {
    let mut world = World::new(WorldOptions::default());
    for number in 1..=hosts {
        let address = IpAddr::from([10, 0, (number >> 8) as u8, number as u8]);
        let link = HostLink::with_latency(Duration::from_millis(50));
        let host = world.add_host(&format!("host {number}"), [address], link);
        let env = host.env();
        host.spawn("timer", async move {
            loop {
                env.sleep_until(env.now() + Duration::from_secs(1)).await;
            }
        });
    }
    world
}

/// A minute of it; returns how often the world had something to do.
pub fn tick(mut world: World) -> u64 {
    world.run_until(Time::from_secs(60)).expect("there is no limit");
    world.steps()
}

/// A whole swarm of 1 MiB: a seed and four leechers.
pub fn small_swarm() -> (Plan, Content) {
    let plan = Swarm::Small.plan(5, 1);
    let content = Content::generate(&plan.torrent).expect("it can be made");
    (plan, content)
}

/// From its start to its verdict; returns how many events there were.
pub fn share((plan, content): &(Plan, Content), engine: Engine) -> u64 {
    let report = run(plan, content, engine, &mut ());
    assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.failure);
    report.events
}
