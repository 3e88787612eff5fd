//! Live streams: pieces that are made or played in their time, and forgotten when
//! they have gone by.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use super::{CloseReason, Event, Output, Torrent, dispatch::violation};
use crate::{
    Bitfield, Block, ConnectionId, Defect, Time,
    live::{Arrival, Broadcast, Notice, Ring, Viewer},
    torrent::LiveOptions,
    wire::Message,
};

/// Our part in a live stream.
pub(super) enum Live {
    Source {
        broadcast: Broadcast,
        /// A piece was asked for, and is not there yet.
        making: bool,
    },
    Viewer {
        viewer: Viewer,
        /// Places that are left to others for now, and until when.
        held_back: BTreeMap<u32, Time>,
    },
}

impl Live {
    pub(super) fn new(options: LiveOptions, pieces: u32, now: Time) -> Live {
        let ring = Ring::new(pieces);
        match options.source {
            true => Live::Source {
                broadcast: Broadcast::new(ring, options.piece_time, now),
                making: false,
            },
            false => Live::Viewer {
                viewer: Viewer::new(ring, options.piece_time, now),
                held_back: BTreeMap::new(),
            },
        }
    }

    pub(super) fn is_viewer(&self) -> bool {
        matches!(self, Live::Viewer { .. })
    }
}

impl Torrent {
    /// A live stream as we view it, if we do.
    pub fn viewer(&self) -> Option<&Viewer> {
        match &self.live {
            Some(Live::Viewer { viewer, .. }) => Some(viewer),
            _ => None,
        }
    }

    /// A live stream as we make it, if we do.
    pub fn broadcast(&self) -> Option<&Broadcast> {
        match &self.live {
            Some(Live::Source { broadcast, .. }) => Some(broadcast),
            _ => None,
        }
    }

    /// Whether this torrent's content is a live stream.
    pub fn is_live(&self) -> bool {
        self.live.is_some()
    }

    fn ring(&self) -> Ring {
        Ring::new(self.layout.pieces())
    }

    /// Makes or plays what is due.
    pub(super) fn go_live(&mut self, now: Time) {
        if self.stopping {
            return;
        }
        match &mut self.live {
            Some(Live::Source { broadcast, making }) => {
                if !*making && let Some(sequence) = broadcast.due(now) {
                    *making = true;
                    self.outputs.push_back(Output::MakePiece { sequence });
                } else if !*making && let Some(due) = broadcast.poll_timeout() {
                    self.wake_by(due);
                }
            }
            Some(Live::Viewer { .. }) => self.view(now),
            None => {}
        }
    }

    /// The answer to [`Output::MakePiece`].
    pub(super) fn piece_made(&mut self, sequence: u64, made: bool, now: Time) {
        let ring = self.ring();
        let Some(Live::Source { broadcast, making }) = &mut self.live else { return };
        *making = false;
        if !made {
            broadcast.ended();
            return;
        }
        let before = broadcast.valid();
        broadcast.made();
        let valid = broadcast.valid();
        for gone in before.filter(|sequence| !valid.contains(sequence)) {
            self.forget_piece(ring.place(gone), now);
            self.disclaim_all(ring.place(gone));
        }
        let piece = ring.place(sequence);
        self.picker.made(piece);
        self.event(Event::PieceVerified { piece });
        for id in self.established_ids() {
            if self.connections[&id].may_have_content() {
                self.send(id, &Message::Have { piece }, now);
            }
        }
        self.go_live(now);
    }

    /// The answer to [`Output::CheckPiece`] in a live torrent: which number the piece's
    /// seal bears, if it is the source's.
    pub(super) fn piece_opened(&mut self, piece: u32, sequence: Option<u64>, now: Time) {
        let Some(Live::Viewer { viewer, .. }) = &mut self.live else { return };
        let (valid, wanted) = (viewer.valid(), viewer.wanted());
        match sequence.map(|sequence| viewer.came(piece, sequence)) {
            None => self.piece_checked(piece, false, now),
            Some(Arrival::Wanted) => self.piece_checked(piece, true, now),
            // The source made it, and nobody is to blame: they are behind, or we are.
            Some(Arrival::Old) => {
                for sender in self.picker.failed(piece).senders {
                    if self.connections.contains_key(&sender) {
                        self.disclaim(sender, piece);
                    }
                }
                self.refill = true;
            }
            Some(Arrival::Ahead) => {
                let _nobody = self.picker.failed(piece);
                self.slide((valid, wanted), (0..0, 0..0), now);
            }
        }
        self.view(now);
    }

    /// Holds what a remote says at once that it has to what is valid at a time. Who claims
    /// the whole round would else hide where the stream is.
    pub(super) fn check_window(&self, claims: &Bitfield) -> Result<(), CloseReason> {
        let (claimed, most) = (claims.count(), 2 * self.ring().delta());
        match claimed <= most {
            true => Ok(()),
            false => Err(violation(format!(
                "{claimed} pieces of a live stream, of which {most} are valid at a time"
            ))),
        }
    }

    /// A remote says that it has `piece` of a live stream: what it had said it has further
    /// away than its window is wide has gone by, and so has what it gave of `piece` before.
    pub(super) fn moved_on(&mut self, id: ConnectionId, piece: u32, now: Time) {
        if !matches!(self.live, Some(Live::Viewer { .. })) {
            return;
        }
        let (ring, connection) = (self.ring(), &self.connections[&id]);
        let is_far = |claim: &u32| {
            ring.distance(*claim, piece).min(ring.distance(piece, *claim)) >= 2 * ring.delta()
        };
        let gone: Vec<u32> = connection.remote_pieces.iter().filter(is_far).collect();
        let requests = connection.requested.iter().map(|request| request.block);
        let asked: Vec<Block> = requests.filter(|block| gone.contains(&block.piece)).collect();
        gone.into_iter().for_each(|claim| self.disclaim(id, claim));
        asked.into_iter().for_each(|block| self.take_back(id, block, now));
        if self.picker.is_wanted(piece) && self.picker.has_blocks_from(piece, id) {
            self.unwant(piece, now);
            self.set_wanted(piece);
        }
    }

    /// A remote is the first to say that it has `piece`. If all who view asked it at
    /// once, a source would have to send each piece to everybody. So each waits for a
    /// time of its own, while nothing is urgent, and most then find it with others.
    pub(super) fn hold_back(&mut self, piece: u32, now: Time) {
        if !matches!(self.live, Some(Live::Viewer { .. })) {
            return;
        }
        let known = self.picker.availability()[piece as usize];
        let others = self.established_ids().len() > 1;
        let wanted = self.picker.is_wanted(piece) && !self.picker.have().contains(piece);
        let spread = u32::from_be_bytes(*self.config.peer_id.0.last_chunk().expect("it is longer"));
        let Some(Live::Viewer { viewer, held_back }) = &mut self.live else { return };
        if known > 1 {
            if held_back.remove(&piece).is_some() {
                self.set_wanted(piece);
            }
        } else if wanted && others && viewer.spare_time(piece) > Duration::ZERO {
            let share = piece.wrapping_mul(0x9e37_79b9) ^ spread.wrapping_mul(0x85eb_ca6b);
            let due = now + viewer.spare_time(piece) * (share >> 24) / 0xff;
            held_back.insert(piece, due);
            self.unwant(piece, now);
            self.wake_by(due);
        }
    }

    /// Asks for what was left to others for long enough.
    fn ask_for_held_back(&mut self, now: Time) {
        let Some(Live::Viewer { viewer, held_back }) = &mut self.live else { return };
        let is_due =
            |(piece, due): &(&u32, &Time)| **due <= now || viewer.spare_time(**piece).is_zero();
        let due: Vec<u32> = held_back.iter().filter(is_due).map(|(piece, _)| *piece).collect();
        due.iter().for_each(|piece| _ = held_back.remove(piece));
        let next = held_back.values().min().copied();
        if let Some(next) = next {
            self.wake_by(next);
        }
        for piece in due {
            self.set_wanted(piece);
        }
    }

    fn set_wanted(&mut self, piece: u32) {
        let _nothing = self.picker.set_wanted(piece, true);
        self.refill = true;
    }

    fn view(&mut self, now: Time) {
        while let Some(Live::Viewer { viewer, .. }) = &mut self.live {
            let (valid, wanted) = (viewer.valid(), viewer.wanted());
            let neighbours: Vec<_> =
                self.connections.values().map(|connection| &connection.remote_pieces).collect();
            let Some(notice) = viewer.step(self.picker.have(), &neighbours, now) else {
                let due = viewer.poll_timeout();
                self.wake_by(due);
                return self.ask_for_held_back(now);
            };
            let (now_valid, now_wanted) = (viewer.valid(), viewer.wanted());
            // Before it is forgotten.
            if let Notice::Played { sequence } = notice {
                let piece = self.ring().place(sequence);
                self.outputs.push_back(Output::Play { sequence, piece });
            }
            self.event(Event::Live(notice));
            self.slide((valid.clone(), wanted), (now_valid.clone(), now_wanted), now);
            // After a leap they may have what was left out.
            if notice != Notice::HookedIn {
                for gone in valid.filter(|sequence| !now_valid.contains(sequence)) {
                    self.disclaim_all(self.ring().place(gone));
                }
            }
            self.update_interests(now);
        }
    }

    /// The window moved.
    fn slide(
        &mut self,
        (valid, wanted): (Range<u64>, Range<u64>),
        (now_valid, now_wanted): (Range<u64>, Range<u64>),
        now: Time,
    ) {
        let ring = self.ring();
        if let Some(Live::Viewer { held_back, .. }) = &mut self.live {
            held_back.retain(|piece, _| {
                now_wanted.contains(&ring.at_or_after(now_wanted.start, *piece))
            });
        }
        for missed in wanted.clone().filter(|sequence| !now_wanted.contains(sequence)) {
            self.unwant(ring.place(missed), now);
        }
        for gone in valid.filter(|sequence| !now_valid.contains(sequence)) {
            self.forget_piece(ring.place(gone), now);
        }
        for new in now_wanted.filter(|sequence| !wanted.contains(sequence)) {
            self.set_wanted(ring.place(new));
        }
    }

    /// What is missing of `piece` comes too late.
    fn unwant(&mut self, piece: u32, now: Time) {
        for (block, from) in self.picker.set_wanted(piece, false) {
            for id in from {
                self.take_back(id, block, now);
            }
        }
        if !self.picker.have().contains(piece) {
            self.outputs.push_back(Output::ForgetPiece { piece });
        }
    }

    /// The piece at this place has gone by: nobody is asked for it or gets it.
    fn forget_piece(&mut self, piece: u32, now: Time) {
        self.unwant(piece, now);
        if self.config.defects.has(Defect::LivePiecesKept) && self.viewer().is_some() {
            return;
        }
        self.picker.forget(piece);
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in ids {
            let connection = self.connections.get_mut(&id).expect("it was there");
            // A block of the old piece must not be taken for one of the next.
            let before = connection.abandoned.len();
            connection.abandoned.retain(|block| block.piece != piece);
            connection.forgiven += (before - connection.abandoned.len()) as u32;
            connection.allowed_fast.remove(&piece);
            connection.granted_fast.remove(&piece);
            let gone = |block: &Block| block.piece == piece;
            let dropped: Vec<Block> = connection.uploads.iter().copied().filter(gone).collect();
            connection.uploads.retain(|block| !gone(block));
            let fast = connection.fast;
            for block in dropped.into_iter().filter(|_| fast) {
                self.send(id, &Message::Reject(block), now);
            }
        }
    }

    /// Who said to have the piece at this place will say so of the next one that is made
    /// for it.
    fn disclaim_all(&mut self, piece: u32) {
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        ids.into_iter().for_each(|id| self.disclaim(id, piece));
    }

    /// Takes it that a remote does not have `piece` any more.
    pub(super) fn disclaim(&mut self, id: ConnectionId, piece: u32) {
        let connection = self.connections.get_mut(&id).expect("the caller has it");
        if connection.remote_pieces.remove(piece) {
            self.picker.peer_lost(piece);
        }
    }

    fn update_interests(&mut self, now: Time) {
        for id in self.established_ids() {
            self.update_interest(id, now);
        }
    }
}
