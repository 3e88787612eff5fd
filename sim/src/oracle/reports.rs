//! Who watches a download is told, in time, and always in the same form.

use std::{collections::BTreeMap, time::Duration};

use reseed_client::{Activity, Report, ReportError, monitor::schema};
use reseed_protocol::Time;

use super::{Code, Finding, Oracle, Scene};
use crate::{
    Content,
    plan::{PeerPlan, Plan, ReportsPlan},
};

/// What a report may be late by, besides what the server takes: the agenda's
/// grain, and other callbacks before it.
const LATE: Duration = Duration::from_secs(2);

/// Things that were wrong that evidence names (count).
const STORY_MAX: usize = 4;

/// From when a download begins to be watched until it lets go of everything, each
/// reporter is given a report each interval; the last one says that it has
/// stopped. All of them have one schema, and their numbers rise. A reporter may
/// fail because its receiver does, never because of what it was given.
///
/// What is wrong is noted at once and found at the end of the run, or of the peer:
/// a failure to report is no reason to stop looking at what else it leads to.
pub(super) struct Reports {
    checks: u64,
    names: Vec<String>,
    plans: Vec<Option<ReportsPlan>>,
    /// Who streams a video.
    streams: Vec<bool>,
    watched: Vec<Option<Watched>>,
    /// Whose times do not count, because a fault holds them up.
    held_up: Vec<bool>,
    /// Pieces of a live stream that a peer may have at a time (count), if one is shared.
    window: Option<u64>,
    /// Nobody who is watched is sure to stay.
    may_rest: bool,
    /// What was wrong with each peer's reports first, in the order of time.
    noted: Vec<(usize, Vec<String>)>,
}

/// A download, as those who watch it are told of it.
#[derive(Default)]
struct Watched {
    interval: Duration,
    heard: BTreeMap<String, Heard>,
    torn_down: bool,
    /// Its last reports may have been dropped for want of time.
    cut_off: bool,
    /// What went wrong with reports, in order.
    story: Vec<String>,
}

/// What a reporter was given last.
struct Heard {
    at: Time,
    number: Option<u64>,
    state: String,
    /// Pieces that went to the player so far (count).
    played: u64,
}

impl Reports {
    pub(super) fn new(plan: &Plan, content: &Content) -> Reports {
        let mut watched = plan.peers.iter().filter(|peer| peer.reports.is_some());
        let stays = |peer: &PeerPlan| plan.events.iter().all(|event| event.peer != peer.name);
        Reports {
            window: content.broadcast().map(|made| 2 * u64::from(made.ring().delta())),
            checks: 0,
            names: plan.peers.iter().map(|peer| peer.name.clone()).collect(),
            plans: plan.peers.iter().map(|peer| peer.reports).collect(),
            streams: plan.peers.iter().map(|peer| peer.stream && plan.streams()).collect(),
            watched: plan.peers.iter().map(|_| None).collect(),
            held_up: vec![false; plan.peers.len()],
            may_rest: !watched.any(stays),
            noted: Vec::new(),
        }
    }

    fn note(&mut self, peer: usize, words: &str) {
        if let Some(watched) = &mut self.watched[peer] {
            watched.story.push(words.to_owned());
            match self.noted.iter_mut().find(|(whose, _)| *whose == peer) {
                None => self.noted.push((peer, watched.story.clone())),
                Some((_, story)) if story.len() < STORY_MAX => story.push(words.to_owned()),
                Some(_) => {}
            }
        }
    }

    fn reported(
        &mut self,
        Scene { now, peer, .. }: Scene<'_>,
        reporter: &str,
        report: &Report,
        result: Result<(), &ReportError>,
    ) {
        self.checks += 1;
        let Some(watched) = &mut self.watched[peer] else { return };
        let heard = watched.heard.get_mut(reporter).expect("who watches is known");
        let number = report.number("number").ok();
        let state = report.text("state").unwrap_or("nothing").to_owned();
        let played = report.number("playback/played").unwrap_or_default();
        let told = Heard { at: now, number, state, played };
        let last = std::mem::replace(heard, told);
        let overdue = now - last.at;
        let mut wrong = Vec::new();
        let is_late = overdue > watched.allowed(self.plans[peer]) && !self.held_up[peer];
        if !watched.torn_down && is_late {
            wrong.push(format!("at {now} s {reporter} is told after {} s", overdue.as_secs_f64()));
        }
        if last.number >= number {
            wrong.push(format!("at {now} s {reporter} is told {number:?} after {:?}", last.number));
        }
        if let Err(departs) = schema::conforms(report.document()) {
            wrong.push(format!(
                "at {now} s {reporter} is given a report of another form: {departs}"
            ));
        }
        if let Err(departs) = self.holds_of_live(report) {
            wrong.push(format!("at {now} s {reporter} is told of {departs}"));
        }
        let runs = matches!(report.text("state"), Ok("downloading" | "seeding"));
        if self.streams[peer] && runs && report.text("playback/state") == Ok("idle") {
            wrong.push(format!("at {now} s {reporter} is told that nothing plays"));
        }
        if played < last.played {
            wrong.push(format!("at {now} s {played} pieces were played, after {}", last.played));
        }
        if let Err(error @ ReportError::Missing { .. }) = result {
            wrong.push(format!("{reporter} fails: {error}"));
        }
        if !wrong.is_empty() {
            self.note(peer, &wrong.join(", and "));
        }
        let Some(watched) = &mut self.watched[peer] else { return };
        match result {
            Ok(()) => watched.story.clear(),
            Err(ReportError::Missing { .. }) => {}
            // That is the receiver's affair, if it leads to nothing.
            Err(error) => watched.story = vec![format!("at {now} s {reporter} fails: {error}")],
        }
    }

    /// What a report says of the video is that of a live stream exactly where there is
    /// one, and no more of it is valid than a window.
    fn holds_of_live(&self, report: &Report) -> Finding {
        let live = report.attribute("video/live").map(|flag| flag.as_bool());
        let range = report.attribute("video/valid_range");
        let (Ok(Some(live)), Ok(range)) = (live, range) else { return Ok(()) };
        let [first, end] = [&range[0], &range[1]].map(|number| number.as_u64().unwrap_or(0));
        match self.window {
            None if live => Err("a live stream, and there is none".to_owned()),
            Some(_) if !live => Err("no live stream, and there is one".to_owned()),
            Some(window) if end > first + window => {
                Err(format!("pieces {first} to {end}, where {window} may be valid"))
            }
            _ => Ok(()),
        }
    }

    /// Whoever has not been told for too long.
    fn overdue(&self, peer: usize, now: Time) -> Option<String> {
        if self.held_up[peer] {
            return None;
        }
        let watched = self.watched[peer].as_ref().filter(|watched| !watched.torn_down)?;
        let allowed = watched.allowed(self.plans[peer]);
        let late = watched.heard.iter().find(|(_, heard)| now - heard.at > allowed);
        late.map(|(reporter, heard)| {
            format!(
                "{reporter} has not been told of its download since {} s, though it wants to be \
                 every {} s",
                heard.at,
                watched.interval.as_secs_f64(),
            )
        })
    }
}

impl Watched {
    /// How long a reporter may be without a report.
    fn allowed(&self, plan: Option<ReportsPlan>) -> Duration {
        let takes = plan.map_or(0, |plan| plan.takes_ms);
        self.interval + Duration::from_millis(takes) + LATE
    }
}

impl Oracle for Reports {
    fn code(&self) -> Code {
        Code::Report
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn may_rest(&self) -> bool {
        self.may_rest
    }

    fn faulty(&mut self, now: Time, peer: usize, _: bool, held_up: bool) {
        let changed = std::mem::replace(&mut self.held_up[peer], held_up) != held_up;
        if let Some(watched) = self.watched[peer].as_mut().filter(|_| changed) {
            watched.heard.values_mut().for_each(|heard| heard.at = now);
        }
    }

    fn observed(&mut self, scene: Scene<'_>, activity: &Activity<'_>) -> Finding {
        let Scene { now, peer, .. } = scene;
        match activity {
            Activity::Watched { interval, reporters } => {
                let heard = |name: &&str| {
                    (
                        name.to_string(),
                        Heard { at: now, number: None, state: "nothing".to_owned(), played: 0 },
                    )
                };
                let heard = reporters.iter().map(heard).collect();
                self.watched[peer] =
                    Some(Watched { interval: *interval, heard, ..Watched::default() });
            }
            Activity::Reported { reporter, report, result } => {
                self.reported(scene, reporter, report, *result);
            }
            Activity::ReportsEnded => {
                self.note(
                    peer,
                    &format!("at {now} s its reports end, with its download still there"),
                );
            }
            Activity::CallbacksDropped => {
                if let Some(watched) = &mut self.watched[peer] {
                    watched.cut_off = true;
                }
            }
            Activity::TornDown { .. } => {
                if let Some(late) = self.overdue(peer, now) {
                    self.note(peer, &late);
                }
                if let Some(watched) = &mut self.watched[peer] {
                    watched.torn_down = true;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn parted(&mut self, peer: usize, _tracker_heard: bool) -> Finding {
        let untold = self.watched[peer]
            .as_ref()
            .filter(|watched| watched.torn_down && !watched.cut_off)
            .and_then(|watched| {
                let over = |heard: &Heard| matches!(heard.state.as_str(), "stopped" | "failed");
                let untold = watched.heard.iter().find(|(_, heard)| !over(heard));
                untold.map(|(reporter, heard)| {
                    format!(
                        "its download has stopped, and {reporter} was never told: the last that \
                         it heard, at {} s, is {:?}",
                        heard.at, heard.state
                    )
                })
            });
        if let Some(untold) = untold {
            self.note(peer, &untold);
        }
        self.noted(peer).map_or(Ok(()), Err)
    }

    fn noted(&self, peer: usize) -> Option<String> {
        self.noted.iter().find(|(whose, _)| *whose == peer).map(|(_, story)| story.join("; "))
    }

    fn gone(&mut self, peer: usize) {
        self.watched[peer] = None;
    }

    fn ended_at(&mut self, now: Time) -> Finding {
        for peer in 0..self.names.len() {
            if let Some(late) = self.overdue(peer, now) {
                self.note(peer, &late);
            }
        }
        match self.noted.first() {
            Some((whose, story)) => Err(format!("{}: {}", self.names[*whose], story.join("; "))),
            None => Ok(()),
        }
    }

    fn story(&self, peer: usize) -> Option<String> {
        let watched = self.watched[peer].as_ref()?;
        (!watched.story.is_empty()).then(|| watched.story.join("; "))
    }
}
