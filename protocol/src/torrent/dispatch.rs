//! What each message of a remote means, and whether it may be said now.

use rand::Rng;

use super::{CloseReason, Torrent};
use crate::{Bitfield, Block, ConnectionId, Time, wire::Message};

impl Torrent {
    pub(super) fn message(
        &mut self,
        id: ConnectionId,
        message: Message,
        now: Time,
        rng: &mut impl Rng,
    ) -> Result<(), CloseReason> {
        let first = self.check_turn(id, &message)?;
        match message {
            Message::KeepAlive | Message::Port(_) | Message::Unknown { .. } => Ok(()),
            Message::Choke => {
                self.choked(id);
                Ok(())
            }
            Message::Unchoke => {
                self.unchoked(id, now, rng);
                Ok(())
            }
            Message::Interested => {
                self.peer_interest(id, true);
                Ok(())
            }
            Message::NotInterested => {
                self.peer_interest(id, false);
                Ok(())
            }
            Message::Have { piece } => self.have(id, piece, now, rng),
            Message::Bitfield(bytes) => {
                let pieces = Bitfield::from_wire(&bytes, self.layout.pieces())
                    .map_err(|error| CloseReason::Violation(error.to_string()))?;
                self.pieces(id, pieces, first, now, rng)
            }
            Message::HaveAll => {
                self.pieces(id, Bitfield::full(self.layout.pieces()), first, now, rng)
            }
            Message::HaveNone => {
                self.pieces(id, Bitfield::empty(self.layout.pieces()), first, now, rng)
            }
            Message::Request(block) => self.requested(id, block, now),
            Message::Cancel(block) => {
                self.cancelled(id, block, now);
                Ok(())
            }
            Message::Piece { piece, begin, data } => {
                let block = Block { piece, begin, length: data.len() as u32 };
                self.block(id, block, data, now, rng)
            }
            Message::Reject(block) => self.rejected(id, block, now, rng),
            Message::AllowedFast { piece } => self.allowed_fast(id, piece, now, rng),
            // Advice that we do not take: the picker knows better what is rare.
            Message::Suggest { piece } => self.check_piece(piece),
            Message::Extended { id: extension, payload } => {
                self.extended(id, extension, &payload, now, rng)
            }
        }
    }

    /// The fast extension's messages need the fast extension, and extended ones that.
    /// BEP 6, BEP 10. Who has what is to be said first or not at all (BEP 3), but in
    /// place of many HAVEs at once aria2 sends a BITFIELD or HAVE_ALL at any time. So
    /// these are taken as such. Returns whether it is the first message.
    fn check_turn(&mut self, id: ConnectionId, message: &Message) -> Result<bool, CloseReason> {
        let connection = self.connections.get_mut(&id).expect("the caller has it");
        let fast_only = matches!(
            message,
            Message::HaveAll
                | Message::HaveNone
                | Message::Suggest { .. }
                | Message::Reject(_)
                | Message::AllowedFast { .. }
        );
        let first = !connection.past_first_message;
        if matches!(message, Message::HaveNone) && !first {
            return Err(violation(format!("{message} not as the first message")));
        }
        if fast_only && !connection.fast {
            return Err(violation(format!("{message} without the fast extension")));
        }
        if matches!(message, Message::Extended { .. }) && !connection.extended {
            return Err(violation(format!("{message} without the extension protocol")));
        }
        // An extension handshake or a keepalive may slip in before the pieces.
        connection.past_first_message |=
            !matches!(message, Message::Extended { .. } | Message::KeepAlive);
        Ok(first)
    }

    pub(super) fn check_piece(&self, piece: u32) -> Result<(), CloseReason> {
        let pieces = self.layout.pieces();
        if piece < pieces {
            Ok(())
        } else {
            Err(violation(format!("piece {piece} of a torrent with {pieces}")))
        }
    }
}

pub(super) fn violation(what: impl Into<String>) -> CloseReason {
    CloseReason::Violation(what.into())
}
