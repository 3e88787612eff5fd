//! What a stream carries, for whoever wants to watch.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use reseed_client::Connection;
use reseed_protocol::{Time, wire::Parts};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream's end, numbered in order of opening within a world. The two ends of
/// a connection have a number each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The remote.
    Incoming,
    /// This end.
    Outgoing,
}

/// Watches every stream of a world, at the point where the application writes
/// and reads. It is called in the middle of a poll and must not call back.
pub trait Tap {
    /// A connection is established, by or to the `owner`th host, between these local
    /// and remote addresses.
    fn opened(
        &self,
        stream: StreamId,
        now: Time,
        owner: usize,
        ends: [SocketAddr; 2],
        direction: Direction,
    );

    /// The application wrote `bytes`.
    fn wrote(&self, stream: StreamId, now: Time, bytes: &[u8]);

    /// The application wrote the first `length` of `bytes`, all at once.
    fn wrote_parts(&self, stream: StreamId, now: Time, bytes: &Parts, length: usize) {
        self.wrote(stream, now, &bytes.to_bytes()[..length]);
    }

    /// The application read `bytes`.
    fn read(&self, stream: StreamId, now: Time, bytes: &[u8]);

    /// The application dropped the stream.
    fn closed(&self, stream: StreamId, now: Time);
}

/// A stream that tells a [`Tap`] what passes, if there is one.
pub struct Tapped<S> {
    stream: S,
    watched: Option<Watched>,
}

struct Watched {
    id: StreamId,
    tap: Rc<dyn Tap>,
    now: Rc<dyn Fn() -> Time>,
}

impl<S> Tapped<S> {
    /// `stream`, unwatched.
    pub fn unwatched(stream: S) -> Tapped<S> {
        Tapped { stream, watched: None }
    }

    /// `stream`, watched by `tap`, which has been told that it is open. `now`
    /// reads the world's clock.
    pub fn watched(
        stream: S,
        id: StreamId,
        tap: Rc<dyn Tap>,
        now: Rc<dyn Fn() -> Time>,
    ) -> Tapped<S> {
        Tapped { stream, watched: Some(Watched { id, tap, now }) }
    }

    /// The stream within.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tapped<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        let bytes = &buffer.filled()[before..];
        if let Some(Watched { id, tap, now }) = &this.watched
            && !bytes.is_empty()
        {
            tap.read(*id, now(), bytes);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tapped<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
        if let Some(Watched { id, tap, now }) = &this.watched {
            tap.wrote(*id, now(), &bytes[..written]);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl<S: Connection> Connection for Tapped<S> {
    fn expect(&mut self, bytes: usize) {
        self.stream.expect(bytes);
    }

    fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        scratch: &mut Vec<u8>,
        into: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let before = into.len();
        let read = ready!(self.stream.poll_read_into(cx, most, scratch, into))?;
        if let Some(Watched { id, tap, now }) = &self.watched
            && read > 0
        {
            tap.read(*id, now(), &into[before..]);
        }
        Poll::Ready(Ok(read))
    }

    fn poll_write_parts(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &Parts,
        length: usize,
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.stream.poll_write_parts(cx, bytes, length))?;
        if let Some(Watched { id, tap, now }) = &self.watched {
            tap.wrote_parts(*id, now(), bytes, written);
        }
        Poll::Ready(Ok(written))
    }
}

impl<S> Drop for Tapped<S> {
    fn drop(&mut self) {
        if let Some(Watched { id, tap, now }) = &self.watched {
            tap.closed(*id, now());
        }
    }
}
