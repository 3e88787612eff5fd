//! Which pieces have come of late, and who is told of them when.
//!
//! A HAVE that lets its remote do nothing new is not worth a packet of its own: it goes
//! along with what is said to that remote next, or after [`NEWS_WAIT`]. In a full swarm
//! most are of this kind. Transmission 3.00 lets each HAVE wait so, for up to ten seconds
//! (`LOW_PRIORITY_INTERVAL_SECS`).

use std::time::Duration;

use super::Torrent;
use crate::{Connection, ConnectionId, Time, wire::Message};

/// How long word of a piece may wait for something that it can go along with.
const NEWS_WAIT: Duration = Duration::from_secs(1);

/// Pieces of which somebody may not have been told yet.
#[derive(Default)]
pub(super) struct News {
    /// In the order in which they came; `None` is one that is gone again. Each connection
    /// knows how many of them its remote was told of.
    pieces: Vec<Option<u32>>,
    /// When everybody is told of all of them.
    due: Option<Time>,
}

impl News {
    /// Tells the remote of a connection of the pieces that it was not told of; whether there
    /// were any.
    pub(super) fn tell(&self, connection: &mut Connection, now: Time) -> bool {
        let told = std::mem::replace(&mut connection.news_told, self.pieces.len());
        if told == self.pieces.len() || !connection.may_have_content() {
            return false;
        }
        for piece in self.pieces[told..].iter().flatten() {
            connection.send(&Message::Have { piece: *piece }, now);
        }
        true
    }
}

impl Torrent {
    /// A piece has come.
    pub(super) fn note_news(&mut self, piece: u32, now: Time) {
        if !self.is_super_seeding() {
            self.news.pieces.push(Some(piece));
            self.news.due.get_or_insert(now + NEWS_WAIT);
        }
    }

    /// Tells a remote at once of a piece that has come, if that lets it do something. In a
    /// live stream everybody is told, where nobody is to ask its source for what others have.
    pub(super) fn tell_who_awaits(&mut self, piece: u32, id: ConnectionId, now: Time) {
        if self.live.is_some() || is_awaited(piece, &self.connections[&id]) {
            self.tell_news(id, now);
        }
    }

    fn tell_news(&mut self, id: ConnectionId, now: Time) {
        let connection = self.connections.get_mut(&id).expect("the caller has it");
        if self.news.tell(connection, now) {
            self.unsent.insert(id);
        }
    }

    /// A remote hears in another way of all that is here.
    pub(super) fn spare_news(&mut self, id: ConnectionId) {
        let connection = self.connections.get_mut(&id).expect("the caller has it");
        connection.news_told = self.news.pieces.len();
    }

    /// A piece is gone: there is nothing to tell of it any more.
    pub(super) fn take_back_news(&mut self, piece: u32) {
        let of_it = self.news.pieces.iter_mut().filter(|news| **news == Some(piece));
        of_it.for_each(|news| *news = None);
    }

    /// Tells everybody of everything, where that has waited for long enough.
    pub(super) fn tell_news_if_due(&mut self, now: Time) {
        if self.news.due.is_none_or(|due| due > now) {
            return;
        }
        self.news.due = None;
        for id in self.established_ids() {
            self.tell_news(id, now);
        }
        self.news.pieces.clear();
        self.connections.values_mut().for_each(|connection| connection.news_told = 0);
    }

    /// When that is next, if there is something to tell.
    pub(super) fn news_due(&self) -> Option<Time> {
        self.news.due
    }
}

/// Whether a remote may do something once it knows that `piece` is here: become interested,
/// or request it. Who serves us may also show us another piece then, as a super-seed does
/// (BEP 16).
fn is_awaited(piece: u32, connection: &Connection) -> bool {
    let serves_us = connection.am_interested && !connection.peer_choking;
    let may_act = !connection.peer_interested || !connection.am_choking;
    serves_us || may_act && !connection.remote_pieces.contains(piece)
}
