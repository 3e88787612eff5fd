use std::future::pending;

use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::manual::ManualEnv;

type Log = Rc<RefCell<Vec<String>>>;

/// A pool, and the log that its callbacks write.
fn pool() -> (ManualEnv, CallbackPool<ManualEnv>, Log) {
    let env = ManualEnv::default();
    let pool = CallbackPool::new(env.clone(), Defects::NONE);
    (env, pool, Log::default())
}

/// A callback that takes `seconds` and then writes its name down.
fn takes(env: &ManualEnv, log: &Log, name: &str, seconds: u64) -> impl Future<Output = ()> + use<> {
    let (env, log, name) = (env.clone(), log.clone(), name.to_owned());
    async move {
        env.sleep_until(env.now() + Duration::from_secs(seconds)).await;
        log.borrow_mut().push(name);
    }
}

/// What a drain gives, and when it does, if that is within a minute.
fn drain(
    env: &ManualEnv,
    pool: &Rc<CallbackPool<ManualEnv>>,
    until: Option<Time>,
) -> Option<(Time, Result<Vec<String>, WaitsForItself>)> {
    let answer = Rc::new(RefCell::new(None));
    let (told, clock, pool) = (answer.clone(), env.clone(), pool.clone());
    env.spawn("drain", async move {
        let result = pool.drain("session", until).await;
        *told.borrow_mut() = Some((clock.now(), result));
    });
    env.run_until(env.now() + Duration::from_secs(60));
    answer.take()
}

#[test]
fn two_callbacks_run_at_a_time_and_the_third_waits_for_one_to_end() {
    let (env, pool, log) = pool();
    for (name, seconds) in [("slow", 10), ("quick", 1), ("third", 1)] {
        pool.submit(name, takes(&env, &log, name, seconds)).unwrap();
    }
    env.run_until(Time::from_secs(1));
    assert_eq!(*log.borrow(), ["quick"]);
    env.run_until(Time::from_secs(9));
    assert_eq!(*log.borrow(), ["quick", "third"]);
    env.run_until(Time::from_secs(10));
    assert_eq!(*log.borrow(), ["quick", "third", "slow"]);
}

#[test]
fn a_drain_lets_the_queued_and_the_running_end_and_refuses_new_ones() {
    let (env, pool, log) = pool();
    for name in ["a", "b", "c"] {
        pool.submit(name, takes(&env, &log, name, 2)).unwrap();
    }
    env.run_until(Time::from_secs(1));
    let callbacks = pool.callbacks();
    let pool = Rc::new(pool);
    let refused = Rc::new(Cell::new(None));
    let (late, told) = (callbacks.clone(), refused.clone());
    let clock = env.clone();
    env.spawn("latecomer", async move {
        clock.sleep_until(Time::from_secs(3)).await;
        told.set(Some(late.submit("late", async { panic!("it ran") })));
    });
    let (at, dropped) = drain(&env, &pool, None).unwrap();
    assert_eq!((at, dropped), (Time::from_secs(4), Ok(vec![])));
    assert_eq!(*log.borrow(), ["a", "b", "c"]);
    assert_eq!(refused.get(), Some(Err(PoolClosed)));
    assert!(pool.workers().is_empty());
}

#[test]
fn what_has_not_ended_in_time_is_dropped_and_named() {
    let (env, pool, log) = pool();
    let held = Rc::new(());
    for name in ["blocked", "blocked as well", "queued"] {
        let held = held.clone();
        let callback = async move {
            let _held = held;
            pending().await
        };
        pool.submit(name, callback).unwrap();
    }
    pool.submit("never begun", takes(&env, &log, "never begun", 0)).unwrap();
    env.run();
    let pool = Rc::new(pool);
    let (at, dropped) = drain(&env, &pool, Some(Time::from_secs(5))).unwrap();
    assert_eq!(at, Time::from_secs(5));
    assert_eq!(dropped.unwrap(), ["blocked", "blocked as well", "queued", "never begun"]);
    assert!(pool.workers().is_empty());
    assert_eq!(Rc::strong_count(&held), 1, "nothing of the callbacks is left");
    assert!(log.borrow().is_empty());
}

#[test]
fn a_callback_that_would_wait_for_itself_is_told_so() {
    let (env, pool, _) = pool();
    let pool = Rc::new(pool);
    let answer = Rc::new(Cell::new(None));
    let (told, inner) = (answer.clone(), Rc::downgrade(&pool));
    let callback = async move {
        let pool = inner.upgrade().expect("the pool is there");
        told.set(Some(pool.drain("session", None).await.unwrap_err()));
    };
    pool.submit("shutdown", callback).unwrap();
    env.run();
    assert_eq!(answer.get(), Some(WaitsForItself { worker: "callback worker 1" }));
    assert_eq!(pool.callbacks().running_here(), None, "outside it may wait");
    assert!(drain(&env, &pool, None).is_some());
}

#[test]
fn dropping_the_pool_drops_its_callbacks() {
    let (env, pool, _) = pool();
    let held = Rc::new(());
    let callbacks = pool.callbacks();
    for _ in 0..3 {
        let held = held.clone();
        let callback = async move {
            let _held = held;
            pending().await
        };
        pool.submit("blocked", callback).unwrap();
    }
    env.run();
    drop(pool);
    env.run();
    assert_eq!(Rc::strong_count(&held), 1);
    assert_eq!(callbacks.submit("late", async {}), Err(PoolClosed));
}

#[test]
fn a_drain_that_nobody_awaits_to_its_end_has_closed_the_pool_all_the_same() {
    let (env, pool, _) = pool();
    pool.submit("blocked", pending()).unwrap();
    env.run();
    assert!(pool.drain("session", None).now_or_never().is_none());
    assert_eq!(pool.submit("late", async {}), Err(PoolClosed));
}

#[cfg(feature = "defects")]
#[test]
fn the_drain_of_old_hangs_with_both_workers_in_it_and_one_callback_queued() {
    // The number that is in the drain, the number queued behind, whether it ends.
    for (draining, queued, ends) in [(1, 1, true), (1, 0, true), (2, 0, true), (2, 1, false)] {
        let env = ManualEnv::default();
        let defects = Defects::NONE.with(Defect::PoolDrainsItself);
        let pool = Rc::new(CallbackPool::new(env.clone(), defects));
        let done = Rc::new(Cell::new(0));
        for _ in 0..draining {
            let (inner, done) = (pool.clone(), done.clone());
            let callback = async move {
                inner.drain("main", None).await.unwrap();
                done.set(done.get() + 1);
            };
            pool.submit("exit", callback).unwrap();
        }
        for _ in 0..queued {
            pool.submit("state", async {}).unwrap();
        }
        env.run_until(Time::from_secs(60));
        let expected = if ends { draining } else { 0 };
        assert_eq!(done.get(), expected, "{draining} in the drain, {queued} queued");
    }
}

proptest! {
    #[test]
    fn every_callback_that_was_taken_ends_once_or_is_named(
        durations in prop::collection::vec(0u64..20, 0..12),
        drain_at in 0u64..20,
        patience in 0u64..20,
    ) {
        let (env, pool, log) = pool();
        for (name, seconds) in durations.iter().enumerate() {
            let name = name.to_string();
            pool.submit(&name, takes(&env, &log, &name, *seconds)).unwrap();
        }
        env.run_until(Time::from_secs(drain_at));
        let pool = Rc::new(pool);
        let until = Time::from_secs(drain_at + patience);
        let (at, dropped) = drain(&env, &pool, Some(until)).expect("it ends");
        prop_assert!(at <= until);
        prop_assert!(pool.workers().is_empty());
        let mut all: Vec<usize> = (log.borrow().iter().chain(&dropped.unwrap()))
            .map(|name| name.parse().unwrap())
            .collect();
        all.sort_unstable();
        prop_assert_eq!(all, Vec::from_iter(0..durations.len()));
    }
}
