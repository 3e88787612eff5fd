//! Tasks, timers and time.

use std::{cell::RefCell, rc::Rc, time::Duration};

use reseed_client::Env;
use reseed_protocol::Time;
use reseed_sim::{HostLink, Limit, Limits, Step, WorldOptions};
use tokio::sync::mpsc;

use super::exact;
use crate::common::{millis, slot, world};

fn order_of_ten_tasks(seed: u64, perturbation: f64) -> Vec<u32> {
    let options = WorldOptions { seed, perturbation, ..exact() };
    let (mut world, hosts) = world(options, 1, HostLink::default());
    let order = Rc::new(RefCell::new(Vec::new()));
    for number in 0..10 {
        let order = order.clone();
        hosts[0].spawn("task", async move { order.borrow_mut().push(number) });
    }
    world.run_until(Time::ZERO).unwrap();
    order.take()
}

#[test]
fn without_perturbation_tasks_run_in_the_order_of_waking() {
    assert_eq!(order_of_ten_tasks(1, 0.0), (0..10).collect::<Vec<_>>());
}

#[test]
fn with_perturbation_the_seed_decides_the_order() {
    assert_eq!(order_of_ten_tasks(1, 1.0), order_of_ten_tasks(1, 1.0));
    assert_ne!(order_of_ten_tasks(1, 1.0), order_of_ten_tasks(2, 1.0));
    let mut sorted = order_of_ten_tasks(1, 1.0);
    sorted.sort();
    assert_eq!(sorted, (0..10).collect::<Vec<_>>());
}

#[test]
fn sleeps_end_at_their_deadline_to_the_nanosecond() {
    let (mut world, hosts) = world(exact(), 1, HostLink::default());
    let woken = slot();
    let (env, result) = (hosts[0].env(), woken.clone());
    let deadline = Time::from_epoch(Duration::from_nanos(1_234_567_891));
    hosts[0].spawn("sleeper", async move {
        env.sleep_until(deadline).await;
        *result.borrow_mut() = Some(env.now());
    });
    world.run_until(Time::from_secs(9)).unwrap();
    assert_eq!(woken.take(), Some(deadline));
    assert_eq!(world.now(), Time::from_secs(9));
}

#[test]
fn sleeps_with_one_deadline_end_in_the_order_of_their_creation() {
    let (mut world, hosts) = world(exact(), 1, HostLink::default());
    let order = Rc::new(RefCell::new(Vec::new()));
    let env = hosts[0].env();
    let sleeps: Vec<_> = (0..5).map(|_| env.sleep_until(Time::from_secs(1))).collect();
    for (number, sleep) in sleeps.into_iter().enumerate().rev() {
        let order = order.clone();
        hosts[0].spawn("sleeper", async move {
            sleep.await;
            order.borrow_mut().push(number);
        });
    }
    world.run_until(Time::from_secs(1)).unwrap();
    assert_eq!(order.take(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_dropped_sleep_leaves_no_timer() {
    let (mut world, hosts) = world(exact(), 1, HostLink::default());
    let env = hosts[0].env();
    hosts[0].spawn("impatient", async move {
        for _ in 0..1000 {
            let long = Box::pin(env.sleep_until(env.now() + millis(1000)));
            let short = Box::pin(env.sleep_until(env.now() + millis(1)));
            futures_util::future::select(long, short).await;
        }
        std::future::pending::<()>().await;
    });
    for second in 0..10 {
        world.run_until(Time::from_secs(second)).unwrap();
        assert!(world.timers() <= 2, "{} timers at {second} s", world.timers());
    }
    assert_eq!(world.timers(), 0);
    assert_eq!(world.step(), Ok(Step::Idle));
}

#[test]
fn tasks_may_spawn_and_be_dropped_while_they_are_polled() {
    let (mut world, hosts) = world(exact(), 1, HostLink::default());
    let count = slot();
    let (env, result) = (hosts[0].env(), count.clone());
    hosts[0].spawn("parent", async move {
        let (done, mut all) = mpsc::channel(100);
        for _ in 0..100 {
            let done = done.clone();
            env.spawn("child", async move { done.send(()).await.unwrap() });
        }
        drop(done);
        let mut count = 0;
        while all.recv().await.is_some() {
            count += 1;
        }
        *result.borrow_mut() = Some(count);
    });
    world.run_until(Time::ZERO).unwrap();
    assert_eq!(count.take(), Some(100));
    assert_eq!(world.tasks(hosts[0].id()).len(), 0);
}

#[test]
fn a_panic_kills_its_host_only_and_is_reported_with_its_place() {
    let (mut world, hosts) = world(exact(), 2, HostLink::default());
    let env = hosts[0].env();
    hosts[0].spawn("bomb", async move {
        env.sleep_until(Time::from_secs(3)).await;
        panic!("piece {} is gone", 5);
    });
    for host in &hosts {
        let env = host.env();
        host.spawn("worker", async move { env.sleep_until(Time::from_secs(100)).await });
    }
    world.run_until(Time::from_secs(4)).unwrap();
    let [panic] = world.panics() else { panic!("one panic, not {:?}", world.panics()) };
    assert_eq!((panic.at, panic.host, &*panic.task), (Time::from_secs(3), hosts[0].id(), "bomb"));
    assert_eq!(panic.panic.message, "piece 5 is gone");
    assert!(panic.panic.location.as_ref().unwrap().contains("executor.rs"));
    assert!(world.tasks(hosts[0].id()).is_empty());
    assert_eq!(world.tasks(hosts[1].id()).len(), 1);
}

#[test]
fn a_panic_in_a_destructor_does_not_end_the_run() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in a destructor");
        }
    }
    let (mut world, hosts) = world(exact(), 1, HostLink::default());
    hosts[0].spawn("bomb", async {
        let _bomb = Bomb;
        std::future::pending::<()>().await;
    });
    world.run_until(Time::from_secs(1)).unwrap();
    world.crash(hosts[0].id());
    world.run_until(Time::from_secs(2)).unwrap();
}

#[test]
fn a_task_that_spins_at_one_instant_stops_the_run() {
    let limits = Limits { polls_at_instant: 1000, ..Limits::default() };
    let (mut world, hosts) = world(WorldOptions { limits, ..exact() }, 2, HostLink::default());
    let env = hosts[1].env();
    hosts[1].spawn("spinner", async move {
        env.sleep_until(Time::from_secs(1)).await;
        loop {
            // Over already, so that nothing here ever waits.
            env.sleep_until(Time::ZERO).await;
        }
    });
    let stopped = world.run_until(Time::from_secs(2));
    let spin = Limit::Spin { host: hosts[1].id(), at: Time::from_secs(1), polls: 1001 };
    assert_eq!(stopped, Err(spin));
}

#[test]
fn a_run_stops_at_its_limits() {
    let limits = Limits { steps: 10, time: Time::from_secs(5), ..Limits::default() };
    let (mut world, hosts) = world(WorldOptions { limits, ..exact() }, 1, HostLink::default());
    let env = hosts[0].env();
    hosts[0].spawn("ticker", async move {
        loop {
            env.sleep_until(env.now() + millis(1)).await;
        }
    });
    assert_eq!(world.run_until(Time::from_secs(4)), Err(Limit::Steps(10)));
    assert!(world.now() < Time::from_secs(1));
}

#[test]
fn a_host_has_its_own_numbers_and_others_after_a_restart() {
    use rand::Rng;
    let (mut world, hosts) = world(exact(), 2, HostLink::default());
    let draw = |env: &reseed_sim::HostEnv| env.rng("choker").next_u64();
    let first = draw(&hosts[0].env());
    assert_eq!(first, draw(&hosts[0].env()));
    assert_ne!(first, draw(&hosts[1].env()));
    world.crash(hosts[0].id());
    let revived = world.revive(hosts[0].id());
    assert_ne!(first, draw(&revived.env()));
}
