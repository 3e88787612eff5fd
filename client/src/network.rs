//! The network that a peer runs on.

use std::{future::Future, io, net::SocketAddr};

use tokio::io::{AsyncRead, AsyncWrite};

/// Connects, listens, and sends datagrams. The real one is [`crate::TokioNetwork`]; in a
/// simulation each host has its own.
pub trait Network: Clone + 'static {
    /// A TCP connection.
    type Stream: Connection;
    /// A listening TCP socket.
    type Listener: Listener<Stream = Self::Stream>;
    /// A UDP socket.
    type Datagrams: Datagrams;

    /// Opens a connection. It has no time-out of its own worth relying on: drop
    /// the future to give up.
    fn connect(&self, to: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + 'static;

    /// Listens at `at`; port 0 takes any free port.
    fn listen(&self, at: SocketAddr) -> impl Future<Output = io::Result<Self::Listener>> + 'static;

    /// Opens a UDP socket at `at`; port 0 takes any free port.
    fn datagrams(
        &self,
        at: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::Datagrams>> + 'static;

    /// The addresses of `host`, a name or an IP literal; never empty on success.
    fn resolve(
        &self,
        host: &str,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + 'static;
}

/// A TCP connection's end.
pub trait Connection: AsyncRead + AsyncWrite + Unpin + 'static {
    /// A hint that until `bytes` more are there, or the remote has said its last word, the
    /// next read would do nothing but wait for them: as SO_RCVLOWAT says it to a kernel.
    /// It holds until that read is done.
    fn expect(&mut self, _bytes: usize) {}
}

/// A listening TCP socket; dropping it stops the listening.
pub trait Listener: 'static {
    /// A TCP connection.
    type Stream;

    /// The next connection and the remote's address. Safe to drop and call again.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>>;

    /// Where it listens, with the port that it got.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A UDP socket.
pub trait Datagrams: 'static {
    /// Sends `bytes` to `to`, in one datagram. They may be lost on the way.
    fn send_to(&self, bytes: &[u8], to: SocketAddr) -> impl Future<Output = io::Result<()>>;

    /// The next datagram: its length, cut to that of `buffer`, and its sender. Safe to
    /// drop and call again.
    fn receive_from(
        &self,
        buffer: &mut [u8],
    ) -> impl Future<Output = io::Result<(usize, SocketAddr)>>;
}
