//! One torrent of a session: the task that drives its state machine, and the
//! handle that its user holds.

mod magnet;

use std::{
    collections::BTreeMap, future::pending, io, net::SocketAddr, ops::RangeInclusive,
    path::PathBuf, rc::Rc, time::Duration,
};

use bytes::BytesMut;
use rand_chacha::ChaCha8Rng;
use reseed_protocol::{
    Bitfield, Block, Defect, Defects, Delivery, HashTree, InfoHash, Locality, Magnet, PeerId,
    State, Status, Time, Video,
    extension::closed_swarm::Membership,
    metainfo::Metainfo,
    torrent::{Config, Event, Input, Output, Start, Torrent},
    tracker::{AnnounceRequest, Announcer, Trackers},
};
use tokio::sync::{mpsc, watch};

use crate::{
    Activity, Buggify, Disk, Env, Live, Monitoring, Network, ResumeData, Storage, Work,
    errands::Errands,
    hashes::{PieceSearch, all_here, keep_tree, kept_tree},
    links::Links,
    live,
    monitor::Chain,
    peer::Shared,
    race,
    stream::{Buffer, Stream},
};

/// How long a tracker may take to answer. libtorrent: 10 s to 60 s.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(15);

/// How much of a live stream is kept for a reader that does not read. NextShare: 5 s.
const LIVE_BUFFER: Duration = Duration::from_secs(5);

/// How long a disk that failed is left alone before a download tries again to begin.
const DISK_REST: Duration = Duration::from_secs(15);

/// How often a piece is read, when the disk fails to, before it counts as missing.
const READS_MAX: u32 = 3;

/// How often resume data is saved while pieces come in, and with it their bytes
/// are made safe from a loss of power: what that may cost of the download.
const SAVE_INTERVAL: Duration = Duration::from_secs(10);

/// A download's settings.
#[derive(Debug, Clone)]
pub struct DownloadOptions {
    /// Exchange peers with peers. BEP 11.
    pub pex: bool,
    /// Speak the fast extension. BEP 6.
    pub fast: bool,
    /// What it proves itself with, if the torrent's swarm is closed.
    pub membership: Option<Membership>,
    /// Announce to the torrent's tracker, if it names one.
    pub announce: bool,
    /// Give the metadata to whom asks for it. BEP 9; never of a private torrent (BEP 27).
    pub metadata: bool,
    /// Get these files only, by their index in the metainfo; empty is all of them. BEP 53.
    pub select: Vec<RangeInclusive<u32>>,
    /// Prefer the connections of the greatest priority. BEP 40.
    pub peer_priority: bool,
    /// Say that a piece is here no more when it cannot be read, and take such word.
    /// BEP 54.
    pub dont_have: bool,
    /// While all is here, show each peer a piece at a time, and the next one once others
    /// have that. BEP 16.
    pub super_seed: bool,
    /// Say that nothing more is wanted, once that is so. BEP 21.
    pub upload_only: bool,
    /// Only share what is here: if that is not all of the content, end with an error,
    /// rather than write into a folder that was given to read from.
    pub seed_only: bool,
    /// Peers to start from.
    pub peers: Vec<SocketAddr>,
    /// Peers unchoked at a time (count). libtorrent defaults to 8.
    pub upload_slots: usize,
    /// Between two rounds of the choker. BEP 3: 10 s.
    pub choke_round: Duration,
    /// Whom to prefer among those who would download.
    pub locality: Locality,
    /// Connections at a time (count).
    pub connections_max: usize,
    /// Play this while it comes in; see [`Download::stream`].
    pub stream: Option<Video>,
    /// Our part in the live stream, if the content is one; [`Download::stream`] reads
    /// what is watched.
    pub live: Option<Live>,
    /// Connections at a time, beyond which it opens none itself (count): the rest of
    /// them is for who comes to it.
    pub initiate_max: usize,
    /// Who is told how it stands, and how often.
    pub monitoring: Option<Monitoring>,
    /// Bugs written back in.
    pub defects: Defects,
}

impl Default for DownloadOptions {
    fn default() -> DownloadOptions {
        DownloadOptions {
            pex: true,
            fast: true,
            membership: None,
            announce: true,
            metadata: false,
            select: Vec::new(),
            peer_priority: false,
            dont_have: false,
            super_seed: false,
            upload_only: false,
            seed_only: false,
            peers: Vec::new(),
            upload_slots: 8,
            choke_round: Duration::from_secs(10),
            locality: Locality::Anywhere,
            connections_max: 50,
            stream: None,
            live: None,
            initiate_max: 50,
            monitoring: None,
            defects: Defects::NONE,
        }
    }
}

/// What a download is told from outside.
pub(crate) enum Command<S> {
    Accept(Inbound<S>),
    AddPeers(Vec<SocketAddr>),
    Seek { stream: u64, at: u64 },
    Taken { stream: u64, bytes: u64 },
    Pause { paused: bool },
    Stop(ShutdownOptions),
}

/// How something is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShutdownOptions {
    /// Save what is needed to go on another time: which pieces are here. Without it
    /// downloads end as orderly, but what they did since they last saved is to be
    /// checked again.
    pub checkpoint: bool,
    /// How long the parting may take: the last announces, and callbacks that run.
    /// What has not ended by then is cut off. libtorrent: 5 s for the announces.
    pub grace: Duration,
}

impl Default for ShutdownOptions {
    fn default() -> ShutdownOptions {
        ShutdownOptions { checkpoint: true, grace: Announcer::STOP_GRACE }
    }
}

/// A connection from a remote that said which torrent it wants.
pub(crate) struct Inbound<S> {
    pub(crate) stream: S,
    pub(crate) from: SocketAddr,
    /// Its handshake, and what came after it.
    pub(crate) bytes: BytesMut,
    /// Counts those that wait to be taken in: a download that checks its content takes in
    /// nobody.
    pub(crate) _waiting: Rc<()>,
}

/// A user's handle to a download; the session keeps the download running.
pub struct Download<S> {
    info_hash: InfoHash,
    commands: mpsc::UnboundedSender<Command<S>>,
    status: watch::Receiver<Status>,
    buffer: Rc<Buffer>,
}

impl<S> Clone for Download<S> {
    fn clone(&self) -> Self {
        Download {
            info_hash: self.info_hash,
            commands: self.commands.clone(),
            status: self.status.clone(),
            buffer: self.buffer.clone(),
        }
    }
}

impl<S> Download<S> {
    /// Which torrent it is.
    pub fn info_hash(&self) -> InfoHash {
        self.info_hash
    }

    /// How it stands: as of the last time that its state, its pieces or the number
    /// of its peers changed.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Waits until `wanted` holds of the status, and returns that; the last one if
    /// the download ends before.
    pub async fn wait_for(&self, wanted: impl FnMut(&Status) -> bool) -> Status {
        let mut status = self.status.clone();
        match status.wait_for(wanted).await {
            Ok(reached) => reached.clone(),
            Err(_) => self.status(),
        }
    }

    /// Tells it of peers to dial.
    pub fn add_peers(&self, addrs: Vec<SocketAddr>) {
        // One that has ended has no use for them.
        let _ = self.commands.send(Command::AddPeers(addrs));
    }

    /// Reads what [`DownloadOptions::stream`] names, from its byte `at` on, in order
    /// and as it comes in. Of a download that is not streamed nothing ever comes.
    pub fn stream(&self, at: u64) -> Stream<S> {
        Stream::open(self.commands.clone(), self.buffer.clone(), at)
    }

    /// Asks it to stop; [`Download::stopped`] tells when it has. Asked again, it goes
    /// on stopping as it was asked first.
    pub fn stop(&self, options: ShutdownOptions) {
        // One that has ended need not be asked.
        let _ = self.commands.send(Command::Stop(options));
    }

    /// Waits until it has stopped: connections closed, the tracker told, resume data
    /// saved if that was asked for.
    pub async fn stopped(&self) {
        self.wait_for(|status| status.state.is_over()).await;
    }

    pub(crate) fn commands(&self) -> mpsc::UnboundedSender<Command<S>> {
        self.commands.clone()
    }
}

/// What a torrent's download is called as a task: the first digits of its info-hash
/// are enough to tell a few apart.
pub(crate) fn name(info_hash: InfoHash) -> String {
    format!("download {}", &info_hash.to_string()[..8])
}

/// What is to be downloaded.
pub(crate) enum Subject {
    Torrent(Rc<Metainfo>),
    /// Its metadata is still to be had.
    Magnet(Magnet),
}

impl Subject {
    pub(crate) fn info_hash(&self) -> InfoHash {
        match self {
            Subject::Torrent(metainfo) => metainfo.info_hash,
            Subject::Magnet(magnet) => magnet.info_hash,
        }
    }

    /// Pieces (count); 0 while nobody knows.
    fn pieces(&self) -> u32 {
        match self {
            Subject::Torrent(metainfo) => metainfo.info.layout().pieces(),
            Subject::Magnet(_) => 0,
        }
    }

    /// Whether it is a live stream, as far as one knows.
    fn is_live(&self) -> bool {
        match self {
            Subject::Torrent(metainfo) => metainfo.info.live_key().is_some(),
            Subject::Magnet(_) => false,
        }
    }
}

/// A download that does not run yet: its handle, and what is to be run.
pub(crate) fn new<N: Network, E: Env, D: Disk>(
    network: N,
    env: E,
    disk: D,
    shared: Shared,
    port: u16,
    subject: Subject,
    options: DownloadOptions,
) -> (Download<N::Stream>, Driver<N, E, D>) {
    let (info_hash, pieces) = (subject.info_hash(), subject.pieces());
    let (commands, received) = mpsc::unbounded_channel();
    let mut rng = env.rng(&format!("torrent {info_hash}"));
    let peer_id = PeerId::generate(&mut rng);
    let waiting = Status::waiting(info_hash, peer_id, pieces, env.now());
    let status = if subject.is_live() { waiting.of_live() } else { waiting };
    let (told, status) = watch::channel(status);
    let buffer = Rc::new(Buffer::default());
    let download = Download { info_hash, commands, status, buffer: buffer.clone() };
    let errands = shared.timetable.begin(options.defects);
    let chain = options
        .monitoring
        .clone()
        .map(|monitoring| Chain::new(env.clone(), monitoring, errands.clone(), options.defects));
    let driver = Driver {
        network,
        env,
        disk,
        shared,
        errands,
        chain,
        port,
        subject,
        options,
        commands: received,
        early: Vec::new(),
        status: told,
        buffer,
        peer_id,
        rng,
    };
    (download, driver)
}

/// What runs a download.
pub(crate) struct Driver<N: Network, E, D> {
    network: N,
    env: E,
    disk: D,
    shared: Shared,
    errands: Errands,
    /// The reports of this life; `None` if nobody watches.
    chain: Option<Chain<E>>,
    port: u16,
    subject: Subject,
    options: DownloadOptions,
    commands: mpsc::UnboundedReceiver<Command<N::Stream>>,
    /// What it was told before it was ready for it.
    early: Vec<Command<N::Stream>>,
    status: watch::Sender<Status>,
    /// What is handed to who plays it.
    buffer: Rc<Buffer>,
    peer_id: PeerId,
    rng: ChaCha8Rng,
}

impl<N: Network, E: Env, D: Disk> Driver<N, E, D> {
    /// Runs the download to its end.
    pub(crate) async fn run(mut self) {
        self.report();
        let ended = self.download().await;
        self.errands.end();
        if let Err(error) = &ended {
            tracing::error!(%error, "download ended");
        }
        self.buffer.stop();
        let told = matches!(ended, Ok(End::TornDown { .. }));
        let error = match ended {
            Ok(End::TornDown { unsaved }) => unsaved,
            Ok(End::Early) => None,
            Err(error) => Some(error.to_string()),
        };
        let at = self.env.now();
        self.status.send_modify(|status| *status = status.clone().ended(error, at));
        if !told {
            self.report();
        }
    }

    /// Tells those who watch how the download stands.
    fn report(&self) {
        if let Some(chain) = &self.chain {
            chain.tell(&self.status.borrow());
        }
    }

    async fn download(&mut self) -> io::Result<End> {
        let (network, env, shared) = (self.network.clone(), self.env.clone(), self.shared.clone());
        let (mut links, mut received) = Links::new(network, env, shared, self.name());
        let before = match self.find_metadata(&mut links, &mut received).await? {
            Some(before) => before,
            None => {
                links.shutdown().await;
                return Ok(End::Early);
            }
        };
        let metainfo = self.metainfo();
        let live = live::options(self.options.live.as_ref(), &metainfo.info)?;
        let (storage, resume, hashes) = match self.find_content().await? {
            Some(found) => found,
            None => return Ok(End::Early),
        };
        links.set_trackers(Trackers::new(metainfo.trackers(), &mut self.rng));
        let start = Start {
            info_hash: metainfo.info_hash,
            layout: metainfo.info.layout(),
            private: metainfo.info.is_private(),
            torrent_keys: metainfo.info.torrent_keys().to_vec(),
            have: resume.verified.clone(),
            hashes,
            announce: self.options.announce && !metainfo.trackers().is_empty(),
            totals: (resume.downloaded, resume.uploaded),
        };
        let now = self.env.now();
        let mut torrent = Torrent::new(Config { live, ..self.config() }, start, now, &mut self.rng);
        if self.options.metadata {
            torrent = torrent.with_metadata(metainfo.info.raw().clone());
        }
        if !self.options.select.is_empty() {
            let wanted = metainfo.info.pieces_of(&self.options.select);
            if wanted.is_empty() {
                let message =
                    format!("none of the {} files is selected", metainfo.info.files().len());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
            torrent = torrent.wanting(&wanted);
        }
        if let Some(before) = before {
            torrent = torrent.after(before);
        }
        if self.options.defects.has(Defect::TaskWithoutOwner) {
            let env = self.env.clone();
            self.env.spawn("saver", async move {
                loop {
                    env.sleep_until(env.now() + SAVE_INTERVAL).await;
                }
            });
        }
        let mut running = Running {
            torrent,
            storage,
            links,
            received,
            announce_failing: false,
            hashes_kept: 0,
            stopping: None,
            saving: false,
            parting: false,
            torn_down: false,
            metainfo,
            unwritten: BTreeMap::new(),
            unsaved: None,
            driver: self,
        };
        let ended = running.run().await;
        let unsaved = running.unsaved.take();
        running.links.shutdown().await;
        ended.map(|()| End::TornDown { unsaved })
    }

    /// The settings of the torrent.
    fn config(&self) -> Config {
        Config {
            pex: self.options.pex,
            fast: self.options.fast,
            peer_priority: self.options.peer_priority,
            dont_have: self.options.dont_have,
            read_only: self.options.seed_only,
            super_seed: self.options.super_seed,
            upload_only: self.options.upload_only,
            membership: self.options.membership.clone(),
            unix_epoch_s: self.env.unix_epoch().as_secs(),
            upload_slots: self.options.upload_slots,
            choke_round: self.options.choke_round,
            locality: self.options.locality,
            connections_max: self.options.connections_max,
            stream: self.options.stream,
            initiate_max: self.options.initiate_max,
            transcript: self.env.listens(),
            defects: self.options.defects,
            ..Config::new(self.peer_id, self.port)
        }
    }

    /// What the torrent says. To be asked only once that is known.
    fn metainfo(&self) -> Rc<Metainfo> {
        match &self.subject {
            Subject::Torrent(metainfo) => metainfo.clone(),
            Subject::Magnet(_) => unreachable!("the metadata comes before everything else"),
        }
    }

    /// Finds out which pieces are on the disk: what the resume data says was
    /// verified, and what hashes right of the rest. `None` if told to stop
    /// meanwhile.
    async fn find_content(
        &mut self,
    ) -> io::Result<Option<(Storage<D>, ResumeData, Option<HashTree>)>> {
        let at = self.env.now();
        self.status.send_modify(|status| {
            *status = Status { state: State::Checking, at, ..status.clone() }
        });
        let metainfo = self.metainfo();
        let info = &metainfo.info;
        let files = info.files().iter().map(|file| (file.path.iter().collect(), file.length));
        let storage = Storage::new(self.disk.clone(), files.collect(), info.layout());
        let info_hash = metainfo.info_hash;
        let mut found = match ResumeData::load(&storage, info_hash, &self.disk, &self.resume_path())
        {
            Ok(Some(resume)) => resume,
            Ok(None) => ResumeData::new(info_hash, info.layout()),
            Err(error) => {
                tracing::warn!(%error, "checking the whole content");
                ResumeData::new(info_hash, info.layout())
            }
        };
        while !self.options.seed_only
            && let Err(error) = storage.prepare()
        {
            tracing::warn!(%error, "cannot make files; trying on");
            let trouble = Some(error.to_string());
            self.status.send_modify(|status| *status = Status { trouble, ..status.clone() });
            if self.is_stopped_within(DISK_REST).await {
                return Ok(None);
            }
        }
        if info.live_key().is_some() {
            return Ok(Some((storage, ResumeData::new(info_hash, info.layout()), None)));
        }
        let mut search = PieceSearch::new(info, kept_tree(info, info_hash, &self.disk));
        // Of a piece that was verified the hash may be lost since. BEP 30.
        found.verified = search.provable(&found.verified);
        for piece in 0..info.layout().pieces() {
            if found.verified.contains(piece) {
                continue;
            }
            let mut looked = search.look(piece, &storage);
            for _ in 1..READS_MAX {
                if looked.is_err() {
                    looked = search.look(piece, &storage);
                }
            }
            match looked {
                Ok(true) => _ = found.verified.insert(piece),
                Ok(false) => {}
                Err(error) => tracing::warn!(piece, %error, "cannot read a piece; it is got anew"),
            }
            let (at, verified, trouble) = (self.env.now(), found.verified.count(), None);
            self.status
                .send_modify(|status| *status = Status { at, verified, trouble, ..status.clone() });
            while let Some(Work::Report) = self.errands.pop(at) {
                self.report();
            }
            // Let the user's word, and everybody else, in between.
            self.env.sleep_until(at).await;
            if self.is_told_to_stop() {
                return Ok(None);
            }
        }
        let (whole, hashes) = search.end(&storage);
        if whole {
            found.verified = Bitfield::full(info.layout().pieces());
        }
        if self.options.seed_only {
            all_here(&storage, info, &found.verified)?;
        }
        Ok(Some((storage, found, hashes)))
    }

    /// Whether the user's next word is to stop. If nobody is left to say one, `Running`
    /// sees it.
    fn is_told_to_stop(&mut self) -> bool {
        match self.commands.try_recv() {
            Ok(Command::Stop(_)) => true,
            Ok(command) => {
                self.early.push(command);
                false
            }
            Err(_) => false,
        }
    }

    /// Lets time go by, unless it is told to stop, or nobody is left who could tell it.
    async fn is_stopped_within(&mut self, time: Duration) -> bool {
        let (env, until) = (self.env.clone(), self.env.now() + time);
        loop {
            race! {
                command = self.commands.recv() => match command {
                    Some(Command::Stop(_)) | None => return true,
                    Some(command) => self.early.push(command),
                },
                () = env.sleep_until(until) => return false,
            }
        }
    }

    /// What it is called as a task.
    fn name(&self) -> String {
        name(self.subject.info_hash())
    }

    fn resume_path(&self) -> PathBuf {
        ResumeData::path(self.subject.info_hash())
    }
}

/// How a download that had no error came to its end.
enum End {
    /// Before it began.
    Early,
    /// Those who watch have been told, and it has let go of everything.
    TornDown {
        /// Why what it came to was not saved, if that was to be and was not.
        unsaved: Option<String>,
    },
}

/// A download between its initial check and its end.
struct Running<'a, N: Network, E, D: Disk> {
    driver: &'a mut Driver<N, E, D>,
    torrent: Torrent,
    storage: Storage<D>,
    links: Links<N, E>,
    received: mpsc::Receiver<Input>,
    /// The last announce failed, and that has been logged.
    announce_failing: bool,
    /// Nodes of a Merkle torrent's tree that are kept on the disk (count).
    hashes_kept: usize,
    /// How it is to stop, once it was asked to.
    stopping: Option<ShutdownOptions>,
    /// Whether resume data is to be saved at some time, because there is something
    /// new in it.
    saving: bool,
    /// The torrent has stopped, and its last work was put down.
    parting: bool,
    /// That work was done: nothing of the download may be called any more.
    torn_down: bool,
    metainfo: Rc<Metainfo>,
    /// Pieces of which the disk has failed to keep a block, and what it said.
    unwritten: BTreeMap<u32, io::Error>,
    /// Why resume data could not be saved the last time.
    unsaved: Option<String>,
}

impl<N: Network, E: Env, D: Disk> Running<'_, N, E, D> {
    async fn run(&mut self) -> io::Result<()> {
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
            Some(Command::Accept(inbound)) => self.accept(inbound),
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

    /// Does what the torrent says, up to the first output that has an answer.
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
                    let unwritten = |error: io::Error| {
                        let reason = format!("writing piece {piece}: {error}");
                        Input::PieceUnwritten { piece, reason }
                    };
                    return Ok(Some(self.check(piece, hash).unwrap_or_else(unwritten)));
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
        Ok(None)
    }

    /// Ends the download of a piece.
    fn check(&mut self, piece: u32, hash: Option<[u8; 20]>) -> io::Result<Input> {
        if let Some(error) = self.unwritten.remove(&piece) {
            self.storage.forget(piece);
            return Err(error);
        }
        if let Some(key) = self.metainfo.info.live_key() {
            let sequence = self.storage.finish_sealed(piece, &key)?;
            return Ok(Input::PieceOpened { piece, sequence });
        }
        let expected = hash.or(self.metainfo.info.piece_hash(piece));
        let expected = expected.expect("it is in the metainfo or proven");
        let valid = self.storage.finish(piece, &expected)?;
        Ok(Input::PieceChecked { piece, valid })
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
        let peers = self.torrent.connections().filter(|peer| peer.is_established()).count();
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
