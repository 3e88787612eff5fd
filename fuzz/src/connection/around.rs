//! What is around the peer: time, a disk, sockets, and the honest remote.

use std::{net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use reseed_protocol::{
    Bitfield, Block, ConnectionId, Delivery, Time,
    extension::{Extension, ExtensionHandshake, HashPiece},
    torrent::{CloseReason, Event, Input as Happening, Output},
    wire::{Handshake, Message},
};

use crate::input::Ear;

use super::{HONEST, Honest, INFO_HASH, OUTPUTS_MAX, Play, TIMEOUTS_AT_INSTANT_MAX, content};

impl Play {
    /// Time passes, with every timer at its time, and a word of the honest one each minute.
    pub(super) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            let next = end.min(self.now + Duration::from_secs(60));
            self.fire_until(next);
            self.now = next;
            let honest = self.honest.as_ref().map(|honest| honest.connection);
            self.say(honest, &Message::KeepAlive);
        }
    }

    pub(super) fn fire_until(&mut self, end: Time) {
        let mut at_instant = 0;
        while let Some(due) = self.torrent.poll_timeout().filter(|due| *due <= end) {
            at_instant = if due > self.now { 0 } else { at_instant + 1 };
            assert!(at_instant < TIMEOUTS_AT_INSTANT_MAX, "a timer is always due at {due}");
            self.now = self.now.max(due);
            self.tell(Happening::Timeout);
        }
    }

    /// Time passes, and the timers come late.
    pub(super) fn leap(&mut self, duration: Duration) {
        self.now += duration;
        self.tell(Happening::Timeout);
        let honest = self.honest.as_ref().map(|honest| honest.connection);
        self.say(honest, &Message::KeepAlive);
    }

    /// Something happens, and then all that follows from it.
    pub(super) fn tell(&mut self, happening: Happening) {
        self.queue.push_back(happening);
        let mut outputs = 0;
        while let Some(happening) = self.queue.pop_front() {
            self.torrent.handle(happening, self.now, &mut self.rng);
            while let Some(output) = self.torrent.poll_output() {
                outputs += 1;
                assert!(outputs < OUTPUTS_MAX, "one thing leads to another without end");
                self.carry_out(output);
            }
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Dial { connection, .. } => self.dials.push_back(connection),
            Output::Send { connection, bytes } => self.sent(connection, &bytes.to_bytes()),
            Output::Close { connection } => {
                self.others.remove(&connection);
                self.dials.retain(|dial| *dial != connection);
            }
            Output::ReadBlock { connection, block } => {
                let data = match self.disk_fails && block.begin == 0 {
                    true => Err("the disk fails".to_owned()),
                    false => Ok(content(block, self.layout)),
                };
                self.queue.push_back(Happening::BlockRead { connection, block, data });
            }
            Output::WriteBlock { block, data } => {
                assert!(self.layout.contains(block) && data.len() == block.length as usize);
                self.stored.insert(block, data == content(block, self.layout));
            }
            Output::CheckPiece { piece, hash } => {
                let right = self.tree.as_ref().and_then(|tree| tree.piece_hash(piece));
                assert_eq!(hash, right, "a hash that was proven is right");
                let valid = self.is_true(piece);
                self.queue.push_back(Happening::PieceChecked { piece, valid });
            }
            Output::Deliver { stream, delivery: Delivery::Bytes { length, .. } } => {
                self.delivered.push_back((stream, length.into()));
            }
            Output::Announce(_) => self.announces += 1,
            Output::Event(event) => self.happened(event),
            _ => {}
        }
    }

    fn is_true(&self, piece: u32) -> bool {
        let mut blocks = self.layout.blocks(piece);
        blocks.all(|block| self.stored.get(&block) == Some(&true))
    }

    fn happened(&mut self, event: Event) {
        match event {
            Event::PieceVerified { piece } => {
                assert!(self.is_true(piece), "piece {piece} is wrong")
            }
            Event::Banned { peer_id, .. } => assert_ne!(peer_id, HONEST, "it did nothing wrong"),
            Event::CheckFailed(failed) => panic!("the one-second check failed: {failed}"),
            Event::Swallowed { doing, error } => panic!("swallowed while {doing}: {error}"),
            Event::Disconnected { connection, reason, .. } => {
                self.others.remove(&connection);
                self.dials.retain(|dial| *dial != connection);
                if self.honest.take_if(|honest| honest.connection == connection).is_some() {
                    let right = match reason {
                        CloseReason::BothComplete | CloseReason::Stopping => true,
                        // It proves nothing, and we want nothing of it.
                        CloseReason::NoAccess => self.torrent.is_complete(),
                        _ => false,
                    };
                    assert!(right, "the honest one is dropped: {reason}");
                }
            }
            _ => {}
        }
    }

    /// We send: the honest one reads and answers, the others leave it.
    fn sent(&mut self, connection: ConnectionId, bytes: &[u8]) {
        let Some(honest) = self.honest.as_mut().filter(|it| it.connection == connection) else {
            if let Some(other) = self.others.get_mut(&connection) {
                other.ear.hear(bytes);
                other.unread += bytes.len();
            }
            return;
        };
        let mut asked = Vec::new();
        for message in honest.ear.hear(bytes) {
            match message {
                Message::Request(block) => asked.push(block),
                Message::Have { piece } => {
                    assert!(self.torrent.picker().have().contains(piece), "we have not {piece}");
                }
                _ => {}
            }
        }
        self.queue.push_back(Happening::Flushed { connection, bytes: bytes.len() });
        for block in asked {
            assert!(self.layout.contains(block), "we ask for what is there: {block:?}");
            // Without `tell`: what follows from this is still being carried out.
            let (mut bytes, data) = (BytesMut::new(), content(block, self.layout));
            self.block_message(block, data).encode(&mut bytes);
            self.queue.push_back(Happening::Received { connection, bytes });
        }
    }

    /// A block as this torrent's blocks are sent.
    pub(super) fn block_message(&self, block: Block, data: Bytes) -> Message {
        let Block { piece, begin, .. } = block;
        match &self.tree {
            None => Message::Piece { piece, begin, data },
            Some(tree) => {
                let hashes = match begin {
                    0 => tree.proof(piece).expect("the whole tree is known"),
                    _ => Vec::new(),
                };
                let payload = HashPiece { piece, begin, hashes, data }.encode();
                Message::Extended { id: Extension::HashPiece.local_id(), payload }
            }
        }
    }

    pub(super) fn honest_comes(&mut self) {
        let from = SocketAddr::from(([10, 9, 9, 9], 50_000));
        let connection = self.torrent.accept(from, self.now).expect("it is the first");
        self.honest = Some(Honest { connection, ear: Ear::default() });
        let handshake = Handshake::new(INFO_HASH, HONEST).with_extensions().with_fast();
        self.hear(Some(connection), &handshake.encode());
        let pieces = match self.fast {
            true => Message::HaveAll,
            false => Message::Bitfield(Bitfield::full(self.layout.pieces()).to_wire()),
        };
        let m = [(Extension::HashPiece.name().to_owned(), Extension::HashPiece.local_id())].into();
        let payload = ExtensionHandshake { m, ..ExtensionHandshake::default() }.encode();
        for message in [pieces, Message::Extended { id: 0, payload }, Message::Unchoke] {
            if self.honest.is_some() {
                self.say(Some(connection), &message);
            }
        }
    }
}
