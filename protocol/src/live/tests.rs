//! A stream that is played by the rules, whatever comes late or not at all.

use std::time::Duration;

use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::{Bitfield, Time, extension::closed_swarm::PrivateKey};

const PIECE_TIME: Duration = Duration::from_millis(250);

fn at(millis: u64) -> Time {
    Time::from_epoch(Duration::from_secs(100) + Duration::from_millis(millis))
}

fn places(pieces: u32, owned: impl IntoIterator<Item = u32>) -> Bitfield {
    let mut bitfield = Bitfield::empty(pieces);
    owned.into_iter().for_each(|place| _ = bitfield.insert(place));
    bitfield
}

fn key(seed: u64) -> PrivateKey {
    PrivateKey::generate(&mut ChaCha8Rng::seed_from_u64(seed))
}

#[test]
fn a_window_is_an_eighth_of_the_ring_each_way() {
    assert_eq!(Ring::new(32).delta(), 4);
    assert_eq!(Ring::new(64).delta(), 8);
    assert_eq!(Ring::new(64).valid(100), 92..108);
    assert_eq!(Ring::new(64).valid(3), 0..11, "a stream begins somewhere");
}

#[test]
fn a_place_stands_for_the_next_number_that_lies_there() {
    let ring = Ring::new(32);
    assert_eq!(ring.place(67), 3);
    assert_eq!(ring.at_or_after(62, 3), 67);
    assert_eq!(ring.at_or_after(62, 30), 62);
    assert_eq!(ring.at_or_after(62, 29), 93);
}

#[test]
fn the_newest_piece_is_the_one_before_the_longest_gap() {
    let ring = Ring::new(32);
    let across = places(32, [29, 30, 31, 0, 1]);
    assert_eq!(ring.newest([&across], 3), Some((31, 1)), "round the end of the ring");
    let with_a_hole = places(32, [4, 5, 7]);
    assert_eq!(ring.newest([&with_a_hole], 3), Some((7, 7)));
    assert_eq!(ring.newest([&places(32, [])], 3), None);
    assert_eq!(ring.newest([&Bitfield::full(32)], 3), None, "it may be anywhere");
}

#[test]
fn the_newest_piece_is_one_that_half_of_those_have_who_have_any() {
    let ring = Ring::new(32);
    let (behind, ahead) = (places(32, 0..8), places(32, 4..12));
    let nothing = places(32, []);
    let of = |neighbours: &[&Bitfield]| ring.newest(neighbours.iter().copied(), 4);
    assert_eq!(of(&[&behind, &behind, &ahead]), Some((4, 7)));
    assert_eq!(of(&[&behind, &ahead, &nothing]), Some((8, 11)), "one of two is half");
}

#[test]
fn a_sealed_piece_tells_its_number_to_who_has_the_key() {
    let piece = seal(&key(1), b"stream", 77);
    assert_eq!(piece.len(), 6 + SEAL_LENGTH);
    assert_eq!(open_seal(&key(1).public(), &piece), Some(77));
    assert_eq!(seal(&key(1), b"stream", 77), piece, "always the same bytes");
}

#[test]
fn whatever_is_changed_in_a_sealed_piece_breaks_the_seal() {
    let piece = seal(&key(1), b"stream", 77);
    let public = key(1).public();
    for at in 0..piece.len() {
        let mut bytes = piece.to_vec();
        bytes[at] ^= 1;
        assert_eq!(open_seal(&public, &bytes), None, "byte {at}");
    }
    assert_eq!(open_seal(&public, &seal(&key(2), b"stream", 77)), None);
    assert_eq!(open_seal(&public, &piece[1..]), None);
    assert_eq!(open_seal(&public, b"short"), None);
}

#[test]
fn a_broadcast_makes_a_piece_whenever_one_is_due_until_it_ends() {
    let mut broadcast = Broadcast::new(Ring::new(32), PIECE_TIME, at(0));
    assert_eq!(broadcast.due(at(249)), None);
    assert_eq!(broadcast.due(at(250)), Some(0));
    broadcast.made();
    assert_eq!(broadcast.due(at(499)), None);
    assert_eq!(broadcast.due(at(900)), Some(1), "it may be late");
    broadcast.made();
    assert_eq!(broadcast.due(at(900)), Some(2), "and catches up");
    assert_eq!(broadcast.valid(), 0..2);
    broadcast.ended();
    assert_eq!((broadcast.due(at(9_000)), broadcast.poll_timeout()), (None, None));
}

/// A viewer of a ring of 32 that has hooked in at place 10, of 10..14.
fn hooked_in() -> Viewer {
    let mut viewer = Viewer::new(Ring::new(32), PIECE_TIME, at(0));
    let neighbour = places(32, 10..12);
    let notice = viewer.step(&places(32, []), &[&neighbour], at(0));
    assert_eq!(notice, Some(Notice::HookedIn));
    viewer
}

#[test]
fn a_viewer_waits_until_a_neighbour_has_something() {
    let mut viewer = Viewer::new(Ring::new(32), PIECE_TIME, at(0));
    let nothing = places(32, []);
    assert_eq!(viewer.step(&nothing, &[&nothing], at(0)), None);
    assert_eq!((viewer.position(), viewer.wanted()), (None, 0..0));
    assert_eq!(viewer.poll_timeout(), at(1_000), "it looks once a second");
    assert_eq!(viewer.step(&nothing, &[&places(32, [3])], at(500)), None);
    assert_eq!(viewer.step(&nothing, &[&places(32, [3])], at(1_000)), Some(Notice::HookedIn));
}

#[test]
fn a_viewer_wants_what_is_ahead_as_far_as_it_is_valid() {
    let viewer = hooked_in();
    assert_eq!(viewer.position(), Some(42), "place 10 of a round that is made up");
    assert_eq!((viewer.wanted(), viewer.valid()), (42..46, 38..46));
}

#[test]
fn the_first_piece_tells_the_numbers() {
    let mut viewer = hooked_in();
    assert_eq!(viewer.came(11, 3 * 32 + 12), Arrival::Old, "that belongs elsewhere");
    assert_eq!(viewer.came(11, 3 * 32 + 11), Arrival::Wanted);
    assert_eq!((viewer.position(), viewer.is_numbered()), (Some(3 * 32 + 10), true));
    assert_eq!(viewer.came(10, 3 * 32 + 10), Arrival::Wanted);
    assert_eq!(viewer.came(10, 2 * 32 + 10), Arrival::Old, "of an earlier round");
    assert_eq!(viewer.position(), Some(3 * 32 + 10));
}

#[test]
fn who_was_told_old_numbers_begins_anew_with_a_newer_piece() {
    let mut viewer = hooked_in();
    assert_eq!(viewer.came(10, 10), Arrival::Wanted, "signed, but replayed");
    assert_eq!(viewer.came(11, 5 * 32 + 11), Arrival::Ahead);
    assert_eq!((viewer.position(), viewer.is_numbered()), (None, false));
    let neighbour = places(32, 10..12);
    let notice = viewer.step(&places(32, []), &[&neighbour], at(1_000));
    assert_eq!(notice, Some(Notice::HookedIn));
    assert_eq!(viewer.came(11, 5 * 32 + 11), Arrival::Wanted);
    assert_eq!(viewer.position(), Some(5 * 32 + 10));
}

#[test]
fn a_viewer_plays_what_is_here_and_drops_what_is_late() {
    let mut viewer = hooked_in();
    let neighbour = places(32, 10..14);
    let have = places(32, [10, 11, 13]);
    let mut step = |now| viewer.step(&have, &[&neighbour], now);
    assert_eq!(step(at(10)), Some(Notice::Started));
    assert_eq!(step(at(10)), Some(Notice::Played { sequence: 42 }));
    assert_eq!(step(at(259)), None);
    assert_eq!(step(at(260)), Some(Notice::Played { sequence: 43 }));
    assert_eq!(step(at(510)), Some(Notice::Dropped { sequence: 44 }));
    assert_eq!(step(at(760)), Some(Notice::Played { sequence: 45 }));
}

#[test]
fn who_has_too_little_ahead_waits_for_it_and_drops_nothing() {
    let mut viewer = hooked_in();
    let (have, neighbour) = (places(32, 10..12), places(32, 10..14));
    let mut notices = Vec::new();
    for tick in 0..60 {
        while let Some(notice) = viewer.step(&have, &[&neighbour], at(tick * 10)) {
            notices.push(notice);
        }
    }
    assert_eq!(notices.last(), Some(&Notice::Stalled), "{notices:?}");
    let more = places(32, 12..14);
    assert_eq!(viewer.step(&more, &[&neighbour], at(900)), Some(Notice::Started));
    let played = viewer.step(&more, &[&neighbour], at(900));
    assert_eq!(played, Some(Notice::Played { sequence: 44 }), "later by what it waited");
}

/// The same, when it has heard from the source that place 10 is that of piece 42.
fn numbered() -> Viewer {
    let mut viewer = hooked_in();
    assert_eq!(viewer.came(10, 42), Arrival::Wanted);
    viewer
}

/// Two pieces that are here are played, and no more comes.
#[test]
fn where_nothing_goes_on_a_viewer_stalls_and_drops_nothing() {
    let mut viewer = numbered();
    let (have, neighbour) = (places(32, 10..12), places(32, 10..12));
    let mut notices = Vec::new();
    for tick in 0..40 {
        while let Some(notice) = viewer.step(&have, &[&neighbour], at(tick * 100)) {
            notices.push(notice);
        }
    }
    let expected = [
        Notice::Started,
        Notice::Played { sequence: 42 },
        Notice::Played { sequence: 43 },
        Notice::Stalled,
    ];
    assert_eq!(notices, expected);
    assert_eq!(viewer.position(), Some(44));
}

#[test]
fn who_fell_behind_by_a_window_hooks_in_anew() {
    let mut viewer = numbered();
    let played = viewer.step(&places(32, 10..12), &[], at(100));
    assert_eq!(played, Some(Notice::Started));
    assert!(viewer.step(&places(32, [10]), &[], at(100)).is_some());
    assert_eq!(viewer.step(&places(32, []), &[], at(350)), Some(Notice::Stalled));
    let nothing = places(32, []);
    let on = places(32, 16..18);
    assert_eq!(viewer.step(&nothing, &[&on], at(1_000)), Some(Notice::HookedIn));
    assert_eq!(viewer.position(), Some(32 + 16));
    let back = places(32, 8..10);
    assert_eq!(viewer.step(&nothing, &[&back], at(9_000)), None, "never back");
}

#[test]
fn who_waits_for_what_nobody_has_any_more_goes_to_whoever_is_ahead() {
    let mut viewer = hooked_in();
    let nothing = places(32, []);
    let (behind, ahead) = (places(32, 8..10), places(32, 13..16));
    let neighbours = [&behind, &behind, &ahead];
    for now in [100, 1_000, 4_000] {
        assert_eq!(viewer.step(&nothing, &neighbours, at(now)), None);
    }
    assert_eq!(viewer.step(&nothing, &neighbours, at(5_000)), Some(Notice::HookedIn));
    assert_eq!(viewer.position(), Some(32 + 14), "as much before the newest as is gathered");
}

/// It was led to where somebody only says that he has something.
#[test]
fn who_has_got_nothing_for_long_goes_to_whom_else_there_is() {
    let mut viewer = hooked_in();
    let nothing = places(32, []);
    let (liar, source) = (places(32, 10..12), places(32, 1..4));
    assert_eq!(viewer.step(&nothing, &[&liar, &source], at(4_000)), None);
    let notice = viewer.step(&nothing, &[&liar, &source], at(5_000));
    assert_eq!(notice, Some(Notice::HookedIn));
    assert_eq!(viewer.position(), Some(32 + 2), "at the source's newest");
}

/// Of what is gathered the first is to be had of nobody, and there is too little to play on
/// after what was passed over.
#[test]
fn who_begins_without_what_is_missing_begins_with_what_is_here() {
    let ring = Ring::new(64);
    let mut viewer = Viewer::new(ring, PIECE_TIME, at(0));
    let neighbour = places(64, 10..14);
    let nothing = places(64, []);
    assert_eq!(viewer.step(&nothing, &[&neighbour], at(0)), Some(Notice::HookedIn));
    let have = places(64, [13]);
    let nobody = places(64, []);
    assert_eq!(viewer.step(&have, &[&nobody], at(1_999)), None);
    assert_eq!(viewer.step(&have, &[&nobody], at(2_000)), Some(Notice::Started));
    let sequence = 64 + 13;
    assert_eq!(viewer.step(&have, &[&nobody], at(2_000)), Some(Notice::Played { sequence }));
    assert_eq!(viewer.dropped(), 3);
}

#[test]
fn what_was_played_is_never_played_again() {
    let mut viewer = numbered();
    let have = places(32, 10..14);
    let mut played = Vec::new();
    for now in (0..750).step_by(250) {
        while let Some(notice) = viewer.step(&have, &[&have], at(now)) {
            played.extend(match notice {
                Notice::Played { sequence } => Some(sequence),
                _ => None,
            });
        }
    }
    assert_eq!(played, [42, 43, 44]);
    // What told the numbers is taken to be old, and who is found next is behind.
    assert_eq!(viewer.came(13, 32 + 45), Arrival::Ahead);
    let behind = places(32, 9..11);
    let nothing = places(32, []);
    assert_eq!(viewer.step(&nothing, &[&behind], at(2_000)), Some(Notice::HookedIn));
    assert_eq!(viewer.came(9, 41), Arrival::Wanted);
    assert_eq!(viewer.step(&nothing, &[&behind], at(2_000)), Some(Notice::HookedIn));
    assert_eq!(viewer.position(), Some(45));
}

/// One viewer of a source that makes `total` pieces; of each it is drawn how long it
/// takes to come, if it comes.
struct Show {
    ring: Ring,
    broadcast: Broadcast,
    viewer: Viewer,
    total: u64,
    delays: Vec<Option<u64>>,
    have: Bitfield,
    claims: Bitfield,
    numbers: Vec<Option<u64>>,
    notices: Vec<Notice>,
}

impl Show {
    fn new(pieces: u32, total: u64, joins: u64, delays: Vec<Option<u64>>) -> Show {
        let ring = Ring::new(pieces);
        Show {
            ring,
            broadcast: Broadcast::new(ring, PIECE_TIME, at(0)),
            viewer: Viewer::new(ring, PIECE_TIME, at(joins)),
            total,
            delays,
            have: Bitfield::empty(pieces),
            claims: Bitfield::empty(pieces),
            numbers: vec![None; pieces as usize],
            notices: Vec::new(),
        }
    }

    /// Ten milliseconds: what is made is claimed, what is wanted and has had its time
    /// comes.
    fn tick(&mut self, now: u64, joins: u64) -> Result<(), TestCaseError> {
        while let Some(sequence) = self.broadcast.due(at(now)) {
            if sequence == self.total {
                self.broadcast.ended();
                break;
            }
            self.broadcast.made();
            let valid = self.broadcast.valid().map(|sequence| self.ring.place(sequence));
            self.claims = places(self.ring.pieces(), valid);
        }
        if now < joins {
            return Ok(());
        }
        for sequence in self.broadcast.valid() {
            let place = self.ring.place(sequence);
            let made = (sequence + 1) * 250;
            let comes =
                self.delays[sequence as usize % self.delays.len()].map(|delay| made + delay);
            let first = self.viewer.wanted().start;
            let expected = self.ring.at_or_after(first, place);
            let wanted = self.viewer.wanted().contains(&expected);
            if wanted && comes.is_some_and(|comes| comes <= now) && !self.have.contains(place) {
                match self.viewer.came(place, sequence) {
                    Arrival::Wanted => {
                        self.have.insert(place);
                        self.numbers[place as usize] = Some(sequence);
                    }
                    Arrival::Ahead => self.have = Bitfield::empty(self.ring.pieces()),
                    Arrival::Old => prop_assert!(false, "{sequence} is not old: {:?}", self.viewer),
                }
            }
        }
        loop {
            let before = self.viewer.valid();
            let Some(notice) = self.viewer.step(&self.have, &[&self.claims], at(now)) else {
                return Ok(());
            };
            self.notices.push(notice);
            let valid = self.viewer.valid();
            for gone in before.filter(|sequence| !valid.contains(sequence)) {
                self.have.remove(self.ring.place(gone));
            }
            if let Notice::Played { sequence } = notice {
                let place = self.ring.place(sequence) as usize;
                prop_assert_eq!(self.numbers[place], Some(sequence), "what was played is it");
            }
        }
    }
}

proptest! {
    #[test]
    fn from_where_it_hooked_in_each_piece_is_played_or_dropped_once_and_in_order(
        pieces in 32..56u32,
        total in 20..120u64,
        joins in 0..4_000u64,
        delays in prop::collection::vec(prop::option::weighted(0.9, 0..1_200u64), 1..30),
    ) {
        let mut show = Show::new(pieces, total, joins, delays.clone());
        for now in (0..(total + 40) * 250).step_by(10) {
            show.tick(now, joins)?;
        }
        let decided: Vec<u64> = show
            .notices
            .iter()
            .filter_map(|notice| match notice {
                Notice::Played { sequence } | Notice::Dropped { sequence } => Some(*sequence),
                _ => None,
            })
            .collect();
        // The first ones may be numbers of a round that is made up.
        let numbered = decided.iter().position(|sequence| *sequence < total);
        let decided = &decided[numbered.unwrap_or(decided.len())..];
        prop_assert!(decided.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", show.notices);
        let played = |notice: &&Notice| matches!(notice, Notice::Played { .. });
        if delays.iter().all(|delay| delay.is_some_and(|delay| delay < 200)) {
            prop_assert_eq!(show.viewer.position(), Some(total), "{:?}", show.notices);
            let dropped = show.notices.iter().filter(|notice| !played(notice));
            let dropped = dropped.filter(|notice| matches!(notice, Notice::Dropped { .. }));
            prop_assert_eq!(dropped.count(), 0, "{:?}", show.notices);
        }
    }

    #[test]
    fn a_stream_that_comes_in_time_is_played_without_a_gap_round_and_round(
        pieces in 32..56u32,
        rounds in 2..5u64,
        joins in 0..4_000u64,
        delays in prop::collection::vec((0..200u64).prop_map(Some), 1..30),
    ) {
        let total = u64::from(pieces) * rounds;
        let mut show = Show::new(pieces, total, joins, delays);
        for now in (0..(total + 40) * 250).step_by(10) {
            show.tick(now, joins)?;
        }
        let played: Vec<u64> = show
            .notices
            .iter()
            .filter_map(|notice| match notice {
                Notice::Played { sequence } => Some(*sequence),
                _ => None,
            })
            .collect();
        prop_assert!(played.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{:?}", played);
        prop_assert_eq!(played.last(), Some(&(total - 1)));
        prop_assert!(played.len() as u64 + 20 + joins / 250 > total);
    }
}
