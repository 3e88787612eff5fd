//! One connection's task: bytes from the socket to the torrent, and back.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use reseed_protocol::{ConnectionId, torrent::Input};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, split},
    sync::{mpsc, oneshot},
};

use crate::{Env, Network, RateLimiter, errands::Timetable, race};

/// Bytes read at a time at most: a TCP window without scaling.
const READ_MAX: usize = 64 * 1024;

/// Bytes written at a time at most: few enough that the torrent hears in good
/// time that there is room for more.
const WRITE_MAX: usize = 32 * 1024;

/// What all downloads and connections of a session share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) upload: RateLimiter,
    pub(crate) download: RateLimiter,
    pub(crate) timetable: Timetable,
    scratch: Rc<RefCell<Box<[u8]>>>,
}

impl Shared {
    pub(crate) fn new(upload: RateLimiter, download: RateLimiter) -> Shared {
        let scratch = vec![0; READ_MAX].into_boxed_slice();
        let timetable = Timetable::default();
        Shared { upload, download, timetable, scratch: Rc::new(RefCell::new(scratch)) }
    }

    /// Reads what is there. All connections read into one buffer and keep only
    /// what came, so that a thousand silent ones hold no memory.
    pub(crate) async fn read(&self, reader: &mut (impl AsyncRead + Unpin)) -> io::Result<BytesMut> {
        poll_fn(|context| self.poll_read(reader, context)).await
    }

    fn poll_read(
        &self,
        reader: &mut (impl AsyncRead + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<BytesMut>> {
        let mut scratch = self.scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch);
        ready!(Pin::new(reader).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(BytesMut::from(buffer.filled())))
    }
}

/// The torrent's end of a connection. Dropping it ends the connection's task,
/// whatever that is waiting for.
pub(crate) struct PeerHandle {
    pub(crate) outbox: mpsc::UnboundedSender<Bytes>,
    _alive: oneshot::Sender<()>,
}

/// The connection's end.
pub(crate) struct Peer<E> {
    env: E,
    connection: ConnectionId,
    inputs: mpsc::Sender<Input>,
    outbox: mpsc::UnboundedReceiver<Bytes>,
    ended: oneshot::Receiver<()>,
    shared: Shared,
}

/// Both ends of a connection.
pub(crate) fn pair<E: Env>(
    env: E,
    connection: ConnectionId,
    inputs: mpsc::Sender<Input>,
    shared: Shared,
) -> (PeerHandle, Peer<E>) {
    // What waits in it is bounded by the torrent, which knows how much is unsent.
    let (sender, outbox) = mpsc::unbounded_channel();
    let (alive, ended) = oneshot::channel();
    let handle = PeerHandle { outbox: sender, _alive: alive };
    (handle, Peer { env, connection, inputs, outbox, ended, shared })
}

impl<E: Env> Peer<E> {
    /// Opens the connection, then serves it to its end.
    pub(crate) async fn dial<N: Network>(mut self, network: N, addr: SocketAddr) {
        let connected = race! {
            _ = &mut self.ended => return,
            connected = network.connect(addr) => connected,
        };
        match connected {
            Ok(stream) => {
                let input = Input::Dialled { connection: self.connection };
                if self.inputs.send(input).await.is_ok() {
                    self.serve(stream).await;
                }
            }
            Err(error) => {
                tracing::debug!(%addr, %error, "cannot connect");
                // Without a torrent it is nobody's connection.
                let _ = self.inputs.send(Input::Lost { connection: self.connection }).await;
            }
        }
    }

    /// Moves bytes both ways until either side ends it.
    pub(crate) async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let Peer { env, connection, inputs, outbox, ended, shared } = self;
        let (reader, writer) = split(stream);
        race! {
            _ = ended => return,
            () = read(reader, &env, connection, &inputs, &shared) => {},
            () = write(writer, &env, connection, &inputs, &shared, outbox) => {},
        }
        // Without a torrent it is nobody's connection.
        let _ = inputs.send(Input::Lost { connection }).await;
    }
}

async fn read(
    mut reader: impl AsyncRead + Unpin,
    env: &impl Env,
    connection: ConnectionId,
    inputs: &mpsc::Sender<Input>,
    shared: &Shared,
) {
    loop {
        let bytes = match shared.read(&mut reader).await {
            Ok(bytes) if bytes.is_empty() => return,
            Ok(bytes) => bytes,
            Err(error) => return tracing::debug!(%connection, %error, "cannot read on"),
        };
        shared.download.acquire(env, bytes.len() as u64).await;
        if inputs.send(Input::Received { connection, bytes }).await.is_err() {
            return;
        }
    }
}

async fn write(
    mut writer: impl AsyncWrite + Unpin,
    env: &impl Env,
    connection: ConnectionId,
    inputs: &mpsc::Sender<Input>,
    shared: &Shared,
    mut outbox: mpsc::UnboundedReceiver<Bytes>,
) {
    while let Some(mut waiting) = outbox.recv().await {
        while !waiting.is_empty() {
            let bytes = waiting.split_to(waiting.len().min(WRITE_MAX));
            shared.upload.acquire(env, bytes.len() as u64).await;
            if let Err(error) = writer.write_all(&bytes).await {
                return tracing::debug!(%connection, %error, "cannot write on");
            }
            let flushed = Input::Flushed { connection, bytes: bytes.len() };
            if inputs.send(flushed).await.is_err() {
                return;
            }
        }
    }
}
