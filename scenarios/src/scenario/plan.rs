//! From a scenario and a seed to a plan.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rand_chacha::ChaCha8Rng;
use reseed_protocol::Layout;
use reseed_sim::{
    Plan, Substreams,
    plan::{self, FlipPlan, LinkPlan, TrackerPlan},
};

use super::{
    Draw, Flag, Flip, Limits, Link, Place, Problem, Quantity, Scenario, ScenarioError, Tracker,
    axes::Axes, churn, events, faults, peers, torrent, tracker,
};

/// Where the tracker is.
const TRACKER: Ipv4Addr = Ipv4Addr::new(10, 0, 255, 1);
/// Where it is if all addresses are IPv6 ones: in a subnet of its own as well.
const TRACKER_IPV6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0xff, 0, 0, 0, 1);
/// A year: more than that is a mistake, and would not fit a timer.
const SECONDS_MAX: f64 = 31_536_000.0;

impl Scenario {
    /// What happens under `seed`. The same scenario and seed always make the same
    /// plan, and every drawn number has a generator of its own, named after its
    /// place: to add, remove or fix one leaves the others as they are.
    pub fn plan(&self, seed: u64) -> Result<Plan, ScenarioError> {
        check_name(&self.name, Place::root().field("name"))?;
        let dice = Dice { seed, subject: "scenario", axes: Axes::of(self)? };
        let torrent = torrent::plan(&self.torrent, dice)?;
        let pieces = layout(&torrent).pieces();
        let roster = peers::Roster::new(&self.peers, dice)?;
        let tracker = self.tracker.as_ref().filter(|tracker| {
            dice.flag(tracker.present, &Place::root().field("tracker").field("present"))
        });
        let ipv6 = dice.flag(self.ipv6, &Place::root().field("ipv6"));
        let tracker = tracker.map(|tracker| plan_tracker(tracker, ipv6, dice)).transpose()?;
        let mut peers = peers::plan(&roster, &torrent, tracker.is_some(), ipv6, dice)?;
        let churn = churn::plan(&roster, &mut peers, dice)?;
        let timetable = events::Timetable::new(&self.events, &roster, pieces, dice)?;
        let mut events = timetable.plan(dice)?;
        events.extend(churn);
        let plan = Plan {
            scenario: self.name.clone(),
            seed,
            perturbation: dice.share(self.perturbation, Place::root().field("perturbation"))?,
            buggify: dice.share(self.buggify, Place::root().field("buggify"))?,
            defects: Vec::new(),
            flip: None,
            limits: plan_limits(&self.limits, dice)?,
            torrent,
            peers,
            events,
            faults: faults::plan(&self.faults, &roster, tracker.is_some(), &timetable, dice)?,
            tracker,
        };
        let flip = self.flip.as_ref().map(|flip| plan_flip(flip, &plan, &roster, dice));
        Ok(Plan { flip: flip.transpose()?.flatten(), ..plan })
    }
}

/// The option to switch for a second run of `plan`: none where it is not drawn, or
/// switching it may rightly change more.
fn plan_flip(
    flip: &Flip,
    plan: &Plan,
    roster: &peers::Roster<'_>,
    dice: Dice<'_>,
) -> Result<Option<FlipPlan>, ScenarioError> {
    let place = Place::root().field("flip");
    let mut at = flip.peers.clone();
    if at.is_empty() {
        at.extend(plan.peers.iter().map(|peer| peer.name.clone()));
    }
    let mut peers = Vec::new();
    for (index, name) in at.iter().enumerate() {
        let place = place.clone().field("peers").index(index);
        peers.extend(roster.all(name, place)?.iter().cloned());
    }
    let wanted = dice.flag(flip.wanted, &place.field("wanted"));
    let comparable = flip.feature.changes_more(plan).is_none();
    Ok((wanted && comparable && !peers.is_empty())
        .then_some(FlipPlan { feature: flip.feature, peers }))
}

/// The pieces of a torrent that was checked.
pub(super) fn layout(torrent: &plan::TorrentPlan) -> Layout {
    let length = torrent.files.iter().map(|file| file.length).sum();
    Layout::new(torrent.piece_length, length)
}

/// Holds `name` to what can stand in a transcript and on a command line.
pub(super) fn check_name(name: &str, place: Place) -> Result<(), ScenarioError> {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    if name.is_empty() || !name.chars().all(allowed) {
        return Err(place.problem(Problem::Name { name: name.to_owned() }));
    }
    Ok(())
}

/// Holds a number to its bound.
pub(super) fn at_most(
    got: f64,
    most: f64,
    what: &'static str,
    place: Place,
) -> Result<f64, ScenarioError> {
    if got > most {
        return Err(place.problem(Problem::TooMuch { what, got, most }));
    }
    Ok(got)
}

fn plan_limits(limits: &Limits, dice: Dice<'_>) -> Result<plan::Limits, ScenarioError> {
    let place = Place::root().field("limits");
    Ok(plan::Limits {
        done_ms: dice.millis(limits.done_s, place.clone().field("done_s"))?,
        steps: dice.some(limits.steps, "steps", place.field("steps"))?,
    })
}

fn plan_tracker(
    tracker: &Tracker,
    ipv6: bool,
    dice: Dice<'_>,
) -> Result<TrackerPlan, ScenarioError> {
    let place = Place::root().field("tracker");
    let address: IpAddr = if ipv6 { TRACKER_IPV6.into() } else { TRACKER.into() };
    Ok(TrackerPlan {
        address,
        interval_s: dice.some(tracker.interval_s, "seconds", place.clone().field("interval_s"))?,
        silent: dice.flag(tracker.silent, &place.clone().field("silent")),
        udp: dice.flag(tracker.udp, &place.clone().field("udp")),
        faults: tracker::faults(&tracker.faults, dice, &place.clone().field("faults"))?,
        link: dice.link(&tracker.link, place.field("link"))?,
    })
}

/// The seed, as a source of numbers: a generator for each field of each subject.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dice<'a> {
    seed: u64,
    subject: &'a str,
    axes: Axes,
}

impl<'a> Dice<'a> {
    /// The same seed for the fields of `subject`, wherever that stands in the
    /// scenario: to put another in front of it shifts nothing.
    pub(super) fn of(self, subject: &'a str) -> Dice<'a> {
        Dice { subject, ..self }
    }

    /// The generator for the field at `place`.
    pub(super) fn rng(self, place: &Place) -> ChaCha8Rng {
        Substreams::new(self.seed).stream(&format!(
            "plan/{}/{}",
            self.subject,
            place.within_subject()
        ))
    }

    pub(super) fn flag(self, flag: Flag, place: &Place) -> bool {
        match flag {
            Flag::Each { each, axis } => each.get(self.axes.turn(self.seed, axis)),
            flag => flag.sample(&mut self.rng(place)),
        }
    }

    pub(super) fn number<T: Quantity>(self, draw: Draw<T>, place: &Place) -> T {
        draw.sample(&mut self.rng(place))
    }

    /// A number that may not be zero.
    pub(super) fn some<T: Quantity>(
        self,
        draw: Draw<T>,
        what: &'static str,
        place: Place,
    ) -> Result<T, ScenarioError> {
        let number = self.number(draw, &place);
        if number == T::default() {
            return Err(place.problem(Problem::Zero { what }));
        }
        Ok(number)
    }

    /// A number that is not zero, where there is one: by chance, if it has a chance.
    pub(super) fn some_if(
        self,
        draw: Option<Draw<u64>>,
        what: &'static str,
        place: Place,
    ) -> Result<Option<u64>, ScenarioError> {
        match draw {
            None => Ok(None),
            Some(Draw::Sometimes { from: 0, .. }) => Err(place.problem(Problem::Zero { what })),
            Some(draw @ Draw::Sometimes { .. }) => {
                Ok(Some(self.number(draw, &place)).filter(|number| *number != 0))
            }
            Some(draw) => self.some(draw, what, place).map(Some),
        }
    }

    /// A share, 0 to 1.
    pub(super) fn share(self, draw: Draw<f64>, place: Place) -> Result<f64, ScenarioError> {
        at_most(self.number(draw, &place), 1.0, "as a share", place)
    }

    /// Seconds, as milliseconds.
    pub(super) fn millis(self, draw: Draw<f64>, place: Place) -> Result<u64, ScenarioError> {
        let seconds = at_most(self.number(draw, &place), SECONDS_MAX, "seconds", place)?;
        Ok((seconds * 1000.0).round() as u64)
    }

    /// Milliseconds, as microseconds.
    pub(super) fn micros(self, draw: Draw<f64>, place: Place) -> Result<u64, ScenarioError> {
        let most = SECONDS_MAX * 1000.0;
        let millis = at_most(self.number(draw, &place), most, "milliseconds", place)?;
        Ok((millis * 1000.0).round() as u64)
    }

    pub(super) fn link(self, link: &Link, place: Place) -> Result<LinkPlan, ScenarioError> {
        let at = |field| place.clone().field(field);
        if link.queue.is_some() && link.bandwidth.is_none() {
            return Err(at("queue").problem(Problem::QueueWithoutBandwidth));
        }
        let bandwidth = self.some_if(link.bandwidth, "bytes a second", at("bandwidth"))?;
        let queue = self.some_if(link.queue, "bytes", at("queue"))?;
        Ok(LinkPlan {
            latency_us: self.micros(link.latency_ms, at("latency_ms"))?,
            jitter_us: self.micros(link.jitter_ms, at("jitter_ms"))?,
            bandwidth,
            queue: bandwidth.and(queue),
        })
    }
}
