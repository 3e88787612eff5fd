//! What is done to peers, and when.

use std::time::Duration;

use reseed_protocol::Time;

use super::Run;
use crate::{
    plan::{Action, Has, When},
    stage::{Place, Stage},
    stall,
};

impl<S: Stage> Run<'_, S> {
    /// Carries out the events that are due; each may make others due.
    pub(super) fn carry_out(&mut self, now: Time) {
        for index in 0..self.plan.events.len() {
            let event = &self.plan.events[index];
            if self.due[index].is_none() && self.holds(&event.when, now) {
                self.due[index] = Some(now + Duration::from_millis(event.delay_ms));
            }
        }
        let due = |due: &Option<Time>| due.is_some_and(|due| due <= now);
        let Some(index) =
            (0..self.due.len()).find(|index| !self.done[*index] && due(&self.due[*index]))
        else {
            return;
        };
        self.done[index] = true;
        let event = &self.plan.events[index];
        let peer = self.plan.peer(&event.peer).expect("a plan's events name its peers");
        let acted = self.act(peer, event.action);
        if acted {
            *self.fired.entry(event.action).or_default() += 1;
            self.last_event = self.stage.now();
            if !self.plan.faults.is_empty() {
                self.disturbed = self.last_event;
            }
        }
        if !acted && !event.if_possible {
            let (action, peer) = (event.action, &event.peer);
            self.doubts.push(format!("{action:?} of {peer} came when it could do nothing"));
        }
        self.carry_out(now);
    }

    /// Does it, if it can be done; returns whether it could.
    fn act(&mut self, peer: usize, action: Action) -> bool {
        let up = self.lab.look_at(peer, |it| it.up);
        let now = self.stage.now();
        match action {
            Action::Leave if up => {
                self.tell_to_leave(peer);
                match self.await_stop(&[peer]) {
                    true => self.parts(peer, "has left"),
                    false => self.lab.ended(peer, self.stage.now(), "has left"),
                }
            }
            Action::Interrupt if up => self.interrupt(peer),
            Action::Interrupt if self.joined[peer] => {
                let name = &self.plan.peers[peer].name;
                self.lab.note(now, format!("{name} is gone already, and not interrupted"));
            }
            Action::Crash if up && self.plan.shares_host(peer) => {
                self.stage.kill(Place(peer));
                self.lab.ended(peer, now, "is killed");
                self.exits[peer] = None;
            }
            Action::Crash if up => {
                self.stage.crash(Place(peer));
                self.lab.ended(peer, now, "loses power");
                self.exits[peer] = None;
            }
            Action::Start if !up => {
                self.joined[peer] = true;
                self.stage.revive(Place(peer));
                self.start(peer);
            }
            Action::Wipe => {
                let disk = self.stage.disk(Place(peer));
                disk.wipe();
                // Its other torrents nobody else has: they come from where they came from.
                let restored =
                    self.own[peer].iter().try_for_each(|own| own.put(&Has::Everything, &disk));
                restored.expect("a disk that nobody uses takes what it is given");
                self.lab.note(now, format!("{}'s disk is wiped", self.plan.peers[peer].name));
            }
            Action::Leave | Action::Interrupt | Action::Crash | Action::Start => return false,
        }
        true
    }

    pub(super) fn holds(&self, when: &When, now: Time) -> bool {
        let index = |name: &str| self.plan.peer(name).expect("a plan's events name its peers");
        match when {
            When::At(at_ms) => Duration::from_millis(*at_ms) <= now.since_epoch(),
            When::Verified { peer, pieces } => {
                self.lab.with_peers(|peers| peers[index(peer)].verified.count() >= *pieces)
            }
            When::CopyWithout { peer } => {
                let left_out = index(peer);
                self.lab.with_peers(|peers| {
                    let others = peers.iter().enumerate().filter(|(at, _)| *at != left_out);
                    let others = others.map(|(_, other)| other);
                    stall::together(others, self.content).is_full()
                })
            }
            When::After(event) => self.done[*event],
        }
    }
}
