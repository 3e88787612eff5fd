//! The picker's own check of itself.

use super::{
    Picker, Turn,
    progress::{Progress, Slot},
    selection::REQUESTERS_MAX,
    suspect::TAKEOVERS_MAX,
};

impl Picker {
    /// Goes through everything and says what is wrong with it, if anything is.
    /// It takes time in proportion to the torrent: for tests and simulation.
    pub fn check(&self) -> Result<(), String> {
        self.rarity.check()?;
        let is_verified = |piece: &u32| self.have.contains(*piece);
        if let Some(piece) =
            self.started.keys().chain(self.suspects.keys()).find(|it| is_verified(it))
        {
            return Err(format!("piece {piece} is verified and more than that"));
        }
        let (mut idle, mut free, mut in_flight, mut left) = (0, 0, 0, 0);
        let mut started = self.started.iter().peekable();
        for piece in (0..self.layout.pieces()).filter(|piece| !is_verified(piece)) {
            let progress = started.next_if(|(next, _)| **next == piece);
            let is_idle = self.wanted.contains(piece) && progress.is_none();
            if self.rarity.is_idle(piece) != is_idle {
                return Err(format!("piece {piece} is idle or not against its state"));
            }
            left += u64::from(self.layout.length_of(piece));
            if let Some((_, progress)) = progress {
                self.check_started(piece, progress)?;
                free += u64::from(progress.free());
                in_flight += progress.in_flight() as usize;
            } else if is_idle {
                idle += 1;
                free += u64::from(self.layout.blocks_in(piece));
            }
        }
        equal("idle pieces", self.rarity.idle_count(), idle)?;
        equal("free blocks", self.free, free)?;
        equal("blocks in flight", self.in_flight, in_flight)?;
        equal("bytes left", self.left, left)?;
        let open = self.started.keys().filter_map(|&piece| self.turn_in_open(piece));
        let mut open: Vec<Turn> = open.collect();
        open.sort_unstable();
        if !self.open.iter().eq(&open) {
            return Err(format!("open pieces: kept as {:?}, found to be {open:?}", self.open));
        }
        self.check_suspects()
    }

    fn check_started(&self, piece: u32, progress: &Progress) -> Result<(), String> {
        let slots = progress.slots();
        let count = |is: fn(&Slot) -> bool| slots.iter().filter(|slot| is(slot)).count() as u32;
        let blocks = self.layout.blocks_in(piece);
        equal("blocks of a piece", slots.len() as u32, blocks)?;
        equal("its free blocks", progress.free(), count(|slot| *slot == Slot::Free))?;
        let in_flight = count(|slot| matches!(slot, Slot::InFlight(_)));
        equal("its blocks in flight", progress.in_flight(), in_flight)?;
        if progress.is_untouched() {
            return Err(format!("piece {piece} is started with every block free"));
        }
        if !self.wanted.contains(piece) && !progress.is_complete() {
            return Err(format!("piece {piece} is unwanted and being fetched"));
        }
        for (index, requesters) in progress.requests() {
            let mut others = requesters.iter().enumerate();
            if others.any(|(at, requester)| requesters[..at].contains(requester))
                || !(1..=REQUESTERS_MAX).contains(&requesters.len())
            {
                return Err(format!("block {index} of piece {piece} asked of {requesters:?}"));
            }
        }
        Ok(())
    }

    fn check_suspects(&self) -> Result<(), String> {
        for (&piece, suspect) in &self.suspects {
            let progress = self.started.get(&piece);
            let strangers = progress.is_some_and(|progress| {
                let requesters = progress.requests().flat_map(|(_, requesters)| requesters);
                let senders = progress.senders();
                let mut parties = requesters.chain(&senders);
                parties.any(|party| Some(*party) != suspect.source)
            });
            let of_nobody = suspect.source.is_none();
            if strangers
                || of_nobody == progress.is_some()
                || of_nobody && suspect.stalled
                || suspect.takeovers > TAKEOVERS_MAX
            {
                return Err(format!("suspect piece {piece}: {suspect:?}, {progress:?}"));
            }
        }
        Ok(())
    }
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, kept: T, found: T) -> Result<(), String> {
    if kept == found {
        return Ok(());
    }
    Err(format!("{what}: kept as {kept:?}, found to be {found:?}"))
}
