//! Which pieces are wanted how soon, by a download that is played while it comes.
//!
//! From the playback position on the video falls into three ranges:
//!
//! ```text
//!        position
//!   played  |  high          |  mid                    |  low            | the rest
//!  ---------+----------------+-------------------------+-----------------+---------
//!             in order         rarest first              rarest first      rarest first
//! ```
//!
//! It is a way of choosing, and no second picker: the states of the blocks stay
//! where they are. What it chooses is in `selection`.

mod selection;

#[cfg(test)]
mod tests;

use std::ops::Range;

pub use self::selection::{Asker, NotWired};
use crate::{Layout, playback::Video};

/// How far the high range reaches, in playing time: from here, by steps, to there.
const HIGH_TIME_S: Range<u32> = 10..180;
const HIGH_TIME_STEP_S: u32 = 10;
/// And how many pieces it holds at least.
const HIGH_PIECES: Range<u32> = 5..50;
const HIGH_PIECES_STEP: u32 = 5;
/// Pieces behind the position that it holds at most (count), whatever they play.
const HIGH_MAX: u32 = 50;
/// The mid range ends this many times as far from the position as the high one.
const MID_FACTOR: u32 = 4;

/// Pieces in the order in which they are played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    first: u32,
    end: u32,
}

impl Span {
    /// From `first` to before `end`; nothing if that is not behind it.
    pub fn new(first: u32, end: u32) -> Span {
        Span { first, end: end.max(first) }
    }

    /// Whether `piece` is one of them.
    pub fn contains(&self, piece: u32) -> bool {
        (self.first..self.end).contains(&piece)
    }

    /// Pieces (count).
    pub fn len(&self) -> u32 {
        self.end - self.first
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Them, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<> {
        self.first..self.end
    }
}

/// The state of a download that is streamed, as its picker sees it.
#[derive(Debug, Clone)]
pub struct Streaming {
    video: Video,
    layout: Layout,
    /// The pieces of the video.
    pieces: Range<u32>,
    /// The next piece to be handed to the reader; behind the last at the end.
    position: u32,
    /// Whether it gathers what it needs to begin.
    prebuffering: bool,
    /// Pieces (count) that it gathers for that. The transporter says how many, once
    /// there is one.
    prebuffer: Option<u32>,
    high_time_s: u32,
    high_pieces: u32,
}

impl Streaming {
    /// At the start of `video`, prebuffering. It chooses nothing before its
    /// transporter is attached.
    ///
    /// # Panics
    /// If the video is empty, does not play, or is not inside the content.
    pub fn new(video: Video, layout: Layout) -> Streaming {
        assert!(video.length > 0 && video.bitrate > 0, "{video:?} plays nothing");
        assert!(video.offset + video.length <= layout.total_length(), "{video:?} is not inside");
        let pieces = video.pieces(&layout);
        Streaming {
            video,
            layout,
            position: pieces.start,
            pieces,
            prebuffering: true,
            prebuffer: None,
            high_time_s: HIGH_TIME_S.start,
            high_pieces: HIGH_PIECES.start,
        }
    }

    /// From now on a transporter moves the position on. It gathers `prebuffer`
    /// pieces (count) before it begins.
    pub fn attach_transporter(&mut self, prebuffer: u32) {
        self.prebuffer = Some(prebuffer);
    }

    /// Whether there is a transporter.
    pub fn has_transporter(&self) -> bool {
        self.prebuffer.is_some()
    }

    /// What is played.
    pub fn video(&self) -> &Video {
        &self.video
    }

    /// Its pieces.
    pub fn pieces(&self) -> Range<u32> {
        self.pieces.clone()
    }

    /// The next piece to be handed to the reader; behind the last at the end.
    pub fn position(&self) -> u32 {
        self.position
    }

    /// Whether everything was handed to the reader.
    pub fn is_at_end(&self) -> bool {
        self.position == self.pieces.end
    }

    /// Goes to `piece`, or to the end.
    ///
    /// # Panics
    /// If `piece` is neither of the video nor the one behind it.
    pub fn go_to(&mut self, piece: u32) {
        let within = self.pieces.contains(&piece) || piece == self.pieces.end;
        assert!(within, "piece {piece} is not of the video, {:?}", self.pieces);
        self.position = piece;
    }

    /// Whether it gathers what it needs to begin.
    pub fn is_prebuffering(&self) -> bool {
        self.prebuffering
    }

    /// Begins to gather, or is done with it.
    pub fn set_prebuffering(&mut self, prebuffering: bool) {
        self.prebuffering = prebuffering;
    }

    /// Makes the high range longer by a step: it ran dry.
    pub fn widen_high(&mut self) {
        self.high_time_s = (self.high_time_s + HIGH_TIME_STEP_S).min(HIGH_TIME_S.end);
        self.high_pieces = (self.high_pieces + HIGH_PIECES_STEP).min(HIGH_PIECES.end);
    }

    /// Makes the high range shorter by a step.
    pub fn narrow_high(&mut self) {
        self.high_time_s = (self.high_time_s - HIGH_TIME_STEP_S).max(HIGH_TIME_S.start);
        self.high_pieces = (self.high_pieces - HIGH_PIECES_STEP).max(HIGH_PIECES.start);
    }

    /// What is still to be handed out.
    pub fn ahead(&self) -> Span {
        Span::new(self.position, self.pieces.end)
    }

    /// What is played next: fetched in order.
    pub fn high(&self) -> Span {
        let in_time = self.video.pieces_in(&self.layout, self.high_time_s);
        let reach = in_time.max(self.high_pieces).min(HIGH_MAX);
        self.first_of_ahead(1 + reach)
    }

    /// What is played soon: fetched rarest first.
    pub fn mid(&self) -> Span {
        let high = self.high();
        let end = self.first_of_ahead(high.len().saturating_mul(MID_FACTOR)).end;
        Span::new(high.end, end)
    }

    /// What is played later: fetched rarest first, after the others.
    pub fn low(&self) -> Span {
        Span::new(self.mid().end, self.pieces.end)
    }

    /// What is gathered before it begins, if there is a transporter to say so.
    pub fn prebuffer(&self) -> Option<Span> {
        self.prebuffer.map(|pieces| self.first_of_ahead(pieces))
    }

    fn first_of_ahead(&self, pieces: u32) -> Span {
        let ahead = self.ahead();
        Span::new(ahead.first, ahead.first.saturating_add(pieces).min(ahead.end))
    }
}
