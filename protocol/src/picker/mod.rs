//! The piece picker: which block to ask of whom, and where every block stands.
//!
//! The picker owns the state of every block, and nobody else does: a block is in
//! exactly one of *free*, *in flight* (asked of one connection or more),
//! *received*, *verified* and *unwanted*. It knows no time and sends nothing:
//! the torrent asks it what to request ([`Picker::pick`]) and tells it what came
//! of it.
//!
//! ```text
//!            set_wanted                pick                 received
//!  unwanted <----------> free <------------------> in flight -------> received
//!                          ^        release                           |     |
//!                          +------------------------------------------+     | verified
//!                                           failed                          v
//!                                                                       verified
//! ```
//!
//! A piece whose hash was wrong and whose blocks came from several connections
//! tells nobody who lied. It becomes *suspect*: from then on it is fetched from
//! one connection alone, its *source*, so that the next verdict is certain. See
//! [`Picker::failed`].

mod audit;
mod progress;
mod rarity;
mod selection;
mod state;
mod streaming;
mod suspect;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use self::{
    progress::{Progress, Slot},
    rarity::Rarity,
    suspect::Suspect,
};
pub use self::{
    state::{BlockState, Failure, PartialPiece, Receipt},
    streaming::{Asker, NotWired, Span, Streaming},
};
use crate::{Bitfield, Block, ConnectionId, Layout, playback::Video};

/// How pieces are picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PickerOptions {
    /// How many pieces (count) are verified before rarest-first begins. Until
    /// then new pieces are chosen at random: a rare piece comes slowly, and a
    /// peer with nothing has nothing to trade. 4 as in mainline.
    pub random_first: u32,
    /// Whether it is remembered who sent which block, to find out who lies.
    pub remembers_senders: bool,
    /// Whether at the end blocks are asked of several. Not in a live stream, which
    /// has no end.
    pub endgame: bool,
}

impl Default for PickerOptions {
    fn default() -> PickerOptions {
        PickerOptions { random_first: 4, remembers_senders: true, endgame: true }
    }
}

/// The states of all blocks, the availability of all pieces, and the choice of
/// what to request next.
#[derive(Debug, Clone)]
pub struct Picker {
    layout: Layout,
    options: PickerOptions,
    have: Bitfield,
    wanted: Bitfield,
    /// Pieces with a block in flight or received. Every other piece is as a
    /// whole verified, unwanted or idle (free).
    started: BTreeMap<u32, Progress>,
    /// The started pieces that anybody may continue, the next one first. It is
    /// what [`Picker::turn_in_open`] says of each of `started`.
    open: BTreeSet<Turn>,
    rarity: Rarity,
    suspects: BTreeMap<u32, Suspect>,
    /// What is wanted how soon, if the download is played while it comes in.
    streaming: Option<Streaming>,
    /// Blocks (count) that are free.
    free: u64,
    /// Blocks (count) that are in flight.
    in_flight: usize,
    /// Bytes that are not verified.
    left: u64,
}

/// A started piece's place in the queue: fewest free blocks, then rarest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    free: u32,
    availability: u32,
    piece: u32,
}

impl Picker {
    /// All pieces wanted, those of `have` verified, and nobody connected.
    ///
    /// # Panics
    /// If `have` is not of the pieces of `layout`.
    pub fn new(layout: Layout, have: &Bitfield, options: PickerOptions) -> Picker {
        let pieces = layout.pieces();
        assert_eq!(have.pieces(), pieces, "a bitfield of another torrent");
        let mut picker = Picker {
            layout,
            options,
            have: have.clone(),
            wanted: Bitfield::full(pieces),
            started: BTreeMap::new(),
            open: BTreeSet::new(),
            rarity: Rarity::new(pieces),
            suspects: BTreeMap::new(),
            streaming: None,
            free: 0,
            in_flight: 0,
            left: layout.total_length(),
        };
        for piece in 0..pieces {
            if have.contains(piece) {
                picker.left -= u64::from(layout.length_of(piece));
            } else {
                picker.make_idle(piece);
            }
        }
        picker
    }

    /// Picks for somebody who plays `video` while it comes in. Its transporter is
    /// attached by [`Picker::streaming_mut`], before anything is picked.
    pub fn stream(&mut self, video: Video) {
        self.streaming = Some(Streaming::new(video, self.layout));
    }

    /// What is wanted how soon, if the download is streamed.
    pub fn streaming(&self) -> Option<&Streaming> {
        self.streaming.as_ref()
    }

    /// The same, for its transporter.
    pub fn streaming_mut(&mut self) -> Option<&mut Streaming> {
        self.streaming.as_mut()
    }

    /// The same, and the verified pieces.
    pub fn streaming_and_have(&mut self) -> Option<(&mut Streaming, &Bitfield)> {
        Some((self.streaming.as_mut()?, &self.have))
    }

    /// For a live stream: nothing is here, and nothing wanted yet. Pieces are wanted
    /// as they come into the window ([`Picker::set_wanted`]), the rarest first, and
    /// forgotten as they leave it ([`Picker::forget`]).
    pub fn live(layout: Layout, options: PickerOptions) -> Picker {
        let options = PickerOptions { random_first: 0, endgame: false, ..options };
        let mut picker = Picker::new(layout, &Bitfield::empty(layout.pieces()), options);
        for piece in 0..layout.pieces() {
            let _ = picker.set_wanted(piece, false);
        }
        picker
    }

    /// An unwanted piece was made here: it is verified.
    ///
    /// # Panics
    /// If it is wanted.
    pub fn made(&mut self, piece: u32) {
        assert!(!self.wanted.contains(piece), "piece {piece} is made here, and wanted");
        if self.have.insert(piece) {
            self.left -= u64::from(self.layout.length_of(piece));
        }
    }

    /// An unwanted piece is not here any more, if it was.
    ///
    /// # Panics
    /// If it is wanted.
    pub fn forget(&mut self, piece: u32) {
        assert!(!self.wanted.contains(piece), "piece {piece} is forgotten, and wanted");
        self.suspects.remove(&piece);
        if self.have.remove(piece) {
            self.left += u64::from(self.layout.length_of(piece));
        }
    }

    /// A verified piece is not here any more, and to be got again if it is wanted;
    /// whether it was here.
    pub fn lose(&mut self, piece: u32) -> bool {
        let had = self.have.remove(piece);
        if had {
            self.left += u64::from(self.layout.length_of(piece));
            if self.wanted.contains(piece) {
                self.make_idle(piece);
            }
        }
        had
    }

    /// A connected peer has one piece less.
    ///
    /// # Panics
    /// If no peer was said to have it.
    pub fn peer_lost(&mut self, piece: u32) {
        let turn = self.turn_in_open(piece);
        self.rarity.decrement(piece);
        if let Some(turn) = turn {
            self.open.remove(&turn);
            self.open.extend(self.turn_in_open(piece));
        }
    }

    /// A connected peer has one piece more. Call it only if the piece is new to
    /// the peer's bitfield.
    pub fn peer_has(&mut self, piece: u32) {
        let turn = self.turn_in_open(piece);
        self.rarity.increment(piece);
        if let Some(turn) = turn {
            self.open.remove(&turn);
            self.open.extend(self.turn_in_open(piece));
        }
    }

    /// A peer connects, or says at the start what it has.
    pub fn peer_has_all_of(&mut self, bitfield: &Bitfield) {
        self.assert_ours(bitfield);
        self.rarity.join(bitfield);
        self.reorder_open();
    }

    /// A peer that had `bitfield` at last is gone. Its blocks are released
    /// apart, by [`Picker::release_all`].
    ///
    /// # Panics
    /// If `bitfield` holds a piece that no peer was said to have.
    pub fn peer_gone(&mut self, bitfield: &Bitfield) {
        self.assert_ours(bitfield);
        self.rarity.leave(bitfield);
        self.reorder_open();
    }

    /// `connection` sent `block`. One that nobody was asked for any more (its
    /// request timed out) is as good as any.
    pub fn received(&mut self, connection: ConnectionId, block: Block) -> Receipt {
        let Some(index) = self.layout.index_of(block) else {
            return Receipt::Invalid;
        };
        let is_missing =
            matches!(self.block_state(block), BlockState::Free | BlockState::InFlight(_));
        let is_source = |suspect: &Suspect| suspect.source == Some(connection);
        if !is_missing || !self.suspects.get(&block.piece).is_none_or(is_source) {
            return Receipt::Redundant;
        }
        let (requesters, piece_complete) = self.update(block.piece, |progress| {
            let requesters = progress.receive(index, connection);
            (requesters, progress.is_complete())
        });
        let also_requested = requesters.into_iter().filter(|&other| other != connection).collect();
        Receipt::Accepted { also_requested, piece_complete }
    }

    /// `block` will not come from `connection` (rejected, cancelled, timed out).
    /// It is free again unless others were asked for it too. Nothing happens if
    /// it was not in flight from `connection`.
    pub fn release(&mut self, connection: ConnectionId, block: Block) {
        let Some(index) = self.layout.index_of(block) else {
            return;
        };
        if let BlockState::InFlight(requesters) = self.block_state(block)
            && requesters.contains(&connection)
        {
            self.update(block.piece, |progress| progress.release(index, connection));
            self.stall(connection, Some(block.piece));
        }
    }

    /// Nothing that was asked of `connection` will come: it is gone, or it
    /// choked us and does not speak the fast extension. BEP 3, BEP 6.
    pub fn release_all(&mut self, connection: ConnectionId) {
        let asked = |progress: &Progress| {
            progress.requests().any(|(_, requesters)| requesters.contains(&connection))
        };
        let pieces = self.started.iter().filter(|(_, progress)| asked(progress));
        for piece in pieces.map(|(&piece, _)| piece).collect::<Vec<_>>() {
            self.update(piece, |progress| {
                for index in 0..progress.slots().len() as u32 {
                    progress.release(index, connection);
                }
            });
        }
        self.pause(connection);
    }

    /// Nothing more will be asked of `connection` for now, but what was asked
    /// may still come: it choked us and speaks the fast extension. BEP 6.
    /// Without this call a suspect piece would wait for its choking source.
    pub fn pause(&mut self, connection: ConnectionId) {
        self.stall(connection, None);
    }

    /// A complete piece has the right hash.
    ///
    /// # Panics
    /// If the piece is not complete.
    pub fn verified(&mut self, piece: u32) {
        self.take_complete(piece);
        self.suspects.remove(&piece);
        self.have.insert(piece);
        self.left -= u64::from(self.layout.length_of(piece));
    }

    /// A complete piece has the wrong hash: its blocks are free again.
    ///
    /// Nobody is blamed on suspicion. If several connections sent it, the piece
    /// becomes suspect and is fetched from one source alone, whoever picks it
    /// first; blocks of it from others are redundant. When that source chokes,
    /// leaves or lets its blocks go, what it sent is kept for its return, but
    /// another connection that finds nothing else to do may take over, and then
    /// starts from nothing, so that again one connection sent everything. After
    /// three such takeovers anyone may continue the piece as it is: to be done
    /// comes before to blame.
    ///
    /// # Panics
    /// If the piece is not complete.
    pub fn failed(&mut self, piece: u32) -> Failure {
        let mut senders = self.take_complete(piece).senders();
        if !self.options.remembers_senders {
            senders.clear();
        }
        let certain = senders.first().copied().filter(|_| senders.len() == 1);
        if senders.len() > 1 {
            self.suspects.insert(piece, Suspect::default());
        } else {
            self.suspects.remove(&piece);
        }
        if self.wanted.contains(piece) {
            self.make_idle(piece);
        }
        Failure { senders, certain }
    }

    /// A complete piece could not be kept: its blocks are free again, and nobody is to
    /// blame.
    ///
    /// # Panics
    /// If the piece is not complete.
    pub fn unwritten(&mut self, piece: u32) {
        self.take_complete(piece);
        self.suspects.remove(&piece);
        if self.wanted.contains(piece) {
            self.make_idle(piece);
        }
    }

    /// Whether `piece` is to be had. A verified piece stays verified, and a
    /// complete one stays until its verdict. Of any other unwanted piece all is
    /// dropped; returns what was in flight, to be cancelled.
    pub fn set_wanted(&mut self, piece: u32, wanted: bool) -> Vec<(Block, Vec<ConnectionId>)> {
        let changed = if wanted { self.wanted.insert(piece) } else { self.wanted.remove(piece) };
        let settled = self.have.contains(piece)
            || self.started.get(&piece).is_some_and(Progress::is_complete);
        if !changed || settled {
            return Vec::new();
        }
        if wanted {
            self.make_idle(piece);
            return Vec::new();
        }
        let dropped = self.reset(piece);
        self.rarity.remove(piece);
        self.free -= u64::from(self.layout.blocks_in(piece));
        dropped
    }

    /// The grid that the blocks lie on.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The verified pieces.
    pub fn have(&self) -> &Bitfield {
        &self.have
    }

    /// The pieces to be had, verified or not.
    pub fn wanted(&self) -> &Bitfield {
        &self.wanted
    }

    /// How many connected peers have each piece, by piece index.
    pub fn availability(&self) -> &[u32] {
        self.rarity.availability()
    }

    /// Whether `piece` is to be had, or was.
    pub fn is_wanted(&self, piece: u32) -> bool {
        self.wanted.contains(piece)
    }

    /// Whether a block of `piece` is here, not verified yet, that this connection brought.
    pub fn has_blocks_from(&self, piece: u32, connection: ConnectionId) -> bool {
        self.started.get(&piece).is_some_and(|it| it.senders().contains(&connection))
    }

    /// Where `block` stands.
    ///
    /// # Panics
    /// If it is not a block of the grid.
    pub fn block_state(&self, block: Block) -> BlockState<'_> {
        let index = self.layout.index_of(block);
        let index = index.unwrap_or_else(|| panic!("{block:?} is not a block of the grid"));
        if self.have.contains(block.piece) {
            return BlockState::Verified;
        }
        match self.started.get(&block.piece) {
            Some(progress) => match &progress.slots()[index as usize] {
                Slot::Free => BlockState::Free,
                Slot::InFlight(requesters) => BlockState::InFlight(requesters),
                Slot::Received(_) => BlockState::Received,
            },
            None if self.wanted.contains(block.piece) => BlockState::Free,
            None => BlockState::Unwanted,
        }
    }

    /// The blocks in flight in order, each with whom it was asked of.
    pub fn in_flight(&self) -> impl Iterator<Item = (Block, &[ConnectionId])> {
        self.started.iter().flat_map(move |(&piece, progress)| {
            let requests = progress.requests();
            requests.map(move |(index, requesters)| (self.layout.block(piece, index), requesters))
        })
    }

    /// Blocks that are wanted and asked of nobody (count).
    pub fn free_count(&self) -> u64 {
        self.free
    }

    /// Blocks in flight (count), one asked of several connections counted once.
    pub fn in_flight_count(&self) -> usize {
        self.in_flight
    }

    /// The pieces with a block in flight or received, ascending.
    pub fn partial_pieces(&self) -> impl Iterator<Item = PartialPiece> {
        self.started.iter().map(|(&piece, progress)| PartialPiece {
            piece,
            free: progress.free(),
            in_flight: progress.in_flight(),
            received: progress.received(),
        })
    }

    /// Whether a peer with `remote` has a wanted piece that is not verified:
    /// whether it interests us. BEP 3.
    pub fn wants(&self, remote: &Bitfield) -> bool {
        self.assert_ours(remote);
        let ours = self.wanted.words().iter().zip(self.have.words());
        ours.zip(remote.words()).any(|((wanted, have), remote)| wanted & !have & remote != 0)
    }

    /// Whether only one connection may be asked for `piece`, because it failed its
    /// hash when several had sent it.
    pub fn is_suspect(&self, piece: u32) -> bool {
        self.suspects.contains_key(&piece)
    }

    /// Blocks of `piece` that are wanted and asked of nobody (count).
    pub fn free_in(&self, piece: u32) -> u32 {
        match self.started.get(&piece) {
            Some(progress) => progress.free(),
            None if self.rarity.is_idle(piece) => self.layout.blocks_in(piece),
            None => 0,
        }
    }

    /// Bytes that are not verified, wanted or not: what a tracker calls `left`.
    /// BEP 3.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Whether every piece is verified: we are a seed.
    pub fn is_complete(&self) -> bool {
        self.have.is_full()
    }

    /// Whether every wanted piece is verified: there is nothing to download.
    pub fn is_finished(&self) -> bool {
        !self.wanted.has_more_than(&self.have)
    }

    /// Whether blocks are in flight and none is free but those that a suspect
    /// piece keeps for its source: now blocks are asked of several. BEP 3.
    pub fn is_endgame(&self) -> bool {
        let kept = |(piece, suspect): (&u32, &Suspect)| match self.started.get(piece) {
            Some(progress) if !suspect.may_be_taken_over(progress) => progress.free(),
            _ => 0,
        };
        let kept: u32 = self.suspects.iter().map(kept).sum();
        self.options.endgame && self.in_flight > 0 && self.free == u64::from(kept)
    }

    /// Changes the blocks of one piece, and brings up to date all that follows
    /// from them. The piece is neither verified nor unwanted.
    fn update<R>(&mut self, piece: u32, change: impl FnOnce(&mut Progress) -> R) -> R {
        if let Some(turn) = self.turn_in_open(piece) {
            self.open.remove(&turn);
        }
        let blocks = self.layout.blocks_in(piece);
        let progress = self.started.entry(piece).or_insert_with(|| {
            self.rarity.remove(piece);
            Progress::new(blocks)
        });
        self.free -= u64::from(progress.free());
        self.in_flight -= progress.in_flight() as usize;
        let result = change(progress);
        self.free += u64::from(progress.free());
        self.in_flight += progress.in_flight() as usize;
        if progress.is_untouched() {
            self.started.remove(&piece);
            self.rarity.insert(piece);
            if let Some(suspect) = self.suspects.get_mut(&piece) {
                suspect.source = None;
                suspect.stalled = false;
            }
        }
        self.open.extend(self.turn_in_open(piece));
        result
    }

    /// Frees every block of a piece; returns what was in flight.
    fn reset(&mut self, piece: u32) -> Vec<(Block, Vec<ConnectionId>)> {
        if !self.started.contains_key(&piece) {
            return Vec::new();
        }
        let blocks = self.layout.blocks_in(piece);
        let old = self.update(piece, |progress| std::mem::replace(progress, Progress::new(blocks)));
        old.requests()
            .map(|(index, requesters)| (self.layout.block(piece, index), requesters.to_vec()))
            .collect()
    }

    /// Takes a complete piece out of the started ones, for its verdict.
    fn take_complete(&mut self, piece: u32) -> Progress {
        let complete = self.started.get(&piece).is_some_and(Progress::is_complete);
        assert!(complete, "a verdict on piece {piece}, which is not complete");
        self.started.remove(&piece).expect("it is started")
    }

    fn make_idle(&mut self, piece: u32) {
        self.rarity.insert(piece);
        self.free += u64::from(self.layout.blocks_in(piece));
    }

    /// Lets go the suspect pieces (or the one named) of which `connection` is
    /// the source.
    fn stall(&mut self, connection: ConnectionId, only: Option<u32>) {
        for (piece, suspect) in &mut self.suspects {
            let is_its = suspect.source == Some(connection);
            if is_its && only.is_none_or(|only| only == *piece) {
                suspect.stalled |= only.is_none() || self.started[piece].in_flight() == 0;
            }
        }
    }

    /// Where a piece stands in `open`, if it belongs there.
    fn turn_in_open(&self, piece: u32) -> Option<Turn> {
        let free = self.started.get(&piece)?.free();
        (free > 0 && !self.suspects.contains_key(&piece)).then(|| Turn {
            free,
            availability: self.rarity.of(piece),
            piece,
        })
    }

    fn reorder_open(&mut self) {
        let pieces = self.open.iter().map(|turn| turn.piece);
        self.open = pieces.filter_map(|piece| self.turn_in_open(piece)).collect();
    }

    fn assert_ours(&self, bitfield: &Bitfield) {
        let pieces = self.layout.pieces();
        assert_eq!(bitfield.pieces(), pieces, "a bitfield of another torrent");
    }
}
