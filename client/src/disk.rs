//! Where a peer keeps its bytes.

mod file;
mod memory;

use std::{io, path::Path};

use bytes::Bytes;
use reseed_protocol::wire::Parts;

pub use file::FileDisk;
pub use memory::MemoryDisk;

/// A folder with files in it. Paths are relative to it, and the caller has made
/// sure that they stay inside. The real one is [`FileDisk`].
///
/// Calls return at once: on a real machine they block (they are short), in a
/// simulation they take no thread.
pub trait Disk: Clone + 'static {
    /// Bytes in the file at `path`, or `None` if there is no such file.
    fn length(&self, path: &Path) -> io::Result<Option<u64>>;

    /// Fills `buffer` from `offset` on. A file that ends before that is an
    /// [`io::ErrorKind::UnexpectedEof`].
    fn read_at(&self, path: &Path, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes `bytes` from `offset` on; the file and its folders are made if
    /// need be, and a gap reads as zeros. Durable only after [`Disk::sync`].
    fn write_at(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// As [`Disk::read_at`], for `length` bytes; who has them in memory need not copy them.
    fn read_bytes_at(&self, path: &Path, offset: u64, length: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0; length];
        self.read_at(path, offset, &mut bytes)?;
        Ok(bytes.into())
    }

    /// As [`Disk::write_at`], for bytes that come in parts.
    fn write_parts_at(&self, path: &Path, offset: u64, parts: &Parts) -> io::Result<()> {
        let mut at = offset;
        parts.iter().try_for_each(|part| {
            self.write_at(path, at, part)?;
            at += part.len() as u64;
            Ok(())
        })
    }

    /// Bytes that are to be written at `offset` later, as it is best to hold them until
    /// then: a disk that has the same ones in memory gives those.
    fn hold(&self, _path: &Path, _offset: u64, bytes: Bytes) -> Bytes {
        bytes
    }

    /// Cuts or extends (with zeros) the file at `path`, made if need be.
    fn set_length(&self, path: &Path, length: u64) -> io::Result<()>;

    /// Returns once what was written to `path` survives a loss of power.
    fn sync(&self, path: &Path) -> io::Result<()>;

    /// The whole file at `path`, or `None` if there is no such file. A file
    /// longer than `limit` bytes is an [`io::ErrorKind::InvalidData`].
    fn read(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>>;

    /// Puts `bytes` in place of the file at `path`: after a crash at any moment
    /// the file is the old one or the new one, whole. Durable on return.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
}

/// What every disk must do, whatever it is made of.
#[cfg(test)]
mod contract {
    use super::*;

    pub fn a_file_that_is_not_there_has_no_length(disk: impl Disk) {
        let path = Path::new("a/b");
        assert_eq!(disk.length(path).unwrap(), None);
        assert_eq!(disk.read(path, 9).unwrap(), None);
        let error = disk.read_at(path, 0, &mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let error = disk.sync(path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    pub fn what_is_written_reads_back_and_a_gap_reads_as_zeros(disk: impl Disk) {
        let path = Path::new("a/b/c");
        disk.write_at(path, 3, b"defg").unwrap();
        disk.write_at(path, 4, b"E").unwrap();
        disk.sync(path).unwrap();
        assert_eq!(disk.length(path).unwrap(), Some(7));
        let mut buffer = [9; 7];
        disk.read_at(path, 0, &mut buffer).unwrap();
        assert_eq!(&buffer, b"\0\0\0dEfg");
        disk.clone().read_at(path, 5, &mut buffer[..2]).unwrap();
        assert_eq!(&buffer[..2], b"fg");
    }

    pub fn reading_behind_the_end_is_an_unexpected_eof(disk: impl Disk) {
        let path = Path::new("a");
        disk.write_at(path, 0, b"abc").unwrap();
        for offset in [1, 3, 4, 1 << 40] {
            let error = disk.read_at(path, offset, &mut [0; 3]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{offset}");
        }
    }

    pub fn a_length_cuts_and_extends(disk: impl Disk) {
        let path = Path::new("a/b");
        disk.set_length(path, 0).unwrap();
        assert_eq!(disk.length(path).unwrap(), Some(0));
        disk.write_at(path, 0, b"abc").unwrap();
        disk.set_length(path, 1).unwrap();
        disk.set_length(path, 2).unwrap();
        assert_eq!(disk.read(path, 2).unwrap().unwrap(), b"a\0");
    }

    pub fn a_file_longer_than_the_limit_is_invalid_data(disk: impl Disk) {
        let path = Path::new("a");
        disk.write_at(path, 0, b"abc").unwrap();
        assert_eq!(disk.read(path, 3).unwrap().unwrap(), b"abc");
        let error = disk.read(path, 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    pub fn a_replaced_file_is_the_new_one_whole(disk: impl Disk) {
        let path = Path::new("a/b");
        disk.replace(path, b"the first one").unwrap();
        disk.write_at(path, 0, b"T").unwrap();
        disk.replace(path, b"next").unwrap();
        assert_eq!(disk.read(path, 99).unwrap().unwrap(), b"next");
        disk.write_at(path, 0, b"N").unwrap();
        assert_eq!(disk.read(path, 99).unwrap().unwrap(), b"Next");
    }

    /// Makes each rule a test of the disk that `$make` gives.
    macro_rules! contract {
        ($make:expr) => {
            contract!(@each $make;
                a_file_that_is_not_there_has_no_length,
                what_is_written_reads_back_and_a_gap_reads_as_zeros,
                reading_behind_the_end_is_an_unexpected_eof,
                a_length_cuts_and_extends,
                a_file_longer_than_the_limit_is_invalid_data,
                a_replaced_file_is_the_new_one_whole,
            );
        };
        (@each $make:expr; $($rule:ident,)+) => {
            $(
                #[test]
                fn $rule() {
                    let (_guard, disk) = $make;
                    crate::disk::contract::$rule(disk);
                }
            )+
        };
    }
    pub(super) use contract;
}
