//! Reading a download while it comes in.

use std::{cell::RefCell, collections::VecDeque, io, rc::Rc};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use crate::download::Command;

/// What a player reads from: the video of a download that is streamed, in order,
/// from wherever it wants. A download has one reader; a new one takes over.
pub struct Stream<S> {
    commands: mpsc::UnboundedSender<Command<S>>,
    buffer: Rc<Buffer>,
    /// Which of the download's readers this is, and where it went: see [`State`].
    number: std::cell::Cell<u64>,
}

/// Why nothing more can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The download has stopped.
    #[error("the download has stopped")]
    Stopped,
    /// Another reader of the download has taken over.
    #[error("another reader of the download has taken over")]
    TakenOver,
    /// The disk failed us. Of a live stream that is told once, and the next bytes are some
    /// that come later.
    #[error("cannot read what is to be played: {0}")]
    Disk(String),
}

impl<S> Stream<S> {
    /// A reader from byte `at` of the video on.
    pub(crate) fn open(
        commands: mpsc::UnboundedSender<Command<S>>,
        buffer: Rc<Buffer>,
        at: u64,
    ) -> Stream<S> {
        let number = std::cell::Cell::new(0);
        let stream = Stream { commands, buffer, number };
        stream.go_to(at);
        stream
    }

    /// Waits for what is next, and takes up to `bytes_max` bytes of it; none at the
    /// end. May be dropped: nothing is lost.
    ///
    /// # Panics
    /// If `bytes_max` is 0.
    pub async fn read(&self, bytes_max: usize) -> Result<Bytes, StreamError> {
        Ok(self.read_next(bytes_max).await?.map_or_else(Bytes::new, |(_, bytes)| bytes))
    }

    /// The same, and where it begins, in bytes from the start of the video: in a live
    /// stream that is not always where the last bytes ended, since what came too late is
    /// passed over. `None` at the end.
    ///
    /// # Panics
    /// If `bytes_max` is 0.
    pub async fn read_next(&self, bytes_max: usize) -> Result<Option<(u64, Bytes)>, StreamError> {
        assert!(bytes_max > 0, "a read of nothing looks like the end");
        loop {
            match self.buffer.take(self.number.get(), bytes_max) {
                Some(Ok(next)) => {
                    self.tell_taken(next.as_ref().map_or(0, |(_, bytes)| bytes.len()));
                    return Ok(next);
                }
                Some(Err(error)) => return Err(error),
                None => self.buffer.changed.notified().await,
            }
        }
    }

    /// Goes to byte `at` of the video; what was handed over and not read is dropped.
    pub fn seek(&self, at: u64) -> Result<(), StreamError> {
        if self.buffer.state.borrow().number != self.number.get() {
            return Err(StreamError::TakenOver);
        }
        self.go_to(at);
        Ok(())
    }

    /// Says that nothing will be read for now, or that reading goes on.
    pub fn pause(&self, paused: bool) {
        let _ = self.commands.send(Command::Pause { paused });
    }

    fn go_to(&self, at: u64) {
        let stream = self.buffer.begin();
        self.number.set(stream);
        let _ = self.commands.send(Command::Seek { stream, at });
    }

    fn tell_taken(&self, bytes: usize) {
        let (stream, bytes) = (self.number.get(), bytes as u64);
        if bytes > 0 {
            let _ = self.commands.send(Command::Taken { stream, bytes });
        }
    }
}

/// What is read next and where it begins; nothing at the end.
type Next = Option<(u64, Bytes)>;

/// What was handed over and not read yet: the torrent decides how much.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    state: RefCell<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Grows with every seek and every new reader, so that what was read from the
    /// disk for an earlier one is known for it.
    number: u64,
    /// Each with where it begins; of a live stream, which does not wait, also what of it
    /// could not be read.
    chunks: VecDeque<Result<(u64, Bytes), StreamError>>,
    /// Why nothing comes after the chunks, if nothing does; `Ok` at the end.
    over: Option<Result<(), StreamError>>,
    stopped: bool,
}

impl Buffer {
    fn begin(&self) -> u64 {
        let mut state = self.state.borrow_mut();
        state.number += 1;
        state.chunks.clear();
        state.over = None;
        let number = state.number;
        drop(state);
        self.changed.notify_waiters();
        number
    }

    fn take(&self, number: u64, bytes_max: usize) -> Option<Result<Next, StreamError>> {
        let mut state = self.state.borrow_mut();
        if state.number != number {
            return Some(Err(StreamError::TakenOver));
        }
        if let Some(Ok((at, chunk))) = state.chunks.front_mut() {
            let taken = (*at, chunk.split_to(bytes_max.min(chunk.len())));
            *at += taken.1.len() as u64;
            if chunk.is_empty() {
                state.chunks.pop_front();
            }
            return Some(Ok(Some(taken)));
        }
        if let Some(Err(error)) = state.chunks.pop_front() {
            return Some(Err(error));
        }
        if let Some(over) = &state.over {
            return Some(over.clone().map(|()| None));
        }
        state.stopped.then_some(Err(StreamError::Stopped))
    }

    /// Puts a live stream's next `bytes` behind what is there, for whoever reads now, or
    /// that they cannot be read: he is told so once, and the stream goes on. Of more than
    /// `bytes_max` bytes the oldest go: the stream does not wait.
    pub(crate) fn push_live(&self, at: u64, bytes: io::Result<Bytes>, bytes_max: usize) {
        let mut state = self.state.borrow_mut();
        if state.number == 0 {
            return;
        }
        let length = |chunk: &Result<(u64, Bytes), _>| match chunk {
            Ok((_, bytes)) => bytes.len(),
            // So that there are not more and more of them.
            Err(_) => 1,
        };
        let next = bytes.map(|bytes| (at, bytes));
        state.chunks.push_back(next.map_err(|error| StreamError::Disk(error.to_string())));
        let mut kept: usize = state.chunks.iter().map(length).sum();
        while kept > bytes_max {
            kept -= state.chunks.pop_front().as_ref().map_or(0, length);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Puts `bytes`, which begin at byte `at` of the video, behind what is there, or says
    /// why there are none.
    pub(crate) fn push(&self, stream: u64, at: u64, bytes: io::Result<Bytes>) {
        let mut state = self.state.borrow_mut();
        if state.number != stream || state.over.is_some() {
            return;
        }
        match bytes {
            Ok(bytes) => state.chunks.push_back(Ok((at, bytes))),
            Err(error) => state.over = Some(Err(StreamError::Disk(error.to_string()))),
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// There is nothing behind what is there.
    pub(crate) fn end(&self, stream: u64) {
        let mut state = self.state.borrow_mut();
        if state.number == stream {
            state.over.get_or_insert(Ok(()));
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// The download is over: whoever waits is told so.
    pub(crate) fn stop(&self) {
        self.state.borrow_mut().stopped = true;
        self.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    type Opened = (Stream<()>, Rc<Buffer>, mpsc::UnboundedReceiver<Command<()>>);

    fn open() -> Opened {
        let (commands, received) = mpsc::unbounded_channel();
        let buffer = Rc::new(Buffer::default());
        (Stream::open(commands, buffer.clone(), 0), buffer, received)
    }

    fn taken(received: &mut mpsc::UnboundedReceiver<Command<()>>) -> Vec<(u64, u64)> {
        let mut all = Vec::new();
        while let Ok(command) = received.try_recv() {
            if let Command::Taken { stream, bytes } = command {
                all.push((stream, bytes));
            }
        }
        all
    }

    #[test]
    fn what_was_handed_over_is_read_in_order_and_then_the_end() {
        let (stream, buffer, mut received) = open();
        assert_eq!(stream.read(2).now_or_never(), None, "nothing is there yet");
        buffer.push(1, 0, Ok(Bytes::from_static(b"abc")));
        buffer.push(1, 0, Ok(Bytes::from_static(b"d")));
        buffer.end(1);
        for expected in ["ab", "c", "d", "", ""] {
            assert_eq!(stream.read(2).now_or_never(), Some(Ok(Bytes::from(expected))));
        }
        assert_eq!(taken(&mut received), [(1, 2), (1, 1), (1, 1)]);
    }

    #[test]
    fn of_a_live_stream_who_does_not_read_misses_the_oldest() {
        let (stream, buffer, _received) = open();
        for at in 0..4 {
            buffer.push_live(10 * at, Ok(Bytes::from_static(b"0123456789")), 25);
        }
        let read = || stream.read_next(6).now_or_never();
        assert_eq!(read(), Some(Ok(Some((20, Bytes::from_static(b"012345"))))));
        assert_eq!(read(), Some(Ok(Some((26, Bytes::from_static(b"6789"))))));
        assert_eq!(read(), Some(Ok(Some((30, Bytes::from_static(b"012345"))))));
    }

    #[test]
    fn what_of_a_live_stream_cannot_be_read_is_told_once_and_it_goes_on() {
        let (stream, buffer, _received) = open();
        buffer.push_live(0, Ok(Bytes::from_static(b"a")), 25);
        buffer.push_live(1, Err(io::Error::other("a bad sector")), 25);
        buffer.push_live(2, Ok(Bytes::from_static(b"c")), 25);
        let read = || stream.read_next(6).now_or_never();
        assert_eq!(read(), Some(Ok(Some((0, Bytes::from_static(b"a"))))));
        assert_eq!(read(), Some(Err(StreamError::Disk("a bad sector".to_owned()))));
        assert_eq!(read(), Some(Ok(Some((2, Bytes::from_static(b"c"))))));
        assert_eq!(read(), None, "no more is there yet");
    }

    #[test]
    fn a_live_stream_is_not_kept_for_nobody() {
        let buffer = Buffer::default();
        buffer.push_live(0, Ok(Bytes::from_static(b"x")), 25);
        assert!(buffer.state.borrow().chunks.is_empty());
    }

    #[test]
    fn a_seek_drops_what_was_on_its_way() {
        let (stream, buffer, mut received) = open();
        buffer.push(1, 0, Ok(Bytes::from_static(b"abc")));
        stream.seek(77).unwrap();
        buffer.push(1, 0, Ok(Bytes::from_static(b"late")));
        buffer.end(1);
        assert_eq!(stream.read(9).now_or_never(), None);
        buffer.push(2, 0, Ok(Bytes::from_static(b"x")));
        assert_eq!(stream.read(9).now_or_never(), Some(Ok(Bytes::from_static(b"x"))));
        assert_eq!(taken(&mut received), [(2, 1)]);
    }

    #[test]
    fn who_waits_is_woken_when_the_download_stops() {
        let (stream, buffer, _received) = open();
        let mut reading = Box::pin(stream.read(9));
        assert_eq!(reading.as_mut().now_or_never(), None);
        buffer.stop();
        assert_eq!(reading.now_or_never(), Some(Err(StreamError::Stopped)));
    }

    #[test]
    fn a_new_reader_takes_over() {
        let (stream, buffer, _received) = open();
        let (commands, _kept) = mpsc::unbounded_channel();
        let newer: Stream<()> = Stream::open(commands, buffer.clone(), 0);
        assert_eq!(stream.read(9).now_or_never(), Some(Err(StreamError::TakenOver)));
        assert_eq!(stream.seek(0), Err(StreamError::TakenOver));
        buffer.push(2, 0, Ok(Bytes::from_static(b"x")));
        assert_eq!(newer.read(9).now_or_never(), Some(Ok(Bytes::from_static(b"x"))));
    }
}
