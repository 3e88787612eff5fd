//! Sockets of our own stack, as processes hold them.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, ErrorKind},
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use reseed_protocol::wire::Parts;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Id, Stacks, buffer::SendBuffer};
use crate::{HostId, HostNetwork, core::Core};

/// A socket's place.
struct Socket {
    network: HostNetwork,
    stacks: Rc<RefCell<Stacks>>,
    /// Whose stack it is in.
    host: HostId,
    id: Id,
}

impl Socket {
    fn new(network: &HostNetwork, stacks: &Rc<RefCell<Stacks>>, host: HostId, id: Id) -> Socket {
        Socket { network: network.clone(), stacks: stacks.clone(), host, id }
    }

    /// Has the stack asked for packets before the time moves.
    fn touch(&self, stacks: &mut Stacks) {
        stacks.touch(self.host, self.id);
        self.core().touch();
    }

    fn core(&self) -> &Core {
        &self.network.core
    }

    /// Closes it, unless the world is gone.
    fn close(&self, close: impl FnOnce(&mut Stacks, HostId, Id)) {
        if self.core().running.get() {
            close(&mut self.stacks.borrow_mut(), self.host, self.id);
            self.core().touch();
        }
    }
}

/// A TCP connection's end.
pub(crate) struct NativeStream {
    socket: Socket,
    local: SocketAddr,
    remote: SocketAddr,
}

impl NativeStream {
    /// Starts to open a connection; [`NativeStream::poll_open`] tells when it is.
    pub(crate) fn dial(
        network: &HostNetwork,
        stacks: &Rc<RefCell<Stacks>>,
        remote: SocketAddr,
    ) -> io::Result<NativeStream> {
        let host = network.landlord();
        let (id, local) =
            network.call(|| stacks.borrow_mut().connect(host, network.host(), remote))?;
        network.core.touch();
        Ok(NativeStream { socket: Socket::new(network, stacks, host, id), local, remote })
    }

    pub(crate) fn poll_open(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|connection| connection.poll_open(cx))
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    pub(crate) fn remote_addr(&self) -> SocketAddr {
        self.remote
    }

    /// The next read that succeeds waits for so many bytes, or all that there will be.
    pub(crate) fn set_low_water(&mut self, bytes: usize) {
        if let Some(connection) =
            self.socket.stacks.borrow_mut().connections.get_mut(self.socket.id)
        {
            connection.set_low_water(bytes);
        }
    }

    /// Runs a call to the connection, unless the host has stopped since.
    fn poll<R>(
        &self,
        call: impl FnOnce(&mut super::Connection) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        let mut stacks = self.socket.stacks.borrow_mut();
        let connection = stacks.connections.get_mut(self.socket.id);
        match connection.filter(|_| self.socket.network.is_running()) {
            Some(connection) => call(connection),
            None => Poll::Ready(Err(ErrorKind::ConnectionReset.into())),
        }
    }

    fn touch(&self) {
        self.socket.touch(&mut self.socket.stacks.borrow_mut());
    }

    /// Reads what is there, and puts it behind what `into` holds.
    pub(crate) fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        into: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let read = self.poll(|connection| connection.poll_read(cx, |it| it.read_into(most, into)));
        let (read, has_to_say) = ready!(read)?;
        if has_to_say {
            self.touch();
        }
        Poll::Ready(Ok(read))
    }

    /// Writes the first `length` of bytes that stay where they are.
    pub(crate) fn poll_write_parts(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &Parts,
        length: usize,
    ) -> Poll<io::Result<usize>> {
        let write = |unsent: &mut SendBuffer, length| {
            bytes.first(length).for_each(|part| unsent.push_bytes(part));
        };
        let written = self.poll(|connection| connection.poll_write(cx, length, write));
        let written = ready!(written)?;
        self.touch();
        Poll::Ready(Ok(written))
    }
}

impl AsyncRead for NativeStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let read = self.poll(|connection| connection.poll_read(cx, |it| it.read(buffer)));
        let ((), has_to_say) = ready!(read)?;
        if has_to_say {
            self.touch();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for NativeStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = |unsent: &mut SendBuffer, length| unsent.push(&bytes[..length]);
        let written = self.poll(|connection| connection.poll_write(cx, bytes.len(), write));
        let written = ready!(written)?;
        self.touch();
        Poll::Ready(Ok(written))
    }

    /// What is written is on its way.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll(|connection| Poll::Ready(connection.shut_down())))?;
        self.touch();
        Poll::Ready(Ok(()))
    }
}

impl Drop for NativeStream {
    fn drop(&mut self) {
        self.socket.close(Stacks::close_connection);
    }
}

/// A listening socket.
pub(crate) struct NativeListener {
    socket: Socket,
    local: SocketAddr,
}

impl NativeListener {
    pub(crate) fn bind(
        network: &HostNetwork,
        stacks: &Rc<RefCell<Stacks>>,
        at: SocketAddr,
    ) -> io::Result<NativeListener> {
        let host = network.landlord();
        let (id, local) = network.call(|| stacks.borrow_mut().listen(host, network.host(), at))?;
        Ok(NativeListener { socket: Socket::new(network, stacks, host, id), local })
    }

    pub(crate) async fn accept(&mut self) -> io::Result<NativeStream> {
        let Socket { network, stacks, host, id } = &self.socket;
        let accepted = poll_fn(|cx| {
            let poll = network.call(|| Ok(stacks.borrow_mut().poll_accept(*id, cx)));
            poll.unwrap_or_else(|error| Poll::Ready(Err(error)))
        });
        let (id, local, remote) = accepted.await?;
        Ok(NativeStream { socket: Socket::new(network, stacks, *host, id), local, remote })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        let listens = self.socket.stacks.borrow().listeners.get(self.socket.id).is_some();
        let listens = listens && self.socket.core().running.get();
        if listens { Ok(self.local) } else { Err(ErrorKind::NotConnected.into()) }
    }
}

impl Drop for NativeListener {
    fn drop(&mut self) {
        self.socket.close(Stacks::close_listener);
    }
}

/// A UDP socket.
pub(crate) struct NativeDatagrams {
    socket: Socket,
    local: SocketAddr,
}

impl NativeDatagrams {
    pub(crate) fn bind(
        network: &HostNetwork,
        stacks: &Rc<RefCell<Stacks>>,
        at: SocketAddr,
    ) -> io::Result<NativeDatagrams> {
        let host = network.landlord();
        let (id, local) =
            network.call(|| stacks.borrow_mut().bind_datagrams(host, network.host(), at))?;
        Ok(NativeDatagrams { socket: Socket::new(network, stacks, host, id), local })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.network.call(|| Ok(self.local))
    }

    pub(crate) fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        let Socket { network, stacks, host, id } = &self.socket;
        network.call(|| stacks.borrow_mut().send_datagram(*host, *id, bytes, to))?;
        network.core.touch();
        Ok(())
    }

    pub(crate) async fn receive_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let Socket { network, stacks, id, .. } = &self.socket;
        let received = poll_fn(|cx| {
            let poll = network.call(|| {
                let mut stacks = stacks.borrow_mut();
                let socket = stacks.datagrams.get_mut(*id).ok_or(ErrorKind::NotConnected)?;
                Ok(socket.poll_receive(cx))
            });
            match poll {
                Ok(poll) => poll.map(Ok),
                Err(error) => Poll::Ready(Err(error)),
            }
        });
        let (from, payload) = received.await?;
        let length = payload.len().min(buffer.len());
        buffer[..length].copy_from_slice(&payload[..length]);
        Ok((length, from))
    }
}

impl Drop for NativeDatagrams {
    fn drop(&mut self) {
        self.socket.close(Stacks::close_datagrams);
    }
}
