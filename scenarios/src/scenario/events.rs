//! What is done to peers, spelled out.

use std::collections::BTreeSet;

use reseed_sim::plan::{self, EventPlan};

use super::{
    Event, Flag, Place, Problem, ScenarioError, Verified, When,
    peers::Roster,
    plan::{Dice, at_most, check_name},
};
use crate::nearest::nearest;

/// All events that happen, and what it takes to wait for one of them.
pub(super) struct Timetable<'a> {
    events: &'a [Event],
    roster: &'a Roster<'a>,
    pieces: u32,
    /// All that happens, in the order of the plan.
    drawn: Vec<Occasion<'a>>,
}

impl<'a> Timetable<'a> {
    pub(super) fn new(
        events: &'a [Event],
        roster: &'a Roster<'a>,
        pieces: u32,
        dice: Dice<'_>,
    ) -> Result<Timetable<'a>, ScenarioError> {
        check_names(events)?;
        check_cycles(events)?;
        let drawn = Cast::new(events, roster, dice)?.drawn();
        Ok(Timetable { events, roster, pieces, drawn })
    }

    pub(super) fn plan(&self, dice: Dice<'_>) -> Result<Vec<EventPlan>, ScenarioError> {
        let plan_event = |occasion: &Occasion<'_>| {
            let subject = occasion.subject(self.events);
            let (dice, place) = (dice.of(&subject), place(occasion.event));
            let drafting = Drafting { timetable: self, dice, peer: occasion.peer, place };
            drafting.event(&self.events[occasion.event])
        };
        self.drawn.iter().map(plan_event).collect()
    }

    /// What something at `place` that concerns `peer` waits for; `None` if that is an event
    /// that does not happen.
    pub(super) fn when(
        &self,
        when: &When,
        dice: Dice<'_>,
        peer: &str,
        place: &Place,
    ) -> Result<Option<plan::When>, ScenarioError> {
        let drafting = Drafting { timetable: self, dice, peer, place: place.clone() };
        if let When::After(name) = when {
            let place = place.clone().field("when").field("after");
            let event = position(self.events, name);
            let Some(event) = event else { return Err(no_such_event(self.events, name, place)) };
            let happens = self.drawn.iter().any(|occasion| occasion.event == event);
            if !happens {
                return Ok(None);
            }
        }
        drafting.when(when).map(Some)
    }
}

/// An event as it happens to one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Occasion<'a> {
    /// The event's index.
    event: usize,
    /// To whom.
    peer: &'a str,
    /// Whether the event is of a whole group, each member of which has its own.
    shared: bool,
}

impl Occasion<'_> {
    /// What its draws are named after.
    fn subject(&self, events: &[Event]) -> String {
        let event = match &events[self.event].name {
            Some(name) => format!("event {name}"),
            None => format!("event {}", self.event),
        };
        if self.shared { format!("{event} of {}", self.peer) } else { event }
    }
}

/// Every event with everybody that it may happen to.
struct Cast<'a> {
    events: &'a [Event],
    occasions: Vec<Occasion<'a>>,
    /// Whether chance has each of them happen, as far as it is up to itself.
    by_chance: Vec<bool>,
}

impl<'a> Cast<'a> {
    fn new(
        events: &'a [Event],
        roster: &'a Roster<'_>,
        dice: Dice<'_>,
    ) -> Result<Cast<'a>, ScenarioError> {
        let mut occasions = Vec::new();
        for (event, Event { peer, .. }) in events.iter().enumerate() {
            let peers = roster.all(peer, place(event).field("peer"))?;
            let shared = roster.is_group(peer);
            occasions.extend(peers.iter().map(|peer| Occasion { event, peer, shared }));
        }
        let mut by_chance = Vec::new();
        for occasion in &occasions {
            let at = place(occasion.event).field("chance");
            let chance = at_most(events[occasion.event].chance, 1.0, "as a chance", at.clone())?;
            let subject = occasion.subject(events);
            by_chance.push(dice.of(&subject).flag(Flag::Drawn { chance }, &at));
        }
        Ok(Cast { events, occasions, by_chance })
    }

    /// Those that happen: what waits for one that does not happen does not either.
    fn drawn(&self) -> Vec<Occasion<'a>> {
        let happens = |at: &usize| self.happens(*at);
        (0..self.occasions.len()).filter(happens).map(|at| self.occasions[at]).collect()
    }

    fn happens(&self, at: usize) -> bool {
        let occasion = &self.occasions[at];
        let before = match &self.events[occasion.event].when {
            When::After(name) => awaited(self.events, &self.occasions, name, occasion.peer),
            _ => None,
        };
        self.by_chance[at] && before.is_none_or(|before| self.happens(before))
    }
}

/// The occasion that something of peer `waiting` waits for when it is after the event
/// called `name`: that of the same peer, if it is an event of a group.
fn awaited(
    events: &[Event],
    occasions: &[Occasion<'_>],
    name: &str,
    waiting: &str,
) -> Option<usize> {
    let event = position(events, name)?;
    occasions.iter().position(|occasion| {
        occasion.event == event && (!occasion.shared || occasion.peer == waiting)
    })
}

/// What the plan of one event, or of something else that waits, needs to know.
struct Drafting<'a> {
    timetable: &'a Timetable<'a>,
    dice: Dice<'a>,
    /// Whom it concerns.
    peer: &'a str,
    place: Place,
}

impl Drafting<'_> {
    fn event(&self, event: &Event) -> Result<EventPlan, ScenarioError> {
        Ok(EventPlan {
            peer: self.peer.to_owned(),
            action: event.action,
            when: self.when(&event.when)?,
            delay_ms: self.dice.millis(event.delay_s, self.at("delay_s"))?,
            if_possible: event.if_possible,
        })
    }

    fn at(&self, field: &'static str) -> Place {
        self.place.clone().field(field)
    }

    fn when(&self, when: &When) -> Result<plan::When, ScenarioError> {
        let at = |field| self.at("when").field(field);
        Ok(match when {
            When::AtS(seconds) => plan::When::At(self.dice.millis(*seconds, at("at_s"))?),
            When::Verified(verified) => {
                let place = at("verified");
                let peer = match &verified.peer {
                    Some(peer) => self.timetable.roster.peer(peer, place.clone().field("peer"))?,
                    None => self.peer.to_owned(),
                };
                plan::When::Verified { peer, pieces: self.amount(verified, place)? }
            }
            When::CopyWithout(peer) => plan::When::CopyWithout {
                peer: self.timetable.roster.peer(peer, at("copy_without"))?,
            },
            When::After(name) => plan::When::After(self.after(name, at("after"))?),
        })
    }

    /// The place in the plan of the event called `name`.
    fn after(&self, name: &str, place: Place) -> Result<usize, ScenarioError> {
        let Timetable { events, drawn, .. } = self.timetable;
        if let Some(at) = awaited(events, drawn, name, self.peer) {
            return Ok(at);
        }
        // It is of a group that this peer is not in.
        let event = position(events, name).expect("the names were checked");
        let name = events[event].peer.clone();
        let count = self.timetable.roster.all(&name, Place::root())?.len();
        Err(place.problem(Problem::Group { name, count }))
    }

    /// Pieces (count).
    fn amount(&self, verified: &Verified, place: Place) -> Result<u32, ScenarioError> {
        match (verified.pieces, verified.share) {
            (Some(pieces), None) => {
                let place = place.field("pieces");
                let count = self.dice.number(pieces, &place);
                if count > self.timetable.pieces {
                    let (got, most) = (count.into(), self.timetable.pieces.into());
                    return Err(place.problem(Problem::TooMuch { what: "pieces", got, most }));
                }
                Ok(count)
            }
            (None, Some(share)) => {
                let share = self.dice.share(share, place.field("share"))?;
                Ok((share * f64::from(self.timetable.pieces)).ceil() as u32)
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
    for (index, event) in events.iter().enumerate() {
        let When::After(name) = &event.when else { continue };
        if !taken.contains(name.as_str()) {
            let place = place(index).field("when").field("after");
            return Err(no_such_event(events, name, place));
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

fn no_such_event(events: &[Event], name: &str, place: Place) -> ScenarioError {
    let known: Vec<&str> = events.iter().filter_map(named).collect();
    let nearest = nearest(name, &known).map(str::to_owned);
    place.problem(Problem::NoSuchEvent { name: name.to_owned(), nearest })
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
