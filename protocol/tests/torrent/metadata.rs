//! A magnet link's peer gets the metadata from a torrent's. BEP 9, BEP 27.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use reseed_protocol::{
    Bitfield, Info, Layout, MetadataFetch, PeerId, Time,
    extension::{Extension, ExtensionHandshake, MetadataMessage},
    torrent::{Config, Input, Output, Start, Torrent},
    wire::{Handshake, Message},
};

use crate::{
    start,
    talk::{Talk, torrent},
};

fn metadata() -> Bytes {
    (0..40_000u32).map(|at| (at * 31 % 251) as u8).collect()
}

fn seed(private: bool) -> Torrent {
    let info_hash = Info::hash(&metadata());
    let layout = Layout::new(16_384, 100_000);
    let start = Start { info_hash, private, ..start(layout, Bitfield::full(7)) };
    torrent(Config::new(PeerId([2; 20]), 6881), start).with_metadata(metadata())
}

fn addr() -> SocketAddr {
    ([192, 0, 2, 1], 6881).into()
}

/// What a torrent has to say after `input`.
fn answers(torrent: &mut Torrent, input: Input) -> BytesMut {
    let mut said = BytesMut::new();
    torrent.handle(input, Time::ZERO, &mut ChaCha8Rng::seed_from_u64(3));
    while let Some(output) = torrent.poll_output() {
        if let Output::Send { bytes, .. } = output {
            said.extend_from_slice(&bytes.to_bytes());
        }
    }
    said
}

#[test]
fn a_peer_with_a_link_gets_the_metadata_of_a_peer_with_the_torrent() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let config = Config::new(PeerId([1; 20]), 6881);
    let info_hash = Info::hash(&metadata());
    let mut fetch = MetadataFetch::new(config, info_hash, false, Time::ZERO, &mut rng);
    let mut seed = seed(false);
    let theirs = seed.accept(addr(), Time::ZERO).unwrap();
    let mut inputs = vec![Input::AddPeers { addrs: vec![addr()] }];
    while let Some(input) = inputs.pop() {
        fetch.handle(input, Time::ZERO, &mut rng);
        while let Some(output) = fetch.poll_output() {
            match output {
                Output::Dial { connection, .. } => inputs.push(Input::Dialled { connection }),
                Output::Send { connection, bytes } => {
                    let bytes = bytes.to_bytes().into();
                    let received = Input::Received { connection: theirs, bytes };
                    let bytes = answers(&mut seed, received);
                    inputs.push(Input::Received { connection, bytes });
                }
                _ => {}
            }
        }
    }
    assert_eq!(fetch.metadata(), Some(&metadata()));
}

/// A remote that takes metadata has connected to the seed.
fn talk(private: bool) -> Talk {
    let handshake = Handshake::new(Info::hash(&metadata()), PeerId([1; 20])).with_extensions();
    let mut talk = Talk::greeted(seed(private), &handshake);
    let m = [("ut_metadata".to_owned(), 7)].into();
    let payload = ExtensionHandshake { m, ..ExtensionHandshake::default() }.encode();
    talk.hears(&Message::Extended { id: 0, payload });
    talk
}

/// The extended messages that it has said since the last call.
fn heard(talk: &mut Talk) -> Vec<(u8, Bytes)> {
    let extended = |message| match message {
        Message::Extended { id, payload } => Some((id, payload)),
        _ => None,
    };
    talk.messages().into_iter().filter_map(extended).collect()
}

/// What it says when it is asked for a piece.
fn answer(talk: &mut Talk, piece: u32) -> MetadataMessage {
    let payload = MetadataMessage::Request { piece }.encode();
    talk.hears(&Message::Extended { id: Extension::Metadata.local_id(), payload });
    let [(7, payload)] = &heard(talk)[..] else { panic!("one answer") };
    MetadataMessage::decode(payload).unwrap().unwrap()
}

#[test]
fn a_piece_that_there_is_not_is_rejected() {
    let mut talk = talk(false);
    heard(&mut talk);
    let data = metadata().slice(32_768..);
    let last = MetadataMessage::Data { piece: 2, total_size: 40_000, data };
    assert_eq!(answer(&mut talk, 2), last);
    for piece in [3, u32::MAX] {
        assert_eq!(answer(&mut talk, piece), MetadataMessage::Reject { piece });
    }
}

#[test]
fn who_does_not_read_what_it_asks_for_is_rejected_and_costs_bounded_memory() {
    let mut talk = talk(false);
    heard(&mut talk);
    // Nothing is flushed: all of it waits.
    let answers: Vec<_> = (0..100).map(|_| answer(&mut talk, 0)).collect();
    let given = answers.iter().filter(|it| matches!(it, MetadataMessage::Data { .. })).count();
    assert!((1..40).contains(&given), "{given}");
    assert_eq!(answers.last(), Some(&MetadataMessage::Reject { piece: 0 }));
}

#[test]
fn the_metadata_is_offered_with_its_size_and_of_a_private_torrent_not_at_all() {
    let offer = |private| {
        let heard = heard(&mut talk(private));
        let handshake = ExtensionHandshake::decode(&heard[0].1).unwrap();
        (handshake.m.contains_key("ut_metadata"), handshake.metadata_size)
    };
    assert_eq!(offer(false), (true, Some(40_000)));
    assert_eq!(offer(true), (false, None));
}
