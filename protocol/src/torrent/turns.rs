//! Whose turn it is to be sent a block.

use std::collections::VecDeque;

use crate::ConnectionId;

/// The connections of a torrent that wait for blocks of ours: they take turns, a
/// block each, so that no one's long queue holds up the others.
///
/// Only one turn goes on at a time. Who joins while one does need not see to it that
/// it gets its own: whoever ends a turn begins the next. So a turn that never ends
/// is the end of all uploads.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns {
    current: Option<ConnectionId>,
    waiting: VecDeque<ConnectionId>,
}

impl Turns {
    /// `id` wants a turn, behind everybody who wanted one before.
    pub(super) fn join(&mut self, id: ConnectionId) {
        if !self.waiting.contains(&id) {
            self.waiting.push_back(id);
        }
    }

    /// `id` wants no turn any more. One that it has goes on.
    pub(super) fn leave(&mut self, id: ConnectionId) {
        self.waiting.retain(|waiting| *waiting != id);
    }

    /// Begins the next turn, unless one goes on or nobody waits.
    pub(super) fn begin(&mut self) -> Option<ConnectionId> {
        if self.current.is_some() {
            return None;
        }
        self.current = self.waiting.pop_front();
        self.current
    }

    /// The turn that goes on is over.
    pub(super) fn end(&mut self) {
        self.current = None;
    }

    /// Whose turn it is.
    pub(super) fn current(&self) -> Option<ConnectionId> {
        self.current
    }

    /// Who waits for its turn, the next one first.
    pub(super) fn waiting(&self) -> impl ExactSizeIterator<Item = ConnectionId> + '_ {
        self.waiting.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ConnectionId = ConnectionId(1);
    const B: ConnectionId = ConnectionId(2);

    #[test]
    fn turns_are_taken_in_the_order_of_joining_one_at_a_time() {
        let mut turns = Turns::default();
        assert_eq!(turns.begin(), None);
        [A, B, A].into_iter().for_each(|id| turns.join(id));
        assert_eq!(turns.begin(), Some(A));
        turns.join(A);
        assert_eq!(turns.begin(), None, "A's goes on");
        turns.end();
        assert_eq!(turns.begin(), Some(B));
        turns.end();
        assert_eq!(turns.begin(), Some(A));
        turns.end();
        assert_eq!(turns.begin(), None, "joining twice is joining once");
    }

    #[test]
    fn who_leaves_is_passed_over() {
        let mut turns = Turns::default();
        [A, B].into_iter().for_each(|id| turns.join(id));
        turns.leave(A);
        assert_eq!(turns.begin(), Some(B));
        turns.leave(B);
        assert_eq!(turns.current(), Some(B), "its block is on its way");
    }
}
