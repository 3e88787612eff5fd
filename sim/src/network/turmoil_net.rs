//! TCP over the stacks of `turmoil-net`, safe against their edges.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use reseed_client::Connection;
use reseed_protocol::wire::Parts;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil_net::{
    netstat,
    shim::tokio::net::{TcpListener, TcpStream},
};

use super::{HostNetwork, stopped};
use crate::{core::Core, timer::Sleep};

/// Bytes that a stack buffers for a socket's reader.
pub(crate) const RECEIVE_BUFFER: usize = 64 * 1024;

/// A stack tells its peer of room in the buffer only when one read has freed
/// half of it.
const WINDOW_UPDATE: usize = RECEIVE_BUFFER / 2;

/// How often it is seen whether a port is free whose connections linger.
const LINGER_CHECK: Duration = Duration::from_millis(1);

/// How long they may keep it. They end within a round trip, but for those whose remote
/// cannot be reached any more, which would go on for minutes.
const LINGER_MAX: Duration = Duration::from_secs(2);

/// What becomes a connection.
pub(crate) type Connecting = Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>;

/// A connection being opened. Who gives it up has its socket closed after the next
/// flush: a host that dials itself is half connected by then otherwise, and the stack
/// never lets go of half a connection that is reset, nor of its port.
pub(crate) struct Handshake {
    future: Option<Connecting>,
    network: HostNetwork,
}

impl Handshake {
    pub(crate) fn new(network: &HostNetwork, to: SocketAddr) -> Handshake {
        Handshake { future: Some(Box::pin(TcpStream::connect(to))), network: network.clone() }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<NetStream>> {
        let HostNetwork { core, .. } = &self.network;
        let future = self.future.as_mut().expect("it is polled until it is ready");
        let poll = self.network.call(|| {
            core.touch();
            Ok(future.as_mut().poll(cx))
        })?;
        if poll.is_ready() {
            self.future = None;
        }
        poll.map_ok(|socket| NetStream::new(&self.network, socket))
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        if let Some(future) = self.future.take() {
            self.network.core.give_up(self.network.host, future);
        }
    }
}

/// A TCP connection's end.
pub(crate) struct NetStream {
    /// `None` only while it is being dropped.
    socket: Option<TcpStream>,
    network: HostNetwork,
    /// Read from the stack, not yet by the application. The stack is always
    /// read in one go, whatever the application asks for: a peer that saw the
    /// window close is told of room only by a read of half the buffer, and would
    /// wait for ever on a reader with a smaller one.
    unread: Bytes,
    /// The remote has said its last word, or there was an error.
    ended: bool,
}

impl NetStream {
    fn new(network: &HostNetwork, socket: TcpStream) -> NetStream {
        let network = network.clone();
        NetStream { socket: Some(socket), network, unread: Bytes::new(), ended: false }
    }

    /// This end's address.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.network.call(|| self.socket().local_addr())
    }

    /// The other end's address.
    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.network.call(|| self.socket().peer_addr())
    }

    fn socket(&self) -> &TcpStream {
        self.socket.as_ref().expect("it is there until the drop")
    }

    /// Runs a call to the socket, unless the host has stopped since.
    fn poll<R>(
        &mut self,
        call: impl FnOnce(Pin<&mut TcpStream>, &Core) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        let HostNetwork { core, .. } = &self.network;
        let socket = self.socket.as_mut().expect("it is there until the drop");
        match self.network.call(|| Ok(call(Pin::new(socket), core))) {
            Ok(poll) => poll,
            Err(_) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

impl Connection for NetStream {
    /// The stack copies them in any case.
    fn poll_write_parts(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &Parts,
        length: usize,
    ) -> Poll<io::Result<usize>> {
        Pin::new(self).poll_write(cx, &bytes.to_bytes()[..length])
    }
}

impl AsyncRead for NetStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if this.unread.is_empty() {
            return this.poll_read_stack(cx, buffer);
        }
        let now = this.unread.len().min(buffer.remaining());
        buffer.put_slice(&this.unread[..now]);
        this.unread.advance(now);
        Poll::Ready(Ok(()))
    }
}

impl NetStream {
    /// Reads all that the stack has, leaving in `unread` what does not fit.
    fn poll_read_stack(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut unread = Bytes::new();
        let poll = self.poll(|socket, core| {
            let read = if buffer.remaining() >= RECEIVE_BUFFER {
                let before = buffer.filled().len();
                ready!(socket.poll_read(cx, buffer))?;
                buffer.filled().len() - before
            } else {
                let mut scratch = core.scratch.borrow_mut();
                let mut whole = ReadBuf::new(&mut scratch);
                ready!(socket.poll_read(cx, &mut whole))?;
                let (now, later) = whole
                    .filled()
                    .split_at_checked(buffer.remaining())
                    .unwrap_or((whole.filled(), &[]));
                buffer.put_slice(now);
                unread = Bytes::copy_from_slice(later);
                now.len() + later.len()
            };
            if read >= WINDOW_UPDATE {
                core.touch();
            }
            Poll::Ready(Ok(read))
        });
        self.unread = unread;
        self.ended |= matches!(poll, Poll::Ready(Ok(0) | Err(_)));
        poll.map_ok(drop)
    }
}

impl AsyncWrite for NetStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll(|socket, core| {
            core.touch();
            socket.poll_write(cx, bytes)
        })
    }

    /// What is written is on its way.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll(|socket, core| {
            core.touch();
            socket.poll_shutdown(cx)
        })
    }
}

impl Drop for NetStream {
    fn drop(&mut self) {
        let core = self.network.core.clone();
        if core.enter(self.network.host)
            && let (Ok(local), Ok(remote)) = (self.socket().local_addr(), self.socket().peer_addr())
        {
            if is_local(&local, &remote) {
                if !self.ended
                    && let Some(socket) = self.socket.take()
                {
                    core.part(self.network.host, socket);
                }
            } else if !self.unread.is_empty() {
                // As a stack does that has unread bytes itself.
                core.aborts.borrow_mut().push((local, remote));
            } else if !self.ended {
                core.orphans.borrow_mut().insert((local, remote));
            }
        }
        if let Some(socket) = self.socket.take() {
            close(&self.network, socket);
        }
    }
}

/// Whether what is said between these two never leaves its host's stack.
fn is_local(local: &SocketAddr, remote: &SocketAddr) -> bool {
    remote.ip().is_loopback() || remote.ip() == local.ip()
}

/// A socket without a connection, which its host's stop closes wherever it is
/// held.
pub(crate) struct Shared<S>(pub(crate) RefCell<Option<S>>);

/// Closes a socket; the caller has entered its host.
pub(crate) trait Close {
    fn close(&self);
}

impl<S> Close for Shared<S> {
    fn close(&self) {
        let socket = self.0.borrow_mut().take();
        drop(socket);
    }
}

impl<S: 'static> Shared<S> {
    pub(crate) fn new(network: &HostNetwork, socket: S) -> Rc<Shared<S>> {
        let shared = Rc::new(Shared(RefCell::new(Some(socket))));
        let weak: Weak<Shared<S>> = Rc::downgrade(&shared);
        network.core.add_socket(network.host, weak);
        shared
    }

    /// Runs a call to the socket.
    pub(crate) fn call<R>(
        &self,
        network: &HostNetwork,
        call: impl FnOnce(&S) -> io::Result<R>,
    ) -> io::Result<R> {
        network.call(|| self.0.borrow().as_ref().ok_or_else(stopped).and_then(call))
    }

    /// Drops the socket in its own stack.
    pub(crate) fn close_in(&self, network: &HostNetwork) {
        let socket = self.0.borrow_mut().take();
        if let Some(socket) = socket {
            close(network, socket);
        }
    }
}

/// A listening TCP socket.
pub(crate) struct NetListener {
    socket: Rc<Shared<TcpListener>>,
    network: HostNetwork,
}

impl NetListener {
    /// Where connections of a process that is gone still linger, it waits for them to
    /// end, and resets them in the end: the stack knows no `SO_REUSEADDR`, which would let
    /// it listen at once.
    pub(crate) async fn bind(network: HostNetwork, at: SocketAddr) -> io::Result<NetListener> {
        let executor = network.core.executor.clone();
        let patience = executor.now() + LINGER_MAX;
        let socket = loop {
            let error = match bind(&network, at).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => error,
                bound => break Shared::new(&network, bound?),
            };
            let Some(lingering) = lingering(&network, at.port()) else { return Err(error) };
            if executor.now() >= patience {
                // What a host says to itself ends when its other process is done with it.
                let apart =
                    lingering.into_iter().filter(|(local, remote)| !is_local(local, remote));
                network.core.aborts.borrow_mut().extend(apart);
                network.core.touch();
            }
            Sleep::new(executor.clone(), executor.now() + LINGER_CHECK).await;
        };
        Ok(NetListener { socket, network })
    }

    pub(crate) async fn accept(&mut self) -> io::Result<NetStream> {
        let accepted = poll_fn(|cx| {
            let poll = self.socket.call(&self.network, |socket| Ok(socket.poll_accept(cx)));
            poll.unwrap_or_else(|error| Poll::Ready(Err(error)))
        });
        let (stream, _) = accepted.await?;
        Ok(NetStream::new(&self.network, stream))
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.call(&self.network, TcpListener::local_addr)
    }
}

async fn bind(network: &HostNetwork, at: SocketAddr) -> io::Result<TcpListener> {
    let mut bind = Box::pin(TcpListener::bind(at));
    // The stack binds at once; the call is asynchronous only in name.
    poll_fn(|cx| match network.call(|| Ok(bind.as_mut().poll(cx))) {
        Ok(poll) => poll,
        Err(error) => Poll::Ready(Err(error)),
    })
    .await
}

/// The connections of the host at `port`, as (local, remote); `None` if somebody listens
/// there.
fn lingering(network: &HostNetwork, port: u16) -> Option<Vec<(SocketAddr, SocketAddr)>> {
    let HostNetwork { core, host, .. } = network;
    let name = core.host_name(*host);
    let names = core.names.borrow();
    let Some(address) = names.get(&*name).and_then(|addresses| addresses.first()) else {
        return Some(Vec::new());
    };
    core.enter(*host);
    let entries = netstat(*address).entries;
    let at_port = entries.iter().filter(|entry| entry.local.port() == port);
    at_port.map(|entry| entry.peer.map(|peer| (entry.local, peer))).collect()
}

impl Drop for NetListener {
    fn drop(&mut self) {
        self.socket.close_in(&self.network);
    }
}

/// Drops a socket in its own stack, or not at all if there is none any more.
fn close<S>(network: &HostNetwork, socket: S) {
    if network.core.enter(network.host) {
        network.core.touch();
        drop(socket);
    } else {
        std::mem::forget(socket);
    }
}
