//! What a download that is streamed asks for next.

use std::collections::BTreeSet;

use rand::Rng;

use super::{super::selection::Request, Span};
use crate::{Bitfield, ConnectionId, Picker, picker::rarity::Search};

/// Spans up to this long (count of pieces) are gone through piece by piece.
const SHORT: u32 = 256;

/// Who is to be asked for something.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    /// The connection.
    pub connection: ConnectionId,
    /// What its remote has.
    pub remote: &'a Bitfield,
    /// The pieces that the remote lets us have while it chokes us. BEP 6.
    pub only: Option<&'a BTreeSet<u32>>,
    /// For a remote that was late of late: whether one that was not could be asked
    /// for this piece instead.
    pub better: Option<&'a dyn Fn(u32) -> bool>,
    /// Bugs written back in.
    pub defects: crate::Defects,
}

/// Somebody was called who is not there: not yet, or no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{path} → {component}, which is not there (for {what})")]
pub struct NotWired {
    /// Who called whom, from the outermost.
    pub path: &'static str,
    /// Who was called.
    pub component: &'static str,
    /// What for.
    pub what: &'static str,
}

impl Picker {
    /// The next piece of a download that is streamed, from what is played first to
    /// what is not played at all.
    pub(in crate::picker) fn next_new(
        &mut self,
        request: &Request<'_>,
        rng: &mut impl Rng,
    ) -> Result<Option<u32>, NotWired> {
        let Some(streaming) = &self.streaming else { return Ok(None) };
        let (high, mid, low) = (streaming.high(), streaming.mid(), streaming.low());
        let ahead = streaming.ahead();
        let soon = |piece| request.may_have(piece) && request.is_for(piece);
        if streaming.is_prebuffering() {
            let prebuffer = streaming.prebuffer().ok_or(NotWired {
                path: "picker next → next_new",
                component: "transporter",
                what: "max_prebuf_packets",
            })?;
            if let Some(piece) = self.rarest_in(prebuffer, soon, rng) {
                return Ok(Some(piece));
            }
        }
        if let Some(piece) = self.first_in(high, soon) {
            return Ok(Some(piece));
        }
        let may_have = |piece| request.may_have(piece);
        for later in [mid, low] {
            if let Some(piece) = self.rarest_in(later, may_have, rng) {
                return Ok(Some(piece));
            }
        }
        let not_ahead = |piece| !ahead.contains(piece) && may_have(piece);
        Ok(self.rarest_of(request.remote.iter(), not_ahead, rng))
    }

    /// Whether `piece` is played so soon that who asks must leave it to somebody
    /// better.
    pub(in crate::picker) fn is_withheld(&self, piece: u32, request: &Request<'_>) -> bool {
        let soon = self.streaming.as_ref().is_some_and(|it| it.high().contains(piece));
        soon && !request.is_for(piece)
    }

    /// The first piece of `span` that `may` be taken and of which a block is free.
    /// One that was let go by the only one whom it could be asked of is taken over
    /// for it.
    fn first_in(&mut self, span: Span, may: impl Fn(u32) -> bool) -> Option<u32> {
        let is_free = |piece: &u32| self.is_open(*piece) || self.is_abandoned(*piece);
        let piece = span.iter().filter(|&piece| may(piece)).find(is_free)?;
        if self.is_abandoned(piece) {
            self.take_over(piece);
        }
        Some(piece)
    }

    /// Of what `may` be taken of `span`, a piece that was started, or else one of
    /// the rarest.
    fn rarest_in(&self, span: Span, may: impl Fn(u32) -> bool, rng: &mut impl Rng) -> Option<u32> {
        let may = |piece| span.contains(piece) && may(piece);
        if span.len() <= SHORT {
            let started = self.started_of(may);
            return started.or_else(|| self.choose(span.iter().filter(|&it| may(it)), false, rng));
        }
        self.rarest_of(span.iter(), may, rng)
    }

    /// The same of `pieces`, which are those that may be taken, and others.
    fn rarest_of(
        &self,
        pieces: impl Iterator<Item = u32>,
        may: impl Fn(u32) -> bool,
        rng: &mut impl Rng,
    ) -> Option<u32> {
        if let Some(piece) = self.started_of(&may) {
            return Some(piece);
        }
        match self.rarity.rarest(&may, rng) {
            Search::Found(piece) => Some(piece),
            Search::None => None,
            Search::GaveUp => self.choose(pieces.filter(|&piece| may(piece)), false, rng),
        }
    }

    fn started_of(&self, may: impl Fn(u32) -> bool) -> Option<u32> {
        self.open.iter().map(|turn| turn.piece).find(|&piece| may(piece))
    }

    /// Whether a block of `piece` is free, and anybody may be asked for it.
    fn is_open(&self, piece: u32) -> bool {
        self.rarity.is_idle(piece) || self.turn_in_open(piece).is_some()
    }
}
