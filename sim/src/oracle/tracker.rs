//! I-TRK: a tracker hears of a download's beginning, of its end, and in between as
//! often as it asked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use reseed_protocol::{
    InfoHash, Time, Torrent,
    torrent::Event,
    tracker::{self, AnnounceRequest},
};

use super::{Code, Finding, Oracle, Scene};
use crate::{
    Content,
    plan::{LinkPlan, Plan, TrackerPlan},
};

/// How late an announce may be, besides what the links take.
const SLACK: Duration = Duration::from_secs(5);

/// How much later on links that are narrow: what a peer gives an announce to come to
/// something.
const SLACK_SHAPED: Duration = Duration::from_secs(15);

/// How long after a fault announces come in that their peer has given up already.
const AFTERMATH: Duration = Duration::from_secs(15);

/// Follows the announces as the tracker hears them, for each run of each download.
pub(super) struct Tracker {
    /// The torrent that is shared, whose announces may not end. Others have but an
    /// order.
    shared: InfoHash,
    plan: TrackerPlan,
    /// From an announce to the next at most, by peer.
    patience: Vec<Duration>,
    downloads: BTreeMap<(usize, InfoHash), Heard>,
    /// Whose announces come late, if at all, because of a fault: until when, if that is
    /// over.
    late: Vec<Late>,
    /// A fault has held: what was sent before may come after what was sent later, or
    /// again, so that their order tells nothing any more.
    disordered: bool,
    /// Peers that are gone without having stopped: what they said may be on its way
    /// still.
    cut_off: BTreeSet<usize>,
    names: Vec<String>,
    checks: u64,
}

/// How a fault delays a peer's announces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Late {
    Held,
    Until(Time),
}

/// What was heard of one run of a download.
struct Heard {
    last: tracker::Event,
    /// Whether an announce without an event was heard.
    regular: bool,
    at: Time,
    /// When the next must have been heard.
    next_by: Option<Time>,
}

impl Tracker {
    pub(super) fn new(plan: &Plan, tracker: &TrackerPlan, content: &Rc<Content>) -> Tracker {
        let interval = Duration::from_secs(tracker.interval_s.into());
        let patience = interval + tracker.slowness();
        let patience = plan.peers.iter().map(|peer| patience + slack(peer.link, tracker.link));
        Tracker {
            shared: content.metainfo().info_hash,
            plan: tracker.clone(),
            patience: patience.collect(),
            downloads: BTreeMap::new(),
            late: vec![Late::Until(Time::ZERO); plan.peers.len()],
            disordered: false,
            cut_off: BTreeSet::new(),
            names: plan.peers.iter().map(|peer| peer.name.clone()).collect(),
            checks: 0,
        }
    }
}

fn slack(peer: LinkPlan, tracker: LinkPlan) -> Duration {
    let shaped = [peer, tracker].iter().any(|link| link.bandwidth.is_some());
    let way = [peer, tracker].iter().map(|link| link.latency_us + link.jitter_us).sum();
    SLACK + if shaped { SLACK_SHAPED } else { Duration::ZERO } + Duration::from_micros(way) * 8
}

impl Oracle for Tracker {
    fn code(&self) -> Code {
        Code::Trk
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn may_rest(&self) -> bool {
        self.plan.is_deaf(Time::ZERO, Time::from_epoch(Duration::MAX))
    }

    fn started(&mut self, peer: usize) {
        self.gone(peer);
        self.cut_off.remove(&peer);
    }

    fn gone(&mut self, peer: usize) {
        let mut heard = self.downloads.iter().filter(|((whose, _), _)| *whose == peer).peekable();
        let stopped = |(_, heard): (_, &Heard)| heard.last == tracker::Event::Stopped;
        if heard.peek().is_none() || !heard.all(stopped) {
            self.cut_off.insert(peer);
        }
        self.downloads.retain(|(whose, _), _| *whose != peer);
    }

    fn faulty(&mut self, now: Time, peer: usize, network: bool, held_up: bool) {
        let holds = network || held_up;
        self.disordered |= holds;
        if (self.late[peer] == Late::Held) != holds {
            self.late[peer] = if holds { Late::Held } else { Late::Until(now + AFTERMATH) };
            let its = self.downloads.iter_mut().filter(|((whose, _), _)| *whose == peer);
            its.for_each(|(_, heard)| heard.next_by = None);
        }
    }

    fn happened(&mut self, scene: Scene<'_>, torrent: &Torrent, event: &Event) -> Finding {
        // Then it is tried again after a time that the tracker does not know.
        if matches!(event, Event::AnnounceFailed { .. })
            && let Some(heard) = self.downloads.get_mut(&(scene.peer, torrent.info_hash()))
        {
            heard.next_by = None;
        }
        Ok(())
    }

    fn announced(&mut self, scene: Scene<'_>, announce: &AnnounceRequest) -> Finding {
        use tracker::Event::{Completed, Started, Stopped};
        if self.cut_off.contains(&scene.peer) {
            return Ok(());
        }
        self.checks += 1;
        let key = (scene.peer, announce.info_hash);
        let said = announce.event.map_or("an announce".to_owned(), |event| format!("`{event}`"));
        let before = self.downloads.get(&key);
        let last = match (announce.event, before.map(|heard| (heard.last, heard.regular))) {
            (_, Some((Stopped, _))) => Err("came after `stopped`"),
            // An announce that was not answered is made again.
            (Some(Started), None | Some((Started, false))) => Ok(Started),
            (Some(Started), Some(_)) => Err("came in the middle of a run"),
            // The one that began it may have been cut off by the stop.
            (Some(Stopped), _) => Ok(Stopped),
            (_, None) => Err("came before `started`"),
            (Some(Completed), _) if announce.left > 0 => Err("came with bytes left"),
            (Some(Completed), Some(_)) => Ok(Completed),
            (None, Some((last, _))) => Ok(last),
        };
        let last = match last {
            Err(_) if self.disordered => announce.event.or(before.map(|heard| heard.last)),
            _ => None,
        }
        .map_or(last, Ok);
        let last =
            last.map_err(|what| format!("{said} of torrent {} {what}", announce.info_hash))?;
        let regular = announce.event.is_none() || before.is_some_and(|heard| heard.regular);
        let tells_interval =
            !self.plan.silent && self.plan.faults_at(scene.now).all(|fault| fault.tells_interval());
        let is_late = match self.late[scene.peer] {
            Late::Held => true,
            Late::Until(time) => scene.now < time,
        };
        let goes_on =
            last != Stopped && tells_interval && !is_late && announce.info_hash == self.shared;
        let next_by = Some(scene.now + self.patience[scene.peer])
            .filter(|by| goes_on && !self.plan.is_deaf(scene.now, *by));
        self.downloads.insert(key, Heard { last, regular, at: scene.now, next_by });
        Ok(())
    }

    fn passed(&mut self, now: Time) -> Finding {
        for ((peer, _), heard) in &self.downloads {
            if heard.next_by.is_some_and(|by| by < now) {
                return Err(format!(
                    "{} announced last at {} s and not once more by {now} s, though the tracker \
                     asks for an announce each {} s",
                    self.names[*peer], heard.at, self.plan.interval_s,
                ));
            }
        }
        Ok(())
    }

    fn parted(&mut self, peer: usize, tracker_heard: bool) -> Finding {
        if !tracker_heard {
            return Ok(());
        }
        for ((_, info_hash), heard) in self.downloads.iter().filter(|((it, _), _)| *it == peer) {
            self.checks += 1;
            if heard.last != tracker::Event::Stopped {
                return Err(format!(
                    "it has exited, and the tracker never heard `stopped` of torrent {info_hash}, \
                     only `{}` and, at {} s, its last announce",
                    heard.last, heard.at,
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
