//! Points at which a simulation may let happen what may always happen, but seldom does.

use std::time::Duration;

macro_rules! points {
    ($($variant:ident, $name:literal, $summary:literal;)*) => {
        /// A point at which something unusual may happen that a peer has to put up with at
        /// any time: see [`Env::buggify`](crate::Env::buggify).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Buggify {
            $(#[doc = $summary] $variant,)*
        }

        impl Buggify {
            /// All of them, by name.
            pub const ALL: &[Buggify] = &[$(Buggify::$variant,)*];

            /// What it is called in reports.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Buggify::$variant => $name,)*
                }
            }
        }
    };
}

points! {
    EarlyTimer, "early-timer", "A download is woken before anything is due.";
    LateCallback, "late-callback", "A callback begins a while after its worker has taken it.";
    LateDial, "late-dial", "A connection takes a while longer to open.";
    LateRead, "late-read", "What was read from a connection is handed on a while later.";
    ShortRead, "short-read", "A read gives a few bytes of what is there.";
    ShortWrite, "short-write", "A write takes a few bytes of what is to be written.";
    SpuriousWakeup, "spurious-wakeup", "A download is woken for nothing at all.";
}

impl Buggify {
    /// How long a while is: more than a task waits for its turn, less than anybody waits
    /// for an answer.
    pub(crate) const WHILE: Duration = Duration::from_millis(50);

    /// How few a few bytes are: a message is cut in its length, or right behind.
    pub(crate) const FEW_BYTES: usize = 3;
}
