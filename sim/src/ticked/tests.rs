//! What the tests of this engine share.

mod determinism;
mod power;
mod run;
mod streams;

use std::{
    cell::{Cell, RefCell},
    future::pending,
    hash::Hash,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
};

use rand::Rng;
use reseed_client::{Env, Listener, Network};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xxhash_rust::xxh3::Xxh3;

use super::*;
use crate::{Direction, Link, StreamId};

const PORT: u16 = 6881;
/// Bytes that one write passes.
const WRITE: usize = 64 * 1024;
const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT);

fn ip(index: usize) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0001 + index as u32).into()
}

fn at(index: usize) -> SocketAddr {
    SocketAddr::new(ip(index), PORT)
}

fn millis(millis: u64) -> Time {
    Time::from_epoch(Duration::from_millis(millis))
}

fn link(latency: u64, jitter: u64) -> HostLink {
    let [latency, jitter] = [latency, jitter].map(Duration::from_millis);
    HostLink::symmetric(Link { latency, jitter, ..Link::default() })
}

/// A stage with hosts `h0`, `h1` and so on.
fn stage_with(options: TickedOptions, count: usize, link: HostLink) -> (TickedStage, Vec<Place>) {
    let mut stage = TickedStage::new(options);
    let hosts = (0..count).map(|index| stage.add_host(&format!("h{index}"), ip(index), link));
    let hosts = hosts.collect();
    (stage, hosts)
}

fn stage(count: usize, one_way: u64) -> (TickedStage, Vec<Place>) {
    stage_with(TickedOptions::default(), count, link(one_way / 2, 0))
}

fn start<F: Future<Output = ()> + 'static>(
    stage: &mut TickedStage,
    host: Place,
    software: impl FnOnce(TickedEnv, TickedNetwork) -> F,
) {
    stage.start(host, |env, network, _| Box::pin(software(env, network)));
}

fn run(stage: &mut TickedStage, until: Time) {
    assert_eq!(stage.run_until(until, &|| false), Paused::Time);
    assert_eq!(stage.panics(), Vec::<String>::new());
}

fn slot<T>() -> Rc<RefCell<Option<T>>> {
    Rc::default()
}

/// Accepts for ever; each connection is read to its end, which it is told.
fn start_sink(stage: &mut TickedStage, host: Place) -> Rc<RefCell<Vec<(Time, String)>>> {
    let ends: Rc<RefCell<Vec<_>>> = Rc::default();
    let told = ends.clone();
    start(stage, host, |env, network| async move {
        let mut listener = network.listen(ANY).await.unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (clock, told) = (env.clone(), told.clone());
            env.spawn("reader", async move {
                let mut bytes = Vec::new();
                let end = match stream.read_to_end(&mut bytes).await {
                    Ok(_) => format!("end after {}", bytes.len()),
                    Err(error) => format!("{:?} after {}", error.kind(), bytes.len()),
                };
                told.borrow_mut().push((clock.now(), end));
            });
        }
    });
    ends
}
