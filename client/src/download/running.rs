//! A download between its initial check and its end: what its torrent says is done.

use std::{
    cell::Cell,
    collections::{BTreeMap, VecDeque},
    future::pending,
    io,
    rc::Rc,
    time::Duration,
};

use reseed_protocol::{
    Block, Defect, Delivery, State, Status, Time,
    metainfo::Metainfo,
    torrent::{Event, Input, Output, Torrent},
    tracker::AnnounceRequest,
};
use tokio::sync::mpsc;

use super::{ANNOUNCE_TIMEOUT, Command, Driver, Inbound, SAVE_INTERVAL, ShutdownOptions};
use crate::{
    Activity, Buggify, Disk, Env, Network, ResumeData, Storage, Work, hashes::keep_tree,
    links::Links, live, race,
};

/// How much of a live stream is kept for a reader that does not read. NextShare: 5 s.
const LIVE_BUFFER: Duration = Duration::from_secs(5);

/// A download between its initial check and its end.
pub(super) struct Running<'a, N: Network, E, D: Disk> {
    pub(super) driver: &'a mut Driver<N, E, D>,
    pub(super) torrent: Torrent,
    pub(super) storage: Storage<D>,
    pub(super) links: Links<N, E>,
    pub(super) received: mpsc::Receiver<Input>,
    /// The last announce failed, and that has been logged.
    pub(super) announce_failing: bool,
    /// Nodes of a Merkle torrent's tree that are kept on the disk (count).
    pub(super) hashes_kept: usize,
    /// How it is to stop, once it was asked to.
    pub(super) stopping: Option<ShutdownOptions>,
    /// Whether resume data is to be saved at some time, because there is something
    /// new in it.
    pub(super) saving: bool,
    /// The torrent has stopped, and its last work was put down.
    pub(super) parting: bool,
    /// That work was done: nothing of the download may be called any more.
    pub(super) torn_down: bool,
    pub(super) metainfo: Rc<Metainfo>,
    /// Pieces whose blocks are all here, and what they must hash to.
    pub(super) complete: Vec<(u32, [u8; 20])>,
    /// What came of such pieces, and the torrent was not told yet.
    pub(super) verdicts: VecDeque<Input>,
    /// Pieces of which the disk has failed to keep a block, and what it said.
    pub(super) unwritten: BTreeMap<u32, io::Error>,
    /// Why resume data could not be saved the last time.
    pub(super) unsaved: Option<String>,
    /// Connections that are established (count), unless that may have changed.
    pub(super) peers: Cell<Option<usize>>,
}

impl<N: Network, E: Env, D: Disk> Running<'_, N, E, D> {
    /// Runs until the torrent has stopped and its work is done.
    pub(super) async fn run(&mut self) -> io::Result<()> {
        let peers = std::mem::take(&mut self.driver.options.peers);
        self.handle(Input::AddPeers { addrs: peers })?;
        for command in std::mem::take(&mut self.driver.early) {
            self.command(Some(command))?;
        }
        loop {
            self.do_what_is_due()?;
            if self.torn_down {
                return Ok(());
            }
            self.tell();
            if self.torrent.is_stopped() && !self.parting {
                self.part()?;
            }
            // For what has come already no timer need be set.
            if self.driver.commands.is_empty()
                && let Ok(input) = self.received.try_recv()
            {
                self.handle(input)?;
                continue;
            }
            let (env, errands) = (self.driver.env.clone(), self.driver.errands.clone());
            if env.buggify(Buggify::SpuriousWakeup) {
                self.handle(Input::Timeout)?;
            }
            let due = [self.torrent.poll_timeout(), errands.next()].into_iter().flatten().min();
            let due = due.map(|due| match env.buggify(Buggify::EarlyTimer) {
                true => halfway(env.now(), due),
                false => due,
            });
            let timer = async {
                match due {
                    Some(due) => env.sleep_until(due).await,
                    None => pending().await,
                }
            };
            race! {
                command = self.driver.commands.recv() => self.command(command)?,
                input = self.received.recv() => self.handle(input.expect("we hold a sender"))?,
                () = timer => self.handle(Input::Timeout)?,
                () = errands.changed() => {}
            }
        }
    }

    fn command(&mut self, command: Option<Command<N::Stream>>) -> io::Result<()> {
        match command {
            Some(Command::Accept(inbound)) => self.accept(*inbound),
            Some(Command::AddPeers(addrs)) => self.handle(Input::AddPeers { addrs }),
            Some(Command::Seek { stream, at }) => self.handle(Input::Seek { stream, at }),
            Some(Command::Taken { stream, bytes }) => self.handle(Input::Taken { stream, bytes }),
            Some(Command::Pause { paused }) => self.handle(Input::Pause { paused }),
            Some(Command::Stop(options)) => self.stop(options),
            // Nobody is left who could tell us anything.
            None => self.stop(ShutdownOptions::default()),
        }
    }

    fn accept(&mut self, inbound: Inbound<N::Stream>) -> io::Result<()> {
        let Inbound { stream, from, bytes, .. } = inbound;
        let connection = match self.torrent.accept(from, self.driver.env.now()) {
            Ok(connection) => connection,
            Err(refused) => {
                tracing::debug!(%from, %refused, "inbound connection refused");
                return Ok(());
            }
        };
        self.links.serve(connection, from, stream, &bytes);
        self.handle(Input::Received { connection, bytes })
    }

    /// Stops the torrent; an announce under way would only hold up the last one.
    fn stop(&mut self, options: ShutdownOptions) -> io::Result<()> {
        if self.stopping.is_some() {
            return Ok(());
        }
        self.stopping = Some(options);
        if self.links.abandon_announce() {
            self.handle(Input::Announced { result: Err("stopping".to_owned()) })?;
        }
        self.handle(Input::Stop { grace: options.grace })
    }

    /// Does the download's work whose time has come. Each may call off what is left.
    fn do_what_is_due(&mut self) -> io::Result<()> {
        let (now, errands) = (self.driver.env.now(), self.driver.errands.clone());
        let due = std::iter::from_fn(|| errands.pop(now));
        if self.driver.options.defects.has(Defect::StoppedTaskFires) {
            let batch: Vec<Work> = due.collect();
            return batch.into_iter().try_for_each(|work| self.work(work));
        }
        for work in due {
            self.work(work)?;
        }
        Ok(())
    }

    fn work(&mut self, work: Work) -> io::Result<()> {
        let (env, life) = (&self.driver.env, self.driver.errands.life());
        env.observed(&Activity::Works { life, work });
        match work {
            Work::Save => self.save(),
            Work::Report => self.report(|status| status),
            Work::ReportStop => {
                let now = env.now();
                self.report(|status| status.ended(None, now));
            }
            Work::TearDown => self.tear_down(),
        }
        Ok(())
    }

    /// Makes a snapshot for those who watch.
    fn report(&self, of: impl FnOnce(Status) -> Status) {
        if let Some(chain) = &self.driver.chain {
            chain.tell(&of(Status::of(&self.torrent, self.driver.env.now())));
        }
    }

    /// Saves what the torrent came to, and puts down what is left to do for it, in
    /// this order.
    fn part(&mut self) -> io::Result<()> {
        self.parting = true;
        let is_kept = !self.torrent.is_live();
        match is_kept && self.stopping.is_none_or(|options| options.checkpoint) {
            true => self.save(),
            // Nobody asked for it.
            false => self.unsaved = None,
        }
        let now = self.driver.env.now();
        self.driver.errands.schedule(now, Work::ReportStop);
        self.driver.errands.schedule(now, Work::TearDown);
        Ok(())
    }

    fn tear_down(&mut self) {
        self.driver.errands.end();
        self.links.cancel();
        self.torn_down = true;
        let life = self.driver.errands.life();
        self.driver.env.observed(&Activity::TornDown { life });
    }

    /// Sees to it that what is new is saved at some time.
    fn save_later(&mut self) {
        if !std::mem::replace(&mut self.saving, true) {
            let due = self.driver.env.now() + SAVE_INTERVAL;
            self.driver.errands.schedule(due, Work::Save);
        }
    }

    /// Saves what a later session can go on from, or tries again later.
    fn save(&mut self) {
        self.saving = false;
        self.unsaved = None;
        if let Err(error) = self.try_to_save() {
            tracing::warn!(%error, "cannot save resume data; trying on");
            self.unsaved = Some(format!("saving resume data: {error}"));
            self.save_later();
        }
    }

    fn try_to_save(&mut self) -> io::Result<()> {
        let resume = ResumeData {
            info_hash: self.torrent.info_hash(),
            verified: self.torrent.picker().have().clone(),
            uploaded: self.torrent.uploaded(),
            downloaded: self.torrent.downloaded(),
        };
        // First: resume data speaks of pieces whose hashes are known. BEP 30.
        if let Some(tree) = self.torrent.hashes()
            && tree.known_count() > self.hashes_kept
        {
            keep_tree(tree, resume.info_hash, &self.driver.disk)?;
            self.hashes_kept = tree.known_count();
        }
        let path = self.driver.resume_path();
        let saved = match self.driver.options.defects.has(Defect::ResumeBeforeSync) {
            true => resume.save_unsynced(&self.storage, &self.driver.disk, &path),
            false => resume.save(&self.storage, &self.driver.disk, &path),
        };
        saved.map_err(io::Error::other)
    }

    /// Hands `input` to the torrent and does what it says, until it says no more.
    fn handle(&mut self, input: Input) -> io::Result<()> {
        let mut next = Some(input);
        while let Some(input) = next {
            if matches!(input, Input::Announced { .. }) {
                self.links.announced();
            }
            if !self.metainfo.info.torrent_keys().is_empty() {
                // By the wall clock certificates end, and it may be set meanwhile.
                let epoch = self.driver.env.unix_epoch();
                self.torrent.set_unix_epoch(epoch.as_secs(), self.driver.env.now());
            }
            self.torrent.handle(input, self.driver.env.now(), &mut self.driver.rng);
            self.driver.env.stepped(&self.torrent);
            next = self.carry_out()?;
        }
        Ok(())
    }

    /// Does what the torrent says, up to the first output that has an answer. Pieces are
    /// hashed once nothing else is left to do, so that all that came go together.
    fn carry_out(&mut self) -> io::Result<Option<Input>> {
        while let Some(output) = self.torrent.poll_output() {
            match output {
                Output::Dial { connection, addr } => self.links.dial(connection, addr),
                Output::Send { connection, bytes } => self.links.send(connection, bytes),
                Output::Close { connection } => self.links.close(connection),
                Output::ReadBlock { connection, block } => {
                    let data = self.storage.read_block(block).map_err(|error| error.to_string());
                    return Ok(Some(Input::BlockRead { connection, block, data }));
                }
                Output::WriteBlock { block, data } => {
                    if let Err(error) = self.storage.receive(block.piece, block.begin, &data) {
                        self.unwritten.insert(block.piece, error);
                    }
                }
                Output::CheckPiece { piece, hash } => {
                    if let Some(answer) = self.completed(piece, hash) {
                        return Ok(Some(answer));
                    }
                }
                Output::Deliver { stream, delivery } => self.deliver(stream, delivery),
                Output::MakePiece { sequence } => {
                    let live = self.driver.options.live.as_ref();
                    let source = live.and_then(|live| live.source.as_ref());
                    let source = source.expect("only a source is to make pieces");
                    let made = live::make(source, sequence, &self.storage)?;
                    return Ok(Some(Input::PieceMade { sequence, made }));
                }
                Output::Play { sequence, piece } => {
                    let length = live::payload_length(&self.metainfo.info) as u64;
                    let bytes = live::payload(piece, &self.storage);
                    self.driver.buffer.push_live(sequence * length, bytes, self.live_bytes_max());
                }
                Output::ForgetPiece { piece } => {
                    self.unwritten.remove(&piece);
                    self.storage.forget(piece);
                }
                Output::Announce(request) => self.announce(request),
                Output::Event(event) => self.happened(event),
                Output::Spoken(spoken) => self.driver.env.spoke(&self.torrent, &spoken),
                _ => unreachable!("every output is known here"),
            }
        }
        Ok(self.finish())
    }

    /// All blocks of a piece are here. What came of that, or nothing if it is to be hashed.
    fn completed(&mut self, piece: u32, hash: Option<[u8; 20]>) -> Option<Input> {
        if let Some(error) = self.unwritten.remove(&piece) {
            self.storage.forget(piece);
            return Some(unwritten(piece, &error));
        }
        if let Some(key) = self.metainfo.info.live_key() {
            return Some(match self.storage.finish_sealed(piece, &key) {
                Ok(sequence) => Input::PieceOpened { piece, sequence },
                Err(error) => unwritten(piece, &error),
            });
        }
        let expected = hash.or(self.metainfo.info.piece_hash(piece));
        self.complete.push((piece, expected.expect("it is in the metainfo or proven")));
        None
    }

    /// Ends the download of all pieces that are complete; returns what came of the first
    /// of which the torrent was not told yet.
    fn finish(&mut self) -> Option<Input> {
        if !self.complete.is_empty() {
            let complete = std::mem::take(&mut self.complete);
            let finished = self.storage.finish(&complete);
            for ((piece, _), finished) in complete.into_iter().zip(finished) {
                self.verdicts.push_back(match finished {
                    Ok(valid) => Input::PieceChecked { piece, valid },
                    Err(error) => unwritten(piece, &error),
                });
            }
        }
        self.verdicts.pop_front()
    }

    /// Hands the reader what it is to have next.
    fn deliver(&self, stream: u64, delivery: Delivery) {
        match delivery {
            Delivery::Bytes { piece, begin, length } => {
                let bytes = self.storage.read_block(Block { piece, begin, length });
                let before = self.driver.options.stream.map_or(0, |video| video.offset);
                let at = self.storage.layout().offset_of(piece) + u64::from(begin) - before;
                self.driver.buffer.push(stream, at, bytes);
            }
            Delivery::End => self.driver.buffer.end(stream),
        }
    }

    /// What of a live stream is kept for a reader that does not read (bytes).
    fn live_bytes_max(&self) -> usize {
        let live = self.driver.options.live.as_ref();
        let bitrate = live.map_or(0, |live| live.bitrate).saturating_mul(LIVE_BUFFER.as_secs());
        let piece = live::payload_length(&self.metainfo.info);
        usize::try_from(bitrate).unwrap_or(usize::MAX).max(2 * piece)
    }

    fn announce(&mut self, request: AnnounceRequest) {
        // The torrent itself ends the last one, when the grace period is over.
        let timeout = self.stopping.map_or(ANNOUNCE_TIMEOUT, |options| options.grace);
        self.links.announce(request, timeout);
    }

    fn happened(&mut self, event: Event) {
        self.log(&event);
        if matches!(event, Event::Connected { .. } | Event::Disconnected { .. }) {
            self.peers.set(None);
        }
        match &event {
            Event::Disconnected { connection, .. } => self.links.close(*connection),
            // What is here of a live stream is soon worth nothing.
            Event::PieceVerified { .. } if self.torrent.is_live() => {}
            Event::PieceLost { .. } if self.driver.options.seed_only => {}
            Event::PieceVerified { .. } | Event::PieceLost { .. } => self.save_later(),
            Event::AnnounceFailed { .. } => self.announce_failing = true,
            Event::Announced => self.announce_failing = false,
            _ => {}
        }
        self.driver.env.happened(&self.torrent, &event);
    }

    /// A tracker that fails is logged when it begins to, not at every retry.
    fn log(&self, event: &Event) {
        match event {
            Event::AnnounceFailed { .. } if self.announce_failing => {}
            Event::AnnounceFailed { reason } => {
                tracing::warn!(%reason, "the tracker does not answer; trying on");
            }
            Event::Announced if self.announce_failing => {
                tracing::info!("the tracker answers again");
            }
            Event::TrackerWarning { warning } => tracing::warn!(%warning, "the tracker warns"),
            Event::WriteFailed { piece, reason } => {
                tracing::error!(piece, %reason, "the disk does not keep what comes in; trying on");
            }
            Event::ReadFailed { block, reason } => {
                tracing::warn!(?block, %reason, "cannot read a block");
            }
            Event::PieceLost { piece } => tracing::warn!(piece, "a piece is lost"),
            Event::Swallowed { doing, error } => {
                tracing::error!(doing, error, "nobody could be told of an error");
            }
            Event::PieceFailed { piece, blamed } => {
                tracing::warn!(piece, ?blamed, "a piece has a wrong hash");
            }
            _ => tracing::debug!(?event),
        }
    }

    /// Tells the user's handles how the download stands, if that changed.
    fn tell(&self) {
        let peers = self.peers.get().unwrap_or_else(|| {
            self.torrent.connections().filter(|peer| peer.is_established()).count()
        });
        self.peers.set(Some(peers));
        let verified = self.torrent.picker().have().count();
        let seeding = self.torrent.is_complete();
        let trouble = self.torrent.trouble().or(self.unsaved.as_deref());
        self.driver.status.send_if_modified(|status| {
            let known = (status.state == State::Seeding, status.verified, status.peers.len());
            let begun = matches!(status.state, State::Downloading | State::Seeding);
            if begun && known == (seeding, verified, peers) && status.trouble.as_deref() == trouble
            {
                return false;
            }
            let now = Status::of(&self.torrent, self.driver.env.now());
            *status = Status { trouble: trouble.map(str::to_owned), ..now };
            true
        });
    }
}

/// Half of the time until `due`, if that is long enough for another half.
fn halfway(now: Time, due: Time) -> Time {
    match due.since(now) / 2 {
        short if short < Duration::from_millis(1) => due,
        half => now + half,
    }
}

/// The disk has failed to keep a piece.
fn unwritten(piece: u32, error: &io::Error) -> Input {
    Input::PieceUnwritten { piece, reason: format!("writing piece {piece}: {error}") }
}
