//! What links do to packets.

use std::{cell::RefCell, rc::Rc, time::Duration};

use reseed_client::{Datagrams, Env, Listener, Network};
use reseed_protocol::Time;
use reseed_sim::{Event, Fate, HostId, HostLink, Impairment, Link, PacketSummary, WorldOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::exact;
use crate::common::{Log, address, at_millis, millis, slot, spawn_sink, spawn_source, world};

#[test]
fn a_connect_takes_a_round_trip_exactly() {
    let link = HostLink {
        up: Link { latency: Duration::from_nanos(10_000_001), ..Link::default() },
        down: Link { latency: millis(20), ..Link::default() },
    };
    let (mut world, hosts) = world(exact(), 2, link);
    spawn_sink(&hosts[1], slot());
    let connected = slot();
    let (env, network, result) = (hosts[0].env(), hosts[0].network(), connected.clone());
    hosts[0].spawn("dialler", async move {
        network.connect(address(1)).await.unwrap();
        *result.borrow_mut() = Some(env.now());
    });
    world.run_until(Time::from_secs(1)).unwrap();
    assert_eq!(connected.take(), Some(Time::from_epoch(Duration::from_nanos(60_000_002))));
}

#[test]
fn on_a_grid_deliveries_are_late_by_less_than_its_step_and_never_early() {
    let options = WorldOptions { pass_grid: millis(1), ..exact() };
    let link = HostLink::with_latency(Duration::from_micros(10_100));
    let (mut world, hosts) = world(options, 2, link);
    let deliveries = Log::of(|event| match event {
        Event::Sent(packet) | Event::Delivered(packet) => Some(packet.number),
        _ => None,
    });
    world.set_recorder(deliveries.clone());
    spawn_sink(&hosts[1], slot());
    spawn_source(&hosts[0], address(1), 100_000);
    world.run_until(Time::from_secs(1)).unwrap();
    let entries = deliveries.entries.borrow();
    for (sent, number) in entries.iter() {
        let delivered = entries.iter().rfind(|(_, other)| other == number).unwrap().0;
        let delay = delivered.since(*sent);
        if !delay.is_zero() {
            let extra = delay.checked_sub(Duration::from_micros(10_100)).expect("early");
            assert!(extra < millis(1), "{extra:?} late");
        }
    }
    assert!(entries.len() > 100);
}

/// How long it takes to move `length` bytes from host 0 to host 1.
fn transfer(options: WorldOptions, link: HostLink, length: usize) -> (Time, reseed_sim::WireStats) {
    let (mut world, hosts) = world(options, 2, link);
    let result = slot();
    spawn_sink(&hosts[1], result.clone());
    spawn_source(&hosts[0], address(1), length);
    world.run_until(Time::from_secs(3600)).unwrap();
    assert_eq!(world.panics(), []);
    let (bytes, at) = result.take().expect("the transfer ends").expect("without an error");
    assert_eq!(bytes, length as u64);
    (at, world.wire_stats())
}

#[test]
fn a_megabyte_over_a_hundred_kilobytes_a_second_takes_ten_seconds_and_its_headers() {
    for slow in ["up", "down"] {
        let narrow = Link { bandwidth: Some(100_000), ..Link::default() };
        let link = match slow {
            "up" => HostLink { up: narrow, down: Link::default() },
            _ => HostLink { up: Link::default(), down: narrow },
        };
        let (at, _) = transfer(exact(), link, 1_000_000);
        let segments = 1_000_000u64.div_ceil(1460);
        let expected = Duration::from_micros((1_000_000 + segments * 40) * 10);
        let took = at.since_epoch();
        assert!(took >= expected && took < expected + millis(10), "{slow}: {took:?}");
    }
}

#[test]
fn a_large_mtu_makes_no_link_wider() {
    let link = HostLink::symmetric(Link { bandwidth: Some(1_000_000), ..Link::default() });
    let (small, _) = transfer(exact(), link, 1_000_000);
    let (large, stats) = transfer(WorldOptions { mtu: 16_384, ..exact() }, link, 1_000_000);
    let ratio = large.since_epoch().as_secs_f64() / small.since_epoch().as_secs_f64();
    assert!((0.97..1.06).contains(&ratio), "{small} against {large}");
    assert!(stats.sent < 300, "{stats:?}");
}

#[test]
fn under_jitter_a_stream_keeps_its_order_and_packets_do_not() {
    let jitter = Link { latency: millis(10), jitter: millis(50), ..Link::default() };
    let (mut world, hosts) = world(exact(), 2, HostLink::symmetric(jitter));
    let received = slot();
    let (network, result) = (hosts[1].network(), received.clone());
    hosts[1].spawn("reader", async move {
        use reseed_client::Listener;
        let mut listener = network.listen(address(1)).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        *result.borrow_mut() = Some(bytes);
    });
    let sent: Vec<u8> = (0..200_000u32).flat_map(|i| (i / 7).to_be_bytes()).collect();
    let (network, bytes) = (hosts[0].network(), sent.clone());
    hosts[0].spawn("writer", async move {
        let mut stream = network.connect(address(1)).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    world.run_until(Time::from_secs(60)).unwrap();
    assert!(received.take() == Some(sent), "bytes differ");
}

#[test]
fn a_segment_that_overflows_a_queue_is_late_and_the_bytes_behind_it_wait() {
    let narrow = Link { bandwidth: Some(1_000_000), queue: Some(20_000), ..Link::default() };
    for link in [
        HostLink { up: narrow, down: Link::default() },
        HostLink { up: Link::default(), down: narrow },
    ] {
        let (at, stats) = transfer(exact(), link, 1_000_000);
        assert!(stats.overflowed > 0 && stats.retransmitted == stats.lost, "{stats:?}");
        assert_eq!(stats.discarded, 0);
        assert!(at > at_millis(1150), "{at} s: nothing waited");
    }
    let wide = Link { queue: Some(100_000), ..narrow };
    let (_, stats) = transfer(exact(), HostLink { up: wide, down: Link::default() }, 1_000_000);
    assert_eq!(stats.overflowed, 0);
}

fn udp_pair(link: HostLink, impairment: Option<Box<dyn Impairment>>) -> (usize, u64, u64) {
    let (mut world, hosts) = world(exact(), 2, link);
    if let Some(impairment) = impairment {
        world.set_impairment(impairment);
    }
    let received = Rc::new(RefCell::new(0));
    let (network, count) = (hosts[1].network(), received.clone());
    hosts[1].spawn("receiver", async move {
        let socket = network.datagrams(address(1)).await.unwrap();
        loop {
            let (length, from) = socket.receive_from(&mut [0; 1500]).await.unwrap();
            assert_eq!((length, from), (972, address(0)));
            *count.borrow_mut() += 1;
        }
    });
    let network = hosts[0].network();
    hosts[0].spawn("sender", async move {
        let socket = network.datagrams(address(0)).await.unwrap();
        for _ in 0..100 {
            socket.send_to(&[0; 972], address(1)).await.unwrap();
        }
    });
    world.run_until(Time::from_secs(10)).unwrap();
    assert_eq!(world.panics(), []);
    let stats = world.wire_stats();
    (received.take(), stats.overflowed, stats.discarded)
}

#[test]
fn a_datagram_that_overflows_a_queue_is_lost() {
    let narrow = Link { bandwidth: Some(10_000), queue: Some(5000), ..Link::default() };
    let link = HostLink { up: narrow, down: Link::default() };
    assert_eq!(udp_pair(link, None), (5, 95, 95));
    assert_eq!(udp_pair(HostLink::default(), None), (100, 0, 0));
}

/// Gives all packets one fate until a time.
struct Until(Time, Fate);

impl Impairment for Until {
    fn fate(&mut self, now: Time, _: &PacketSummary, _: HostId, _: Option<HostId>) -> Fate {
        if now < self.0 { self.1 } else { Fate::Pass }
    }
}

#[test]
fn datagrams_are_lost_duplicated_or_delayed_as_the_impairment_says() {
    let run = |fate| {
        let impairment = Until(Time::from_secs(1), fate);
        udp_pair(HostLink::default(), Some(Box::new(impairment)))
    };
    assert_eq!(run(Fate::Lose), (0, 0, 100));
    assert_eq!(run(Fate::Duplicate), (200, 0, 0));
    assert_eq!(run(Fate::Delay(Duration::from_secs(1))), (100, 0, 0));
    assert_eq!(run(Fate::Delay(Duration::from_secs(100))), (0, 0, 0));
}

#[test]
fn a_stream_survives_a_partition_and_goes_on_when_it_heals() {
    struct Partition;
    impl Impairment for Partition {
        fn fate(&mut self, now: Time, _: &PacketSummary, _: HostId, _: Option<HostId>) -> Fate {
            let cut = Time::from_secs(2)..Time::from_secs(30);
            if cut.contains(&now) { Fate::Lose } else { Fate::Pass }
        }
    }
    let narrow = Link { bandwidth: Some(100_000), ..Link::default() };
    let (mut world, hosts) = world(exact(), 2, HostLink::symmetric(narrow));
    world.set_impairment(Box::new(Partition));
    let result = slot();
    spawn_sink(&hosts[1], result.clone());
    spawn_source(&hosts[0], address(1), 1_000_000);
    world.run_until(Time::from_secs(200)).unwrap();
    let (bytes, at) = result.take().unwrap().unwrap();
    assert_eq!(bytes, 1_000_000);
    assert!(at > Time::from_secs(38) && at < Time::from_secs(100), "{at} s");
    assert_eq!(world.packets_in_flight(), 0);
}

/// A byte is written each second. What was lost in forty of them does not come as late as it
/// was, but once the first of it has come through.
#[test]
fn what_was_lost_in_a_partition_comes_together_when_it_heals() {
    let (mut world, hosts) = world(exact(), 2, HostLink::with_latency(millis(10)));
    struct Partition;
    impl Impairment for Partition {
        fn fate(&mut self, at: Time, _: &PacketSummary, _: HostId, _: Option<HostId>) -> Fate {
            let off = Time::from_secs(5)..Time::from_secs(45);
            if off.contains(&at) { Fate::Lose } else { Fate::Pass }
        }
    }
    world.set_impairment(Box::new(Partition));
    let heard = Rc::new(RefCell::new(Vec::new()));
    let (env, network, result) = (hosts[1].env(), hosts[1].network(), heard.clone());
    hosts[1].spawn("listener", async move {
        let mut listener = network.listen(address(1)).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 100];
        while let read @ 1.. = stream.read(&mut buffer).await.unwrap() {
            result.borrow_mut().extend(vec![env.now(); read]);
        }
    });
    let (env, network) = (hosts[0].env(), hosts[0].network());
    hosts[0].spawn("dialler", async move {
        let mut stream = network.connect(address(1)).await.unwrap();
        for second in 1..60 {
            env.sleep_until(Time::from_secs(second)).await;
            stream.write_all(b"x").await.unwrap();
        }
    });
    world.run_until(Time::from_secs(70)).unwrap();
    let heard = heard.borrow();
    let in_partition = &heard[5..40];
    let (first, last) = (in_partition[0], in_partition[34]);
    assert!(first > Time::from_secs(45) && first < Time::from_secs(60), "{first} s");
    assert!(last - first <= millis(45), "from {first} to {last} s");
    let prompt = Time::from_secs(59) + millis(25);
    assert!(heard.len() == 59 && heard[58] < prompt, "{} s", heard[58]);
}

#[test]
fn at_one_percent_loss_a_stream_gets_through_in_order() {
    struct OneInHundred(u64);
    impl Impairment for OneInHundred {
        fn fate(&mut self, _: Time, _: &PacketSummary, _: HostId, _: Option<HostId>) -> Fate {
            self.0 += 1;
            if self.0.is_multiple_of(100) { Fate::Lose } else { Fate::Pass }
        }
    }
    let (mut world, hosts) = world(exact(), 2, HostLink::with_latency(millis(50)));
    world.set_impairment(Box::new(OneInHundred(0)));
    let result = slot();
    spawn_sink(&hosts[1], result.clone());
    spawn_source(&hosts[0], address(1), 4 << 20);
    world.run_until(Time::from_secs(600)).unwrap();
    let (bytes, at) = result.take().unwrap().unwrap();
    assert_eq!(bytes, 4 << 20);
    assert!(at < Time::from_secs(60), "{at} s");
    assert!(world.wire_stats().lost > 20);
}
