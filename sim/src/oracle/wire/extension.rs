//! Messages of extensions, read from what specifies them alone, and held against what
//! `reseed_protocol::extension` reads.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use bytes::Bytes;
use reseed_protocol::extension::{
    DontHave, ExtensionHandshake, HashPiece, MetadataMessage, closed_swarm::ProofMessage,
    give_to_get::ForwardReport, pex::PexMessage,
};

use super::bencode::{self, Value};

/// Under which id a side takes each extension, by what it has said. BEP 10.
pub(super) type Declared = BTreeMap<Vec<u8>, u8>;

/// Takes over what an extension handshake declares: 0 switches an extension off.
pub(super) fn declare(declared: &mut Declared, payload: &[u8]) {
    let handshake = bencode::read(payload);
    let names = handshake.as_ref().and_then(|handshake| handshake.get("m")?.dict());
    for (name, id) in names.into_iter().flatten() {
        match id.number().map(u8::try_from) {
            Some(Ok(0)) => drop(declared.remove(name)),
            Some(Ok(id)) => drop(declared.insert(name.clone(), id)),
            _ => {}
        }
    }
}

/// Whether both read the same from a message that one of our peers said: to a remote
/// that `takes` extensions under those ids.
pub(super) fn agree(takes: &Declared, id: u8, payload: &Bytes) -> Result<(), String> {
    if id == 0 {
        return compare("extension handshake", payload, handshake, |payload| {
            ExtensionHandshake::decode(payload).map_err(|error| error.to_string())
        });
    }
    let name = takes.iter().find(|(_, taken)| **taken == id).map(|(name, _)| &name[..]);
    match name {
        Some(b"ut_pex") => compare("peer exchange", payload, contacts, |payload| {
            PexMessage::decode(payload).map(Contacts::of).map_err(|error| error.to_string())
        }),
        Some(b"Tr_hashpiece") => compare("block with hashes", payload, hash_piece, |payload| {
            HashPiece::decode(payload).map_err(|error| error.to_string())
        }),
        Some(b"Tr_G2G_v2") => compare("report of what it passed on", payload, shares, |payload| {
            ForwardReport::decode(payload).map(|it| it.shares).map_err(|error| error.to_string())
        }),
        Some(b"ut_metadata") => compare("metadata message", payload, metadata, |payload| {
            let message = MetadataMessage::decode(payload).map_err(|error| error.to_string())?;
            message.ok_or_else(|| "it is of an unknown kind".to_owned())
        }),
        Some(b"lt_donthave") => compare("word of a lost piece", payload, lost, |payload| {
            DontHave::decode(payload).map(|it| it.piece).map_err(|error| error.to_string())
        }),
        Some(b"NS_CS") => compare("proof of access", payload, proof, |payload| {
            ProofMessage::decode(payload).map(Proof::of).map_err(|error| error.to_string())
        }),
        _ => Ok(()),
    }
}

fn compare<T: PartialEq + std::fmt::Debug>(
    what: &str,
    payload: &Bytes,
    ours: impl Fn(&Bytes) -> Option<T>,
    theirs: impl Fn(&Bytes) -> Result<T, String>,
) -> Result<(), String> {
    let shown = || payload[..payload.len().min(SHOWN)].escape_ascii().to_string();
    match (ours(payload), theirs(payload)) {
        (Some(ours), Ok(theirs)) if ours == theirs => Ok(()),
        (Some(ours), Ok(theirs)) => {
            Err(format!("its {what} reads {ours:?}, and it reads {theirs:?} itself: {}", shown()))
        }
        (Some(_), Err(error)) => Err(format!("it cannot read its own {what}: {error}")),
        (None, _) => Err(format!("its {what} cannot be read: {}", shown())),
    }
}

/// Bytes of a message that are shown.
const SHOWN: usize = 200;

/// BEP 10 §handshake message.
fn handshake(payload: &Bytes) -> Option<ExtensionHandshake> {
    let items = bencode::read(payload)?;
    let number = |key| items.get(key).and_then(Value::number);
    let mut m = BTreeMap::new();
    if let Some(names) = items.get("m") {
        for (name, id) in names.dict()? {
            m.insert(String::from_utf8(name.clone()).ok()?, id.number()?.try_into().ok()?);
        }
    }
    let text = |key| items.get(key).and_then(Value::text);
    Some(ExtensionHandshake {
        m,
        metadata_size: number("metadata_size").map(|size| size as u32),
        port: number("p").map(|port| port as u16),
        reqq: number("reqq").map(|requests| requests as u32),
        upload_only: number("upload_only").map(|flag| flag != 0),
        version: text("v").map(|version| String::from_utf8_lossy(version).into_owned()),
        yourip: match text("yourip") {
            None => None,
            Some(ip) if ip.len() == 4 => Some(v4(ip)),
            Some(ip) => Some(v6(ip)?),
        },
    })
}

/// What a message of peer exchange says. BEP 11.
#[derive(Debug, PartialEq)]
struct Contacts {
    added: Vec<(SocketAddr, u8)>,
    dropped: Vec<SocketAddr>,
}

impl Contacts {
    fn of(message: PexMessage) -> Contacts {
        let added = message.added.iter().map(|peer| (peer.addr, peer.flags.0)).collect();
        Contacts { added, dropped: message.dropped }
    }
}

fn contacts(payload: &Bytes) -> Option<Contacts> {
    let items = bencode::read(payload)?;
    let field = |key| items.get(key).and_then(Value::text).unwrap_or_default();
    let mut added = Vec::new();
    for (contacts, flags, size) in [("added", "added.f", 6), ("added6", "added6.f", 18)] {
        let contacts = addresses(field(contacts), size)?;
        // They may be left out, and are then zeros.
        let flags = field(flags).iter().copied().chain(std::iter::repeat(0));
        added.extend(contacts.into_iter().zip(flags));
    }
    let mut dropped = addresses(field("dropped"), 6)?;
    dropped.extend(addresses(field("dropped6"), 18)?);
    Some(Contacts { added, dropped })
}

/// An address and a port, one after the other; `size` bytes each pair.
fn addresses(bytes: &[u8], size: usize) -> Option<Vec<SocketAddr>> {
    let contact = |contact: &[u8]| {
        let (ip, port) = contact.split_at_checked(size - 2)?;
        let ip = if size == 6 { v4(ip) } else { v6(ip)? };
        Some(SocketAddr::new(ip, u16::from(*port.first()?) << 8 | u16::from(*port.get(1)?)))
    };
    bytes.chunks(size).map(contact).collect()
}

fn v4(bytes: &[u8]) -> IpAddr {
    IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn v6(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// A block of a Merkle torrent. BEP 30.
fn hash_piece(payload: &Bytes) -> Option<HashPiece> {
    let number = |at: usize| {
        let bytes = payload.get(at..at + 4)?;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    };
    let data_at = 12 + number(8)? as usize;
    let mut hashes = Vec::new();
    for pair in bencode::read(payload.get(12..data_at)?)?.list()? {
        let [node, hash] = pair.list()? else { return None };
        hashes.push((node.number()?.try_into().ok()?, hash.text()?.try_into().ok()?));
    }
    Some(HashPiece { piece: number(0)?, begin: number(4)?, hashes, data: payload.slice(data_at..) })
}

/// What was passed on of each piece, in hundredths: a byte under the decimal digits of the
/// piece. NextShare.
fn shares(payload: &Bytes) -> Option<BTreeMap<u32, u8>> {
    let report = bencode::read(payload)?;
    let share = |(piece, share): (&Vec<u8>, &Value)| {
        let piece = str::from_utf8(piece).ok()?.parse().ok()?;
        let [share] = share.text()? else { return None };
        Some((piece, *share))
    };
    report.dict()?.iter().map(share).collect()
}

/// A dictionary, and behind it the data, if it is such a message. BEP 9.
fn metadata(payload: &Bytes) -> Option<MetadataMessage> {
    let (items, data) = bencode::read_first(payload)?;
    let number = |key| items.get(key).and_then(Value::number);
    let piece = number("piece")?.try_into().ok()?;
    let data = payload.slice_ref(data);
    match (number("msg_type")?, data.is_empty()) {
        (0, true) => Some(MetadataMessage::Request { piece }),
        (1, _) => {
            let total_size = number("total_size")?.try_into().ok()?;
            Some(MetadataMessage::Data { piece, total_size, data })
        }
        (2, true) => Some(MetadataMessage::Reject { piece }),
        _ => None,
    }
}

/// The piece that is gone, and nothing else. BEP 54.
fn lost(payload: &Bytes) -> Option<u32> {
    let [a, b, c, d] = payload[..] else { return None };
    Some(u32::from(a) << 24 | u32::from(b) << 16 | u32::from(c) << 8 | u32::from(d))
}

/// A message of the closed-swarm handshake: its number and its items, which are byte
/// strings but for the time at which a certificate ends.
#[derive(Debug, PartialEq)]
struct Proof(Vec<Value>);

impl Proof {
    fn of(message: ProofMessage) -> Proof {
        let number = Value::Number(message.number().into());
        let text = |bytes: &[u8]| Value::Text(bytes.to_vec());
        Proof(match message {
            ProofMessage::Challenge { swarm, nonce, .. } => {
                vec![number, text(&swarm.0), text(&nonce)]
            }
            ProofMessage::Proof { certificate, signature, .. } => vec![
                number,
                text(&certificate.swarm.0),
                text(&certificate.torrent_key.to_der()),
                text(&certificate.node_key.to_der()),
                Value::Number(certificate.expires_s.into()),
                text(&certificate.signature),
                text(&signature),
            ],
        })
    }
}

fn proof(payload: &Bytes) -> Option<Proof> {
    match bencode::read(payload)? {
        Value::List(items) => Some(Proof(items)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use reseed_protocol::extension::pex::{PexFlags, PexPeer};

    use super::*;

    fn taking(name: &str, id: u8) -> Declared {
        Declared::from([(name.into(), id)])
    }

    #[test]
    fn a_handshake_switches_extensions_on_and_off() {
        let mut declared = Declared::new();
        declare(&mut declared, b"d1:md5:otheri7e6:ut_pexi3eee");
        assert_eq!(declared, [("ut_pex".into(), 3), ("other".into(), 7)].into());
        declare(&mut declared, b"d1:md6:ut_pexi0eee");
        assert_eq!(declared, taking("other", 7));
        declare(&mut declared, b"de");
        assert_eq!(declared, taking("other", 7));
    }

    #[test]
    fn what_both_read_alike_is_agreed_on() {
        let handshake = ExtensionHandshake {
            m: [("ut_pex".to_owned(), 1)].into(),
            port: Some(6881),
            reqq: Some(250),
            version: Some("reseed".to_owned()),
            yourip: Some(IpAddr::from([127, 0, 0, 1])),
            ..ExtensionHandshake::default()
        };
        assert_eq!(agree(&Declared::new(), 0, &handshake.encode()), Ok(()));

        let contact = |text: &str| text.parse().expect("it is an address");
        let added = [contact("1.2.3.4:258"), contact("[2001:db8::1]:6881")];
        let pex = PexMessage {
            added: added.map(|addr| PexPeer { addr, flags: PexFlags::REACHABLE }).into(),
            dropped: vec![contact("5.6.7.8:80")],
        };
        assert_eq!(agree(&taking("ut_pex", 3), 3, &pex.encode()), Ok(()));

        let report = ForwardReport { shares: [(3, 7), (12, 100)].into() };
        assert_eq!(agree(&taking("Tr_G2G_v2", 4), 4, &report.encode()), Ok(()));

        let data = Bytes::from_static(b"data");
        for message in [
            MetadataMessage::Request { piece: 1 },
            MetadataMessage::Data { piece: 1, total_size: 16_388, data: data.clone() },
            MetadataMessage::Reject { piece: 1 },
        ] {
            assert_eq!(agree(&taking("ut_metadata", 2), 2, &message.encode()), Ok(()));
        }

        let gone = DontHave { piece: 0x0102_0304 };
        assert_eq!(agree(&taking("lt_donthave", 3), 3, &gone.encode()), Ok(()));

        let piece = HashPiece { piece: 1, begin: 2, hashes: vec![(3, [4; 20])], data };
        assert_eq!(agree(&taking("Tr_hashpiece", 9), 9, &piece.encode()), Ok(()));
    }

    #[test]
    fn what_one_of_them_cannot_read_is_not_agreed_on() {
        let says = |payload: &'static [u8]| {
            agree(&taking("ut_pex", 3), 3, &Bytes::from_static(payload)).unwrap_err()
        };
        assert!(says(b"d5:added7:abcdefge").starts_with("its peer exchange cannot be read"));
        assert!(says(b"d1:xi1ee").starts_with("it cannot read its own peer exchange"));
    }

    #[test]
    fn what_they_read_differently_is_shown() {
        let ours = |_: &Bytes| Some(258);
        let differs = compare("port", &Bytes::from_static(b"\x01\x02"), ours, |_| Ok(513));
        let words = "its port reads 258, and it reads 513 itself: \\x01\\x02";
        assert_eq!(differs, Err(words.to_owned()));
    }

    #[test]
    fn an_extension_that_nobody_knows_is_passed_over() {
        assert_eq!(agree(&taking("xy", 3), 3, &Bytes::from_static(b"?")), Ok(()));
    }
}
