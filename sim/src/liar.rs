//! Peers that serve other bytes than they have.

use std::{cell::Cell, cell::RefCell, io, path::Path, rc::Rc};

use bytes::Bytes;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use reseed_client::Disk;
use reseed_protocol::{
    metainfo::{Info, Metainfo},
    wire::Parts,
};

use crate::plan::Lies;

/// A disk, and what is made of it for others: once [`told to`](LyingDisk::begin), it
/// reads other bytes than are on it. Until then it is honest, so that its peer finds
/// what it has; and who reads afterwards, reads for others.
#[derive(Clone)]
pub(crate) struct LyingDisk<D> {
    disk: D,
    lie: Option<Rc<Lie>>,
}

struct Lie {
    info: Info,
    about: Lies,
    rng: RefCell<ChaCha8Rng>,
    begun: Cell<bool>,
}

impl<D: Disk> LyingDisk<D> {
    /// A disk that lies about a torrent's content, or one that never does.
    pub(crate) fn new(disk: D, lies: Option<(&Metainfo, &Lies)>, rng: ChaCha8Rng) -> LyingDisk<D> {
        let lie = |(torrent, about): (&Metainfo, &Lies)| Lie {
            info: torrent.info.clone(),
            about: about.clone(),
            rng: RefCell::new(rng),
            begun: Cell::new(false),
        };
        LyingDisk { disk, lie: lies.map(|about| Rc::new(lie(about))) }
    }

    /// From now on it lies, if it ever does.
    pub(crate) fn begin(&self) {
        if let Some(lie) = &self.lie {
            lie.begun.set(true);
        }
    }

    /// Whether it will lie when told to.
    pub(crate) fn is_liar(&self) -> bool {
        self.lie.is_some()
    }
}

impl Lie {
    /// Whether what is read at `offset` of `path` is to be spoilt.
    fn tells(&self, path: &Path, offset: u64) -> bool {
        let files = self.info.files();
        let Some(file) = files.iter().find(|file| Path::new(&file.path.join("/")) == path) else {
            return false;
        };
        let piece = (file.offset + offset) / u64::from(self.info.layout().piece_length());
        match &self.about {
            _ if !self.begun.get() => false,
            Lies::Blocks(share) => self.rng.borrow_mut().random_bool(*share),
            Lies::Pieces(pieces) => pieces.iter().any(|of| u64::from(*of) == piece),
        }
    }
}

impl<D: Disk> Disk for LyingDisk<D> {
    fn length(&self, path: &Path) -> io::Result<Option<u64>> {
        self.disk.length(path)
    }

    fn read_at(&self, path: &Path, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.read_at(path, offset, buffer)?;
        if self.lie.as_ref().is_some_and(|lie| lie.tells(path, offset))
            && let Some(first) = buffer.first_mut()
        {
            *first ^= 1;
        }
        Ok(())
    }

    fn write_at(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.write_at(path, offset, bytes)
    }

    fn read_bytes_at(&self, path: &Path, offset: u64, length: usize) -> io::Result<Bytes> {
        if self.lie.is_none() {
            return self.disk.read_bytes_at(path, offset, length);
        }
        let mut bytes = vec![0; length];
        self.read_at(path, offset, &mut bytes)?;
        Ok(bytes.into())
    }

    fn write_parts_at(&self, path: &Path, offset: u64, parts: &Parts) -> io::Result<()> {
        self.disk.write_parts_at(path, offset, parts)
    }

    fn hold(&self, path: &Path, offset: u64, bytes: Bytes) -> Bytes {
        self.disk.hold(path, offset, bytes)
    }

    fn set_length(&self, path: &Path, length: u64) -> io::Result<()> {
        self.disk.set_length(path, length)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.disk.sync(path)
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        self.disk.read(path, limit)
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.disk.replace(path, bytes)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::{
        Content, SimDisk,
        plan::{FilePlan, Has, TorrentPlan},
    };

    /// What is read of each of two pieces, in each of two files, compared with the truth.
    fn lies_about(lies: &Lies, begin: bool) -> [bool; 2] {
        let length = 20_000;
        let files = ["a", "b"].map(|path| FilePlan { path: path.to_owned(), length });
        let torrent = TorrentPlan {
            name: "folder".to_owned(),
            piece_length: 20_000,
            private: false,
            merkle: false,
            bitrate: None,
            live: None,
            closed: false,
            files: files.into(),
        };
        let content = Content::generate(&torrent).unwrap();
        let disk = SimDisk::new();
        content.put(&Has::Everything, &disk).unwrap();
        let rng = ChaCha8Rng::seed_from_u64(0);
        let lying = LyingDisk::new(disk.clone(), Some((content.metainfo(), lies)), rng);
        if begin {
            lying.begin();
        }
        ["folder/a", "folder/b"].map(|path| {
            let (mut true_bytes, mut told) = ([0; 100], [0; 100]);
            disk.read_at(Path::new(path), 16_384, &mut true_bytes).unwrap();
            lying.read_at(Path::new(path), 16_384, &mut told).unwrap();
            true_bytes != told
        })
    }

    #[test]
    fn it_lies_about_the_pieces_that_it_is_to_lie_about() {
        assert_eq!(lies_about(&Lies::Pieces(vec![1]), true), [false, true]);
        assert_eq!(lies_about(&Lies::Blocks(1.0), true), [true, true]);
    }

    #[test]
    fn it_lies_only_once_it_is_told_to() {
        assert_eq!(lies_about(&Lies::Blocks(1.0), false), [false, false]);
    }
}
