//! A peer as its user sees it: one listening port, many downloads, callbacks.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    num::NonZeroU64,
    rc::Rc,
    time::Duration,
};

use bytes::BytesMut;
use reseed_protocol::{Defect, Defects, InfoHash, Magnet, metainfo::Metainfo, wire::Handshake};
use tokio::sync::{mpsc, watch};

use crate::{
    CallbackPool, Callbacks, Connection, Disk, Download, DownloadOptions, Env, Listener, Network,
    RateLimiter, ShutdownOptions, Spawner, Tasks, Wait, WaitsForItself,
    download::{self, Command, Inbound, Subject},
    peer::Shared,
    race,
    race::timeout_at,
};

/// Inbound connections that have not said yet which torrent they want (count);
/// one more is closed at once.
const UNKNOWN_MAX: usize = 64;

/// How many of these may come from one host (count), lest one that says nothing keep
/// everybody else out.
const UNKNOWN_OF_ONE_MAX: usize = 8;

/// Inbound connections that a download has not taken in yet (count); one more is closed at
/// once.
const WAITING_MAX: usize = 64;

/// How long an inbound connection may take to say it. libtorrent: 10 s.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait after an accept that failed: it does for want of something
/// that takes time to come back, such as file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// A session's settings.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Where to listen; port 0 takes any free port.
    pub listen: SocketAddr,
    /// Bytes a second that all connections together may send; `None` is no limit.
    pub upload_limit: Option<NonZeroU64>,
    /// Bytes a second that all connections together may receive; `None` is no
    /// limit.
    pub download_limit: Option<NonZeroU64>,
    /// Bugs written back in.
    pub defects: Defects,
}

/// Why a session cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The port cannot be had.
    #[error("cannot listen at {addr}: {source}; choose another port, or 0 for any")]
    Listen {
        /// Where it was to listen.
        addr: SocketAddr,
        /// What the network said.
        source: io::Error,
    },
    /// The torrent is in this session already.
    #[error("torrent {info_hash} is in this session already")]
    Duplicate {
        /// Which one.
        info_hash: InfoHash,
    },
}

type Routes<S> = Rc<RefCell<BTreeMap<InfoHash, Route<S>>>>;

/// The way to a download for those who connect.
struct Route<S> {
    commands: mpsc::UnboundedSender<Command<S>>,
    /// One more owner for each connection that it has not taken in yet.
    waiting: Rc<()>,
}

/// A running peer. [`Session::shutdown`] ends it and everything in it. Dropping
/// it does so at once: nothing more is saved, and no tracker is told.
///
/// What it consists of is owned by a task of its own, which also ends it: who asks
/// for that may go away, or ask again.
pub struct Session<N: Network, E, D> {
    inner: Rc<Inner<N, E, D>>,
    orders: watch::Sender<Option<ShutdownOptions>>,
    ended: watch::Receiver<bool>,
    /// The session's own task.
    life: Tasks,
    defects: Defects,
}

/// What a session consists of.
struct Inner<N: Network, E, D> {
    network: N,
    env: E,
    disk: D,
    local_addr: SocketAddr,
    shared: Shared,
    routes: Routes<N::Stream>,
    downloads: RefCell<Vec<Download<N::Stream>>>,
    callbacks: CallbackPool<E>,
    tasks: Tasks,
    defects: Defects,
}

/// The session's name, as a task and in evidence.
const SESSION: &str = "session";

impl<N: Network, E: Env, D: Disk> Session<N, E, D> {
    /// Starts to listen. Downloads come with [`Session::add`].
    pub async fn start(
        network: N,
        env: E,
        disk: D,
        options: SessionOptions,
    ) -> Result<Self, SessionError> {
        let listen = |source| SessionError::Listen { addr: options.listen, source };
        let listener = network.listen(options.listen).await.map_err(listen)?;
        let inner = Rc::new(Inner {
            local_addr: listener.local_addr().map_err(listen)?,
            network,
            env: env.clone(),
            disk,
            shared: Shared::new(
                RateLimiter::new(options.upload_limit),
                RateLimiter::new(options.download_limit),
            ),
            routes: Routes::default(),
            downloads: RefCell::default(),
            callbacks: CallbackPool::new(env.clone(), options.defects),
            tasks: Tasks::new(),
            defects: options.defects,
        });
        let door = Door {
            env: env.clone(),
            routes: inner.routes.clone(),
            shared: inner.shared.clone(),
            spawner: inner.tasks.spawner(),
            unknown: Rc::default(),
        };
        inner.tasks.spawn(&env, "listener", door.listen(listener));
        let ((orders, ordered), (end, ended)) = (watch::channel(None), watch::channel(false));
        let life = Tasks::new();
        life.spawn(&env, SESSION, inner.clone().live(ordered, end));
        Ok(Session { inner, orders, ended, life, defects: options.defects })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local_addr
    }

    /// Starts to download a torrent, or to seed it, if its content is on the
    /// disk: what is there is found by resume data or by hashing.
    pub fn add(
        &self,
        metainfo: Metainfo,
        options: DownloadOptions,
    ) -> Result<Download<N::Stream>, SessionError> {
        self.begin(Subject::Torrent(Rc::new(metainfo)), options)
    }

    /// Starts to download what a magnet link names: first its metadata, of which a copy
    /// is kept on the disk, then as [`Session::add`]. The link's own peers are not
    /// looked up: they are for the options.
    pub fn add_magnet(
        &self,
        magnet: Magnet,
        options: DownloadOptions,
    ) -> Result<Download<N::Stream>, SessionError> {
        self.begin(Subject::Magnet(magnet), options)
    }

    fn begin(
        &self,
        subject: Subject,
        options: DownloadOptions,
    ) -> Result<Download<N::Stream>, SessionError> {
        let (inner, info_hash) = (&self.inner, subject.info_hash());
        if inner.routes.borrow().contains_key(&info_hash) {
            return Err(SessionError::Duplicate { info_hash });
        }
        let (download, driver) = download::new(
            inner.network.clone(),
            inner.env.clone(),
            inner.disk.clone(),
            inner.shared.clone(),
            inner.local_addr.port(),
            subject,
            options,
        );
        let route = Route { commands: download.commands(), waiting: Rc::default() };
        inner.routes.borrow_mut().insert(info_hash, route);
        inner.downloads.borrow_mut().push(download.clone());
        let routes = inner.routes.clone();
        inner.tasks.spawn(&inner.env, &download::name(info_hash), async move {
            driver.run().await;
            routes.borrow_mut().remove(&info_hash);
        });
        Ok(download)
    }

    /// Where the user's callbacks are submitted.
    pub fn callbacks(&self) -> Callbacks {
        self.inner.callbacks.callbacks()
    }

    /// Stops every download (connections closed, trackers told, resume data saved if
    /// `options` say so), then the callbacks and the listening. On return no task is
    /// left, nor a socket or timer. A tracker that does not answer and a callback that
    /// does not end delay this by the grace period at most.
    ///
    /// Only the first call says how; any other waits along with it. It may be dropped:
    /// the session goes on ending. A callback cannot wait here, since the session in
    /// turn waits for it, and is told so by the error: let it ask the session's user
    /// for a shutdown, as [`App`](crate::App) does.
    pub async fn shutdown(&self, options: ShutdownOptions) -> Result<(), WaitsForItself> {
        let callback = self.callbacks().running_here();
        if let Some(worker) = callback {
            if self.defects.has(Defect::PoolDrainsItself) {
                self.inner.callbacks.drain(worker, None).await?;
                return Ok(());
            }
            if !self.defects.has(Defect::ShutdownFromCallback) {
                return Err(WaitsForItself { worker });
            }
        }
        self.orders.send_if_modified(|order| {
            let again = self.defects.has(Defect::SecondInterruptShutsDownAgain);
            let obeyed = order.is_none() || again;
            if obeyed {
                *order = Some(options);
            }
            obeyed
        });
        let wait = Wait { who: callback.unwrap_or("main"), on: SESSION, to: "have shut down" };
        let _waiting = self.inner.env.waiting(wait);
        // An error is that its task was dropped, and everything with it.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
        self.life.ended().await;
        Ok(())
    }

    /// Work of downloads that waits for its time (count).
    pub fn errands(&self) -> usize {
        self.inner.shared.timetable.waiting()
    }

    /// The names of the session's tasks: its own, the callbacks' workers, and the
    /// others from the oldest on.
    pub fn tasks(&self) -> Vec<String> {
        let Inner { callbacks, tasks, .. } = &*self.inner;
        [self.life.names(), callbacks.workers(), tasks.names()].concat()
    }
}

impl<N: Network, E: Env, D: Disk> Inner<N, E, D> {
    /// Waits for the word to end, and ends.
    async fn live(
        self: Rc<Self>,
        mut orders: watch::Receiver<Option<ShutdownOptions>>,
        end: watch::Sender<bool>,
    ) {
        loop {
            let order = match orders.wait_for(Option::is_some).await {
                Ok(order) => order.expect("it was waited for"),
                // The session was dropped, and this task with it.
                Err(_) => return,
            };
            orders.mark_unchanged();
            let again = race! {
                () = self.shut_down(order) => break,
                again = orders.changed() => again,
            };
            if again.is_err() {
                return;
            }
        }
        end.send_replace(true);
    }

    /// From the leaves to the root.
    async fn shut_down(&self, options: ShutdownOptions) {
        let downloads = self.downloads.take();
        let grace = match self.defects.has(Defect::GracePeriodIgnored) {
            true => Duration::ZERO,
            false => options.grace,
        };
        let until = match self.defects.has(Defect::ShutdownFromCallback) {
            true => None,
            false => Some(self.env.now() + grace),
        };
        for download in &downloads {
            download.stop(ShutdownOptions { grace, ..options });
        }
        if !self.defects.has(Defect::ExitOutrunsStop) {
            for download in &downloads {
                let on = download::name(download.info_hash());
                let _waiting = self.env.waiting(Wait { who: SESSION, on: &on, to: "stop" });
                download.stopped().await;
            }
        }
        let drained = self.callbacks.drain(SESSION, until).await;
        drained.expect("the session's task is no callback");
        self.tasks.shutdown().await;
    }
}

/// Lets connections in and leads each to its torrent.
struct Door<E, S> {
    env: E,
    routes: Routes<S>,
    shared: Shared,
    spawner: Spawner,
    unknown: Unknown,
}

/// From which hosts there are connections that are still unknown, and how many.
type Unknown = Rc<RefCell<BTreeMap<IpAddr, usize>>>;

/// One of them.
struct Unintroduced {
    all: Unknown,
    from: IpAddr,
}

impl Unintroduced {
    /// Another one from `from`, unless there are enough.
    fn admit(all: &Unknown, from: IpAddr) -> Option<Unintroduced> {
        let mut counts = all.borrow_mut();
        let of_it = counts.get(&from).copied().unwrap_or_default();
        let of_all: usize = counts.values().sum();
        if of_it >= UNKNOWN_OF_ONE_MAX || of_all >= UNKNOWN_MAX {
            return None;
        }
        counts.insert(from, of_it + 1);
        Some(Unintroduced { all: all.clone(), from })
    }
}

impl Drop for Unintroduced {
    fn drop(&mut self) {
        let mut counts = self.all.borrow_mut();
        let left = counts.get(&self.from).copied().unwrap_or_default().saturating_sub(1);
        match left {
            0 => _ = counts.remove(&self.from),
            left => _ = counts.insert(self.from, left),
        }
    }
}

impl<E: Env, S: Connection> Door<E, S> {
    async fn listen(self, mut listener: impl Listener<Stream = S>) {
        loop {
            let (stream, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    self.env.sleep_until(self.env.now() + ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(unknown) = Unintroduced::admit(&self.unknown, from.ip().to_canonical()) else {
                tracing::debug!(%from, "too many connections that have not said what they want");
                continue;
            };
            let (env, shared) = (self.env.clone(), self.shared.clone());
            let routes = self.routes.clone();
            self.spawner.spawn(&self.env, &format!("inbound {from}"), async move {
                let _unknown = unknown;
                let deadline = env.now() + HANDSHAKE_TIMEOUT;
                let read = read_handshake(stream, &shared);
                let Some(Ok((stream, bytes, info_hash))) =
                    timeout_at(&env, deadline, read).await.inspect(|read| {
                        if let Err(error) = read {
                            tracing::debug!(%from, %error, "inbound connection without handshake");
                        }
                    })
                else {
                    return;
                };
                match routes.borrow().get(&info_hash) {
                    // One that has just ended wants no connection.
                    Some(Route { waiting, .. }) if Rc::strong_count(waiting) > WAITING_MAX => {
                        tracing::debug!(%from, %info_hash, "too many wait to be taken in");
                    }
                    Some(Route { commands, waiting }) => {
                        let waiting = waiting.clone();
                        let inbound = Inbound { stream, from, bytes, _waiting: waiting };
                        let _ = commands.send(Command::Accept(Box::new(inbound)));
                    }
                    None => tracing::debug!(%from, %info_hash, "inbound connection for no torrent"),
                }
            });
        }
    }
}

/// Reads a whole handshake, and maybe more.
async fn read_handshake<S: Connection>(
    mut stream: S,
    shared: &Shared,
) -> io::Result<(S, BytesMut, InfoHash)> {
    let none = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let mut bytes = BytesMut::new();
    while bytes.len() < Handshake::LENGTH {
        let more = shared.read(&mut stream).await?;
        if more.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&more);
        let known = bytes.len().min(Handshake::PROTOCOL.len());
        if bytes[..known] != Handshake::PROTOCOL[..known] {
            return Err(none("it speaks another protocol"));
        }
    }
    let whole = bytes[..Handshake::LENGTH].try_into().expect("it is that long");
    let handshake = Handshake::decode(&whole).map_err(|error| none(&error.to_string()))?;
    Ok((stream, bytes, handshake.info_hash))
}

#[cfg(test)]
mod tests {
    use reseed_protocol::{PeerId, Time};
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::manual::ManualEnv;

    const INFO_HASH: InfoHash = InfoHash([7; 20]);

    /// Lets so many in, one each millisecond, who all want the same torrent.
    struct Comers {
        env: ManualEnv,
        left: usize,
        remotes: Vec<DuplexStream>,
    }

    impl Listener for Comers {
        type Stream = DuplexStream;

        async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
            if self.left == 0 {
                return std::future::pending().await;
            }
            self.left -= 1;
            self.env.sleep_until(self.env.now() + Duration::from_millis(1)).await;
            let (stream, mut remote) = duplex(1000);
            remote.write_all(&Handshake::new(INFO_HASH, PeerId([1; 20])).encode()).await?;
            self.remotes.push(remote);
            Ok((stream, ([10, 0, 0, 1], 50_000).into()))
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(([10, 0, 0, 2], 6881).into())
        }
    }

    #[test]
    fn who_comes_while_a_download_takes_in_nobody_waits_but_not_without_end() {
        let env = ManualEnv::default();
        let routes: Routes<DuplexStream> = Routes::default();
        let (commands, mut received) = mpsc::unbounded_channel();
        let route = Route { commands, waiting: Rc::default() };
        routes.borrow_mut().insert(INFO_HASH, route);
        let tasks = Tasks::new();
        let door = Door {
            env: env.clone(),
            routes,
            shared: Shared::new(RateLimiter::new(None), RateLimiter::new(None)),
            spawner: tasks.spawner(),
            unknown: Rc::default(),
        };
        let comers = Comers { env: env.clone(), left: 3 * WAITING_MAX, remotes: Vec::new() };
        tasks.spawn(&env, "listener", door.listen(comers));
        env.run_until(Time::from_secs(1));
        let mut waiting = Vec::new();
        waiting.extend(std::iter::from_fn(|| received.try_recv().ok()));
        assert_eq!(waiting.len(), WAITING_MAX);
    }

    #[test]
    fn who_says_nothing_keeps_nobody_else_out() {
        let unknown = Unknown::default();
        let host = |number: u8| IpAddr::from([10, 0, 0, number]);
        let silent: Vec<_> =
            (0..100).filter_map(|_| Unintroduced::admit(&unknown, host(1))).collect();
        assert_eq!(silent.len(), UNKNOWN_OF_ONE_MAX);
        assert!(Unintroduced::admit(&unknown, host(2)).is_some());
        drop(silent);
        assert!(unknown.borrow().is_empty());
        let many: Vec<_> =
            (0..=255).filter_map(|number| Unintroduced::admit(&unknown, host(number))).collect();
        assert_eq!(many.len(), UNKNOWN_MAX);
    }
}
