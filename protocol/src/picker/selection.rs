//! What to ask a connection for next.

use std::collections::BTreeSet;

use rand::{
    Rng,
    seq::{IndexedRandom, IteratorRandom, SliceRandom},
};

use super::{
    Picker,
    rarity::Search,
    suspect::{Suspect, TAKEOVERS_MAX},
};
use crate::{Bitfield, Block, ConnectionId};

/// Of how many connections (count) one block is asked at a time in the endgame.
/// It bounds what the endgame wastes: every block in flight comes at most thrice.
pub(super) const REQUESTERS_MAX: usize = 3;

/// One call of [`Picker::pick`].
struct Request<'a> {
    connection: ConnectionId,
    remote: &'a Bitfield,
    only: Option<&'a BTreeSet<u32>>,
    count: usize,
    picked: Vec<Block>,
}

impl Request<'_> {
    fn may_have(&self, piece: u32) -> bool {
        self.remote.contains(piece) && self.only.is_none_or(|only| only.contains(&piece))
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
    /// It looks at a few hundred pieces at most, unless nearly all rarer pieces
    /// are ones that this peer lacks; then it looks once at each that it has.
    pub fn pick(
        &mut self,
        connection: ConnectionId,
        remote: &Bitfield,
        count: usize,
        only: Option<&BTreeSet<u32>>,
        rng: &mut impl Rng,
    ) -> Vec<Block> {
        self.assert_ours(remote);
        let mut request = Request { connection, remote, only, count, picked: Vec::new() };
        while !request.is_full() {
            let next = self
                .own_suspect(&request)
                .or_else(|| self.started_piece(&request))
                .or_else(|| self.new_piece(&request, rng))
                .or_else(|| self.abandoned_suspect(&request));
            let Some(piece) = next else { break };
            self.ask(&mut request, piece);
        }
        if !request.is_full() && self.is_endgame() {
            self.ask_again(&mut request, rng);
        }
        request.picked
    }

    fn own_suspect(&self, request: &Request) -> Option<u32> {
        let mut suspects = self.suspects.iter().map(|(&piece, suspect)| (piece, suspect));
        suspects.find_map(|(piece, suspect)| {
            let is_its = suspect.source == Some(request.connection) && request.may_have(piece);
            (is_its && self.started[&piece].free() > 0).then_some(piece)
        })
    }

    fn started_piece(&self, request: &Request) -> Option<u32> {
        let mut pieces = self.open.iter().map(|turn| turn.piece);
        pieces.find(|&piece| request.may_have(piece))
    }

    fn new_piece(&self, request: &Request, rng: &mut impl Rng) -> Option<u32> {
        let at_random = self.have.count() < self.options.random_first;
        if let Some(only) = request.only {
            let pieces = only.iter().copied().filter(|&piece| request.remote.contains(piece));
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
            Search::GaveUp => self.choose(request.remote.iter(), at_random, rng),
        }
    }

    /// One of the idle pieces among `pieces`: any, or one of the rarest.
    fn choose(
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
        let is_abandoned = |piece: &u32, suspect: &Suspect| {
            let progress = self.started.get(piece);
            progress.is_some_and(|progress| suspect.may_be_taken_over(progress))
        };
        let (&piece, suspect) = self
            .suspects
            .iter()
            .find(|(piece, suspect)| request.may_have(**piece) && is_abandoned(piece, suspect))?;
        if suspect.takeovers < TAKEOVERS_MAX {
            self.reset(piece);
            self.suspects.entry(piece).and_modify(|suspect| suspect.takeovers += 1);
        } else {
            self.suspects.remove(&piece);
            self.open.extend(self.turn_in_open(piece));
        }
        Some(piece)
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
