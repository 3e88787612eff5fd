//! Pieces that are fetched from one connection alone, to learn who lies.

use super::progress::Progress;
use crate::ConnectionId;

/// How often (count) a suspect piece changes its source before anyone may
/// continue it.
pub(super) const TAKEOVERS_MAX: u8 = 3;

/// A piece that failed its hash while several connections had a part in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Suspect {
    /// Who alone is asked for it and heard about it; somebody as long as the
    /// piece is started, and then its only requester and sender.
    pub(super) source: Option<ConnectionId>,
    /// The source chokes, left or let all its blocks go: once nothing of the
    /// piece is in flight, another may take over.
    pub(super) stalled: bool,
    /// How often (count) what one source had sent was thrown away for another.
    pub(super) takeovers: u8,
}

impl Suspect {
    /// Whether another than its source may have the piece, whose blocks stand
    /// as in `progress`.
    pub(super) fn may_be_taken_over(&self, progress: &Progress) -> bool {
        self.stalled && progress.in_flight() == 0 && !progress.is_complete()
    }
}
