//! Who waits for whom: what a task says before it waits for another.

use std::{any::Any, fmt};

/// One waiting for another. Names are those of tasks, or of what stands for
/// somebody: `"main"`, `"session"`, `"callback worker 1"`, `"tracker"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait<'a> {
    /// Who waits.
    pub who: &'a str,
    /// For whom.
    pub on: &'a str,
    /// What it is to do, as in "waits for the tracker *to answer*".
    pub to: &'a str,
}

/// As long as this is held, the wait goes on. Given by
/// [`Env::waiting`](crate::Env::waiting); hold it across the `.await`.
#[derive(Default)]
#[must_use = "the wait is over when this is dropped"]
pub struct Waiting(Option<Box<dyn Any>>);

impl Waiting {
    /// A wait that is over when `guard` is dropped.
    pub fn until_dropped(guard: impl Any) -> Waiting {
        Waiting(Some(Box::new(guard)))
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("noted", &self.0.is_some()).finish()
    }
}
