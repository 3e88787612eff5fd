//! How many instructions it takes, under valgrind: `.ci/instructions` holds the counts
//! against those that are written down.
#![allow(missing_docs, reason = "gungraun's macros make public items")]

use std::hint::black_box;

use bytes::Bytes;
use gungraun::{library_benchmark, library_benchmark_group, main};
use reseed_bench::{Picking, messages, picking, small_swarm, ticking};
use reseed_sim::{Content, Engine, Plan, World};

#[library_benchmark]
#[bench::few(picking(10, 2))]
#[bench::usual(picking(1_000, 50))]
#[bench::many_pieces(picking(100_000, 2))]
#[bench::many_remotes(picking(1_000, 500))]
fn pick(mut swarm: Picking) -> usize {
    black_box(reseed_bench::pick(&mut swarm))
}

#[library_benchmark]
#[bench::thousand(messages())]
fn decode(stream: Bytes) -> usize {
    black_box(reseed_bench::decode(&stream))
}

#[library_benchmark]
fn encode() -> Bytes {
    black_box(messages())
}

#[library_benchmark]
#[bench::hundred(ticking(100))]
fn tick(world: World) -> u64 {
    black_box(reseed_bench::tick(world))
}

#[library_benchmark]
#[bench::native(small_swarm(), Engine::Native)]
#[bench::turmoil_net(small_swarm(), Engine::TurmoilNet)]
fn share(swarm: (Plan, Content), engine: Engine) -> u64 {
    black_box(reseed_bench::share(&swarm, engine))
}

library_benchmark_group!(name = all; benchmarks = pick, decode, encode, tick, share);
main!(library_benchmark_groups = all);
