//! What a peer says about itself and its extensions.

use std::{collections::BTreeMap, net::IpAddr, str::FromStr};

use bendy::{
    decoding::{Decoder, DictDecoder, Object},
    encoding::{Encoder, Error as EncodeError},
};
use bytes::Bytes;

use super::{DEPTH_MAX, ExtensionError, dictionary};

/// The extended message with id 0. All of it is optional, and it may be sent more
/// than once. BEP 10 §handshake message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtensionHandshake {
    /// `m`: names of extensions, and the id under which the sender takes each; 0
    /// switches one off. In a later handshake it holds changes only.
    pub m: BTreeMap<String, u8>,
    /// `metadata_size`: bytes of the info dictionary, from 1. BEP 9.
    pub metadata_size: Option<u32>,
    /// `p`: the TCP port at which the sender listens, from 1.
    pub port: Option<u16>,
    /// `reqq`: requests the sender queues without dropping any (count), from 1.
    /// libtorrent's default is 250.
    pub reqq: Option<u32>,
    /// `upload_only`: whether the sender wants nothing more. BEP 21.
    pub upload_only: Option<bool>,
    /// `v`: name and version of the sender's client.
    pub version: Option<String>,
    /// `yourip`: the address at which the sender sees the receiver.
    pub yourip: Option<IpAddr>,
}

impl ExtensionHandshake {
    /// What we call ourselves in `v`.
    pub const VERSION: &str = concat!("reseed ", env!("CARGO_PKG_VERSION"));

    /// The payload to send: canonical bencode.
    pub fn encode(&self) -> Bytes {
        self.write().expect("keys are written in their order").into()
    }

    /// Reads a payload as BEP 10 wants it: what is unknown is ignored, and so is a
    /// known item whose type or value makes no sense. Left out are names after the
    /// 128th, names longer than 128 bytes, and what a version has beyond 128 bytes.
    ///
    /// Fails with [`ExtensionError::Bencode`] if it is no bencoded dictionary.
    pub fn decode(payload: &[u8]) -> Result<ExtensionHandshake, ExtensionError> {
        let mut decoder = Decoder::new(payload).with_max_depth(DEPTH_MAX);
        let bencode = ExtensionError::bencode(WHAT);
        let mut dict = dictionary(&mut decoder).map_err(&bencode)?;
        let mut handshake = ExtensionHandshake::default();
        while let Some((key, value)) = dict.next_pair().map_err(&bencode)? {
            match (key, value) {
                (b"m", Object::Dict(names)) => handshake.m = read_names(names).map_err(&bencode)?,
                (b"metadata_size", Object::Integer(size)) => {
                    handshake.metadata_size = positive(size);
                }
                (b"p", Object::Integer(port)) => handshake.port = positive(port),
                (b"reqq", Object::Integer(requests)) => handshake.reqq = positive(requests),
                (b"upload_only", Object::Integer(flag)) => {
                    handshake.upload_only = Some(flag != "0");
                }
                (b"v", Object::Bytes(version)) => handshake.version = Some(read_version(version)),
                (b"yourip", Object::Bytes(ip)) => handshake.yourip = read_ip(ip),
                _ => {}
            }
        }
        Ok(handshake)
    }

    fn write(&self) -> Result<Vec<u8>, EncodeError> {
        let mut encoder = Encoder::new();
        encoder.emit_dict(|mut dict| {
            dict.emit_pair(b"m", &self.m)?;
            if let Some(size) = self.metadata_size {
                dict.emit_pair(b"metadata_size", size)?;
            }
            if let Some(port) = self.port {
                dict.emit_pair(b"p", port)?;
            }
            if let Some(requests) = self.reqq {
                dict.emit_pair(b"reqq", requests)?;
            }
            if let Some(flag) = self.upload_only {
                dict.emit_pair(b"upload_only", u8::from(flag))?;
            }
            if let Some(version) = &self.version {
                dict.emit_pair(b"v", version)?;
            }
            if let Some(ip) = self.yourip {
                dict.emit_pair_with(b"yourip", |value| match ip {
                    IpAddr::V4(ip) => value.emit_bytes(&ip.octets()),
                    IpAddr::V6(ip) => value.emit_bytes(&ip.octets()),
                })?;
            }
            Ok(())
        })?;
        encoder.get_output()
    }
}

const WHAT: &str = "extension handshake";

/// Names kept from one `m` (count). Clients in the field declare about ten.
const NAMES_MAX: usize = 128;

/// Bytes kept of a text.
const TEXT_LENGTH_MAX: usize = 128;

/// Ids that fit in a byte, under names that are text.
fn read_names(mut names: DictDecoder) -> Result<BTreeMap<String, u8>, bendy::decoding::Error> {
    let mut m = BTreeMap::new();
    while let Some((name, id)) = names.next_pair()? {
        if m.len() == NAMES_MAX || name.len() > TEXT_LENGTH_MAX {
            continue;
        }
        if let (Ok(name), Object::Integer(id)) = (str::from_utf8(name), id)
            && let Ok(id) = id.parse()
        {
            m.insert(name.to_owned(), id);
        }
    }
    Ok(m)
}

fn read_version(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(TEXT_LENGTH_MAX)];
    let mut version = String::from_utf8_lossy(bytes).into_owned();
    // A byte that is not UTF-8 became a character of three bytes.
    version.truncate(version.floor_char_boundary(TEXT_LENGTH_MAX));
    version
}

fn read_ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    v4.or(v6).ok()
}

/// A number above zero that fits.
fn positive<T: FromStr + PartialOrd + Default>(digits: &str) -> Option<T> {
    digits.parse().ok().filter(|number| *number > T::default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_bep_10_reads_as_it_says() {
        let handshake = ExtensionHandshake::decode(
            b"d1:md11:LT_metadatai1e6:ut_pexi2ee1:pi6881e1:v13:\xc2\xb5Torrent 1.2e",
        )
        .unwrap();
        assert_eq!(handshake.m["LT_metadata"], 1);
        assert_eq!(handshake.m["ut_pex"], 2);
        assert_eq!(handshake.port, Some(6881));
        assert_eq!(handshake.version.as_deref(), Some("µTorrent 1.2"));
    }

    #[test]
    fn it_is_written_as_canonical_bencode() {
        let handshake = ExtensionHandshake {
            m: [("ut_pex".to_owned(), 1), ("a".to_owned(), 0)].into(),
            metadata_size: Some(31_235),
            port: Some(6881),
            reqq: Some(250),
            upload_only: Some(true),
            version: Some("reseed".to_owned()),
            yourip: Some([127, 0, 0, 1].into()),
        };
        assert_eq!(
            handshake.encode().as_ref(),
            b"d1:md1:ai0e6:ut_pexi1ee13:metadata_sizei31235e1:pi6881e4:reqqi250e11:upload_onlyi1e\
              1:v6:reseed6:yourip4:\x7f\0\0\x01e"
        );
        assert_eq!(ExtensionHandshake::default().encode().as_ref(), b"d1:mdee");
    }

    #[test]
    fn an_empty_dictionary_is_a_handshake() {
        assert_eq!(ExtensionHandshake::decode(b"de"), Ok(ExtensionHandshake::default()));
    }

    #[test]
    fn what_is_unknown_is_ignored_however_deep() {
        let handshake = ExtensionHandshake::decode(b"d1:ed1:xllleeee1:pi1e4:zzzzli1ei2eee");
        assert_eq!(handshake.unwrap().port, Some(1));
    }

    #[test]
    fn a_known_item_that_makes_no_sense_is_ignored() {
        for payload in [
            &b"d1:mi1ee"[..],
            b"d1:pi0ee",
            b"d1:pi65536ee",
            b"d1:pi-1ee",
            b"d1:p4:6881e",
            b"d4:reqqi0ee",
            b"d13:metadata_sizei99999999999999999999ee",
            b"d11:upload_only3:yese",
            b"d1:vi3ee",
            b"d6:yourip5:12345e",
        ] {
            assert_eq!(
                ExtensionHandshake::decode(payload),
                Ok(ExtensionHandshake::default()),
                "{}",
                payload.escape_ascii()
            );
        }
    }

    #[test]
    fn an_entry_of_m_that_makes_no_sense_leaves_the_others() {
        let payload = b"d1:md1:ai256e1:bi-1e1:c1:16:ut_pexi2e2:\xff\xffi3eee";
        let names = ExtensionHandshake::decode(payload).unwrap().m;
        assert_eq!(names, [("ut_pex".to_owned(), 2)].into());
    }

    #[test]
    fn what_is_kept_of_names_and_versions_is_bounded() {
        let mut m: BTreeMap<String, u8> = (0..500).map(|n| (format!("b{n:03}"), 1)).collect();
        m.insert("a".repeat(200), 1);
        let long = ExtensionHandshake {
            m,
            version: Some("é".repeat(100)),
            ..ExtensionHandshake::default()
        };
        let kept = ExtensionHandshake::decode(&long.encode()).unwrap();
        assert_eq!(kept.m.len(), NAMES_MAX);
        assert!(kept.m.contains_key("b000"));
        assert_eq!(kept.version, Some("é".repeat(64)));

        let noise = [&b"d1:v200:"[..], &[0xff; 200], b"e"].concat();
        let version = ExtensionHandshake::decode(&noise).unwrap().version.unwrap();
        assert!(version.len() <= TEXT_LENGTH_MAX);
    }

    #[test]
    fn what_is_no_dictionary_is_an_error() {
        let nested = [&b"d1:a"[..], &[b'l'; 100_000]].concat();
        for payload in [&b""[..], b"le", b"i1e", b"4:spam", b"d1:p", b"d1:pi6881e", &nested] {
            assert!(matches!(
                ExtensionHandshake::decode(payload),
                Err(ExtensionError::Bencode { .. })
            ));
        }
    }

    #[test]
    fn keys_out_of_order_are_an_error() {
        let error = ExtensionHandshake::decode(b"d1:v1:x1:pi6881ee").unwrap_err();
        assert_eq!(
            error.to_string(),
            "extension handshake that is no bencoded dictionary: \
             bencode encoding corrupted (Keys were not sorted)"
        );
    }

    prop_compose! {
        fn any_handshake()(
            m in prop::collection::btree_map("[a-zA-Z_0-9]{1,20}", any::<u8>(), 0..6),
            metadata_size in prop::option::of(1u32..),
            port in prop::option::of(1u16..),
            reqq in prop::option::of(1u32..),
            upload_only: Option<bool>,
            version in prop::option::of("\\PC{0,20}"),
            yourip: Option<IpAddr>,
        ) -> ExtensionHandshake {
            ExtensionHandshake { m, metadata_size, port, reqq, upload_only, version, yourip }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(handshake in any_handshake()) {
            prop_assert_eq!(ExtensionHandshake::decode(&handshake.encode()), Ok(handshake));
        }

        #[test]
        fn any_bytes_are_a_handshake_or_an_error(
            handshake in any_handshake(),
            at: prop::sample::Index,
            noise: Vec<u8>,
        ) {
            let _ = ExtensionHandshake::decode(&noise);
            let mut bytes = handshake.encode().to_vec();
            let at = at.index(bytes.len());
            bytes.splice(at..at + 1, noise);
            let _ = ExtensionHandshake::decode(&bytes);
        }
    }
}
