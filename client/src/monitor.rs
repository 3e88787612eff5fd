//! Watching a download: reports at an interval, to any number of reporters.
//!
//! The way of a report: a snapshot of the download is made on the download's own
//! task, a callback with it waits for a worker of the callback pool, hands it to
//! each reporter in turn, and says when it wants the next one. That goes to the
//! session's agenda, as a task of the download.
//!
//! **A reporter that fails is handled, not swallowed**, as long as three things
//! hold: the failure is told (logged when it begins, and shown to the environment
//! each time), what it hindered is tried again with the next report, and nobody
//! else pays for it, neither the reporters after it nor the reports to come. An
//! error that is caught and has no second try, or of which nobody is told, is
//! swallowed; there is none in here.

use std::{cell::RefCell, collections::BTreeSet, rc::Rc, time::Duration};

use futures_util::future::LocalBoxFuture;
use reseed_protocol::{Defect, Defects, Status};

use crate::{Activity, Callbacks, Env, Work, errands::Errands, race::timeout_at};

mod report;
mod reporters;
pub mod schema;
#[cfg(test)]
mod tests;

pub use report::{Report, ReportError};
pub use reporters::{LogReporter, MonitoringServer, ServerReporter};

/// How long a reporter may take for one report: a server that hangs must not keep
/// a worker of the callback pool for ever.
const REPORTER_TIMEOUT: Duration = Duration::from_secs(5);

/// Who wants to know how a download stands.
pub trait Reporter {
    /// What it is called in logs and evidence.
    fn name(&self) -> &str;

    /// Takes in a report. It runs on a worker of the callback pool, and is given up
    /// after five seconds. After an error it is asked again with the next report.
    fn report<'a>(&'a self, report: &'a Report) -> LocalBoxFuture<'a, Result<(), ReportError>>;
}

/// How a download is watched.
#[derive(Clone)]
pub struct Monitoring {
    /// Where reporters run.
    pub callbacks: Callbacks,
    /// How often they are given a report. SmoothIT defaults to 5 s.
    pub interval: Duration,
    /// Who is given them, in this order.
    pub reporters: Vec<Rc<dyn Reporter>>,
}

impl std::fmt::Debug for Monitoring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.reporters.iter().map(|reporter| reporter.name()).collect();
        f.debug_struct("Monitoring")
            .field("interval", &self.interval)
            .field("reporters", &names)
            .finish_non_exhaustive()
    }
}

/// The reports of one life of a download: one at a time, so that they reach each
/// reporter in order.
pub(crate) struct Chain<E> {
    shared: Rc<Shared<E>>,
}

struct Shared<E> {
    env: E,
    monitoring: Monitoring,
    errands: Errands,
    defects: Defects,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// Reports made so far (count).
    made: u64,
    /// A report is with the reporters.
    busy: bool,
    /// The one to come after it: a later snapshot replaces an earlier one.
    waiting: Option<Report>,
    /// Reporters, by their place, whose failure was logged.
    failing: BTreeSet<usize>,
    /// The callback wants no more.
    ended: bool,
}

impl<E: Env> Chain<E> {
    pub(crate) fn new(
        env: E,
        monitoring: Monitoring,
        errands: Errands,
        defects: Defects,
    ) -> Chain<E> {
        env.observed(&Activity::Watched {
            interval: monitoring.interval,
            reporters: monitoring.reporters.iter().map(|reporter| reporter.name()).collect(),
        });
        let state = RefCell::default();
        Chain { shared: Rc::new(Shared { env, monitoring, errands, defects, state }) }
    }

    /// A snapshot was made: it goes to the reporters when they are done with the
    /// last one.
    pub(crate) fn tell(&self, status: &Status) {
        let mut state = self.shared.state.borrow_mut();
        if state.ended {
            return;
        }
        let report = Report::new(state.made, status, self.shared.defects);
        state.made += 1;
        if state.busy {
            state.waiting = Some(report);
            return;
        }
        let name = format!("report {} of {}", state.made, status.info_hash);
        let callback = self.shared.clone().callback(report);
        match self.shared.monitoring.callbacks.submit(&name, callback) {
            Ok(()) => state.busy = true,
            // The session shuts down, and its reports end with its callbacks.
            Err(closed) => tracing::debug!(%closed, "no report"),
        }
    }
}

impl<E: Env> Shared<E> {
    /// Hands out `report`, and those that come meanwhile; then puts down the next.
    async fn callback(self: Rc<Self>, report: Report) {
        let mut next = Some(report);
        while let Some(report) = next {
            let wanted = self.hand_out(&report).await;
            let mut state = self.state.borrow_mut();
            next = state.waiting.take();
            state.busy = next.is_some();
            let Some(wanted) = wanted else {
                state.ended = true;
                self.env.observed(&Activity::ReportsEnded);
                return;
            };
            if next.is_none() {
                self.errands.schedule(self.env.now() + wanted, Work::Report);
            }
        }
    }

    /// Hands `report` to every reporter; returns after how long the next is wanted.
    async fn hand_out(&self, report: &Report) -> Option<Duration> {
        for (place, reporter) in self.monitoring.reporters.iter().enumerate() {
            let deadline = self.env.now() + REPORTER_TIMEOUT;
            let done = timeout_at(&self.env, deadline, reporter.report(report)).await;
            let result = done.unwrap_or(Err(ReportError::TimedOut(REPORTER_TIMEOUT)));
            let reporter = reporter.name();
            if let Err(error) = &result {
                if self.state.borrow_mut().failing.insert(place) {
                    tracing::warn!(reporter, %error, "a reporter fails; trying on");
                }
            } else if self.state.borrow_mut().failing.remove(&place) {
                tracing::info!(reporter, "a reporter that failed reports again");
            }
            let result = result.as_ref().copied();
            self.env.observed(&Activity::Reported { reporter, report, result });
            if result.is_err_and(|error| self.takes_all_along(error)) {
                return None;
            }
        }
        Some(self.monitoring.interval)
    }

    /// Whether a reporter's failure goes on to whoever called it: what nobody
    /// expected does where a placeholder stands for figures, as it was found in a
    /// client that kept its reporters from nothing.
    fn takes_all_along(&self, error: &ReportError) -> bool {
        let unexpected = matches!(error, ReportError::Missing { .. });
        self.defects.has(Defect::ReporterFailureEndsReports)
            || unexpected && self.defects.has(Defect::VodStatsPlaceholder)
    }
}
