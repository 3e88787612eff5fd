//! What connections carry, held against what their peers say that they say and hear.
//!
//! Whatever a peer writes is to be what it said, and whatever it acts on is to be what
//! it read: frame by frame, in order, none left out between two others. What it said
//! last may never leave, and what it read last may never be acted on, because a
//! connection may end at any time.

use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
    rc::Rc,
};

use reseed_protocol::{
    Block, ConnectionId,
    torrent::{Frame, Speaker, Spoken},
    wire::Message,
};

use super::{
    extension::{self, Declared},
    naive::{Numbers, PIECE, Reader, Reading, Rest},
    share,
};
use crate::{
    StreamId,
    oracle::{Finding, Listener},
    table::Table,
};

/// Bytes that a stream may carry one way before a torrent speaks of its connection.
/// A session reads a handshake and what came with it before it knows for which torrent
/// it is; beyond that the stream is something else's, such as a tracker's.
const UNCLAIMED_MAX: usize = 128 * 1024;

/// Follows the bytes of every stream of every peer.
#[derive(Default)]
pub(super) struct Carried {
    streams: Table<Box<Stream>>,
    /// By peer: the stream of each connection; `None` if it was closed before a word.
    claimed: Vec<Table<Option<StreamId>>>,
    /// Peers that have other torrents as well.
    of_several: BTreeSet<usize>,
    /// What sides were found to take, which is mostly the same.
    known: BTreeSet<Rc<Declared>>,
    tally: Tally,
}

/// What all lanes share.
#[derive(Default)]
struct Tally {
    /// Frames (count).
    compared: u64,
    /// Room for readings, kept for the next lane in which some wait: there are many lanes,
    /// and in most of them nothing does.
    rooms: Vec<VecDeque<Reading>>,
}

/// Rooms that are kept at most (count), and readings that each of them is for at most.
const ROOMS_MAX: usize = 16;
const ROOM_MAX: usize = 64;

struct Stream {
    peer: usize,
    remote: SocketAddr,
    claimed: bool,
    written: Lane,
    read: Lane,
    /// Under which ids this end, and the remote, take extensions.
    takes: Rc<Declared>,
    remote_takes: Rc<Declared>,
}

/// One direction of a stream.
#[derive(Default)]
struct Lane {
    reader: Reader,
    bytes: usize,
    /// Read from the bytes, and not yet told of by the peer.
    seen: VecDeque<Reading>,
    /// Told by the peer, and not yet seen in the bytes.
    told: VecDeque<Reading>,
}

impl Listener for Carried {
    fn opened(&mut self, peer: usize, stream: StreamId, remote: SocketAddr) {
        let lanes = Stream {
            peer,
            remote,
            claimed: false,
            written: Lane::default(),
            read: Lane::default(),
            takes: Rc::default(),
            remote_takes: Rc::default(),
        };
        self.streams.insert(stream.0, Box::new(lanes));
    }

    fn wrote(&mut self, id: StreamId, bytes: &[u8]) -> Finding {
        let mut id = id;
        self.take(id, bytes, |stream| &mut stream.written);
        while self.streams.get(id.0).is_some_and(|it| it.written.is_of_another_torrent())
            && let Some(other) = self.mistook(id)
        {
            id = other;
        }
        let Some(stream) = self.streams.get_mut(id.0) else { return Ok(()) };
        let Stream { claimed, written, remote, .. } = &mut **stream;
        written.compare(&mut self.tally).map_err(|(seen, told)| {
            format!("it says `{told}` to {remote}, and the bytes that it writes are {seen}")
        })?;
        match written.seen.front().filter(|_| *claimed) {
            Some(seen) => Err(format!("it writes {seen} to {remote}, which it never said")),
            None => written.readable(*remote),
        }
    }

    fn read(&mut self, id: StreamId, bytes: &[u8]) {
        self.take(id, bytes, |stream| &mut stream.read);
    }

    /// What it read may still be acted on; so only a stream of nobody is forgotten.
    fn closed(&mut self, stream: StreamId) {
        if self.streams.get(stream.0).is_some_and(|stream| !stream.claimed) {
            self.streams.remove(stream.0);
        }
    }
}

impl Carried {
    /// Where these peers (by their numbers) have other torrents as well.
    pub(super) fn new(of_several: BTreeSet<usize>) -> Carried {
        Carried { of_several, ..Carried::default() }
    }

    /// Frames that were compared (count).
    pub(super) fn compared(&self) -> u64 {
        self.tally.compared
    }

    /// A peer starts anew.
    pub(super) fn started(&mut self, peer: usize) {
        self.streams.retain(|_, stream| stream.peer != peer);
        self.claimed_by(peer).clear();
    }

    fn claimed_by(&mut self, peer: usize) -> &mut Table<Option<StreamId>> {
        if peer >= self.claimed.len() {
            self.claimed.resize_with(peer + 1, Table::default);
        }
        &mut self.claimed[peer]
    }

    /// A connection of `peer` is over.
    pub(super) fn ended(&mut self, peer: usize, connection: ConnectionId) {
        if let Some(Some(stream)) = self.claimed_by(peer).remove(connection.0) {
            self.streams.remove(stream.0);
        }
    }

    /// A peer of ours tells that something was said on one of its connections.
    pub(super) fn spoke(&mut self, peer: usize, spoken: &Spoken) -> Finding {
        let Spoken { connection, addr, by, frame } = spoken;
        let told = told(frame);
        let id = self.claim(peer, *connection, *addr, told);
        let Some(stream) = id.and_then(|id| self.streams.get_mut(id.0)) else { return Ok(()) };
        if let Frame::Message(Message::Extended { id, payload }) = frame {
            if *by == Speaker::Us {
                extension::agree(&stream.remote_takes, *id, payload)?;
            }
            let declared = match by {
                Speaker::Us => &mut stream.takes,
                Speaker::Remote => &mut stream.remote_takes,
            };
            if *id == 0 {
                extension::declare(Rc::make_mut(declared), payload);
                share(&mut self.known, declared);
            }
        }
        let lane = match by {
            Speaker::Us => &mut stream.written,
            Speaker::Remote => &mut stream.read,
        };
        lane.tell(told, &mut self.tally);
        lane.compare(&mut self.tally).map_err(|(seen, told)| match by {
            Speaker::Us => {
                format!("it says `{told}` to {addr}, and the bytes that it writes are {seen}")
            }
            Speaker::Remote => {
                format!("it acts on `{told}` from {addr}, and the bytes that it read are {seen}")
            }
        })?;
        let unread = *by == Speaker::Remote && !lane.told.is_empty();
        match unread {
            true => {
                let why = lane.reader.lost().unwrap_or("no more came in");
                Err(format!("it acts on `{frame}` from {addr}, which it never read: {why}"))
            }
            false => Ok(()),
        }
    }

    /// Stream `id`, which was taken for that of a connection, is that of another of its
    /// peer's torrents, which has dialled the same address: returns the next that may be
    /// it, if there is one.
    fn mistook(&mut self, id: StreamId) -> Option<StreamId> {
        let Stream { peer, remote, .. } = **self.streams.get(id.0)?;
        let is_it =
            |stream: &Stream| !stream.claimed && (stream.peer, stream.remote) == (peer, remote);
        let other = self.streams.iter().rev().find(|(_, stream)| is_it(stream));
        let Some(right) = other.map(|(right, _)| StreamId(right)) else {
            // It may have been closed before anything was said on it.
            if self.of_several.contains(&peer) {
                self.streams.remove(id.0);
                let claimed = self.claimed_by(peer).values_mut();
                claimed.filter(|it| **it == Some(id)).for_each(|claimed| *claimed = None);
            }
            return None;
        };
        let mut wrong = self.streams.remove(id.0)?;
        let stream = self.streams.get_mut(right.0)?;
        stream.claimed = true;
        stream.written.told = std::mem::take(&mut wrong.written.told);
        stream.read.told = std::mem::take(&mut wrong.read.told);
        (stream.takes, stream.remote_takes) = (wrong.takes, wrong.remote_takes);
        let claimed = self.claimed_by(peer).values_mut();
        claimed.filter(|it| **it == Some(id)).for_each(|claimed| *claimed = Some(right));
        Some(right)
    }

    /// The stream of a connection of which `told` is the first that is told: the newest
    /// one to that address on which nothing was said, and which does not begin with
    /// another torrent's handshake.
    fn claim(
        &mut self,
        peer: usize,
        connection: ConnectionId,
        addr: SocketAddr,
        told: Reading,
    ) -> Option<StreamId> {
        if let Some(claimed) = self.claimed_by(peer).get(connection.0) {
            return *claimed;
        }
        let has_several = self.of_several.contains(&peer);
        let claimed = {
            let is_it = |stream: &Stream| {
                let seen = stream.written.seen.front().copied();
                let foreign = seen.is_some_and(|seen| of_two_torrents(seen, told));
                let free = !stream.claimed && stream.peer == peer && stream.remote == addr;
                free && !(has_several && foreign)
            };
            let found = self.streams.iter().rev().find(|(_, stream)| is_it(stream));
            found.map(|(id, _)| StreamId(id))
        };
        if let Some(stream) = claimed.and_then(|id| self.streams.get_mut(id.0)) {
            stream.claimed = true;
        }
        self.claimed_by(peer).insert(connection.0, claimed);
        claimed
    }

    /// Takes in a stream's bytes, unless it is none of a torrent's.
    fn take(&mut self, id: StreamId, bytes: &[u8], lane: impl Fn(&mut Stream) -> &mut Lane) {
        let Some(stream) = self.streams.get_mut(id.0) else { return };
        let claimed = stream.claimed;
        let lane = lane(stream);
        lane.take(bytes, &mut self.tally);
        if !claimed && lane.bytes > UNCLAIMED_MAX {
            self.streams.remove(id.0);
        }
    }
}

impl Tally {
    /// Puts `reading` behind what waits on one side of a lane.
    fn put(&mut self, reading: Reading, side: &mut VecDeque<Reading>) {
        if side.capacity() == 0 {
            *side = self.rooms.pop().unwrap_or_default();
        }
        side.push_back(reading);
    }

    /// Takes back the room of a side on which nothing waits any more.
    fn take_back(&mut self, side: &mut VecDeque<Reading>) {
        if side.is_empty() && side.capacity() > 0 {
            let room = std::mem::take(side);
            if self.rooms.len() < ROOMS_MAX && room.capacity() <= ROOM_MAX {
                self.rooms.push(room);
            }
        }
    }
}

impl Lane {
    /// Bytes of it came by.
    fn take(&mut self, bytes: &[u8], tally: &mut Tally) {
        self.bytes += bytes.len();
        let Lane { seen, told, reader, .. } = self;
        reader.read(bytes, |reading| match told.front() {
            Some(first) if seen.is_empty() && same(reading, *first) => {
                told.pop_front();
                tally.compared += 1;
            }
            _ => tally.put(reading, seen),
        });
    }

    /// The peer tells of it.
    fn tell(&mut self, telling: Reading, tally: &mut Tally) {
        match self.seen.front() {
            Some(first) if self.told.is_empty() && same(*first, telling) => {
                self.seen.pop_front();
                tally.compared += 1;
            }
            _ => tally.put(telling, &mut self.told),
        }
    }

    /// Compares what is still there on both sides; fails with the first that differ.
    fn compare(&mut self, tally: &mut Tally) -> Result<(), (Reading, Reading)> {
        while !self.seen.is_empty()
            && let Some(told) = self.told.pop_front()
        {
            let seen = self.seen.pop_front().expect("it is not empty");
            tally.compared += 1;
            if !same(seen, told) {
                return Err((seen, told));
            }
        }
        [&mut self.seen, &mut self.told].into_iter().for_each(|side| tally.take_back(side));
        Ok(())
    }

    /// Whether it begins otherwise than it is told to, with another torrent's handshake.
    fn is_of_another_torrent(&self) -> bool {
        let begins = self.seen.front().zip(self.told.front());
        begins.is_some_and(|(seen, told)| of_two_torrents(*seen, *told))
    }

    fn readable(&self, remote: SocketAddr) -> Finding {
        match self.reader.lost().filter(|_| !self.told.is_empty()) {
            Some(why) => Err(format!("what it writes to {remote} cannot be read: {why}")),
            None => Ok(()),
        }
    }
}

/// Whether both are handshakes, and for two torrents.
fn of_two_torrents(seen: Reading, told: Reading) -> bool {
    let torrent = |reading| match reading {
        Reading::Handshake { info_hash, .. } => Some(info_hash),
        _ => None,
    };
    torrent(seen).zip(torrent(told)).is_some_and(|(seen, told)| seen != told)
}

/// Of a message that it does not know a peer tells the length alone.
fn same(seen: Reading, told: Reading) -> bool {
    let Reading::Message { id, rest, .. } = told else { return seen == told };
    let known = matches!(id, 0..=9 | 13..=17 | 20);
    match seen {
        Reading::Message { id: of, rest: seen, .. } if !known => {
            (of, seen.length) == (id, rest.length)
        }
        _ => seen == told,
    }
}

/// What a frame would have to be on the wire. BEP 3, BEP 5, BEP 6, BEP 10.
fn told(frame: &Frame) -> Reading {
    let message = match frame {
        Frame::Handshake(handshake) => {
            return Reading::Handshake {
                reserved: handshake.reserved,
                info_hash: handshake.info_hash.0,
                peer_id: handshake.peer_id.0,
            };
        }
        Frame::Message(message) => message,
    };
    let bare = |id| (id, [0; 3], Rest::none());
    let piece = |id, piece| (id, [piece, 0, 0], Rest::none());
    let block = |id, block: &Block| -> (u8, Numbers, Rest) {
        (id, [block.piece, block.begin, block.length], Rest::none())
    };
    let (id, numbers, rest) = match message {
        Message::KeepAlive => return Reading::KeepAlive,
        Message::Choke => bare(0),
        Message::Unchoke => bare(1),
        Message::Interested => bare(2),
        Message::NotInterested => bare(3),
        Message::Have { piece: index } => piece(4, *index),
        Message::Bitfield(bits) => (5, [0; 3], Rest::of(5, bits)),
        Message::Request(wanted) => block(6, wanted),
        Message::Piece { piece, begin, data } => {
            (PIECE, [*piece, *begin, 0], Rest::of(PIECE, data))
        }
        Message::Cancel(unwanted) => block(8, unwanted),
        Message::Port(port) => piece(9, u32::from(*port)),
        Message::Suggest { piece: index } => piece(13, *index),
        Message::HaveAll => bare(14),
        Message::HaveNone => bare(15),
        Message::Reject(refused) => block(16, refused),
        Message::AllowedFast { piece: index } => piece(17, *index),
        Message::Extended { id, payload } => (20, [u32::from(*id), 0, 0], Rest::of(20, payload)),
        Message::Unknown { id, length } => (*id, [0; 3], Rest::unknown(*length)),
    };
    Reading::Message { id, numbers, rest }
}

#[cfg(test)]
mod tests;
