//! A viewer's side of a live stream.

use std::{cmp::Ordering, ops::Range, time::Duration};

use super::Ring;
use crate::{Bitfield, Time};

/// How much is gathered before playing, and after running dry. NextShare: 10 s.
const PREBUFFER: Duration = Duration::from_secs(10);

/// How often the place to hook in is looked for until it plays. NextShare: 1 s.
const HOOK_IN_INTERVAL: Duration = Duration::from_secs(1);

/// How many times as long as the prebuffer plays is waited for the last of it, where
/// most of it is here.
const PATIENCE: u32 = 2;

/// How long is at least waited where something is said to be, before one goes elsewhere:
/// to be unchoked and answered takes that long.
const STAY_MIN: Duration = Duration::from_secs(5);

/// How a viewer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewState {
    /// It does not know yet where the stream is.
    Waiting,
    /// It gathers what is played first.
    Buffering {
        /// Since when.
        since: Time,
    },
    /// It plays; the next piece is due then.
    Playing {
        /// When the piece at the position is to be played.
        due: Time,
    },
}

/// Something that a viewer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// It has found a place to hook in, or a new one.
    HookedIn,
    /// It begins to play, for the first time or again.
    Started,
    /// A piece was played.
    Played {
        /// Its sequence number.
        sequence: u64,
    },
    /// A piece was not there when it was due, and enough of the later ones was.
    Dropped {
        /// Its sequence number.
        sequence: u64,
    },
    /// It has run dry: too little of what comes next is here.
    Stalled,
}

/// What a piece that came is to a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The one that is wanted at its place.
    Wanted,
    /// One that had gone by: who sent it kept it, or lies.
    Old,
    /// One of a later round: either what told the numbers was old, or the stream has
    /// gone round without us. All that was held is worth nothing; the viewer waits to
    /// hook in anew.
    Ahead,
}

/// Follows a live stream. It knows places until the first piece comes, which says
/// its number; so the numbers before that are those of places, in a first round that
/// is made up.
#[derive(Debug, Clone)]
pub struct Viewer {
    ring: Ring,
    piece_time: Duration,
    /// Pieces that are gathered (count).
    prebuffer: u32,
    state: ViewState,
    position: u64,
    /// Whether numbers are the source's.
    numbered: bool,
    next_look: Time,
    /// The first piece that was not played yet, nor any after it, by the source's numbers.
    unplayed: u64,
    /// Pieces that were played and dropped (count).
    played: u32,
    dropped: u32,
}

impl Viewer {
    /// A viewer of a stream in which a piece plays for `piece_time`. It looks for a
    /// place to hook in from `now` on.
    pub fn new(ring: Ring, piece_time: Duration, now: Time) -> Viewer {
        let wanted = PREBUFFER.as_nanos().div_ceil(piece_time.as_nanos().max(1));
        let prebuffer = u32::try_from(wanted).unwrap_or(u32::MAX).clamp(1, ring.delta() / 2);
        Viewer {
            ring,
            piece_time,
            prebuffer,
            state: ViewState::Waiting,
            position: 0,
            numbered: false,
            next_look: now,
            unplayed: 0,
            played: 0,
            dropped: 0,
        }
    }

    /// Pieces that were played (count).
    pub fn played(&self) -> u32 {
        self.played
    }

    /// Pieces that were passed over because they did not come in time (count).
    pub fn dropped(&self) -> u32 {
        self.dropped
    }

    /// How it stands.
    pub fn state(&self) -> ViewState {
        self.state
    }

    /// Sequence number of the piece that is played next, once it has hooked in.
    pub fn position(&self) -> Option<u64> {
        (self.state != ViewState::Waiting).then_some(self.position)
    }

    /// Whether [`Viewer::position`] and the others are the source's own numbers, and
    /// not those of places.
    pub fn is_numbered(&self) -> bool {
        self.numbered
    }

    /// Pieces that are gathered before it plays (count): ten seconds of them, but no
    /// more than half of what may be wanted.
    pub fn prebuffer(&self) -> u32 {
        self.prebuffer
    }

    /// The pieces that may be here.
    pub fn valid(&self) -> Range<u64> {
        self.position().map_or(0..0, |position| self.ring.valid(position))
    }

    /// The pieces that are to be had: from the position on as far as they are valid.
    /// What is further on is left to those who are there.
    pub fn wanted(&self) -> Range<u64> {
        self.position().map_or(0..0, |position| position..self.ring.valid(position).end)
    }

    /// How long the piece at `place` can be left to others: until it is among those that
    /// are played before half of what is gathered is.
    pub fn spare_time(&self, place: u32) -> Duration {
        let Some(position) = self.position() else { return Duration::ZERO };
        let ahead = self.ring.distance(self.ring.place(position), place);
        self.piece_time * ahead.saturating_sub(self.prebuffer.div_ceil(2))
    }

    /// The source signed the piece that came for `place` as number `sequence`: what is
    /// that to us? The first one tells the numbers.
    pub fn came(&mut self, place: u32, sequence: u64) -> Arrival {
        if self.position().is_none() || self.ring.place(sequence) != place {
            return Arrival::Old;
        }
        let expected = self.ring.at_or_after(self.valid().start, place);
        match sequence.cmp(&expected) {
            Ordering::Equal => {}
            _ if !self.numbered => match (self.position + sequence).checked_sub(expected) {
                Some(position) => self.position = position,
                None => return Arrival::Old,
            },
            Ordering::Less => return Arrival::Old,
            Ordering::Greater => {
                self.state = ViewState::Waiting;
                self.numbered = false;
                return Arrival::Ahead;
            }
        }
        self.numbered = true;
        Arrival::Wanted
    }

    /// When to call [`Viewer::step`], if nothing comes before.
    pub fn poll_timeout(&self) -> Time {
        match self.state {
            ViewState::Waiting | ViewState::Buffering { .. } => self.next_look,
            ViewState::Playing { due } => due,
        }
    }

    /// Does what is due `now`, where `have` are the places of the pieces that are here
    /// and `neighbours` those that others say they have. To be called until it does
    /// nothing; what is valid and wanted may be different after each call.
    pub fn step(&mut self, have: &Bitfield, neighbours: &[&Bitfield], now: Time) -> Option<Notice> {
        if self.numbered && self.position < self.unplayed {
            // Where it hooked in they are behind.
            self.position = self.unplayed;
            self.state = ViewState::Buffering { since: now };
            return Some(Notice::HookedIn);
        }
        match self.state {
            ViewState::Waiting | ViewState::Buffering { .. } if self.next_look <= now => {
                self.next_look = now + HOOK_IN_INTERVAL;
                self.hook_in(have, neighbours, now).or_else(|| self.start(have, neighbours, now))
            }
            ViewState::Waiting => None,
            ViewState::Buffering { .. } => self.start(have, neighbours, now),
            ViewState::Playing { due } if due <= now => Some(self.play(have, due, now)),
            ViewState::Playing { .. } => None,
        }
    }

    /// Begins to play, if there is enough, with the first piece that is here; unless it
    /// would be too far behind by now.
    fn start(&mut self, have: &Bitfield, neighbours: &[&Bitfield], now: Time) -> Option<Notice> {
        let ViewState::Buffering { since } = self.state else { return None };
        if !self.may_start(have, neighbours, since, now) {
            return None;
        }
        let caught_up = self.hook_in(have, neighbours, now);
        if caught_up.is_none() {
            // What does not come for that long would only be waited for again.
            while !have.contains(self.ring.place(self.position)) {
                self.position += 1;
                self.dropped = self.dropped.saturating_add(1);
            }
            self.state = ViewState::Playing { due: now };
            return Some(Notice::Started);
        }
        caught_up
    }

    /// Looks where the stream is: to begin there, or to catch up with it if so much
    /// time was lost that the window has gone by.
    fn hook_in(&mut self, have: &Bitfield, neighbours: &[&Bitfield], now: Time) -> Option<Notice> {
        let most = self.ring.newest(neighbours.iter().copied(), self.prebuffer);
        let ahead = |newest| self.ring.distance(self.ring.place(self.position), newest);
        let is_far = |newest| (self.ring.delta()..self.ring.horizon()).contains(&ahead(newest));
        let (first, newest) = match self.position() {
            None => most?,
            Some(_) => most
                .filter(|(_, newest)| is_far(*newest))
                .or_else(|| self.edge_if_stranded(have, neighbours, now))?,
        };
        match self.position().map(|_| ahead(newest)) {
            Some(ahead) if (1..self.ring.horizon()).contains(&ahead) => {
                let first = ahead - self.ring.distance(first, newest).min(ahead);
                self.position += u64::from(first);
            }
            _ => {
                self.position = u64::from(self.ring.pieces()) + u64::from(first);
                self.numbered = false;
            }
        }
        self.state = ViewState::Buffering { since: now };
        Some(Notice::HookedIn)
    }

    /// Where any of those are who have nothing of what we gather, if for long nothing of
    /// it has come. A swarm that has fallen behind as one would else wait for what only
    /// the source had, and has no more; and a newcomer for what somebody only says he has.
    /// Who has played nothing, or knows no numbers, may as well begin anywhere; all others
    /// go ahead only.
    fn edge_if_stranded(
        &self,
        have: &Bitfield,
        neighbours: &[&Bitfield],
        now: Time,
    ) -> Option<(u32, u32)> {
        let ViewState::Buffering { since } = self.state else { return None };
        let has_first = |pieces: &Bitfield| {
            let mut first = self.position..self.position + u64::from(self.prebuffer);
            first.any(|sequence| pieces.contains(self.ring.place(sequence)))
        };
        if now - since < self.wait_max().max(STAY_MIN) || has_first(have) {
            return None;
        }
        let elsewhere = neighbours.iter().copied().filter(|pieces| !has_first(pieces));
        let edge = self.ring.newest_of_any(elsewhere, self.prebuffer)?;
        let ahead = self.ring.distance(self.ring.place(self.position), edge.1);
        let anywhere = self.played == 0 || !self.numbered;
        (anywhere || (1..self.ring.horizon()).contains(&ahead)).then_some(edge)
    }

    /// How long the last of what is gathered is waited for.
    fn wait_max(&self) -> Duration {
        self.piece_time * self.prebuffer * PATIENCE
    }

    /// Whether what is played first is here: all of it, or after some time most of
    /// what there is, or after twice that any.
    fn may_start(&self, have: &Bitfield, neighbours: &[&Bitfield], since: Time, now: Time) -> bool {
        let first = self.position..self.position + u64::from(self.prebuffer);
        let (here, away): (Vec<u64>, Vec<u64>) =
            first.partition(|sequence| have.contains(self.ring.place(*sequence)));
        if away.is_empty() {
            return true;
        }
        let to_be_had = |sequence: &&u64| self.somebody_has(**sequence, neighbours);
        let missing = away.iter().filter(to_be_had).count();
        let (waited, most) = (now - since, here.len() >= 2 * missing);
        let long_enough = if most { self.wait_max() } else { 2 * self.wait_max() };
        !here.is_empty() && waited >= long_enough
    }

    fn somebody_has(&self, sequence: u64, neighbours: &[&Bitfield]) -> bool {
        let place = self.ring.place(sequence);
        neighbours.iter().any(|pieces| pieces.contains(place))
    }

    /// Plays the piece that is due. Where it is not here, it is passed over if half of
    /// what is gathered ahead is; else the viewer waits until it has gathered anew, and
    /// is that much later from then on. NextShare: what is sustainable.
    fn play(&mut self, have: &Bitfield, due: Time, now: Time) -> Notice {
        let sequence = self.position;
        let is_here = |sequence: u64| have.contains(self.ring.place(sequence));
        let ahead = sequence + 1..sequence + 1 + u64::from(self.prebuffer);
        let gathered = ahead.filter(|sequence| is_here(*sequence)).count();
        let notice = if is_here(sequence) {
            self.played = self.played.saturating_add(1);
            self.unplayed = sequence + 1;
            Notice::Played { sequence }
        } else if 2 * gathered >= self.prebuffer as usize {
            self.dropped = self.dropped.saturating_add(1);
            Notice::Dropped { sequence }
        } else {
            self.state = ViewState::Buffering { since: now };
            self.next_look = now;
            return Notice::Stalled;
        };
        self.position += 1;
        self.state = ViewState::Playing { due: due + self.piece_time };
        notice
    }
}
