//! What we get: interest, requests, blocks that come in.

use std::time::Duration;

use bytes::Bytes;
use rand::Rng;

use super::{CheckFailed, CloseReason, Event, Output, Torrent, dispatch::violation};
use crate::{
    Bitfield, Block, ConnectionId, Defect, Pipeline, Receipt, Time, connection::Connection,
    extension::HashPiece, wire::Message,
};

/// How long a disk that failed is left alone in a live stream.
const LIVE_REST: Duration = Duration::from_secs(1);

impl Torrent {
    /// The remote said what it has so far: at the start, or later, when all of it that
    /// is new stands for a HAVE each. What it leaves out then it has still.
    pub(super) fn pieces(
        &mut self,
        id: ConnectionId,
        pieces: Bitfield,
        first: bool,
        now: Time,
        rng: &mut impl Rng,
    ) -> Result<(), CloseReason> {
        if self.is_live() {
            self.check_window(&pieces)?;
        }
        if !first {
            let known =
                &mut self.connections.get_mut(&id).expect("the caller has it").remote_pieces;
            let new: Vec<u32> = match known.is_full() {
                true => Vec::new(),
                false => pieces.iter().filter(|piece| known.insert(*piece)).collect(),
            };
            new.into_iter().for_each(|piece| self.picker.peer_has(piece));
            self.seen_with(id, now);
            self.update_interest(id, now);
            self.request_more(id, now, rng);
            return self.check_purpose(id);
        }
        self.picker.peer_has_all_of(&pieces);
        self.connections.get_mut(&id).expect("the caller has it").remote_pieces = pieces;
        self.grant_fast(id, now);
        self.seen_with(id, now);
        self.update_interest(id, now);
        self.check_purpose(id)
    }

    pub(super) fn have(
        &mut self,
        id: ConnectionId,
        piece: u32,
        now: Time,
        rng: &mut impl Rng,
    ) -> Result<(), CloseReason> {
        self.check_piece(piece)?;
        self.moved_on(id, piece, now);
        let connection = self.connections.get_mut(&id).expect("the caller has it");
        if !connection.remote_pieces.insert(piece) {
            return Ok(());
        }
        self.picker.peer_has(piece);
        if self.config.defects.has(Defect::HaveCountedTwice) {
            self.picker.peer_has(piece);
        }
        self.hold_back(piece, now);
        self.seen_with(id, now);
        self.update_interest(id, now);
        self.request_more(id, now, rng);
        self.check_purpose(id)
    }

    pub(super) fn check_purpose(&self, id: ConnectionId) -> Result<(), CloseReason> {
        match self.is_pointless(&self.connections[&id]) {
            true => Err(CloseReason::BothComplete),
            false => Ok(()),
        }
    }

    /// Two peers of whom neither wants anything have nothing to say to each other: who
    /// has everything, or says so (BEP 21).
    pub(super) fn is_pointless(&self, connection: &Connection) -> bool {
        self.is_complete() && (connection.remote_pieces.is_full() || connection.remote_upload_only)
    }

    /// Parts from those whom there is nothing left to say to. Who just became
    /// complete must have said so before, or the remote would come back: so this
    /// is for the next round, and most remotes part first.
    pub(super) fn part(&mut self, now: Time) {
        for id in self.established_ids() {
            if let Err(reason) = self.check_purpose(id) {
                self.close(id, reason, now);
            }
        }
    }

    /// Tells the remote whether it has something that we want, if that changed.
    pub(super) fn update_interest(&mut self, id: ConnectionId, now: Time) {
        let connection = self.connections.get_mut(&id).expect("the caller has it");
        let interested = match &self.live {
            None => self.picker.wants(&connection.remote_pieces),
            // Who has something of the stream will soon have more of it.
            Some(live) => live.is_viewer() && !connection.remote_pieces.is_empty(),
        };
        if interested != connection.am_interested {
            connection.am_interested = interested;
            let message = if interested { Message::Interested } else { Message::NotInterested };
            self.send(id, &message, now);
        }
    }

    pub(super) fn choked(&mut self, id: ConnectionId) {
        let connection = self.connections.get_mut(&id).expect("the caller has it");
        connection.peer_choking = true;
        // With the fast extension every request is answered, if only by a reject;
        // without it a choke drops them all. BEP 6.
        if !connection.fast {
            for request in std::mem::take(&mut connection.requested) {
                connection.abandon(request.block);
            }
            self.picker.release_all(id);
        } else {
            self.picker.pause(id);
        }
        self.refill = true;
    }

    pub(super) fn unchoked(&mut self, id: ConnectionId, now: Time, rng: &mut impl Rng) {
        let connection = self.connections.get_mut(&id).expect("the caller has it");
        connection.peer_choking = false;
        connection.rejections = 0;
        connection.pipeline = Pipeline::new();
        connection.last_block = now;
        if !self.config.defects.has(Defect::UnchokeWakesNobody) {
            self.request_more(id, now, rng);
        }
    }

    pub(super) fn allowed_fast(
        &mut self,
        id: ConnectionId,
        piece: u32,
        now: Time,
        rng: &mut impl Rng,
    ) -> Result<(), CloseReason> {
        self.check_piece(piece)?;
        let connection = self.connections.get_mut(&id).expect("the caller has it");
        connection.allowed_fast.insert(piece);
        self.request_more(id, now, rng);
        Ok(())
    }

    /// Whether anything may be requested from a remote now.
    pub(super) fn may_request(&self, connection: &Connection) -> bool {
        let choked =
            connection.peer_choking && !self.config.defects.has(Defect::RequestWhileChoked);
        connection.am_interested
            && connection.rejections < Connection::REJECTIONS_MAX
            && (!choked || !connection.allowed_fast.is_empty())
            && !self.stopping
            && self.rests_until.is_none()
    }

    /// Requests from a remote as many blocks as its pipeline has room for.
    pub(super) fn request_more(&mut self, id: ConnectionId, now: Time, rng: &mut impl Rng) {
        let Some(connection) = self.connections.get(&id) else { return };
        if !self.may_request(connection) {
            return;
        }
        let room = match self.picker.is_endgame() {
            // What comes twice is wasted, so that only who is idle asks again, for a
            // block at a time. libtorrent: `strict_end_game_mode`.
            true => usize::from(connection.requested.is_empty()),
            false => connection.pipeline_room(now).min(self.picker.free_count() as usize),
        };
        if room > 0
            && let Err(source) = self.ask(id, room, now, rng)
        {
            self.event(Event::CheckFailed(CheckFailed { connection: id, source }));
        }
    }

    /// A block of a Merkle torrent came in, maybe with what proves the hash of its
    /// piece. Hashes that do not prove it are a lie, and cost the connection. BEP 30.
    pub(super) fn hash_piece(
        &mut self,
        id: ConnectionId,
        message: HashPiece,
        now: Time,
        rng: &mut impl Rng,
    ) -> Result<(), CloseReason> {
        let tree = self.hashes.as_mut().expect("it is offered in Merkle torrents only");
        if !message.hashes.is_empty() {
            tree.learn(message.piece, &message.hashes)
                .map_err(|error| violation(error.to_string()))?;
        }
        self.block(id, message.block(), message.data, now, rng)
    }

    /// Whether a block may come without hashes: always, unless it is the first of a
    /// piece whose hash nobody has proven yet. So whoever has all blocks of a piece
    /// has its hash. BEP 30.
    fn check_proven(&self, block: Block) -> Result<(), CloseReason> {
        let Some(tree) = &self.hashes else { return Ok(()) };
        self.check_piece(block.piece)?;
        if block.begin == 0 && tree.piece_hash(block.piece).is_none() {
            let what = format!("the first block of piece {} without its hashes", block.piece);
            return Err(violation(what));
        }
        Ok(())
    }

    /// A block came in.
    pub(super) fn block(
        &mut self,
        id: ConnectionId,
        block: Block,
        data: Bytes,
        now: Time,
        rng: &mut impl Rng,
    ) -> Result<(), CloseReason> {
        self.check_proven(block)?;
        let length = u64::from(block.length);
        self.downloaded += length;
        let connection = self.connections.get_mut(&id).expect("the caller has it");
        connection.download.add(length, now);
        if !connection.take_request(block) {
            self.redundant += length;
            if connection.forgiven > 0 {
                connection.forgiven -= 1;
                return Ok(());
            }
            connection.unrequested += 1;
            return match connection.unrequested > Connection::UNREQUESTED_MAX {
                true => Err(violation("blocks that nobody requested")),
                false => Ok(()),
            };
        }
        connection.last_block = now;
        connection.snubbed = false;
        connection.rejections = 0;
        connection.lapses = connection.lapses.saturating_sub(1);
        connection.pipeline.block_arrived(now, block.length);
        match self.picker.received(id, block) {
            Receipt::Accepted { also_requested, piece_complete } => {
                for other in also_requested {
                    self.withdraw(other, block, now);
                }
                if piece_complete && self.config.defects.has(Defect::HaveBeforeCheck) {
                    self.announce_piece(block.piece, now);
                }
                self.outputs.push_back(Output::WriteBlock { block, data });
                if piece_complete {
                    let hash = self.hashes.as_ref().and_then(|tree| tree.piece_hash(block.piece));
                    self.outputs.push_back(Output::CheckPiece { piece: block.piece, hash });
                }
            }
            Receipt::Redundant => self.redundant += length,
            Receipt::Invalid => unreachable!("we request blocks of the grid only"),
        }
        self.request_more(id, now, rng);
        Ok(())
    }

    /// Takes back a request whose block came from somebody else.
    fn withdraw(&mut self, id: ConnectionId, block: Block, now: Time) {
        let connection = self.connections.get_mut(&id).expect("the picker knows live ones only");
        if !self.config.defects.has(Defect::CancelKeepsRequest) {
            connection.requested.retain(|request| request.block != block);
        }
        connection.abandon(block);
        self.send(id, &Message::Cancel(block), now);
        self.refill = true;
    }

    pub(super) fn rejected(
        &mut self,
        id: ConnectionId,
        block: Block,
        now: Time,
        rng: &mut impl Rng,
    ) -> Result<(), CloseReason> {
        let connection = self.connections.get_mut(&id).expect("the caller has it");
        let is_live = connection.requested().any(|requested| requested == block);
        if !connection.take_request(block) {
            if connection.forgiven > 0 {
                connection.forgiven -= 1;
                return Ok(());
            }
            return Err(violation(format!("a reject of {block:?}, which nobody requested")));
        }
        // It may be the answer to a CANCEL of ours. BEP 6.
        if !is_live {
            return Ok(());
        }
        connection.rejections += u32::from(!connection.peer_choking);
        let refused = connection.rejections == Connection::REJECTIONS_MAX;
        if refused {
            connection.refused = Some(now);
        }
        // Not to be had fast after all.
        connection.allowed_fast.remove(&block.piece);
        let choked = connection.peer_choking;
        self.picker.release(id, block);
        if refused {
            self.wake_by(now + self.config.request_timeout);
        }
        if self.live.is_some() && !choked {
            // It has gone by for the remote.
            self.disclaim(id, block.piece);
        }
        self.refill = true;
        self.request_more(id, now, rng);
        Ok(())
    }

    /// Gives up requests to remotes that have sent nothing for too long.
    pub(super) fn expire_requests(&mut self, now: Time) {
        for id in self.established_ids() {
            let timeout = self.config.request_timeout;
            let connection = self.connections.get_mut(&id).expect("it is established");
            match connection.refused.map(|refused| refused + timeout) {
                Some(due) if due <= now => {
                    (connection.refused, connection.rejections) = (None, 0);
                    self.refill = true;
                }
                Some(due) => self.wake_by(due),
                None => {}
            }
            let connection = self.connections.get_mut(&id).expect("it is established");
            while let Some(oldest) = connection.requested.front().copied() {
                let due = oldest.sent.max(connection.last_block) + timeout;
                if due > now {
                    self.wake_by(due);
                    break;
                }
                connection.requested.pop_front();
                connection.abandon(oldest.block);
                connection.snubbed = true;
                connection.send(&Message::Cancel(oldest.block), now);
                self.unsent.insert(id);
                self.picker.release(id, oldest.block);
                self.refill = true;
            }
        }
    }

    pub(super) fn piece_checked(&mut self, piece: u32, valid: bool, now: Time) {
        if !valid {
            let failure = self.picker.failed(piece);
            self.refill = true;
            self.event(Event::PieceFailed { piece, blamed: failure.certain });
            if let Some(culprit) = failure.certain {
                self.close(culprit, CloseReason::Corrupt, now);
            }
            return;
        }
        self.picker.verified(piece);
        self.trouble = None;
        if let Some(transporter) = &mut self.transporter {
            transporter.completed(piece, now);
        }
        self.event(Event::PieceVerified { piece });
        self.note_news(piece, now);
        for id in self.established_ids() {
            self.tell_who_awaits(piece, id, now);
            self.update_interest(id, now);
        }
        if self.is_complete() {
            self.completed(now);
        }
    }

    /// A piece is all here, and the disk does not keep it. It comes again, and nobody is
    /// to blame. What is under way may still come and have better luck; but nothing more
    /// is asked for until the disk has had some time.
    pub(super) fn piece_unwritten(&mut self, piece: u32, reason: String, now: Time) {
        self.picker.unwritten(piece);
        self.rest(now);
        self.trouble = Some(reason.clone());
        self.event(Event::WriteFailed { piece, reason });
    }

    /// Asks for nothing until the disk has had some time.
    pub(super) fn rest(&mut self, now: Time) {
        // What is not asked for of a live stream is soon gone.
        let rest = if self.is_live() { LIVE_REST } else { self.config.disk_rest };
        let until = now + rest;
        self.rests_until = Some(until);
        self.wake_by(until);
    }

    /// Asks again once the disk has had its time.
    pub(super) fn end_rest(&mut self, now: Time) {
        match self.rests_until {
            Some(until) if until <= now => {
                self.rests_until = None;
                self.refill = true;
            }
            Some(until) => self.wake_by(until),
            None => {}
        }
    }

    /// Tells everybody of a piece that may not be here yet, as
    /// [`Defect::HaveBeforeCheck`] does.
    fn announce_piece(&mut self, piece: u32, now: Time) {
        for id in self.established_ids() {
            self.send(id, &Message::Have { piece }, now);
            self.put_out_spoken(id);
        }
    }

    fn completed(&mut self, now: Time) {
        self.event(Event::Completed);
        if self.says_upload_only() {
            self.established_ids().into_iter().for_each(|id| self.send_upload_only(id, now));
        }
        // Who has a part of it only is no seed to the tracker.
        if let Some(announcer) = self.announcer.as_mut().filter(|_| self.picker.is_complete()) {
            announcer.download_completed(now);
            self.wake_by(now);
        }
    }
}
