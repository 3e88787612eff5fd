//! How quick the world is: idle hosts, and bytes over connections.
//!
//! `cargo run --release -p reseed-sim --example speed`
#![allow(clippy::disallowed_methods, reason = "it measures the wall clock")]

use std::{
    cell::Cell,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use reseed_client::{Env, Listener, Network};
use reseed_protocol::Time;
use reseed_sim::{HostHandle, HostLink, Link, Stack, World, WorldOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PORT: u16 = 6881;

fn main() {
    for count in [100, 1000] {
        idle(count, Duration::from_secs(120), "keepalive only");
        idle(count, Duration::from_secs(1), "a 1 s tick each");
    }
    for stack in [Stack::TurmoilNet, Stack::Native] {
        for mtu in [1500, 16_384, 65_000] {
            bulk(stack, 2, 1, 16 << 20, mtu, None);
        }
        for mtu in [1500, 16_384] {
            bulk(stack, 10, 4, 4 << 20, mtu, None);
            bulk(stack, 10, 4, 4 << 20, mtu, Some(1_000_000));
            bulk(stack, 100, 8, 1 << 20, mtu, None);
            bulk(stack, 200, 20, 1 << 20, mtu, Some(1_000_000));
        }
    }
}

fn address(index: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0001 + index as u32)), PORT)
}

fn hosts(options: WorldOptions, count: usize) -> (World, Vec<HostHandle>) {
    let mut world = World::new(options);
    let link = HostLink::with_latency(Duration::from_millis(50));
    let add = |index| world.add_host(&format!("h{index}"), [address(index).ip()], link);
    let hosts = (0..count).map(add).collect();
    (world, hosts)
}

fn idle(count: usize, period: Duration, what: &str) {
    let (mut world, hosts) = hosts(WorldOptions::default(), count);
    for (index, host) in hosts.iter().enumerate() {
        let network = host.network();
        host.spawn("listener", async move {
            let mut listener = network.listen(address(index)).await.unwrap();
            let _ = listener.accept().await;
        });
        let env = host.env();
        host.spawn("keepalive", async move {
            env.sleep_until(Time::ZERO + period.mul_f64(index as f64 / 1000.0)).await;
            loop {
                env.sleep_until(env.now() + period).await;
            }
        });
    }
    let started = Instant::now();
    world.run_until(Time::from_secs(60)).unwrap();
    let wall = started.elapsed();
    println!("{count} idle hosts, 60 s, {what}: {wall:?}, {} steps", world.steps());
}

fn bulk(
    stack: Stack,
    count: usize,
    streams: usize,
    length: usize,
    mtu: u32,
    bandwidth: Option<u64>,
) {
    let options = WorldOptions { stack, mtu, ..WorldOptions::default() };
    let (mut world, hosts) = hosts(options, count);
    for host in world.hosts() {
        let HostLink { up, down } = world.link(host);
        let (up, down) = (Link { bandwidth, ..up }, Link { bandwidth, ..down });
        world.set_link(host, HostLink { up, down });
    }
    let received = Rc::new(Cell::new(0));
    for (index, host) in hosts.iter().enumerate() {
        let (env, network, total) = (host.env(), host.network(), received.clone());
        host.spawn("listener", async move {
            let mut listener = network.listen(address(index)).await.unwrap();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let total = total.clone();
                env.spawn("reader", async move {
                    let mut buffer = vec![0; 16 * 1024];
                    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                        total.set(total.get() + read);
                    }
                });
            }
        });
        for offset in 1..=streams {
            if count == 2 && index == 1 {
                continue;
            }
            let network = host.network();
            let to = address((index + offset) % count);
            host.spawn("writer", async move {
                let mut stream = network.connect(to).await.unwrap();
                let block = vec![1; 16 * 1024];
                for _ in 0..length / block.len() {
                    stream.write_all(&block).await.unwrap();
                }
                stream.shutdown().await.unwrap();
                let _ = stream.read(&mut [0; 1]).await;
            });
        }
    }
    let started = Instant::now();
    world.run_until(Time::from_secs(600)).unwrap();
    let wall = started.elapsed();
    let stats = world.wire_stats();
    let megabytes = received.get() as f64 / 1e6;
    println!(
        "{stack:?}: {count} hosts, {streams} streams each, MTU {mtu}, {bandwidth:?} B/s: {megabytes:.0} MB \
         in {wall:?}: {:.0} MB/s, {:.2} M packets/s, {} steps, {} flushes, {} merged",
        megabytes / wall.as_secs_f64(),
        stats.sent as f64 / wall.as_secs_f64() / 1e6,
        world.steps(),
        world.flushes(),
        stats.merged,
    );
}
