//! Places that a stream without end goes round.

use std::ops::Range;

use crate::Bitfield;

/// The pieces of a live torrent, as places for a stream's pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring {
    pieces: u32,
}

impl Ring {
    /// The fewest pieces (count) that a live torrent can have: with them, a window is
    /// a quarter of the ring, as it is with more.
    pub const PIECES_MIN: u32 = 32;

    /// The ring of a torrent with `pieces`.
    ///
    /// # Panics
    /// If there are fewer than [`Ring::PIECES_MIN`].
    pub fn new(pieces: u32) -> Ring {
        assert!(pieces >= Ring::PIECES_MIN, "a ring of {pieces} pieces");
        Ring { pieces }
    }

    /// Places (count).
    pub fn pieces(&self) -> u32 {
        self.pieces
    }

    /// How many pieces are valid each way of a position (count): an eighth of the
    /// ring, at least four.
    pub fn delta(&self) -> u32 {
        self.pieces / 8
    }

    /// The sequence numbers that are valid for who is at `position`.
    pub fn valid(&self, position: u64) -> Range<u64> {
        let delta = u64::from(self.delta());
        position.saturating_sub(delta)..position + delta
    }

    /// The place of the piece with this sequence number.
    pub fn place(&self, sequence: u64) -> u32 {
        (sequence % u64::from(self.pieces)) as u32
    }

    /// The first sequence number from `from` on that lies at `place`.
    pub fn at_or_after(&self, from: u64, place: u32) -> u64 {
        from + u64::from(self.distance(self.place(from), place))
    }

    /// How far ahead of a position a neighbour can be (pieces): what it has further on
    /// is taken to be behind instead. A quarter of the ring is left for those who lag.
    pub fn horizon(&self) -> u32 {
        self.pieces - self.pieces / 4 - self.delta()
    }

    /// Steps from one place on to the other (count).
    pub fn distance(&self, from: u32, to: u32) -> u32 {
        (to + self.pieces - from) % self.pieces
    }

    /// Where most of `neighbours` are: the place of the newest piece that half of
    /// those have who have any, and where the pieces begin that reach up to it without
    /// a gap, `most` of them at most (count). `None` if that cannot be told.
    ///
    /// The newest is the one before the longest gap: windows are short, so that most
    /// of the ring is empty.
    pub fn newest<'a>(
        &self,
        neighbours: impl IntoIterator<Item = &'a Bitfield>,
        most: u32,
    ) -> Option<(u32, u32)> {
        self.edge(neighbours, most, |with_any| with_any.div_ceil(2))
    }

    /// The same where any of them is: whoever is ahead of all the others. That is easy to
    /// claim, so it is for who has nothing left to lose.
    pub fn newest_of_any<'a>(
        &self,
        neighbours: impl IntoIterator<Item = &'a Bitfield>,
        most: u32,
    ) -> Option<(u32, u32)> {
        self.edge(neighbours, most, |_| 1)
    }

    fn edge<'a>(
        &self,
        neighbours: impl IntoIterator<Item = &'a Bitfield>,
        most: u32,
        quorum: impl Fn(u32) -> u32,
    ) -> Option<(u32, u32)> {
        let mut counts = vec![0u32; self.pieces as usize];
        let mut neighbours_with_any = 0;
        for pieces in neighbours {
            neighbours_with_any += u32::from(pieces.count() > 0);
            pieces.iter().for_each(|piece| counts[piece as usize] += 1);
        }
        let quorum = quorum(neighbours_with_any).max(1);
        let owned = |place: u32| counts[(place % self.pieces) as usize] >= quorum;
        let gap_after =
            |place: u32| (1..self.pieces).take_while(|step| !owned(place + step)).count();
        let newest = (0..self.pieces)
            .filter(|place| owned(*place))
            .max_by_key(|place| (gap_after(*place), std::cmp::Reverse(*place)))?;
        if gap_after(newest) == 0 {
            return None;
        }
        let back = |steps: u32| (newest + self.pieces - steps) % self.pieces;
        let reach = (1..most.max(1)).take_while(|steps| owned(back(*steps))).count() as u32;
        Some((back(reach), newest))
    }
}
