//! The addresses that a torrent knows of, and when each may be dialled.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use indexmap::IndexSet;
use rand::{Rng, RngExt};

use crate::{Defect, Defects, PeerId, Time};

/// The addresses of a torrent's peers. Each is dialled by at most one attempt at a
/// time, and not at all while a connection to it stands.
///
/// Its size is bounded whatever it is told: [`PeerTable::ENTRIES_MAX`] addresses, and
/// as many bans.
#[derive(Debug, Clone, Default)]
pub struct PeerTable {
    entries: BTreeMap<SocketAddr, Entry>,
    /// Addresses that may be dialled now, by [`Entry::trust`], the least trusted first.
    ready: [IndexSet<SocketAddr>; 4],
    /// Addresses that may be dialled later.
    waiting: BTreeSet<(Time, SocketAddr)>,
    /// Addresses that are given up, and when that is forgotten.
    given_up: BTreeSet<(Time, SocketAddr)>,
    /// Where liars listen, oldest first. Not whole hosts: many peers can be behind one
    /// address, and the others did nothing.
    banned: IndexSet<SocketAddr>,
    /// Who liars say they are, oldest first.
    banned_ids: IndexSet<PeerId>,
    /// Our own addresses, oldest first.
    own: IndexSet<SocketAddr>,
    defects: Defects,
}

/// Who told us of an address, the least trusted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A peer, by peer exchange (BEP 11) or because it listens there itself.
    Pex,
    /// A tracker.
    Tracker,
    /// The user; never given up.
    Manual,
}

#[derive(Debug, Clone)]
struct Entry {
    source: Source,
    /// The tracker has told of others since, and of it no more.
    outdated: bool,
    /// Attempts in a row that failed (count).
    failures: u32,
    dialling: bool,
    /// Connections that stand (count): for a moment there can be one each way.
    connections: u32,
    /// It was left in peace, the last time that a connection to it ended.
    satisfied: bool,
    place: Place,
}

/// In which queue an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In none: it is being dialled or connected.
    Nowhere,
    Ready,
    Waiting(Time),
    GivenUp(Time),
}

/// Whether a peer can listen at `addr`: a port that is not 0, and an address that is
/// of one host.
pub fn is_dialable(addr: SocketAddr) -> bool {
    let ip = addr.ip().to_canonical();
    addr.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && ip != Ipv4Addr::BROADCAST
}

impl PeerTable {
    /// Addresses (count). libtorrent: 3000.
    pub const ENTRIES_MAX: usize = 3000;

    /// From the end of an attempt or a connection to the next attempt, doubled by each
    /// further failure. libtorrent: 60 s.
    pub const RECONNECT_AFTER: Duration = Duration::from_secs(60);

    /// The longest wait between attempts at an address that is never given up.
    pub const RECONNECT_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

    /// Failures in a row after which an address is given up (count). libtorrent: 3.
    pub const FAILURES_MAX: u32 = 3;

    /// A table without addresses.
    pub fn new() -> PeerTable {
        PeerTable::default()
    }

    /// The same table, with these bugs.
    pub fn with_defects(self, defects: Defects) -> PeerTable {
        PeerTable { defects, ..self }
    }

    /// Learns of an address that may be dialled at once; returns whether it is new.
    ///
    /// Left out are addresses nobody can listen at, our own, banned ones, ones given
    /// up a short time ago, and whatever does not fit: the last places are kept for
    /// trackers and the user, so that gossip cannot shut them out.
    pub fn add(&mut self, addr: SocketAddr, source: Source, now: Time) -> bool {
        self.turn(now);
        let addr = canonical(addr);
        if let Some(entry) = self.entries.get_mut(&addr) {
            let (place, before) = (entry.place, entry.trust());
            entry.source = entry.source.max(source);
            entry.outdated &= source != Source::Tracker;
            let more = entry.trust() > before;
            match (place, source) {
                (Place::GivenUp(until), Source::Manual) => self.put(addr, Place::Waiting(until)),
                (Place::Ready, _) if more => self.put(addr, Place::Ready),
                _ => {}
            }
            return false;
        }
        if !self.may_hold(addr) || !self.has_room(source) {
            return false;
        }
        self.entries.insert(addr, Entry::new(source));
        self.put(addr, Place::Ready);
        true
    }

    /// The tracker is about to tell of peers anew: whom it does not tell of again is
    /// dialled after those.
    pub fn outdate(&mut self) {
        for (addr, entry) in &mut self.entries {
            let before = entry.trust();
            entry.outdated = entry.source == Source::Tracker;
            if entry.place == Place::Ready && self.ready[before].swap_remove(addr) {
                self.ready[entry.trust()].insert(*addr);
            }
        }
    }

    /// One of the addresses that may be dialled now, at random among those of the most
    /// trusted source: gossip may be dead addresses alone. It is then being
    /// dialled, until [`connected`](PeerTable::connected) or
    /// [`failed`](PeerTable::failed) says how that ended.
    pub fn next_dial(&mut self, now: Time, rng: &mut impl Rng) -> Option<SocketAddr> {
        self.turn(now);
        let ready = self.ready.iter().rev().find(|ready| !ready.is_empty())?;
        let addr = ready[rng.random_range(0..ready.len())];
        self.take(addr)
    }

    /// As [`next_dial`](PeerTable::next_dial), but the one of the greatest `priority`, of
    /// those that are trusted most. BEP 40.
    pub fn next_dial_by(
        &mut self,
        now: Time,
        priority: impl Fn(SocketAddr) -> u32,
    ) -> Option<SocketAddr> {
        self.turn(now);
        let ready = self.ready.iter().rev().find(|ready| !ready.is_empty())?;
        let first = ready.iter().max_by_key(|addr| (priority(**addr), **addr)).copied();
        self.take(first?)
    }

    fn take(&mut self, addr: SocketAddr) -> Option<SocketAddr> {
        self.put(addr, Place::Nowhere);
        self.entry(addr).dialling = true;
        Some(addr)
    }

    /// The attempt at `addr` became a connection. To be called once the handshake is
    /// done, lest a peer that accepts and hangs up be dialled for ever.
    pub fn connected(&mut self, addr: SocketAddr) {
        let addr = canonical(addr);
        if let Some(entry) = self.entries.get_mut(&addr) {
            entry.dialling = false;
            entry.failures = 0;
            entry.connections += 1;
            self.put(addr, Place::Nowhere);
        }
    }

    /// The attempt at `addr` failed. The next one is made after
    /// [`PeerTable::RECONNECT_AFTER`], doubled by each further failure;
    /// [`PeerTable::FAILURES_MAX`] failures in a row and the address is given up: gone
    /// from the table once that wait is over.
    pub fn failed(&mut self, addr: SocketAddr, now: Time) {
        let addr = canonical(addr);
        let Some(entry) = self.entries.get_mut(&addr).filter(|entry| entry.dialling) else {
            return;
        };
        entry.dialling = false;
        if entry.connections > 0 {
            return;
        }
        let doubled = Self::RECONNECT_AFTER * (1 << entry.failures.min(6));
        let until = now + doubled.min(Self::RECONNECT_AFTER_MAX);
        entry.failures = entry.failures.saturating_add(1);
        let given_up = entry.failures >= Self::FAILURES_MAX && entry.source != Source::Manual;
        let place = if given_up { Place::GivenUp } else { Place::Waiting };
        let place = if self.at_once() { Place::Ready } else { place(until) };
        self.put(addr, place);
    }

    /// A connection to `addr` ended, whoever made it: `addr` is what was dialled, or
    /// what was [learned](PeerTable::learned_listen_addr) of it. It may be dialled
    /// again after [`PeerTable::RECONNECT_AFTER`].
    pub fn disconnected(&mut self, addr: SocketAddr, now: Time) {
        let addr = canonical(addr);
        let Some(entry) = self.entries.get_mut(&addr).filter(|entry| entry.connections > 0) else {
            return;
        };
        entry.connections -= 1;
        entry.satisfied = false;
        if entry.connections == 0 && !entry.dialling {
            let later = Place::Waiting(now + Self::RECONNECT_AFTER);
            self.put(addr, if self.at_once() { Place::Ready } else { later });
        }
    }

    fn at_once(&self) -> bool {
        self.defects.has(Defect::RedialAtOnce)
    }

    /// A connection to `addr` ended because neither side needs anything of the
    /// other: it is left in peace for [`PeerTable::RECONNECT_AFTER_MAX`].
    pub fn satisfied(&mut self, addr: SocketAddr, now: Time) {
        self.disconnected(addr, now);
        let addr = canonical(addr);
        if let Some(Place::Waiting(_)) = self.entries.get(&addr).map(|entry| entry.place) {
            self.entry(addr).satisfied = true;
            self.put(addr, Place::Waiting(now + Self::RECONNECT_AFTER_MAX));
        }
    }

    /// Something is needed again: those who are left in peace may be dialled after
    /// [`PeerTable::RECONNECT_AFTER`].
    pub fn in_need(&mut self, now: Time) {
        let at_latest = now + Self::RECONNECT_AFTER;
        let left_in_peace = |(addr, entry): (&SocketAddr, &Entry)| {
            let waits = matches!(entry.place, Place::Waiting(due) if due > at_latest);
            (entry.satisfied && waits).then_some(*addr)
        };
        let addrs: Vec<SocketAddr> = self.entries.iter().filter_map(left_in_peace).collect();
        for addr in addrs {
            self.entry(addr).satisfied = false;
            self.put(addr, Place::Waiting(at_latest));
        }
    }

    /// A peer that connected to us listens at `addr`, which therefore is not dialled
    /// until [`disconnected`](PeerTable::disconnected). To be called once a connection.
    pub fn learned_listen_addr(&mut self, addr: SocketAddr) {
        let addr = canonical(addr);
        if !self.entries.contains_key(&addr) {
            if !self.may_hold(addr) || self.entries.len() >= share(Source::Pex) {
                return;
            }
            self.entries.insert(addr, Entry::new(Source::Pex));
        }
        let entry = self.entry(addr);
        entry.connections += 1;
        entry.failures = 0;
        self.put(addr, Place::Nowhere);
    }

    /// `addr` turned out to be our own: it is never dialled again.
    pub fn mark_self(&mut self, addr: SocketAddr) {
        let addr = canonical(addr);
        self.remove(addr);
        remember(&mut self.own, addr);
    }

    /// Whoever listens at `addr`, if that is known, and says that it is `id` is not
    /// dialled or taken up again. Others at the same address are.
    pub fn ban(&mut self, addr: Option<SocketAddr>, id: PeerId) {
        if let Some(addr) = addr.map(canonical) {
            self.remove(addr);
            remember(&mut self.banned, addr);
        }
        remember(&mut self.banned_ids, id);
    }

    /// Whether who listens at `addr` is banned.
    pub fn is_banned(&self, addr: SocketAddr) -> bool {
        self.banned.contains(&canonical(addr))
    }

    /// Whether who says that it is `id` is banned.
    pub fn is_banned_id(&self, id: PeerId) -> bool {
        self.banned_ids.contains(&id)
    }

    /// Every connection has ended, and was not meant to last: all addresses may be
    /// dialled from `at` on, as if for the first time. Those that are given up or banned
    /// stay so.
    pub fn start_anew(&mut self, at: Time) {
        let addrs: Vec<SocketAddr> = self.entries.keys().copied().collect();
        for addr in addrs {
            let entry = self.entry(addr);
            if !matches!(entry.place, Place::GivenUp(_)) {
                *entry = Entry { place: entry.place, ..Entry::new(entry.source) };
                self.put(addr, Place::Waiting(at));
            }
        }
    }

    /// When the next address can be dialled, after those for which
    /// [`PeerTable::next_dial`] would give one now. To be asked when that gave `None`:
    /// who has no connection to spare need not wake up for an address.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.waiting.first().map(|(due, _)| *due)
    }

    /// Addresses, in whatever state (count).
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no address.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Moves on what the passing of time moves on.
    fn turn(&mut self, now: Time) {
        while let Some(&(due, addr)) = self.waiting.first().filter(|(due, _)| *due <= now) {
            debug_assert_eq!(self.entries[&addr].place, Place::Waiting(due));
            self.put(addr, Place::Ready);
        }
        while let Some(&(_, addr)) = self.given_up.first().filter(|(until, _)| *until <= now) {
            self.remove(addr);
        }
    }

    /// Takes `addr` from the queue that it is in to that of `place`.
    fn put(&mut self, addr: SocketAddr, place: Place) {
        match std::mem::replace(&mut self.entry(addr).place, place) {
            Place::Nowhere => {}
            // In whichever it is: somebody may have told of it since.
            Place::Ready => self.ready.iter_mut().for_each(|ready| _ = ready.swap_remove(&addr)),
            Place::Waiting(due) => _ = self.waiting.remove(&(due, addr)),
            Place::GivenUp(until) => _ = self.given_up.remove(&(until, addr)),
        }
        match place {
            Place::Nowhere => {}
            Place::Ready => {
                let trust = self.entries[&addr].trust();
                self.ready[trust].insert(addr);
            }
            Place::Waiting(due) => _ = self.waiting.insert((due, addr)),
            Place::GivenUp(until) => _ = self.given_up.insert((until, addr)),
        }
    }

    /// Whether another address from `source` fits, once one is forgotten that is given up
    /// or failed the last time, and was told of by nobody better.
    fn has_room(&mut self, source: Source) -> bool {
        if self.entries.len() < share(source) {
            return true;
        }
        let failed = |addr: &SocketAddr| {
            let entry = &self.entries[addr];
            entry.failures > 0 && entry.source <= source
        };
        let given_up = self.given_up.iter().map(|(_, addr)| *addr).find(failed);
        let waiting = || self.waiting.iter().map(|(_, addr)| *addr).find(failed);
        match given_up.or_else(waiting) {
            Some(addr) => {
                self.remove(addr);
                true
            }
            None => false,
        }
    }

    fn remove(&mut self, addr: SocketAddr) {
        if self.entries.contains_key(&addr) {
            self.put(addr, Place::Nowhere);
            self.entries.remove(&addr);
        }
    }

    fn entry(&mut self, addr: SocketAddr) -> &mut Entry {
        self.entries.get_mut(&addr).expect("a queued address has an entry")
    }

    fn may_hold(&self, addr: SocketAddr) -> bool {
        is_dialable(addr) && !self.own.contains(&addr) && !self.banned.contains(&addr)
    }
}

impl Entry {
    /// How early it is dialled, 0 to 3: gossip last, the user's own word first.
    fn trust(&self) -> usize {
        match self.source {
            Source::Pex => 0,
            Source::Tracker if self.outdated => 1,
            Source::Tracker => 2,
            Source::Manual => 3,
        }
    }

    fn new(source: Source) -> Entry {
        Entry {
            source,
            outdated: false,
            failures: 0,
            dialling: false,
            connections: 0,
            satisfied: false,
            place: Place::Nowhere,
        }
    }
}

/// How full the table may be for another address from `source` (count).
fn share(source: Source) -> usize {
    match source {
        Source::Pex => PeerTable::ENTRIES_MAX / 3 * 2,
        Source::Tracker => PeerTable::ENTRIES_MAX - 100,
        Source::Manual => PeerTable::ENTRIES_MAX,
    }
}

/// One spelling for one address, whichever way it was written.
fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_none() => {
            let mut v6 = v6;
            v6.set_flowinfo(0);
            v6.into()
        }
        _ => SocketAddr::new(addr.ip().to_canonical(), addr.port()),
    }
}

/// Adds to a set that forgets its oldest member when it is full.
fn remember<T: std::hash::Hash + Eq>(set: &mut IndexSet<T>, member: T) {
    if set.insert(member) && set.len() > PeerTable::ENTRIES_MAX {
        set.shift_remove_index(0);
    }
}

#[cfg(test)]
mod tests;
