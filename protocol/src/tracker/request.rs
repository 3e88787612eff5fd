use std::{borrow::Cow, fmt, str::FromStr};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use crate::{InfoHash, PeerId};

/// What a peer tells its tracker. BEP 3 §trackers, BEP 23.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnounceRequest {
    /// The torrent.
    pub info_hash: InfoHash,
    /// The peer.
    pub peer_id: PeerId,
    /// TCP port that the peer listens on.
    pub port: u16,
    /// Payload bytes sent since `started`.
    pub uploaded: u64,
    /// Payload bytes received since `started`.
    pub downloaded: u64,
    /// Bytes that are missing until the download is complete.
    pub left: u64,
    /// What happened; `None` for a regular announce.
    pub event: Option<Event>,
    /// Addresses wanted (count); the tracker chooses if there is none.
    pub numwant: Option<u32>,
    /// Whether the answer may have compact peer lists. BEP 23.
    pub compact: bool,
    /// A random number that lets a peer prove who it is when its address changes. 0 if
    /// the remote sent none, or one that is not hexadecimal.
    pub key: u32,
    /// What the tracker gave as its `tracker id` before.
    pub tracker_id: Option<Vec<u8>>,
}

/// What happened at a peer. BEP 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// The download or the seeding began.
    Started,
    /// The download finished; not sent if it was complete when it started.
    Completed,
    /// The peer leaves.
    Stopped,
}

/// Why a query is no announce.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// A key that has to be there is not.
    #[error("announce: `{key}` is missing")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A value that is out of bounds, or a key that is there twice.
    #[error("announce: `{key}` is {value:?}; expected {expected}")]
    Unexpected {
        /// The key.
        key: &'static str,
        /// What is there, decoded and shortened.
        value: String,
        /// What may be there.
        expected: &'static str,
    },
}

impl AnnounceRequest {
    /// The query of the announce's URL, without a `?`.
    pub fn to_query(&self) -> String {
        let mut query = format!(
            "info_hash={}&peer_id={}&port={}&uploaded={}&downloaded={}&left={}&compact={}&key={:08x}",
            encode(&self.info_hash.0),
            encode(&self.peer_id.0),
            self.port,
            self.uploaded,
            self.downloaded,
            self.left,
            u8::from(self.compact),
            self.key,
        );
        if let Some(numwant) = self.numwant {
            query += &format!("&numwant={numwant}");
        }
        if let Some(event) = self.event {
            query += &format!("&event={event}");
        }
        if let Some(tracker_id) = &self.tracker_id {
            query += &format!("&trackerid={}", encode(tracker_id));
        }
        query
    }

    /// The URL to get: `announce_url` with the query behind it, or behind the query
    /// that it has. A fragment is left out.
    pub fn url(&self, announce_url: &str) -> String {
        let base = announce_url.split('#').next().unwrap_or_default();
        let joint = match base.split_once('?') {
            None => "?",
            Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
            Some(_) => "&",
        };
        format!("{base}{joint}{}", self.to_query())
    }

    /// Reads what [`AnnounceRequest::to_query`] writes, as other peers write it too:
    /// keys in any order, `+` for a space, and keys that are not known passed over.
    pub fn from_query(query: &str) -> Result<AnnounceRequest, RequestError> {
        let pairs = Pairs::new(query);
        let numwant: Option<i64> = pairs.number("numwant")?;
        let key = pairs.find("key")?.and_then(|key| {
            let text = std::str::from_utf8(&key).ok()?;
            u32::from_str_radix(text, 16).ok()
        });
        Ok(AnnounceRequest {
            info_hash: InfoHash(pairs.identity("info_hash")?),
            peer_id: PeerId(pairs.identity("peer_id")?),
            port: pairs.required_number("port")?,
            uploaded: pairs.required_number("uploaded")?,
            downloaded: pairs.required_number("downloaded")?,
            left: pairs.required_number("left")?,
            event: pairs.event()?,
            // Peers write -1 to leave the number to the tracker.
            numwant: numwant.and_then(|numwant| {
                (numwant >= 0).then(|| u32::try_from(numwant).unwrap_or(u32::MAX))
            }),
            compact: pairs.find("compact")?.is_some_and(|flag| *flag == *b"1"),
            key: key.unwrap_or(0),
            tracker_id: pairs.find("trackerid")?.map(Cow::into_owned),
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Event::Started => "started",
            Event::Completed => "completed",
            Event::Stopped => "stopped",
        })
    }
}

/// Everything but what RFC 3986 §2.3 leaves alone.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(super) fn encode(bytes: &[u8]) -> impl fmt::Display + '_ {
    percent_encode(bytes, RESERVED)
}

/// The pairs of a query, each as it is on the wire.
pub(super) struct Pairs<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Pairs<'a> {
    /// The keys of a query that are looked at; a query with more pairs than this is
    /// still read, but not to its end.
    const MAX: usize = 64;

    pub(super) fn new(query: &'a str) -> Pairs<'a> {
        let pairs = query.split('&').take(Self::MAX);
        Pairs(pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect())
    }

    fn find(&self, key: &'static str) -> Result<Option<Cow<'a, [u8]>>, RequestError> {
        let mut values = self.0.iter().filter(|pair| pair.0 == key);
        let value = values.next().map(|pair| decode(pair.1));
        match values.next() {
            None => Ok(value),
            Some(second) => Err(unexpected(key, &decode(second.1), "to be there once")),
        }
    }

    fn number<T: FromStr>(&self, key: &'static str) -> Result<Option<T>, RequestError> {
        let Some(value) = self.find(key)? else {
            return Ok(None);
        };
        let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
        number.map(Some).ok_or_else(|| unexpected(key, &value, "a number in bounds"))
    }

    fn required_number<T: FromStr>(&self, key: &'static str) -> Result<T, RequestError> {
        self.number(key)?.ok_or(RequestError::Missing { key })
    }

    /// All values of `key`, each of 20 bytes; at least one.
    pub(super) fn identities(&self, key: &'static str) -> Result<Vec<[u8; 20]>, RequestError> {
        let values = self.0.iter().filter(|pair| pair.0 == key).map(|pair| decode(pair.1));
        let each = |value: Cow<'_, [u8]>| {
            value[..].try_into().map_err(|_| unexpected(key, &value, "20 bytes"))
        };
        let identities = values.map(each).collect::<Result<Vec<_>, _>>()?;
        match identities.is_empty() {
            true => Err(RequestError::Missing { key }),
            false => Ok(identities),
        }
    }

    fn identity(&self, key: &'static str) -> Result<[u8; 20], RequestError> {
        let value = self.find(key)?.ok_or(RequestError::Missing { key })?;
        value[..].try_into().map_err(|_| unexpected(key, &value, "20 bytes"))
    }

    fn event(&self) -> Result<Option<Event>, RequestError> {
        let Some(value) = self.find("event")? else {
            return Ok(None);
        };
        match &value[..] {
            b"" | b"empty" => Ok(None),
            b"started" => Ok(Some(Event::Started)),
            b"completed" => Ok(Some(Event::Completed)),
            b"stopped" => Ok(Some(Event::Stopped)),
            other => Err(unexpected("event", other, "started, completed or stopped")),
        }
    }
}

fn decode(value: &str) -> Cow<'_, [u8]> {
    if !value.contains('+') {
        return percent_decode(value.as_bytes()).into();
    }
    let spaced = value.replace('+', " ");
    Cow::Owned(percent_decode(spaced.as_bytes()).collect())
}

fn unexpected(key: &'static str, value: &[u8], expected: &'static str) -> RequestError {
    RequestError::Unexpected {
        key,
        value: value[..value.len().min(60)].escape_ascii().to_string(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request() -> AnnounceRequest {
        AnnounceRequest {
            info_hash: InfoHash(*b"\x12\x34\x56\x78\x9a\xbc\xde\xf1\x23\x45\x67\x89\xab\xcd\xef\x12\x34\x56\x78\x9a"),
            peer_id: PeerId(*b"-RE0001-a.b_c~d-e fg"),
            port: 6881,
            uploaded: 1,
            downloaded: 2,
            left: 3,
            event: Some(Event::Started),
            numwant: Some(50),
            compact: true,
            key: 0xab,
            tracker_id: None,
        }
    }

    #[test]
    fn binary_values_are_percent_encoded() {
        // The info-hash is the example of the specification on wiki.theory.org.
        assert_eq!(
            request().to_query(),
            "info_hash=%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A\
             &peer_id=-RE0001-a.b_c~d-e%20fg&port=6881&uploaded=1&downloaded=2&left=3\
             &compact=1&key=000000ab&numwant=50&event=started"
        );
    }

    #[test]
    fn a_query_of_the_announce_url_stays() {
        let request = request();
        let query = request.to_query();
        for (announce, start) in [
            ("http://t/announce", "http://t/announce?"),
            ("http://t/announce?", "http://t/announce?"),
            ("http://t/announce?passkey=1", "http://t/announce?passkey=1&"),
            ("http://t/announce?passkey=1&", "http://t/announce?passkey=1&"),
            ("http://t/announce?passkey=1#top", "http://t/announce?passkey=1&"),
        ] {
            assert_eq!(request.url(announce), format!("{start}{query}"));
        }
    }

    #[test]
    fn other_peers_spell_their_query_in_their_own_way() {
        let query = "supportcrypto=1&left=0&event=&peer_id=-XX0001-a+b+c%2bd%2De%66gh\
                     &downloaded=0&numwant=-1&uploaded=0&port=1&key=not+hex\
                     &info_hash=%aa%AAaaaaaaaaaaaaaaaaaa&no_peer_id";
        let request = AnnounceRequest::from_query(query).unwrap();
        assert_eq!(request.peer_id, PeerId(*b"-XX0001-a b c+d-efgh"));
        assert_eq!(request.info_hash.0[..3], *b"\xaa\xaaa");
        assert_eq!((request.event, request.numwant), (None, None));
        assert_eq!((request.compact, request.key), (false, 0));
    }

    #[test]
    fn what_is_missing_or_impossible_is_named() {
        let query = request().to_query();
        let error = |from: &str, to: &str| {
            assert!(query.contains(from), "{from}");
            let error = AnnounceRequest::from_query(&query.replace(from, to));
            error.unwrap_err().to_string()
        };
        assert_eq!(error("&port=6881", ""), "announce: `port` is missing");
        assert_eq!(
            error("port=6881", "port=65536"),
            "announce: `port` is \"65536\"; expected a number in bounds"
        );
        assert_eq!(
            error("left=3", "left=-3"),
            "announce: `left` is \"-3\"; expected a number in bounds"
        );
        assert!(error("%124Vx", "%12Vx").contains("expected 20 bytes"));
        assert!(error("event=started", "event=exploded").contains("exploded"));
        assert!(error("left=3", "left=3&left=4").contains("once"));
        assert!(AnnounceRequest::from_query("").is_err());
    }

    fn any_request() -> impl Strategy<Value = AnnounceRequest> {
        let event = prop::option::of(prop::sample::select(vec![
            Event::Started,
            Event::Completed,
            Event::Stopped,
        ]));
        let counts = (any::<u64>(), any::<u64>(), any::<u64>());
        let rest = (any::<bool>(), any::<u32>(), any::<Option<Vec<u8>>>());
        (any::<([u8; 20], [u8; 20], u16)>(), counts, event, any::<Option<u32>>(), rest).prop_map(
            |((info_hash, peer_id, port), (uploaded, downloaded, left), event, numwant, rest)| {
                let (compact, key, tracker_id) = rest;
                AnnounceRequest {
                    info_hash: InfoHash(info_hash),
                    peer_id: PeerId(peer_id),
                    port,
                    uploaded,
                    downloaded,
                    left,
                    event,
                    numwant,
                    compact,
                    key,
                    tracker_id,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(request in any_request()) {
            prop_assert_eq!(AnnounceRequest::from_query(&request.to_query()), Ok(request));
        }

        #[test]
        fn any_text_is_a_query_or_an_error(text: String, port in "[0-9%+]{0,6}") {
            let _ = AnnounceRequest::from_query(&text);
            let query = request().to_query();
            let _ = AnnounceRequest::from_query(&query.replace("6881", &port));
            let _ = AnnounceRequest::from_query(&query.replace("%9A", &text));
        }
    }
}
