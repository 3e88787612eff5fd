//! Super-seeding: who has everything shows each remote a piece, and another once
//! somebody else has that one. BEP 16.
//!
//! So each piece leaves the only seed of a swarm about once, and whoever wants to see
//! more of it passes on what it got.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::Torrent;
use crate::{ConnectionId, Time, wire::Message};

/// Pieces that a remote is shown ahead (count). BEP 16 shows one; but transmission looks
/// only every ten seconds whether it wants something again, and with nothing ahead that is
/// what each piece would take. libtorrent: 2.
const AHEAD: usize = 2;

/// How long a remote may have the piece that it was shown last, and nobody else get it
/// from there, until it is shown another all the same: it may know nobody who is there.
/// BEP 16 has no such limit, without which a swarm whose peers cannot reach each other
/// would wait for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was shown to whom.
#[derive(Debug, Clone)]
pub(super) struct SuperSeed {
    shown: BTreeMap<ConnectionId, Shown>,
    /// How often each piece was shown (count).
    times: Vec<u32>,
}

/// What was shown to one remote.
#[derive(Debug, Clone, Default)]
struct Shown {
    pieces: BTreeSet<u32>,
    /// Those of them that nobody else was seen with, and since when each was shown.
    ahead: BTreeMap<u32, Time>,
}

impl Torrent {
    /// A seed may begin as one that shows its pieces one at a time.
    pub(super) fn start_super_seeding(&mut self) {
        if self.config.super_seed && self.picker.is_complete() && self.live.is_none() {
            let pieces = self.layout.pieces() as usize;
            self.super_seed = Some(SuperSeed { shown: BTreeMap::new(), times: vec![0; pieces] });
        }
    }

    /// Whether pieces are shown to each remote one at a time. BEP 16.
    pub fn is_super_seeding(&self) -> bool {
        self.super_seed.is_some()
    }

    /// Whether a remote may request `piece`, as far as it can know that it is here.
    pub(super) fn has_shown(&self, id: ConnectionId, piece: u32) -> bool {
        let Some(super_seed) = &self.super_seed else { return true };
        super_seed.shown.get(&id).is_some_and(|shown| shown.pieces.contains(&piece))
    }

    /// Shows a new remote its first pieces.
    pub(super) fn show_pieces(&mut self, id: ConnectionId, now: Time) {
        (0..AHEAD).for_each(|_| self.show_piece(id, now));
    }

    /// Shows a remote one more piece: of those that it does not have, one that the
    /// fewest others have, and of these one that was shown the fewest times.
    fn show_piece(&mut self, id: ConnectionId, now: Time) {
        let Some(super_seed) = &mut self.super_seed else { return };
        let Some(connection) = self.connections.get(&id) else { return };
        if !connection.may_have_content() {
            return;
        }
        let shown = super_seed.shown.entry(id).or_default();
        let availability = self.picker.availability();
        let next = (0..self.layout.pieces())
            .filter(|piece| self.picker.have().contains(*piece))
            .filter(|piece| !shown.pieces.contains(piece))
            .filter(|piece| !connection.remote_pieces.contains(*piece))
            .min_by_key(|&piece| {
                (availability[piece as usize], super_seed.times[piece as usize], piece)
            });
        if let Some(piece) = next {
            shown.pieces.insert(piece);
            shown.ahead.insert(piece, now);
            super_seed.times[piece as usize] += 1;
            self.send(id, &Message::Have { piece }, now);
            self.wake_by(now + PATIENCE);
        }
    }

    /// A remote has more pieces than before: whoever was shown one of these is shown
    /// another in its place.
    pub(super) fn seen_with(&mut self, id: ConnectionId, now: Time) {
        let Some(super_seed) = &self.super_seed else { return };
        let has = &self.connections[&id].remote_pieces;
        let others_want = |whose: ConnectionId| {
            let wants = |other: &crate::Connection| !other.remote_pieces.is_full();
            self.established().any(|other| other.id != whose && wants(other))
        };
        // Nobody may be there whom the only leecher could give it to.
        let counts = |whose: ConnectionId| whose != id || !others_want(id);
        let passed_on = |(whose, shown): (&ConnectionId, &Shown)| -> Vec<(ConnectionId, u32)> {
            let here = shown.ahead.keys().filter(|piece| has.contains(**piece));
            let here = here.filter(|_| counts(*whose));
            here.map(|piece| (*whose, *piece)).collect()
        };
        let passed: Vec<_> = super_seed.shown.iter().flat_map(passed_on).collect();
        for (whose, piece) in passed {
            self.show_next(whose, piece, now);
        }
    }

    /// `piece` is no longer waited for: another takes its place.
    fn show_next(&mut self, id: ConnectionId, piece: u32, now: Time) {
        let shown = self.super_seed.as_mut().and_then(|it| it.shown.get_mut(&id));
        if shown.is_some_and(|shown| shown.ahead.remove(&piece).is_some()) {
            self.show_piece(id, now);
        }
    }

    /// A remote is gone: what waited for it to have a piece need not wait for that.
    pub(super) fn hidden_from(&mut self, id: ConnectionId, now: Time) {
        let Some(super_seed) = &mut self.super_seed else { return };
        super_seed.shown.remove(&id);
        for other in self.established_ids() {
            self.seen_with(other, now);
        }
    }

    /// Shows another piece to whom has waited for long enough, where that is due.
    pub(super) fn show_overdue(&mut self, now: Time) {
        let Some(super_seed) = &self.super_seed else { return };
        let due = |(whose, shown): (&ConnectionId, &Shown)| -> Vec<(Time, ConnectionId, u32)> {
            let ahead = shown.ahead.iter();
            ahead.map(|(piece, since)| (*since + PATIENCE, *whose, *piece)).collect()
        };
        let dues: Vec<_> = super_seed.shown.iter().flat_map(due).collect();
        for (due, whose, piece) in dues {
            match due <= now {
                true => self.show_next(whose, piece, now),
                false => self.wake_by(due),
            }
        }
    }
}
