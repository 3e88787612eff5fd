//! What we give: chokes, the requests of others, blocks that go out.

use std::collections::BTreeSet;

use bytes::Bytes;
use rand::Rng;

use super::{CloseReason, Event, Output, Torrent, dispatch::violation};
use crate::{
    Block, ConnectionId, Contender, Defect, Time,
    connection::{Connection, Phase},
    extension::{Extension, HashPiece},
    wire::Message,
};

/// Bytes on their way to a remote's socket up to which more blocks are read for
/// it: enough to keep a fast link busy while the next ones are read, and what a
/// slow reader can make us hold.
const BACKLOG_MAX: usize = 128 * 1024;

impl Torrent {
    pub(super) fn peer_interest(&mut self, id: ConnectionId, interested: bool) {
        let connection = self.connections.get_mut(&id).expect("the caller has it");
        if connection.peer_interested != interested {
            connection.peer_interested = interested;
            self.turned.insert(id);
            self.rechoke = true;
        }
    }

    /// Chokes and unchokes as the choker says.
    pub(super) fn rechoke(&mut self, now: Time, rng: &mut impl Rng) {
        while let Some(id) = self.turned.pop_first() {
            let connection = self.connections.get(&id);
            let interested = connection.is_some_and(|it| it.is_released() && it.peer_interested);
            self.choker.see_interest(id, interested, now);
        }
        if self.choker.stays(now) {
            return;
        }
        let seeding = self.is_seeding();
        let ignores_forwarding = self.config.defects.has(Defect::ForwardReportsUnread);
        let released = self.established().filter(|connection| connection.is_released());
        let mut contenders = Vec::with_capacity(self.connections.len());
        contenders.extend(released.map(|connection| Contender {
            connection: connection.id,
            interested: connection.peer_interested,
            unchoked: !connection.am_choking,
            rate: match seeding {
                true => connection.upload.rate(now),
                false => connection.download.rate(now),
            },
            snubbed: connection.snubbed,
            connected_at: connection.established,
            rank: self.config.locality.rank(connection.addr.ip()),
            forwarding: connection.forwarding(now).filter(|_| !ignores_forwarding),
        }));
        let unchoke = self.choker.rechoke(now, seeding, &contenders, rng);
        let turned = |it: &&Connection| it.am_choking == unchoke.contains(&it.id);
        let turned: Vec<(ConnectionId, bool)> =
            self.established().filter(turned).map(|it| (it.id, it.am_choking)).collect();
        for (id, was_choked) in turned {
            if was_choked {
                self.connections.get_mut(&id).expect("it is established").am_choking = false;
                self.send(id, &Message::Unchoke, now);
            } else if !self.config.defects.has(Defect::LoserStaysUnchoked) {
                self.choke(id, now);
            }
        }
    }

    fn choke(&mut self, id: ConnectionId, now: Time) {
        let connection = self.connections.get_mut(&id).expect("the caller has it");
        connection.am_choking = true;
        self.send(id, &Message::Choke, now);
        let connection = self.connections.get_mut(&id).expect("it was there");
        let granted = std::mem::take(&mut connection.granted_fast);
        let (keep, drop): (Vec<Block>, Vec<Block>) =
            connection.uploads.drain(..).partition(|block| granted.contains(&block.piece));
        connection.granted_fast = granted;
        connection.uploads.extend(keep);
        // With the fast extension every request has its answer, and what is being
        // read goes out still; without it a choke drops them all. BEP 3, BEP 6.
        if connection.fast {
            for block in drop {
                self.send(id, &Message::Reject(block), now);
            }
        } else {
            connection.reading.clear();
        }
    }

    pub(super) fn requested(
        &mut self,
        id: ConnectionId,
        block: Block,
        now: Time,
    ) -> Result<(), CloseReason> {
        if !self.layout.contains(block) {
            return Err(violation(format!("a request for {block:?}, which is not in a piece")));
        }
        let have = self.picker.have().contains(block.piece) && self.has_shown(id, block.piece);
        let queue_max = self.config.request_queue_max as usize;
        let connection = self.connections.get_mut(&id).expect("the caller has it");
        if !connection.may_have_content() {
            if connection.fast {
                self.send(id, &Message::Reject(block), now);
            }
            return Ok(());
        }
        // What has gone by in a live stream, or was lost, was there when the remote asked.
        let may_go = self.live.is_some() || self.config.dont_have;
        if !have && !connection.fast && !may_go {
            return Err(violation(format!("a request for piece {}, not ours", block.piece)));
        }
        let allowed = !connection.am_choking || connection.granted_fast.contains(&block.piece);
        let known = connection.uploads.contains(&block) || connection.reading.contains(&block);
        if have && allowed && !known && connection.uploads_waiting() < queue_max {
            connection.uploads.push_back(block);
            self.read_more(id);
        } else if connection.fast && !known {
            self.send(id, &Message::Reject(block), now);
        }
        Ok(())
    }

    pub(super) fn cancelled(&mut self, id: ConnectionId, block: Block, now: Time) {
        let connection = self.connections.get_mut(&id).expect("the caller has it");
        let before = connection.uploads_waiting();
        connection.uploads.retain(|upload| *upload != block);
        connection.reading.retain(|reading| *reading != block);
        let was_late = connection.uploads_waiting() == before;
        if was_late && self.config.defects.has(Defect::LateCancelPanics) {
            panic!("{block:?} is cancelled, but was never requested");
        }
        // With the fast extension a cancelled request still has an answer. BEP 6.
        if connection.uploads_waiting() < before && connection.fast {
            self.send(id, &Message::Reject(block), now);
        }
    }

    /// Sees to it that a remote gets its turn, if it wants one and has not enough on
    /// its way.
    fn read_more(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else { return };
        if self.has_room(connection) && !connection.uploads.is_empty() {
            self.turns.join(id);
        }
        self.next_turn();
    }

    /// Has a block read for whoever is next, unless somebody's turn goes on.
    fn next_turn(&mut self) {
        while let Some(id) = self.turns.begin() {
            let has_room = self.has_room(&self.connections[&id]);
            let connection = self.connections.get_mut(&id).expect("who goes leaves");
            if has_room && let Some(block) = connection.uploads.pop_front() {
                connection.reading.push_back(block);
                return self.outputs.push_back(Output::ReadBlock { connection: id, block });
            }
            self.turns.end();
        }
    }

    fn has_room(&self, connection: &Connection) -> bool {
        let unbounded = self.config.defects.has(Defect::UnboundedBacklog);
        unbounded || on_the_way(connection) < BACKLOG_MAX
    }

    pub(super) fn block_read(
        &mut self,
        id: ConnectionId,
        block: Block,
        data: Result<Bytes, String>,
        now: Time,
    ) {
        let handed = self.hand_out(id, block, data, now);
        // The turn is over, whatever came of it. In the engine that had this bug an
        // exception climbed past this place, and left the turn to a connection that
        // it had closed.
        if handed.is_ok() || !self.config.defects.has(Defect::ExtensionHandshakeNeedsPex) {
            self.turns.end();
        }
        if let Err(reason) = handed {
            self.close(id, reason, now);
        }
        self.read_more(id);
        self.next_turn();
    }

    /// Sends a block that was read, or says that it cannot be had.
    fn hand_out(
        &mut self,
        id: ConnectionId,
        block: Block,
        data: Result<Bytes, String>,
        now: Time,
    ) -> Result<(), CloseReason> {
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        // It may have been cancelled meanwhile.
        let at = connection.reading.iter().position(|reading| *reading == block);
        let Some(at) = at else { return Ok(()) };
        connection.reading.remove(at);
        let mut lost = None;
        let message = match data {
            Ok(data) => self.wrap(id, block, data)?,
            Err(reason) => {
                self.event(Event::ReadFailed { block, reason });
                lost = self.config.dont_have.then_some(block.piece);
                None
            }
        };
        let connection = self.connections.get_mut(&id).expect("it was there");
        match message {
            Some(message) => {
                let length = u64::from(block.length);
                connection.upload.add(length, now);
                self.uploaded += length;
                self.note_forwarded(id, block, now);
                self.send(id, &message, now);
            }
            None if connection.fast => self.send(id, &Message::Reject(block), now),
            None => {}
        }
        if let Some(piece) = lost {
            self.lose_piece(piece, now);
        }
        Ok(())
    }

    /// The message that brings a block: PIECE, and in a Merkle torrent `Tr_hashpiece`,
    /// whose first block of a piece proves the piece's hash. `None` if the remote does
    /// not take that. BEP 3, BEP 30.
    fn wrap(
        &self,
        id: ConnectionId,
        block: Block,
        data: Bytes,
    ) -> Result<Option<Message>, CloseReason> {
        let Block { piece, begin, .. } = block;
        let Some(tree) = &self.hashes else {
            return Ok(Some(Message::Piece { piece, begin, data }));
        };
        let extension = match self.connections[&id].registry.demand(Extension::HashPiece) {
            Ok(extension) => extension,
            Err(error) if self.config.defects.has(Defect::ExtensionHandshakeNeedsPex) => {
                return Err(CloseReason::Exception(error.to_string()));
            }
            Err(_) => return Ok(None),
        };
        let hashes = match begin {
            0 => tree.proof(piece).expect("whoever has a piece has what proves it"),
            _ => Vec::new(),
        };
        let payload = HashPiece { piece, begin, hashes, data }.encode();
        Ok(Some(Message::Extended { id: extension, payload }))
    }

    /// Whose turn it is to be sent a block, while that is being read; and who waits
    /// for its turn.
    pub fn upload_turns(&self) -> (Option<ConnectionId>, Vec<ConnectionId>) {
        (self.turns.current(), self.turns.waiting().collect())
    }

    pub(super) fn flushed(&mut self, id: ConnectionId, bytes: usize) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.backlog -= bytes;
        self.read_more(id);
    }

    /// Connections that are unchoked and interested: the upload slots in use.
    pub fn slots_in_use(&self) -> BTreeSet<ConnectionId> {
        let used = |connection: &&Connection| {
            connection.phase == Phase::Established
                && !connection.am_choking
                && connection.peer_interested
        };
        self.connections().filter(used).map(|connection| connection.id).collect()
    }
}

fn on_the_way(connection: &Connection) -> usize {
    let reading: usize = connection.reading.iter().map(|block| block.length as usize).sum();
    connection.unsent_bytes() + reading
}
