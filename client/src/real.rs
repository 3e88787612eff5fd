//! The machine's own network, clock and tasks.

use std::{
    future::{Future, pending},
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rand::{TryRng, rngs::SysRng};
use rand_chacha::ChaCha8Rng;
use reseed_protocol::Time;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream, UdpSocket, lookup_host},
    time::Instant,
};
use tracing::{Instrument, debug_span};

use crate::{Connection, Datagrams, Env, Listener, Network, substream};

/// The machine's network. Needs a tokio runtime with I/O.
///
/// Nagle's algorithm is off: a peer writes whole messages, and a request that
/// waits for an acknowledgement is a pipeline that runs dry.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioNetwork {
    source: Option<IpAddr>,
}

impl TokioNetwork {
    /// Connections come from the address that the system chooses.
    pub fn new() -> TokioNetwork {
        TokioNetwork::default()
    }

    /// For who listens at `ip`: if that is one of several addresses of the machine,
    /// connections come from it too, so that trackers and peers know us by the address
    /// at which we can be reached.
    pub fn listening_at(ip: IpAddr) -> TokioNetwork {
        let any_would_do = ip.is_unspecified() || ip.is_loopback();
        TokioNetwork { source: Some(ip).filter(|_| !any_would_do) }
    }
}

impl Connection for TcpStream {}

/// A listening socket of the machine.
#[derive(Debug)]
pub struct TokioListener(TcpListener);

#[expect(
    clippy::manual_async_fn,
    reason = "an `async fn` would borrow `self`, and these futures are 'static"
)]
impl Network for TokioNetwork {
    type Stream = TcpStream;
    type Listener = TokioListener;
    type Datagrams = UdpSocket;

    fn connect(&self, to: SocketAddr) -> impl Future<Output = io::Result<TcpStream>> + 'static {
        let source = self.source.filter(|source| source.is_ipv4() == to.is_ipv4());
        async move {
            let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            if let Some(source) = source {
                socket.bind(SocketAddr::new(source, 0))?;
            }
            let stream = socket.connect(to).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        }
    }

    fn listen(&self, at: SocketAddr) -> impl Future<Output = io::Result<TokioListener>> + 'static {
        async move { TcpListener::bind(at).await.map(TokioListener) }
    }

    fn datagrams(
        &self,
        mut at: SocketAddr,
    ) -> impl Future<Output = io::Result<UdpSocket>> + 'static {
        let source = self.source.filter(|source| source.is_ipv4() == at.is_ipv4());
        if let Some(source) = source.filter(|_| at.ip().is_unspecified()) {
            at.set_ip(source);
        }
        UdpSocket::bind(at)
    }

    fn resolve(
        &self,
        host: &str,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + 'static {
        let host = host.to_owned();
        async move {
            let found: Vec<SocketAddr> = lookup_host((host.as_str(), port)).await?.collect();
            if found.is_empty() {
                let message = format!("{host} has no address");
                return Err(io::Error::new(io::ErrorKind::NotFound, message));
            }
            Ok(found)
        }
    }
}

impl Datagrams for UdpSocket {
    async fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        UdpSocket::send_to(self, bytes, to).await.map(drop)
    }

    async fn receive_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_from(buffer).await
    }
}

impl Listener for TokioListener {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, remote) = self.0.accept().await?;
        stream.set_nodelay(true)?;
        // Who listens at every address of both versions sees IPv4 ones as IPv6.
        Ok((stream, SocketAddr::new(remote.ip().to_canonical(), remote.port())))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// The machine's clock, and tasks on the current thread. Needs a tokio runtime with
/// time, and a [`tokio::task::LocalSet`] around whatever spawns.
///
/// [`Env::spawn`] wraps the task in a tracing span with its name.
#[derive(Debug, Clone)]
pub struct TokioEnv {
    epoch: Instant,
    seed: u64,
}

impl TokioEnv {
    /// An environment whose time starts now, its seed taken from the operating
    /// system.
    pub fn new() -> io::Result<TokioEnv> {
        let seed = SysRng.try_next_u64().map_err(io::Error::other)?;
        Ok(Self::with_seed(seed))
    }

    /// An environment whose time starts now. The seed fixes the randomness, which
    /// on a real machine is not enough to make a run repeatable.
    #[expect(clippy::disallowed_methods, reason = "this is where `Env::now` comes from")]
    pub fn with_seed(seed: u64) -> TokioEnv {
        TokioEnv { epoch: Instant::now(), seed }
    }

    /// The seed, for the log.
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

impl Env for TokioEnv {
    fn now(&self) -> Time {
        Time::from_epoch(self.epoch.elapsed())
    }

    /// By the wall clock as it is set now.
    #[expect(clippy::disallowed_methods, reason = "this is where `Env::unix_epoch` comes from")]
    fn unix_epoch(&self) -> Duration {
        // Of a clock that is set to before 1970 the year does not matter.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(self.epoch.elapsed())
    }

    /// What is past lets the other tasks run, and no more: tokio's timers round up to
    /// the next millisecond.
    fn sleep_until(&self, deadline: Time) -> impl Future<Output = ()> + 'static {
        let past = deadline <= self.now();
        let deadline = self.epoch.checked_add(deadline.since_epoch());
        async move {
            match deadline {
                _ if past => tokio::task::yield_now().await,
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => pending().await,
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this is where tasks with an owner come from")]
    fn spawn(&self, name: &str, task: impl Future<Output = ()> + 'static) {
        tokio::task::spawn_local(task.instrument(debug_span!("task", name)));
    }

    fn rng(&self, label: &str) -> ChaCha8Rng {
        substream(self.seed, label)
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use futures_util::future::join;
    use rand::Rng;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        task::LocalSet,
    };

    use super::*;
    use crate::{Tasks, timeout_at};

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, future)
    }

    #[test]
    fn bytes_cross_the_loopback() {
        block_on(async {
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let mut listener = TokioNetwork::new().listen(any).await.unwrap();
            let at = listener.local_addr().unwrap();
            let resolved = TokioNetwork::new().resolve("127.0.0.1", at.port()).await.unwrap();
            assert_eq!(resolved, [at]);
            let (dialled, accepted) =
                join(TokioNetwork::new().connect(at), listener.accept()).await;
            let (mut dialled, (mut accepted, remote)) = (dialled.unwrap(), accepted.unwrap());
            assert_eq!(remote, dialled.local_addr().unwrap());
            dialled.write_all(b"hello").await.unwrap();
            let mut buffer = [0; 5];
            accepted.read_exact(&mut buffer).await.unwrap();
            assert_eq!(&buffer, b"hello");
        });
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn connections_come_from_the_address_that_is_listened_at_if_it_is_one_of_several() {
        block_on(async {
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let mut listener = TokioNetwork::new().listen(any).await.unwrap();
            let at = listener.local_addr().unwrap();
            let source = IpAddr::from([127, 0, 0, 3]);
            let network = TokioNetwork { source: Some(source) };
            let (_dialled, accepted) = join(network.connect(at), listener.accept()).await;
            assert_eq!(accepted.unwrap().1.ip(), source);
        });
        let source = |ip: &str| TokioNetwork::listening_at(ip.parse().unwrap()).source;
        assert_eq!(source("192.0.2.1"), Some([192, 0, 2, 1].into()));
        assert_eq!((source("0.0.0.0"), source("127.0.0.1"), source("::")), (None, None, None));
    }

    #[test]
    fn time_starts_at_the_epoch_and_a_sleep_lasts_until_its_deadline() {
        block_on(async {
            tokio::time::pause();
            let env = TokioEnv::with_seed(1);
            assert_eq!(env.now(), Time::ZERO);
            env.sleep_until(Time::from_secs(5)).await;
            let late = env.now().since_epoch() - Duration::from_secs(5);
            assert!(late < Duration::from_millis(2), "{late:?}");
            let never = Time::from_epoch(Duration::MAX);
            let slept = timeout_at(&env, Time::from_secs(9), env.sleep_until(never)).await;
            assert_eq!(slept, None);
        });
    }

    #[test]
    fn a_shutdown_closes_the_sockets_of_the_tasks() {
        block_on(async {
            let env = TokioEnv::with_seed(1);
            let tasks = Tasks::new();
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let mut listener = TokioNetwork::new().listen(any).await.unwrap();
            let at = listener.local_addr().unwrap();
            tasks.spawn(&env, "accept", async move {
                loop {
                    drop(listener.accept().await);
                }
            });
            TokioNetwork::new().connect(at).await.unwrap();
            tasks.shutdown().await;
            let error = TokioNetwork::new().connect(at).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        });
    }

    #[test]
    fn the_operating_system_gives_each_environment_another_seed() {
        let seeds = || TokioEnv::new().unwrap().rng("x").next_u64();
        assert_ne!(seeds(), seeds());
    }
}
