//! How peers end: nothing of them may be left (I-STOP), and what is complete must
//! be true (I-DONE).

use std::time::Duration;

use super::Run;
use crate::{
    lab::Lab,
    oracle::Code,
    plan::Plan,
    stage::{Paused, Place, Stage},
};

/// How long a peer may take to shut down: the tracker's five seconds, and some
/// round trips (I-STOP).
const STOP_WITHIN: Duration = Duration::from_secs(30);

impl<S: Stage> Run<'_, S> {
    /// Everybody is told to leave; whoever is not gone in time has not stopped.
    pub(super) fn shut_down(&mut self) {
        let up: Vec<usize> =
            (0..self.plan.peers.len()).filter(|peer| self.lab.peer(*peer).up).collect();
        for peer in &up {
            self.tell_to_leave(*peer);
        }
        let stopped = self.await_stop(&up);
        let timers = up.iter().map(|peer| self.stage.leftovers(Place(*peer)).timers).max();
        let timers = timers.unwrap_or_default();
        if stopped && timers > 0 && self.lab.failure().is_none() {
            let evidence = format!("{timers} timers are left after everybody has shut down");
            self.lab.fail(self.stage.now(), Code::Stop, evidence);
        }
        for peer in up {
            self.lab.ended(peer, self.stage.now(), "has left");
            if self.lab.failure().is_none() {
                self.compare_content(peer);
            }
        }
    }

    /// Waits until nothing of these peers' processes is left (I-STOP); returns
    /// whether it came to that.
    pub(super) fn await_stop(&mut self, peers: &[usize]) -> bool {
        let deadline = self.stage.now() + STOP_WITHIN;
        let left = |stage: &S, lab: &Lab| -> Vec<String> {
            peers.iter().flat_map(|peer| leftovers(stage, lab, self.plan, *peer)).collect()
        };
        while !left(&self.stage, self.lab).is_empty() {
            let now = self.stage.now();
            if now >= deadline {
                let evidence = format!(
                    "{} s after its shutdown there is left: {}",
                    STOP_WITHIN.as_secs(),
                    left(&self.stage, self.lab).join("; ")
                );
                self.lab.fail(now, Code::Stop, evidence);
                return false;
            }
            let next = (now + Duration::from_millis(10)).min(deadline);
            match self.stage.run_until(next, &|| false) {
                Paused::Time | Paused::Attention => {}
                Paused::Spin(evidence) => {
                    self.lab.fail(now, Code::Spin, evidence);
                    return false;
                }
                Paused::Limit(which) => {
                    if !self.doubts.contains(&which) {
                        self.doubts.push(which);
                    }
                    return false;
                }
            }
        }
        true
    }

    /// A complete copy must be a true one (I-DONE).
    fn compare_content(&mut self, peer: usize) {
        if !self.lab.peer(peer).verified.is_full() {
            return;
        }
        let disk = self.stage.disk(Place(peer));
        let wrong =
            (0..self.content.layout().pieces()).find(|piece| !self.content.is_on(&disk, *piece));
        if let Some(piece) = wrong {
            let name = &self.plan.peers[peer].name;
            let evidence = format!("{name} is complete, but piece {piece} on its disk is not true");
            self.lab.fail(self.stage.now(), Code::Done, evidence);
        }
    }
}

/// What is left of a peer's processes, in words.
fn leftovers<S: Stage>(stage: &S, lab: &Lab, plan: &Plan, peer: usize) -> Vec<String> {
    let left = stage.leftovers(Place(peer));
    let tasks = left.tasks.into_iter().map(|task| format!("task {task:?}"));
    let streams = lab.open_streams(peer);
    let all = tasks.chain(left.sockets).chain(streams);
    all.map(|what| format!("{}: {what}", plan.peers[peer].name)).collect()
}
