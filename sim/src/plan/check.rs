//! What must hold of a plan before it can run.

use std::{collections::BTreeSet, net::SocketAddr};

use reseed_protocol::live::{Ring, SEAL_LENGTH};

use super::{FaultPlan, Feature, Has, Lies, PeerPlan, Plan, Remnant, TRACKER, TrackerFault, When};

/// Pieces of a plan's torrent at most (count).
const PIECES_MAX: u64 = 1 << 20;

/// What is wrong with a plan: it speaks of what it does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct PlanError {
    place: String,
    what: String,
}

impl Plan {
    /// Whether everything that the plan speaks of is there. Scenarios make plans that
    /// are; one that was edited, or made simpler, may not be.
    pub fn check(&self) -> Result<(), PlanError> {
        self.check_torrent()?;
        self.check_tracker()?;
        self.check_peers()?;
        self.check_events()?;
        self.check_faults()?;
        let flipped = self.flip.iter().flat_map(|flip| &flip.peers);
        for name in flipped {
            self.named(name, "flip")?;
        }
        for (place, share) in [("perturbation", self.perturbation), ("buggify", self.buggify)] {
            if !(0.0..=1.0).contains(&share) {
                return Err(error(place, format!("{share} is no share")));
            }
        }
        Ok(())
    }

    /// Pieces of the torrent (count).
    pub fn pieces(&self) -> u64 {
        let length: u64 = self.torrent.files.iter().map(|file| file.length).sum();
        length.div_ceil(u64::from(self.torrent.piece_length).max(1))
    }

    fn check_torrent(&self) -> Result<(), PlanError> {
        let torrent = |what: String| Err(error("torrent", what));
        if self.torrent.piece_length == 0 {
            return torrent("a piece has no bytes".to_owned());
        }
        let mut lengths = self.torrent.files.iter().map(|file| file.length);
        if lengths.try_fold(0u64, |sum, length| sum.checked_add(length)).is_none() {
            return torrent("its files are longer than a number holds".to_owned());
        }
        match self.pieces() {
            0 => torrent("there is nothing in it".to_owned()),
            pieces if pieces > PIECES_MAX => torrent(format!("{pieces} pieces are too many")),
            _ if self.torrent.live.is_some() => self.check_live(),
            _ => Ok(()),
        }
    }

    /// Holds a live stream to what can be shared.
    fn check_live(&self) -> Result<(), PlanError> {
        let torrent = |what: &str| Err(error("torrent", what.to_owned()));
        let plan = &self.torrent;
        let piece_length = u64::from(plan.piece_length);
        if plan.bitrate.is_none() {
            return torrent("a live stream needs a bitrate");
        }
        if plan.merkle || plan.files.len() > 1 {
            return torrent("a live stream is no Merkle torrent and no folder");
        }
        if piece_length <= SEAL_LENGTH as u64 || self.pieces() < Ring::PIECES_MIN.into() {
            return torrent("a live stream goes round more and longer pieces");
        }
        if !plan.files[0].length.is_multiple_of(piece_length) {
            return torrent("the last piece of a live stream is as long as the others");
        }
        let sources = self.peers.iter().filter(|peer| peer.has == Has::Everything).count();
        if sources != 1 {
            return torrent(&format!("a live stream has one source, and here are {sources}"));
        }
        for peer in &self.peers {
            if let Some((_, complaint)) = peer.live_complaint() {
                return Err(error(&peer.name, complaint.to_owned()));
            }
        }
        Ok(())
    }

    fn check_tracker(&self) -> Result<(), PlanError> {
        let faults = self.tracker.iter().flat_map(|tracker| &tracker.faults);
        for (index, plan) in faults.enumerate() {
            let name = plan.fault.name();
            let wrong = |what: &str| {
                Err(error(&format!("the tracker's fault {index}, {name}"), what.to_owned()))
            };
            match plan.fault {
                _ if plan.for_ms == 0 => {
                    return wrong("`for_ms` is 0, so that it would never hold");
                }
                _ if plan.from_ms.checked_add(plan.for_ms).is_none() => {
                    return wrong("it would end later than a number holds");
                }
                TrackerFault::DeadAddresses { count: 0 } => return wrong("there are none"),
                TrackerFault::DeadAddresses { count } if count > TrackerFault::ADDRESSES_MAX => {
                    return wrong("there are more than fit into an answer");
                }
                TrackerFault::Slow { ms: 0 } => return wrong("it is not slow at all"),
                _ => {}
            }
        }
        Ok(())
    }

    fn check_peers(&self) -> Result<(), PlanError> {
        if self.peers.is_empty() {
            return Err(error("peers", "there is none".to_owned()));
        }
        let (mut names, mut places) = (BTreeSet::new(), BTreeSet::new());
        let gives_metadata = |peer: &PeerPlan| peer.metadata && !peer.magnet;
        if let Some(peer) = self.peers.iter().find(|peer| peer.magnet)
            && (self.torrent.private || !self.peers.iter().any(gives_metadata))
        {
            let what = "it has a magnet link, and nobody who has the metadata gives it";
            return Err(error(&peer.name, what.to_owned()));
        }
        for peer in &self.peers {
            let wrong = |what: String| Err(error(&peer.name, what));
            if !names.insert(&peer.name) {
                return wrong("there are two of that name".to_owned());
            }
            let address = SocketAddr::new(peer.address, peer.port);
            if !places.insert(address) {
                return wrong(format!("somebody else is at {address}"));
            }
            if self.tracker.as_ref().is_some_and(|tracker| tracker.address == peer.address) {
                return wrong(format!("the tracker is at {address}"));
            }
            for known in &peer.knows {
                self.named(known, &peer.name)?;
            }
            if peer.remnant == Remnant::StaleResume && peer.has != Has::Nothing {
                return wrong("its resume data is not stale: it has something".to_owned());
            }
            let listed = match (&peer.has, &peer.lies) {
                (Has::Pieces(has), Some(Lies::Pieces(lies))) => [&has[..], lies].concat(),
                (Has::Pieces(pieces), _) | (_, Some(Lies::Pieces(pieces))) => pieces.clone(),
                _ => Vec::new(),
            };
            if let Some(piece) = listed.iter().find(|piece| u64::from(**piece) >= self.pieces()) {
                return wrong(format!("there is no piece {piece} of {}", self.pieces()));
            }
            if let Some(complaint) = peer.behaviour.complaint() {
                return wrong(complaint);
            }
            if !peer.runs_client() && *peer != peer.without_client() {
                return wrong("it runs no client that its options could be about".to_owned());
            }
            let is_switched = self
                .flip
                .iter()
                .any(|flip| flip.feature == Feature::Stream && flip.peers.contains(&peer.name));
            let is_played = self.torrent.bitrate.is_some() && (peer.stream || is_switched);
            if peer.player.is_some() && !is_played {
                return wrong("it plays what it does not stream".to_owned());
            }
        }
        Ok(())
    }

    fn check_events(&self) -> Result<(), PlanError> {
        for (index, event) in self.events.iter().enumerate() {
            let place = format!("event {index}");
            self.named(&event.peer, &place)?;
            self.check_when(&event.when, &place)?;
            if event.when == When::After(index) {
                return Err(error(&place, format!("it waits for event {index}")));
            }
        }
        Ok(())
    }

    fn check_when(&self, when: &When, place: &str) -> Result<(), PlanError> {
        match when {
            When::Verified { peer, .. } | When::CopyWithout { peer } => {
                self.named(peer, place).map(drop)
            }
            When::After(other) if *other >= self.events.len() => {
                Err(error(place, format!("it waits for event {other}")))
            }
            When::At(_) | When::After(_) => Ok(()),
        }
    }

    fn check_faults(&self) -> Result<(), PlanError> {
        for (index, fault) in self.faults.iter().enumerate() {
            let place = format!("fault {index}, {}", fault.fault.name());
            self.check_fault(fault, &place)?;
        }
        Ok(())
    }

    fn check_fault(&self, plan: &FaultPlan, place: &str) -> Result<(), PlanError> {
        let FaultPlan { fault, hosts, when, for_ms, .. } = plan;
        let wrong = |what: &str| Err(error(place, what.to_owned()));
        self.check_when(when, place)?;
        let mut known = BTreeSet::new();
        for host in hosts {
            let is_tracker = host == TRACKER && self.peer(host).is_none();
            match is_tracker {
                true if self.tracker.is_none() => return wrong("there is no tracker"),
                true if !fault.is_of_network() => {
                    return wrong("the tracker has no disk, clock or tasks that could fail");
                }
                true => {}
                false => _ = self.named(host, place)?,
            }
            if !known.insert(host) {
                return wrong(&format!("{host} is among its hosts twice"));
            }
        }
        if known.is_empty() {
            return wrong("it is about no host");
        }
        if let Some(complaint) = fault.complaint() {
            return wrong(&complaint);
        }
        match (fault.is_instant(), for_ms) {
            (true, 1..) => wrong("it happens at once, and does not hold for a time"),
            (false, 0) => wrong("`for_ms` is 0, so that it would never hold"),
            _ => Ok(()),
        }
    }

    fn named(&self, name: &str, place: &str) -> Result<usize, PlanError> {
        let no_such = || error(place, format!("there is no peer {name:?}"));
        self.peer(name).ok_or_else(no_such)
    }
}

fn error(place: &str, what: String) -> PlanError {
    PlanError { place: place.to_owned(), what }
}
