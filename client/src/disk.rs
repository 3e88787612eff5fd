//! Where a peer keeps its bytes.

use std::{io, path::Path};

/// A folder with files in it. Paths are relative to it, and the caller has made
/// sure that they stay inside. The real one is [`crate::FileDisk`].
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
