//! Upload and download limits.

use std::{
    cell::{Cell, RefCell},
    num::NonZeroU64,
    rc::Rc,
    time::Duration,
};

use reseed_protocol::{BLOCK_LENGTH, Time};
use tokio::sync::{Mutex, Notify};

use crate::{Env, race};

/// A rate in bytes a second that several connections share, first come, first
/// served. Clones share it too.
///
/// It is a token bucket that may be overdrawn: bytes pass as soon as the bucket is
/// not in debt, however many they are, and the next ones wait until the debt is
/// paid. So one read is one [`acquire`](RateLimiter::acquire), whatever its size,
/// and in any span of time no more passes than the rate allows plus
/// [`burst`](RateLimiter::burst) plus one acquire, but for what
/// [overdraws](RateLimiter::overdraw) it.
///
/// The account is kept in bytes × nanoseconds, in integers, so it is exact: no
/// rounding adds up over a long run.
#[derive(Debug, Clone)]
pub struct RateLimiter {
    shared: Rc<Shared>,
}

impl RateLimiter {
    /// A limiter of `rate` bytes a second; `None` is no limit.
    pub fn new(rate: Option<NonZeroU64>) -> RateLimiter {
        RateLimiter {
            shared: Rc::new(Shared {
                rate: Cell::new(rate),
                account: RefCell::default(),
                turn: Mutex::new(()),
                rate_changed: Notify::new(),
            }),
        }
    }

    /// Bytes a second; `None` is no limit.
    pub fn rate(&self) -> Option<NonZeroU64> {
        self.shared.rate.get()
    }

    /// Bytes that pass at once after a rest, before the rate is felt: what the rate
    /// allows in 100 ms, and at least one block. Enough for a late timer to cost
    /// no throughput.
    pub fn burst(&self) -> Option<u64> {
        self.rate().map(burst)
    }

    /// Changes the rate for those who wait as well. A debt stays, in bytes, unless
    /// the limit is lifted.
    pub fn set_rate(&self, env: &impl Env, rate: Option<NonZeroU64>) {
        let now = env.now();
        let mut account = self.shared.account.borrow_mut();
        match self.rate() {
            Some(old) => account.refill(now, old),
            None => *account = Account::opened(now),
        }
        self.shared.rate.set(rate);
        self.shared.rate_changed.notify_one();
    }

    /// Waits until `bytes` may pass, behind everybody who asked before. Dropping
    /// the future gives up the place, at no cost to the others.
    pub async fn acquire(&self, env: &impl Env, bytes: u64) {
        if self.rate().is_some() {
            // In a box: most have no limit, and need not keep the room for this.
            Box::pin(self.wait(env, bytes)).await;
        }
    }

    /// Lets `bytes` pass before everybody who waits; these wait until that is paid as well.
    pub fn overdraw(&self, env: &impl Env, bytes: u64) {
        if let Some(rate) = self.rate() {
            let mut account = self.shared.account.borrow_mut();
            account.refill(env.now(), rate);
            account.charge(bytes);
        }
    }

    async fn wait(&self, env: &impl Env, bytes: u64) {
        let _turn = self.shared.turn.lock().await;
        while let Err(solvent) = self.try_acquire(env.now(), bytes) {
            race! {
                () = self.shared.rate_changed.notified() => {},
                () = env.sleep_until(solvent) => {},
            }
        }
    }

    /// Lets `bytes` pass, or says when the debt will be paid.
    fn try_acquire(&self, now: Time, bytes: u64) -> Result<(), Time> {
        let Some(rate) = self.rate() else {
            return Ok(());
        };
        let mut account = self.shared.account.borrow_mut();
        account.refill(now, rate);
        if account.balance < 0 {
            return Err(account.solvent(rate));
        }
        account.charge(bytes);
        Ok(())
    }
}

#[derive(Debug)]
struct Shared {
    rate: Cell<Option<NonZeroU64>>,
    account: RefCell<Account>,
    /// Held by whoever is first in the queue. This mutex is fair.
    turn: Mutex<()>,
    rate_changed: Notify,
}

const NANOS: i128 = 1_000_000_000;

/// Byte-nanoseconds per second: one byte is [`NANOS`].
#[derive(Debug, Default)]
struct Account {
    balance: i128,
    at: Time,
}

impl Account {
    fn opened(now: Time) -> Account {
        Account { balance: 0, at: now }
    }

    fn refill(&mut self, now: Time, rate: NonZeroU64) {
        let elapsed = now.since(self.at).as_nanos() as i128;
        let earned = elapsed.saturating_mul(i128::from(rate.get()));
        let most = i128::from(burst(rate)) * NANOS;
        self.balance = self.balance.saturating_add(earned).min(most);
        self.at = self.at.max(now);
    }

    fn charge(&mut self, bytes: u64) {
        self.balance -= i128::from(bytes) * NANOS;
    }

    /// The first nanosecond at which there is no debt, if the rate stays.
    fn solvent(&self, rate: NonZeroU64) -> Time {
        let nanos = (-self.balance).unsigned_abs();
        let nanos = nanos.div_ceil(u128::from(rate.get()));
        self.at + Duration::from_nanos_u128(nanos)
    }
}

fn burst(rate: NonZeroU64) -> u64 {
    (rate.get() / 10).max(u64::from(BLOCK_LENGTH))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::manual::ManualEnv;

    type Log = Rc<RefCell<Vec<(Time, &'static str)>>>;

    fn limiter(rate: u64) -> RateLimiter {
        RateLimiter::new(NonZeroU64::new(rate))
    }

    /// Starts a task that acquires `bytes` `times` times and notes when.
    fn start(
        env: &ManualEnv,
        limiter: &RateLimiter,
        log: &Log,
        name: &'static str,
        bytes: u64,
        times: u32,
    ) {
        let (task_env, limiter, log) = (env.clone(), limiter.clone(), log.clone());
        env.spawn(name, async move {
            for _ in 0..times {
                limiter.acquire(&task_env, bytes).await;
                log.borrow_mut().push((task_env.now(), name));
            }
        });
    }

    fn millis(log: &Log) -> Vec<(u128, &'static str)> {
        (log.borrow().iter()).map(|&(at, name)| (at.since_epoch().as_millis(), name)).collect()
    }

    #[test]
    fn bytes_pass_at_once_and_the_next_wait_until_the_debt_is_paid() {
        let env = ManualEnv::default();
        let log = Log::default();
        start(&env, &limiter(1000), &log, "a", 500, 3);
        env.run_until(Time::from_secs(9));
        assert_eq!(millis(&log), [(0, "a"), (500, "a"), (1000, "a")]);
    }

    #[test]
    fn no_nanosecond_is_lost_over_a_long_run_at_an_awkward_rate() {
        let env = ManualEnv::default();
        let log = Log::default();
        // 7 bytes at 3 a second: 2.333… s each.
        start(&env, &limiter(3), &log, "a", 7, 30_001);
        env.run_until(Time::from_secs(70_000));
        let &(last, _) = log.borrow().last().unwrap();
        assert_eq!(log.borrow().len(), 30_001);
        assert_eq!(last, Time::from_secs(70_000));
    }

    #[test]
    fn who_asked_first_passes_first() {
        let env = ManualEnv::default();
        let log = Log::default();
        let limiter = limiter(1000);
        start(&env, &limiter, &log, "big", 3000, 2);
        start(&env, &limiter, &log, "small", 1, 2);
        start(&env, &limiter, &log, "last", 999, 1);
        env.run_until(Time::from_secs(60));
        let expected =
            [(0, "big"), (3000, "big"), (6000, "small"), (6001, "last"), (7000, "small")];
        assert_eq!(millis(&log), expected);
    }

    #[test]
    fn who_gives_up_leaves_the_queue_and_pays_nothing() {
        let env = ManualEnv::default();
        let log = Log::default();
        let limiter = limiter(1000);
        start(&env, &limiter, &log, "a", 1000, 1);
        env.run();
        let mut first = Box::pin(limiter.acquire(&env, 1_000_000));
        assert!(first.as_mut().now_or_never().is_none());
        start(&env, &limiter, &log, "b", 1000, 1);
        env.run();
        drop(first);
        env.run_until(Time::from_secs(5));
        assert_eq!(millis(&log), [(0, "a"), (1000, "b")]);
    }

    #[test]
    fn a_rest_saves_up_one_burst_and_no_more() {
        let env = ManualEnv::default();
        let log = Log::default();
        let limiter = limiter(1000);
        let burst = limiter.burst().unwrap();
        assert_eq!(burst, u64::from(BLOCK_LENGTH));
        env.run_until(Time::from_secs(1000));
        start(&env, &limiter, &log, "a", burst + 500, 2);
        env.run_until(Time::from_secs(1010));
        assert_eq!(millis(&log), [(1_000_000, "a"), (1_000_500, "a")]);
    }

    #[test]
    fn a_new_rate_holds_for_those_who_wait() {
        let env = ManualEnv::default();
        let log = Log::default();
        let limiter = limiter(1000);
        start(&env, &limiter, &log, "a", 10_000, 2);
        env.run_until(Time::from_secs(2));
        limiter.set_rate(&env, NonZeroU64::new(8000));
        env.run_until(Time::from_secs(9));
        assert_eq!(millis(&log), [(0, "a"), (3000, "a")]);

        start(&env, &limiter, &log, "b", 1, 1);
        limiter.set_rate(&env, NonZeroU64::new(1));
        env.run();
        limiter.set_rate(&env, None);
        env.run();
        assert_eq!(millis(&log)[2], (9000, "b"));
    }

    #[test]
    fn what_passes_first_is_paid_for_by_those_who_wait() {
        let env = ManualEnv::default();
        let log = Log::default();
        let limiter = limiter(1000);
        start(&env, &limiter, &log, "a", 1000, 2);
        env.run_until(Time::from_epoch(Duration::from_millis(500)));
        limiter.overdraw(&env, 300);
        env.run_until(Time::from_secs(5));
        assert_eq!(millis(&log), [(0, "a"), (1300, "a")]);
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let env = ManualEnv::default();
        let limiter = RateLimiter::new(None);
        let both = async {
            limiter.acquire(&env, u64::MAX).await;
            limiter.acquire(&env, u64::MAX).await;
        };
        assert_eq!(both.now_or_never(), Some(()));
        assert_eq!(limiter.burst(), None);
    }
}
