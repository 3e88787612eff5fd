//! Playing what comes in: the reader's wishes, and the one-second check that sees
//! to it that what is played next comes in time.

use std::time::Duration;

use rand::Rng;

use super::{Event, Output, Torrent};
use crate::{
    Asker, Block, ConnectionId, Defect, NotWired, PlaybackStats, Span, Time, Transporter,
    connection::{Connection, Request},
    playback::{Delays, expected},
    wire::Message,
};

/// Between two checks.
const CHECK_EACH: Duration = Duration::from_secs(1);

/// The one-second check came to somebody who is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("one-second check → request more of {connection} → {source}")]
pub struct CheckFailed {
    /// Of whom more was to be requested.
    pub connection: ConnectionId,
    /// What came of it.
    pub source: NotWired,
}

impl Torrent {
    /// Begins to stream, if that is asked for: the picker first, since the
    /// transporter acts on it.
    pub(super) fn start_streaming(&mut self, now: Time) {
        let Some(video) = self.config.stream else { return };
        self.picker.stream(video);
        self.next_check = Some(now + CHECK_EACH);
        if self.is_complete() && self.config.defects.has(Defect::NoTransporterWhenComplete) {
            return;
        }
        let streaming = self.picker.streaming_mut().expect("it has just begun");
        self.transporter = Some(Transporter::new(streaming, self.layout, self.config.defects, now));
    }

    /// The reader wants what is from byte `at` of the video on. What it was handed
    /// before, under another number, is nothing to it any more.
    pub(super) fn seek(&mut self, stream: u64, at: u64, now: Time) {
        let (Some(transporter), Some(streaming)) =
            (&mut self.transporter, self.picker.streaming_mut())
        else {
            return;
        };
        self.stream = stream;
        transporter.seek(streaming, at, now);
        self.event(Event::Sought { position: at });
        self.turn_to_what_is_next(now);
    }

    pub(super) fn taken(&mut self, stream: u64, bytes: u64, now: Time) {
        if let Some(transporter) = &mut self.transporter
            && stream == self.stream
        {
            transporter.taken(bytes, now);
        }
    }

    pub(super) fn pause_playing(&mut self, paused: bool, now: Time) {
        if let Some(transporter) = &mut self.transporter {
            transporter.pause(paused, now);
        }
    }

    /// Hands the reader what is here and next: after every input, once.
    pub(super) fn play(&mut self, now: Time) {
        let Some(transporter) = &mut self.transporter else { return };
        let rates = self.connections.values().map(|connection| connection.download.rate(now));
        let rate = rates.sum();
        let (streaming, have) = self.picker.streaming_and_have().expect("it acts on that");
        let gathered = streaming.is_prebuffering();
        let deliveries = transporter.step(streaming, have, rate, now);
        let is_playable = gathered && !streaming.is_prebuffering();
        for delivery in deliveries {
            self.outputs.push_back(Output::Deliver { stream: self.stream, delivery });
        }
        if is_playable {
            self.event(Event::Playable);
        }
    }

    /// Sees once a second to it that what is played next comes in time.
    pub(super) fn check_if_due(&mut self, now: Time, rng: &mut impl Rng) {
        let Some(due) = self.next_check else { return };
        if due > now {
            self.wake_by(due);
            return;
        }
        // The next one first: whatever comes of this one, there will be another.
        let careless = self.config.defects.has(Defect::NoTransporterWhenComplete);
        self.next_check = (!careless).then_some(now + CHECK_EACH);
        match self.check(now, rng) {
            Ok(()) => self.next_check = Some(now + CHECK_EACH),
            Err(error) => self.event(Event::CheckFailed(error)),
        }
        self.checked = Some(now);
        if let Some(next) = self.next_check {
            self.wake_by(next);
        }
    }

    /// Takes back what will come too late, and requests more of everybody. Where
    /// nothing is missing there is nothing to ask for.
    fn check(&mut self, now: Time, rng: &mut impl Rng) -> Result<(), CheckFailed> {
        let careless = self.config.defects.has(Defect::NoTransporterWhenComplete);
        if self.picker.is_finished() && !careless {
            return Ok(());
        }
        self.give_up_what_is_late(now);
        if self.waits_for_what_nobody_brings() {
            self.turn_to_what_is_next(now);
        }
        for id in self.best_first(|_| true) {
            let connection = &self.connections[&id];
            if careless && !connection.peer_choking {
                let room = connection.pipeline_room(now);
                let asked = self.ask(id, room, now, rng);
                asked.map_err(|source| CheckFailed { connection: id, source })?;
            } else {
                self.request_more(id, now, rng);
            }
        }
        Ok(())
    }

    /// The connections that are `wanted`, those that were not late of late before the
    /// others. What a silent one was asked for in vain it would otherwise be asked for again,
    /// and nobody else.
    pub(super) fn best_first(&self, wanted: impl Fn(&Connection) -> bool) -> Vec<ConnectionId> {
        let (mut ids, mut late) = (Vec::new(), Vec::new());
        for connection in self.connections().filter(|it| wanted(it)) {
            let ids = if self.asks_late(connection) { &mut late } else { &mut ids };
            ids.push(connection.id);
        }
        ids.append(&mut late);
        ids
    }

    /// Whether others are asked before this one, and it for what they could not bring.
    fn asks_late(&self, connection: &Connection) -> bool {
        let careless = self.config.defects.has(Defect::SilentAskedAgain);
        if careless { connection.lapses > 0 } else { connection.is_late() }
    }

    /// Puts up to `room` blocks in flight from a remote that lets us request.
    pub(super) fn ask(
        &mut self,
        id: ConnectionId,
        room: usize,
        now: Time,
        rng: &mut impl Rng,
    ) -> Result<(), NotWired> {
        let connections = &self.connections;
        let connection = &connections[&id];
        let choked =
            connection.peer_choking && !self.config.defects.has(Defect::RequestWhileChoked);
        let better = |piece| {
            let mut others = connections.values().filter(|other| other.id != id);
            others.any(|other| other.serves_well() && other.remote_pieces.contains(piece))
        };
        let asker = Asker {
            connection: id,
            remote: &connection.remote_pieces,
            only: choked.then_some(&connection.allowed_fast),
            better: self.asks_late(connection).then_some(&better),
            defects: self.config.defects,
        };
        let blocks = self.picker.pick_for(&asker, room, rng)?;
        if blocks.is_empty() {
            return Ok(());
        }
        let connection = self.connections.get_mut(&id).expect("it is there");
        if connection.requested.is_empty() {
            connection.last_block = now;
        }
        for block in blocks {
            if let (Some(transporter), Some(streaming)) =
                (&mut self.transporter, self.picker.streaming())
            {
                transporter.asked(streaming, block.piece, now);
            }
            connection.requested.push_back(Request { block, sent: now });
            let asked = match self.config.defects.has(Defect::LastBlockTooLong) {
                true if self.layout.is_last(block) => Block { length: block.length + 1, ..block },
                _ => block,
            };
            connection.send(&Message::Request(asked), now);
        }
        self.has_said(id);
        self.wake_by(now + self.config.request_timeout);
        Ok(())
    }

    /// Takes back requests for what is played next, where another can be asked: from a
    /// remote that has fallen silent in any case, and from one that is too slow if the
    /// other would bring it sooner. Of who alone could bring it nothing is taken back: what
    /// it sent is on its way, and would be sent once more.
    fn give_up_what_is_late(&mut self, now: Time) {
        let (Some(transporter), Some(streaming)) = (&self.transporter, self.picker.streaming())
        else {
            return;
        };
        let delays = transporter.delays(streaming);
        let high = streaming.high();
        let mut late = Vec::new();
        for connection in self.connections() {
            let rate = connection.download.rate(now);
            let silent = connection.is_silent(delays, now);
            let mut before = 0;
            for request in &connection.requested {
                before += u64::from(request.block.length);
                if !high.contains(request.block.piece) || now - request.sent < delays.min {
                    continue;
                }
                let due = transporter.due(streaming, request.block.piece);
                let will_come = expected(before, rate);
                let block = request.block;
                let is_late = delays.misses(will_come, due) && !self.picker.is_suspect(block.piece);
                let mut others = self.others_with(connection.id, block.piece, now);
                let another_can = match silent {
                    true => others.any(|it| !it.is_waited_for_in_vain(delays, now)),
                    false => is_late && others.any(|it| it.brings_sooner(block, will_come, now)),
                };
                if another_can {
                    late.push((connection.id, block));
                }
            }
        }
        for (id, block) in late {
            self.take_back(id, block, now);
            self.connections.get_mut(&id).expect("it is there").lapses += 1;
        }
    }

    /// Who else has `piece`, and could be asked for some of it now.
    fn others_with(
        &self,
        than: ConnectionId,
        piece: u32,
        now: Time,
    ) -> impl Iterator<Item = &Connection> {
        self.connections().filter(move |other| {
            other.id != than
                && other.serves()
                && other.remote_pieces.contains(piece)
                && other.pipeline_room(now) > 0
        })
    }

    /// Whether a block of the piece at the playhead is asked of nobody, though somebody
    /// reads: whoever was to bring it is gone, or was given up.
    fn waits_for_what_nobody_brings(&self) -> bool {
        let reads = self.transporter.as_ref().is_some_and(Transporter::is_reading);
        let Some(streaming) = self.picker.streaming().filter(|it| reads && !it.is_at_end()) else {
            return false;
        };
        let piece = streaming.position();
        !self.picker.have().contains(piece) && self.picker.free_in(piece) > 0
    }

    /// After a seek, or where nobody brings what is played next: takes back what was
    /// asked for elsewhere of those who have something of what is next, so that they are
    /// asked for that at once.
    fn turn_to_what_is_next(&mut self, now: Time) {
        let Some(streaming) = self.picker.streaming() else { return };
        let high = streaming.high();
        let elsewhere = |connection: &Connection| {
            let asked = connection.requested().filter(|block| !high.contains(block.piece));
            asked.map(|block| (connection.id, block)).collect::<Vec<_>>()
        };
        let useful = self.connections().filter(|it| self.can_help_with(it, high));
        let stale: Vec<_> = useful.flat_map(elsewhere).collect();
        for (id, block) in stale {
            self.take_back(id, block, now);
        }
        self.refill = true;
    }

    fn can_help_with(&self, connection: &Connection, span: Span) -> bool {
        let mut pieces = span.iter();
        pieces
            .any(|piece| connection.remote_pieces.contains(piece) && self.picker.free_in(piece) > 0)
    }

    /// Gives up a request that could still be answered.
    pub(super) fn take_back(&mut self, id: ConnectionId, block: Block, now: Time) {
        let connection = self.connections.get_mut(&id).expect("the caller has it");
        connection.requested.retain(|request| request.block != block);
        connection.abandon(block);
        self.send(id, &Message::Cancel(block), now);
        self.picker.release(id, block);
        self.refill = true;
    }

    /// What moves the playback on, if the download is streamed.
    pub fn transporter(&self) -> Option<&Transporter> {
        self.transporter.as_ref()
    }

    /// What playing had come to when the torrent was stopped, if it was streamed.
    pub fn played(&self) -> Option<&PlaybackStats> {
        self.played.as_ref()
    }

    /// When the one-second check was made last.
    pub fn checked(&self) -> Option<Time> {
        self.checked
    }
}

impl Connection {
    /// Requests (count) that there is room for.
    pub fn pipeline_room(&self, now: Time) -> usize {
        let target = match self.snubbed {
            true => 1,
            false => self.pipeline.target(self.download.rate(now), self.remote_reqq),
        };
        target.saturating_sub(self.requested.len())
    }

    /// Whether the remote, if it is asked for `block` now, is likely to bring it before
    /// `will_come` is over.
    fn brings_sooner(&self, block: Block, will_come: Duration, now: Time) -> bool {
        let waiting: u64 = self.requested().map(|block| u64::from(block.length)).sum();
        let rate = self.download.rate(now);
        !self.is_late()
            && (self.requested.is_empty()
                || expected(waiting + u64::from(block.length), rate) < will_come)
    }

    /// Whether the remote lets us request.
    fn serves(&self) -> bool {
        self.is_established() && !self.peer_choking && !self.refuses()
    }

    /// Whether the remote lets us request, and was not late of late.
    pub fn serves_well(&self) -> bool {
        self.serves() && !self.is_late()
    }

    /// Whether the remote was late of late, or has long brought nothing that it was asked for.
    fn is_late(&self) -> bool {
        self.lapses > 0 || self.snubbed
    }

    /// Whether something was asked of the remote, and nothing comes.
    fn is_waited_for_in_vain(&self, delays: Delays, now: Time) -> bool {
        !self.requested.is_empty() && self.is_silent(delays, now)
    }

    /// Whether nothing at all came from the remote for so long that a request of
    /// that age is given up.
    fn is_silent(&self, delays: Delays, now: Time) -> bool {
        now - self.last_received >= delays.min
    }
}
