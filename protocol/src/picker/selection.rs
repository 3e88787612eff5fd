//! What to ask a connection for next.

use std::collections::BTreeSet;

use rand::{
    Rng,
    seq::{IndexedRandom, IteratorRandom, SliceRandom},
};

use super::{
    Picker,
    rarity::Search,
    streaming::{Asker, NotWired},
    suspect::TAKEOVERS_MAX,
};
use crate::{Bitfield, Block, ConnectionId, Defect, Defects};

/// Of how many connections (count) one block is asked at a time in the endgame.
/// It bounds what the endgame wastes: every block in flight comes at most thrice.
pub(super) const REQUESTERS_MAX: usize = 3;

/// One call of [`Picker::pick_for`].
pub(super) struct Request<'a> {
    asker: Asker<'a>,
    connection: ConnectionId,
    pub(super) remote: &'a Bitfield,
    only: Option<&'a BTreeSet<u32>>,
    count: usize,
    picked: Vec<Block>,
    /// It is looked for what nobody better could be asked for.
    choosy: bool,
}

impl Request<'_> {
    pub(super) fn may_have(&self, piece: u32) -> bool {
        self.remote.contains(piece)
            && self.only.is_none_or(|only| only.contains(&piece))
            && (!self.choosy || self.is_for(piece))
    }

    /// Whether the connection may be trusted with a piece that others wait for: it
    /// was never late of late, or nobody better can be asked for the piece.
    pub(super) fn is_for(&self, piece: u32) -> bool {
        let Some(better) = self.asker.better else { return true };
        if piece == 0 && self.asker.defects.has(Defect::PieceZeroIsFalse) {
            return false;
        }
        !better(piece)
    }

    fn is_full(&self) -> bool {
        self.picked.len() >= self.count
    }
}

impl Picker {
    /// Puts up to `count` blocks in flight from `connection` and returns them in
    /// the order in which to ask for them. `remote` is what the peer has, as
    /// told by [`Picker::peer_has_all_of`] and [`Picker::peer_has`]; `only` are
    /// the pieces that it lets us have while it chokes us (BEP 6).
    ///
    /// From first to last, as far as the peer can help:
    /// 1. suspect pieces of which it is the source ([`Picker::failed`]);
    /// 2. *strict priority*: pieces already started, those with the fewest free
    ///    blocks first, then the rarest;
    /// 3. a new piece: a random one until [`super::PickerOptions::random_first`]
    ///    are verified, then the rarest, ties broken by `rng`;
    /// 4. suspect pieces that their source has let go;
    /// 5. *endgame*, once no block is free ([`Picker::is_endgame`]): blocks in
    ///    flight from others, those asked of the fewest first, ties broken by
    ///    `rng`, none of more than three at a time and none of a suspect piece.
    ///
    /// Who was late of late is asked first, by 2 and 3, for what nobody better could be
    /// asked for ([`Asker::better`]), so that it holds up little if it brings nothing again.
    ///
    /// It looks at a few hundred pieces at most, unless nearly all rarer pieces
    /// are ones that this peer lacks; then it looks once at each that it has.
    ///
    /// # Panics
    /// If the download is streamed; then it is [`Picker::pick_for`] that asks.
    pub fn pick(
        &mut self,
        connection: ConnectionId,
        remote: &Bitfield,
        count: usize,
        only: Option<&BTreeSet<u32>>,
        rng: &mut impl Rng,
    ) -> Vec<Block> {
        assert!(self.streaming.is_none(), "what is streamed is picked for somebody");
        let asker = Asker { connection, remote, only, better: None, defects: Defects::NONE };
        self.pick_for(&asker, count, rng).expect("nothing of it is missing")
    }

    /// As [`Picker::pick`], for `asker`. If the download is streamed, the ranges of
    /// [`Streaming`](super::Streaming) come instead of 2 and 3:
    /// - while it prebuffers, what it gathers for the start: pieces already started,
    ///   then the rarest;
    /// - the high range, in order of playing;
    /// - the mid range, then the low one, then what is not ahead: pieces already
    ///   started, then the rarest.
    ///
    /// Of the high range, and of what is gathered, a remote that was late of late gets only what nobody better
    /// could be asked for.
    pub fn pick_for(
        &mut self,
        asker: &Asker<'_>,
        count: usize,
        rng: &mut impl Rng,
    ) -> Result<Vec<Block>, NotWired> {
        let Asker { connection, remote, only, .. } = *asker;
        self.assert_ours(remote);
        let picked = Vec::new();
        let mut request =
            Request { asker: *asker, connection, remote, only, count, picked, choosy: false };
        while !request.is_full() {
            let mut next = self.own_suspect(&request);
            if self.streaming.is_none() {
                if asker.better.is_some() {
                    request.choosy = true;
                    next = next.or_else(|| self.started_or_new(&request, rng));
                    request.choosy = false;
                }
                next = next.or_else(|| self.started_or_new(&request, rng));
            } else if next.is_none() {
                next = self.next_new(&request, rng)?;
            }
            let next = next.or_else(|| self.abandoned_suspect(&request));
            let Some(piece) = next else { break };
            self.ask(&mut request, piece);
        }
        if !request.is_full() && self.is_endgame() {
            self.ask_again(&mut request, rng);
        }
        Ok(request.picked)
    }

    fn own_suspect(&self, request: &Request) -> Option<u32> {
        let mut suspects = self.suspects.iter().map(|(&piece, suspect)| (piece, suspect));
        suspects.find_map(|(piece, suspect)| {
            let is_its = suspect.source == Some(request.connection) && request.may_have(piece);
            (is_its && self.started[&piece].free() > 0).then_some(piece)
        })
    }

    fn started_or_new(&self, request: &Request, rng: &mut impl Rng) -> Option<u32> {
        self.started_piece(request).or_else(|| self.new_piece(request, rng))
    }

    fn started_piece(&self, request: &Request) -> Option<u32> {
        let mut pieces = self.open.iter().map(|turn| turn.piece);
        pieces.find(|&piece| request.may_have(piece))
    }

    fn new_piece(&self, request: &Request, rng: &mut impl Rng) -> Option<u32> {
        let at_random = self.have.count() < self.options.random_first;
        if let Some(only) = request.only {
            let pieces = only.iter().copied().filter(|&piece| request.may_have(piece));
            return self.choose(pieces, at_random, rng);
        }
        let may_have = |piece| request.may_have(piece);
        let search = if at_random {
            self.rarity.random(may_have, rng)
        } else {
            self.rarity.rarest(may_have, rng)
        };
        match search {
            Search::Found(piece) => Some(piece),
            Search::None => None,
            Search::GaveUp if request.choosy => {
                self.choose(request.remote.iter().filter(|piece| may_have(*piece)), at_random, rng)
            }
            Search::GaveUp => self.choose(request.remote.iter(), at_random, rng),
        }
    }

    /// One of the idle pieces among `pieces`: any, or one of the rarest.
    pub(super) fn choose(
        &self,
        pieces: impl Iterator<Item = u32>,
        at_random: bool,
        rng: &mut impl Rng,
    ) -> Option<u32> {
        let idle = pieces.filter(|&piece| self.rarity.is_idle(piece));
        if at_random {
            return idle.choose(rng);
        }
        let mut rarest = Vec::new();
        let mut availability = u32::MAX;
        for piece in idle {
            if self.rarity.of(piece) < availability {
                availability = self.rarity.of(piece);
                rarest.clear();
            }
            if self.rarity.of(piece) == availability {
                rarest.push(piece);
            }
        }
        rarest.choose(rng).copied()
    }

    /// Frees a suspect piece that its source has let go, for a new source or,
    /// after too many of them, for all.
    fn abandoned_suspect(&mut self, request: &Request) -> Option<u32> {
        let mut suspects = self.suspects.keys().copied();
        let piece = suspects.find(|&piece| {
            request.may_have(piece) && self.is_abandoned(piece) && !self.is_withheld(piece, request)
        })?;
        self.take_over(piece);
        Some(piece)
    }

    /// Whether `piece` is suspect and its source has let it go.
    pub(super) fn is_abandoned(&self, piece: u32) -> bool {
        let suspect = self.suspects.get(&piece).zip(self.started.get(&piece));
        suspect.is_some_and(|(suspect, progress)| suspect.may_be_taken_over(progress))
    }

    /// Frees an abandoned piece.
    pub(super) fn take_over(&mut self, piece: u32) {
        let suspect = self.suspects.get_mut(&piece).expect("it is suspect");
        if suspect.takeovers < TAKEOVERS_MAX {
            suspect.takeovers += 1;
            self.reset(piece);
        } else {
            self.suspects.remove(&piece);
            self.open.extend(self.turn_in_open(piece));
        }
    }

    /// Asks for the free blocks of one piece.
    fn ask(&mut self, request: &mut Request, piece: u32) {
        let layout = self.layout;
        let before = request.picked.len();
        self.update(piece, |progress| {
            while !request.is_full()
                && let Some(index) = progress.request_free(request.connection)
            {
                request.picked.push(layout.block(piece, index));
            }
        });
        assert!(request.picked.len() > before, "nothing of piece {piece} is free");
        if let Some(suspect) = self.suspects.get_mut(&piece) {
            suspect.source = Some(request.connection);
            suspect.stalled = false;
        }
    }

    /// Asks for blocks that were asked of others.
    fn ask_again(&mut self, request: &mut Request, rng: &mut impl Rng) {
        let may_ask = |(block, requesters): &(Block, &[ConnectionId])| {
            requesters.len() < REQUESTERS_MAX
                && !requesters.contains(&request.connection)
                && request.may_have(block.piece)
                && !self.suspects.contains_key(&block.piece)
        };
        let counted = |(block, requesters): (Block, &[ConnectionId])| (block, requesters.len());
        let mut blocks: Vec<_> = self.in_flight().filter(may_ask).map(counted).collect();
        blocks.shuffle(rng);
        blocks.sort_by_key(|&(_, requesters)| requesters);
        blocks.truncate(request.count - request.picked.len());
        for (block, _) in blocks {
            let index = self.layout.index_of(block).expect("it is in flight");
            self.update(block.piece, |progress| {
                progress.request_again(index, request.connection);
            });
            request.picked.push(block);
        }
    }
}
