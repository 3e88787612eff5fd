//! A host's UDP sockets.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use reseed_client::Datagrams;
use turmoil_net::shim::tokio::net::UdpSocket;

use crate::{HostNetwork, network::turmoil_net::Shared, stack::NativeDatagrams};

/// A UDP socket.
pub struct SimDatagrams(Socket);

enum Socket {
    TurmoilNet { socket: Rc<Shared<UdpSocket>>, network: HostNetwork },
    Native(NativeDatagrams),
}

impl SimDatagrams {
    pub(crate) fn bind(network: HostNetwork, at: SocketAddr) -> io::Result<SimDatagrams> {
        if let Some(stacks) = &network.core.native {
            return Ok(SimDatagrams(Socket::Native(NativeDatagrams::bind(&network, stacks, at)?)));
        }
        let socket = network.call(|| at_once(UdpSocket::bind(at)))?;
        let socket = Shared::new(&network, socket);
        Ok(SimDatagrams(Socket::TurmoilNet { socket, network }))
    }

    /// Where it is bound.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Socket::TurmoilNet { socket, network } => socket.call(network, UdpSocket::local_addr),
            Socket::Native(socket) => socket.local_addr(),
        }
    }
}

impl Datagrams for SimDatagrams {
    /// More than the MTU allows is an error.
    async fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        let (socket, network) = match &self.0 {
            Socket::TurmoilNet { socket, network } => (socket, network),
            Socket::Native(socket) => return socket.send_to(bytes, to),
        };
        network.core.touch();
        socket.call(network, |socket| at_once(socket.send_to(bytes, to)))?;
        Ok(())
    }

    async fn receive_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (socket, network) = match &self.0 {
            Socket::TurmoilNet { socket, network } => (socket, network),
            Socket::Native(socket) => return socket.receive_from(buffer).await,
        };
        poll_fn(|cx| {
            let poll = socket.call(network, |socket| {
                // The stack keeps the waker, so the future need not live on.
                Ok(pin!(socket.recv_from(buffer)).poll(cx))
            });
            poll.unwrap_or_else(|error| Poll::Ready(Err(error)))
        })
        .await
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Socket::TurmoilNet { socket, network } = self {
            socket.close_in(network);
        }
    }
}

/// The value of a future that is asynchronous only in name.
fn at_once<R>(future: impl Future<Output = io::Result<R>>) -> io::Result<R> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}
