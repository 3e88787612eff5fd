use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bendy::{
    decoding::Object,
    encoding::{Encoder, Error as EncodeError, SingleItemEncoder, SortedDictEncoder},
};

use crate::{
    bencode::{self, BencodeError, each_item, each_pair, read_dict},
    peer_table::is_dialable,
};

/// What a tracker answers. BEP 3 §trackers, BEP 7, BEP 23.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnounceResponse {
    /// Until the next regular announce. Whole seconds, from
    /// [`AnnounceResponse::INTERVAL_MIN`] to [`AnnounceResponse::INTERVAL_MAX`].
    pub interval: Duration,
    /// Announce no sooner than this, in the same bounds.
    pub min_interval: Option<Duration>,
    /// Seeds (count).
    pub complete: Option<u32>,
    /// Leechers (count).
    pub incomplete: Option<u32>,
    /// Where peers listen: the IPv4 ones, then the IPv6 ones.
    pub peers: Vec<SocketAddr>,
    /// Words for the user, though the announce succeeded; shortened.
    pub warning: Option<String>,
    /// To be sent with the next announces.
    pub tracker_id: Option<Vec<u8>>,
}

/// Why an announce was in vain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnnounceError {
    /// The tracker refuses; these are its words, shortened.
    #[error("the tracker refuses: {0}")]
    Failure(String),
    /// The answer is not canonical bencode, or a field of it is missing or impossible.
    #[error("the tracker's answer: {0}")]
    Bencode(#[from] BencodeError),
}

impl AnnounceResponse {
    /// The shortest interval that is kept to: a tracker that asks for less, be it by
    /// mistake, would have us do nothing but announce.
    pub const INTERVAL_MIN: Duration = Duration::from_secs(1);

    /// The longest interval that is kept to: a peer that has not announced for a day
    /// is forgotten by every tracker, and would wait for as long to hear of new peers.
    pub const INTERVAL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

    /// Peers taken from an answer (count), five times what peers commonly ask for;
    /// the rest is left out.
    pub const PEERS_MAX: usize = 1000;

    /// Reads the body of an answer. Addresses that nobody can listen at are left out,
    /// as are peers that are given by host name.
    pub fn from_bytes(body: &[u8]) -> Result<AnnounceResponse, AnnounceError> {
        let mut interval = None;
        let mut response = AnnounceResponse {
            interval: Self::INTERVAL_MIN,
            min_interval: None,
            complete: None,
            incomplete: None,
            peers: Vec::new(),
            warning: None,
            tracker_id: None,
        };
        let mut failure = None;
        read_dict::<BencodeError>(body, "answer", |key, value| {
            match key {
                b"complete" => response.complete = Some(count("complete", value)?),
                b"failure reason" => failure = Some(words("failure reason", value)?),
                b"incomplete" => response.incomplete = Some(count("incomplete", value)?),
                b"interval" => interval = Some(seconds("interval", value)?),
                b"min interval" => response.min_interval = Some(seconds("min interval", value)?),
                b"peers" => peers(value, &mut response.peers)?,
                b"peers6" => {
                    let list = bencode::bytes("peers6", value)?;
                    compact::<18>("peers6", "18 bytes a peer", list, &mut response.peers)?;
                }
                b"tracker id" => {
                    let id = bencode::bytes("tracker id", value)?;
                    response.tracker_id = (id.len() <= TRACKER_ID_MAX).then(|| id.to_vec());
                }
                b"warning message" => response.warning = Some(words("warning message", value)?),
                _ => {}
            }
            Ok(())
        })?;
        if let Some(reason) = failure {
            return Err(AnnounceError::Failure(reason));
        }
        response.interval = interval.ok_or(BencodeError::Missing { field: "interval" })?;
        Ok(response)
    }

    /// The fields of a UDP tracker's answer (BEP 15): seconds, counts of seeds and
    /// leechers, and a compact list of peers, of which a part at the end is left out.
    pub(super) fn from_udp(
        interval: u32,
        [complete, incomplete]: [u32; 2],
        list: &[u8],
        ipv6: bool,
    ) -> AnnounceResponse {
        let mut peers = Vec::new();
        let contact = if ipv6 { 18 } else { 6 };
        let whole = &list[..list.len() - list.len() % contact];
        let read = match ipv6 {
            true => compact::<18>("peers", "18 bytes a peer", whole, &mut peers),
            false => compact::<6>("peers", "6 bytes a peer", whole, &mut peers),
        };
        read.expect("it is a whole number of peers");
        AnnounceResponse {
            interval: Duration::from_secs(interval.into())
                .clamp(Self::INTERVAL_MIN, Self::INTERVAL_MAX),
            min_interval: None,
            complete: Some(complete),
            incomplete: Some(incomplete),
            peers,
            warning: None,
            tracker_id: None,
        }
    }

    /// The body of an answer, with compact peer lists (BEP 23, BEP 7) or with a list
    /// of dictionaries (BEP 3).
    pub fn to_bytes(&self, compact: bool) -> Vec<u8> {
        self.encode(compact).expect("the keys below are in order")
    }

    /// The body of an answer that refuses an announce.
    pub fn failure(reason: &str) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder
            .emit_dict(|mut dict| dict.emit_pair(b"failure reason", reason))
            .and_then(|()| encoder.get_output())
            .expect("one pair is in order")
    }

    fn encode(&self, compact: bool) -> Result<Vec<u8>, EncodeError> {
        let mut encoder = Encoder::new();
        encoder.emit_dict(|mut dict| {
            if let Some(complete) = self.complete {
                dict.emit_pair(b"complete", complete)?;
            }
            if let Some(incomplete) = self.incomplete {
                dict.emit_pair(b"incomplete", incomplete)?;
            }
            dict.emit_pair(b"interval", self.interval.as_secs())?;
            if let Some(min_interval) = self.min_interval {
                dict.emit_pair(b"min interval", min_interval.as_secs())?;
            }
            if compact {
                encode_compact(&mut dict, &self.peers)?;
            } else {
                dict.emit_pair_with(b"peers", |value| encode_list(value, &self.peers))?;
            }
            if let Some(tracker_id) = &self.tracker_id {
                dict.emit_pair_with(b"tracker id", |value| value.emit_bytes(tracker_id))?;
            }
            if let Some(warning) = &self.warning {
                dict.emit_pair(b"warning message", warning)?;
            }
            Ok(())
        })?;
        encoder.get_output()
    }
}

/// Bytes of a failure reason or warning that are kept.
const WORDS_MAX: usize = 500;

/// Bytes a tracker id may have; a longer one is left out, since it would go into the
/// URL of each announce.
const TRACKER_ID_MAX: usize = 200;

fn seconds(field: &'static str, value: Object<'_, '_>) -> Result<Duration, BencodeError> {
    let seconds = u64::try_from(bencode::saturating(field, value)?).unwrap_or(0);
    let (min, max) = (AnnounceResponse::INTERVAL_MIN, AnnounceResponse::INTERVAL_MAX);
    Ok(Duration::from_secs(seconds).clamp(min, max))
}

pub(super) fn count(field: &'static str, value: Object<'_, '_>) -> Result<u32, BencodeError> {
    let count = bencode::saturating(field, value)?;
    Ok(count.clamp(0, i64::from(u32::MAX)) as u32)
}

pub(super) fn words(field: &'static str, value: Object<'_, '_>) -> Result<String, BencodeError> {
    let bytes = bencode::bytes(field, value)?;
    Ok(String::from_utf8_lossy(&bytes[..bytes.len().min(WORDS_MAX)]).into_owned())
}

fn peers(value: Object<'_, '_>, peers: &mut Vec<SocketAddr>) -> Result<(), BencodeError> {
    match value {
        Object::List(list) => each_item(list, |peer| {
            let mut ip = None;
            let mut port = None;
            each_pair(bencode::dict("peers", peer)?, |key, value| {
                match key {
                    b"ip" => ip = Some(bencode::bytes("peers.ip", value)?),
                    b"port" => port = Some(bencode::saturating("peers.port", value)?),
                    _ => {}
                }
                Ok::<_, BencodeError>(())
            })?;
            let ip = ip.ok_or(BencodeError::Missing { field: "peers.ip" })?;
            let port = port.ok_or(BencodeError::Missing { field: "peers.port" })?;
            if let (Some(ip), Ok(port)) = (ip_literal(ip), u16::try_from(port)) {
                keep(SocketAddr::new(ip, port), peers);
            }
            Ok(())
        }),
        compact_list => {
            let list = bencode::bytes("peers", compact_list)?;
            compact::<6>("peers", "6 bytes a peer", list, peers)
        }
    }
}

fn ip_literal(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Reads peers of an address and a port, `N` bytes together.
fn compact<const N: usize>(
    field: &'static str,
    expected: &'static str,
    bytes: &[u8],
    peers: &mut Vec<SocketAddr>,
) -> Result<(), BencodeError> {
    let (list, rest) = bytes.as_chunks::<N>();
    if !rest.is_empty() {
        let value = format!("{} bytes long", bytes.len());
        return Err(BencodeError::unexpected(field, value, expected));
    }
    for peer in list {
        let (ip, port) = peer.split_at(N - 2);
        let ip = match <[u8; 4]>::try_from(ip) {
            Ok(octets) => IpAddr::from(octets),
            Err(_) => IpAddr::from(<[u8; 16]>::try_from(ip).expect("4 or 16 bytes")),
        };
        keep(SocketAddr::new(ip, u16::from_be_bytes([port[0], port[1]])), peers);
    }
    Ok(())
}

fn keep(addr: SocketAddr, peers: &mut Vec<SocketAddr>) {
    let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
    if is_dialable(addr) && peers.len() < AnnounceResponse::PEERS_MAX {
        peers.push(addr);
    }
}

fn encode_compact(
    dict: &mut SortedDictEncoder<'_>,
    peers: &[SocketAddr],
) -> Result<(), EncodeError> {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for peer in peers {
        let port = peer.port().to_be_bytes();
        match peer.ip() {
            IpAddr::V4(ip) => v4.extend([&ip.octets()[..], &port].concat()),
            IpAddr::V6(ip) => v6.extend([&ip.octets()[..], &port].concat()),
        }
    }
    dict.emit_pair_with(b"peers", |value| value.emit_bytes(&v4))?;
    if !v6.is_empty() {
        dict.emit_pair_with(b"peers6", |value| value.emit_bytes(&v6))?;
    }
    Ok(())
}

fn encode_list(value: SingleItemEncoder<'_>, peers: &[SocketAddr]) -> Result<(), EncodeError> {
    value.emit_list(|list| {
        peers.iter().try_for_each(|peer| {
            list.emit_dict(|mut dict| {
                dict.emit_pair(b"ip", peer.ip().to_string())?;
                dict.emit_pair(b"port", peer.port())
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::*;

    fn read(body: &[u8]) -> Result<AnnounceResponse, AnnounceError> {
        AnnounceResponse::from_bytes(body)
    }

    fn peers_of(body: &[u8]) -> Vec<String> {
        let peers = read(body).unwrap().peers;
        peers.iter().map(SocketAddr::to_string).collect()
    }

    #[test]
    fn a_compact_peer_is_four_bytes_of_address_and_two_of_port() {
        let body = b"d8:intervali1800e5:peers12:\x01\x02\x03\x04\x1a\xe1\x7f\0\0\x01\0\x01e";
        assert_eq!(peers_of(body), ["1.2.3.4:6881", "127.0.0.1:1"]);
    }

    #[test]
    fn peers6_has_sixteen_bytes_of_address() {
        let address = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x1a, 0xe1];
        let body = [&b"d8:intervali9e5:peers0:6:peers618:"[..], &address, b"e"].concat();
        assert_eq!(peers_of(&body), ["[2001:db8::1]:6881"]);
    }

    #[test]
    fn a_list_of_dictionaries_is_read_but_for_host_names() {
        let body = b"d8:intervali9e5:peersl\
            d2:ip7:1.2.3.47:peer id20:aaaaaaaaaaaaaaaaaaaa4:porti6881ee\
            d2:ip11:example.org4:porti6881ee\
            d2:ip11:2001:db8::14:porti1ee\
            d2:ip7:1.2.3.44:porti65536ee\
            d2:ip7:1.2.3.44:porti-1eeee";
        assert_eq!(peers_of(body), ["1.2.3.4:6881", "[2001:db8::1]:1"]);
    }

    #[test]
    fn nobody_is_told_to_dial_an_address_that_cannot_listen() {
        for address in [
            b"\x01\x02\x03\x04\0\0",
            b"\0\0\0\0\x1a\xe1",
            b"\xe0\0\0\x01\x1a\xe1",
            b"\xff\xff\xff\xff\x1a\xe1",
        ] {
            let body = [&b"d8:intervali9e5:peers6:"[..], address, b"e"].concat();
            assert!(peers_of(&body).is_empty(), "{address:?}");
        }
    }

    #[test]
    fn an_ipv4_address_inside_ipv6_is_the_ipv4_address() {
        let address = "::ffff:1.2.3.4".parse::<Ipv6Addr>().unwrap().octets();
        let body = [&b"d8:intervali9e6:peers618:"[..], &address, b"\x1a\xe1e"].concat();
        assert_eq!(peers_of(&body), ["1.2.3.4:6881"]);
    }

    #[test]
    fn a_failure_reason_is_an_error_of_its_own_whatever_else_is_there() {
        let failure = |reason: &str| Err(AnnounceError::Failure(reason.into()));
        assert_eq!(read(b"d14:failure reason4:gonee"), failure("gone"));
        assert_eq!(read(b"d14:failure reason4:gone8:intervali9e5:peers0:e"), failure("gone"));
        assert_eq!(read(&AnnounceResponse::failure("gone")), failure("gone"));
    }

    #[test]
    fn intervals_are_kept_in_bounds() {
        let interval = |digits: &str| {
            let body = format!("d8:intervali{digits}e12:min intervali{digits}ee");
            let response = read(body.as_bytes()).unwrap();
            assert_eq!(response.min_interval, Some(response.interval));
            response.interval.as_secs()
        };
        assert_eq!(interval("0"), 1);
        assert_eq!(interval("-5"), 1);
        assert_eq!(interval("1800"), 1800);
        assert_eq!(interval("86401"), 86_400);
        assert_eq!(interval("999999999999999999999999"), 86_400);
        assert_eq!(interval("-99999999999999999999999"), 1);
    }

    #[test]
    fn the_rest_is_read_and_shortened() {
        let long = "w".repeat(2000);
        let body = format!(
            "d8:completei3e10:incompletei-4e8:intervali9e10:tracker id2:xy\
             15:warning message2000:{long}e"
        );
        let response = read(body.as_bytes()).unwrap();
        assert_eq!((response.complete, response.incomplete), (Some(3), Some(0)));
        assert_eq!(response.tracker_id.as_deref(), Some(&b"xy"[..]));
        assert_eq!(response.warning.unwrap().len(), WORDS_MAX);
        let body = format!("d8:intervali9e10:tracker id2000:{long}e");
        assert_eq!(read(body.as_bytes()).unwrap().tracker_id, None);
    }

    #[test]
    fn a_list_that_is_too_long_is_cut() {
        let list = b"\x01\x02\x03\x04\x1a\xe1".repeat(5000);
        let body = [&b"d8:intervali9e5:peers30000:"[..], &list, b"e"].concat();
        assert_eq!(read(&body).unwrap().peers.len(), AnnounceResponse::PEERS_MAX);
    }

    #[test]
    fn what_is_malformed_is_an_error_with_its_reason() {
        let error = |body: &[u8]| read(body).unwrap_err().to_string();
        assert_eq!(error(b"d5:peers0:e"), "the tracker's answer: `interval` is missing");
        assert_eq!(
            error(b"d8:intervali9e5:peers7:1234567e"),
            "the tracker's answer: `peers` is 7 bytes long; expected 6 bytes a peer"
        );
        assert_eq!(
            error(b"d8:intervali9e5:peersld4:porti1eeee"),
            "the tracker's answer: `peers.ip` is missing"
        );
        assert_eq!(
            error(b"d8:interval1:9e"),
            "the tracker's answer: `interval` is the string \"9\"; expected a number"
        );
        for body in [&b""[..], b"<html>", b"d8:intervali9e5:peersi1ee", b"d8:intervali9ee\n"] {
            assert!(read(body).is_err());
        }
    }

    fn any_response() -> impl Strategy<Value = AnnounceResponse> {
        let seconds = || (1u64..=86_400).prop_map(Duration::from_secs);
        let v4 = (any::<[u8; 4]>(), 1u16..).prop_map(|(ip, port)| SocketAddr::from((ip, port)));
        let v6 = (any::<[u8; 16]>(), 1u16..).prop_map(|(ip, port)| SocketAddr::from((ip, port)));
        let peers = (prop::collection::vec(v4, 0..5), prop::collection::vec(v6, 0..5));
        let peers = peers.prop_map(|(v4, v6)| {
            let mut peers = [v4, v6].concat();
            peers.retain(|peer| is_dialable(*peer) && peer.ip() == peer.ip().to_canonical());
            peers
        });
        (
            (seconds(), prop::option::of(seconds())),
            any::<(Option<u32>, Option<u32>)>(),
            peers,
            prop::option::of(".{0,50}"),
            prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        )
            .prop_map(
                |((interval, min_interval), (complete, incomplete), peers, warning, tracker_id)| {
                    AnnounceResponse {
                        interval,
                        min_interval,
                        complete,
                        incomplete,
                        peers,
                        warning,
                        tracker_id,
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(response in any_response(), compact: bool) {
            prop_assert_eq!(read(&response.to_bytes(compact)), Ok(response));
        }

        #[test]
        fn any_bytes_are_an_answer_or_an_error(bytes: Vec<u8>) {
            let _ = read(&bytes);
        }

        #[test]
        fn a_damaged_answer_is_an_answer_or_an_error(
            response in any_response(),
            compact: bool,
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut bytes = response.to_bytes(compact);
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Ok(response) = read(&bytes) {
                prop_assert!(response.peers.iter().all(|peer| is_dialable(*peer)));
            }
        }
    }
}
