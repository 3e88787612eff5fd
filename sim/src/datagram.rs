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

use crate::{HostNetwork, network::Shared};

/// A UDP socket.
pub struct SimDatagrams {
    socket: Rc<Shared<UdpSocket>>,
    network: HostNetwork,
}

impl SimDatagrams {
    pub(crate) fn bind(network: HostNetwork, at: SocketAddr) -> io::Result<SimDatagrams> {
        let socket = network.call(|| at_once(UdpSocket::bind(at)))?;
        Ok(SimDatagrams { socket: Shared::new(&network, socket), network })
    }

    /// Where it is bound.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.call(&self.network, UdpSocket::local_addr)
    }
}

impl Datagrams for SimDatagrams {
    /// More than the MTU allows is an error.
    async fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        self.network.core.touch();
        self.socket.call(&self.network, |socket| at_once(socket.send_to(bytes, to)))?;
        Ok(())
    }

    async fn receive_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        poll_fn(|cx| {
            let poll = self.socket.call(&self.network, |socket| {
                // The stack keeps the waker, so the future need not live on.
                Ok(pin!(socket.recv_from(buffer)).poll(cx))
            });
            poll.unwrap_or_else(|error| Poll::Ready(Err(error)))
        })
        .await
    }
}

impl Drop for SimDatagrams {
    fn drop(&mut self) {
        self.socket.close_in(&self.network);
    }
}

/// The value of a future that is asynchronous only in name.
fn at_once<R>(future: impl Future<Output = io::Result<R>>) -> io::Result<R> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}
