//! Pieces that are gone: ours, and others'. BEP 54.

use rand::Rng;

use super::{CloseReason, Event, Torrent};
use crate::{
    Block, ConnectionId, Time,
    extension::{DontHave, Extension},
    wire::Message,
};

impl Torrent {
    /// A remote says that it has a piece no more. Requests that it has not answered are
    /// as good as rejected; with the fast extension it says so itself. BEP 54.
    pub(super) fn piece_lost_by(
        &mut self,
        id: ConnectionId,
        piece: u32,
        now: Time,
        rng: &mut impl Rng,
    ) -> Result<(), CloseReason> {
        self.check_piece(piece)?;
        self.disclaim(id, piece);
        let connection = self.connections.get_mut(&id).expect("the caller has it");
        connection.allowed_fast.remove(&piece);
        if !connection.fast {
            let blocks = connection.requested().filter(|block| block.piece == piece);
            for block in blocks.collect::<Vec<Block>>() {
                connection.requested.retain(|request| request.block != block);
                connection.abandon(block);
                self.picker.release(id, block);
            }
            self.refill = true;
        }
        self.update_interest(id, now);
        self.request_more(id, now, rng);
        Ok(())
    }

    /// A piece that was here cannot be read any more: nobody is to ask for it, and we
    /// get it again. BEP 54.
    pub(super) fn lose_piece(&mut self, piece: u32, now: Time) {
        let was_complete = self.picker.is_complete();
        if !self.picker.lose(piece) {
            return;
        }
        if let Some(announcer) = self.announcer.as_mut().filter(|_| was_complete) {
            announcer.lost();
        }
        if self.config.read_only {
            let _nothing = self.picker.set_wanted(piece, false);
            self.selects = true;
        } else {
            // What comes now would be lost in the same way.
            self.rest(now);
            self.peers.in_need(now);
        }
        self.event(Event::PieceLost { piece });
        self.take_back_news(piece);
        for id in self.established_ids() {
            if let Some(extension) = self.connections[&id].registry.remote_id(Extension::DontHave)
                && self.connections[&id].may_have_content()
            {
                let payload = DontHave { piece }.encode();
                self.send(id, &Message::Extended { id: extension, payload }, now);
            }
            let connection = self.connections.get_mut(&id).expect("it is established");
            connection.granted_fast.remove(&piece);
            let fast = connection.fast;
            if !fast {
                // It takes it that what it asked for will not come.
                connection.reading.retain(|block| block.piece != piece);
            }
            let is_of_it = |block: &&Block| block.piece == piece;
            let gone: Vec<Block> = connection.uploads.iter().filter(is_of_it).copied().collect();
            connection.uploads.retain(|block| block.piece != piece);
            for block in gone.into_iter().filter(|_| fast) {
                self.send(id, &Message::Reject(block), now);
            }
            self.update_interest(id, now);
        }
        self.refill = true;
    }
}
