//! One connection's task: bytes from the socket to the torrent, and back.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn, ready},
    io,
    net::SocketAddr,
    rc::{Rc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use futures_util::{FutureExt, future::Either, task::AtomicWaker};
use reseed_protocol::{
    ConnectionId, Time,
    torrent::Input,
    wire::{Framing, Parts},
};
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::{
    Buggify, Connection, Env, Network, RateLimiter, errands::Timetable, race, race::timeout_at,
};

/// Bytes read at a time at most, and kept at most of a message that has not ended: a TCP
/// window without scaling.
const READ_MAX: usize = 64 * 1024;

/// How long part of a message waits for the rest: what comes in at all is to be seen in
/// the rates and by who waits for a sign of life.
const HOLD_MAX: Duration = Duration::from_secs(1);

/// Bytes written at a time at most: few enough that the torrent hears in good
/// time that there is room for more.
const WRITE_MAX: usize = 32 * 1024;

/// Bytes that have left before the torrent hears of them. Only blocks matter to it: it
/// counts what is on its way, so as to read no more of them than are worth it. A word for
/// each small message would have it look twice at whatever it says.
const TOLD_MIN: usize = 4 * 1024;

/// How long a remote may take in nothing of what is sent to it. Keepalives, which a
/// reader sends every two minutes (BEP 3), do not make up for that.
const WRITE_TIMEOUT: Duration = Duration::from_secs(120);

/// What all downloads and connections of a session share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) upload: RateLimiter,
    pub(crate) download: RateLimiter,
    pub(crate) timetable: Timetable,
    scratch: Rc<RefCell<Vec<u8>>>,
}

impl Shared {
    pub(crate) fn new(upload: RateLimiter, download: RateLimiter) -> Shared {
        Shared { upload, download, timetable: Timetable::default(), scratch: Rc::default() }
    }

    /// Reads what is there. All connections read into one buffer and keep only
    /// what came, so that a thousand silent ones hold no memory.
    pub(crate) async fn read(&self, reader: &mut impl Connection) -> io::Result<BytesMut> {
        let mut bytes = BytesMut::new();
        poll_fn(|context| self.poll_read(reader, READ_MAX, &mut bytes, context)).await?;
        Ok(bytes)
    }

    /// The same, behind what was read before.
    fn poll_read(
        &self,
        reader: &mut impl Connection,
        most: usize,
        into: &mut BytesMut,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        reader.poll_read_into(context, most, &mut self.scratch.borrow_mut(), into)
    }
}

/// What the torrent tells a connection's task. How much waits to be written is bounded by
/// the torrent, which knows what is unsent.
#[derive(Default)]
struct Orders {
    unwritten: RefCell<Parts>,
    /// Who waits for something to write.
    writer: AtomicWaker,
    /// Whether the connection is to end.
    ended: Cell<bool>,
    /// Who waits for that.
    server: AtomicWaker,
}

impl Orders {
    /// Takes all that waits to be written, once there is something.
    async fn take(&self) -> Parts {
        poll_fn(|cx| {
            let unwritten = self.unwritten.take();
            if unwritten.is_empty() {
                self.writer.register(cx.waker());
                return Poll::Pending;
            }
            Poll::Ready(unwritten)
        })
        .await
    }

    /// Completes once the connection is to end.
    async fn ended(&self) {
        poll_fn(|cx| {
            if self.ended.get() {
                return Poll::Ready(());
            }
            self.server.register(cx.waker());
            Poll::Pending
        })
        .await
    }
}

/// The torrent's end of a connection. Dropping it ends the connection's task,
/// whatever that is waiting for.
pub(crate) struct PeerHandle {
    /// Gone if the task has ended.
    orders: Weak<Orders>,
}

impl PeerHandle {
    /// Has `bytes` written after those before. If the task has ended, nothing comes of it;
    /// the torrent hears of that soon.
    pub(crate) fn send(&self, mut bytes: Parts) {
        if let Some(orders) = self.orders.upgrade() {
            orders.unwritten.borrow_mut().append(&mut bytes);
            orders.writer.wake();
        }
    }
}

impl Drop for PeerHandle {
    fn drop(&mut self) {
        if let Some(orders) = self.orders.upgrade() {
            orders.ended.set(true);
            orders.server.wake();
        }
    }
}

/// The connection's end.
pub(crate) struct Peer<E> {
    env: E,
    connection: ConnectionId,
    inputs: mpsc::Sender<Input>,
    orders: Rc<Orders>,
    shared: Shared,
}

/// Both ends of a connection.
pub(crate) fn pair<E: Env>(
    env: E,
    connection: ConnectionId,
    inputs: mpsc::Sender<Input>,
    shared: Shared,
) -> (PeerHandle, Peer<E>) {
    let orders = Rc::<Orders>::default();
    let handle = PeerHandle { orders: Rc::downgrade(&orders) };
    (handle, Peer { env, connection, inputs, orders, shared })
}

// There may be many connections, so that the room that their tasks take matters: what is
// given to an `async fn` it holds twice, as it came and as it is used, and so these are
// functions that give `async` blocks.
impl<E: Env> Peer<E> {
    /// Opens the connection, then serves it to its end.
    pub(crate) fn dial<N: Network>(
        self,
        network: N,
        addr: SocketAddr,
    ) -> impl Future<Output = ()> + use<N, E> {
        Box::pin(self.open(network, addr)).then(|opened| match opened {
            Some((peer, stream)) => Either::Left(peer.serve(stream, Framing::new())),
            None => Either::Right(ready(())),
        })
    }

    async fn open<N: Network>(self, network: N, addr: SocketAddr) -> Option<(Peer<E>, N::Stream)> {
        let late = self.env.buggify(Buggify::LateDial);
        let connect = async {
            if late {
                self.env.sleep_until(self.env.now() + Buggify::WHILE).await;
            }
            network.connect(addr).await
        };
        let connected = race! {
            () = self.orders.ended() => return None,
            connected = connect => connected,
        };
        match connected {
            Ok(stream) => {
                let input = Input::Dialled { connection: self.connection };
                tell(&self.inputs, input).await.then_some((self, stream))
            }
            Err(error) => {
                tracing::debug!(%addr, %error, "cannot connect");
                // Without a torrent it is nobody's connection.
                tell(&self.inputs, Input::Lost { connection: self.connection }).await;
                None
            }
        }
    }

    /// Moves bytes both ways until either side ends it. What was read of the stream before
    /// has brought it as far as `framing` says.
    pub(crate) fn serve<S: Connection>(
        self,
        stream: S,
        framing: Framing,
    ) -> impl Future<Output = ()> + use<S, E> {
        let Peer { env, connection, inputs, orders, shared } = self;
        let stream = RefCell::new(stream);
        async move {
            race! {
                () = orders.ended() => return,
                () = read(&stream, framing, &env, connection, &inputs, &shared) => {},
                () = write(&stream, &env, connection, &inputs, &shared, &orders) => {},
            }
            // Without a torrent it is nobody's connection.
            tell(&inputs, Input::Lost { connection }).await;
        }
    }
}

/// Tells the torrent of `input`, once there is room for that; whether it is still there.
fn tell(inputs: &mpsc::Sender<Input>, input: Input) -> impl Future<Output = bool> + use<'_> {
    match inputs.try_send(input) {
        Ok(()) => Either::Left(ready(true)),
        Err(TrySendError::Closed(_)) => Either::Left(ready(false)),
        // In a box: it is rare.
        Err(TrySendError::Full(input)) => {
            Either::Right(Box::pin(inputs.send(input)).map(|sent| sent.is_ok()))
        }
    }
}

/// What a connection begins with: it passes a limit before what others wait for. Behind
/// their blocks a handshake may take longer than it is waited for.
#[derive(Default)]
struct Opening {
    passed: usize,
}

impl Opening {
    /// So much of it there is at most (bytes): handshakes, and what is said with them of
    /// extensions and pieces.
    const MAX: usize = 1024;

    async fn pass(&mut self, limiter: &RateLimiter, env: &impl Env, bytes: usize) {
        self.passed = self.passed.saturating_add(bytes);
        match self.passed {
            ..=Opening::MAX => limiter.overdraw(env, bytes as u64),
            _ => limiter.acquire(env, bytes as u64).await,
        }
    }
}

/// Up to `most` bytes, and no more than a limit lets pass at once: each connection that has
/// something makes all others wait as long as that takes.
fn at_a_time(limiter: &RateLimiter, most: usize) -> usize {
    let burst = limiter.burst().and_then(|burst| usize::try_from(burst).ok());
    burst.map_or(most, |burst| burst.min(most))
}

/// Hands messages to the torrent, each of them whole unless it is long or slow.
#[expect(clippy::manual_async_fn, reason = "an `async fn` holds what it is given twice")]
fn read(
    stream: &RefCell<impl Connection>,
    mut framing: Framing,
    env: &impl Env,
    connection: ConnectionId,
    inputs: &mpsc::Sender<Input>,
    shared: &Shared,
) -> impl Future<Output = ()> {
    async move {
        // Read, and not handed over; since when there is something in it.
        let mut inbox = BytesMut::new();
        let mut since: Option<Time> = None;
        let mut opening = Opening::default();
        loop {
            let most = match env.buggify(Buggify::ShortRead) {
                true => Buggify::FEW_BYTES,
                false => at_a_time(&shared.download, READ_MAX),
            };
            if !inbox.is_empty() {
                stream.borrow_mut().expect(framing.missing());
            }
            let held = inbox.len();
            let mut poll_read = |cx: &mut Context<'_>| {
                shared.poll_read(&mut *stream.borrow_mut(), most, &mut inbox, cx)
            };
            let reading = poll_fn(&mut poll_read);
            let read = match since {
                None => Some(reading.await),
                Some(since) => timeout_at(env, since + HOLD_MAX, reading).await,
            };
            let is_late = read.is_none();
            let read = match read {
                Some(read) => read.map(Some),
                None => {
                    stream.borrow_mut().expect(1);
                    match poll_fn(|cx| Poll::Ready(poll_read(cx))).await {
                        Poll::Ready(read) => read.map(Some),
                        Poll::Pending => Ok(None),
                    }
                }
            };
            let ready = match read {
                Ok(None) => inbox.len(),
                Ok(Some(read)) if read > 0 => {
                    opening.pass(&shared.download, env, read).await;
                    match framing.follow(&inbox[held..]) {
                        _ if is_late || held + framing.missing() > READ_MAX => inbox.len(),
                        0 => 0,
                        end => held + end,
                    }
                }
                Ok(Some(_)) => {
                    tell(inputs, Input::Received { connection, bytes: inbox }).await;
                    return;
                }
                Err(error) => return tracing::debug!(%connection, %error, "cannot read on"),
            };
            let mut bytes = BytesMut::new();
            if ready > 0 {
                bytes = std::mem::take(&mut inbox);
                // What is left is little, and would keep the room of what is handed over.
                inbox.extend_from_slice(&bytes[ready..]);
                bytes.truncate(ready);
            }
            match inbox.is_empty() {
                true => since = None,
                false if ready > 0 || since.is_none() => since = Some(env.now()),
                false => {}
            }
            if bytes.is_empty() {
                continue;
            }
            if env.buggify(Buggify::LateRead) {
                env.sleep_until(env.now() + Buggify::WHILE).await;
            }
            if !tell(inputs, Input::Received { connection, bytes }).await {
                return;
            }
        }
    }
}

#[expect(clippy::manual_async_fn, reason = "an `async fn` holds what it is given twice")]
fn write(
    stream: &RefCell<impl Connection>,
    env: &impl Env,
    connection: ConnectionId,
    inputs: &mpsc::Sender<Input>,
    shared: &Shared,
    orders: &Orders,
) -> impl Future<Output = ()> {
    async move {
        let mut flushed = 0;
        let mut opening = Opening::default();
        loop {
            let mut waiting = orders.take().await;
            while !waiting.is_empty() {
                let most = at_a_time(&shared.upload, WRITE_MAX);
                let mut bytes = waiting.split_to(waiting.len().min(most));
                flushed += bytes.len();
                opening.pass(&shared.upload, env, bytes.len()).await;
                while !bytes.is_empty() {
                    let deadline = env.now() + WRITE_TIMEOUT;
                    let few = bytes.len().min(Buggify::FEW_BYTES);
                    let most = if env.buggify(Buggify::ShortWrite) { few } else { bytes.len() };
                    let writing =
                        poll_fn(|cx| stream.borrow_mut().poll_write_parts(cx, &bytes, most));
                    match timeout_at(env, deadline, writing).await {
                        Some(Ok(0)) => return,
                        Some(Ok(written)) => bytes.advance(written),
                        Some(Err(error)) => {
                            return tracing::debug!(%connection, %error, "cannot write on");
                        }
                        None => return tracing::debug!(%connection, "the remote reads nothing"),
                    }
                }
                if flushed < TOLD_MIN {
                    continue;
                }
                let bytes = std::mem::take(&mut flushed);
                if !tell(inputs, Input::Flushed { connection, bytes }).await {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::{Tasks, manual::ManualEnv};

    impl Connection for DuplexStream {}

    const CONNECTION: ConnectionId = ConnectionId(1);

    /// Sends more than the pipe to a remote holds; returns what comes of that.
    fn sending(env: &ManualEnv, tasks: &Tasks) -> (DuplexStream, mpsc::Receiver<Input>) {
        let (stream, remote) = duplex(1000);
        let (inputs, received) = mpsc::channel(8);
        let shared = Shared::new(RateLimiter::new(None), RateLimiter::new(None));
        let (handle, peer) = pair(env.clone(), CONNECTION, inputs, shared);
        handle.send(Bytes::from(vec![7; 5000]).into());
        tasks.spawn(env, "peer", async move {
            let _handle = handle;
            peer.serve(stream, Framing::new()).await;
        });
        (remote, received)
    }

    #[test]
    fn who_reads_nothing_for_two_minutes_is_dropped() {
        let (env, tasks) = (ManualEnv::default(), Tasks::new());
        let (_remote, mut received) = sending(&env, &tasks);
        env.run_until(Time::from_secs(119));
        assert!(received.try_recv().is_err());
        env.run_until(Time::from_secs(121));
        assert!(matches!(received.try_recv(), Ok(Input::Lost { connection: CONNECTION })));
    }

    /// Serves a connection that writes within `upload`; returns both its ends, and what is heard.
    fn writing(
        env: &ManualEnv,
        tasks: &Tasks,
        upload: RateLimiter,
    ) -> (PeerHandle, DuplexStream, mpsc::Receiver<Input>) {
        let (stream, remote) = duplex(100_000);
        let (inputs, received) = mpsc::channel(8);
        let shared = Shared::new(upload, RateLimiter::new(None));
        let (handle, peer) = pair(env.clone(), CONNECTION, inputs, shared);
        tasks.spawn(env, "peer", peer.serve(stream, Framing::new()));
        (handle, remote, received)
    }

    #[test]
    fn what_has_left_is_told_of_when_there_is_enough_of_it() {
        let (env, tasks) = (ManualEnv::default(), Tasks::new());
        let (handle, _remote, mut received) = writing(&env, &tasks, RateLimiter::new(None));
        let mut told_after = |bytes: usize| {
            handle.send(Bytes::from(vec![7; bytes]).into());
            env.run_until(Time::ZERO);
            match received.try_recv() {
                Ok(Input::Flushed { bytes, .. }) => Some(bytes),
                Ok(other) => panic!("{other:?}"),
                Err(_) => None,
            }
        };
        assert_eq!(told_after(17), None);
        assert_eq!(told_after(TOLD_MIN - 18), None);
        assert_eq!(told_after(1), Some(TOLD_MIN));
        assert_eq!(told_after(20_000), Some(20_000));
    }

    /// What has come to `remote` so far (count).
    fn arrived(remote: &mut DuplexStream) -> usize {
        use futures_util::FutureExt;
        let mut bytes = vec![0; 100_000];
        remote.read(&mut bytes).now_or_never().map_or(0, |read| read.unwrap())
    }

    #[test]
    fn what_a_connection_begins_with_does_not_wait_behind_the_blocks_of_others() {
        let (env, tasks) = (ManualEnv::default(), Tasks::new());
        let upload = RateLimiter::new(NonZeroU64::new(1_000));
        upload.overdraw(&env, 10_000);
        let (handle, mut remote, _received) = writing(&env, &tasks, upload);
        handle.send(Bytes::from(vec![7; 500]).into());
        env.run_until(Time::ZERO);
        assert_eq!(arrived(&mut remote), 500);
        handle.send(Bytes::from(vec![7; 600]).into());
        env.run_until(Time::from_epoch(Duration::from_millis(10_499)));
        assert_eq!(arrived(&mut remote), 0, "the opening is paid for");
        env.run_until(Time::from_epoch(Duration::from_millis(10_501)));
        assert_eq!(arrived(&mut remote), 600);
    }

    #[test]
    fn no_more_is_sent_at_a_time_than_the_limit_lets_pass_at_once() {
        let (env, tasks) = (ManualEnv::default(), Tasks::new());
        let upload = RateLimiter::new(NonZeroU64::new(1_000));
        let burst = upload.burst().unwrap() as usize;
        let (handle, mut remote, _received) = writing(&env, &tasks, upload);
        handle.send(Bytes::from(vec![7; 2 * burst]).into());
        env.run_until(Time::ZERO);
        assert_eq!(arrived(&mut remote), burst);
        env.run_until(Time::from_secs(17));
        assert_eq!(arrived(&mut remote), burst);
    }

    /// Serves a connection past its handshake; returns the remote's end and what is heard.
    fn hearing(env: &ManualEnv, tasks: &Tasks) -> (DuplexStream, mpsc::Receiver<Input>) {
        let (stream, remote) = duplex(100_000);
        let (inputs, received) = mpsc::channel(8);
        let shared = Shared::new(RateLimiter::new(None), RateLimiter::new(None));
        let (handle, peer) = pair(env.clone(), CONNECTION, inputs, shared);
        let mut framing = Framing::new();
        framing.follow(&[0; 68]);
        tasks.spawn(env, "peer", async move {
            let _handle = handle;
            peer.serve(stream, framing).await;
        });
        (remote, received)
    }

    fn write(remote: &mut DuplexStream, bytes: &[u8]) {
        use futures_util::FutureExt;
        remote.write_all(bytes).now_or_never().expect("there is room").unwrap();
    }

    fn heard(received: &mut mpsc::Receiver<Input>) -> Option<Vec<u8>> {
        match received.try_recv() {
            Ok(Input::Received { bytes, .. }) => Some(bytes.to_vec()),
            Ok(other) => panic!("{other:?}"),
            Err(_) => None,
        }
    }

    #[test]
    fn a_message_comes_whole_and_the_next_ones_start_waits() {
        let (env, tasks) = (ManualEnv::default(), Tasks::new());
        let (mut remote, mut received) = hearing(&env, &tasks);
        write(&mut remote, &[0, 0, 0, 3, 7]);
        env.run_until(Time::ZERO);
        assert_eq!(heard(&mut received), None);
        write(&mut remote, &[8, 9, 0, 0]);
        env.run_until(Time::ZERO);
        assert_eq!(heard(&mut received), Some(vec![0, 0, 0, 3, 7, 8, 9]));
        assert_eq!(heard(&mut received), None);
    }

    #[test]
    fn what_waits_for_a_second_is_handed_over_as_it_is() {
        let (env, tasks) = (ManualEnv::default(), Tasks::new());
        let (mut remote, mut received) = hearing(&env, &tasks);
        write(&mut remote, &[0, 0, 0, 3, 7]);
        env.run_until(Time::from_epoch(Duration::from_millis(999)));
        assert_eq!(heard(&mut received), None);
        env.run_until(Time::from_epoch(Duration::from_millis(1001)));
        assert_eq!(heard(&mut received), Some(vec![0, 0, 0, 3, 7]));
        write(&mut remote, &[8, 9]);
        env.run_until(Time::from_epoch(Duration::from_millis(1001)));
        assert_eq!(heard(&mut received), Some(vec![8, 9]));
    }

    #[test]
    fn of_a_message_too_long_to_keep_everything_is_handed_over_at_once() {
        let (env, tasks) = (ManualEnv::default(), Tasks::new());
        let (mut remote, mut received) = hearing(&env, &tasks);
        write(&mut remote, &[1, 0, 0, 0, 7]);
        env.run_until(Time::ZERO);
        assert_eq!(heard(&mut received), Some(vec![1, 0, 0, 0, 7]));
    }

    #[test]
    fn the_last_words_are_handed_over_whole_or_not() {
        let (env, tasks) = (ManualEnv::default(), Tasks::new());
        let (mut remote, mut received) = hearing(&env, &tasks);
        write(&mut remote, &[0, 0, 0, 3, 7]);
        drop(remote);
        env.run_until(Time::ZERO);
        assert_eq!(heard(&mut received), Some(vec![0, 0, 0, 3, 7]));
        assert!(matches!(received.try_recv(), Ok(Input::Lost { connection: CONNECTION })));
    }

    #[test]
    fn who_reads_a_little_now_and_then_is_not() {
        let (env, tasks) = (ManualEnv::default(), Tasks::new());
        let (mut remote, mut received) = sending(&env, &tasks);
        let clock = env.clone();
        tasks.spawn(&env, "remote", async move {
            loop {
                clock.sleep_until(clock.now() + Duration::from_secs(100)).await;
                let _ = remote.read(&mut [0; 500]).await;
            }
        });
        env.run_until(Time::from_secs(799));
        assert!(received.try_recv().is_err());
        env.run_until(Time::from_secs(801));
        let all = Input::Flushed { connection: CONNECTION, bytes: 5000 };
        assert_eq!(format!("{:?}", received.try_recv()), format!("{:?}", Ok::<_, ()>(all)));
    }
}
