//! The stage as its run sees it: time, limits, panics, what is left.

use super::*;

#[test]
fn the_time_is_turmoils_on_every_host_and_after_a_restart() {
    let (mut stage, hosts) = stage(2, 5);
    let checks = Rc::new(Cell::new(0));
    for round in 1..=3 {
        for host in &hosts {
            let checks = checks.clone();
            start(&mut stage, *host, |env, _| async move {
                for wait in [0, 1, 400, 999, 1_000, 1_001, 70_000] {
                    let deadline = env.now() + Duration::from_micros(wait);
                    env.sleep_until(deadline).await;
                    assert!(env.now() >= deadline && env.now() - deadline < TICK);
                    assert_eq!(turmoil::sim_elapsed(), Some(env.now().since_epoch()));
                    checks.set(checks.get() + 1);
                }
            });
        }
        run(&mut stage, Time::from_secs(round));
        stage.crash(hosts[0]);
        run(&mut stage, Time::from_secs(round) + Duration::from_millis(500));
        stage.revive(hosts[0]);
    }
    assert_eq!(checks.get(), 3 * 2 * 7);
}

#[test]
fn leftovers_name_what_runs_and_are_gone_when_the_process_has_ended() {
    let (mut stage, hosts) = stage(2, 10);
    drop(start_sink(&mut stage, hosts[0]));
    start(&mut stage, hosts[1], |env, network| async move {
        let listener = network.listen(ANY).await.unwrap();
        let dialling = network.clone();
        env.spawn("dial", async move { drop(dialling.connect(at(9)).await) });
        let stream = network.connect(at(0)).await.unwrap();
        env.sleep_until(Time::from_secs(1)).await;
        drop((stream, listener));
    });
    run(&mut stage, millis(500));
    assert_eq!(
        stage.leftovers(hosts[1]),
        Leftovers {
            tasks: vec!["main".to_owned(), "dial".to_owned()],
            sockets: vec![
                "listening at 0.0.0.0:6881".to_owned(),
                "connecting to 10.0.0.10:6881".to_owned(),
                "10.0.0.2:10000 connected to 10.0.0.1:6881".to_owned(),
            ],
            timers: 1,
        }
    );
    run(&mut stage, Time::from_secs(130));
    assert_eq!(stage.leftovers(hosts[1]), Leftovers::default());
    start(&mut stage, hosts[1], |env, _| async move { env.sleep_until(env.now()).await });
    assert_eq!(stage.leftovers(hosts[1]).tasks, ["main"]);
    run(&mut stage, Time::from_secs(131));
    assert_eq!(stage.leftovers(hosts[1]), Leftovers::default());
}

#[test]
fn a_panic_costs_the_host_its_processes_and_its_remotes_are_told() {
    let (mut stage, hosts) = stage(2, 40);
    let ends = start_sink(&mut stage, hosts[0]);
    start(&mut stage, hosts[1], |env, network| async move {
        let _stream = network.connect(at(0)).await.unwrap();
        env.spawn("doomed", async { panic!("piece 7 is gone") });
        pending().await
    });
    assert_eq!(stage.run_until(Time::from_secs(1), &|| false), Paused::Time);
    let panics = stage.panics();
    assert_eq!(panics.len(), 1);
    assert!(panics[0].starts_with("at 0.040000 s task \"doomed\" of h1 panicked at "));
    assert!(panics[0].contains("tests/run.rs:") && panics[0].ends_with("piece 7 is gone"));
    assert_eq!(stage.leftovers(hosts[1]), Leftovers::default());
    assert_eq!(ends.borrow()[0].1, "end after 0");

    // The host itself is up.
    start(&mut stage, hosts[1], |env, network| async move {
        env.sleep_until(Time::from_secs(2)).await;
        drop(network.connect(at(0)).await.unwrap());
    });
    assert_eq!(stage.run_until(Time::from_secs(3), &|| false), Paused::Time);
    assert_eq!((ends.borrow().len(), stage.panics().len()), (2, 1));
}

#[test]
fn a_host_that_never_waits_is_found_out() {
    let (mut stage, hosts) = stage(2, 0);
    start(&mut stage, hosts[1], |env, _| async move {
        env.sleep_until(millis(7)).await;
        loop {
            tokio::task::yield_now().await;
        }
    });
    let spin = Paused::Spin("h1 was polled 100001 times at 0.007000 s and is not done".to_owned());
    assert_eq!(stage.run_until(Time::from_secs(1), &|| false), spin);
    assert_eq!(stage.run_until(Time::from_secs(1), &|| false), spin);
}

#[test]
fn a_sleep_that_is_over_does_not_hide_a_spin() {
    let (mut stage, hosts) = stage(1, 0);
    start(&mut stage, hosts[0], |env, _| async move {
        loop {
            env.sleep_until(Time::ZERO).await;
        }
    });
    let paused = stage.run_until(Time::from_secs(1), &|| false);
    assert!(matches!(paused, Paused::Spin(_)), "{paused:?}");
}

#[test]
fn a_run_stops_for_attention_and_at_its_limits() {
    let limits = Limits { steps: 20, time: millis(15), ..Limits::default() };
    let options = TickedOptions { limits, ..TickedOptions::default() };
    let (mut stage, _) = stage_with(options, 1, link(0, 0));
    assert_eq!(stage.run_until(millis(9), &|| true), Paused::Attention);
    assert_eq!((stage.now(), stage.steps()), (millis(1), 1));
    assert_eq!(stage.run_until(millis(9), &|| false), Paused::Time);
    assert_eq!(stage.run_until(millis(9), &|| true), Paused::Time);
    let paused = stage.run_until(millis(30), &|| false);
    assert_eq!((stage.now(), stage.steps()), (millis(15), 15));
    assert!(matches!(paused, Paused::Limit(words) if words.contains("virtual time")));

    let limits = Limits { steps: 20, ..Limits::default() };
    let options = TickedOptions { limits, ..TickedOptions::default() };
    let (mut stage, _) = stage_with(options, 1, link(0, 0));
    let paused = stage.run_until(millis(30), &|| false);
    assert!(matches!(paused, Paused::Limit(words) if words.contains("20 steps")));
}

#[test]
fn a_failure_of_turmoil_itself_is_a_limit() {
    let (mut stage, hosts) = stage(2, 0);
    start(&mut stage, hosts[0], |_, network| async move {
        let _deaf = network.listen(ANY).await.unwrap();
        pending().await
    });
    start(&mut stage, hosts[1], |env, network| async move {
        for _ in 0..2 * TCP_CAPACITY {
            let network = network.clone();
            env.spawn("dial", async move { drop(network.connect(at(0)).await) });
        }
    });
    let paused = stage.run_until(Time::from_secs(1), &|| false);
    assert!(matches!(paused, Paused::Limit(words) if words.contains("server socket buffer full")));
}

#[test]
fn a_dropped_stage_drops_its_processes() {
    let held = Rc::new(());
    for running in [false, true] {
        let (mut stage, hosts) = stage(2, 10);
        drop(start_sink(&mut stage, hosts[0]));
        let held = held.clone();
        start(&mut stage, hosts[1], |env, network| async move {
            let stream = network.connect(at(0)).await.unwrap();
            env.spawn("held", async move {
                let _held = (held, stream);
                pending().await
            });
            network.connect(at(9)).await.map(drop).unwrap_err();
        });
        if running {
            run(&mut stage, millis(100));
        }
    }
    assert_eq!(Rc::strong_count(&held), 1);
}
