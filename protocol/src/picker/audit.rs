//! The picker's own check of itself.

use super::{
    Picker,
    progress::{Progress, Slot},
    selection::REQUESTERS_MAX,
    suspect::TAKEOVERS_MAX,
};

impl Picker {
    /// Goes through everything and says what is wrong with it, if anything is.
    /// It takes time in proportion to the torrent: for tests and simulation.
    pub fn check(&self) -> Result<(), String> {
        self.rarity.check()?;
        let (mut free, mut in_flight, mut left) = (0, 0, 0);
        for piece in 0..self.layout.pieces() {
            let wanted = self.wanted.contains(piece);
            let have = self.have.contains(piece);
            let progress = self.started.get(&piece);
            if !have {
                left += u64::from(self.layout.length_of(piece));
            }
            if self.rarity.is_idle(piece) != (wanted && !have && progress.is_none()) {
                return Err(format!("piece {piece} is idle or not against its state"));
            }
            if have && (progress.is_some() || self.suspects.contains_key(&piece)) {
                return Err(format!("piece {piece} is verified and more than that"));
            }
            if let Some(progress) = progress {
                self.check_started(piece, progress)?;
                free += u64::from(progress.free());
                in_flight += progress.in_flight() as usize;
            } else if wanted && !have {
                free += u64::from(self.layout.blocks_in(piece));
            }
        }
        equal("free blocks", self.free, free)?;
        equal("blocks in flight", self.in_flight, in_flight)?;
        equal("bytes left", self.left, left)?;
        let open = self.started.keys().filter_map(|&piece| self.turn_in_open(piece));
        equal("open pieces", &self.open, &open.collect())?;
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
