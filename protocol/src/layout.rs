//! How a torrent's bytes fall into pieces and blocks.

/// The unit of a request: 2^14 bytes, shorter only at the end of a piece. BEP 3.
pub const BLOCK_LENGTH: u32 = 16 * 1024;

/// A span of bytes inside one piece: what a REQUEST, CANCEL or REJECT names.
/// A well-behaved one lies on the grid that [`Layout::block`] draws, but what a
/// remote asks for need not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    /// Piece index, from 0.
    pub piece: u32,
    /// First byte, counted from the start of the piece.
    pub begin: u32,
    /// Bytes.
    pub length: u32,
}

/// The grid of pieces and blocks over a torrent's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    piece_length: u32,
    total_length: u64,
    pieces: u32,
}

impl Layout {
    /// A grid of `piece_length`-byte pieces over `total_length` bytes; the last
    /// piece holds what is left.
    ///
    /// # Panics
    /// If either is zero, or the number of pieces does not fit in a `u32`.
    /// Metainfo is checked for both before it gets here.
    pub fn new(piece_length: u32, total_length: u64) -> Layout {
        assert!(piece_length > 0, "a piece has at least one byte");
        assert!(total_length > 0, "a torrent has at least one byte");
        let pieces = total_length.div_ceil(u64::from(piece_length));
        assert!(u32::try_from(pieces).is_ok(), "{pieces} pieces do not fit in a u32");
        Layout { piece_length, total_length, pieces: pieces as u32 }
    }

    /// Nominal bytes a piece; the last one may be shorter.
    pub fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// Bytes in all.
    pub fn total_length(&self) -> u64 {
        self.total_length
    }

    /// Pieces (count).
    #[inline]
    pub fn pieces(&self) -> u32 {
        self.pieces
    }

    /// Bytes in `piece`.
    ///
    /// # Panics
    /// If there is no such piece.
    #[inline]
    pub fn length_of(&self, piece: u32) -> u32 {
        assert!(piece < self.pieces, "piece {piece} of {}", self.pieces);
        let start = self.offset_of(piece);
        (self.total_length - start).min(u64::from(self.piece_length)) as u32
    }

    /// Where `piece` starts, in bytes from the start of the content.
    pub fn offset_of(&self, piece: u32) -> u64 {
        u64::from(piece) * u64::from(self.piece_length)
    }

    /// Blocks in `piece` (count).
    pub fn blocks_in(&self, piece: u32) -> u32 {
        self.length_of(piece).div_ceil(BLOCK_LENGTH)
    }

    /// The `index`-th block of `piece`.
    ///
    /// # Panics
    /// If there is no such block.
    #[inline]
    pub fn block(&self, piece: u32, index: u32) -> Block {
        let piece_length = self.length_of(piece);
        let blocks = piece_length.div_ceil(BLOCK_LENGTH);
        assert!(index < blocks, "block {index} of {blocks} in piece {piece}");
        let begin = index * BLOCK_LENGTH;
        Block { piece, begin, length: (piece_length - begin).min(BLOCK_LENGTH) }
    }

    /// The blocks of `piece`, in order.
    pub fn blocks(&self, piece: u32) -> impl Iterator<Item = Block> + use<> {
        let layout = *self;
        (0..self.blocks_in(piece)).map(move |index| layout.block(piece, index))
    }

    /// Which block of its piece `block` is, or `None` if it is not exactly one
    /// block of the grid.
    pub fn index_of(&self, block: Block) -> Option<u32> {
        if block.piece >= self.pieces() || !block.begin.is_multiple_of(BLOCK_LENGTH) {
            return None;
        }
        let index = block.begin / BLOCK_LENGTH;
        (index < self.blocks_in(block.piece) && self.block(block.piece, index) == block)
            .then_some(index)
    }

    /// Whether `block` has bytes, lies inside one piece and is no longer than
    /// [`BLOCK_LENGTH`]: what may be asked of us. BEP 3.
    pub fn contains(&self, block: Block) -> bool {
        block.piece < self.pieces()
            && (1..=BLOCK_LENGTH).contains(&block.length)
            && u64::from(block.begin) + u64::from(block.length)
                <= u64::from(self.length_of(block.piece))
    }

    /// Whether the content ends with `block`.
    pub(crate) fn is_last(&self, block: Block) -> bool {
        self.offset_of(block.piece) + u64::from(block.begin + block.length) == self.total_length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_piece_and_its_last_block_hold_what_is_left() {
        let layout = Layout::new(40_000, 80_001);
        assert_eq!(layout.pieces(), 3);
        assert_eq!(layout.length_of(1), 40_000);
        assert_eq!(layout.length_of(2), 1);
        let lengths: Vec<u32> = layout.blocks(1).map(|block| block.length).collect();
        assert_eq!(lengths, [16_384, 16_384, 7_232]);
        assert_eq!(layout.block(2, 0), Block { piece: 2, begin: 0, length: 1 });
    }

    #[test]
    fn a_request_must_lie_inside_one_piece_and_be_at_most_a_block() {
        let layout = Layout::new(40_000, 80_001);
        let inside = |piece, begin, length| layout.contains(Block { piece, begin, length });
        assert!(inside(0, 39_999, 1));
        assert!(inside(0, 5, 16_384));
        assert!(!inside(0, 39_999, 2), "crosses into the next piece");
        assert!(!inside(0, 0, 16_385), "longer than a block");
        assert!(!inside(0, 0, 0), "empty");
        assert!(!inside(3, 0, 1), "no such piece");
        assert!(!inside(0, u32::MAX, 16_384), "overflows");
    }

    #[test]
    fn only_blocks_of_the_grid_have_an_index() {
        let layout = Layout::new(40_000, 80_001);
        assert_eq!(layout.index_of(Block { piece: 1, begin: 32_768, length: 7_232 }), Some(2));
        assert_eq!(layout.index_of(Block { piece: 1, begin: 32_768, length: 7_231 }), None);
        assert_eq!(layout.index_of(Block { piece: 1, begin: 1, length: 16_384 }), None);
        assert_eq!(layout.index_of(Block { piece: 9, begin: 0, length: 1 }), None);
    }
}
