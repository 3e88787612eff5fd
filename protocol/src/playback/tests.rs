//! The rules of playing, one by one, and a player that plays everything.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{Bitfield, Defects, Layout, PieceTimes, Streaming, Time};

/// Bytes a piece.
const PIECE: u64 = 64 * 1024;
/// Two seconds are three pieces.
const BITRATE: u64 = 96 * 1024;

fn seconds(seconds: f64) -> Time {
    Time::from_epoch(Duration::from_secs_f64(seconds))
}

struct Play {
    streaming: Streaming,
    transporter: Transporter,
    have: Bitfield,
}

impl Play {
    /// A video of `pieces` whole pieces, none of them here.
    fn new(pieces: u32) -> Play {
        let length = u64::from(pieces) * PIECE;
        let layout = Layout::new(PIECE as u32, length);
        let video = Video { offset: 0, length, bitrate: BITRATE };
        let mut streaming = Streaming::new(video, layout);
        let transporter = Transporter::new(&mut streaming, layout, Defects::NONE, Time::ZERO);
        Play { streaming, transporter, have: Bitfield::empty(pieces) }
    }

    fn get(&mut self, pieces: std::ops::Range<u32>) {
        pieces.for_each(|piece| _ = self.have.insert(piece));
    }

    fn seek(&mut self, at: u64, now: Time) {
        self.transporter.seek(&mut self.streaming, at, now);
    }

    fn step(&mut self, rate: u64, now: Time) -> Vec<Delivery> {
        self.transporter.step(&mut self.streaming, &self.have, rate, now)
    }

    /// The pieces handed out in a step.
    fn pieces(&mut self, now: Time) -> Vec<u32> {
        let piece = |delivery: Delivery| match delivery {
            Delivery::Bytes { piece, .. } => piece,
            Delivery::End => u32::MAX,
        };
        self.step(0, now).into_iter().map(piece).collect()
    }

    fn state(&self) -> PlayState {
        self.transporter.state(&self.streaming)
    }
}

#[test]
fn ten_seconds_are_gathered_for_the_start() {
    assert_eq!(Play::new(100).streaming.prebuffer().unwrap().len(), 15);
    assert_eq!(Play::new(9).streaming.prebuffer().unwrap().len(), 9, "no more than there is");
}

#[test]
fn it_begins_when_the_rest_will_have_come_before_it_is_played() {
    let mut play = Play::new(100);
    play.seek(0, Time::ZERO);
    play.get(0..31);
    assert_eq!(play.step(0, seconds(1.0)), [], "nothing comes");
    let missing = 69 * PIECE;
    let playing_time = 100 * PIECE / BITRATE;
    assert_eq!(play.step(missing / (playing_time + 2), seconds(2.0)), [], "too slow");
    assert_eq!(play.state(), PlayState::Prebuffering);
    assert_ne!(play.step(missing / (playing_time - 2), seconds(3.0)), []);
    assert_eq!(play.state(), PlayState::Playing);
    assert_eq!(play.transporter.figures(seconds(9.0)).prebuffered, Duration::from_secs(3));
}

#[test]
fn it_does_not_begin_while_something_of_the_high_range_is_missing() {
    let mut play = Play::new(100);
    play.seek(0, Time::ZERO);
    play.get(0..30);
    assert_eq!(play.streaming.high().len(), 31, "20 s, and the next piece");
    assert_eq!(play.step(u64::MAX, seconds(1.0)), []);
    play.get(30..31);
    assert_ne!(play.step(u64::MAX, seconds(1.0)), []);
    assert_eq!(play.streaming.high().len(), 16, "10 s, once it has begun");
}

#[test]
fn what_is_complete_begins_at_once() {
    let mut play = Play::new(3);
    play.get(0..3);
    assert_eq!(play.step(0, Time::ZERO), [], "nobody reads yet");
    assert!(!play.streaming.is_prebuffering());
    play.seek(0, seconds(1.0));
    assert_eq!(play.pieces(seconds(1.0)), [0, 1, 2, u32::MAX]);
    assert_eq!(play.state(), PlayState::Ended);
}

#[test]
fn no_more_is_handed_out_than_the_buffer_holds() {
    let mut play = Play::new(100);
    play.get(0..100);
    play.seek(0, Time::ZERO);
    assert_eq!(play.transporter.buffer_max(), 5 * BITRATE);
    assert_eq!(play.pieces(Time::ZERO), (0..8).collect::<Vec<_>>());
    assert_eq!(play.pieces(Time::ZERO), []);
    play.transporter.taken(PIECE, Time::ZERO);
    assert_eq!(play.pieces(seconds(1.0)), [8]);
}

#[test]
fn it_runs_dry_and_goes_on_when_it_can_last() {
    let mut play = Play::new(100);
    play.get(0..31);
    play.seek(0, Time::ZERO);
    let _ = play.step(u64::MAX, Time::ZERO);
    for now in 1..30 {
        play.transporter.taken(play.transporter.buffered(), Time::ZERO);
        let _ = play.step(0, seconds(f64::from(now)));
    }
    assert_eq!(play.streaming.position(), 31);
    assert!(matches!(play.state(), PlayState::Stalled { .. }), "{:?}", play.state());
    assert_eq!(play.streaming.high().len(), 31, "more is wanted soon");
    play.get(31..61);
    assert_eq!(play.pieces(seconds(40.0)), [], "one of the high range is missing");
    play.get(61..62);
    assert_eq!(play.pieces(seconds(41.0))[0], 31);
    assert_eq!(play.state(), PlayState::Playing);
    let figures = play.transporter.figures(seconds(41.0));
    assert_eq!((figures.played, figures.late), (38, 1));
    assert!(figures.stalled > Duration::from_secs(30), "{figures:?}");
}

#[test]
fn a_piece_that_comes_within_a_second_is_handed_out_at_once() {
    let mut play = Play::new(100);
    play.get(0..31);
    play.seek(0, Time::ZERO);
    let _ = play.step(u64::MAX, Time::ZERO);
    while play.streaming.position() < 31 {
        play.transporter.taken(play.transporter.buffered(), Time::ZERO);
        let _ = play.step(0, seconds(1.0));
    }
    play.transporter.taken(play.transporter.buffered(), Time::ZERO);
    assert_eq!(play.pieces(seconds(1.0)), []);
    play.get(31..32);
    assert_eq!(play.pieces(seconds(1.5)), [31]);
    let figures = play.transporter.figures(seconds(1.5));
    assert_eq!((figures.late, figures.stalled), (1, Duration::from_millis(500)));
}

#[test]
fn a_paused_player_is_handed_nothing_and_stalls_nowhere() {
    let mut play = Play::new(20);
    play.get(0..20);
    play.seek(0, Time::ZERO);
    play.transporter.pause(true, Time::ZERO);
    assert_eq!(play.step(0, seconds(5.0)), []);
    assert_eq!(play.state(), PlayState::Paused);
    play.transporter.pause(false, seconds(9.0));
    assert_ne!(play.step(0, seconds(9.0)), []);
    assert_eq!(play.transporter.figures(seconds(9.0)).stalled, Duration::ZERO);
}

#[test]
fn after_a_seek_it_starts_at_that_byte_and_nowhere_else() {
    let mut play = Play::new(20);
    play.get(0..20);
    play.seek(0, Time::ZERO);
    let _ = play.step(0, Time::ZERO);
    play.seek(17 * PIECE + 5, seconds(1.0));
    let deliveries = play.step(0, seconds(1.0));
    let first = Delivery::Bytes { piece: 17, begin: 5, length: PIECE as u32 - 5 };
    let second = Delivery::Bytes { piece: 18, begin: 0, length: PIECE as u32 };
    assert_eq!(deliveries[..2], [first, second]);
    play.seek(20 * PIECE, seconds(2.0));
    assert_eq!(play.step(0, seconds(2.0)), [Delivery::End]);
    play.seek(0, seconds(3.0));
    assert_eq!(play.pieces(seconds(3.0))[0], 0, "one can go back from the end");
}

#[test]
fn a_piece_is_due_when_the_reader_will_have_read_what_is_before_it() {
    let mut play = Play::new(100);
    play.get(0..31);
    play.seek(0, Time::ZERO);
    assert_eq!(play.transporter.due(&play.streaming, 40), None, "it has not begun");
    let _ = play.step(u64::MAX, Time::ZERO);
    let due = play.transporter.due(&play.streaming, 45);
    assert_eq!(due, Some(Duration::from_secs(30)));
    assert_eq!(play.transporter.delays(&play.streaming), Delays::PLAYING);
}

#[test]
fn a_block_misses_when_it_comes_after_its_piece_is_due_or_after_too_long() {
    let secs = Duration::from_secs;
    assert!(!Delays::PLAYING.misses(secs(3), Some(secs(4))));
    assert!(Delays::PLAYING.misses(secs(4), Some(secs(4))), "just in time is too late");
    assert!(Delays::PLAYING.misses(secs(20), Some(secs(60))), "nobody waits that long");
    assert!(!Delays::BUFFERING.misses(secs(40), None));
    assert!(Delays::BUFFERING.misses(secs(41), None));
}

proptest! {
    #[test]
    fn the_reader_gets_every_byte_once_in_order_and_then_the_end(
        (offset, length, piece_length) in (0..500u64, 1..5_000u64, 1..700u32),
        bitrate in 1..100_000u64,
        start: prop::sample::Index,
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..400),
        takes in prop::collection::vec(0..3_000u64, 1..20),
    ) {
        let layout = Layout::new(piece_length, offset + length + 77);
        let video = Video { offset, length, bitrate };
        let mut streaming = Streaming::new(video, layout);
        let mut transporter =
            Transporter::new(&mut streaming, layout, Defects::NONE, Time::ZERO);
        let mut have = Bitfield::empty(layout.pieces());
        let start = start.index(length as usize) as u64;
        transporter.seek(&mut streaming, start, Time::ZERO);
        let mut missing: Vec<u32> = (0..layout.pieces()).collect();
        let (mut at, mut ended, mut step) = (offset + start, false, 0u64);
        while !ended {
            if !missing.is_empty() {
                let which = order.get(step as usize).map_or(0, |index| index.index(missing.len()));
                have.insert(missing.swap_remove(which));
            }
            step += 1;
            prop_assert!(step < 20_000, "it never ends");
            for delivery in transporter.step(&mut streaming, &have, 1_000, Time::from_secs(step)) {
                prop_assert!(!ended);
                match delivery {
                    Delivery::Bytes { piece, begin, length } => {
                        prop_assert!(have.contains(piece));
                        prop_assert!(begin + length <= layout.length_of(piece));
                        prop_assert_eq!(layout.offset_of(piece) + u64::from(begin), at);
                        at += u64::from(length);
                    }
                    Delivery::End => ended = true,
                }
            }
            let most = transporter.buffer_max() + u64::from(piece_length);
            prop_assert!(transporter.buffered() < most);
            let take = takes[step as usize % takes.len()].min(transporter.buffered());
            transporter.taken(take, Time::ZERO);
        }
        prop_assert_eq!(at, offset + length);
    }
}

#[test]
fn a_pieces_way_is_told_from_the_first_request_to_the_reader() {
    let mut play = Play::new(500);
    let at = seconds;
    let Play { streaming, transporter, .. } = &mut play;
    transporter.seek(streaming, 0, at(0.0));
    for piece in [0, 1, 499] {
        transporter.asked(streaming, piece, at(1.0));
    }
    transporter.asked(streaming, 0, at(2.0));
    assert_eq!(transporter.picked(), Picked { high: 2, mid: 0, low: 1 });
    transporter.completed(0, at(3.0));
    play.have = Bitfield::full(500);
    play.transporter.step(&mut play.streaming, &play.have, 0, at(4.0));
    play.transporter.taken(PIECE - 1, at(5.0));
    let first = play.transporter.timeline().next().unwrap();
    let times = |known, complete, buffered, played| PieceTimes {
        piece: 0,
        known: Some(known),
        complete: Some(complete),
        buffered: Some(buffered),
        played,
    };
    assert_eq!(first, times(at(1.0), at(3.0), at(4.0), None));
    play.transporter.taken(1, at(6.0));
    let first = play.transporter.timeline().next().unwrap();
    assert_eq!(first, times(at(1.0), at(3.0), at(4.0), Some(at(6.0))));
}

#[test]
fn of_what_was_handed_out_the_latest_is_told() {
    let mut play = Play::new(200);
    play.transporter.seek(&mut play.streaming, 0, seconds(0.0));
    play.have = Bitfield::full(200);
    for second in 0..100 {
        let now = seconds(f64::from(second));
        play.transporter.step(&mut play.streaming, &play.have, 0, now);
        play.transporter.taken(play.transporter.buffered(), now);
    }
    let pieces: Vec<u32> = play.transporter.timeline().map(|times| times.piece).collect();
    let latest = 200 - crate::PlaybackStats::TIMELINE_MAX as u32..200;
    assert_eq!(pieces, latest.collect::<Vec<u32>>());
}
