//! Magnet links: a torrent's name in a line of text. BEP 9, BEP 53.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use data_encoding::{BASE32, HEXLOWER_PERMISSIVE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::InfoHash;

/// A magnet link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Magnet {
    /// Which torrent. `xt`
    pub info_hash: InfoHash,
    /// What to call it until its metadata is here. `dn`
    pub name: Option<String>,
    /// The URLs of its trackers. `tr`
    pub trackers: Vec<String>,
    /// Peers to ask for its metadata: `HOST:PORT` each. `x.pe`
    pub peers: Vec<String>,
    /// The files that are wanted, by their index in the metadata; empty is all of them.
    /// `so`, BEP 53.
    pub select_only: Vec<RangeInclusive<u32>>,
}

/// Why text is no magnet link to a torrent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MagnetError {
    /// Another kind of link.
    #[error("a magnet link starts with `magnet:?`")]
    Scheme,
    /// No torrent is named.
    #[error("the magnet link names no torrent: it has no `xt=urn:btih:`")]
    NoTopic,
    /// Its name is of another kind.
    #[error("the magnet link names a torrent of BitTorrent v2, which is not spoken here")]
    Version2,
    /// Its name is none.
    #[error("{got:?} is no info-hash; expected 40 hexadecimal or 32 base-32 digits")]
    InfoHash {
        /// What was there.
        got: String,
    },
    /// The files that are wanted are none.
    #[error("{got:?} selects no files; expected numbers and ranges, as in `0,2,4-6`")]
    SelectOnly {
        /// What was there.
        got: String,
    },
}

impl FromStr for Magnet {
    type Err = MagnetError;

    /// Reads a link; what is unknown in it is passed over.
    fn from_str(text: &str) -> Result<Magnet, MagnetError> {
        let query = text
            .split_at_checked(8)
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("magnet:?"))
            .ok_or(MagnetError::Scheme)?
            .1;
        let mut topics = Vec::new();
        let (mut name, mut trackers, mut peers) = (None, Vec::new(), Vec::new());
        let mut select_only = Vec::new();
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let decoded = || percent_decode_str(value).decode_utf8_lossy().into_owned();
            // Of several, as in `xt.1`, each counts.
            match key.split('.').next().unwrap_or_default() {
                "xt" => topics.push(decoded()),
                "dn" => name = Some(decoded().replace('+', " ")),
                "tr" => trackers.push(decoded()),
                "x" if key == "x.pe" => peers.push(decoded()),
                "so" => select_only = read_selection(&decoded())?,
                _ => {}
            }
        }
        let topic = topics.iter().find_map(|topic| topic.strip_prefix("urn:btih:"));
        let info_hash = match topic {
            Some(topic) => read_info_hash(topic)?,
            None if topics.iter().any(|topic| topic.starts_with("urn:btmh:")) => {
                return Err(MagnetError::Version2);
            }
            None => return Err(MagnetError::NoTopic),
        };
        Ok(Magnet { info_hash, name, trackers, peers, select_only })
    }
}

fn read_info_hash(text: &str) -> Result<InfoHash, MagnetError> {
    let bytes = match text.len() {
        40 => HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok(),
        32 => BASE32.decode(text.to_ascii_uppercase().as_bytes()).ok(),
        _ => None,
    };
    let hash = bytes.and_then(|bytes| bytes.try_into().ok()).map(InfoHash);
    hash.ok_or_else(|| MagnetError::InfoHash { got: text.to_owned() })
}

/// Reads numbers of files and ranges of them, as in `0,2,4-6`. BEP 53.
pub fn read_selection(text: &str) -> Result<Vec<RangeInclusive<u32>>, MagnetError> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then_some(first..=last)
    };
    let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
    ranges.ok_or_else(|| MagnetError::SelectOnly { got: text.to_owned() })
}

/// What stands for itself in a value.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "magnet:?xt=urn:btih:{}", self.info_hash)?;
        let mut put = |key, value: &str| write!(f, "&{key}={}", utf8_percent_encode(value, PLAIN));
        if let Some(name) = &self.name {
            put("dn", name)?;
        }
        self.trackers.iter().try_for_each(|tracker| put("tr", tracker))?;
        self.peers.iter().try_for_each(|peer| put("x.pe", peer))?;
        if !self.select_only.is_empty() {
            let range = |range: &RangeInclusive<u32>| match (range.start(), range.end()) {
                (first, last) if first == last => first.to_string(),
                (first, last) => format!("{first}-{last}"),
            };
            let ranges: Vec<String> = self.select_only.iter().map(range).collect();
            write!(f, "&so={}", ranges.join(","))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "0123456789abcdef0123456789ABCDEF01234567";

    #[test]
    fn every_part_of_a_link_is_read() {
        let link = format!(
            "magnet:?xt=urn:btih:{HEX}&dn=a+b%26c&tr=http%3A%2F%2Ft%2Fannounce&tr.2=udp://u:80\
             &x.pe=192.0.2.1:6881&x.pe=[2001:db8::1]:6881&so=0,2,4-6&xl=10&ws=x"
        );
        let magnet: Magnet = link.parse().unwrap();
        assert_eq!(magnet.info_hash.to_string(), HEX.to_lowercase());
        assert_eq!(magnet.name.as_deref(), Some("a b&c"));
        assert_eq!(magnet.trackers, ["http://t/announce", "udp://u:80"]);
        assert_eq!(magnet.peers, ["192.0.2.1:6881", "[2001:db8::1]:6881"]);
        assert_eq!(magnet.select_only, [0..=0, 2..=2, 4..=6]);
    }

    #[test]
    fn an_info_hash_may_be_in_base_32() {
        let magnet: Magnet =
            "MAGNET:?xt=urn:btih:aerukz4jvpg66ajdivtytk6n54asgrlh".parse().unwrap();
        assert_eq!(magnet.info_hash.to_string(), HEX.to_lowercase());
    }

    #[test]
    fn what_names_no_torrent_that_we_can_get_is_an_error() {
        let read = |link: &str| link.parse::<Magnet>().unwrap_err();
        assert_eq!(read("http://x/?xt=urn:btih:1"), MagnetError::Scheme);
        assert_eq!(read("magnet:"), MagnetError::Scheme);
        assert_eq!(read("magnet:?dn=x"), MagnetError::NoTopic);
        assert_eq!(read("magnet:?xt=urn:btmh:1220ab"), MagnetError::Version2);
        let got = "123".to_owned();
        assert_eq!(read("magnet:?xt=urn:btih:123"), MagnetError::InfoHash { got });
        for (so, got) in [("3-1", "3-1"), ("", ""), ("1,,2", "1,,2"), ("a", "a")] {
            let error = read(&format!("magnet:?xt=urn:btih:{HEX}&so={so}"));
            assert_eq!(error, MagnetError::SelectOnly { got: got.to_owned() });
        }
    }

    #[test]
    fn a_hybrid_is_taken_by_its_first_name() {
        let link = format!("magnet:?xt=urn:btmh:1220ab&xt=urn:btih:{HEX}");
        assert_eq!(link.parse::<Magnet>().unwrap().info_hash.to_string(), HEX.to_lowercase());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            hash: [u8; 20],
            name in prop::option::of("[^+]*"),
            trackers: Vec<String>,
            peers: Vec<String>,
            ranges: Vec<(u32, u32)>,
        ) {
            let select_only = ranges.iter().map(|(a, b)| *a.min(b)..=*a.max(b)).collect();
            let magnet =
                Magnet { info_hash: InfoHash(hash), name, trackers, peers, select_only };
            prop_assert_eq!(magnet.to_string().parse(), Ok(magnet));
        }

        #[test]
        fn any_text_is_a_link_or_an_error(text: String) {
            let _ = text.parse::<Magnet>();
            let _ = format!("magnet:?{text}").parse::<Magnet>();
        }
    }
}
