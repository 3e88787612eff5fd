//! One seed, one run.

use std::{net::SocketAddr, rc::Rc};

use rand::RngExt;
use reseed_client::{Env, Network};
use reseed_protocol::Time;
use reseed_sim::{Fate, HostId, HostLink, Impairment, Link, PacketSummary, WorldOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::options;
use crate::common::{Digest, PORT, address, millis, slot, spawn_sink, spawn_source, world};

struct Loss(rand_chacha::ChaCha8Rng);

impl Impairment for Loss {
    fn fate(&mut self, _: Time, _: &PacketSummary, _: HostId, _: Option<HostId>) -> Fate {
        if self.0.random_bool(0.01) { Fate::Lose } else { Fate::Pass }
    }
}

/// Eight hosts that dial each other at random and send at random, over links
/// with everything, and a crash; returns the hash and the number of events.
fn run(seed: u64) -> (u64, u64) {
    let options = WorldOptions { seed, perturbation: 0.3, ..options() };
    let link = Link {
        latency: millis(20),
        jitter: millis(10),
        bandwidth: Some(2_000_000),
        queue: Some(50_000),
    };
    let (mut world, hosts) = world(options, 8, HostLink::symmetric(link));
    world.set_impairment(Box::new(Loss(world.streams().stream("loss"))));
    let digest = Rc::new(Digest::default());
    world.set_recorder(digest.clone());
    for host in &hosts {
        spawn_sink(host, slot());
        for _ in 0..3 {
            let (env, network) = (host.env(), host.network());
            host.spawn("peer", async move {
                let mut rng = env.rng("peer");
                loop {
                    env.sleep_until(env.now() + millis(rng.random_range(0..100))).await;
                    let to = SocketAddr::new(address(rng.random_range(0..8)).ip(), PORT);
                    let Ok(mut stream) = network.connect(to).await else {
                        continue;
                    };
                    let length = rng.random_range(0..100_000);
                    if stream.write_all(&vec![1; length]).await.is_ok() {
                        let _ = stream.shutdown().await;
                        let _ = stream.read(&mut [0; 1]).await;
                    }
                }
            });
        }
    }
    world.run_until(Time::from_secs(1)).unwrap();
    world.crash(HostId(3));
    world.run_until(Time::from_secs(2)).unwrap();
    spawn_sink(&world.revive(HostId(3)), slot());
    world.run_until(Time::from_secs(3)).unwrap();
    assert_eq!(world.panics(), []);
    assert!(world.wire_stats().lost > 10);
    (digest.value(), digest.events.get())
}

#[test]
fn the_same_seed_gives_the_same_events_fifty_times_in_one_process() {
    let first = run(1);
    assert!(first.1 > 5000, "{} events", first.1);
    for repetition in 0..50 {
        assert_eq!(run(1), first, "repetition {repetition}");
    }
}

#[test]
fn different_seeds_give_different_events() {
    let mut hashes: Vec<u64> = (0..10).map(|seed| run(seed).0).collect();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), 10);
}

#[test]
fn perturbation_alone_changes_the_order() {
    let run = |perturbation| {
        let options = WorldOptions { seed: 5, perturbation, ..options() };
        let (mut world, hosts) = world(options, 4, HostLink::with_latency(millis(10)));
        let digest = Rc::new(Digest::default());
        world.set_recorder(digest.clone());
        for host in &hosts {
            spawn_sink(host, slot());
            for to in 0..4 {
                spawn_source(host, address(to), 10_000);
            }
        }
        world.run_until(Time::from_secs(3)).unwrap();
        digest.value()
    };
    assert_ne!(run(0.0), run(0.5));
}
