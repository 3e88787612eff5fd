//! When faults begin and end.

use std::{rc::Rc, time::Duration};

use reseed_protocol::Time;

use super::{Run, link};
use crate::{
    Engine, HostLink, Link, Substreams,
    fault::{DiskFaults, NetworkFaults},
    plan::{Fault, FaultPlan, When},
    stage::{Place, Stage},
};

/// Where a fault of the plan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// What it waits for has not come.
    Waiting,
    /// It begins at this time.
    Due(Time),
    /// It holds since the first time, until the second.
    Holds(Time, Time),
    /// It held, from and until.
    Over(Time, Time),
    /// The engine cannot do it.
    Impossible,
}

impl<S: Stage> Run<'_, S> {
    /// Gets ready for the faults of the plan. What the engine cannot do makes the run
    /// show nothing, unless it may go by without.
    pub(super) fn prepare_faults(&mut self, engine: Engine) {
        for (index, plan) in self.plan.faults.iter().enumerate() {
            if engine == Engine::Turmoil && !plan.fault.is_for_turmoil() {
                self.phases[index] = Phase::Impossible;
                let name = plan.fault.name();
                let doubt = format!("turmoil cannot do what fault {index}, {name}, is to do");
                self.doubts.extend((!plan.if_possible).then_some(doubt));
            }
        }
        if self.plan.faults.iter().any(|plan| plan.fault.is_of_network()) {
            let network = |rng| Box::new(NetworkFaults::new(self.plan, self.faults.clone(), rng));
            self.stage.impair(|rng| network(rng));
        }
    }

    /// Begins and ends the faults whose time has come.
    pub(super) fn change_faults(&mut self, now: Time) {
        for index in 0..self.plan.faults.len() {
            let plan = &self.plan.faults[index];
            if self.phases[index] == Phase::Waiting && self.holds(&plan.when, now) {
                self.phases[index] = Phase::Due(now + Duration::from_millis(plan.delay_ms));
            }
            if let Phase::Due(due) = self.phases[index]
                && due <= now
            {
                self.begin_fault(index, now);
            }
            if let Phase::Holds(since, until) = self.phases[index]
                && until <= now
            {
                self.end_fault(index, since, now);
            }
        }
    }

    fn begin_fault(&mut self, index: usize, now: Time) {
        let plan = &self.plan.faults[index];
        let until = now + Duration::from_millis(plan.for_ms);
        self.phases[index] = Phase::Holds(now, until);
        self.faults.begin(index, now);
        self.disturbed = now;
        self.lab.note(now, format!("fault {index} begins: {}", plan.words()));
        self.apply(index, true);
    }

    fn end_fault(&mut self, index: usize, since: Time, now: Time) {
        let plan = &self.plan.faults[index];
        self.phases[index] = Phase::Over(since, now);
        self.faults.end(index);
        self.disturbed = now;
        self.lab.note(now, format!("fault {index} ends: {}", plan.words()));
        self.apply(index, false);
        // Who had to exit meanwhile could not.
        if plan.fault.holds_up() {
            for peer in plan.hosts.iter().filter_map(|host| self.plan.peer(host)) {
                if let Some(due) = &mut self.exits[peer] {
                    due.by += now - since;
                }
            }
        }
    }

    /// Does what has to be done when `plan` begins or ends, given those that hold now.
    fn apply(&mut self, index: usize, begins: bool) {
        let plan = &self.plan.faults[index];
        let peers: Vec<usize> = plan.hosts.iter().filter_map(|host| self.plan.peer(host)).collect();
        match plan.fault {
            Fault::Bandwidth { .. } | Fault::QueueOverflow { .. } => self.shape_links(plan),
            Fault::Pause => {
                for peer in peers {
                    match begins {
                        true => self.stage.hold_up(Place(peer)),
                        false => {
                            let waited = self.stage.let_go(Place(peer));
                            self.faults.fire_times(index, waited);
                        }
                    }
                }
            }
            Fault::BitFlip { bits } if begins => {
                for peer in peers {
                    self.flip_bits(index, peer, bits);
                }
            }
            fault if fault.is_of_disk() && !fault.is_instant() => {
                for peer in peers {
                    let Some(disk) = &self.disks[peer] else { continue };
                    match begins {
                        true => disk.begin(index),
                        false => {
                            disk.end(index);
                            self.stage.end_disk_waits(Place(peer));
                        }
                    }
                }
            }
            _ => {}
        }
        self.tell_oracles();
    }

    /// Flips bits on a peer's disk.
    fn flip_bits(&mut self, index: usize, peer: usize, bits: u32) {
        let rng = &mut self.flips;
        let flipped = self.stage.disk(Place(peer)).flip_bits(bits, rng);
        self.faults.fire_times(index, flipped.into());
    }

    /// Gives the disks that a fault is about what may go wrong with them.
    pub(super) fn prepare_disks(&mut self) {
        let streams = Substreams::new(self.plan.seed);
        for (peer, plan) in self.plan.peers.iter().enumerate() {
            let concerns =
                |fault: &FaultPlan| fault.fault.is_of_disk() && fault.hosts.contains(&plan.name);
            if self.plan.faults.iter().any(concerns) {
                let rng = streams.stream(&format!("faults of the disk of {}", plan.name));
                let faults = Rc::new(DiskFaults::new(self.faults.clone(), rng));
                self.stage.disk(Place(peer)).set_faults(faults.clone());
                self.disks[peer] = Some(faults);
            }
        }
        if self.plan.faults.iter().any(|plan| matches!(plan.fault, Fault::SlowDisk { .. })) {
            self.stage.wait_for_disks();
        }
    }

    /// Tells the oracles whose times do not count, because a fault holds that makes them
    /// late: who is held up and, where packets are lost or late, everybody.
    fn tell_oracles(&self) {
        let active = self.faults.active();
        let holds = |wanted: &dyn Fn(&FaultPlan) -> bool| {
            active.iter().any(|(fault, _)| wanted(self.faults.plan(*fault)))
        };
        let network = holds(&|plan| plan.fault.is_of_network());
        for (peer, plan) in self.plan.peers.iter().enumerate() {
            let held_up = holds(&|it| it.fault.holds_up() && it.hosts.contains(&plan.name));
            self.lab.faulty(self.stage.now(), peer, network, held_up);
        }
    }

    /// Whether a fault holds that makes what `peer` does at a time late.
    pub(super) fn is_held_up(&self, peer: usize) -> bool {
        let name = &self.plan.peers[peer].name;
        self.faults.active().iter().any(|(fault, _)| {
            let plan = self.faults.plan(*fault);
            plan.fault.holds_up() && plan.hosts.contains(name)
        })
    }

    /// Whether a disk fault of the plan is about `peer`.
    pub(super) fn may_lose_data(&self, peer: usize) -> bool {
        self.disks[peer].is_some()
    }

    /// Ends what still holds: the run is over.
    pub(super) fn end_faults(&mut self) {
        let now = self.stage.now();
        for index in 0..self.phases.len() {
            if let Phase::Holds(since, _) = self.phases[index] {
                self.end_fault(index, since, now);
            }
        }
    }

    /// Gives the hosts of `plan` the links that they have with the faults that hold now.
    fn shape_links(&mut self, plan: &FaultPlan) {
        for host in &plan.hosts {
            let (place, planned) = match self.plan.peer(host) {
                Some(peer) => (Place(peer), self.plan.peers[peer].link),
                None => {
                    let tracker = self.plan.tracker.as_ref().expect("the plan was checked");
                    (Place(self.plan.peers.len()), tracker.link)
                }
            };
            let mut shaped = link(planned);
            for &(fault, _) in self.faults.active().iter() {
                let other = self.faults.plan(fault);
                if other.hosts.contains(host) {
                    shaped = slowed(shaped, &other.fault);
                }
            }
            self.stage.set_link(place, shaped);
        }
    }

    /// When the next fault begins or ends.
    pub(super) fn next_fault(&self) -> Option<Time> {
        let phases = self.phases.iter().zip(&self.plan.faults);
        let times = phases.filter_map(|(phase, plan)| match (*phase, &plan.when) {
            (Phase::Waiting, When::At(at_ms)) => {
                Some(Time::from_epoch(Duration::from_millis(*at_ms)))
            }
            (Phase::Due(at) | Phase::Holds(_, at), _) => Some(at),
            _ => None,
        });
        times.min()
    }

    /// Whether no fault holds, and none is to come that has to.
    pub(super) fn faults_are_over(&self) -> bool {
        self.phases.iter().zip(&self.plan.faults).all(|(phase, plan)| match phase {
            Phase::Waiting | Phase::Due(_) => plan.if_possible,
            Phase::Holds(..) => false,
            Phase::Over(..) | Phase::Impossible => true,
        })
    }

    /// By when every download must be complete. With faults the time is counted from
    /// when the last of them, or of the events, was over.
    pub(super) fn limit(&self) -> Time {
        let ends = self.phases.iter().filter_map(|phase| match phase {
            Phase::Holds(_, until) => Some(*until),
            _ => None,
        });
        let healed = ends.chain([self.disturbed]).max().expect("there is one at least");
        healed + Duration::from_millis(self.plan.limits.done_ms)
    }

    /// Which faults hold, or held, for a reader of a stall.
    pub(super) fn tell_faults(&self) -> Vec<String> {
        let phases = self.phases.iter().zip(&self.plan.faults).enumerate();
        let lines = phases.filter_map(|(index, (phase, plan))| {
            let (words, times) = (plan.words(), self.faults.fired(index));
            match phase {
                Phase::Holds(since, _) => Some(format!(
                    "fault {index}, {words}, holds since {since} s; it fired {times} times"
                )),
                Phase::Over(since, until) => Some(format!(
                    "fault {index}, {words}, held from {since} to {until} s; it fired {times} times"
                )),
                _ => None,
            }
        });
        lines.collect()
    }

    /// Faults that were asked for and never did anything, and a run whose faults and
    /// events all came when it had hardly begun: either shows nothing.
    ///
    /// The second is asked of plans with faults alone. An event without one acts when it
    /// is carried out, and many a scenario is about a peer that comes or goes early.
    pub(super) fn doubt_faults(&mut self) {
        let required = |index: &usize| {
            self.phases[*index] != Phase::Impossible && !self.plan.faults[*index].if_possible
        };
        let required: Vec<usize> = (0..self.phases.len()).filter(required).collect();
        let mut last = None;
        for index in required {
            let words = self.plan.faults[index].words();
            match self.phases[index] {
                Phase::Waiting | Phase::Due(_) => {
                    self.doubts.push(format!("fault {index}, {words}, never came to pass"));
                }
                _ if self.faults.fired(index) == 0 => {
                    self.doubts.push(format!("fault {index}, {words}, never did anything"));
                }
                Phase::Holds(..) => last = last.max(Some(self.stage.now())),
                Phase::Over(_, until) => last = last.max(Some(until)),
                Phase::Impossible => {}
            }
        }
        let Some(last) = last.map(|last: Time| last.max(self.last_event)) else { return };
        let finished =
            |peers: &[crate::lab::Peer]| peers.iter().filter_map(|peer| peer.completed).max();
        if let Some(finished) = self.lab.with_peers(finished)
            && last.since_epoch() * 10 < finished.since_epoch()
        {
            self.doubts.push(format!(
                "the last fault or event was over at {last} s, and the last download complete at \
                 {finished} s: all lie in the first tenth of it"
            ));
        }
    }
}

/// `link` with what `fault` makes of it.
fn slowed(link: HostLink, fault: &Fault) -> HostLink {
    let least = |now: Option<u64>, new: u64| Some(now.map_or(new, |now| now.min(new)));
    let slow = |link: Link| match *fault {
        Fault::Bandwidth { bytes_per_s } => {
            Link { bandwidth: least(link.bandwidth, bytes_per_s), ..link }
        }
        Fault::QueueOverflow { bytes_per_s, queue } => Link {
            bandwidth: least(link.bandwidth, bytes_per_s),
            queue: least(link.queue, queue),
            ..link
        },
        _ => link,
    };
    HostLink { up: slow(link.up), down: slow(link.down) }
}
