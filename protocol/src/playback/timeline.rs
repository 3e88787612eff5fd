//! When pieces were asked for, came, and went to the reader.

use std::collections::{BTreeMap, VecDeque};

use crate::{PieceTimes, PlaybackStats, Streaming, Time};

/// The way of each piece from the first request to the reader, for whoever watches:
/// of those that were handed out, the latest ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Timeline {
    /// Those that were not handed out yet.
    coming: BTreeMap<u32, PieceTimes>,
    /// The others, with the bytes that the reader has not taken.
    handed: VecDeque<(PieceTimes, u64)>,
    picked: Picked,
}

/// Pieces (count), by the range in which they were when they were first asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Picked {
    /// What is played soon.
    pub high: u32,
    /// What is played after that.
    pub mid: u32,
    /// The rest.
    pub low: u32,
}

impl Timeline {
    pub(super) fn asked(&mut self, streaming: &Streaming, piece: u32, now: Time) {
        let times = self.coming.entry(piece).or_insert(untouched(piece));
        if times.known.is_some() {
            return;
        }
        times.known = Some(now);
        let Picked { high, mid, low } = &mut self.picked;
        *match piece {
            piece if streaming.high().contains(piece) => high,
            piece if streaming.mid().contains(piece) => mid,
            _ => low,
        } += 1;
    }

    pub(super) fn completed(&mut self, piece: u32, now: Time) {
        let times = self.coming.entry(piece).or_insert(untouched(piece));
        times.complete.get_or_insert(now);
    }

    pub(super) fn handed_out(&mut self, piece: u32, bytes: u64, now: Time) {
        // After a seek back it goes out a second time.
        let times = self.coming.remove(&piece).unwrap_or(untouched(piece));
        self.handed.push_back((PieceTimes { buffered: Some(now), ..times }, bytes));
        if self.handed.len() > PlaybackStats::TIMELINE_MAX {
            self.handed.pop_front();
        }
    }

    /// The reader took `bytes`, of what was handed out first.
    pub(super) fn taken(&mut self, mut bytes: u64, now: Time) {
        for (times, left) in &mut self.handed {
            let part = bytes.min(*left);
            bytes -= part;
            *left -= part;
            if *left == 0 && part > 0 {
                times.played = Some(now);
            }
        }
    }

    /// The reader takes nothing more of what was handed out.
    pub(super) fn sought(&mut self) {
        self.handed.iter_mut().for_each(|(_, left)| *left = 0);
    }

    pub(super) fn picked(&self) -> Picked {
        self.picked
    }

    /// Those that were handed out, oldest first.
    pub(super) fn pieces(&self) -> impl Iterator<Item = PieceTimes> {
        self.handed.iter().map(|(times, _)| *times)
    }
}

fn untouched(piece: u32) -> PieceTimes {
    PieceTimes { piece, known: None, complete: None, buffered: None, played: None }
}
