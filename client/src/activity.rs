//! What a peer does around its torrents, for simulations that look on.

use std::time::Duration;

use reseed_protocol::Owner;

use crate::{Report, ReportError, Work};

/// Something that a peer did, shown by [`Env::observed`](crate::Env::observed).
#[derive(Debug)]
#[non_exhaustive]
pub enum Activity<'a> {
    /// A download begins to be watched.
    Watched {
        /// How often reports are wanted.
        interval: Duration,
        /// The names of those who are given them.
        reporters: Vec<&'a str>,
    },
    /// A reporter was given a report, and is done with it.
    Reported {
        /// The reporter's name.
        reporter: &'a str,
        /// What it was given.
        report: &'a Report,
        /// What came of it.
        result: Result<(), &'a ReportError>,
    },
    /// There will be no more reports of a download.
    ReportsEnded,
    /// Callbacks took longer than the grace period, and were dropped where they stood.
    CallbacksDropped,
    /// A download's work is done, at its time.
    Works {
        /// Which life of which download.
        life: Owner,
        /// What is done.
        work: Work,
    },
    /// A download has let go of everything; no component of it may be called any
    /// more.
    TornDown {
        /// Which life of which download.
        life: Owner,
    },
}
