//! Peers that come and go by rate.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use reseed_sim::plan::{Action, EventPlan, PeerPlan, When};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Draw, Place, Problem, ScenarioError,
    peers::Roster,
    plan::{Dice, at_most},
};

/// How the peers of a group come and go. What comes of it stands in the plan, as times and
/// events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Churn {
    /// Peers of the group that come a minute, from its `join_s` on, until all are there.
    pub arrivals_per_min: Draw<f64>,
    /// Peers of those that are there that go a minute, whoever.
    #[serde(default = "Draw::<f64>::zero")]
    pub departures_per_min: Draw<f64>,
    /// How long they do, from the group's `join_s` on, seconds.
    #[serde(default = "for_s")]
    pub for_s: Draw<f64>,
    /// Share of them that lose their power, 0 to 1; the others leave.
    #[serde(default = "Draw::<f64>::zero")]
    pub crashes: Draw<f64>,
    /// Share of them that come back, 0 to 1.
    #[serde(default = "Draw::<f64>::zero")]
    pub returns: Draw<f64>,
    /// How long they are away, seconds; each draws for itself.
    #[serde(default = "away_s")]
    pub away_s: Draw<f64>,
}

fn for_s() -> Draw<f64> {
    Draw::Fixed(60.0)
}

fn away_s() -> Draw<f64> {
    Draw::Range { from: 1.0, to: 20.0 }
}

/// More a minute are no rate, but a crowd.
const PER_MIN_MAX: f64 = 60_000.0;

/// Departures of one group at most (count).
const DEPARTURES_MAX: f64 = 10_000.0;

/// Draws when the peers of each group with churn join, and what happens to them.
pub(super) fn plan(
    roster: &Roster<'_>,
    peers: &mut [PeerPlan],
    dice: Dice<'_>,
) -> Result<Vec<EventPlan>, ScenarioError> {
    let mut events = Vec::new();
    for (index, (group, members)) in roster.groups().enumerate() {
        let Some(churn) = &group.churn else { continue };
        let subject = format!("churn of {}", group.name);
        let place = Place::root().field("peers").index(index).field("churn");
        let coming = Coming { churn, dice: dice.of(&subject), place };
        let mut of_group: Vec<&mut PeerPlan> =
            peers.iter_mut().filter(|peer| members.contains(&peer.name)).collect();
        coming.arrive(&mut of_group)?;
        events.extend(coming.depart(&of_group)?);
    }
    Ok(events)
}

struct Coming<'a> {
    churn: &'a Churn,
    dice: Dice<'a>,
    place: Place,
}

impl Coming<'_> {
    fn at(&self, field: &'static str) -> Place {
        self.place.clone().field(field)
    }

    fn rng(&self, of: &'static str) -> ChaCha8Rng {
        self.dice.rng(&self.at(of))
    }

    fn rate(&self, draw: Draw<f64>, field: &'static str) -> Result<f64, ScenarioError> {
        let rate = self.dice.number(draw, &self.at(field));
        at_most(rate, PER_MIN_MAX, "a minute", self.at(field))
    }

    /// Where so many come in a time, each is as likely at any moment of it.
    fn arrive(&self, peers: &mut [&mut PeerPlan]) -> Result<(), ScenarioError> {
        let rate = self.rate(self.churn.arrivals_per_min, "arrivals_per_min")?;
        if rate == 0.0 {
            return Err(self.at("arrivals_per_min").problem(Problem::Zero { what: "arrivals" }));
        }
        let span_ms = (peers.len() as f64 * 60_000.0 / rate).round() as u64;
        let mut rng = self.rng("arrivals");
        let mut times: Vec<u64> = peers.iter().map(|_| rng.random_range(0..=span_ms)).collect();
        times.sort_unstable();
        for (peer, after) in peers.iter_mut().zip(times) {
            peer.join_ms += after;
        }
        Ok(())
    }

    fn depart(&self, peers: &[&mut PeerPlan]) -> Result<Vec<EventPlan>, ScenarioError> {
        let rate = self.rate(self.churn.departures_per_min, "departures_per_min")?;
        let span_ms = self.dice.millis(self.churn.for_s, self.at("for_s"))?;
        let count = (rate * span_ms as f64 / 60_000.0).round();
        let count = at_most(count, DEPARTURES_MAX, "departures", self.at("for_s"))? as usize;
        let crashes = self.dice.share(self.churn.crashes, self.at("crashes"))?;
        let returns = self.dice.share(self.churn.returns, self.at("returns"))?;
        let mut rng = self.rng("departures");
        let Some(first) = peers.iter().map(|peer| peer.join_ms).min() else {
            return Ok(Vec::new());
        };
        let mut times: Vec<u64> =
            (0..count).map(|_| first + rng.random_range(0..=span_ms)).collect();
        times.sort_unstable();
        // From when on each is there, if it ever is again.
        let mut there: Vec<(Option<u64>, &str)> =
            peers.iter().map(|peer| (Some(peer.join_ms), peer.name.as_str())).collect();
        let mut events = Vec::new();
        for at in times {
            let present: Vec<usize> = (0..there.len())
                .filter(|who| there[*who].0.is_some_and(|since| since < at))
                .collect();
            if present.is_empty() {
                continue;
            }
            let (since, name) = &mut there[present[rng.random_range(0..present.len())]];
            let crash = rng.random_bool(crashes);
            events.push(event(name, if crash { Action::Crash } else { Action::Leave }, at));
            let back = rng.random_bool(returns);
            let away_ms = (self.churn.away_s.sample(&mut rng) * 1000.0).round() as u64;
            *since = back.then(|| at.saturating_add(away_ms.max(1)));
            events.extend(since.map(|at| event(name, Action::Start, at)));
        }
        Ok(events)
    }
}

fn event(peer: &str, action: Action, at_ms: u64) -> EventPlan {
    let (peer, when) = (peer.to_owned(), When::At(at_ms));
    EventPlan { peer, action, when, delay_ms: 0, if_possible: true }
}
