//! What a download has to do at a time, in its session's agenda.

use std::{cell::RefCell, rc::Rc};

use reseed_protocol::{Agenda, Defects, Owner, Time};
use tokio::sync::Notify;

/// Something to be done for a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Work {
    /// Save resume data.
    Save,
    /// Make a snapshot for those who watch.
    Report,
    /// Tell those who watch that it has stopped.
    ReportStop,
    /// Let go of everything: nothing is done for it any more.
    TearDown,
}

/// All that a session has to do at a time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Timetable {
    agenda: Rc<RefCell<Agenda<Work>>>,
}

impl Timetable {
    /// A download begins a life.
    pub(crate) fn begin(&self, defects: Defects) -> Errands {
        let owner = self.agenda.borrow_mut().begin(defects);
        Errands { agenda: self.agenda.clone(), owner, changed: Rc::default() }
    }

    /// What waits, of all downloads (count).
    pub(crate) fn waiting(&self) -> usize {
        self.agenda.borrow().waiting()
    }
}

/// What is to be done for one life of a download.
#[derive(Debug, Clone)]
pub(crate) struct Errands {
    agenda: Rc<RefCell<Agenda<Work>>>,
    owner: Owner,
    changed: Rc<Notify>,
}

impl Errands {
    /// Puts `work` down for `at`, unless this life is over.
    pub(crate) fn schedule(&self, at: Time, work: Work) {
        if self.agenda.borrow_mut().schedule(self.owner, at, work) {
            self.changed.notify_one();
        }
    }

    /// When to [`Errands::pop`], if ever.
    pub(crate) fn next(&self) -> Option<Time> {
        self.agenda.borrow().poll_timeout(self.owner)
    }

    /// The next work that is due.
    pub(crate) fn pop(&self, now: Time) -> Option<Work> {
        self.agenda.borrow_mut().pop(self.owner, now)
    }

    /// Completes when something was put down since the last time.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whose work it is.
    pub(crate) fn life(&self) -> Owner {
        self.owner
    }

    /// This life is over, and nothing is to be done for it.
    pub(crate) fn end(&self) {
        self.agenda.borrow_mut().end(self.owner);
    }
}
