//! Live streams: what is made here, or watched while it is made elsewhere.

use std::{fmt, io, rc::Rc, time::Duration};

use bytes::Bytes;
use reseed_protocol::{
    Block, Info, Video,
    extension::closed_swarm::PrivateKey,
    live::{Ring, SEAL_LENGTH, seal},
    torrent::LiveOptions,
};

use crate::{Disk, Storage};

/// Our part in a live stream.
#[derive(Debug, Clone)]
pub struct Live {
    /// Bytes of the stream that play in a second.
    pub bitrate: u64,
    /// What is made here; viewers have none.
    pub source: Option<LiveSource>,
}

/// Where a live stream comes from.
#[derive(Clone)]
pub struct LiveSource {
    key: PrivateKey,
    record: Rc<Record>,
}

type Record = dyn Fn(u64, usize) -> Option<Bytes>;

impl LiveSource {
    /// A source whose pieces are signed with `key`. Each time that a piece is due,
    /// `record` is asked for as many bytes of the stream as it has, from a byte on: the
    /// position and the count. It has none when the stream has ended.
    pub fn new(
        key: PrivateKey,
        record: impl Fn(u64, usize) -> Option<Bytes> + 'static,
    ) -> LiveSource {
        LiveSource { key, record: Rc::new(record) }
    }
}

impl fmt::Debug for LiveSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveSource").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Bytes of the stream in a piece of `info`.
pub(crate) fn payload_length(info: &Info) -> usize {
    info.layout().piece_length() as usize - SEAL_LENGTH
}

/// What the torrent is to know of our part in the stream that `info` is of. An error if
/// it is of none and we have a part, or the other way.
pub(crate) fn options(live: Option<&Live>, info: &Info) -> io::Result<Option<LiveOptions>> {
    let wrong = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    match (live, info.live_key()) {
        (None, None) => Ok(None),
        (Some(live), Some(key)) if live.source.as_ref().is_none_or(|it| it.key.public() == key) => {
            let bitrate = live.bitrate.max(1);
            let video = Video { offset: 0, length: info.layout().total_length(), bitrate };
            let piece_time = video.time_of(payload_length(info) as u64).max(SHORTEST);
            Ok(Some(LiveOptions { piece_time, source: live.source.is_some() }))
        }
        (Some(_), Some(_)) => wrong("the torrent's live stream is signed with another key"),
        (Some(_), None) => wrong("the torrent is no live stream"),
        (None, Some(_)) => wrong("the torrent is a live stream: say at which rate it plays"),
    }
}

/// The shortest that a piece may play: time has to go on.
const SHORTEST: Duration = Duration::from_millis(1);

/// Makes piece `sequence` of the stream and puts it at its place; whether there is one.
pub(crate) fn make<D: Disk>(
    source: &LiveSource,
    sequence: u64,
    storage: &Storage<D>,
) -> io::Result<bool> {
    let layout = storage.layout();
    let length = layout.piece_length() as usize - SEAL_LENGTH;
    let recorded = (source.record)(sequence * length as u64, length);
    let Some(payload) = recorded.filter(|payload| payload.len() == length) else {
        return Ok(false);
    };
    let place = Ring::new(layout.pieces()).place(sequence);
    storage.write_block(place, 0, &seal(&source.key, &payload, sequence))?;
    Ok(true)
}

/// What the piece that lies at `place` brings of the stream.
pub(crate) fn payload<D: Disk>(place: u32, storage: &Storage<D>) -> io::Result<Bytes> {
    let length = storage.layout().piece_length() - SEAL_LENGTH as u32;
    storage.read_block(Block { piece: place, begin: 0, length })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use reseed_protocol::metainfo::{Content, Draft, Metainfo};

    use super::*;
    use crate::MemoryDisk;

    fn key(seed: u64) -> PrivateKey {
        PrivateKey::generate(&mut ChaCha8Rng::seed_from_u64(seed))
    }

    /// A torrent of 32 pieces of 172 bytes, of which 100 are of the stream.
    fn info(live: bool) -> Info {
        let draft = Draft {
            name: "stream".into(),
            piece_length: 172,
            private: false,
            merkle: false,
            live: live.then(|| key(1).public()),
            torrent_keys: Vec::new(),
            announce: None,
            content: Content::File { length: 32 * 172 },
        };
        Metainfo::create(&draft, std::io::repeat(0)).unwrap().0.info
    }

    /// A source that has two pieces and a half.
    fn source(seed: u64) -> LiveSource {
        let bytes = Bytes::from((0..250u8).collect::<Vec<u8>>());
        LiveSource::new(key(seed), move |at, length| {
            let from = bytes.len().min(at as usize);
            Some(bytes.slice(from..bytes.len().min(from + length)))
        })
    }

    #[test]
    fn a_piece_plays_as_long_as_its_bytes_of_the_stream_do() {
        let viewer = Live { bitrate: 400, source: None };
        let options = options(Some(&viewer), &info(true)).unwrap().unwrap();
        let expected = LiveOptions { piece_time: Duration::from_millis(250), source: false };
        assert_eq!(options, expected);
    }

    #[test]
    fn who_has_no_part_in_a_live_stream_or_the_wrong_key_is_told_so() {
        let part = |seed| Live { bitrate: 400, source: Some(source(seed)) };
        let told =
            |live: Option<&Live>, is_live| options(live, &info(is_live)).map(|it| it.is_some());
        assert!(!told(None, false).unwrap());
        assert!(told(Some(&part(1)), true).unwrap());
        for (live, is_live, expected) in [
            (None, true, "say at which rate it plays"),
            (Some(part(1)), false, "no live stream"),
            (Some(part(2)), true, "signed with another key"),
        ] {
            let error = told(live.as_ref(), is_live).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn what_is_made_goes_round_and_is_what_a_viewer_finds_sealed() {
        let info = info(true);
        let files = vec![(PathBuf::from("stream"), info.layout().total_length())];
        let storage = || Storage::new(MemoryDisk::new(1 << 20), files.clone(), info.layout());
        let (made, got) = (storage(), storage());
        assert!(make(&source(1), 1, &made).unwrap());
        assert!(!make(&source(1), 2, &made).unwrap(), "half a piece is none");
        assert_eq!(payload(1, &made).unwrap().as_ref(), (100..200u8).collect::<Vec<u8>>());
        let whole = made.read_block(Block { piece: 1, begin: 0, length: 172 }).unwrap();
        let finish = |spoil: u8| {
            let mut bytes = whole.to_vec();
            bytes[5] ^= spoil;
            got.receive(1, 0, &Bytes::copy_from_slice(&bytes)).unwrap();
            got.finish_sealed(1, &key(1).public()).unwrap()
        };
        assert_eq!(finish(1), None, "it was changed on its way");
        assert!(payload(1, &got).is_err(), "and is not kept");
        assert_eq!(finish(0), Some(1));
        assert_eq!(payload(1, &got).unwrap(), payload(1, &made).unwrap());
    }
}
