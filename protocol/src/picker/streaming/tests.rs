//! The ranges, held to the legacy engine's figures, and the choice, held to a rule
//! that looks at every piece.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::{BLOCK_LENGTH, Bitfield, ConnectionId, Defect, Defects, Picker, PickerOptions};

const KIB: u64 = 1024;

/// A video of `pieces` pieces of 256 KiB, `bitrate` bytes a second, just made.
fn streaming(pieces: u64, bitrate: u64) -> Streaming {
    let length = pieces * 256 * KIB;
    let video = Video { offset: 0, length, bitrate };
    Streaming::new(video, Layout::new(256 * 1024, length))
}

#[test]
fn at_a_low_bitrate_the_high_range_is_a_number_of_pieces() {
    // 64 KiB/s are a quarter of a piece a second: ten seconds are three pieces.
    let mut streaming = streaming(1000, 64 * KIB);
    assert_eq!(streaming.high(), Span::new(0, 6));
    streaming.widen_high();
    assert_eq!(streaming.high(), Span::new(0, 11), "20 s, or 10 pieces");
    assert_eq!(streaming.mid(), Span::new(11, 44));
    assert_eq!(streaming.low(), Span::new(44, 1000));
    streaming.go_to(500);
    assert_eq!(streaming.high(), Span::new(500, 511));
    assert_eq!(streaming.mid(), Span::new(511, 544));
}

#[test]
fn at_a_high_bitrate_the_high_range_is_a_playing_time() {
    let mut streaming = streaming(1000, 512 * KIB);
    assert_eq!(streaming.high().len(), 21, "10 s at 2 pieces a second, and the next one");
    streaming.widen_high();
    assert_eq!(streaming.high().len(), 41);
    streaming.widen_high();
    assert_eq!(streaming.high().len(), 51, "never more than 50 beyond the next");
}

#[test]
fn the_high_range_grows_to_fifty_pieces_and_shrinks_to_five() {
    let mut streaming = streaming(1000, 1);
    (0..40).for_each(|_| streaming.widen_high());
    assert_eq!(streaming.high().len(), 51);
    (0..40).for_each(|_| streaming.narrow_high());
    assert_eq!(streaming.high().len(), 6);
}

#[test]
fn the_last_piece_is_in_the_high_range_when_its_turn_comes() {
    let mut streaming = streaming(20, 64 * KIB);
    streaming.go_to(17);
    assert_eq!(streaming.high(), Span::new(17, 20));
    assert!(streaming.mid().is_empty() && streaming.low().is_empty());
    streaming.go_to(20);
    assert!(streaming.is_at_end());
    assert!(streaming.high().is_empty());
}

#[test]
fn a_video_inside_the_content_has_the_pieces_that_hold_some_of_it() {
    let layout = Layout::new(100, 1000);
    let video = Video { offset: 250, length: 400, bitrate: 1 };
    let streaming = Streaming::new(video, layout);
    assert_eq!((streaming.pieces(), streaming.position()), (2..7, 2));
    assert_eq!(video.bytes_of(&layout, 2), 0..50);
    assert_eq!(video.bytes_of(&layout, 6), 350..400);
    assert_eq!(video.bytes_of(&layout, 8), 400..400);
    assert_eq!([0, 49, 50, 399, 400].map(|at| video.piece_at(&layout, at)), [2, 2, 3, 6, 7]);
}

#[test]
#[should_panic(expected = "is not inside")]
fn a_video_is_inside_its_content() {
    Streaming::new(Video { offset: 1, length: 100, bitrate: 1 }, Layout::new(100, 100));
}

const A: ConnectionId = ConnectionId(1);

/// A picker of `pieces` one-block pieces that streams them all, its transporter
/// attached, and a peer that has them all.
fn picker(pieces: u32) -> Picker {
    let length = u64::from(pieces * BLOCK_LENGTH);
    let layout = Layout::new(BLOCK_LENGTH, length);
    let options = PickerOptions { random_first: 0, ..PickerOptions::default() };
    let mut picker = Picker::new(layout, &Bitfield::empty(pieces), options);
    picker.stream(Video { offset: 0, length, bitrate: 1 });
    picker.streaming_mut().unwrap().attach_transporter(3);
    picker.peer_has_all_of(&Bitfield::full(pieces));
    picker
}

fn asker(remote: &Bitfield) -> Asker<'_> {
    Asker { connection: A, remote, only: None, better: None, defects: Defects::NONE }
}

fn pieces(picker: &mut Picker, asker: &Asker<'_>, count: usize) -> Vec<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let picked = picker.pick_for(asker, count, &mut rng).unwrap();
    picked.iter().map(|block| block.piece).collect()
}

#[test]
fn the_high_range_is_asked_for_in_order() {
    let mut picker = picker(40);
    picker.streaming_mut().unwrap().set_prebuffering(false);
    picker.streaming_mut().unwrap().go_to(7);
    let full = Bitfield::full(40);
    assert_eq!(pieces(&mut picker, &asker(&full), 6), [7, 8, 9, 10, 11, 12]);
    let mid = pieces(&mut picker, &asker(&full), 18);
    assert!(mid.iter().all(|piece| (13..31).contains(piece)), "{mid:?}");
    let low = pieces(&mut picker, &asker(&full), 9);
    assert!(low.iter().all(|piece| (31..40).contains(piece)), "{low:?}");
    let rest = pieces(&mut picker, &asker(&full), 40);
    assert!(rest.iter().all(|piece| *piece < 7), "{rest:?}");
}

#[test]
fn what_is_gathered_for_the_start_comes_before_the_rest_of_the_high_range() {
    let mut picker = picker(40);
    // Piece 1 is the commonest of the three.
    picker.peer_has(1);
    let full = Bitfield::full(40);
    let first = pieces(&mut picker, &asker(&full), 4);
    assert_eq!(first[2..], [1, 3], "{first:?}");
}

#[test]
fn who_was_late_gets_what_is_next_only_if_nobody_better_has_it() {
    let mut picker = picker(40);
    picker.streaming_mut().unwrap().set_prebuffering(false);
    let full = Bitfield::full(40);
    let all_but_two = |piece| piece != 2;
    let late = Asker { better: Some(&all_but_two), ..asker(&full) };
    let asked = pieces(&mut picker, &late, 3);
    assert_eq!(asked[0], 2);
    assert!(asked[1..].iter().all(|piece| (6..24).contains(piece)), "{asked:?}");
}

#[test]
fn who_was_late_gets_piece_zero_too_if_nobody_else_has_it() {
    let full = Bitfield::full(40);
    let nobody = |_| false;
    let late = Asker { better: Some(&nobody), ..asker(&full) };
    assert_eq!(pieces(&mut picker(40), &late, 3).iter().min(), Some(&0));
    #[cfg(feature = "defects")]
    {
        let late = Asker { defects: Defects::NONE.with(Defect::PieceZeroIsFalse), ..late };
        let asked = pieces(&mut picker(40), &late, 40);
        assert_eq!(asked.len(), 39);
        assert!(!asked.contains(&0), "{asked:?}");
    }
    let _ = Defect::PieceZeroIsFalse;
}

#[test]
fn without_a_transporter_a_prebuffering_picker_says_whom_it_misses() {
    let mut picker = Picker::new(
        Layout::new(BLOCK_LENGTH, 3 * u64::from(BLOCK_LENGTH)),
        &Bitfield::empty(3),
        PickerOptions::default(),
    );
    picker.stream(Video { offset: 0, length: 3 * u64::from(BLOCK_LENGTH), bitrate: 1 });
    let full = Bitfield::full(3);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let missed = picker.pick_for(&asker(&full), 1, &mut rng).unwrap_err().to_string();
    assert_eq!(
        missed,
        "picker next → next_new → transporter, which is not there (for max_prebuf_packets)"
    );
}

/// What a choice is made from.
#[derive(Debug, Clone)]
struct Case {
    pieces: u32,
    position: u32,
    prebuffering: bool,
    prebuffer: u32,
    widened: u32,
    have: Vec<bool>,
    /// Of each piece, whether a block is in flight already.
    started: Vec<bool>,
    remotes: Vec<Vec<bool>>,
    /// Pieces that somebody better could be asked for; `None` if we ask a good one.
    better: Option<Vec<bool>>,
    seed: u64,
}

fn case() -> impl Strategy<Value = Case> {
    (1..60u32).prop_flat_map(|pieces| {
        let bits = |share| prop::collection::vec(prop::bool::weighted(share), pieces as usize);
        (
            (0..=pieces, any::<bool>(), 1..=pieces, 0..4u32),
            bits(0.3),
            bits(0.2),
            prop::collection::vec(bits(0.6), 1..4),
            prop::option::of(bits(0.5)),
            any::<u64>(),
        )
            .prop_map(move |(state, have, started, remotes, better, seed)| {
                let (position, prebuffering, prebuffer, widened) = state;
                Case {
                    pieces,
                    position,
                    prebuffering,
                    prebuffer,
                    widened,
                    have,
                    started,
                    remotes,
                    better,
                    seed,
                }
            })
    })
}

fn bitfield(bits: &[bool]) -> Bitfield {
    let mut bitfield = Bitfield::empty(bits.len() as u32);
    for piece in (0..).zip(bits).filter(|(_, has)| **has).map(|(piece, _)| piece) {
        bitfield.insert(piece);
    }
    bitfield
}

/// Pieces of two blocks.
fn picker_of(case: &Case) -> Picker {
    let layout = Layout::new(2 * BLOCK_LENGTH, u64::from(case.pieces * 2 * BLOCK_LENGTH));
    let options = PickerOptions { random_first: 0, ..PickerOptions::default() };
    let mut picker = Picker::new(layout, &bitfield(&case.have), options);
    for remote in &case.remotes {
        picker.peer_has_all_of(&bitfield(remote));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(case.seed);
    for piece in (0..case.pieces).filter(|&piece| case.started[piece as usize]) {
        let mut only = vec![false; case.pieces as usize];
        only[piece as usize] = true;
        let _ = picker.pick(ConnectionId(99), &bitfield(&only), 1, None, &mut rng);
    }
    let video = Video { offset: 0, length: layout.total_length(), bitrate: 1 };
    picker.stream(video);
    let streaming = picker.streaming_mut().unwrap();
    streaming.attach_transporter(case.prebuffer);
    streaming.go_to(case.position);
    streaming.set_prebuffering(case.prebuffering);
    (0..case.widened).for_each(|_| streaming.widen_high());
    picker
}

/// A piece's turn, the lowest first; `None` if it cannot be asked for.
fn turn(picker: &Picker, case: &Case, piece: u32) -> Option<(u32, u32, u32, u32)> {
    let streaming = picker.streaming().unwrap();
    let free = picker.free_in(piece);
    if free == 0 || !case.remotes[0][piece as usize] {
        return None;
    }
    let availability = picker.availability()[piece as usize];
    let rarest = match free < picker.layout().blocks_in(piece) {
        true => (0, free, availability),
        false => (1, 0, availability),
    };
    let of = |range: u32, (a, b, c): (u32, u32, u32)| Some((range, a, b, c));
    let soon = case.better.as_ref().is_none_or(|better| !better[piece as usize]);
    let gathered = streaming.prebuffer().unwrap();
    if soon && streaming.is_prebuffering() && gathered.contains(piece) {
        return of(0, rarest);
    }
    if streaming.high().contains(piece) {
        return of(1, (piece, 0, 0)).filter(|_| soon);
    }
    if streaming.mid().contains(piece) {
        return of(2, rarest);
    }
    if streaming.low().contains(piece) {
        return of(3, rarest);
    }
    of(4, rarest)
}

proptest! {
    #[test]
    fn the_piece_is_chosen_whose_turn_it_is(case in case()) {
        let mut picker = picker_of(&case);
        let remote = bitfield(&case.remotes[0]);
        let better = case.better.clone();
        let better = better.as_ref().map(|better| |piece: u32| better[piece as usize]);
        let asker = Asker {
            better: better.as_ref().map(|better| better as &dyn Fn(u32) -> bool),
            ..asker(&remote)
        };
        let mut rng = ChaCha8Rng::seed_from_u64(case.seed);
        loop {
            let turns: BTreeMap<u32, _> = (0..case.pieces)
                .filter_map(|piece| Some((piece, turn(&picker, &case, piece)?)))
                .collect();
            let picked = picker.pick_for(&asker, 1, &mut rng).unwrap();
            prop_assert_eq!(picker.check(), Ok(()));
            let Some(block) = picked.first() else {
                prop_assert!(turns.is_empty(), "left out: {:?}", turns);
                break;
            };
            if turns.is_empty() {
                prop_assert!(picker.is_endgame());
                break;
            }
            prop_assert_eq!(turns.get(&block.piece), turns.values().min());
        }
    }

    #[test]
    fn the_ranges_follow_each_other_and_cover_what_is_ahead(case in case()) {
        let picker = picker_of(&case);
        let streaming = picker.streaming().unwrap();
        let ranges = [streaming.high(), streaming.mid(), streaming.low()];
        let covered: Vec<u32> = ranges.iter().flat_map(Span::iter).collect();
        prop_assert_eq!(covered, streaming.ahead().iter().collect::<Vec<_>>());
        for piece in 0..case.pieces {
            let of = ranges.iter().filter(|range| range.contains(piece)).count();
            prop_assert_eq!(of, usize::from(piece >= case.position));
        }
    }
}
