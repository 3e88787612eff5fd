//! Loss of power, the death of a process, and what others see of it.

use std::{cell::RefCell, io::ErrorKind, path::Path, rc::Rc};

use reseed_client::{Disk, Env, Listener, Network};
use reseed_protocol::Time;
use reseed_sim::{Event, HostHandle, HostId, HostLink, Loss, World, WorldOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::exact;
use crate::common::{Log, PORT, Slot, address, at_millis, millis, slot, spawn_sink, world};

type Outcome = Slot<(Result<usize, ErrorKind>, Time)>;

/// Connects to host 1; its reading ends with the outcome, and it writes a byte
/// at `write_at`, if at all.
fn spawn_watcher(host: &HostHandle, write_at: Option<Time>) -> Outcome {
    let outcome = slot();
    let (env, network, result) = (host.env(), host.network(), outcome.clone());
    host.spawn("watcher", async move {
        let stream = network.connect(address(1)).await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(stream);
        let clock = env.clone();
        if let Some(at) = write_at {
            env.clone().spawn("writer", async move {
                env.sleep_until(at).await;
                let _ = writer.write_all(b"x").await;
                std::future::pending::<()>().await;
            });
        }
        let read = reader.read(&mut [0; 10]).await.map_err(|error| error.kind());
        *result.borrow_mut() = Some((read, clock.now()));
    });
    outcome
}

fn pair(options: WorldOptions) -> (World, Vec<HostHandle>) {
    let (world, hosts) = world(options, 2, HostLink::with_latency(millis(10)));
    spawn_sink(&hosts[1], slot());
    (world, hosts)
}

#[test]
fn a_remote_that_only_reads_sees_nothing_of_a_loss_of_power() {
    let (mut world, hosts) = pair(exact());
    let outcome = spawn_watcher(&hosts[0], None);
    world.run_until(Time::from_secs(1)).unwrap();
    let packets = Log::of(|event| matches!(event, Event::Sent(_)).then_some(()));
    world.set_recorder(packets.clone());
    world.crash(hosts[1].id());
    world.run_until(Time::from_secs(5000)).unwrap();
    assert_eq!(outcome.take(), None);
    assert_eq!(packets.entries.borrow().len(), 0, "a dead host sent something");
    assert!(world.tasks(hosts[1].id()).is_empty());
}

#[test]
fn a_remote_that_had_sent_something_is_reset_after_the_restart() {
    let (mut world, hosts) = pair(exact());
    let outcome = spawn_watcher(&hosts[0], Some(Time::from_secs(2)));
    world.run_until(Time::from_secs(1)).unwrap();
    world.crash(hosts[1].id());
    world.run_until(Time::from_secs(10)).unwrap();
    assert_eq!(*outcome.borrow(), None);
    let revived = world.revive(hosts[1].id());
    spawn_sink(&revived, slot());
    world.run_until(Time::from_secs(100)).unwrap();
    let (read, at) = outcome.take().expect("it is reset");
    assert_eq!(read, Err(ErrorKind::ConnectionReset));
    // Sent at 2 s, it arrives 10 ms later and again after 1, 2, 4 and 8 s.
    assert!(at >= Time::from_secs(17) && at < at_millis(17_200), "{at} s");
}

#[test]
fn a_remote_that_gets_no_answer_gives_up_after_tcps_timeout() {
    let (mut world, hosts) = pair(exact());
    let outcome = spawn_watcher(&hosts[0], Some(Time::from_secs(2)));
    world.run_until(Time::from_secs(1)).unwrap();
    let late = Log::of(|event| match event {
        Event::Late { cause, .. } => Some(*cause),
        _ => None,
    });
    world.set_recorder(late.clone());
    world.crash(hosts[1].id());
    world.run_until(Time::from_secs(5000)).unwrap();
    let (read, at) = outcome.take().expect("it gives up");
    assert_eq!(read, Err(ErrorKind::ConnectionReset));
    assert!(at > Time::from_secs(924) && at < Time::from_secs(1000), "{at} s");
    let late = late.entries.borrow();
    assert!(late.iter().all(|(_, cause)| *cause == Loss::Unreachable));
    assert!((15..30).contains(&late.len()), "{} retransmissions", late.len());
    assert_eq!(world.packets_in_flight(), 0);
}

#[test]
fn who_gave_up_dialling_does_not_keep_a_port_from_a_host_that_returns() {
    let (mut world, hosts) = pair(exact());
    let (env, network) = (hosts[0].env(), hosts[0].network());
    hosts[0].spawn("impatient", async move {
        let connect = Box::pin(network.connect(address(1)));
        let patience = Box::pin(env.sleep_until(at_millis(15)));
        let _ = futures_util::future::select(connect, patience).await;
    });
    world.run_until(Time::from_secs(1)).unwrap();
    world.crash(hosts[1].id());
    let revived = world.revive(hosts[1].id());
    spawn_sink(&revived, slot());
    let outcome = spawn_watcher(&hosts[0], None);
    world.run_until(Time::from_secs(2)).unwrap();
    assert_eq!(world.tasks(revived.id()).len(), 2, "it listens, and reads");
    assert_eq!(*outcome.borrow(), None, "the connection stands");
}

/// Dials host 1 at 2 s, with 30 s of patience.
fn spawn_dialler(host: &HostHandle) -> Slot<(bool, Time)> {
    let outcome = slot();
    let (env, network, result) = (host.env(), host.network(), outcome.clone());
    host.spawn("dialler", async move {
        env.sleep_until(Time::from_secs(2)).await;
        let connect = Box::pin(network.connect(address(1)));
        let patience = Box::pin(env.sleep_until(Time::from_secs(32)));
        let connected = match futures_util::future::select(connect, patience).await {
            futures_util::future::Either::Left((stream, _)) => stream.is_ok(),
            futures_util::future::Either::Right(_) => false,
        };
        *result.borrow_mut() = Some((connected, env.now()));
        env.sleep_until(Time::from_secs(10_000)).await;
    });
    outcome
}

#[test]
fn a_crashed_sender_retransmits_nothing() {
    let (mut world, hosts) = pair(exact());
    spawn_watcher(&hosts[0], Some(Time::from_secs(2)));
    world.run_until(Time::from_secs(1)).unwrap();
    world.crash(hosts[1].id());
    world.run_until(Time::from_secs(3)).unwrap();
    assert_eq!(world.packets_in_flight(), 1);
    world.crash(hosts[0].id());
    assert_eq!(world.packets_in_flight(), 0);
}

#[test]
fn a_connect_to_a_host_that_is_down_hangs_until_the_caller_gives_up() {
    let (mut world, hosts) = pair(exact());
    let outcome = spawn_dialler(&hosts[0]);
    world.run_until(Time::from_secs(1)).unwrap();
    world.crash(hosts[1].id());
    world.run_until(Time::from_secs(40)).unwrap();
    assert_eq!(outcome.take(), Some((false, Time::from_secs(32))));
    // The socket is gone, so the retransmissions end, and a restart brings no
    // ghost of the connection.
    let delivered = Log::of(|event| matches!(event, Event::Delivered(_)).then_some(()));
    world.set_recorder(delivered.clone());
    let revived = world.revive(hosts[1].id());
    spawn_sink(&revived, slot());
    world.run_until(Time::from_secs(200)).unwrap();
    assert_eq!(delivered.entries.borrow().len(), 0);
    assert_eq!(world.packets_in_flight(), 0);
    assert_eq!(world.sockets(hosts[1].id()).len(), 1);
}

#[test]
fn a_connect_succeeds_if_the_host_comes_back_in_time() {
    let (mut world, hosts) = pair(exact());
    let outcome = spawn_dialler(&hosts[0]);
    world.run_until(Time::from_secs(1)).unwrap();
    world.crash(hosts[1].id());
    world.run_until(Time::from_secs(8)).unwrap();
    let revived = world.revive(hosts[1].id());
    spawn_sink(&revived, slot());
    world.run_until(Time::from_secs(100)).unwrap();
    let (connected, at) = outcome.take().unwrap();
    // Sent at 2 s, and again 1, 2 and 4 s later.
    assert!(connected && at > Time::from_secs(9) && at < at_millis(9_200), "{at} s");
}

#[test]
fn a_killed_process_has_its_sockets_closed_by_its_kernel() {
    let (mut world, hosts) = pair(exact());
    let outcome = spawn_watcher(&hosts[0], None);
    world.run_until(Time::from_secs(1)).unwrap();
    world.kill(hosts[1].id());
    world.run_until(Time::from_secs(2)).unwrap();
    assert_eq!(outcome.take(), Some((Ok(0), at_millis(1010))));
}

#[test]
fn nothing_of_a_crashed_host_is_left() {
    let (mut world, hosts) = world(exact(), 2, HostLink::with_latency(millis(10)));
    // Held outside the host's tasks, which must not keep its port.
    let listener = slot();
    let (network, result) = (hosts[1].network(), listener.clone());
    hosts[1].spawn("listen", async move {
        *result.borrow_mut() = Some(network.listen(address(1)).await.unwrap());
    });
    // Of three connections, none is ever accepted; one is in its handshake.
    for delay in [0, 0, 985] {
        let (env, network) = (hosts[0].env(), hosts[0].network());
        hosts[0].spawn("dialler", async move {
            env.sleep_until(at_millis(delay)).await;
            let stream = network.connect(address(1)).await;
            env.sleep_until(Time::from_secs(10_000)).await;
            drop(stream);
        });
    }
    world.run_until(Time::from_secs(1)).unwrap();
    assert_eq!(world.sockets(hosts[1].id()).len(), 4);
    let packets = Log::of(|event| matches!(event, Event::Sent(_)).then_some(()));
    world.set_recorder(packets.clone());
    world.crash(hosts[1].id());
    assert_eq!(packets.entries.borrow().len(), 0, "its sockets were closed aloud");
    assert_eq!(world.sockets(hosts[1].id()), []);
    assert!(listener.borrow().as_ref().unwrap().local_addr().is_err());
    let revived = world.revive(hosts[1].id());
    spawn_sink(&revived, slot());
    world.run_until(Time::from_secs(2)).unwrap();
    assert_eq!(world.panics(), []);
}

#[test]
fn a_stopped_process_cannot_act_from_the_grave() {
    let (mut world, hosts) = world(exact(), 2, HostLink::default());
    let ghost = hosts[1].clone();
    world.run_until(Time::from_secs(1)).unwrap();
    world.crash(hosts[1].id());
    let revived = world.revive(hosts[1].id());
    let ran = Rc::new(RefCell::new(false));
    let flag = ran.clone();
    ghost.spawn("ghost", async move { *flag.borrow_mut() = true });
    assert!(ghost.disk().write_at(Path::new("f"), 0, b"boo").is_err());
    let errors = slot();
    let (network, result) = (ghost.network(), errors.clone());
    revived.spawn("medium", async move {
        let listen = network.listen(address(1)).await.is_err();
        let connect = network.connect(address(0)).await.is_err();
        *result.borrow_mut() = Some((listen, connect));
    });
    world.run_until(Time::from_secs(2)).unwrap();
    assert!(!*ran.borrow());
    assert_eq!(errors.take(), Some((true, true)));
    assert_eq!(world.disk(hosts[1].id()).length(Path::new("f")).unwrap(), None);
}

#[test]
fn a_disk_outlives_a_crash_without_what_was_not_synced() {
    let (mut world, hosts) = world(exact(), 1, HostLink::default());
    let id = hosts[0].id();
    let disk = hosts[0].disk();
    disk.write_at(Path::new("synced"), 0, b"abc").unwrap();
    disk.sync(Path::new("synced")).unwrap();
    for name in 0..64 {
        disk.write_at(Path::new(&name.to_string()), 0, b"abc").unwrap();
    }
    world.crash(id);
    let left = world.revive(id).disk();
    assert_eq!(left.read(Path::new("synced"), 9).unwrap().as_deref(), Some(&b"abc"[..]));
    let survivors = world.disk(id).paths().len() - 1;
    assert!((16..48).contains(&survivors), "{survivors} of 64 unsynced files survived");
}

#[test]
fn a_host_can_be_crashed_and_revived_many_times() {
    let (mut world, hosts) = world(exact(), 2, HostLink::with_latency(millis(10)));
    let accepted = Rc::new(RefCell::new(0));
    let serve = |host: HostHandle| {
        let (network, accepted) = (host.network(), accepted.clone());
        host.spawn("server", async move {
            let at = std::net::SocketAddr::new([0, 0, 0, 0].into(), PORT);
            let mut listener = network.listen(at).await.unwrap();
            let mut streams = Vec::new();
            loop {
                streams.push(listener.accept().await.unwrap());
                *accepted.borrow_mut() += 1;
            }
        });
    };
    serve(hosts[1].clone());
    let (env, network) = (hosts[0].env(), hosts[0].network());
    hosts[0].spawn("client", async move {
        loop {
            let Ok(mut stream) = network.connect(address(1)).await else {
                continue;
            };
            while stream.write_all(b"keep-alive").await.is_ok() {
                env.sleep_until(env.now() + millis(500)).await;
            }
        }
    });
    for round in 1..=100 {
        world.run_until(Time::from_secs(round * 10)).unwrap();
        world.crash(HostId(1));
        world.run_until(at_millis(round * 10_000 + 700)).unwrap();
        serve(world.revive(HostId(1)));
    }
    assert_eq!(world.panics(), []);
    assert!(*accepted.borrow() >= 100, "{} connections", accepted.borrow());
    assert!(world.sockets(HostId(1)).len() < 5);
    assert!(world.packets_in_flight() < 10);
}

#[test]
fn who_is_started_again_while_connections_of_its_last_life_linger_listens_at_the_same_port() {
    let (mut world, hosts) = pair(exact());
    let outcome = spawn_watcher(&hosts[0], None);
    world.run_until(Time::from_secs(1)).unwrap();
    world.kill(hosts[1].id());
    let again = world.host(hosts[1].id());
    spawn_sink(&again, slot());
    let refused = slot();
    let (network, result) = (again.network(), refused.clone());
    let late = again.env();
    again.spawn("another", async move {
        late.sleep_until(at_millis(1_500)).await;
        let error = network.listen(address(1)).await.map(drop).map_err(|error| error.kind());
        *result.borrow_mut() = Some(error);
    });
    world.run_until(Time::from_secs(2)).unwrap();
    assert!(outcome.take().is_some(), "the killed one's connection has ended");
    assert_eq!(refused.take(), Some(Err(ErrorKind::AddrInUse)), "now somebody listens there");
    let second = spawn_watcher(&hosts[0], None);
    world.run_until(Time::from_secs(3)).unwrap();
    assert_eq!(*second.borrow(), None, "it is connected");
}

#[test]
fn who_is_started_again_after_a_remote_lost_power_listens_at_the_same_port() {
    let (mut world, hosts) = pair(exact());
    let outcome = spawn_watcher(&hosts[0], None);
    world.run_until(Time::from_secs(1)).unwrap();
    world.crash(hosts[0].id());
    world.kill(hosts[1].id());
    spawn_sink(&world.host(hosts[1].id()), slot());
    world.run_until(Time::from_secs(5)).unwrap();
    let again = spawn_watcher(&world.revive(hosts[0].id()), None);
    world.run_until(Time::from_secs(6)).unwrap();
    assert_eq!(outcome.take(), None, "its process is gone");
    assert_eq!(*again.borrow(), None, "it is connected");
}

#[test]
fn who_dials_itself_and_thinks_better_of_it_does_not_keep_the_port() {
    let (mut world, hosts) = pair(exact());
    world.run_until(Time::from_secs(1)).unwrap();
    let (env, network) = (hosts[1].env(), hosts[1].network());
    hosts[1].spawn("impatient", async move {
        let connect = Box::pin(network.connect(address(1)));
        let patience = Box::pin(env.sleep_until(env.now()));
        let _ = futures_util::future::select(connect, patience).await;
    });
    world.run_until(Time::from_secs(2)).unwrap();
    world.kill(hosts[1].id());
    world.run_until(Time::from_secs(3)).unwrap();
    spawn_sink(&world.host(hosts[1].id()), slot());
    let outcome = spawn_watcher(&hosts[0], None);
    world.run_until(Time::from_secs(4)).unwrap();
    assert_eq!(*outcome.borrow(), None, "it is connected");
}

#[test]
fn who_writes_to_itself_and_is_not_read_any_more_is_reset_and_does_not_keep_the_port() {
    let (mut world, hosts) = world(exact(), 2, HostLink::with_latency(millis(10)));
    let (env, network, outcome) = (hosts[1].env(), hosts[1].network(), slot());
    let result = outcome.clone();
    let clock = env.clone();
    hosts[1].spawn("writer", async move {
        let mut listener = network.listen(address(1)).await.unwrap();
        let reader = network.clone();
        env.spawn("reader", async move { drop(reader.connect(address(1)).await.unwrap()) });
        let (mut stream, _) = listener.accept().await.unwrap();
        let written = loop {
            if let Err(error) = stream.write_all(&[1; 64 * 1024]).await {
                break error.kind();
            }
        };
        *result.borrow_mut() = Some((Err(written), clock.now()));
        std::future::pending::<()>().await;
    });
    world.run_until(Time::from_secs(1)).unwrap();
    let outcome: Option<(Result<usize, ErrorKind>, Time)> = outcome.take();
    let (written, _) = outcome.expect("it does not wait for ever");
    assert!(
        matches!(written, Err(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)),
        "{written:?}"
    );
    world.kill(hosts[1].id());
    spawn_sink(&world.host(hosts[1].id()), slot());
    let connected = spawn_watcher(&hosts[0], None);
    world.run_until(Time::from_secs(2)).unwrap();
    assert_eq!(*connected.borrow(), None, "it listens again at once");
}
