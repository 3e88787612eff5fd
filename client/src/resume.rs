//! What is remembered of a download between two runs.

use std::{
    io,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use reseed_protocol::{Bitfield, BitfieldError, InfoHash, Layout};
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::{Disk, Storage};

/// What is remembered of a download between two runs.
///
/// It is kept as a line of text, `reseed resume 1 <SHA-1 of the rest>`, and JSON:
/// to be read by people, and not to be believed when a bit of it has flipped. The
/// info-hash and the bitfield, in BEP 3's form, are in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumeData {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// Pieces that were verified.
    pub verified: Bitfield,
    /// Bytes of blocks sent to peers, in all runs.
    pub uploaded: u64,
    /// Bytes of blocks received from peers, in all runs.
    pub downloaded: u64,
}

/// Why there is no resume data that can be relied on. It is not fatal: check the
/// content instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// The disk failed.
    #[error("reading or writing resume data: {0}")]
    Disk(#[from] io::Error),
    /// The file does not start like resume data, or is of another version.
    #[error("the resume data does not start with \"{MAGIC}\" and a checksum")]
    Header,
    /// The file is cut short, or was changed.
    #[error("the resume data does not match its checksum")]
    Checksum,
    /// The file is whole, but not of this form.
    #[error("the resume data is no JSON of the expected form: {0}")]
    Json(#[from] serde_json::Error),
    /// A field is not hexadecimal.
    #[error("the resume data's {field} is not hexadecimal, or not of its length")]
    Hex {
        /// The field.
        field: &'static str,
    },
    /// The bitfield does not fit the torrent.
    #[error("the resume data's pieces: {0}")]
    Bitfield(#[from] BitfieldError),
    /// The data is about another torrent.
    #[error("the resume data is about torrent {found}, not {expected}")]
    OtherTorrent {
        /// Whose it is.
        found: InfoHash,
        /// Whose was asked for.
        expected: InfoHash,
    },
    /// The content is now laid out in other files.
    #[error("the resume data lists other files than the torrent has now")]
    OtherFiles,
    /// A file lacks bytes that were verified.
    #[error("{path} has {found:?} bytes, but {needed} were verified")]
    TooShort {
        /// The file.
        path: PathBuf,
        /// Bytes that it must have at least.
        needed: u64,
        /// Bytes that it has, or `None` if it is missing.
        found: Option<u64>,
    },
}

impl ResumeData {
    /// Nothing verified, nothing moved.
    pub fn new(info_hash: InfoHash, layout: Layout) -> ResumeData {
        let verified = Bitfield::empty(layout.pieces());
        ResumeData { info_hash, verified, uploaded: 0, downloaded: 0 }
    }

    /// Where a download keeps it, next to its content.
    pub fn path(info_hash: InfoHash) -> PathBuf {
        PathBuf::from(format!(".{info_hash}.resume"))
    }

    /// Puts this in place of the file at `path` of `disk`, after everything in
    /// `storage` is safe from a loss of power: what is remembered as verified is
    /// there. `storage` is the content that [`verified`](ResumeData::verified) is
    /// about.
    ///
    /// # Panics
    /// If the bitfield does not have as many pieces as the content.
    pub fn save<D: Disk>(
        &self,
        storage: &Storage<D>,
        disk: &impl Disk,
        path: &Path,
    ) -> Result<(), ResumeError> {
        assert_eq!(self.verified.pieces(), storage.layout().pieces());
        storage.sync()?;
        self.save_unsynced(storage, disk, path)
    }

    /// The same, without making the content safe first.
    pub(crate) fn save_unsynced<D: Disk>(
        &self,
        storage: &Storage<D>,
        disk: &impl Disk,
        path: &Path,
    ) -> Result<(), ResumeError> {
        let files: Vec<(&Path, u64)> = storage.files().collect();
        let json = serde_json::to_vec_pretty(&Stored {
            info_hash: self.info_hash.to_string(),
            verified: HEXLOWER.encode(&self.verified.to_wire()),
            files,
            uploaded: self.uploaded,
            downloaded: self.downloaded,
        })?;
        Ok(disk.replace(path, &[header(&json).as_bytes(), &json].concat())?)
    }

    /// Reads the file at `path` of `disk`; `None` if there is none. Data that is
    /// not about `info_hash`, or that `storage` contradicts, is an error.
    pub fn load<D: Disk>(
        storage: &Storage<D>,
        info_hash: InfoHash,
        disk: &impl Disk,
        path: &Path,
    ) -> Result<Option<ResumeData>, ResumeError> {
        match disk.read(path, longest(storage))? {
            Some(bytes) => Self::parse(storage, info_hash, &bytes).map(Some),
            None => Ok(None),
        }
    }

    fn parse<D: Disk>(
        storage: &Storage<D>,
        expected: InfoHash,
        bytes: &[u8],
    ) -> Result<ResumeData, ResumeError> {
        let (head, json) = bytes
            .split_at_checked(HEADER_LENGTH)
            .filter(|(head, _)| head.starts_with(MAGIC.as_bytes()))
            .ok_or(ResumeError::Header)?;
        if head != header(json).as_bytes() {
            return Err(ResumeError::Checksum);
        }
        let stored: Stored<PathBuf> = serde_json::from_slice(json)?;
        let found = decode("info-hash", &stored.info_hash)?
            .try_into()
            .map(InfoHash)
            .map_err(|_| ResumeError::Hex { field: "info-hash" })?;
        if found != expected {
            return Err(ResumeError::OtherTorrent { found, expected });
        }
        let files = stored.files.iter().map(|(path, length)| (path.as_path(), *length));
        if !files.eq(storage.files()) {
            return Err(ResumeError::OtherFiles);
        }
        let verified = decode("bitfield", &stored.verified)?;
        let verified = Bitfield::from_wire(&verified, storage.layout().pieces())?;
        if let Some(short) = storage.first_too_short(&verified)? {
            return Err(ResumeError::TooShort {
                path: short.path,
                needed: short.needed,
                found: short.found,
            });
        }
        Ok(ResumeData {
            info_hash: found,
            verified,
            uploaded: stored.uploaded,
            downloaded: stored.downloaded,
        })
    }
}

const MAGIC: &str = "reseed resume 1 ";
/// Bytes of the first line.
const HEADER_LENGTH: usize = MAGIC.len() + 40 + 1;

#[derive(Serialize, Deserialize)]
struct Stored<P> {
    info_hash: String,
    verified: String,
    files: Vec<(P, u64)>,
    uploaded: u64,
    downloaded: u64,
}

fn header(json: &[u8]) -> String {
    format!("{MAGIC}{}\n", HEXLOWER.encode(&Sha1::digest(json)))
}

fn decode(field: &'static str, hex: &str) -> Result<Vec<u8>, ResumeError> {
    (HEXLOWER.decode(hex.as_bytes())).map_err(|_| ResumeError::Hex { field })
}

/// Bytes that resume data of this content can have at most.
fn longest<D: Disk>(storage: &Storage<D>) -> u64 {
    // A byte of a path takes up to six in JSON, a number up to twenty.
    let files: u64 =
        (storage.files()).map(|(path, _)| 6 * path.as_os_str().len() as u64 + 100).sum();
    files + u64::from(storage.layout().pieces()) / 4 + 1000
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reseed_protocol::Layout;

    use super::*;
    use crate::MemoryDisk;

    const HASH: InfoHash = InfoHash([0xab; 20]);

    fn path() -> &'static Path {
        Path::new("state/resume")
    }

    /// Five pieces of 4 bytes over two files, of which three are there.
    fn saved() -> (Storage<MemoryDisk>, MemoryDisk, ResumeData) {
        let files = vec![("t/\u{1}\"ü".into(), 10), ("t/b".into(), 10)];
        let storage = Storage::new(MemoryDisk::new(999), files, Layout::new(4, 20));
        let mut verified = Bitfield::empty(5);
        for piece in [0, 2, 4] {
            storage.write_block(piece, 0, b"data").unwrap();
            verified.insert(piece);
        }
        let data = ResumeData { info_hash: HASH, verified, uploaded: u64::MAX, downloaded: 12 };
        let disk = MemoryDisk::new(9999);
        data.save(&storage, &disk, path()).unwrap();
        (storage, disk, data)
    }

    fn load(
        storage: &Storage<MemoryDisk>,
        disk: &MemoryDisk,
    ) -> Result<Option<ResumeData>, ResumeError> {
        ResumeData::load(storage, HASH, disk, path())
    }

    fn bytes_of(disk: &MemoryDisk) -> Vec<u8> {
        disk.read(path(), 9999).unwrap().unwrap()
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let (storage, disk, data) = saved();
        assert_eq!(load(&storage, &disk).unwrap(), Some(data));
        disk.remove(path());
        assert_eq!(load(&storage, &disk).unwrap(), None);
    }

    #[test]
    fn nothing_is_saved_while_the_content_cannot_be_synced() {
        let (storage, disk, data) = saved();
        disk.remove(path());
        storage.write_block(1, 0, b"data").unwrap();
        storage.disk().remove(Path::new("t/\u{1}\"ü"));
        assert!(matches!(data.save(&storage, &disk, path()), Err(ResumeError::Disk(_))));
        assert!(disk.paths().is_empty());
    }

    #[test]
    fn data_about_another_torrent_is_refused() {
        let (storage, disk, _) = saved();
        let error = ResumeData::load(&storage, InfoHash([1; 20]), &disk, path()).unwrap_err();
        assert!(matches!(error, ResumeError::OtherTorrent { found: HASH, .. }));
    }

    #[test]
    fn data_about_other_files_is_refused() {
        let (_, disk, _) = saved();
        let files = vec![("t/a".into(), 10), ("t/b".into(), 10)];
        let storage = Storage::new(MemoryDisk::new(999), files, Layout::new(4, 20));
        assert!(matches!(load(&storage, &disk), Err(ResumeError::OtherFiles)));
    }

    #[test]
    fn a_file_that_lost_verified_bytes_is_noticed() {
        let (storage, disk, data) = saved();
        let content = storage.disk();
        content.set_length(Path::new("t/b"), 11).unwrap();
        assert_eq!(load(&storage, &disk).unwrap(), Some(data));
        content.set_length(Path::new("t/b"), 9).unwrap();
        assert!(matches!(
            load(&storage, &disk),
            Err(ResumeError::TooShort { needed: 10, found: Some(9), .. })
        ));
        content.remove(Path::new("t/b"));
        assert!(matches!(load(&storage, &disk), Err(ResumeError::TooShort { found: None, .. })));
    }

    #[test]
    fn a_file_that_is_far_too_long_is_not_read() {
        let (storage, disk, _) = saved();
        disk.set_length(path(), 5000).unwrap();
        assert!(matches!(
            load(&storage, &disk),
            Err(ResumeError::Disk(error)) if error.kind() == io::ErrorKind::InvalidData
        ));
    }

    #[test]
    fn the_largest_resume_data_of_a_content_is_within_the_limit() {
        let files: Vec<(PathBuf, u64)> =
            (0..50).map(|n| (format!("\u{1}{n}").into(), 1 << 40)).collect();
        let layout = Layout::new(u32::MAX, 50 << 40);
        let storage = Storage::new(MemoryDisk::new(0), files, layout);
        let data = ResumeData {
            info_hash: HASH,
            verified: Bitfield::empty(storage.layout().pieces()),
            uploaded: u64::MAX,
            downloaded: u64::MAX,
        };
        let disk = MemoryDisk::new(u64::MAX);
        data.save(&storage, &disk, path()).unwrap();
        let length = disk.length(path()).unwrap().unwrap();
        assert!(length <= longest(&storage), "{length}");
    }

    #[test]
    fn cut_anywhere_it_is_an_error() {
        let (storage, disk, _) = saved();
        for length in 0..bytes_of(&disk).len() as u64 {
            let cut = MemoryDisk::new(9999);
            cut.replace(path(), &bytes_of(&disk)).unwrap();
            cut.set_length(path(), length).unwrap();
            assert!(load(&storage, &cut).is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_an_error(at: prop::sample::Index, bit in 0u32..8) {
            let (storage, disk, _) = saved();
            let mut bytes = bytes_of(&disk);
            *at.get_mut(&mut bytes) ^= 1u8 << bit;
            disk.replace(path(), &bytes).unwrap();
            prop_assert!(load(&storage, &disk).is_err());
        }

        #[test]
        fn any_bytes_are_resume_data_or_an_error(json in any::<Vec<u8>>(), sealed: bool) {
            let (storage, disk, _) = saved();
            let head = if sealed { header(&json) } else { String::new() };
            disk.replace(path(), &[head.as_bytes(), &json].concat()).unwrap();
            prop_assert!(load(&storage, &disk).is_err());
        }

        #[test]
        fn any_fields_are_resume_data_or_an_error(
            info_hash in "[0-9a-fx]{38,42}|(ab){20}",
            verified in "[0-9a-f]{0,4}",
            first in 0u64..20,
        ) {
            let (storage, disk, _) = saved();
            let json = serde_json::to_vec(&Stored {
                info_hash,
                verified,
                files: vec![("t/\u{1}\"ü", first), ("t/b", 10)],
                uploaded: 0,
                downloaded: 0,
            })
            .unwrap();
            disk.replace(path(), &[header(&json).as_bytes(), &json].concat()).unwrap();
            if let Ok(Some(data)) = load(&storage, &disk) {
                prop_assert_eq!(data.info_hash, HASH);
                prop_assert_eq!(data.verified.pieces(), 5);
                prop_assert_eq!(first, 10);
            }
        }
    }
}
