//! Streams, whatever their users do.

use std::{cell::RefCell, net::SocketAddr, rc::Rc};

use reseed_client::{Env, Listener, Network};
use reseed_protocol::Time;
use reseed_sim::{Direction, HostLink, StreamId, Tap};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{exact, options};
use crate::common::{
    PORT, Slot, address, at_millis, ip, millis, slot, spawn_sink, spawn_source, world,
};

#[test]
fn a_reader_with_a_small_buffer_never_stalls_its_writer() {
    let (mut world, hosts) = world(options(), 2, HostLink::with_latency(millis(5)));
    let total = Rc::new(RefCell::new(0));
    let (env, network, count) = (hosts[1].env(), hosts[1].network(), total.clone());
    hosts[1].spawn("slow reader", async move {
        let mut listener = network.listen(address(1)).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 1024];
        // Long enough for the window to close for good.
        env.sleep_until(Time::from_secs(1)).await;
        loop {
            env.sleep_until(env.now() + millis(1)).await;
            match stream.read(&mut buffer).await.unwrap() {
                0 => break,
                read => *count.borrow_mut() += read,
            }
        }
    });
    spawn_source(&hosts[0], address(1), 2_000_000);
    world.run_until(Time::from_secs(10)).unwrap();
    assert_eq!(world.panics(), []);
    assert_eq!(*total.borrow(), 2_000_000);
}

#[test]
fn a_writer_is_held_up_by_a_reader_that_does_not_read() {
    let (mut world, hosts) = world(exact(), 2, HostLink::with_latency(millis(5)));
    let network = hosts[1].network();
    hosts[1].spawn("idle reader", async move {
        let mut listener = network.listen(address(1)).await.unwrap();
        let _stream = listener.accept().await.unwrap();
        std::future::pending::<()>().await;
    });
    let written = Rc::new(RefCell::new(0));
    let (network, count) = (hosts[0].network(), written.clone());
    hosts[0].spawn("writer", async move {
        let mut stream = network.connect(address(1)).await.unwrap();
        loop {
            *count.borrow_mut() += stream.write(&[0; 10_000]).await.unwrap();
        }
    });
    world.run_until(Time::from_secs(10)).unwrap();
    let written = *written.borrow();
    assert!((65_536..=3 * 65_536).contains(&written), "{written} bytes");
}

/// A reader that drops its stream after `read` bytes, and how the writer's
/// writing ends.
fn writer_to_one_who_leaves(read: usize) -> Option<std::io::ErrorKind> {
    let (mut world, hosts) = world(exact(), 2, HostLink::with_latency(millis(5)));
    let (env, network) = (hosts[1].env(), hosts[1].network());
    hosts[1].spawn("leaver", async move {
        let mut listener = network.listen(address(1)).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut vec![0; read]).await.unwrap();
        drop(stream);
        env.sleep_until(Time::from_secs(1000)).await;
    });
    let error = slot();
    let (network, result) = (hosts[0].network(), error.clone());
    hosts[0].spawn("writer", async move {
        let mut stream = network.connect(address(1)).await.unwrap();
        loop {
            if let Err(error) = stream.write(&[0; 10_000]).await {
                *result.borrow_mut() = Some(error.kind());
                break;
            }
        }
    });
    world.run_until(Time::from_secs(10)).unwrap();
    error.take()
}

#[test]
fn writing_to_one_who_has_closed_is_answered_with_a_reset() {
    for read in [0, 1, 10_000, 100_000] {
        let reset = Some(std::io::ErrorKind::ConnectionReset);
        assert_eq!(writer_to_one_who_leaves(read), reset, "after {read} bytes");
    }
}

#[test]
fn leaving_bytes_unread_resets_the_connection() {
    let (mut world, hosts) = world(exact(), 2, HostLink::with_latency(millis(5)));
    let network = hosts[1].network();
    hosts[1].spawn("leaver", async move {
        let mut listener = network.listen(address(1)).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 1]).await.unwrap();
        drop(stream);
        std::future::pending::<()>().await;
    });
    let outcome = slot();
    let (network, result) = (hosts[0].network(), outcome.clone());
    hosts[0].spawn("peer", async move {
        let mut stream = network.connect(address(1)).await.unwrap();
        stream.write_all(&[0; 100]).await.unwrap();
        *result.borrow_mut() = Some(stream.read(&mut [0; 1]).await.map_err(|e| e.kind()));
    });
    world.run_until(Time::from_secs(10)).unwrap();
    assert_eq!(outcome.take(), Some(Err(std::io::ErrorKind::ConnectionReset)));
}

#[test]
fn hosts_may_have_both_kinds_of_address() {
    let mut world = reseed_sim::World::new(exact());
    let v6: SocketAddr = "[fd00::2]:6881".parse().unwrap();
    let link = HostLink::with_latency(millis(5));
    let dialler = world.add_host("a", ["fd00::1".parse().unwrap(), ip(0)], link);
    let server = world.add_host("b", [v6.ip(), ip(1)], link);
    for at in [v6, address(1)] {
        let network = server.network();
        server.spawn("server", async move {
            let mut listener = network.listen(at).await.unwrap();
            listener.accept().await.unwrap().0.write_all(b"ok").await.unwrap();
        });
    }
    let answers = Rc::new(RefCell::new(Vec::new()));
    for to in [v6, address(1)] {
        let (network, answers) = (dialler.network(), answers.clone());
        dialler.spawn("dialler", async move {
            let mut answer = String::new();
            let mut stream = network.connect(to).await.unwrap();
            stream.read_to_string(&mut answer).await.unwrap();
            answers.borrow_mut().push(answer);
        });
    }
    world.run_until(Time::from_secs(1)).unwrap();
    assert_eq!(answers.take(), ["ok", "ok"]);
}

#[test]
fn writing_long_after_the_other_end_closed_is_answered_with_a_reset() {
    let (mut world, hosts) = world(exact(), 2, HostLink::with_latency(millis(5)));
    let network = hosts[1].network();
    hosts[1].spawn("leaver", async move {
        let mut listener = network.listen(address(1)).await.unwrap();
        drop(listener.accept().await.unwrap());
        std::future::pending::<()>().await;
    });
    let error = slot();
    let (env, network, result) = (hosts[0].env(), hosts[0].network(), error.clone());
    hosts[0].spawn("late writer", async move {
        let mut stream = network.connect(address(1)).await.unwrap();
        env.sleep_until(Time::from_secs(5)).await;
        let outcome = stream.write_all(&[0; 1_000_000]).await;
        *result.borrow_mut() = Some((outcome.unwrap_err().kind(), env.now()));
    });
    world.run_until(Time::from_secs(10)).unwrap();
    assert_eq!(error.take(), Some((std::io::ErrorKind::ConnectionReset, at_millis(5010))));
}

#[test]
fn a_closed_stream_still_delivers_what_was_written() {
    let (mut world, hosts) = world(exact(), 2, HostLink::with_latency(millis(5)));
    let result = slot();
    spawn_sink(&hosts[1], result.clone());
    let network = hosts[0].network();
    hosts[0].spawn("hasty", async move {
        let mut stream = network.connect(address(1)).await.unwrap();
        stream.write_all(&[1; 50_000]).await.unwrap();
    });
    world.run_until(Time::from_secs(10)).unwrap();
    assert_eq!(result.take().unwrap().unwrap().0, 50_000);
    for host in world.hosts() {
        let open = world.sockets(host).into_iter().filter(|socket| socket.peer.is_some());
        assert_eq!(open.filter(|s| s.local.port() != PORT).count(), 0);
    }
}

#[test]
fn a_connect_where_nobody_listens_is_refused() {
    let (mut world, hosts) = world(exact(), 2, HostLink::with_latency(millis(5)));
    let outcome = slot();
    let (env, network, result) = (hosts[0].env(), hosts[0].network(), outcome.clone());
    hosts[0].spawn("dialler", async move {
        let error = network.connect(address(1)).await.err().unwrap();
        *result.borrow_mut() = Some((error.kind(), env.now()));
    });
    world.run_until(Time::from_secs(1)).unwrap();
    assert_eq!(outcome.take(), Some((std::io::ErrorKind::ConnectionRefused, at_millis(10))));
}

#[test]
fn a_connect_to_an_address_that_nobody_has_takes_the_connect_timeout() {
    let (mut world, hosts) = world(exact(), 1, HostLink::default());
    let outcome = slot();
    let (env, network, result) = (hosts[0].env(), hosts[0].network(), outcome.clone());
    hosts[0].spawn("dialler", async move {
        let error = network.connect(address(77)).await.err().unwrap();
        *result.borrow_mut() = Some((error.kind(), env.now()));
    });
    world.run_until(Time::from_secs(1000)).unwrap();
    let (kind, at) = outcome.take().unwrap();
    assert_eq!(kind, std::io::ErrorKind::ConnectionRefused);
    assert!(at >= Time::from_secs(127) && at < Time::from_secs(250), "{at} s");
    assert_eq!(world.packets_in_flight(), 0);
}

#[test]
fn a_dropped_connect_leaves_no_socket() {
    let (mut world, hosts) = world(exact(), 2, HostLink::with_latency(millis(50)));
    spawn_sink(&hosts[1], slot());
    let (env, network) = (hosts[0].env(), hosts[0].network());
    hosts[0].spawn("impatient", async move {
        let connect = Box::pin(network.connect(address(1)));
        let sleep = Box::pin(env.sleep_until(at_millis(60)));
        futures_util::future::select(connect, sleep).await;
        env.sleep_until(Time::from_secs(1000)).await;
    });
    world.run_until(Time::from_secs(10)).unwrap();
    assert!(world.sockets(hosts[0].id()).is_empty());
}

#[test]
fn names_resolve_to_their_hosts_and_unknown_ones_are_not_found() {
    let (mut world, hosts) = world(exact(), 2, HostLink::default());
    world.add_name("tracker.example", [ip(0), ip(1)]);
    let found = slot();
    let (network, result) = (hosts[0].network(), found.clone());
    hosts[0].spawn("resolver", async move {
        let all = [
            network.resolve("h1", 80).await,
            network.resolve("tracker.example", 80).await,
            network.resolve("::1", 80).await,
            network.resolve("nowhere.example", 80).await,
        ];
        *result.borrow_mut() = Some(all.map(|found| found.map_err(|error| error.kind())));
    });
    world.run_until(Time::ZERO).unwrap();
    let at = |index| SocketAddr::new(ip(index), 80);
    assert_eq!(
        found.take().unwrap(),
        [
            Ok(vec![at(1)]),
            Ok(vec![at(0), at(1)]),
            Ok(vec!["[::1]:80".parse().unwrap()]),
            Err(std::io::ErrorKind::NotFound)
        ]
    );
}

#[test]
fn a_host_can_connect_to_itself() {
    let (mut world, hosts) = world(exact(), 1, HostLink::with_latency(millis(50)));
    let result = slot();
    spawn_sink(&hosts[0], result.clone());
    spawn_source(&hosts[0], address(0), 1_000_000);
    world.run_until(Time::from_secs(1)).unwrap();
    assert_eq!(result.take(), Some(Ok((1_000_000, Time::ZERO))));
}

#[test]
fn sockets_may_outlive_their_world_and_leave_the_thread_to_the_next() {
    let kept: Slot<reseed_sim::SimListener> = slot();
    for _ in 0..2 {
        let (mut world, hosts) = world(exact(), 1, HostLink::default());
        let (network, result) = (hosts[0].network(), kept.clone());
        hosts[0].spawn("listener", async move {
            *result.borrow_mut() = Some(network.listen(address(0)).await.unwrap());
        });
        world.run_until(Time::ZERO).unwrap();
        drop(world);
        assert!(kept.borrow().as_ref().unwrap().local_addr().is_err());
    }
}

#[derive(Default)]
struct Notes(RefCell<Vec<String>>);

impl Tap for Notes {
    fn opened(
        &self,
        stream: StreamId,
        now: Time,
        _owner: usize,
        [local, remote]: [SocketAddr; 2],
        direction: Direction,
    ) {
        let note = format!("{now} {} {local} {remote} {direction:?}", stream.0);
        self.0.borrow_mut().push(note);
    }

    fn wrote(&self, stream: StreamId, now: Time, bytes: &[u8]) {
        self.0.borrow_mut().push(format!("{now} {} > {}", stream.0, bytes.escape_ascii()));
    }

    fn read(&self, stream: StreamId, now: Time, bytes: &[u8]) {
        self.0.borrow_mut().push(format!("{now} {} < {}", stream.0, bytes.escape_ascii()));
    }

    fn closed(&self, stream: StreamId, now: Time) {
        self.0.borrow_mut().push(format!("{now} {} closed", stream.0));
    }
}

#[test]
fn a_tap_sees_what_is_written_and_read_and_when() {
    let (mut world, hosts) = world(exact(), 2, HostLink::with_latency(millis(500)));
    let notes = Rc::new(Notes::default());
    world.set_tap(notes.clone());
    let network = hosts[1].network();
    hosts[1].spawn("reader", async move {
        let mut listener = network.listen(address(1)).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4];
        stream.read_exact(&mut buffer).await.unwrap();
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 0);
    });
    let network = hosts[0].network();
    hosts[0].spawn("writer", async move {
        let mut stream = network.connect(address(1)).await.unwrap();
        stream.write_all(b"have").await.unwrap();
    });
    world.run_until(Time::from_secs(9)).unwrap();
    assert_eq!(
        notes.0.take(),
        [
            "1.000000 0 10.0.0.1:49152 10.0.0.2:6881 Outgoing",
            "1.000000 0 > have",
            "1.000000 0 closed",
            "1.500000 1 10.0.0.2:6881 10.0.0.1:49152 Incoming",
            "1.500000 1 < have",
            "1.500000 1 closed",
        ]
    );
}
