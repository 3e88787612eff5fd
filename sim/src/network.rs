//! A host's sockets.

use std::{
    future::{Future, poll_fn},
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use reseed_client::{Connection, Listener, Network};
use reseed_protocol::wire::Parts;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::turmoil_net::{Handshake, NetListener, NetStream};
use crate::{
    Direction, HostId, SimDatagrams, Tapped,
    core::Core,
    host::Incarnation,
    stack::{NativeListener, NativeStream},
};

pub(crate) mod turmoil_net;

/// A host's network.
#[derive(Clone)]
pub struct HostNetwork {
    pub(crate) core: Rc<Core>,
    host: HostId,
    incarnation: Incarnation,
}

impl HostNetwork {
    pub(crate) fn new(core: Rc<Core>, host: HostId, incarnation: Incarnation) -> HostNetwork {
        HostNetwork { core, host, incarnation }
    }

    pub(crate) fn host(&self) -> HostId {
        self.host
    }

    /// Whose stack it uses.
    pub(crate) fn landlord(&self) -> HostId {
        self.core.hosts.borrow()[self.host.index()].landlord
    }

    /// Whether there are a host and a stack still.
    pub(crate) fn is_running(&self) -> bool {
        self.incarnation.is_current() && self.core.running.get()
    }

    /// Runs a call to the host's stack.
    pub(crate) fn call<R>(&self, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        if !self.incarnation.is_current() || !self.core.enter(self.host) {
            return Err(stopped());
        }
        call()
    }

    fn open(&self, stream: SimStream, direction: Direction) -> io::Result<Tapped<SimStream>> {
        let id = self.core.next_stream();
        let tap = self.core.tap.borrow().clone();
        let Some(tap) = tap else {
            return Ok(Tapped::unwatched(stream));
        };
        let (local, remote) = (stream.local_addr()?, stream.peer_addr()?);
        let owner = self.host.index();
        tap.opened(id, self.core.executor.now(), owner, [local, remote], direction);
        Ok(Tapped::watched(stream, id, tap, self.core.clock.clone()))
    }
}

impl Network for HostNetwork {
    type Stream = Tapped<SimStream>;
    type Listener = SimListener;
    type Datagrams = SimDatagrams;

    /// A host that is down or not there resets it after the world's connect
    /// time-out.
    fn connect(
        &self,
        to: SocketAddr,
    ) -> impl Future<Output = io::Result<Tapped<SimStream>>> + 'static {
        let network = self.clone();
        let mut dial = match self.core.native {
            Some(_) => Dial::Native(None),
            None => Dial::TurmoilNet(Handshake::new(self, to)),
        };
        async move {
            let stream = poll_fn(|cx| dial.poll(&network, to, cx)).await?;
            network.open(stream, Direction::Outgoing)
        }
    }

    fn listen(&self, at: SocketAddr) -> impl Future<Output = io::Result<SimListener>> + 'static {
        let network = self.clone();
        async move {
            let socket = match &network.core.native {
                Some(stacks) => Listening::Native(NativeListener::bind(&network, stacks, at)?),
                None => Listening::TurmoilNet(NetListener::bind(network.clone(), at).await?),
            };
            Ok(SimListener { socket, network })
        }
    }

    fn datagrams(
        &self,
        at: SocketAddr,
    ) -> impl Future<Output = io::Result<SimDatagrams>> + 'static {
        let network = self.clone();
        async move { SimDatagrams::bind(network, at) }
    }

    fn resolve(
        &self,
        host: &str,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + 'static {
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => Some(vec![address]),
            Err(_) => self.core.names.borrow().get(host).cloned(),
        };
        let found = addresses
            .filter(|addresses| !addresses.is_empty())
            .map(|addresses| addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
            .ok_or_else(|| {
                let message = format!("resolving {host:?}: no host has that name");
                io::Error::new(io::ErrorKind::NotFound, message)
            });
        async move { found }
    }
}

/// A connection being opened; it is begun when it is polled.
enum Dial {
    TurmoilNet(Handshake),
    Native(Option<NativeStream>),
}

impl Dial {
    fn poll(
        &mut self,
        network: &HostNetwork,
        to: SocketAddr,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<SimStream>> {
        let (stream, stacks) = match (self, &network.core.native) {
            (Dial::TurmoilNet(handshake), _) => {
                return handshake.poll(cx).map_ok(|stream| SimStream(Open::TurmoilNet(stream)));
            }
            (Dial::Native(_), None) => return Poll::Ready(Err(stopped())),
            (Dial::Native(stream), Some(stacks)) => (stream, stacks),
        };
        let dialled = match stream {
            Some(dialled) => dialled,
            None => stream.insert(NativeStream::dial(network, stacks, to)?),
        };
        ready!(dialled.poll_open(cx))?;
        let stream = stream.take().expect("it was dialled");
        Poll::Ready(Ok(SimStream(Open::Native(stream))))
    }
}

/// A TCP connection's end.
pub struct SimStream(Open);

enum Open {
    TurmoilNet(NetStream),
    Native(NativeStream),
}

impl SimStream {
    /// This end's address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Open::TurmoilNet(stream) => stream.local_addr(),
            Open::Native(stream) => Ok(stream.local_addr()),
        }
    }

    /// The other end's address.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Open::TurmoilNet(stream) => stream.peer_addr(),
            Open::Native(stream) => Ok(stream.remote_addr()),
        }
    }
}

impl Connection for SimStream {
    /// On turmoil-net's stack nothing waits.
    fn expect(&mut self, bytes: usize) {
        match &mut self.0 {
            Open::TurmoilNet(_) => {}
            Open::Native(stream) => stream.set_low_water(bytes),
        }
    }

    fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        scratch: &mut Vec<u8>,
        into: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Open::TurmoilNet(stream) => stream.poll_read_into(cx, most, scratch, into),
            Open::Native(stream) => stream.poll_read_into(cx, most, into),
        }
    }

    fn poll_write_parts(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &Parts,
        length: usize,
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Open::TurmoilNet(stream) => stream.poll_write_parts(cx, bytes, length),
            Open::Native(stream) => stream.poll_write_parts(cx, bytes, length),
        }
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Open::TurmoilNet(stream) => Pin::new(stream).poll_read(cx, buffer),
            Open::Native(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Open::TurmoilNet(stream) => Pin::new(stream).poll_write(cx, bytes),
            Open::Native(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    /// What is written is on its way.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Open::TurmoilNet(stream) => Pin::new(stream).poll_shutdown(cx),
            Open::Native(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A listening TCP socket.
pub struct SimListener {
    socket: Listening,
    network: HostNetwork,
}

enum Listening {
    TurmoilNet(NetListener),
    Native(NativeListener),
}

impl Listener for SimListener {
    type Stream = Tapped<SimStream>;

    async fn accept(&mut self) -> io::Result<(Tapped<SimStream>, SocketAddr)> {
        let stream = SimStream(match &mut self.socket {
            Listening::TurmoilNet(socket) => Open::TurmoilNet(socket.accept().await?),
            Listening::Native(socket) => Open::Native(socket.accept().await?),
        });
        let remote = stream.peer_addr()?;
        Ok((self.network.open(stream, Direction::Incoming)?, remote))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.socket {
            Listening::TurmoilNet(socket) => socket.local_addr(),
            Listening::Native(socket) => socket.local_addr(),
        }
    }
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "using a socket of a host that has stopped")
}
