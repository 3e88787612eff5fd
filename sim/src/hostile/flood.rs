//! Those who say too much: requests without end, contacts without number.

use std::{io, net::SocketAddr, time::Duration};

use rand::{RngExt, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use reseed_client::{Env, timeout_at};
use reseed_protocol::{
    Block,
    extension::{
        Extension, ExtensionHandshake, MetadataMessage,
        pex::{PexFlags, PexMessage, PexPeer},
    },
    wire::Message,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Hostile, Opened, line::Line};

/// From one burst of requests to the next.
const BURST_EACH: Duration = Duration::from_millis(100);

/// From one message full of contacts to the next. BEP 11 allows one a minute.
const PEX_EACH: Duration = Duration::from_secs(1);

/// Pieces of the metadata that it asks for (count); most torrents have one or two.
const METADATA_PIECES: u32 = 4;

/// Of so many contacts one is somebody who is there.
const DEAD_FOR_ONE: usize = 20;

impl<E: Env> Hostile<E> {
    /// Asks for blocks without end, and for metadata, of which there may be less. Reads what
    /// comes of it.
    pub(super) async fn flood_requests<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        line: &mut Line<S>,
        by: Opened,
        per_s: u32,
        mut rng: ChaCha8Rng,
    ) -> io::Result<()> {
        let welcome = self.greet(line, by).await?;
        if welcome.fast {
            line.say(&Message::HaveNone);
        }
        self.say_extensions(line, welcome);
        line.say(&Message::Interested);
        let mut metadata = None;
        let blocks: Vec<Block> = self.blocks().collect();
        let mut owed = Duration::ZERO;
        loop {
            owed += BURST_EACH * per_s;
            let burst = owed.as_secs();
            owed -= Duration::from_secs(burst);
            for _ in 0..burst {
                line.say(&Message::Request(*blocks.choose(&mut rng).expect("there is content")));
                self.strikes();
            }
            if let Some(id) = metadata {
                let piece = rng.random_range(0..METADATA_PIECES);
                let payload = MetadataMessage::Request { piece }.encode();
                line.say(&Message::Extended { id, payload });
            }
            line.flush().await?;
            self.hear_for(line, BURST_EACH, |message| {
                metadata = offered(&message, Extension::Metadata).or(metadata);
            })
            .await?;
        }
    }

    /// Tells of contacts without number, once it knows how to.
    pub(super) async fn flood_pex<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        line: &mut Line<S>,
        by: Opened,
        contacts: u32,
        mut rng: ChaCha8Rng,
    ) -> io::Result<()> {
        let welcome = self.greet(line, by).await?;
        if welcome.fast {
            line.say(&Message::HaveNone);
        }
        self.say_extensions(line, welcome);
        line.flush().await?;
        let mut pex = None;
        loop {
            self.hear_for(line, PEX_EACH, |message| {
                pex = offered(&message, Extension::Pex).or(pex);
            })
            .await?;
            let Some(id) = pex else { continue };
            let added = (0..contacts).map(|_| self.contact(&mut rng)).collect();
            let payload = PexMessage { added, dropped: Vec::new() }.encode();
            line.say(&Message::Extended { id, payload });
            line.flush().await?;
            self.strikes();
        }
    }

    /// Somebody who is not there, or is and has nothing to do with it.
    fn contact(&self, rng: &mut ChaCha8Rng) -> PexPeer {
        let others = &self.mission.others;
        let addr = match rng.random_range(0..=DEAD_FOR_ONE) {
            0 if !others.is_empty() => *others.choose(rng).expect("it is not empty"),
            _ => dead(rng),
        };
        PexPeer { addr, flags: PexFlags::UPLOAD_ONLY | PexFlags::REACHABLE }
    }

    /// Hears whatever comes in this time.
    async fn hear_for<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        line: &mut Line<S>,
        span: Duration,
        mut heard: impl FnMut(Message),
    ) -> io::Result<()> {
        let hearing = async {
            loop {
                heard(line.hear().await?);
            }
        };
        let until = self.env.now() + span;
        timeout_at(&self.env, until, hearing).await.unwrap_or(Ok(()))
    }
}

/// The id under which the other side takes an extension, if this says so. BEP 10.
fn offered(message: &Message, extension: Extension) -> Option<u8> {
    let Message::Extended { id: 0, payload } = message else { return None };
    let theirs = ExtensionHandshake::decode(payload).ok()?;
    theirs.m.get(extension.name()).copied().filter(|id| *id > 0)
}

/// An address at which there is no host: hosts are below 10.
pub(crate) fn dead(rng: &mut ChaCha8Rng) -> SocketAddr {
    let [_, b, c, d] = rng.random::<u32>().to_be_bytes();
    SocketAddr::from(([172, 16 + b % 16, c, d], rng.random_range(1024..=u16::MAX)))
}
