//! A ticked host's sockets.

use std::{
    cell::RefCell,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use reseed_client::{Connection, Datagrams, Listener, Network};
use reseed_protocol::wire::Parts;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};
use turmoil::net::{TcpListener, TcpStream, UdpSocket};

use super::host::{Entry, Host, SharedStream, Socket};
use crate::{Direction, Tapped, host::Incarnation, stage::any_like};

/// Bytes that one write passes at most, as a socket's buffer would. To turmoil a
/// write is a message, and what it counts is messages.
const WRITE_MAX: usize = 64 * 1024;

/// A host's network.
#[derive(Clone)]
pub(crate) struct TickedNetwork {
    host: Rc<Host>,
    incarnation: Incarnation,
}

impl TickedNetwork {
    pub(super) fn new(host: Rc<Host>, incarnation: Incarnation) -> TickedNetwork {
        TickedNetwork { host, incarnation }
    }

    fn check_alive(&self) -> io::Result<()> {
        if self.incarnation.is_current() {
            return Ok(());
        }
        let message = "using the network of a host that has stopped";
        Err(io::Error::new(io::ErrorKind::NotConnected, message))
    }

    fn open(&self, stream: TcpStream, direction: Direction) -> io::Result<Tapped<TickedStream>> {
        let (local, remote) = (stream.local_addr()?, stream.peer_addr()?);
        let socket = Rc::new(RefCell::new(Some(stream)));
        let entry = Socket::Connected { local, remote, stream: Rc::downgrade(&socket) };
        let stream = TickedStream { socket, _entry: self.host.sockets.enter(entry) };
        let shared = self.host.shared.clone();
        let id = shared.next_stream();
        let tap = shared.tap.borrow().clone();
        let Some(tap) = tap else { return Ok(Tapped::unwatched(stream)) };
        tap.opened(id, shared.now.get(), self.host.index, [local, remote], direction);
        Ok(Tapped::watched(stream, id, tap, Rc::new(move || shared.now.get())))
    }

    /// Where turmoil is to listen: it knows "any" and loopback, of the host's own
    /// version, and panics at another version's.
    fn listening_at(&self, at: SocketAddr) -> io::Result<SocketAddr> {
        let own = self.host.address;
        let ip = match at.ip() {
            ip if ip.is_unspecified() || ip == own => any_like(own),
            ip if ip.is_loopback() && ip.is_ipv4() == own.is_ipv4() => ip,
            ip => {
                let message = format!("listening at {ip} on {}, which is {own}", self.host.name);
                return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, message));
            }
        };
        Ok(SocketAddr::new(ip, at.port()))
    }
}

impl Network for TickedNetwork {
    type Stream = Tapped<TickedStream>;
    type Listener = TickedListener;
    type Datagrams = TickedDatagrams;

    /// With a host that is down or not there it fails after the stage's connect
    /// time-out.
    fn connect(
        &self,
        to: SocketAddr,
    ) -> impl Future<Output = io::Result<Tapped<TickedStream>>> + 'static {
        let network = self.clone();
        async move {
            network.check_alive()?;
            let host = &network.host;
            let entry = host.sockets.enter(Socket::Connecting(to));
            let known = to.ip().is_loopback() || host.shared.addresses.borrow().contains(&to.ip());
            let connecting = async {
                if !known {
                    // turmoil would refuse at once, which nobody is there to do.
                    std::future::pending::<()>().await;
                }
                TcpStream::connect(to).await
            };
            let connected = timeout(host.shared.options.connect_timeout, connecting).await;
            let stream = connected.map_err(|_| {
                let message = format!("connecting to {to}, which does not answer");
                io::Error::new(io::ErrorKind::TimedOut, message)
            })??;
            drop(entry);
            network.open(stream, Direction::Outgoing)
        }
    }

    fn listen(&self, at: SocketAddr) -> impl Future<Output = io::Result<TickedListener>> + 'static {
        let network = self.clone();
        async move {
            network.check_alive()?;
            let socket = TcpListener::bind(network.listening_at(at)?).await?;
            let at = SocketAddr::new(at.ip(), socket.local_addr()?.port());
            let entry = network.host.sockets.enter(Socket::Listening(at));
            Ok(TickedListener { socket, at, network, _entry: entry })
        }
    }

    fn datagrams(
        &self,
        at: SocketAddr,
    ) -> impl Future<Output = io::Result<TickedDatagrams>> + 'static {
        let network = self.clone();
        async move {
            network.check_alive()?;
            let socket = UdpSocket::bind(network.listening_at(at)?).await?;
            let entry = network.host.sockets.enter(Socket::Datagrams(socket.local_addr()?));
            Ok(TickedDatagrams { socket, network, _entry: entry })
        }
    }

    fn resolve(
        &self,
        host: &str,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + 'static {
        let literal = host.parse().ok();
        let address = literal.or_else(|| self.host.shared.names.borrow().get(host).copied());
        let found = address.map(|ip| vec![SocketAddr::new(ip, port)]).ok_or_else(|| {
            let message = format!("resolving {host:?}: no host has that name");
            io::Error::new(io::ErrorKind::NotFound, message)
        });
        async move { found }
    }
}

/// A TCP connection's end. Its remote hears of it when it is dropped within a step.
pub(crate) struct TickedStream {
    socket: Rc<SharedStream>,
    _entry: Entry<Socket>,
}

impl TickedStream {
    /// Runs a call to the socket, unless its host has lost its power since.
    fn poll<R>(
        &self,
        call: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        match &mut *self.socket.borrow_mut() {
            Some(socket) => call(Pin::new(socket)),
            None => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

impl Connection for TickedStream {
    /// One write is one message of turmoil's.
    fn poll_write_parts(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &Parts,
        length: usize,
    ) -> Poll<io::Result<usize>> {
        Pin::new(self).poll_write(cx, &bytes.to_bytes()[..length])
    }
}

impl AsyncRead for TickedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll(|socket| socket.poll_read(cx, buffer))
    }
}

impl AsyncWrite for TickedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let bytes = &bytes[..bytes.len().min(WRITE_MAX)];
        self.poll(|socket| socket.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|socket| socket.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|socket| socket.poll_shutdown(cx))
    }
}

/// A UDP socket.
pub(crate) struct TickedDatagrams {
    socket: UdpSocket,
    network: TickedNetwork,
    _entry: Entry<Socket>,
}

impl Datagrams for TickedDatagrams {
    async fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        self.network.check_alive()?;
        self.socket.send_to(bytes, to).await.map(drop)
    }

    async fn receive_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.network.check_alive()?;
        self.socket.recv_from(buffer).await
    }
}

/// A listening TCP socket.
pub(crate) struct TickedListener {
    socket: TcpListener,
    /// As it was asked for, with the port that it got.
    at: SocketAddr,
    network: TickedNetwork,
    _entry: Entry<Socket>,
}

impl Listener for TickedListener {
    type Stream = Tapped<TickedStream>;

    async fn accept(&mut self) -> io::Result<(Tapped<TickedStream>, SocketAddr)> {
        let (stream, remote) = self.socket.accept().await?;
        Ok((self.network.open(stream, Direction::Incoming)?, remote))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.at)
    }
}
