//! Sockets: what they carry, how long it takes, and how they fail.

use super::*;

#[test]
fn both_ways_of_a_connection_carry_a_mebibyte_unharmed() {
    const LENGTH: usize = 1 << 20;
    let (mut stage, hosts) = stage(2, 40);
    let content =
        |seed: usize| -> Vec<u8> { (0..LENGTH).map(|i| (i * seed / 256) as u8).collect() };
    let (there, back) = (slot(), slot());
    let result = there.clone();
    start(&mut stage, hosts[0], move |_, network| async move {
        let mut listener = network.listen(ANY).await.unwrap();
        let (mut stream, remote) = listener.accept().await.unwrap();
        assert_eq!(remote.ip(), ip(1));
        let mut bytes = vec![0; LENGTH];
        stream.read_exact(&mut bytes).await.unwrap();
        *result.borrow_mut() = Some(bytes);
        stream.write_all(&content(7)).await.unwrap();
    });
    let result = back.clone();
    start(&mut stage, hosts[1], move |env, network| async move {
        let mut stream = network.connect(at(0)).await.unwrap();
        assert_eq!(env.now(), millis(40));
        stream.write_all(&content(3)).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        *result.borrow_mut() = Some((bytes, env.now()));
    });
    run(&mut stage, Time::from_secs(1));
    assert!(there.take().is_some_and(|bytes| bytes == content(3)));
    let (bytes, at) = back.take().expect("it ended");
    assert!(bytes == content(7));
    // The opening, the way there, and the way back.
    assert_eq!(at, millis(3 * 40));
}

#[test]
fn a_pair_of_hosts_has_the_mean_of_its_two_ways() {
    let mut stage = TickedStage::new(TickedOptions::default());
    let [up, down] = [10, 50].map(|ms| link(ms, 0).up);
    let near = stage.add_host("near", ip(0), HostLink { up, down });
    let far = stage.add_host("far", ip(1), link(25, 0));
    let ends = start_sink(&mut stage, near);
    start(&mut stage, far, |env, network| async move {
        drop(network.connect(at(0)).await.unwrap());
        assert_eq!(env.now(), millis(55));
    });
    run(&mut stage, Time::from_secs(1));
    assert_eq!(*ends.borrow(), [(millis(110), "end after 0".to_owned())]);
}

#[test]
fn a_message_is_late_by_no_more_than_the_jitter_and_not_always_by_the_same() {
    let (mut stage, hosts) = stage_with(TickedOptions::default(), 2, link(10, 100));
    drop(start_sink(&mut stage, hosts[0]));
    let times = Rc::new(RefCell::new(Vec::new()));
    let taken = times.clone();
    start(&mut stage, hosts[1], |env, network| async move {
        for _ in 0..100 {
            let begun = env.now();
            drop(network.connect(at(0)).await.unwrap());
            taken.borrow_mut().push((env.now() - begun).as_millis());
        }
    });
    run(&mut stage, Time::from_secs(10));
    let times = times.borrow();
    let (least, most) = (*times.iter().min().unwrap(), *times.iter().max().unwrap());
    assert_eq!(times.len(), 100);
    assert!((20..30).contains(&least), "{least}");
    assert!((80..=220).contains(&most), "{most}");
}

/// When a connect to `to`, begun at once, ends, and how; `h0` is crashed first.
fn connect_to(to: SocketAddr, revived: Option<Time>) -> (Time, Option<ErrorKind>) {
    let (mut stage, hosts) = stage(2, 40);
    let outcome = slot();
    let result = outcome.clone();
    stage.crash(hosts[0]);
    start(&mut stage, hosts[1], move |env, network| async move {
        let error = network.connect(to).await.err().map(|error| error.kind());
        *result.borrow_mut() = Some((env.now(), error));
    });
    if let Some(at) = revived {
        run(&mut stage, at);
        stage.revive(hosts[0]);
    }
    run(&mut stage, Time::from_secs(200));
    assert_eq!(stage.leftovers(hosts[1]), Leftovers::default());
    outcome.take().expect("it ended")
}

#[test]
fn a_connect_to_a_host_that_is_down_or_not_there_times_out() {
    let timed_out = (Time::from_secs(127), Some(ErrorKind::TimedOut));
    assert_eq!(connect_to(at(0), None), timed_out);
    assert_eq!(connect_to(at(9), None), timed_out);
}

#[test]
fn a_connect_to_a_port_where_nobody_listens_is_refused() {
    let refused = Some(ErrorKind::ConnectionRefused);
    assert_eq!(connect_to(at(0), Some(Time::from_secs(50))), (Time::from_secs(50), refused));
}

#[test]
fn a_host_connects_to_itself() {
    let (mut stage, hosts) = stage(1, 0);
    let ends = start_sink(&mut stage, hosts[0]);
    start(&mut stage, hosts[0], |env, network| async move {
        env.sleep_until(millis(10)).await;
        let mut stream = network.connect(at(0)).await.unwrap();
        stream.write_all(b"me").await.unwrap();
    });
    run(&mut stage, millis(100));
    assert_eq!(ends.borrow()[0].1, "end after 2");
}

#[test]
fn a_listener_tells_its_port_and_gives_it_back() {
    let (mut stage, hosts) = stage(1, 0);
    start(&mut stage, hosts[0], |_, network| async move {
        let listener = network.listen(at(0)).await.unwrap();
        assert_eq!(listener.local_addr().unwrap(), at(0));
        let taken = network.listen(ANY).await.err().map(|error| error.kind());
        assert_eq!(taken, Some(ErrorKind::AddrInUse));
        drop(listener);
        let listener = network.listen(SocketAddr::new(ANY.ip(), 0)).await.unwrap();
        assert_ne!(listener.local_addr().unwrap().port(), 0);
        for foreign in [at(1), "[::1]:1".parse().unwrap()] {
            let error = network.listen(foreign).await.err().map(|error| error.kind());
            assert_eq!(error, Some(ErrorKind::AddrNotAvailable));
        }
        network.listen(ANY).await.unwrap();
    });
    run(&mut stage, millis(10));
}

#[test]
fn names_and_literals_resolve_and_other_names_are_not_found() {
    let (mut stage, hosts) = stage(1, 0);
    start(&mut stage, hosts[0], |_, network| async move {
        assert_eq!(network.resolve("h0", PORT).await.unwrap(), [at(0)]);
        assert_eq!(network.resolve("10.0.0.9", PORT).await.unwrap(), [at(8)]);
        let error = network.resolve("elsewhere", PORT).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
    run(&mut stage, millis(10));
}

#[test]
fn a_writer_waits_for_a_reader_that_does_not_read() {
    let (mut stage, hosts) = stage(2, 0);
    start(&mut stage, hosts[0], |env, network| async move {
        let mut listener = network.listen(ANY).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        env.sleep_until(Time::from_secs(1)).await;
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    });
    let written = Rc::new(RefCell::new(Vec::new()));
    let told = written.clone();
    start(&mut stage, hosts[1], |env, network| async move {
        let mut stream = network.connect(at(0)).await.unwrap();
        let bytes = vec![1; 2 * WRITE];
        for _ in 0..2 * TCP_CAPACITY {
            let length = stream.write(&bytes).await.unwrap();
            told.borrow_mut().push((env.now(), length));
        }
    });
    run(&mut stage, Time::from_secs(2));
    let written = written.borrow();
    assert!(written.iter().all(|(_, length)| *length == WRITE));
    let early = written.iter().filter(|(at, _)| *at < Time::from_secs(1)).count();
    assert_eq!((early, written.len()), (TCP_CAPACITY, 2 * TCP_CAPACITY));
}
