//! Everything that happened in a run, rolled into one digest.

use std::fmt::{self, Write};

use bytes::BytesMut;
use reseed_protocol::{
    Time,
    torrent::{Event as TorrentEvent, Frame, Speaker, Spoken},
    wire::Message,
};
use xxhash_rust::xxh3::Xxh3;

use crate::{Digest, Event, PacketSummary, StreamId, transcript};

/// Takes in events, in order.
pub(crate) struct Trace {
    hasher: Xxh3,
    events: u64,
    /// The last events, as bytes, which the hash has not taken in yet.
    scratch: BytesMut,
    /// The events in words, if somebody wants them.
    words: Option<Vec<(Time, String)>>,
}

/// Bytes that the hash is given at once, at least.
const AT_ONCE: usize = 4096;

/// What kind of event follows, so that no two kinds look alike.
#[derive(Clone, Copy)]
enum Kind {
    World = 1,
    Spoken,
    Torrent,
    Stream,
    Note,
}

impl Trace {
    pub(crate) fn new() -> Trace {
        Trace { hasher: Xxh3::new(), events: 0, scratch: BytesMut::new(), words: None }
    }

    /// From now on, keeps events in words.
    pub(crate) fn keep_words(&mut self) {
        self.words = Some(Vec::new());
    }

    /// What was kept since the last call.
    pub(crate) fn take_words(&mut self) -> Vec<(Time, String)> {
        self.words.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn digest(&self) -> Digest {
        let mut hasher = self.hasher.clone();
        hasher.update(&self.scratch);
        Digest(hasher.digest())
    }

    /// Something below the application: packets, polls, power.
    pub(crate) fn world(&mut self, at: Time, event: &Event<'_>) {
        self.begin(Kind::World, at);
        match event {
            Event::Sent(packet) => self.packet(1, packet),
            Event::Delivered(packet) => self.packet(2, packet),
            Event::Late { packet, until, .. } => {
                self.packet(3, packet);
                self.number(until.as_nanos());
            }
            Event::Discarded { packet, .. } => self.packet(4, packet),
            Event::Polled { host, task } => {
                self.number(u64::from(host.0) << 8 | 5);
                self.number(task.0);
            }
            Event::Crashed { host } => self.number(u64::from(host.0) << 8 | 6),
            Event::Killed { host } => self.number(u64::from(host.0) << 8 | 7),
            Event::Revived { host, .. } => self.number(u64::from(host.0) << 8 | 8),
            Event::Panicked { host, task, .. } => {
                self.number(u64::from(host.0) << 8 | 9);
                self.text(task);
            }
        }
        self.end();
        self.say(at, || format!("{event:?}"));
    }

    /// A frame was said or heard. A block's bytes are not taken in: they are held
    /// against the truth elsewhere.
    pub(crate) fn spoken(&mut self, at: Time, peer: usize, spoken: &Spoken) {
        self.begin(Kind::Spoken, at);
        self.number((peer as u64) << 8 | u64::from(spoken.by == Speaker::Us));
        self.number(spoken.connection.0);
        match &spoken.frame {
            Frame::Handshake(handshake) => self.scratch.extend_from_slice(&handshake.encode()),
            Frame::Message(Message::Piece { piece, begin, data }) => {
                self.number(u64::from(*piece) << 32 | u64::from(*begin));
                self.number(data.len() as u64);
            }
            Frame::Message(message) => message.encode(&mut self.scratch),
        }
        self.end();
        self.say(at, || {
            let does = if spoken.by == Speaker::Us { "says" } else { "hears" };
            let frame = transcript::frame(&spoken.frame);
            format!("peer {peer} {does} on {}: {frame}", spoken.connection)
        });
    }

    /// Something happened in a torrent.
    pub(crate) fn torrent(&mut self, at: Time, peer: usize, event: &TorrentEvent) {
        self.begin(Kind::Torrent, at);
        self.number(peer as u64);
        self.written(format_args!("{event:?}"));
        self.end();
        self.say(at, || format!("peer {peer}: {event:?}"));
    }

    /// Bytes passed between an application and its stream.
    pub(crate) fn stream(&mut self, at: Time, stream: StreamId, what: u8, bytes: usize) {
        self.begin(Kind::Stream, at);
        self.number(stream.0 << 8 | u64::from(what));
        self.number(bytes as u64);
        self.end();
        self.say(at, || format!("stream {} {} {bytes}", stream.0, char::from(what)));
    }

    /// Something that the run did, in words.
    pub(crate) fn note(&mut self, at: Time, words: &str) {
        self.begin(Kind::Note, at);
        self.text(words);
        self.end();
        self.say(at, || words.to_owned());
    }

    fn say(&mut self, at: Time, words: impl FnOnce() -> String) {
        if let Some(kept) = &mut self.words {
            kept.push((at, words()));
        }
    }

    fn begin(&mut self, kind: Kind, at: Time) {
        let nanos = at.as_nanos();
        let mut head = [kind as u8; 9];
        head[1..].copy_from_slice(&nanos.to_le_bytes());
        self.scratch.extend_from_slice(&head);
    }

    fn end(&mut self) {
        self.events += 1;
        // The hash is of all bytes in a row, however many it is given at once.
        if self.scratch.len() >= AT_ONCE {
            self.hasher.update(&self.scratch);
            self.scratch.clear();
        }
    }

    fn packet(&mut self, what: u8, packet: &PacketSummary) {
        let ports = u64::from(packet.from.port()) << 16 | u64::from(packet.to.port());
        let words = [
            packet.number << 8 | u64::from(packet.tcp.is_some()) << 7 | u64::from(what),
            ports << 32 | u64::from(packet.payload),
            packet.tcp.map_or(0, |it| u64::from(it.sequence) << 32 | u64::from(it.acknowledgement)),
        ];
        let mut bytes = [0; 24];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        self.scratch.extend_from_slice(&bytes);
    }

    fn number(&mut self, number: u64) {
        self.scratch.extend_from_slice(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.scratch.extend_from_slice(text.as_bytes());
    }

    /// The same of a text that is nowhere yet.
    fn written(&mut self, text: fmt::Arguments<'_>) {
        let begin = self.scratch.len();
        self.number(0);
        self.scratch.write_fmt(text).expect("there is room without end");
        let length = (self.scratch.len() - begin - 8) as u64;
        self.scratch[begin..begin + 8].copy_from_slice(&length.to_le_bytes());
    }
}
