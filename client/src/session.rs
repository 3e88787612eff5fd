//! A peer as its user sees it: one listening port, many downloads.

use std::{
    cell::RefCell, collections::BTreeMap, io, net::SocketAddr, num::NonZeroU64, rc::Rc,
    time::Duration,
};

use bytes::BytesMut;
use reseed_protocol::{InfoHash, metainfo::Metainfo, wire::Handshake};
use tokio::sync::mpsc;

use crate::{
    Disk, Download, DownloadOptions, Env, Listener, Network, RateLimiter, Spawner, Tasks,
    download::{self, Command, Inbound},
    peer::Shared,
    race::timeout_at,
};

/// Inbound connections that have not said yet which torrent they want (count);
/// one more is closed at once.
const UNKNOWN_MAX: usize = 64;

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

type Routes<S> = Rc<RefCell<BTreeMap<InfoHash, mpsc::UnboundedSender<Command<S>>>>>;

/// A running peer. [`Session::shutdown`] ends it and everything in it. Dropping
/// it does so at once: nothing more is saved, and no tracker is told.
pub struct Session<N: Network, E, D> {
    network: N,
    env: E,
    disk: D,
    local_addr: SocketAddr,
    shared: Shared,
    routes: Routes<N::Stream>,
    downloads: RefCell<Vec<Download<N::Stream>>>,
    tasks: Tasks,
}

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
        let session = Session {
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
            tasks: Tasks::new(),
        };
        let door = Door {
            env: env.clone(),
            routes: session.routes.clone(),
            shared: session.shared.clone(),
            spawner: session.tasks.spawner(),
            unknown: Rc::default(),
        };
        session.tasks.spawn(&env, "listener", door.listen(listener));
        Ok(session)
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Starts to download a torrent, or to seed it, if its content is on the
    /// disk: what is there is found by resume data or by hashing.
    pub fn add(
        &self,
        metainfo: Metainfo,
        options: DownloadOptions,
    ) -> Result<Download<N::Stream>, SessionError> {
        let info_hash = metainfo.info_hash;
        if self.routes.borrow().contains_key(&info_hash) {
            return Err(SessionError::Duplicate { info_hash });
        }
        let (download, driver) = download::new(
            self.network.clone(),
            self.env.clone(),
            self.disk.clone(),
            self.shared.clone(),
            self.local_addr.port(),
            metainfo,
            options,
        );
        self.routes.borrow_mut().insert(info_hash, download.commands());
        self.downloads.borrow_mut().push(download.clone());
        let routes = self.routes.clone();
        self.tasks.spawn(&self.env, &format!("download {}", short(info_hash)), async move {
            driver.run().await;
            routes.borrow_mut().remove(&info_hash);
        });
        Ok(download)
    }

    /// Stops every download (connections closed, trackers told, resume data
    /// saved), then the listening. On return no task is left, nor a socket or
    /// timer. A tracker that does not answer delays this by five seconds at most.
    pub async fn shutdown(&self) {
        let downloads = self.downloads.take();
        for download in &downloads {
            download.stop();
        }
        for download in &downloads {
            download.stopped().await;
        }
        self.tasks.shutdown().await;
    }

    /// The names of the session's tasks, oldest first.
    pub fn tasks(&self) -> Vec<String> {
        self.tasks.names()
    }
}

/// The first digits of an info-hash: enough to tell a few torrents apart.
fn short(info_hash: InfoHash) -> String {
    info_hash.to_string()[..8].to_owned()
}

/// Lets connections in and leads each to its torrent.
struct Door<E, S> {
    env: E,
    routes: Routes<S>,
    shared: Shared,
    spawner: Spawner,
    /// One more owner for each connection that is still unknown.
    unknown: Rc<()>,
}

impl<E: Env, S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static> Door<E, S> {
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
            if Rc::strong_count(&self.unknown) > UNKNOWN_MAX {
                tracing::debug!(%from, "too many connections that have not said what they want");
                continue;
            }
            let (env, shared) = (self.env.clone(), self.shared.clone());
            let (routes, unknown) = (self.routes.clone(), self.unknown.clone());
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
                    Some(torrent) => {
                        let _ = torrent.send(Command::Accept(Inbound { stream, from, bytes }));
                    }
                    None => tracing::debug!(%from, %info_hash, "inbound connection for no torrent"),
                }
            });
        }
    }
}

/// Reads a whole handshake, and maybe more.
async fn read_handshake<S: tokio::io::AsyncRead + Unpin>(
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
