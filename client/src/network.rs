//! The network that a peer runs on.

use std::{
    future::Future,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use reseed_protocol::wire::Parts;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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

    /// Reads what is there, `most` bytes of it at most, and puts it behind what `into`
    /// holds. Who has the bytes in memory puts them there at once; another reads them into
    /// `scratch`, which it makes large enough, so that `into` grows by no more than came.
    fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        scratch: &mut Vec<u8>,
        into: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        if scratch.len() < most {
            scratch.resize(most, 0);
        }
        let mut buffer = ReadBuf::new(&mut scratch[..most]);
        ready!(Pin::new(self).poll_read(cx, &mut buffer))?;
        into.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Writes the first `length` of `bytes`, or some of them. Who can keeps them as they
    /// are.
    fn poll_write_parts(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &Parts,
        length: usize,
    ) -> Poll<io::Result<usize>> {
        let slices: Vec<IoSlice<'_>> = bytes.slices(length).map(IoSlice::new).collect();
        Pin::new(self).poll_write_vectored(cx, &slices)
    }
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
