//! Hosts that lose their power and come back.

use super::*;

#[test]
fn of_a_loss_of_power_a_remote_hears_nothing() {
    let (mut stage, hosts) = stage(2, 40);
    let ends = start_sink(&mut stage, hosts[0]);
    start(&mut stage, hosts[1], |env, network| async move {
        let _stream = network.connect(at(0)).await.unwrap();
        env.sleep_until(Time::from_secs(50)).await;
    });
    run(&mut stage, millis(100));
    stage.crash(hosts[1]);
    assert_eq!(stage.leftovers(hosts[1]), Leftovers::default());
    run(&mut stage, Time::from_secs(100));
    assert!(ends.borrow().is_empty());
    assert_eq!(stage.leftovers(hosts[0]).tasks, ["main", "reader"]);
}

#[test]
fn what_was_sent_before_a_loss_of_power_arrives() {
    let (mut stage, hosts) = stage(2, 40);
    let heard = slot();
    let result = heard.clone();
    start(&mut stage, hosts[0], |env, network| async move {
        let mut listener = network.listen(ANY).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = [0; 10];
        stream.read_exact(&mut bytes).await.unwrap();
        *result.borrow_mut() = Some((bytes, env.now()));
    });
    start(&mut stage, hosts[1], |env, network| async move {
        let mut stream = network.connect(at(0)).await.unwrap();
        env.sleep_until(millis(90)).await;
        stream.write_all(b"last words").await.unwrap();
        pending().await
    });
    run(&mut stage, millis(100));
    stage.crash(hosts[1]);
    run(&mut stage, Time::from_secs(1));
    assert_eq!(heard.take(), Some((*b"last words", millis(130))));
}

#[test]
fn after_a_restart_old_connections_are_reset_when_used_and_new_ones_work() {
    let (mut stage, hosts) = stage(2, 40);
    drop(start_sink(&mut stage, hosts[0]));
    let story: Rc<RefCell<Vec<(Time, String)>>> = Rc::default();
    let told = story.clone();
    start(&mut stage, hosts[1], |env, network| async move {
        let tell = |what: String| told.borrow_mut().push((env.now(), what));
        let mut old = network.connect(at(0)).await.unwrap();
        tell("connected".to_owned());
        env.sleep_until(millis(2000)).await;
        old.write_all(b"while it is down").await.unwrap();
        let error = old.read(&mut [0; 8]).await.unwrap_err();
        tell(format!("{:?}", error.kind()));
        let error = old.write(b"again").await.unwrap_err();
        tell(format!("{:?}", error.kind()));
        let mut new = network.connect(at(0)).await.unwrap();
        new.write_all(b"hello").await.unwrap();
        tell("connected".to_owned());
    });
    run(&mut stage, millis(1000));
    stage.crash(hosts[0]);
    run(&mut stage, millis(5000));
    assert_eq!(story.borrow().len(), 1, "the remote notices nothing");
    stage.revive(hosts[0]);
    let ends = start_sink(&mut stage, hosts[0]);
    run(&mut stage, millis(6000));
    let expected =
        [(40, "connected"), (5040, "ConnectionReset"), (5040, "BrokenPipe"), (5080, "connected")];
    assert_eq!(*story.borrow(), expected.map(|(at, what)| (millis(at), what.to_owned())));
    assert_eq!(*ends.borrow(), [(millis(5120), "end after 5".to_owned())]);
}

#[test]
fn generators_are_substreams_of_the_seed_by_name_incarnation_and_label() {
    let options = TickedOptions { seed: 5, ..TickedOptions::default() };
    let (mut stage, hosts) = stage_with(options, 1, link(0, 0));
    for incarnation in 0..2 {
        let number = slot();
        let drawn = number.clone();
        start(&mut stage, hosts[0], |env, _| async move {
            *drawn.borrow_mut() = Some(env.rng("picker").next_u64());
        });
        run(&mut stage, Time::from_secs(1 + incarnation));
        let label = format!("h0/{incarnation}/picker");
        assert_eq!(number.take(), Some(Substreams::new(5).stream(&label).next_u64()));
        stage.crash(hosts[0]);
        stage.revive(hosts[0]);
    }
}

#[test]
fn what_a_stopped_process_left_behind_does_nothing() {
    let (mut stage, hosts) = stage(1, 0);
    let kept = slot();
    let keep = kept.clone();
    stage.start(hosts[0], |env, network, disk| {
        *keep.borrow_mut() = Some((env, network, disk));
        Box::pin(async {})
    });
    run(&mut stage, millis(5));
    stage.crash(hosts[0]);
    stage.revive(hosts[0]);
    let (env, network, disk) = kept.take().expect("it was started");
    env.spawn("late", async { panic!("it ran") });
    assert_eq!(stage.leftovers(hosts[0]), Leftovers::default());
    assert!(reseed_client::Disk::length(&disk, "f".as_ref()).is_err());
    start(&mut stage, hosts[0], |_, _| async move {
        let error = network.connect(at(0)).await.err().map(|error| error.kind());
        assert_eq!(error, Some(ErrorKind::NotConnected));
    });
    run(&mut stage, millis(10));
}
