//! What is done to peers, spelled out.

use std::collections::BTreeSet;

use reseed_sim::plan::{self, EventPlan};

use super::{
    Event, Place, Problem, ScenarioError, Verified, When,
    peers::Roster,
    plan::{Dice, check_name},
};
use crate::nearest::nearest;

pub(super) fn plan(
    events: &[Event],
    roster: &Roster<'_>,
    pieces: u32,
    dice: Dice<'_>,
) -> Result<Vec<EventPlan>, ScenarioError> {
    check_names(events)?;
    check_cycles(events)?;
    let plan_event = |(index, event): (usize, &Event)| {
        let place = place(index);
        let subject = match &event.name {
            Some(name) => format!("event {name}"),
            None => format!("event {index}"),
        };
        let drafting = Drafting { events, roster, pieces, dice: dice.of(&subject), place };
        drafting.event(event)
    };
    events.iter().enumerate().map(plan_event).collect()
}

/// What the plan of one event needs to know.
struct Drafting<'a> {
    events: &'a [Event],
    roster: &'a Roster<'a>,
    pieces: u32,
    dice: Dice<'a>,
    place: Place,
}

impl Drafting<'_> {
    fn event(&self, event: &Event) -> Result<EventPlan, ScenarioError> {
        Ok(EventPlan {
            peer: self.roster.peer(&event.peer, self.at("peer"))?,
            action: event.action,
            when: self.when(event)?,
            delay_ms: self.dice.millis(event.delay_s, self.at("delay_s"))?,
        })
    }

    fn at(&self, field: &'static str) -> Place {
        self.place.clone().field(field)
    }

    fn when(&self, event: &Event) -> Result<plan::When, ScenarioError> {
        let at = |field| self.at("when").field(field);
        Ok(match &event.when {
            When::AtS(seconds) => plan::When::At(self.dice.millis(*seconds, at("at_s"))?),
            When::Verified(verified) => {
                let peer = verified.peer.as_ref().unwrap_or(&event.peer);
                let place = at("verified");
                plan::When::Verified {
                    peer: self.roster.peer(peer, place.clone().field("peer"))?,
                    pieces: self.amount(verified, place)?,
                }
            }
            When::CopyWithout(peer) => {
                plan::When::CopyWithout { peer: self.roster.peer(peer, at("copy_without"))? }
            }
            When::After(name) => {
                plan::When::After(position(self.events, name).ok_or_else(|| {
                    let known: Vec<&str> = self.events.iter().filter_map(named).collect();
                    let nearest = nearest(name, &known).map(str::to_owned);
                    at("after").problem(Problem::NoSuchEvent { name: name.clone(), nearest })
                })?)
            }
        })
    }

    /// Pieces (count).
    fn amount(&self, verified: &Verified, place: Place) -> Result<u32, ScenarioError> {
        match (verified.pieces, verified.share) {
            (Some(pieces), None) => {
                let place = place.field("pieces");
                let count = self.dice.number(pieces, &place);
                if count > self.pieces {
                    let (got, most) = (count.into(), self.pieces.into());
                    return Err(place.problem(Problem::TooMuch { what: "pieces", got, most }));
                }
                Ok(count)
            }
            (None, Some(share)) => {
                let share = self.dice.share(share, place.field("share"))?;
                Ok((share * f64::from(self.pieces)).ceil() as u32)
            }
            _ => Err(place.problem(Problem::PiecesOrShare)),
        }
    }
}

fn check_names(events: &[Event]) -> Result<(), ScenarioError> {
    let mut taken = BTreeSet::new();
    for (index, event) in events.iter().enumerate() {
        let Some(name) = named(event) else { continue };
        let place = place(index).field("name");
        check_name(name, place.clone())?;
        if !taken.insert(name) {
            return Err(place.problem(Problem::NameTaken { name: name.to_owned() }));
        }
    }
    Ok(())
}

/// An event waits for at most one other, so a way round is found by walking back
/// for as many steps as there are events.
fn check_cycles(events: &[Event]) -> Result<(), ScenarioError> {
    for start in 0..events.len() {
        let mut walk = Vec::new();
        let mut at = start;
        while let When::After(name) = &events[at].when {
            let Some(before) = position(events, name) else { break };
            walk.push(name.clone());
            if before == start {
                walk.insert(0, name.clone());
                let place = place(start).field("when").field("after");
                return Err(place.problem(Problem::Cycle { cycle: walk }));
            }
            if walk.len() > events.len() {
                break;
            }
            at = before;
        }
    }
    Ok(())
}

fn place(index: usize) -> Place {
    Place::root().field("events").index(index)
}

fn named(event: &Event) -> Option<&str> {
    event.name.as_deref()
}

fn position(events: &[Event], name: &str) -> Option<usize> {
    events.iter().position(|event| named(event) == Some(name))
}
