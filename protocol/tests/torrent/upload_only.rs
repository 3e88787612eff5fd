//! Who wants nothing more, be it that it has all or only what it wants, says so, and is
//! not kept waiting by others of its kind. BEP 21.

use bytes::{Bytes, BytesMut};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use reseed_protocol::{
    BLOCK_LENGTH, Bitfield, ConnectionId, Layout, PeerId, Time,
    extension::ExtensionHandshake,
    torrent::{CloseReason, Config, Event, Input, Output, Start, Torrent},
    tracker::AnnounceRequest,
    wire::{Decoder, Handshake, Message, message_cap},
};

use crate::{INFO_HASH, start};

const PIECES: u32 = 4;

/// A peer, and a remote that talks to it.
struct Talk {
    torrent: Torrent,
    rng: ChaCha8Rng,
    remote: ConnectionId,
    said: Decoder,
    closed: Option<CloseReason>,
    announces: Vec<AnnounceRequest>,
}

impl Talk {
    /// One that has `have` and wants `wanted`, after handshakes.
    fn new(upload_only: bool, have: Bitfield, wanted: &Bitfield) -> Talk {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let config = Config { upload_only, ..Config::new(PeerId([1; 20]), 6881) };
        let layout = Layout::new(BLOCK_LENGTH, u64::from(PIECES * BLOCK_LENGTH));
        let start = Start { announce: true, ..start(layout, have) };
        let mut torrent = Torrent::new(config, start, Time::ZERO, &mut rng).wanting(wanted);
        let remote = torrent.accept(([192, 0, 2, 1], 50_000).into(), Time::ZERO).unwrap();
        let said = Decoder::new(message_cap(None));
        let mut talk = Talk { torrent, rng, remote, said, closed: None, announces: Vec::new() };
        let handshake = Handshake::new(INFO_HASH, PeerId([2; 20])).with_extensions();
        talk.input(Input::Received { connection: remote, bytes: handshake.encode()[..].into() });
        talk.said.next_handshake().unwrap().unwrap();
        talk
    }

    fn input(&mut self, input: Input) {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            self.torrent.handle(input, Time::ZERO, &mut self.rng);
            while let Some(output) = self.torrent.poll_output() {
                match output {
                    Output::Send { bytes, .. } => self.said.feed(&bytes.to_bytes()),
                    Output::CheckPiece { piece, .. } => {
                        next = Some(Input::PieceChecked { piece, valid: true });
                    }
                    Output::Event(Event::Disconnected { reason, .. }) => self.closed = Some(reason),
                    Output::Announce(request) => self.announces.push(request),
                    _ => {}
                }
            }
        }
    }

    fn hears(&mut self, message: &Message) {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes);
        self.input(Input::Received { connection: self.remote, bytes });
    }

    fn hears_upload_only(&mut self, flag: bool) {
        let handshake =
            ExtensionHandshake { upload_only: Some(flag), ..ExtensionHandshake::default() };
        self.hears(&Message::Extended { id: 0, payload: handshake.encode() });
    }

    /// What each extension handshake since the last call has of it.
    fn said(&mut self) -> Vec<Option<bool>> {
        let mut said = Vec::new();
        while let Some(message) = self.said.next_message().unwrap() {
            if let Message::Extended { id: 0, payload } = message {
                said.push(ExtensionHandshake::decode(&payload).unwrap().upload_only);
            }
        }
        said
    }
}

fn pieces(pieces: &[u32]) -> Bitfield {
    let mut bitfield = Bitfield::empty(PIECES);
    pieces.iter().for_each(|piece| _ = bitfield.insert(*piece));
    bitfield
}

#[test]
fn a_seed_says_it_in_its_first_handshake_if_it_is_to() {
    let all = Bitfield::full(PIECES);
    assert_eq!(Talk::new(true, all.clone(), &all).said(), [Some(true)]);
    assert_eq!(Talk::new(false, all.clone(), &all).said(), [None]);
    assert_eq!(Talk::new(true, pieces(&[1]), &pieces(&[1])).said(), [Some(true)], "a partial one");
}

#[test]
fn who_has_what_it_wanted_says_so_and_is_no_seed_to_its_tracker() {
    let mut talk = Talk::new(true, pieces(&[]), &pieces(&[2]));
    assert_eq!(talk.said(), [None]);
    talk.hears(&Message::Bitfield(Bitfield::full(PIECES).to_wire()));
    talk.hears(&Message::Unchoke);
    assert!(!talk.torrent.is_complete());
    let data = Bytes::from(vec![0; BLOCK_LENGTH as usize]);
    talk.hears(&Message::Piece { piece: 2, begin: 0, data });
    assert!(talk.torrent.is_complete());
    assert_eq!(talk.said(), [Some(true)]);
    let events: Vec<_> = talk.announces.iter().map(|it| it.event).collect();
    assert_eq!(events.len(), 1, "no `completed`: {events:?}");
}

#[test]
fn of_two_that_want_nothing_more_one_parts() {
    let all = Bitfield::full(PIECES);
    let mut seed = Talk::new(true, all.clone(), &all);
    seed.hears(&Message::Bitfield(pieces(&[0]).to_wire()));
    seed.hears_upload_only(false);
    assert_eq!(seed.closed, None);
    seed.hears_upload_only(true);
    assert_eq!(seed.closed, Some(CloseReason::BothComplete));
    let mut leecher = Talk::new(true, pieces(&[1]), &all);
    leecher.hears_upload_only(true);
    assert_eq!(leecher.closed, None, "it may have what we want");
}
