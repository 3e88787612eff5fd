//! What is played.

use std::{ops::Range, time::Duration};

use crate::Layout;

/// A stretch of a torrent's content that is played at an even pace: one of its
/// files, or all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Video {
    /// Where it starts, bytes from the start of the content.
    pub offset: u64,
    /// Bytes; more than zero.
    pub length: u64,
    /// Bytes a second that are played; more than zero.
    pub bitrate: u64,
}

impl Video {
    /// The pieces that hold some of it.
    pub fn pieces(&self, layout: &Layout) -> Range<u32> {
        let piece_length = u64::from(layout.piece_length());
        let end = (self.offset + self.length).div_ceil(piece_length);
        (self.offset / piece_length) as u32..end as u32
    }

    /// The piece that holds byte `at` of the video; behind its end, the one after
    /// the last.
    pub fn piece_at(&self, layout: &Layout, at: u64) -> u32 {
        if at >= self.length {
            return self.pieces(layout).end;
        }
        ((self.offset + at) / u64::from(layout.piece_length())) as u32
    }

    /// Which bytes of the video `piece` holds, from the video's start.
    pub fn bytes_of(&self, layout: &Layout, piece: u32) -> Range<u64> {
        let start = layout.offset_of(piece);
        let end = start + u64::from(layout.length_of(piece));
        let within = |at: u64| at.clamp(self.offset, self.offset + self.length) - self.offset;
        within(start)..within(end)
    }

    /// Pieces (count) that `seconds` of it are, rounded up.
    pub fn pieces_in(&self, layout: &Layout, seconds: u32) -> u32 {
        let bytes = self.bitrate.saturating_mul(seconds.into());
        let pieces = bytes.div_ceil(layout.piece_length().into());
        u32::try_from(pieces).unwrap_or(u32::MAX)
    }

    /// How long `bytes` of it play.
    pub fn time_of(&self, bytes: u64) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.bitrate as f64)
    }
}
