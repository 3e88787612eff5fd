//! turmoil-net's stack and our own, held against each other.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    hash::Hasher,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use rand::RngExt;
use reseed_client::{Env, Listener, Network};
use reseed_protocol::Time;
use reseed_sim::{
    Direction, Engine, HostLink, Link, Report, Stack, StreamId, Tap, Verdict, WorldOptions,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xxhash_rust::xxh3::Xxh3;

use crate::common::{address, at_millis, exact, millis, world};
use crate::plans::{leecher, plan, run, seed};

/// What a stream carried.
#[derive(Default)]
struct Carried {
    written: (u64, Xxh3),
    read: (u64, Xxh3),
    opened: Time,
    closed: Option<Time>,
}

/// Every stream by its two ends and who opened it.
#[derive(Default)]
struct Streams {
    ends: RefCell<BTreeMap<StreamId, (SocketAddr, SocketAddr, bool)>>,
    carried: RefCell<BTreeMap<StreamId, Carried>>,
}

impl Tap for Streams {
    fn opened(
        &self,
        stream: StreamId,
        now: Time,
        _: usize,
        [local, remote]: [SocketAddr; 2],
        direction: Direction,
    ) {
        let incoming = direction == Direction::Incoming;
        self.ends.borrow_mut().insert(stream, (local, remote, incoming));
        let carried = Carried { opened: now, ..Carried::default() };
        self.carried.borrow_mut().insert(stream, carried);
    }

    fn wrote(&self, stream: StreamId, _: Time, bytes: &[u8]) {
        let mut carried = self.carried.borrow_mut();
        let (length, hash) = &mut carried.get_mut(&stream).unwrap().written;
        *length += bytes.len() as u64;
        hash.write(bytes);
    }

    fn read(&self, stream: StreamId, _: Time, bytes: &[u8]) {
        let mut carried = self.carried.borrow_mut();
        let (length, hash) = &mut carried.get_mut(&stream).unwrap().read;
        *length += bytes.len() as u64;
        hash.write(bytes);
    }

    fn closed(&self, stream: StreamId, now: Time) {
        self.carried.borrow_mut().get_mut(&stream).unwrap().closed = Some(now);
    }
}

/// Who asked whom for how much, and whether this is the end of who was asked.
type Key = (IpAddr, IpAddr, u64, bool);

/// What each stream carried to who asked, and from when to when it was open.
type Told = BTreeMap<Key, ([u64; 2], Time, Time)>;

/// Six hosts that ask each other for so many bytes and get them, over narrow links; some
/// answer slowly, and some hang up in the middle.
fn conversations(stack: Stack, run: u64) -> Told {
    let options = WorldOptions { stack, seed: run, ..exact() };
    let narrow = Link { latency: millis(20), bandwidth: Some(400_000), ..Link::default() };
    let (mut world, hosts) = world(options, 6, HostLink::symmetric(narrow));
    let streams = Rc::new(Streams::default());
    world.set_tap(streams.clone());
    for host in &hosts {
        let (env, network) = (host.env(), host.network());
        let at = address(host.id().index());
        host.spawn("server", async move {
            let mut listener = network.listen(at).await.unwrap();
            while let Ok((mut stream, _)) = listener.accept().await {
                let clock = env.clone();
                env.spawn("answer", async move {
                    let Ok(length) = stream.read_u32().await else { return };
                    let bytes: Vec<u8> = (0..length).map(|at| (at / 3) as u8).collect();
                    for part in bytes.chunks(7_000) {
                        if stream.write_all(part).await.is_err() {
                            return;
                        }
                        if length % 3 == 0 {
                            clock.sleep_until(clock.now() + millis(5)).await;
                        }
                    }
                });
            }
        });
        for number in 0..4 {
            let (env, network) = (host.env(), host.network());
            host.spawn("client", async move {
                let mut rng = env.rng(&format!("client {number}"));
                for turn in 0..4 {
                    let at = at_millis(turn * 5_000 + rng.random_range(0..5_000));
                    env.sleep_until(at).await;
                    let to = address(rng.random_range(0..6));
                    let length = rng.random_range(1..150_000u32);
                    let mut stream = network.connect(to).await.unwrap();
                    stream.write_u32(length).await.unwrap();
                    let mut bytes = vec![0; length as usize];
                    match rng.random_bool(0.2) {
                        true => _ = stream.read_exact(&mut bytes[..1]).await,
                        false => _ = stream.read_exact(&mut bytes).await.unwrap(),
                    }
                }
            });
        }
    }
    world.run_until(Time::from_secs(60)).unwrap();
    assert_eq!(world.panics(), []);
    assert_eq!(world.packets_in_flight(), 0);
    let (ends, carried) = (streams.ends.take(), streams.carried.take());
    ends.into_iter()
        .map(|(stream, (local, remote, incoming))| {
            let Carried { written, read, opened, closed } = &carried[&stream];
            let (asked, answered) = if incoming { (read, written) } else { (written, read) };
            assert_eq!(asked.0, 4, "a request");
            let key = (local.ip(), remote.ip(), asked.1.digest(), incoming);
            let answer = [answered.0, answered.1.digest()];
            (key, (answer, *opened, closed.expect("each stream is dropped")))
        })
        .collect()
}

#[test]
fn streams_carry_the_same_bytes_and_are_open_for_as_long_on_both_stacks() {
    for run in 0..4 {
        let theirs = conversations(Stack::TurmoilNet, run);
        let ours = conversations(Stack::Native, run);
        assert_eq!(theirs.len(), 2 * 6 * 4 * 4);
        assert!(theirs.keys().eq(ours.keys()), "the same connections");
        let mut all = Duration::ZERO;
        for (key, (bytes, opened, closed)) in &ours {
            let (their_bytes, their_opened, their_closed) = &theirs[key];
            // How much is under way when somebody hangs up is for the stack to say.
            let hung_up = bytes != their_bytes;
            assert!(!hung_up || bytes[0].abs_diff(their_bytes[0]) < 140_000, "{key:?}");
            for (our, their) in [(opened, their_opened), (closed, their_closed)] {
                let apart = our.since(*their).max(their.since(*our));
                // Those that share a link may take turns otherwise.
                assert!(apart <= millis(250), "{key:?}: {our} s and {their} s");
                all += apart;
            }
        }
        assert!(all / (2 * ours.len() as u32) <= millis(10), "{all:?} in all");
        let differ = ours.iter().filter(|(key, (bytes, ..))| *bytes != theirs[key].0).count();
        assert!(differ * 10 <= ours.len(), "{differ} of {} streams differ", ours.len());
    }
}

fn report(engine: Engine, seed_of_run: u64) -> Report {
    let mut plan = plan(40, [seed("seed"), leecher("one", &["seed"]), leecher("two", &["seed"])]);
    plan.seed = seed_of_run;
    for peer in &mut plan.peers {
        peer.link.bandwidth = Some(500_000);
    }
    run(&plan, engine)
}

/// Who asks whom for what is decided by packets that come a little sooner or later: with
/// another seed one stack alone takes up to a tenth more or less. Over several that is evened
/// out.
#[test]
fn a_plan_has_the_same_verdict_and_completes_at_about_the_same_time_on_both_stacks() {
    let mut all = [Duration::ZERO; 2];
    for seed in 1..=8 {
        let reports = [Engine::TurmoilNet, Engine::Native].map(|engine| report(engine, seed));
        let [theirs, ours] = &reports;
        for report in &reports {
            assert_eq!(report.verdict, Verdict::Pass, "{:?} {:?}", report.failure, report.doubts);
        }
        assert_eq!(ours.useful_bytes, theirs.useful_bytes);
        for (our, their) in ours.peers.iter().zip(&theirs.peers) {
            assert_eq!((our.verified, our.completed.is_some()), (40, their.completed.is_some()));
            let (Some(our), Some(their)) = (our.completed, their.completed) else { continue };
            let apart = our.since(their).max(their.since(our));
            assert!(apart * 6 <= their.since_epoch(), "{seed}: {our} s and {their} s");
            all[0] += their.since_epoch();
            all[1] += our.since_epoch();
        }
    }
    let [theirs, ours] = all;
    assert!(theirs.abs_diff(ours) * 50 <= theirs, "{ours:?} and {theirs:?} in all");
}

#[test]
fn a_plan_has_one_digest_on_our_stack() {
    let first = report(Engine::Native, 7);
    assert!(first.events > 1000);
    for _ in 0..3 {
        let again = report(Engine::Native, 7);
        assert_eq!((again.digest, again.events), (first.digest, first.events));
    }
    assert_ne!(report(Engine::TurmoilNet, 7).digest, first.digest);
}

#[test]
fn a_connection_and_a_time_out_take_what_they_take_on_the_other_stack() {
    let dialled = |stack| {
        let options = WorldOptions { stack, ..exact() };
        let (mut world, hosts) = world(options, 2, HostLink::with_latency(millis(50)));
        let seen = Rc::new(RefCell::new(Vec::new()));
        for to in [address(0), address(1), address(9)] {
            let (env, network, seen) = (hosts[0].env(), hosts[0].network(), seen.clone());
            hosts[0].spawn("dialler", async move {
                let error = network.connect(to).await.map(drop).map_err(|error| error.kind());
                seen.borrow_mut().push((to, error, env.now()));
            });
        }
        world.run_until(at_millis(400_000)).unwrap();
        seen.take()
    };
    assert_eq!(dialled(Stack::TurmoilNet), dialled(Stack::Native));
}
