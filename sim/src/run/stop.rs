//! How peers end: nothing of them may be left (I-STOP), and what is complete must
//! be true (I-DONE).

use std::time::Duration;

use super::{Run, exits::stops_within};
use crate::{
    oracle::Code,
    stage::{Paused, Place, Stage},
};

/// Waits that end within this need no look in between.
const LOOK_EACH: Duration = Duration::from_millis(10);

/// Things that are left of a peer and told (count).
const TOLD_MAX: usize = 12;

impl<S: Stage> Run<'_, S> {
    /// Everybody is told to leave; whoever is not gone in time has not stopped.
    pub(super) fn shut_down(&mut self) {
        let peers = self.plan.peers.len();
        let up: Vec<usize> =
            (0..peers).filter(|peer| self.lab.look_at(*peer, |it| it.up)).collect();
        for peer in &up {
            self.tell_to_leave(*peer);
        }
        let stopped = self.await_stop(&up);
        for peer in up {
            match stopped {
                true => self.parts(peer, "has left"),
                false => self.lab.ended(peer, self.stage.now(), "has left"),
            }
        }
        if self.plan.tracker.as_ref().is_some_and(|tracker| !tracker.faults.is_empty()) {
            // Answers that are late, and the end of an outage, are nobody's to wait for.
            self.stage.kill(Place(peers));
        }
        let timers = (0..peers).map(|peer| self.stage.leftovers(Place(peer)).timers).max();
        let timers = timers.unwrap_or_default();
        if stopped && timers > 0 && self.lab.failure().is_none() {
            let evidence = format!("{timers} timers are left after everybody has shut down");
            self.lab.fail(self.stage.now(), Code::Stop, evidence);
        }
    }

    /// Waits until nothing of these peers' processes is left (I-STOP); returns
    /// whether it came to that.
    pub(super) fn await_stop(&mut self, peers: &[usize]) -> bool {
        let within = peers.iter().map(|peer| stops_within(&self.plan.peers[*peer].app)).max();
        let within = within.unwrap_or_default();
        let mut deadline = self.stage.now() + within;
        while peers.iter().any(|peer| !self.leftovers(*peer).is_empty()) {
            let now = self.stage.now();
            self.change_faults(now);
            if peers.iter().any(|peer| self.is_held_up(*peer)) {
                deadline = now + within;
            }
            if now >= deadline {
                let waits: Vec<String> = peers.iter().map(|peer| self.who_waits(*peer)).collect();
                let story = peers.iter().flat_map(|peer| self.lab.story(*peer));
                let story: String = story.map(|story| format!("\nbefore: {story}")).collect();
                let left: Vec<String> =
                    peers.iter().flat_map(|peer| self.leftovers(*peer)).collect();
                let evidence = format!(
                    "{} s after its shutdown there is left: {}{}{story}",
                    within.as_secs_f64(),
                    left.join("; "),
                    waits.concat(),
                );
                self.lab.fail(now, Code::Stop, evidence);
                return false;
            }
            let next = (now + LOOK_EACH).min(deadline);
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

    /// What is left of a peer's processes, in words.
    pub(super) fn leftovers(&self, peer: usize) -> Vec<String> {
        let name = &self.plan.peers[peer].name;
        let left = self.stage.leftovers(Place(peer));
        let tasks = left.tasks.into_iter().map(|task| format!("task {task:?}"));
        let streams = self.lab.open_streams(peer);
        let all: Vec<String> = tasks.chain(left.sockets).chain(streams).collect();
        let more = all.len().saturating_sub(TOLD_MAX);
        let more = (more > 0).then(|| format!("{name}: and {more} more"));
        all.iter().take(TOLD_MAX).map(|what| format!("{name}: {what}")).chain(more).collect()
    }

    /// Who of a peer's tasks waits for whom, as further lines of evidence.
    pub(super) fn who_waits(&self, peer: usize) -> String {
        let waits = self.lab.waits.explain(peer);
        waits.map(|waits| format!("\n{waits}")).unwrap_or_default()
    }

    /// A complete copy must be a true one (I-DONE).
    pub(super) fn compare_content(&mut self, peer: usize) {
        if !self.lab.look_at(peer, |it| it.verified.is_full()) {
            return;
        }
        let disk = self.stage.disk(Place(peer));
        let wrong = (0..self.content.layout().pieces()).find(|piece| {
            !self.content.is_on(&disk, *piece) && !self.content.has_flipped(&disk, *piece)
        });
        if let Some(piece) = wrong {
            let name = &self.plan.peers[peer].name;
            let evidence = format!("{name} is complete, but piece {piece} on its disk is not true");
            self.lab.fail(self.stage.now(), Code::Done, evidence);
        }
    }
}
