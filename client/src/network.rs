//! The network that a peer runs on.

use std::{future::Future, io, net::SocketAddr};

use tokio::io::{AsyncRead, AsyncWrite};

/// Connects and listens. The real one is [`crate::TokioNetwork`]; in a
/// simulation each host has its own.
pub trait Network: Clone + 'static {
    /// A TCP connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;
    /// A listening TCP socket.
    type Listener: Listener<Stream = Self::Stream>;

    /// Opens a connection. It has no time-out of its own worth relying on: drop
    /// the future to give up.
    fn connect(&self, to: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + 'static;

    /// Listens at `at`; port 0 takes any free port.
    fn listen(&self, at: SocketAddr) -> impl Future<Output = io::Result<Self::Listener>> + 'static;

    /// The addresses of `host`, a name or an IP literal; never empty on success.
    fn resolve(
        &self,
        host: &str,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + 'static;
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
