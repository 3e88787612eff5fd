//! A connection's end, as a script uses it: say, hear.

use std::io;

use bytes::BytesMut;
use reseed_client::{Env, race};
use reseed_protocol::{
    Bitfield,
    extension::{Extension, ExtensionHandshake},
    wire::{Decoder, Handshake, Message, WireError, message_cap},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Hostile, KEEPALIVE, Opened};

/// A stream, and what is on its way in and out.
pub(super) struct Line<S> {
    stream: S,
    decoder: Decoder,
    read: BytesMut,
    /// What was said and is not written yet.
    pub(super) out: BytesMut,
}

/// What the other side said of itself in its handshake.
#[derive(Debug, Clone, Copy)]
pub(super) struct Welcome {
    pub(super) fast: bool,
    extended: bool,
}

impl From<Handshake> for Welcome {
    fn from(theirs: Handshake) -> Welcome {
        Welcome { fast: theirs.supports_fast(), extended: theirs.supports_extensions() }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    pub(super) fn new(stream: S) -> Line<S> {
        let decoder = Decoder::new(message_cap(None));
        Line { stream, decoder, read: BytesMut::new(), out: BytesMut::new() }
    }

    /// Puts a message behind what is to be written.
    pub(super) fn say(&mut self, message: &Message) {
        message.encode(&mut self.out);
    }

    /// Writes all that was said.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.write(usize::MAX).await
    }

    /// Writes so much of what was said.
    pub(super) async fn write(&mut self, bytes: usize) -> io::Result<()> {
        let out = self.out.split_to(self.out.len().min(bytes));
        self.stream.write_all(&out).await
    }

    /// The next message. May be dropped and called again.
    pub(super) async fn hear(&mut self) -> io::Result<Message> {
        loop {
            if let Some(message) = self.decoder.next_message().map_err(nonsense)? {
                return Ok(message);
            }
            self.read_more().await?;
        }
    }

    /// The other side's handshake. May be dropped and called again.
    pub(super) async fn hear_handshake(&mut self) -> io::Result<Handshake> {
        loop {
            if let Some(handshake) = self.decoder.next_handshake().map_err(nonsense)? {
                return Ok(handshake);
            }
            self.read_more().await?;
        }
    }

    /// Reads whatever comes, and makes nothing of it, until the other side hangs up.
    pub(super) async fn drain(&mut self) -> io::Result<()> {
        while self.stream.read_buf(&mut self.read).await? > 0 {
            self.read.clear();
        }
        Ok(())
    }

    async fn read_more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => {
                self.decoder.feed_owned(self.read.split());
                Ok(())
            }
        }
    }
}

fn nonsense(error: WireError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<E: Env> Hostile<E> {
    pub(super) fn handshake(&self) -> Handshake {
        let info_hash = self.mission.content.metainfo().info_hash;
        Handshake::new(info_hash, self.id).with_extensions().with_fast()
    }

    /// Exchanges handshakes as everybody does, and tells of the extensions that it
    /// takes. BEP 3, BEP 10.
    pub(super) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        line: &mut Line<S>,
        by: Opened,
    ) -> io::Result<Welcome> {
        if by == Opened::Here {
            line.out.extend_from_slice(&self.handshake().encode());
            line.flush().await?;
        }
        let theirs = line.hear_handshake().await?;
        if by == Opened::There {
            line.out.extend_from_slice(&self.handshake().encode());
        }
        Ok(Welcome::from(theirs))
    }

    /// The extensions that it says it takes: peer exchange, and metadata.
    pub(super) fn say_extensions<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        line: &mut Line<S>,
        welcome: Welcome,
    ) {
        if welcome.extended {
            let payload = ExtensionHandshake {
                m: [(Extension::Pex, PEX_HERE), (Extension::Metadata, METADATA_HERE)]
                    .map(|(extension, id)| (extension.name().to_owned(), id))
                    .into(),
                port: Some(self.mission.listen.port()),
                ..ExtensionHandshake::default()
            };
            line.say(&Message::Extended { id: 0, payload: payload.encode() });
        }
    }

    /// Says that it has everything, whether that is so or not: of a live stream as much as
    /// anybody can have.
    pub(super) fn claim_everything<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        line: &mut Line<S>,
        welcome: Welcome,
    ) {
        let content = &self.mission.content;
        let pieces = content.layout().pieces();
        line.say(&match (content.broadcast(), welcome.fast) {
            (Some(broadcast), _) => {
                let mut window = Bitfield::empty(pieces);
                (0..2 * broadcast.ring().delta()).for_each(|place| _ = window.insert(place));
                Message::Bitfield(window.to_wire())
            }
            (None, true) => Message::HaveAll,
            (None, false) => Message::Bitfield(Bitfield::full(pieces).to_wire()),
        });
    }

    /// The next message; until one comes it shows now and then that it is alive.
    pub(super) async fn hear<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        line: &mut Line<S>,
    ) -> io::Result<Message> {
        loop {
            line.flush().await?;
            race! {
                heard = line.hear() => return heard,
                () = self.sleep(KEEPALIVE) => line.say(&Message::KeepAlive),
            }
        }
    }
}

/// Under which numbers it takes them.
const PEX_HERE: u8 = 1;
const METADATA_HERE: u8 = 2;
