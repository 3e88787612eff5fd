//! Bencode, by way of everything that reads it.

use bytes::Bytes;
use reseed_protocol::{
    InfoHash,
    extension::{
        ExtensionHandshake, HashPiece, closed_swarm::ProofMessage, give_to_get::ForwardReport,
        pex::PexMessage,
    },
    metainfo::Metainfo,
    tracker::AnnounceResponse,
};

/// Every reader takes the same bytes or refuses them; those that want dictionaries
/// never take what has no `d` in front and no `e` behind.
pub fn run(bytes: &[u8]) {
    let takers = [
        ("metainfo", Metainfo::from_bytes(bytes).is_ok()),
        ("tracker", AnnounceResponse::from_bytes(bytes).is_ok()),
        ("handshake", ExtensionHandshake::decode(bytes).is_ok()),
        ("pex", PexMessage::decode(bytes).is_ok()),
        ("forward", ForwardReport::decode(bytes).is_ok()),
    ];
    for (name, taken) in takers {
        let whole = bytes.first() == Some(&b'd') && bytes.contains(&b'e');
        assert!(whole || !taken, "{name} takes what is no dictionary");
    }
    if ProofMessage::decode(bytes).is_ok() {
        assert!(bytes.starts_with(b"li2") && bytes.ends_with(b"e"));
    }
    // A list of hashes, in front of it its length.
    let length = (bytes.len() as u32).to_be_bytes();
    let payload = [&[0; 8], &length[..], bytes].concat();
    if HashPiece::decode(&Bytes::from(payload)).is_ok() {
        assert!(bytes.starts_with(b"l") && bytes.ends_with(b"e"));
    }
}

/// Every type, nested.
pub fn seeds() -> Vec<Vec<u8>> {
    let challenge =
        ProofMessage::Challenge { returned: false, swarm: InfoHash([1; 20]), nonce: vec![2; 20] };
    let texts: [&[u8]; 7] = [
        b"d1:ai-7e1:bl0:i0ed1:x4:spamee1:cd0:ledeee",
        b"d1:md6:ut_pexi1ee1:pi6881e1:v3:abce",
        b"d8:intervali1800e5:peers6:\x0a\0\0\x01\x1a\xe1e",
        b"d5:added6:\x0a\0\0\x01\x1a\xe17:added.f1:\x02e",
        b"d1:31:\x64e",
        b"lli8e20:aaaaaaaaaaaaaaaaaaaaeli0e20:bbbbbbbbbbbbbbbbbbbbee",
        b"d4:infod6:lengthi9e4:name1:a12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee",
    ];
    texts.into_iter().map(Vec::from).chain([challenge.encode().to_vec()]).collect()
}
