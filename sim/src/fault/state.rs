//! Which faults hold, and what each has done.

use std::cell::{Cell, Ref, RefCell};

use reseed_protocol::Time;

use super::{Fault, FaultPlan};
use crate::Plan;

/// The faults of a run, by their index in its plan.
pub(crate) struct Faults {
    plans: Vec<FaultPlan>,
    /// Those that hold now and since when, in the order in which they began.
    active: RefCell<Vec<(usize, Time)>>,
    fired: Vec<Cell<u64>>,
}

impl Faults {
    pub(crate) fn new(plan: &Plan) -> Faults {
        let fired = plan.faults.iter().map(|_| Cell::new(0)).collect();
        Faults { plans: plan.faults.clone(), active: RefCell::default(), fired }
    }

    pub(crate) fn begin(&self, fault: usize, now: Time) {
        self.active.borrow_mut().push((fault, now));
    }

    pub(crate) fn end(&self, fault: usize) {
        self.active.borrow_mut().retain(|(other, _)| *other != fault);
    }

    /// Those that hold now, each with when it began.
    pub(crate) fn active(&self) -> Ref<'_, Vec<(usize, Time)>> {
        self.active.borrow()
    }

    /// It did something.
    pub(crate) fn fire(&self, fault: usize) {
        self.fire_times(fault, 1);
    }

    /// It did something, so often.
    pub(crate) fn fire_times(&self, fault: usize, times: u64) {
        self.fired[fault].set(self.fired[fault].get() + times);
    }

    /// How far the wall clock of `host` is ahead at `now`, milliseconds, for somebody who
    /// looks at it.
    pub(crate) fn clock_ahead_ms(&self, host: &str, now: Time) -> i64 {
        let mut ahead = 0;
        for &(fault, since) in self.active.borrow().iter() {
            let plan = &self.plans[fault];
            let by = match plan.fault {
                Fault::ClockJump { by_ms } => by_ms,
                Fault::ClockSkew { ppm } => {
                    let micros = (now - since).as_millis() as i64 * ppm;
                    micros / 1_000_000
                }
                _ => 0,
            };
            if by != 0 && plan.hosts.iter().any(|other| other == host) {
                self.fire(fault);
                ahead += by;
            }
        }
        ahead
    }

    /// How often it did something.
    pub(crate) fn fired(&self, fault: usize) -> u64 {
        self.fired[fault].get()
    }

    /// How often each kind did something, of those that did.
    pub(crate) fn by_kind(&self) -> Vec<(&'static str, u64)> {
        let of_kind = |name: &&'static str| {
            let all = (0..self.plans.len()).filter(|fault| self.plan(*fault).fault.name() == *name);
            (*name, all.map(|fault| self.fired(fault)).sum())
        };
        Fault::NAMES.iter().map(of_kind).filter(|(_, times)| *times > 0).collect()
    }

    pub(crate) fn plan(&self, fault: usize) -> &FaultPlan {
        &self.plans[fault]
    }
}
