//! What moves the playback on.

use std::time::Duration;

use super::{Delays, Picked, Video, deadline::expected, timeline::Timeline};
use crate::{Bitfield, Defect, Defects, Layout, PieceTimes, Streaming, Time};

/// Playing time (seconds) that is gathered before it begins.
const PREBUFFER_S: u32 = 10;
/// Bytes handed to the reader and not taken yet: up to this many, or two pieces, or
/// [`BUFFER_S`] of playing time, whichever is most.
const BUFFER_MIN: u64 = 256 * 1024;
const BUFFER_S: u64 = 5;
/// How long the reader may find nothing before it counts as dried up.
const DRY_AFTER: Duration = Duration::from_secs(1);

/// Something to be read and handed to the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// These bytes.
    Bytes {
        /// Of this piece,
        piece: u32,
        /// from here on, bytes from its start,
        begin: u32,
        /// so many.
        length: u32,
    },
    /// There is nothing after what was handed out.
    End,
}

/// What playing comes to at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlayState {
    /// It gathers what it needs to begin.
    Prebuffering,
    /// The reader gets what is next, if it is here.
    Playing,
    /// It ran dry since then, and waits until it can last.
    Stalled {
        /// Since when.
        since: Time,
    },
    /// The user wants it so.
    Paused,
    /// Everything was handed out.
    Ended,
}

/// Hands the pieces of a video to its reader: gathers enough before it begins, goes
/// in order, holds no more than a buffer, and knows when it has run dry.
///
/// The position, and whether it prebuffers, are the picker's
/// [`Streaming`]; this changes them.
#[derive(Debug, Clone)]
pub struct Transporter {
    video: Video,
    layout: Layout,
    /// Whether somebody reads. Before that pieces are gathered and nothing is
    /// handed out.
    reading: bool,
    /// Where in the video, in bytes, the next delivery starts, if that is not the
    /// start of a piece.
    start: u64,
    /// Bytes handed to the reader and not taken yet.
    buffered: u64,
    /// Since when the reader finds nothing, though it is not at the end.
    dry: Option<Time>,
    /// Whether it waits for having run dry.
    stalled: bool,
    paused: bool,
    /// Whether the end was handed out.
    ended: bool,
    began: Option<Time>,
    created: Time,
    figures: Figures,
    timeline: Timeline,
    defects: Defects,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Pieces (count) that were there when the reader came to them.
    pub played: u32,
    /// Pieces (count) that the reader had to wait for.
    pub late: u32,
    /// How long the reader found nothing, in all.
    pub stalled: Duration,
    /// How long it gathered before it first began; so far, if it has not begun.
    pub prebuffered: Duration,
}

impl Transporter {
    /// For what `streaming` plays: from its position on, with nobody reading yet.
    /// Attaches itself.
    pub fn new(
        streaming: &mut Streaming,
        layout: Layout,
        defects: Defects,
        now: Time,
    ) -> Transporter {
        let video = *streaming.video();
        let pieces = streaming.pieces().len() as u32;
        streaming.widen_high();
        streaming.attach_transporter(video.pieces_in(&layout, PREBUFFER_S).clamp(1, pieces));
        Transporter {
            video,
            layout,
            reading: false,
            start: 0,
            buffered: 0,
            dry: None,
            stalled: false,
            paused: false,
            ended: false,
            began: None,
            created: now,
            figures: Figures::default(),
            timeline: Timeline::default(),
            defects,
        }
    }

    /// The reader wants what is from byte `at` of the video on, and nothing of what
    /// it was handed before. Gathers anew, unless enough is here.
    pub fn seek(&mut self, streaming: &mut Streaming, at: u64, now: Time) {
        self.stop_waiting(now);
        streaming.go_to(self.video.piece_at(&self.layout, at));
        streaming.set_prebuffering(true);
        self.reading = true;
        self.stalled = false;
        self.ended = false;
        self.start = at.min(self.video.length);
        self.buffered = 0;
        self.timeline.sought();
    }

    /// The reader took `bytes` of what it was handed.
    ///
    /// # Panics
    /// If it was handed less.
    pub fn taken(&mut self, bytes: u64, now: Time) {
        assert!(bytes <= self.buffered, "{bytes} bytes taken, {} handed out", self.buffered);
        self.buffered -= bytes;
        self.timeline.taken(bytes, now);
    }

    /// A block of `piece` is asked for.
    pub fn asked(&mut self, streaming: &Streaming, piece: u32, now: Time) {
        self.timeline.asked(streaming, piece, now);
    }

    /// `piece` is here, and verified.
    pub fn completed(&mut self, piece: u32, now: Time) {
        self.timeline.completed(piece, now);
    }

    /// The user pauses it, or lets it go on.
    pub fn pause(&mut self, paused: bool, now: Time) {
        self.stop_waiting(now);
        self.paused = paused;
    }

    /// Looks at what is here, where content comes in at `rate` bytes a second, and
    /// returns what the reader is to be handed now.
    pub fn step(
        &mut self,
        streaming: &mut Streaming,
        have: &Bitfield,
        rate: u64,
        now: Time,
    ) -> Vec<Delivery> {
        if streaming.is_prebuffering() && self.has_enough(streaming, have, rate) {
            streaming.set_prebuffering(false);
            if self.began.is_none() {
                self.began = Some(now);
                streaming.narrow_high();
            }
        }
        if self.stalled && streaming.high().iter().all(|piece| have.contains(piece)) {
            self.stalled = false;
        }
        let mut deliveries = Vec::new();
        if self.is_handing_out(streaming) {
            self.hand_out(streaming, have, now, &mut deliveries);
        }
        self.watch_for_drying_up(streaming, now);
        deliveries
    }

    /// What playing comes to at the moment.
    pub fn state(&self, streaming: &Streaming) -> PlayState {
        match self.dry {
            _ if self.ended => PlayState::Ended,
            _ if self.paused => PlayState::Paused,
            _ if streaming.is_prebuffering() => PlayState::Prebuffering,
            Some(since) if self.stalled => PlayState::Stalled { since },
            _ => PlayState::Playing,
        }
    }

    /// How much patience there is with requests for what is played next.
    pub fn delays(&self, streaming: &Streaming) -> Delays {
        match streaming.is_prebuffering() || !self.reading || self.paused || self.stalled {
            true => Delays::BUFFERING,
            false => Delays::PLAYING,
        }
    }

    /// When the reader comes to `piece`, from now, if it goes on as it does; `None`
    /// while it waits.
    pub fn due(&self, streaming: &Streaming, piece: u32) -> Option<Duration> {
        if self.delays(streaming) == Delays::BUFFERING {
            return None;
        }
        let here = self.video.bytes_of(&self.layout, streaming.position()).start.max(self.start);
        let there = self.video.bytes_of(&self.layout, piece).start;
        Some(self.video.time_of(self.buffered + there.saturating_sub(here)))
    }

    /// Whether somebody reads.
    pub fn is_reading(&self) -> bool {
        self.reading
    }

    /// Bytes handed to the reader and not taken yet.
    pub fn buffered(&self) -> u64 {
        self.buffered
    }

    /// Bytes that it hands out ahead of the reader at most, but for the end of a
    /// piece.
    pub fn buffer_max(&self) -> u64 {
        let in_time = self.video.bitrate.saturating_mul(BUFFER_S);
        BUFFER_MIN.max(2 * u64::from(self.layout.piece_length())).max(in_time)
    }

    /// What was counted, up to now.
    pub fn figures(&self, now: Time) -> Figures {
        let waiting = self.dry.map_or(Duration::ZERO, |since| now - since);
        Figures {
            stalled: self.figures.stalled + waiting,
            prebuffered: self.began.unwrap_or(now) - self.created,
            ..self.figures
        }
    }

    /// How long it gathered before it first began; `None` while it does.
    pub fn prebuffered(&self) -> Option<Duration> {
        self.began.map(|began| began - self.created)
    }

    /// From which ranges pieces were asked for.
    pub fn picked(&self) -> Picked {
        self.timeline.picked()
    }

    /// When the pieces that were handed out last came and went, oldest first.
    pub fn timeline(&self) -> impl Iterator<Item = PieceTimes> {
        self.timeline.pieces()
    }

    /// Whether all of the high range is here, and the rest will have come before
    /// the reader comes to it.
    fn has_enough(&self, streaming: &Streaming, have: &Bitfield, rate: u64) -> bool {
        if !streaming.high().iter().all(|piece| have.contains(piece)) {
            return false;
        }
        let bytes_of = |piece| {
            let bytes = self.video.bytes_of(&self.layout, piece);
            bytes.end - bytes.start
        };
        let ahead = streaming.ahead();
        let missing: u64 = ahead.iter().filter(|piece| !have.contains(*piece)).map(bytes_of).sum();
        let left: u64 = ahead.iter().map(bytes_of).sum();
        missing == 0 || expected(missing, rate) <= self.video.time_of(left)
    }

    fn is_handing_out(&self, streaming: &Streaming) -> bool {
        self.reading && !self.paused && !self.stalled && !self.ended && !streaming.is_prebuffering()
    }

    fn hand_out(
        &mut self,
        streaming: &mut Streaming,
        have: &Bitfield,
        now: Time,
        deliveries: &mut Vec<Delivery>,
    ) {
        while self.buffered < self.buffer_max() {
            if streaming.is_at_end() {
                self.ended = true;
                deliveries.push(Delivery::End);
                break;
            }
            let piece = streaming.position();
            if !have.contains(piece) {
                break;
            }
            let bytes = self.video.bytes_of(&self.layout, piece);
            let from = self.start.clamp(bytes.start, bytes.end);
            let length = (bytes.end - from) as u32;
            let begin = self.video.offset + from - self.layout.offset_of(piece);
            deliveries.push(Delivery::Bytes { piece, begin: begin as u32, length });
            self.buffered += u64::from(length);
            let waited = self.stop_waiting(now);
            self.figures.late += u32::from(waited);
            self.figures.played += u32::from(!waited);
            self.timeline.handed_out(piece, length.into(), now);
            self.advance(streaming);
        }
    }

    /// Goes on to the next piece; after the last one to the end.
    fn advance(&self, streaming: &mut Streaming) {
        let mut next = streaming.position() + 1;
        if self.defects.has(Defect::PlaybackClamped) {
            next = next.min(streaming.pieces().end - 1);
        }
        streaming.go_to(next);
    }

    /// Notes since when the reader finds nothing; after a while it is to wait until
    /// it can last, and more is wanted soon than before.
    fn watch_for_drying_up(&mut self, streaming: &mut Streaming, now: Time) {
        if self.buffered > 0 || self.ended || !(self.is_handing_out(streaming) || self.stalled) {
            return;
        }
        let since = *self.dry.get_or_insert(now);
        if !self.stalled && now - since >= DRY_AFTER {
            self.stalled = true;
            streaming.widen_high();
        }
    }

    /// The reader waits no longer; returns whether it did.
    fn stop_waiting(&mut self, now: Time) -> bool {
        let since = self.dry.take();
        self.figures.stalled += since.map_or(Duration::ZERO, |since| now - since);
        since.is_some_and(|since| since < now)
    }
}
