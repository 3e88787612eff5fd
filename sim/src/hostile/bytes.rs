//! Who says anything at all.

use std::io;

use bytes::{Bytes, BytesMut};
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use reseed_client::{Env, timeout_at};
use reseed_protocol::{Block, wire::Message};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Hostile, LINGER, Opened, line::Line};

/// Bytes that are drawn at a time at most.
const LENGTH_MAX: usize = 2_000;

/// Messages that are made up at a time at most (count).
const MESSAGES_MAX: usize = 20;

impl<E: Env> Hostile<E> {
    /// Says something else than it should, once, and waits for what comes of it.
    pub(super) async fn say_anything<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        line: &mut Line<S>,
        by: Opened,
        mut rng: ChaCha8Rng,
    ) -> io::Result<()> {
        let handshake = self.handshake().encode();
        match rng.random_range(0..6) {
            // Before a handshake, instead of one.
            0 => line.out.extend_from_slice(&any(&mut rng)),
            // Within one.
            1 => {
                let length = rng.random_range(1..handshake.len());
                line.out.extend_from_slice(&handshake[..length]);
                line.out.extend_from_slice(&any(&mut rng));
            }
            2 => {
                line.out.extend_from_slice(&handshake);
                spoil(&mut line.out, &mut rng);
            }
            // After it.
            3 => {
                self.greet(line, by).await?;
                line.out.extend_from_slice(&any(&mut rng));
            }
            4 => {
                self.greet(line, by).await?;
                messages(&mut rng).iter().for_each(|message| line.say(message));
            }
            _ => {
                let welcome = self.greet(line, by).await?;
                line.flush().await?;
                self.claim_everything(line, welcome);
                self.say_extensions(line, welcome);
                messages(&mut rng).iter().for_each(|message| line.say(message));
                spoil(&mut line.out, &mut rng);
            }
        }
        line.flush().await?;
        self.strikes();
        let until = self.env.now() + LINGER;
        timeout_at(&self.env, until, line.drain()).await.unwrap_or(Ok(()))
    }
}

fn any(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = vec![0; rng.random_range(1..=LENGTH_MAX)];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// Changes a byte, or a few.
fn spoil(bytes: &mut BytesMut, rng: &mut ChaCha8Rng) {
    for _ in 0..rng.random_range(1..=3) {
        let at = rng.random_range(0..bytes.len());
        bytes[at] = rng.random();
    }
}

/// Messages of every kind, with numbers that may be anything.
fn messages(rng: &mut ChaCha8Rng) -> Vec<Message> {
    (0..rng.random_range(1..=MESSAGES_MAX)).map(|_| message(rng)).collect()
}

fn message(rng: &mut ChaCha8Rng) -> Message {
    let payload = |rng: &mut ChaCha8Rng| Bytes::from(any(rng));
    match rng.random_range(0..18) {
        0 => Message::KeepAlive,
        1 => Message::Choke,
        2 => Message::Unchoke,
        3 => Message::Interested,
        4 => Message::NotInterested,
        5 => Message::Have { piece: number(rng) },
        6 => Message::Bitfield(payload(rng)),
        7 => Message::Request(block(rng)),
        8 => Message::Piece { piece: number(rng), begin: number(rng), data: payload(rng) },
        9 => Message::Cancel(block(rng)),
        10 => Message::Port(rng.random()),
        11 => Message::Suggest { piece: number(rng) },
        12 => Message::HaveAll,
        13 => Message::HaveNone,
        14 => Message::Reject(block(rng)),
        15 => Message::AllowedFast { piece: number(rng) },
        16 => Message::Extended { id: rng.random_range(0..8), payload: payload(rng) },
        _ => Message::Unknown { id: rng.random(), length: rng.random_range(0..100) },
    }
}

fn block(rng: &mut ChaCha8Rng) -> Block {
    Block { piece: number(rng), begin: number(rng), length: number(rng) }
}

/// A number that may be right, or may not.
fn number(rng: &mut ChaCha8Rng) -> u32 {
    match rng.random_range(0..4) {
        0 => rng.random(),
        1 => rng.random_range(0..4) * 16 * 1024,
        _ => rng.random_range(0..8),
    }
}
