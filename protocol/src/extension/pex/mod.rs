//! Peer exchange: connected peers tell each other to whom else they are
//! connected. BEP 11.
//!
//! [`PexMessage`] is the message, [`PexSender`] decides what to tell a peer and
//! when, and [`PexReceiver`] what to believe.

mod receiver;
mod sender;

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::BitOr,
    time::Duration,
};

use bendy::{
    decoding::{Decoder, Object},
    encoding::{Encoder, Error as EncodeError},
};
use bytes::Bytes;

pub use receiver::{PexReceiver, PexViolation};
pub use sender::PexSender;

use super::{DEPTH_MAX, ExtensionError, dictionary};

/// The least time between two messages to one peer. BEP 11.
pub const PEX_INTERVAL: Duration = Duration::from_secs(60);

/// Contacts that a message may add, and as many that it may drop (count, IPv4 and
/// IPv6 together), unless it is the first. BEP 11.
pub const PEX_CONTACTS_MAX: usize = 50;

/// Contacts that a connection's first message may add (count). BEP 11 sets no
/// bound for it; libtorrent puts at most 100 into any message. What does not fit
/// comes with the next one.
pub const PEX_FIRST_CONTACTS_MAX: usize = 100;

/// The longest message that is read (bytes). libtorrent disconnects over more.
pub const PEX_LENGTH_MAX: usize = 500 * 1024;

/// What the sender of a contact knows about it. BEP 11.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct PexFlags(pub u8);

impl PexFlags {
    /// It prefers encryption.
    pub const ENCRYPTION: PexFlags = PexFlags(0x01);
    /// It only uploads: a seed, or a partial one.
    pub const UPLOAD_ONLY: PexFlags = PexFlags(0x02);
    /// It supports uTP.
    pub const UTP: PexFlags = PexFlags(0x04);
    /// It supports hole punching.
    pub const HOLEPUNCH: PexFlags = PexFlags(0x08);
    /// The sender dialled it, so it can be reached.
    pub const REACHABLE: PexFlags = PexFlags(0x10);

    /// Whether all of `flags` are set.
    pub fn contains(self, flags: PexFlags) -> bool {
        self.0 & flags.0 == flags.0
    }
}

impl BitOr for PexFlags {
    type Output = PexFlags;

    fn bitor(self, flags: PexFlags) -> PexFlags {
        PexFlags(self.0 | flags.0)
    }
}

impl fmt::Debug for PexFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PexFlags({:#04x})", self.0)
    }
}

/// A contact to which the sender has connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PexPeer {
    /// Where it listens.
    pub addr: SocketAddr,
    /// What is known about it.
    pub flags: PexFlags,
}

/// What changed among a peer's connections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PexMessage {
    /// Connections that are new.
    pub added: Vec<PexPeer>,
    /// Connections that are no more.
    pub dropped: Vec<SocketAddr>,
}

impl PexMessage {
    /// Whether it says nothing. BEP 11 does not allow to send such a message.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.dropped.is_empty()
    }

    /// The payload to send: canonical bencode, with the fields that have contacts.
    /// Flags always go with them, because libtorrent skips contacts without.
    pub fn encode(&self) -> Bytes {
        self.write().expect("keys are written in their order").into()
    }

    /// Reads a payload: of each list the IPv4 contacts first, then the IPv6 ones.
    /// Contacts without flags get none; unknown keys are ignored.
    ///
    /// How many contacts there are is for [`PexReceiver::accept`] to judge.
    pub fn decode(payload: &[u8]) -> Result<PexMessage, ExtensionError> {
        if payload.len() > PEX_LENGTH_MAX {
            return Err(ExtensionError::TooLong {
                what: WHAT,
                got: payload.len(),
                most: PEX_LENGTH_MAX,
            });
        }
        let fields = Fields::read(payload)?;
        let lists = [fields.added, fields.added6, fields.dropped, fields.dropped6];
        if lists.iter().all(Option::is_none) {
            return Err(ExtensionError::PexEmpty);
        }
        let mut added = with_flags("added.f", contacts("added", fields.added, v4)?, fields.flags)?;
        added.extend(with_flags(
            "added6.f",
            contacts("added6", fields.added6, v6)?,
            fields.flags6,
        )?);
        let mut dropped = contacts("dropped", fields.dropped, v4)?;
        dropped.extend(contacts("dropped6", fields.dropped6, v6)?);
        Ok(PexMessage { added, dropped })
    }

    fn write(&self) -> Result<Vec<u8>, EncodeError> {
        let mut fields: [(&[u8], Vec<u8>); 6] = [
            (b"added", Vec::new()),
            (b"added.f", Vec::new()),
            (b"added6", Vec::new()),
            (b"added6.f", Vec::new()),
            (b"dropped", Vec::new()),
            (b"dropped6", Vec::new()),
        ];
        for peer in &self.added {
            let at = if peer.addr.is_ipv4() { 0 } else { 2 };
            put_contact(&mut fields[at].1, peer.addr);
            fields[at + 1].1.push(peer.flags.0);
        }
        for &addr in &self.dropped {
            let at = if addr.is_ipv4() { 4 } else { 5 };
            put_contact(&mut fields[at].1, addr);
        }
        let mut encoder = Encoder::new();
        encoder.emit_dict(|mut dict| {
            for (key, bytes) in fields.iter().filter(|(_, bytes)| !bytes.is_empty()) {
                dict.emit_pair_with(key, |value| value.emit_bytes(bytes))?;
            }
            Ok(())
        })?;
        encoder.get_output()
    }
}

impl fmt::Display for PexMessage {
    /// One line of a transcript: `pex +3 -1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pex +{} -{}", self.added.len(), self.dropped.len())
    }
}

const WHAT: &str = "peer exchange";

/// The byte strings of a message, those that are there.
#[derive(Default)]
struct Fields<'a> {
    added: Option<&'a [u8]>,
    flags: Option<&'a [u8]>,
    added6: Option<&'a [u8]>,
    flags6: Option<&'a [u8]>,
    dropped: Option<&'a [u8]>,
    dropped6: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn read(payload: &'a [u8]) -> Result<Fields<'a>, ExtensionError> {
        let mut decoder = Decoder::new(payload).with_max_depth(DEPTH_MAX);
        let bencode = ExtensionError::bencode(WHAT);
        let mut dict = dictionary(&mut decoder).map_err(&bencode)?;
        let mut fields = Fields::default();
        while let Some((key, value)) = dict.next_pair().map_err(&bencode)? {
            let (field, slot) = match key {
                b"added" => ("added", &mut fields.added),
                b"added.f" => ("added.f", &mut fields.flags),
                b"added6" => ("added6", &mut fields.added6),
                b"added6.f" => ("added6.f", &mut fields.flags6),
                b"dropped" => ("dropped", &mut fields.dropped),
                b"dropped6" => ("dropped6", &mut fields.dropped6),
                _ => continue,
            };
            let Object::Bytes(bytes) = value else {
                return Err(ExtensionError::PexType { field });
            };
            *slot = Some(bytes);
        }
        Ok(fields)
    }
}

/// Splits a field into contacts of `N` bytes.
fn contacts<const N: usize>(
    field: &'static str,
    bytes: Option<&[u8]>,
    read: impl Fn(&[u8; N]) -> SocketAddr,
) -> Result<Vec<SocketAddr>, ExtensionError> {
    let bytes = bytes.unwrap_or_default();
    let (contacts, rest) = bytes.as_chunks();
    if rest.is_empty() {
        Ok(contacts.iter().map(read).collect())
    } else {
        Err(ExtensionError::PexContacts { field, got: bytes.len(), contact: N })
    }
}

fn with_flags(
    field: &'static str,
    contacts: Vec<SocketAddr>,
    flags: Option<&[u8]>,
) -> Result<Vec<PexPeer>, ExtensionError> {
    if let Some(flags) = flags
        && flags.len() != contacts.len()
    {
        return Err(ExtensionError::PexFlags { field, got: flags.len(), contacts: contacts.len() });
    }
    let flags = flags.unwrap_or_default().iter().copied();
    Ok(contacts
        .into_iter()
        .zip(flags.chain(std::iter::repeat(0)))
        .map(|(addr, flags)| PexPeer { addr, flags: PexFlags(flags) })
        .collect())
}

fn v4(bytes: &[u8; 6]) -> SocketAddr {
    let [a, b, c, d, port @ ..] = *bytes;
    (Ipv4Addr::new(a, b, c, d), u16::from_be_bytes(port)).into()
}

fn v6(bytes: &[u8; 18]) -> SocketAddr {
    let [ip @ .., high, low] = *bytes;
    (Ipv6Addr::from_octets(ip), u16::from_be_bytes([high, low])).into()
}

fn put_contact(out: &mut Vec<u8>, addr: SocketAddr) {
    match addr {
        SocketAddr::V4(addr) => out.extend(addr.ip().octets()),
        SocketAddr::V6(addr) => out.extend(addr.ip().octets()),
    }
    out.extend(addr.port().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    fn contact(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_message_is_laid_out_as_in_bep_11() {
        let message = PexMessage {
            added: vec![
                PexPeer { addr: contact("[2001:db8::1]:258"), flags: PexFlags::UTP },
                PexPeer {
                    addr: contact("1.2.3.4:6881"),
                    flags: PexFlags::UPLOAD_ONLY | PexFlags::REACHABLE,
                },
            ],
            dropped: vec![contact("5.6.7.8:80"), contact("[::9]:1")],
        };
        let ip6 = b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01";
        let expected = [
            &b"d5:added6:\x01\x02\x03\x04\x1a\xe17:added.f1:\x12"[..],
            b"6:added618:",
            ip6,
            b"\x01\x028:added6.f1:\x04",
            b"7:dropped6:\x05\x06\x07\x08\0\x50",
            b"8:dropped618:\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x09\0\x01e",
        ]
        .concat();
        assert_eq!(message.encode().as_ref(), expected);
        assert_eq!(message.to_string(), "pex +2 -2");
    }

    #[test]
    fn flags_may_be_left_out_but_not_be_too_few_or_too_many() {
        let message = PexMessage::decode(b"d5:added6:abcdefe").unwrap();
        assert_eq!(message.added[0].flags, PexFlags(0));
        for payload in [
            &b"d5:added6:abcdef7:added.f0:e"[..],
            b"d5:added6:abcdef7:added.f2:xye",
            b"d7:added.f1:x7:dropped0:e",
        ] {
            assert!(matches!(PexMessage::decode(payload), Err(ExtensionError::PexFlags { .. })));
        }
    }

    #[test]
    fn a_field_that_ends_inside_a_contact_is_an_error() {
        for payload in [
            &b"d5:added7:abcdefge"[..],
            b"d6:added66:abcdefe",
            b"d7:dropped5:abcdee",
            b"d8:dropped61:ae",
        ] {
            assert!(matches!(PexMessage::decode(payload), Err(ExtensionError::PexContacts { .. })));
        }
    }

    #[test]
    fn at_least_one_field_is_there_even_if_it_is_empty() {
        assert_eq!(PexMessage::decode(b"de"), Err(ExtensionError::PexEmpty));
        assert_eq!(PexMessage::decode(b"d7:added.f0:1:xi1ee"), Err(ExtensionError::PexEmpty));
        // libtorrent writes every field, with or without contacts.
        assert_eq!(
            PexMessage::decode(b"d5:added0:7:added.f0:7:dropped0:e"),
            Ok(PexMessage::default())
        );
    }

    #[test]
    fn a_field_of_another_type_is_an_error() {
        assert_eq!(
            PexMessage::decode(b"d5:addedlee"),
            Err(ExtensionError::PexType { field: "added" })
        );
    }

    #[test]
    fn a_message_over_500_kib_is_not_read() {
        assert!(matches!(
            PexMessage::decode(&vec![b'd'; PEX_LENGTH_MAX + 1]),
            Err(ExtensionError::TooLong { .. })
        ));
    }

    fn any_contact() -> impl Strategy<Value = SocketAddr> {
        any::<(IpAddr, u16)>().prop_map(SocketAddr::from)
    }

    prop_compose! {
        fn any_pex()(
            added in prop::collection::vec((any_contact(), any::<u8>()), 0..9),
            dropped in prop::collection::vec(any_contact(), 0..9),
        ) -> PexMessage {
            let mut added: Vec<PexPeer> = added
                .into_iter()
                .map(|(addr, flags)| PexPeer { addr, flags: PexFlags(flags) })
                .collect();
            let mut dropped = dropped;
            // The order in which a decoded message comes.
            added.sort_by_key(|peer| peer.addr.is_ipv6());
            dropped.sort_by_key(SocketAddr::is_ipv6);
            PexMessage { added, dropped }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(message in any_pex()) {
            prop_assume!(!message.is_empty());
            prop_assert_eq!(PexMessage::decode(&message.encode()), Ok(message));
        }

        #[test]
        fn any_bytes_are_a_message_or_an_error(
            message in any_pex(),
            at: prop::sample::Index,
            noise: Vec<u8>,
        ) {
            let _ = PexMessage::decode(&noise);
            let mut bytes = message.encode().to_vec();
            let at = at.index(bytes.len());
            bytes.splice(at..at + 1, noise);
            let _ = PexMessage::decode(&bytes);
        }
    }
}
