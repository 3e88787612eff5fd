//! Messages of extensions.

use std::time::Duration;

use bytes::Bytes;
use reseed_protocol::{
    InfoHash, Time,
    extension::{
        Extension, ExtensionHandshake, HashPiece, MetadataMessage, Registry,
        closed_swarm::{MESSAGE_LENGTH_MAX, ProofMessage},
        give_to_get::ForwardReport,
        pex::{PEX_CONTACTS_MAX, PEX_FIRST_CONTACTS_MAX, PexMessage, PexReceiver},
    },
};

/// The first byte says which message, the rest is its payload. What is taken is bounded,
/// and what is written of it reads back as the same.
pub fn run(bytes: &[u8]) {
    let Some((kind, payload)) = bytes.split_first() else { return };
    match kind % 6 {
        0 => handshake(payload),
        1 => contacts(payload),
        2 => hash_piece(payload),
        3 => proof(payload),
        4 => report(payload),
        _ => metadata(payload),
    }
}

fn handshake(payload: &[u8]) {
    let Ok(handshake) = ExtensionHandshake::decode(payload) else { return };
    assert!(handshake.m.len() <= 128);
    assert!(handshake.m.keys().all(|name| name.len() <= 128));
    assert!(handshake.version.as_ref().is_none_or(|version| version.len() <= 128));
    assert!(handshake.port != Some(0) && handshake.reqq != Some(0));
    assert_eq!(ExtensionHandshake::decode(&handshake.encode()), Ok(handshake.clone()));
    let mut registry = Registry::new(Extension::ALL);
    registry.apply(&handshake);
    for extension in Extension::ALL {
        let named = handshake.m.get(extension.name()).copied().filter(|id| *id != 0);
        assert_eq!(registry.remote_id(*extension), named);
    }
}

fn contacts(payload: &[u8]) {
    let Ok(message) = PexMessage::decode(payload) else { return };
    if !message.is_empty() {
        assert_eq!(PexMessage::decode(&message.encode()), Ok(message.clone()));
    }
    let mut receiver = PexReceiver::new();
    for (minute, most) in [(0, PEX_FIRST_CONTACTS_MAX), (2, PEX_CONTACTS_MAX)] {
        let now = Time::ZERO + Duration::from_secs(60 * minute);
        if let Ok(taken) = receiver.accept(now, &message) {
            assert!(taken.len() <= most, "{} contacts are taken", taken.len());
        }
    }
}

fn hash_piece(payload: &[u8]) {
    let Ok(message) = HashPiece::decode(&Bytes::copy_from_slice(payload)) else { return };
    assert!(message.hashes.len() <= HashPiece::HASHES_MAX);
    assert!(message.data.len() <= payload.len());
    assert_eq!(HashPiece::decode(&message.encode()), Ok(message));
}

fn proof(payload: &[u8]) {
    let Ok(message) = ProofMessage::decode(payload) else { return };
    assert!(payload.len() <= MESSAGE_LENGTH_MAX);
    assert_eq!(ProofMessage::decode(&message.encode()), Ok(message));
}

fn report(payload: &[u8]) {
    let Ok(report) = ForwardReport::decode(payload) else { return };
    assert!(report.shares.values().all(|share| (1..=100).contains(share)));
    assert_eq!(ForwardReport::decode(&report.encode()), Ok(report));
}

fn metadata(payload: &[u8]) {
    let payload = Bytes::copy_from_slice(payload);
    let Ok(Some(message)) = MetadataMessage::decode(&payload) else { return };
    assert_eq!(MetadataMessage::decode(&message.encode()), Ok(Some(message)));
}

/// One of each.
pub fn seeds() -> Vec<Vec<u8>> {
    let challenge =
        ProofMessage::Challenge { returned: true, swarm: InfoHash([1; 20]), nonce: vec![2; 20] };
    let data = Bytes::from_static(b"data");
    let hash_piece = HashPiece { piece: 1, begin: 0, hashes: vec![(3, [4; 20])], data };
    let handshake: &[u8] = b"d1:md12:Tr_hashpiecei250e6:ut_pexi1ee13:metadata_sizei31235e1:pi6881e\
        4:reqqi250e11:upload_onlyi1e1:v6:reseed6:yourip4:\x7f\0\0\x01e";
    let contacts: &[u8] = b"d5:added12:\x0a\0\0\x01\x1a\xe1\x0a\0\0\x02\x1a\xe17:added.f2:\x02\x10\
        7:dropped6:\x0a\0\0\x03\x1a\xe1e";
    [
        (0, Bytes::from_static(handshake)),
        (1, Bytes::from_static(contacts)),
        (2, hash_piece.encode()),
        (3, challenge.encode()),
        (5, MetadataMessage::Request { piece: 1 }.encode()),
        (5, Bytes::from_static(b"d8:msg_typei1e5:piecei0e10:total_sizei34256eexxxxxxxx")),
        (4, ForwardReport { shares: [(0, 100), (31, 7)].into() }.encode()),
    ]
    .into_iter()
    .map(|(kind, payload)| [&[kind][..], &payload].concat())
    .collect()
}
