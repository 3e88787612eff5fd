//! The source's side of a live stream.

use std::{ops::Range, time::Duration};

use super::Ring;
use crate::Time;

/// Makes pieces at the stream's rate.
#[derive(Debug, Clone)]
pub struct Broadcast {
    ring: Ring,
    piece_time: Duration,
    next: u64,
    due: Option<Time>,
}

impl Broadcast {
    /// A stream whose first piece is whole one `piece_time` after `now`.
    pub fn new(ring: Ring, piece_time: Duration, now: Time) -> Broadcast {
        Broadcast { ring, piece_time, next: 0, due: Some(now + piece_time) }
    }

    /// When the next piece is whole; never, once the stream has ended.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.due
    }

    /// The sequence number of the next piece, if it is due. [`Broadcast::made`] or
    /// [`Broadcast::ended`] says what came of it.
    pub fn due(&self, now: Time) -> Option<u64> {
        self.due.filter(|due| *due <= now).map(|_| self.next)
    }

    /// The piece that was due is there.
    pub fn made(&mut self) {
        self.next += 1;
        self.due = self.due.map(|due| due + self.piece_time);
    }

    /// There is no further piece.
    pub fn ended(&mut self) {
        self.due = None;
    }

    /// The pieces that are kept: as many as a viewer's window holds.
    pub fn valid(&self) -> Range<u64> {
        self.next.saturating_sub(2 * u64::from(self.ring.delta()))..self.next
    }
}
