//! Waiting for the first of several futures, in an order that a reader can see.

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::FutureExt;
use pin_project_lite::pin_project;
use reseed_protocol::Time;

use crate::Env;

#[doc(hidden)]
pub use futures_util::future::Either;

/// Waits for the first of several futures and runs its arm. They are polled in
/// the order written, so of two that are ready at once the upper one wins, always;
/// the losers are dropped before the arm runs.
///
/// An arm is an ordinary expression: `return`, `break`, `?` and `.await` work in it.
///
/// ```
/// # futures_util::future::FutureExt::now_or_never(async {
/// let won = reseed_client::race! {
///     () = std::future::pending() => "the silence",
///     word = std::future::ready("hello") => word,
/// };
/// assert_eq!(won, "hello");
/// # }).unwrap();
/// ```
#[macro_export]
macro_rules! race {
    (@join $future:expr) => { $future };
    (@join $future:expr, $($rest:expr),+) => {
        $crate::race::first($future, $crate::race!(@join $($rest),+))
    };
    (@pick $won:ident; $pattern:pat => $arm:expr) => {{
        let $pattern = $won;
        $arm
    }};
    (@pick $won:ident; $pattern:pat => $arm:expr, $($patterns:pat => $arms:expr),+) => {
        match $won {
            $crate::race::Either::Left($pattern) => $arm,
            $crate::race::Either::Right(won) => {
                $crate::race!(@pick won; $($patterns => $arms),+)
            }
        }
    };
    ($($pattern:pat = $future:expr => $arm:expr),+ $(,)?) => {{
        let won = $crate::race!(@join $($future),+).await;
        $crate::race!(@pick won; $($pattern => $arm),+)
    }};
}

#[doc(hidden)]
pub fn first<A: IntoFuture, B: IntoFuture>(a: A, b: B) -> First<A::IntoFuture, B::IntoFuture> {
    First { a: a.into_future(), b: b.into_future() }
}

pin_project! {
    /// No `async fn`, which would hold what it is given twice: once as it came, and once
    /// where it stays while it is waited for.
    #[doc(hidden)]
    pub struct First<A, B> {
        #[pin]
        a: A,
        #[pin]
        b: B,
    }
}

impl<A: Future, B: Future> Future for First<A, B> {
    type Output = Either<A::Output, B::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(won) = this.a.poll(context) {
            return Poll::Ready(Either::Left(won));
        }
        this.b.poll(context).map(Either::Right)
    }
}

/// What `future` gives, or `None` if it takes until `deadline`; it is dropped then.
pub fn timeout_at<F: IntoFuture>(
    env: &impl Env,
    deadline: Time,
    future: F,
) -> impl Future<Output = Option<F::Output>> {
    first(future, env.sleep_until(deadline)).map(|won| match won {
        Either::Left(output) => Some(output),
        Either::Right(()) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        future::{pending, ready},
    };

    use futures_util::FutureExt;

    #[test]
    fn of_two_that_are_ready_the_upper_one_wins() {
        let raced = async {
            race! {
                () = pending() => 0,
                n = ready(1) => n,
                n = ready(2) => n,
            }
        };
        assert_eq!(raced.now_or_never(), Some(1));
    }

    #[test]
    fn the_losers_are_dropped_before_the_arm_runs() {
        struct Flag<'a>(&'a Cell<bool>);
        impl Drop for Flag<'_> {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }
        let dropped = Cell::new(false);
        let loser = {
            let flag = Flag(&dropped);
            async move {
                let _flag = flag;
                pending::<()>().await
            }
        };
        let raced = async {
            race! {
                () = loser => false,
                () = ready(()) => dropped.get(),
            }
        };
        assert_eq!(raced.now_or_never(), Some(true));
    }

    #[test]
    fn an_arm_may_leave_the_function_around_it() {
        async fn run() -> Result<u8, &'static str> {
            loop {
                race! {
                    result = ready(Err("left")) => result?,
                    () = pending() => break,
                }
            }
            Ok(1)
        }
        assert_eq!(run().now_or_never(), Some(Err("left")));
    }
}
