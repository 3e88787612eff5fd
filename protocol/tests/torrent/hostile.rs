//! What remotes try that mean no good.

use bytes::BytesMut;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use reseed_protocol::{
    Bitfield, ConnectionId, Layout, PeerId, Time,
    torrent::{CloseReason, Config, Event, Input, Output, Torrent},
    wire::Handshake,
};

use crate::{INFO_HASH, start};

/// A torrent, and what it says to the one connection that it has.
struct Alone {
    torrent: Torrent,
    rng: ChaCha8Rng,
    connection: ConnectionId,
    said: BytesMut,
    closed: Option<CloseReason>,
}

impl Alone {
    fn new() -> Alone {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let layout = Layout::new(16 * 1024, 100_000);
        let start = start(layout, Bitfield::empty(layout.pieces()));
        let config = Config::new(PeerId([1; 20]), 6881);
        let mut torrent = Torrent::new(config, start, Time::ZERO, &mut rng);
        let from = ([10, 0, 0, 2], 50_000).into();
        let connection = torrent.accept(from, Time::ZERO).unwrap();
        Alone { torrent, rng, connection, said: BytesMut::new(), closed: None }
    }

    fn hears(&mut self, bytes: &[u8]) {
        let input = Input::Received { connection: self.connection, bytes: bytes.into() };
        self.torrent.handle(input, Time::ZERO, &mut self.rng);
        while let Some(output) = self.torrent.poll_output() {
            match output {
                Output::Send { bytes, .. } => self.said.extend_from_slice(&bytes.to_bytes()),
                Output::Event(Event::Disconnected { reason, .. }) => self.closed = Some(reason),
                _ => {}
            }
        }
    }
}

#[test]
fn who_says_it_is_us_gets_one_handshake_and_no_second_one() {
    for second in [PeerId([1; 20]), PeerId([2; 20])] {
        let mut alone = Alone::new();
        alone.hears(&Handshake::new(INFO_HASH, PeerId([1; 20])).encode());
        assert_eq!((alone.said.len(), &alone.closed), (Handshake::LENGTH, &None));
        alone.hears(&Handshake::new(INFO_HASH, second).encode());
        assert_eq!(alone.said.len(), Handshake::LENGTH, "BEP 3 has one each way");
        let violation = CloseReason::Violation("a second handshake".to_owned());
        assert_eq!(alone.closed, Some(violation));
    }
}
