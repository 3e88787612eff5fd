//! What each step of a script does.

use std::{net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use reseed_protocol::{
    Block, ConnectionId, InfoHash, PeerId,
    torrent::Input as Happening,
    tracker::AnnounceResponse,
    wire::{Handshake, Message},
};

use super::{INFO_HASH, OTHERS_MAX, OURS, Other, Play, content};
use crate::input::Input;

impl Play {
    pub(super) fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 18 {
            0 => {
                let connection = self.other(input.byte());
                let length = input.byte();
                self.hear(connection, input.take(length.into()));
            }
            1 => {
                let connection = self.other(input.byte());
                let message = message(input);
                self.say(connection, &message);
            }
            2 => {
                let connection = self.other(input.byte());
                self.block(connection, input);
            }
            3 => {
                let connection = self.other(input.byte());
                let (id, length) = (input.byte(), input.byte());
                let payload = Bytes::copy_from_slice(input.take(length.into()));
                self.say(connection, &Message::Extended { id, payload });
            }
            4 => {
                let connection = self.other(input.byte());
                self.greet(connection, input.byte());
            }
            5 => self.other_comes(input.byte()),
            6 => self.pass(Duration::from_millis(input.byte().into())),
            7 => self.pass(Duration::from_secs(input.byte().into())),
            8 => self.leap(Duration::from_millis(u64::from(input.short()))),
            9 => {
                if let Some(connection) = self.other(input.byte()) {
                    self.others.remove(&connection);
                    self.tell(Happening::Lost { connection });
                }
            }
            10 => {
                if let Some(connection) = self.other(input.byte()) {
                    let other = self.others.entry(connection).or_default();
                    let bytes = std::mem::take(&mut other.unread);
                    self.tell(Happening::Flushed { connection, bytes });
                }
            }
            11 => {
                let addrs = (0..input.byte() % 8).map(|_| addr(input.byte(), input.short()));
                self.tell(Happening::AddPeers { addrs: addrs.collect() });
            }
            12 => self.dial_ends(input.byte()),
            13 => self.tracker_answers(input),
            14 => {
                self.streams += 1;
                let at = self.layout.total_length() * u64::from(input.byte()) / 255;
                self.delivered.clear();
                self.tell(Happening::Seek { stream: self.streams, at });
            }
            15 => self.take_delivered(),
            16 => self.tell(Happening::Pause { paused: input.byte() & 1 == 1 }),
            _ => self.whole(input),
        }
    }

    /// One of the others' connections.
    fn other(&self, number: u8) -> Option<ConnectionId> {
        let number = usize::from(number) % self.others.len().max(1);
        self.others.keys().nth(number).copied()
    }

    fn other_comes(&mut self, host: u8) {
        if self.others.len() == OTHERS_MAX {
            return;
        }
        self.came = self.came.wrapping_add(1);
        let from = addr(host, 50_000 + u16::from(self.came));
        if let Ok(connection) = self.torrent.accept(from, self.now) {
            self.others.insert(connection, Other::default());
        }
    }

    /// One comes, and does at once what most do.
    fn whole(&mut self, input: &mut Input<'_>) {
        self.other_comes(input.byte());
        let newest = self.others.keys().next_back().copied();
        let what = input.byte();
        self.greet(newest, what);
        let all = self.layout.pieces().div_ceil(8);
        let bits: Vec<u8> = (0..all).map(|_| input.byte()).collect();
        match what & 1 {
            1 if self.fast => self.say(newest, &Message::HaveAll),
            _ => self.say(newest, &Message::Bitfield(bits.into())),
        }
        self.say(newest, &Message::Unchoke);
        self.say(newest, &Message::Interested);
    }

    /// The handshake: as itself, as another of the others, or as we ourselves; not as the
    /// honest one, whom anybody could push out who knows its id.
    fn greet(&mut self, connection: Option<ConnectionId>, what: u8) {
        let number = connection.map_or(0, |connection| connection.0 as u8);
        let peer_id = match what >> 4 {
            0 => OURS,
            1 => PeerId([100; 20]),
            _ => PeerId([number.max(3); 20]),
        };
        let mut handshake = Handshake::new(INFO_HASH, peer_id);
        if what & 1 != 0 {
            handshake = handshake.with_fast();
        }
        if what & 2 != 0 {
            handshake = handshake.with_extensions();
        }
        if what & 12 == 12 {
            handshake.info_hash = InfoHash([8; 20]);
        }
        self.hear(connection, &handshake.encode());
    }

    /// A block of the content, true or not, asked for or not.
    fn block(&mut self, connection: Option<ConnectionId>, input: &mut Input<'_>) {
        let piece = u32::from(input.byte()) % self.layout.pieces();
        let blocks: Vec<Block> = self.layout.blocks(piece).collect();
        let block = blocks[usize::from(input.byte()) % blocks.len()];
        let how = input.byte();
        let mut data = content(block, self.layout).to_vec();
        if how & 1 == 1 {
            data[0] ^= 1;
        }
        if how & 2 == 2 {
            data.truncate(data.len() / 2);
        }
        let message = self.block_message(block, data.into());
        self.say(connection, &message);
    }

    pub(super) fn say(&mut self, connection: Option<ConnectionId>, message: &Message) {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes);
        self.hear(connection, &bytes);
    }

    pub(super) fn hear(&mut self, connection: Option<ConnectionId>, bytes: &[u8]) {
        if let Some(connection) = connection {
            self.tell(Happening::Received { connection, bytes: bytes.into() });
        }
    }

    fn dial_ends(&mut self, how: u8) {
        let Some(connection) = self.dials.pop_front() else { return };
        if how & 1 == 1 && self.others.len() < OTHERS_MAX {
            self.others.insert(connection, Other::default());
            self.tell(Happening::Dialled { connection });
        } else {
            self.tell(Happening::Lost { connection });
        }
    }

    fn tracker_answers(&mut self, input: &mut Input<'_>) {
        if self.announces == 0 {
            return;
        }
        self.announces -= 1;
        let result = match input.byte() {
            0 => Err("no answer".to_owned()),
            interval => Ok(AnnounceResponse {
                interval: Duration::from_secs(interval.into()),
                min_interval: None,
                complete: None,
                incomplete: None,
                peers: (0..input.byte()).map(|_| addr(input.byte(), input.short())).collect(),
                warning: None,
                tracker_id: Some(input.take(3).to_vec()),
            }),
        };
        self.tell(Happening::Announced { result: result.map(Box::new) });
    }

    pub(super) fn take_delivered(&mut self) {
        while let Some((stream, bytes)) = self.delivered.pop_front() {
            self.tell(Happening::Taken { stream, bytes });
        }
    }
}

/// An address of one of 256 hosts.
fn addr(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], port))
}

/// Any message, its numbers near what they could be.
fn message(input: &mut Input<'_>) -> Message {
    let id = input.byte();
    let mut number = |unit: u32| (i32::from(input.byte() as i8) as u32).wrapping_mul(unit);
    let piece = number(1);
    let mut block = || Block { piece, begin: number(4 * 1024), length: number(4 * 1024) };
    match id % 20 {
        0 => Message::Choke,
        1 => Message::Unchoke,
        2 => Message::Interested,
        3 => Message::NotInterested,
        4 => Message::Have { piece },
        5 => Message::Bitfield(vec![piece as u8].into()),
        6 => Message::Request(block()),
        7 => Message::KeepAlive,
        8 => Message::Cancel(block()),
        9 => Message::Port(piece as u16),
        13 => Message::Suggest { piece },
        14 => Message::HaveAll,
        15 => Message::HaveNone,
        16 => Message::Reject(block()),
        17 => Message::AllowedFast { piece },
        _ => Message::Unknown { id, length: piece % 16 },
    }
}
