//! A real peer on this machine: what `reseed get` and `reseed seed` share.

mod display;
mod endpoint;
mod interrupts;

use std::{
    collections::BTreeSet,
    fs, io,
    net::SocketAddr,
    num::NonZeroU64,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use futures_util::future::join;
use indicatif::MultiProgress;
use miette::{Report, miette};
use reseed_client::{
    App, AppOptions, Disk, DownloadOptions, Env, ExitWhen, FileDisk, Monitoring, Network,
    SessionOptions, ShutdownOptions, State, Status, Tasks, TokioEnv, TokioNetwork,
};
use reseed_protocol::{Defects, InfoHash, Magnet, Metainfo};
use tokio::{sync::mpsc, task::LocalSet};

use super::{Stop, folder::cannot_write};
use display::Display;
pub use endpoint::Endpoint;

/// How often it is looked whether all is done.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// What may be chosen about a peer.
#[derive(clap::Args)]
pub struct Options {
    /// A peer to connect to; may be given several times
    #[arg(long = "peer", value_name = "HOST:PORT", value_parser = Endpoint::parse_peer)]
    pub peers: Vec<Endpoint>,
    /// Leave the torrent's tracker alone
    #[arg(long)]
    pub no_tracker: bool,
    /// Neither ask peers for other peers nor tell them of any
    #[arg(long)]
    pub no_pex: bool,
    /// Send at most so many bytes a second
    #[arg(long, value_name = "BYTES")]
    pub upload_limit: Option<NonZeroU64>,
    /// Receive at most so many bytes a second
    #[arg(long, value_name = "BYTES")]
    pub download_limit: Option<NonZeroU64>,
}

/// What a peer is to do.
pub struct Peer<'a> {
    pub subject: Subject,
    /// Where the content is, or is to be.
    pub folder: &'a Path,
    pub listen: SocketAddr,
    /// Whom to connect to.
    pub peers: Vec<SocketAddr>,
    pub options: &'a Options,
    pub role: Role,
    /// The files to get; empty is all of them.
    pub select: Vec<RangeInclusive<u32>>,
    /// Whether each peer is shown a piece at a time. BEP 16.
    pub super_seed: bool,
}

/// What is to be shared.
pub enum Subject {
    Torrent(Metainfo),
    Magnet(Magnet),
}

/// What it does with its torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Gets it, and when it has it shares it for so long.
    Leecher { stay: Duration },
    /// Shares what is here already, until it is interrupted.
    Seed,
}

/// All of the content is here.
pub struct Whole {
    /// Where the peer listens, and shares it.
    pub at: SocketAddr,
    /// Pieces that were here before it began (count).
    pub found: u32,
    /// From when it knew that, to when the last piece came.
    pub took: Duration,
    /// How the download stands.
    pub status: Status,
}

impl Peer<'_> {
    /// Runs it to its end, and returns how the download stood then. `told` is called
    /// once, as soon as all of the content is here.
    pub fn run(
        self,
        bars: &MultiProgress,
        told: impl FnOnce(Whole) -> io::Result<()>,
    ) -> Result<Status, Stop> {
        block_on(self.live(bars, told))?
    }

    async fn live(
        self,
        bars: &MultiProgress,
        told: impl FnOnce(Whole) -> io::Result<()>,
    ) -> Result<Status, Stop> {
        let env = TokioEnv::new().map_err(|error| miette!("cannot get randomness: {error}"))?;
        let disk = FileDisk::new(self.folder);
        let mut app =
            App::start(TokioNetwork::listening_at(self.listen.ip()), env.clone(), disk, self.app())
                .await
                .map_err(|error| miette!("{error}"))?;
        if self.role != Role::Seed {
            make_folder(self.folder).map_err(|error| cannot_write(self.folder, &error))?;
        }
        let (at, tasks) = (app.local_addr(), Tasks::new());
        let (interrupt, interrupts) = mpsc::unbounded_channel();
        interrupts::forward(&tasks, &env, interrupt.clone())
            .map_err(|error| miette!("cannot wait for signals: {error}"))?;
        let display = Rc::new(Display::new(bars, &self.subject.name()));
        let monitoring = Monitoring {
            callbacks: app.callbacks(),
            interval: Display::INTERVAL,
            reporters: vec![display.clone()],
        };
        let download = DownloadOptions {
            pex: !self.options.no_pex,
            announce: !self.options.no_tracker,
            metadata: true,
            peer_priority: true,
            dont_have: true,
            super_seed: self.super_seed,
            upload_only: true,
            select: self.select,
            seed_only: self.role == Role::Seed,
            peers: self.peers,
            monitoring: Some(monitoring),
            ..DownloadOptions::default()
        };
        let download = match self.subject {
            Subject::Torrent(metainfo) => app.add(metainfo, download),
            Subject::Magnet(magnet) => app.add_magnet(magnet, download),
        };
        let download = download.expect("it is the only one");
        let watched = async {
            let known = |status: &Status| status.state >= State::Downloading;
            let found = download.wait_for(known).await.verified;
            let begun = env.now();
            let all = |status: &Status| status.state == State::Seeding || status.state.is_over();
            let status = download.wait_for(all).await;
            let told = match status.state {
                State::Seeding => {
                    let whole = Whole { at, found, took: env.now() - begun, status };
                    bars.suspend(|| told(whole))
                }
                _ => Ok(()),
            };
            if told.is_ok() {
                download.wait_for(|status| status.state == State::Failed).await;
            }
            // Nobody is left to be interrupted if it has ended by itself.
            let _ = interrupt.send(());
            told
        };
        let (_, told) = join(app.run(interrupts), watched).await;
        tasks.shutdown().await;
        display.clear();
        told?;
        Ok(download.status())
    }

    fn app(&self) -> AppOptions {
        AppOptions {
            session: SessionOptions {
                listen: self.listen,
                upload_limit: self.options.upload_limit,
                download_limit: self.options.download_limit,
                defects: Defects::NONE,
            },
            exit_when: match self.role {
                Role::Leecher { stay: Duration::ZERO } => Some(ExitWhen::AllFinished),
                Role::Leecher { stay } => Some(ExitWhen::Seeded(stay)),
                Role::Seed => None,
            },
            poll_interval: POLL_INTERVAL,
            // Who shares a folder did not ask for a file more in it.
            shutdown: ShutdownOptions {
                checkpoint: self.role != Role::Seed,
                ..ShutdownOptions::default()
            },
        }
    }
}

impl Subject {
    /// Reads a magnet link, or the .torrent file at that path.
    pub fn read(text: &str) -> miette::Result<Subject> {
        if !text.starts_with("magnet:") {
            return read_torrent(Path::new(text)).map(Subject::Torrent);
        }
        text.parse().map(Subject::Magnet).map_err(|error| miette!("{error}"))
    }

    /// What to call it.
    pub fn name(&self) -> String {
        match self {
            Subject::Torrent(metainfo) => metainfo.info.name().to_owned(),
            Subject::Magnet(Magnet { name: Some(name), .. }) => name.clone(),
            Subject::Magnet(magnet) => magnet.info_hash.to_string(),
        }
    }

    /// Which torrent it is.
    pub fn info_hash(&self) -> InfoHash {
        match self {
            Subject::Torrent(metainfo) => metainfo.info_hash,
            Subject::Magnet(magnet) => magnet.info_hash,
        }
    }

    /// The announce URLs of its trackers, each once.
    pub fn trackers(&self) -> Vec<String> {
        let mut trackers = match self {
            Subject::Torrent(metainfo) => metainfo.trackers().concat(),
            Subject::Magnet(magnet) => magnet.trackers.clone(),
        };
        let mut seen = BTreeSet::new();
        trackers.retain(|tracker| seen.insert(tracker.clone()));
        trackers
    }

    /// Whether it names a tracker.
    pub fn has_tracker(&self) -> bool {
        match self {
            Subject::Torrent(metainfo) => !metainfo.trackers().is_empty(),
            Subject::Magnet(magnet) => !magnet.trackers.is_empty(),
        }
    }
}

/// Reads a .torrent file.
pub fn read_torrent(path: &Path) -> miette::Result<Metainfo> {
    let shown = path.display();
    let bytes =
        fs::read(path).map_err(|error| miette!("cannot read the torrent {shown}: {error}"))?;
    Metainfo::from_bytes(&bytes).map_err(|error| miette!("{shown} is no torrent: {error}"))
}

/// The addresses of `endpoints`.
pub fn resolve(endpoints: &[Endpoint]) -> miette::Result<Vec<SocketAddr>> {
    block_on(async {
        let mut addrs = Vec::new();
        for endpoint in endpoints {
            let found = TokioNetwork::new().resolve(endpoint.host(), endpoint.port()).await;
            addrs.extend(found.map_err(|error| miette!("cannot look up {endpoint}: {error}"))?);
        }
        Ok(addrs)
    })?
}

/// Holds that nothing but plain files, or nothing at all, is where the files of
/// `metainfo` belong in `folder`.
pub fn has_room(metainfo: &Metainfo, folder: &Path) -> miette::Result<()> {
    let disk = FileDisk::new(folder);
    for file in metainfo.info.files() {
        let path: PathBuf = file.path.iter().collect();
        disk.length(&path).map_err(|error| miette!("cannot use {}: {error}", folder.display()))?;
    }
    Ok(())
}

/// Makes the folder, and holds that something can be written there.
fn make_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    tempfile::tempfile_in(path)?;
    Ok(())
}

/// Runs a future on this machine.
pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| miette!("cannot use the network: {error}"))?;
    Ok(LocalSet::new().block_on(&runtime, future))
}
