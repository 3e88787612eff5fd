//! How long it takes: `cargo bench -p reseed-bench --features clock --bench time`
#![allow(missing_docs, reason = "criterion's macros make public items")]

use criterion::{
    BatchSize::LargeInput, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use reseed_bench::{content, decode, messages, pick, picking, share, small_swarm, tick, ticking};
use reseed_sim::Engine;

fn picker(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("picker");
    for (pieces, remotes) in
        [(10, 2), (10, 500), (1_000, 2), (1_000, 50), (1_000, 500), (100_000, 2), (100_000, 500)]
    {
        let id = BenchmarkId::from_parameter(format!("{pieces} pieces, {remotes} remotes"));
        let swarm = picking(pieces, remotes);
        group.bench_function(id, |bench| {
            bench.iter_batched_ref(|| swarm.clone(), pick, LargeInput);
        });
    }
}

fn codec(criterion: &mut Criterion) {
    let stream = messages();
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Bytes(stream.len() as u64));
    group.bench_function("decode", |bench| bench.iter(|| decode(&stream)));
    group.bench_function("encode", |bench| bench.iter(messages));
}

fn hashing(criterion: &mut Criterion) {
    let storage = content();
    let mut group = criterion.benchmark_group("hashing pieces");
    for pieces in [&[0][..], &[0, 1], &[0, 1, 2, 3]] {
        let id = BenchmarkId::from_parameter(format!("{} at a time", pieces.len()));
        let length = storage.layout().piece_length();
        group.throughput(Throughput::Bytes(u64::from(length) * pieces.len() as u64));
        group.bench_function(id, |bench| bench.iter(|| storage.hash_pieces(pieces)));
    }
}

fn world(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("world");
    group.sample_size(20);
    for hosts in [100, 1_000] {
        let id = BenchmarkId::from_parameter(format!("{hosts} hosts tick for a minute"));
        group.bench_function(id, |bench| bench.iter(|| tick(ticking(hosts))));
    }
}

fn swarm(criterion: &mut Criterion) {
    let swarm = small_swarm();
    let mut group = criterion.benchmark_group("swarm");
    group.sample_size(20);
    group.bench_function("1 MiB, 5 peers", |bench| bench.iter(|| share(&swarm, Engine::Native)));
}

criterion_group!(benches, picker, codec, hashing, world, swarm);
criterion_main!(benches);
