//! One torrent of a session: the task that drives its state machine, and the
//! handle that its user holds.

mod magnet;
mod running;

use std::{
    cell::Cell,
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    ops::RangeInclusive,
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

use bytes::BytesMut;
use rand_chacha::ChaCha8Rng;
use reseed_protocol::{
    Defect, Defects, HashTree, InfoHash, Locality, Magnet, PeerId, State, Status, Time, Video,
    extension::closed_swarm::Membership,
    metainfo::Metainfo,
    torrent::{Config, Input, Start, Torrent},
    tracker::{Announcer, Trackers},
};
use tokio::sync::{mpsc, watch};

use self::running::Running;
use crate::{
    Disk, Env, Live, Monitoring, Network, ResumeData, Storage, Work,
    errands::Errands,
    hashes::{PieceSearch, all_here, kept_tree},
    links::Links,
    live,
    monitor::Chain,
    peer::Shared,
    race,
    storage::LANES,
    stream::{Buffer, Stream},
};

/// How long a tracker may take to answer. libtorrent: 10 s to 60 s.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a disk that failed is left alone before a download tries again to begin.
const DISK_REST: Duration = Duration::from_secs(15);

/// How often a piece is read, when the disk fails to, before it counts as missing.
const READS_MAX: u32 = 3;

/// Bytes that are looked at before others have a turn, unless a single piece is longer.
const LOOK_MAX: usize = 16 << 20;

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

/// What a download is told from outside. A connection is in a box, being rare and much
/// larger than the others.
pub(crate) enum Command<S> {
    Accept(Box<Inbound<S>>),
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

    /// A download of it, with these options, that has not done anything yet.
    fn waiting(&self, options: &DownloadOptions, peer_id: PeerId, at: Time) -> Status {
        let waiting = Status::waiting(self.info_hash(), peer_id, self.pieces(), at);
        let is_live = match self {
            Subject::Torrent(metainfo) => metainfo.info.live_key().is_some(),
            // Nobody else knows yet.
            Subject::Magnet(_) => options.live.is_some(),
        };
        if is_live { waiting.of_live() } else { waiting }
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
    let info_hash = subject.info_hash();
    let (commands, received) = mpsc::unbounded_channel();
    let mut rng = env.rng(&format!("torrent {info_hash}"));
    let peer_id = PeerId::generate(&mut rng);
    let (told, status) = watch::channel(subject.waiting(&options, peer_id, env.now()));
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
        // In a box: a download that runs needs no more of what led to that.
        let Some(begun) = Box::pin(self.find()).await? else { return Ok(End::Early) };
        let Begun { torrent, storage, links, received } = *begun;
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
            metainfo: self.metainfo(),
            complete: Vec::new(),
            verdicts: VecDeque::new(),
            unwritten: BTreeMap::new(),
            unsaved: None,
            peers: Cell::new(None),
            driver: self,
        };
        let ended = running.run().await;
        let unsaved = running.unsaved.take();
        running.links.shutdown().await;
        ended.map(|()| End::TornDown { unsaved })
    }

    /// Finds out what the torrent says and what of it is here; `None` if it was stopped
    /// before that was known.
    async fn find(&mut self) -> io::Result<Option<Box<Begun<N, E, D>>>> {
        let (network, env, shared) = (self.network.clone(), self.env.clone(), self.shared.clone());
        let (mut links, mut received) = Links::new(network, env, shared, self.name());
        let fetched = match self.find_metadata(&mut links, &mut received).await? {
            Some(fetched) => fetched,
            None => {
                links.shutdown().await;
                return Ok(None);
            }
        };
        let (torrent, storage) = match self.find_torrent(&mut links).await {
            Ok(found) => found,
            Err(unbegun) => {
                let (stop, ended) = match unbegun {
                    Unbegun::Stopped(options) => (options, Ok(None)),
                    Unbegun::Failed(error) => (ShutdownOptions::default(), Err(error)),
                };
                if let Some(fetch) = fetched {
                    self.part(fetch, &mut links, &mut received, stop).await;
                }
                links.shutdown().await;
                return ended;
            }
        };
        let torrent = match fetched {
            Some(fetch) => torrent.after(fetch.hand_over()),
            None => torrent,
        };
        if self.options.defects.has(Defect::TaskWithoutOwner) {
            let env = self.env.clone();
            self.env.spawn("saver", async move {
                loop {
                    env.sleep_until(env.now() + SAVE_INTERVAL).await;
                }
            });
        }
        Ok(Some(Box::new(Begun { torrent, storage, links, received })))
    }

    /// The torrent, as far as its content is here, and where that is.
    async fn find_torrent(
        &mut self,
        links: &mut Links<N, E>,
    ) -> Result<(Torrent, Storage<D>), Unbegun> {
        let metainfo = self.metainfo();
        let live = live::options(self.options.live.as_ref(), &metainfo.info)?;
        let wanted = metainfo.info.pieces_of(&self.options.select);
        if wanted.is_empty() && !self.options.select.is_empty() {
            let message = format!("none of the {} files is selected", metainfo.info.files().len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message).into());
        }
        let (storage, resume, hashes) = self.find_content().await?;
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
        if !wanted.is_empty() {
            torrent = torrent.wanting(&wanted);
        }
        Ok((torrent, storage))
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
    /// verified, and what hashes right of the rest.
    async fn find_content(
        &mut self,
    ) -> Result<(Storage<D>, ResumeData, Option<HashTree>), Unbegun> {
        let at = self.env.now();
        self.status.send_modify(|status| {
            *status = Status { state: State::Checking, at, ..status.clone() }
        });
        let metainfo = self.metainfo();
        let info = &metainfo.info;
        let files = info.files().iter().map(|file| (file.path.iter().collect(), file.length));
        let storage = Storage::new(self.disk.clone(), files.collect(), info.layout());
        let info_hash = metainfo.info_hash;
        let (path, mut disbelieved) = (self.resume_path(), false);
        let mut found = match ResumeData::load(&storage, info_hash, &self.disk, &path) {
            Ok(Some(resume)) => resume,
            Ok(None) => ResumeData::new(info_hash, info.layout()),
            Err(error) => {
                tracing::warn!(%error, "checking the whole content");
                disbelieved = true;
                ResumeData::new(info_hash, info.layout())
            }
        };
        // What was not believed may be, once the files are there: it goes first.
        let disk = self.disk.clone();
        let begin = || {
            if disbelieved {
                found.save_unsynced(&storage, &disk, &path).map_err(io::Error::other)?;
            }
            storage.prepare()
        };
        while !self.options.seed_only
            && let Err(error) = begin()
        {
            tracing::warn!(%error, "cannot make files; trying on");
            let trouble = Some(error.to_string());
            self.status.send_modify(|status| *status = Status { trouble, ..status.clone() });
            if let Some(stop) = self.stopped_within(DISK_REST).await {
                return Err(Unbegun::Stopped(stop));
            }
        }
        if info.live_key().is_some() {
            return Ok((storage, ResumeData::new(info_hash, info.layout()), None));
        }
        let mut search = PieceSearch::new(info, kept_tree(info, info_hash, &self.disk));
        // Of a piece that was verified the hash may be lost since. BEP 30.
        found.verified = search.provable(&found.verified);
        // Most often there is nothing yet, and of that nothing need be read.
        let within = storage.within_files();
        let unknown: Vec<u32> =
            within.iter().filter(|piece| !found.verified.contains(*piece)).collect();
        let at_once = LOOK_MAX / info.layout().piece_length() as usize;
        for pieces in unknown.chunks(at_once.clamp(1, LANES)) {
            let looked = search.look(pieces, &storage);
            for (piece, mut looked) in pieces.iter().copied().zip(looked) {
                for _ in 1..READS_MAX {
                    if looked.is_err() {
                        looked = search.look(&[piece], &storage).pop().expect("one was asked for");
                    }
                }
                match looked {
                    Ok(true) => _ = found.verified.insert(piece),
                    Ok(false) => {}
                    Err(error) => {
                        tracing::warn!(piece, %error, "cannot read a piece; it is got anew");
                    }
                }
            }
            let (at, verified, trouble) = (self.env.now(), found.verified.count(), None);
            self.status
                .send_modify(|status| *status = Status { at, verified, trouble, ..status.clone() });
            self.report_if_due();
            // Let the user's word, and everybody else, in between.
            self.env.sleep_until(at).await;
            if let Some(stop) = self.told_to_stop() {
                return Err(Unbegun::Stopped(stop));
            }
        }
        let (proven, hashes) = search.end(&storage);
        proven.into_iter().for_each(|piece| _ = found.verified.insert(piece));
        if self.options.seed_only {
            all_here(&storage, info, &found.verified)?;
        }
        Ok((storage, found, hashes))
    }

    /// How it is to stop, if that is the user's next word. If nobody is left to say one,
    /// `Running` sees it.
    fn told_to_stop(&mut self) -> Option<ShutdownOptions> {
        match self.commands.try_recv() {
            Ok(Command::Stop(options)) => Some(options),
            Ok(command) => {
                self.early.push(command);
                None
            }
            Err(_) => None,
        }
    }

    /// Lets time go by, unless it is told to stop, or nobody is left who could tell it.
    /// Those who watch hear of it meanwhile.
    async fn stopped_within(&mut self, time: Duration) -> Option<ShutdownOptions> {
        let (env, errands) = (self.env.clone(), self.errands.clone());
        let until = env.now() + time;
        while env.now() < until {
            let next = errands.next().map_or(until, |due| due.min(until));
            race! {
                command = self.commands.recv() => match command {
                    Some(Command::Stop(options)) => return Some(options),
                    None => return Some(ShutdownOptions::default()),
                    Some(command) => self.early.push(command),
                },
                () = env.sleep_until(next) => self.report_if_due(),
                () = errands.changed() => {}
            }
        }
        None
    }

    /// Makes the reports whose time has come.
    fn report_if_due(&mut self) {
        while let Some(Work::Report) = self.errands.pop(self.env.now()) {
            self.report();
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

/// What a download runs with.
struct Begun<N, E, D: Disk> {
    torrent: Torrent,
    storage: Storage<D>,
    links: Links<N, E>,
    received: mpsc::Receiver<Input>,
}

/// Why a download did not begin.
enum Unbegun {
    /// It was told to stop before.
    Stopped(ShutdownOptions),
    Failed(io::Error),
}

impl From<io::Error> for Unbegun {
    fn from(error: io::Error) -> Unbegun {
        Unbegun::Failed(error)
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
