//! Those who give too little: nothing, no answer, a byte at a time.

use std::{io, time::Duration};

use reseed_client::{Env, race};
use reseed_protocol::{Bitfield, Block, wire::Message};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Hostile, KEEPALIVE, Opened,
    line::{Line, Welcome},
};

/// From one round of requests to the next, of who does not read the answers.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Refuses a request: with a reject, or by a choke. BEP 3, BEP 6.
pub(super) fn reject<S: AsyncRead + AsyncWrite + Unpin>(
    line: &mut Line<S>,
    welcome: Welcome,
    block: Block,
) {
    if welcome.fast {
        return line.say(&Message::Reject(block));
    }
    line.say(&Message::Choke);
    line.say(&Message::Unchoke);
}

impl<E: Env> Hostile<E> {
    /// Says that it has everything, and does `answer` with what is asked of it. Of a live
    /// stream it says to have what it hears that others have.
    pub(super) async fn claim<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        line: &mut Line<S>,
        by: Opened,
        answer: impl Fn(&mut Line<S>, Welcome, Block),
    ) -> io::Result<()> {
        let welcome = self.greet(line, by).await?;
        self.claim_everything(line, welcome);
        self.say_extensions(line, welcome);
        line.say(&Message::Unchoke);
        let is_live = self.mission.content.broadcast().is_some();
        loop {
            match self.hear(line).await? {
                Message::Request(block) => {
                    self.strikes();
                    answer(line, welcome, block);
                }
                claim @ Message::Have { .. } if is_live => line.say(&claim),
                _ => {}
            }
        }
    }

    /// Opens a connection, or lets one be opened, and that is all.
    pub(super) async fn say_nothing<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        line: &mut Line<S>,
    ) -> io::Result<()> {
        self.strikes();
        line.drain().await
    }

    /// Asks for all that there is, again and again, and reads nothing once it may.
    pub(super) async fn take_without_reading<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        line: &mut Line<S>,
        by: Opened,
    ) -> io::Result<()> {
        let theirs = self.be_unchoked(line, by).await?;
        let blocks = self.blocks().filter(|block| theirs.contains(block.piece));
        let requests: Vec<Message> = blocks.map(Message::Request).collect();
        loop {
            requests.iter().for_each(|request| line.say(request));
            line.flush().await?;
            self.strikes();
            self.sleep(ASK_AGAIN).await;
        }
    }

    /// Waits for its turn as somebody who has nothing; returns what the other has then.
    async fn be_unchoked<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        line: &mut Line<S>,
        by: Opened,
    ) -> io::Result<Bitfield> {
        let welcome = self.greet(line, by).await?;
        if welcome.fast {
            line.say(&Message::HaveNone);
        }
        line.say(&Message::Interested);
        let pieces = self.mission.content.layout().pieces();
        let mut theirs = Bitfield::empty(pieces);
        loop {
            match self.hear(line).await? {
                Message::HaveAll => theirs = Bitfield::full(pieces),
                Message::Bitfield(bits) => {
                    theirs = Bitfield::from_wire(&bits, pieces).unwrap_or(theirs);
                }
                Message::Have { piece } if piece < pieces => _ = theirs.insert(piece),
                Message::Unchoke if !theirs.is_empty() => return Ok(theirs),
                _ => {}
            }
        }
    }

    /// Serves what is asked of it, and says all a byte at a time, from the first one on.
    pub(super) async fn trickle<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        line: &mut Line<S>,
        by: Opened,
        every: Duration,
    ) -> io::Result<()> {
        let handshake = self.handshake().encode();
        if by == Opened::Here {
            line.out.extend_from_slice(&handshake);
        }
        let theirs = self.trickle_until(line, every, async |line| line.hear_handshake().await);
        let welcome = Welcome::from(theirs.await?);
        if by == Opened::There {
            line.out.extend_from_slice(&handshake);
        }
        self.claim_everything(line, welcome);
        line.say(&Message::Unchoke);
        loop {
            let heard = self.trickle_until(line, every, async |line| line.hear().await);
            if let Message::Request(block) = heard.await?
                && self.mission.content.layout().contains(block)
                && let Some(data) = self.mission.content.block(block)
            {
                let Block { piece, begin, .. } = block;
                line.say(&Message::Piece { piece, begin, data });
            }
        }
    }

    /// Writes a byte at a time what was said, until something is heard.
    async fn trickle_until<S: AsyncRead + AsyncWrite + Unpin, R>(
        &self,
        line: &mut Line<S>,
        every: Duration,
        hear: impl AsyncFn(&mut Line<S>) -> io::Result<R>,
    ) -> io::Result<R> {
        loop {
            let span = if line.out.is_empty() { KEEPALIVE } else { every };
            race! {
                heard = hear(line) => return heard,
                () = self.sleep(span) => {}
            }
            match line.out.is_empty() {
                true => line.say(&Message::KeepAlive),
                false => {
                    line.write(1).await?;
                    self.strikes();
                }
            }
        }
    }

    /// All blocks of the torrent.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Block> {
        let layout = self.mission.content.layout();
        (0..layout.pieces()).flat_map(move |piece| layout.blocks(piece))
    }
}
