//! Programs that exit by themselves, or because they were interrupted: each has to be
//! gone in time (I-STOP), and to part as it should (I-TRK).

use std::time::Duration;

use reseed_client::ResumeData;
use reseed_protocol::Time;

use super::Run;
use crate::{
    Content, SimDisk,
    oracle::Code,
    plan::{AppPlan, Exit, LinkPlan, PeerPlan},
    stage::{Place, Stage},
};

/// How long a peer may take to exit besides what its settings give it, for round
/// trips (I-STOP).
const EXIT_SLACK: Duration = Duration::from_secs(5);

/// Round trips that a word to the tracker takes at most: to connect, to ask, and to
/// spare.
const TRIPS: u32 = 4;

/// What more it takes.
const PARTING_MIN: Duration = Duration::from_millis(100);

/// Nobody is held to be heard by a tracker that does something wrong at that time, or did
/// so shortly before or does so soon.
const FAULT_SLACK: Duration = Duration::from_secs(20);

/// What a report may be late by, for other callbacks before it.
const REPORT_SLACK: Duration = Duration::from_secs(2);

/// Why a peer has to exit.
#[derive(Debug, Clone)]
pub(super) struct Due {
    pub(super) by: Time,
    why: String,
    /// Since when it has finished, if that is why: who loses a piece has not any more.
    finished: Option<Time>,
}

/// How long a shutdown of `app` may take (I-STOP).
pub(super) fn stops_within(app: &AppPlan) -> Duration {
    Duration::from_millis(app.grace_ms) + EXIT_SLACK
}

/// How long it may take `peer` to learn how a download stands: it looks for itself, or
/// is told after those to whom it is reported.
fn looks_every(peer: &PeerPlan) -> Duration {
    let told = peer.reports.map_or(Duration::ZERO, |reports| {
        Duration::from_millis(reports.interval_ms + reports.takes_ms) + REPORT_SLACK
    });
    told.max(Duration::from_millis(peer.app.poll_ms))
}

impl<S: Stage> Run<'_, S> {
    /// A peer's user interrupts it; it has to exit, if it has not to already.
    pub(super) fn interrupt(&mut self, peer: usize) {
        let (now, plan) = (self.stage.now(), &self.plan.peers[peer]);
        self.tell_to_leave(peer);
        self.lab.note(now, format!("{} is interrupted", plan.name));
        let why = format!("was interrupted at {now} s");
        let by = now + stops_within(&plan.app);
        self.exits[peer].get_or_insert(Due { by, why, finished: None });
    }

    /// Sees who has exited, and who should have.
    pub(super) fn watch_exits(&mut self) {
        let now = self.stage.now();
        for peer in 0..self.plan.peers.len() {
            let (up, has_exited, finished) =
                self.lab.look_at(peer, |it| (it.up, it.exited.is_some(), it.finished));
            if !up || self.lab.failure().is_some() {
                continue;
            }
            if has_exited && self.leftovers(peer).is_empty() {
                self.parts(peer, "has exited");
                continue;
            }
            if let Some(Due { finished: since @ Some(_), .. }) = self.exits[peer]
                && since != finished
            {
                self.exits[peer] = None;
            }
            if self.exits[peer].is_none() {
                self.exits[peer] = self.due_by_policy(peer);
            }
            if self.is_held_up(peer) {
                continue;
            }
            if let Some(Due { by, why, .. }) = self.exits[peer].as_ref().filter(|due| due.by <= now)
            {
                let name = &self.plan.peers[peer].name;
                let left = self.leftovers(peer).join("; ");
                let waits = self.who_waits(peer);
                let evidence = format!(
                    "{name} {why}, was to be gone by {by} s, and is not; there is left: {left}{waits}"
                );
                // What was found wrong before is what it comes of.
                let (code, evidence) = match self.lab.noted(peer) {
                    Some((code, found)) => (code, format!("{name}: {found}\nthen {evidence}")),
                    None => (Code::Stop, evidence),
                };
                self.lab.fail(now, code, evidence);
            }
        }
    }

    /// Peers that are to exit and have not.
    pub(super) fn awaits_exits(&self) -> bool {
        let up = |peer: usize| self.lab.look_at(peer, |it| it.up);
        (0..self.exits.len()).any(|peer| self.exits[peer].is_some() && up(peer))
    }

    /// When a peer has to exit by its own policy, and why, once it is clear that it
    /// does. That is found in the plan and in what the peer has, not in what it knows.
    fn due_by_policy(&self, peer: usize) -> Option<Due> {
        let app = &self.plan.peers[peer].app;
        let (started, seen, finished) =
            self.lab.look_at(peer, |it| (it.started, it.seen, it.finished));
        let stop = stops_within(app);
        if app.downloads == 0 {
            let by = started? + stop;
            return Some(Due { by, why: "has nothing to do".to_owned(), finished: None });
        }
        if app.exit_when == Exit::Played {
            let seen = seen?;
            let why = format!("has played all that it was to play at {seen} s, should exit then");
            return Some(Due { by: seen + stop, why, finished: None });
        }
        if app.downloads > 1 && self.may_lose_data(peer) {
            // What its disk lost of a torrent that nobody else has, it never gets.
            return None;
        }
        let (finished, poll) = (finished?, looks_every(&self.plan.peers[peer]));
        let (after, why) = match app.exit_when {
            Exit::Never | Exit::Played => return None,
            Exit::Finished => (poll, "should exit then".to_owned()),
            Exit::Seeded(ms) => {
                let time = Duration::from_millis(ms);
                (time + 2 * poll, format!("should seed for {} s and exit", time.as_secs_f64()))
            }
        };
        let why = format!("has finished all of its downloads at {finished} s, {why}");
        Some(Due { by: finished + after + stop, why, finished: Some(finished) })
    }

    /// A peer has ended as it should: what it leaves behind must be right.
    pub(super) fn parts(&mut self, peer: usize, how: &str) {
        let now = self.stage.now();
        let plan = &self.plan.peers[peer];
        self.look_for_panics();
        if self.lab.failure().is_some() {
            return self.lab.ended(peer, now, how);
        }
        let untold = self.lab.parted(peer, self.can_tell_the_tracker(plan));
        let unsaved = self.unsaved(peer);
        self.lab.ended(peer, now, how);
        self.exits[peer] = None;
        let name = &plan.name;
        match (untold, unsaved) {
            (Some((oracle, words)), unsaved) => {
                let unsaved = unsaved.map(|words| format!("; {words}"));
                let evidence = format!("{name}: {words}{}", unsaved.unwrap_or_default());
                self.lab.fail(now, oracle, evidence);
            }
            (None, Some(words)) => {
                let evidence = format!("{name}: it has exited; {words}");
                self.lab.fail(now, Code::Stop, evidence);
            }
            (None, None) => {}
        }
        if self.lab.failure().is_none() {
            self.compare_content(peer);
        }
    }

    /// Whether a peer's grace period is enough to be heard by the tracker. On links
    /// that are narrow nobody knows: its word may wait behind much else.
    fn can_tell_the_tracker(&self, peer: &PeerPlan) -> bool {
        let Some(tracker) = &self.plan.tracker else { return false };
        let links = [peer.link, tracker.link];
        let way = |link: &LinkPlan| Duration::from_micros(link.latency_us + link.jitter_us);
        let trip = 2 * links.iter().map(way).sum::<Duration>();
        let needed = TRIPS * trip + PARTING_MIN;
        let network = self.plan.faults.iter().any(|plan| plan.fault.is_of_network());
        let late = network || self.plan.faults.iter().any(|plan| plan.fault.holds_up());
        let narrow = late || links.iter().any(|link| link.bandwidth.is_some());
        let now = self.stage.now();
        let troubled = tracker.faults.iter().any(|fault| {
            let (from, span) = (fault.from_ms, fault.for_ms);
            let end = Duration::from_millis(from + span) + FAULT_SLACK;
            Duration::from_millis(from) <= now.since_epoch() + FAULT_SLACK
                && now.since_epoch() < end
        });
        !narrow && !troubled && Duration::from_millis(peer.app.grace_ms) >= needed
    }

    /// What a peer that has exited should have saved and has not, in words.
    fn unsaved(&self, peer: usize) -> Option<String> {
        let state = self.lab.peer(peer);
        // What its disk said it has told its user.
        let is_kept = self.content.broadcast().is_none() && !self.may_lose_data(peer);
        if !is_kept || !self.plan.peers[peer].app.checkpoint || !state.ran {
            return None;
        }
        let verified = &state.verified;
        match resume_data(self.content, &self.stage.disk(Place(peer))) {
            Ok(Some(resume)) if resume.verified == *verified => None,
            Ok(Some(resume)) => Some(format!(
                "its resume data says {} pieces, and it had {}",
                resume.verified.count(),
                verified.count()
            )),
            Ok(None) => Some("it saved no resume data".to_owned()),
            Err(error) => Some(format!("its resume data is no good: {error}")),
        }
    }
}

/// What is remembered on `disk` of the shared torrent.
pub(crate) fn resume_data(
    content: &Content,
    disk: &SimDisk,
) -> Result<Option<ResumeData>, reseed_client::ResumeError> {
    let info_hash = content.metainfo().info_hash;
    ResumeData::load(&content.storage(disk), info_hash, disk, &ResumeData::path(info_hash))
}
