//! What is shared: the truth that every copy is held against.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use reseed_client::{Disk, ResumeData, Storage, hashes_path};
use reseed_protocol::{
    Bitfield, Block, HashTree, Layout, MetainfoError,
    metainfo::{self, CreateError, Draft, Metainfo},
};

use crate::{
    SimDisk,
    broadcast::Broadcast,
    members,
    plan::{FilePlan, Has, Remnant, TorrentPlan},
    truth::Truth,
};

/// A torrent and its bytes.
#[derive(Debug, Clone)]
pub struct Content {
    metainfo: Metainfo,
    /// Of its files.
    paths: Vec<PathBuf>,
    truth: Truth,
    /// Of a Merkle torrent. BEP 30.
    hashes: Option<HashTree>,
    /// What is made during a run, if it is a live stream.
    broadcast: Option<Broadcast>,
}

/// Why content cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the machine said.
        source: io::Error,
    },
    /// The torrent is none.
    #[error("{path} is no torrent")]
    Torrent {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: MetainfoError,
    },
    /// A plan's torrent cannot be made.
    #[error("making the torrent: {0}")]
    Create(#[from] CreateError),
    /// A file has another length than the torrent says.
    #[error("{path} has {found} bytes where the torrent says {expected}; is it the right content?")]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes that it has.
        found: u64,
        /// Bytes that it should have.
        expected: u64,
    },
    /// The content is not what the torrent's hashes are of.
    #[error(
        "piece {piece} of {path} has another hash than the torrent says; is it the right content?"
    )]
    Hash {
        /// The content.
        path: PathBuf,
        /// Which piece.
        piece: u32,
    },
}

impl Content {
    fn new(metainfo: Metainfo, truth: Truth) -> Content {
        let paths = metainfo.info.files().iter().map(|file| file.path.iter().collect()).collect();
        let mut content = Content { metainfo, paths, truth, hashes: None, broadcast: None };
        if content.metainfo.info.root_hash().is_some() {
            let pieces = 0..content.layout().pieces();
            let hashes: Vec<[u8; 20]> = pieces.map(|piece| content.hash_of(piece)).collect();
            content.hashes = Some(HashTree::from_pieces(&hashes));
        }
        content
    }

    /// Made-up bytes in the shape that `torrent` says. They do not depend on a
    /// run's seed, so that all runs of a plan share them.
    pub fn generate(torrent: &TorrentPlan) -> Result<Content, ContentError> {
        let parts = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
        let content = match torrent.files.as_slice() {
            [file] if file.path == torrent.name => metainfo::Content::File { length: file.length },
            files => metainfo::Content::Folder(
                files.iter().map(|file| (parts(&file.path), file.length)).collect(),
            ),
        };
        let draft = Draft {
            name: torrent.name.clone(),
            piece_length: torrent.piece_length,
            private: torrent.private,
            merkle: torrent.merkle,
            live: torrent.live.map(|_| members::owner().public()),
            torrent_keys: torrent.closed.then(|| members::owner().public()).into_iter().collect(),
            announce: None,
            content,
        };
        if let Some(pieces) = torrent.live {
            let (metainfo, _) = Metainfo::create(&draft, io::empty())?;
            let layout = metainfo.info.layout();
            let made = Broadcast::new(layout, pieces, members::owner());
            let content = Content::new(metainfo, Truth::held(Bytes::new()));
            return Ok(Content { broadcast: Some(made), ..content });
        }
        let truth = Truth::made_up(torrent.files.iter().map(|file| file.length).sum());
        let (metainfo, _) = Metainfo::create(&draft, truth.reader())?;
        Ok(Content::new(metainfo, truth))
    }

    /// The content of the .torrent file at `torrent`, read from the file or folder
    /// at `content` and held against the torrent's hashes.
    pub fn load(torrent: &Path, content: &Path) -> Result<Content, ContentError> {
        let read = |path: &Path| {
            fs::read(path).map_err(|source| ContentError::Read { path: path.to_owned(), source })
        };
        let metainfo = Metainfo::from_bytes(&read(torrent)?)
            .map_err(|source| ContentError::Torrent { path: torrent.to_owned(), source })?;
        let info = &metainfo.info;
        let mut bytes = Vec::new();
        for file in info.files() {
            let below = &file.path[usize::from(info.is_multi_file())..];
            let path = match info.is_multi_file() {
                true => content.join(below.iter().collect::<PathBuf>()),
                false => content.to_owned(),
            };
            let read = read(&path)?;
            let (found, expected) = (read.len() as u64, file.length);
            if found != expected {
                return Err(ContentError::Length { path, found, expected });
            }
            bytes.extend_from_slice(&read);
        }
        let content_of = Content::new(metainfo, Truth::held(bytes.into()));
        match (0..content_of.layout().pieces()).find(|piece| !content_of.hashes_right(*piece)) {
            Some(piece) => Err(ContentError::Hash { path: content.to_owned(), piece }),
            None => Ok(content_of),
        }
    }

    /// What a plan says of this torrent.
    pub fn plan(&self) -> TorrentPlan {
        let info = &self.metainfo.info;
        let below = usize::from(info.is_multi_file());
        let file = |file: &metainfo::File| FilePlan {
            path: file.path[below..].join("/"),
            length: file.length,
        };
        TorrentPlan {
            name: info.name().to_owned(),
            piece_length: info.layout().piece_length(),
            private: info.is_private(),
            merkle: info.root_hash().is_some(),
            bitrate: None,
            live: None,
            closed: !info.torrent_keys().is_empty(),
            files: info.files().iter().map(file).collect(),
        }
    }

    /// The torrent.
    pub fn metainfo(&self) -> &Metainfo {
        &self.metainfo
    }

    /// Its grid of pieces.
    pub fn layout(&self) -> Layout {
        self.metainfo.info.layout()
    }

    /// The live stream, if that is what is shared.
    pub(crate) fn broadcast(&self) -> Option<&Broadcast> {
        self.broadcast.as_ref()
    }

    /// Whether `data` are true bytes of `block`: in a live stream, at some time.
    pub(crate) fn is_true(&self, block: Block, data: &[u8]) -> bool {
        if !self.layout().contains(block) || data.len() != block.length as usize {
            return false;
        }
        let Some(broadcast) = &self.broadcast else {
            return self.truth.is(self.offset_of(block), data);
        };
        let (begin, end) = (block.begin as usize, (block.begin + block.length) as usize);
        broadcast.at(block.piece).any(|(_, piece)| &piece[begin..end] == data)
    }

    /// What is shared, all of it; nothing of a live stream.
    pub(crate) fn truth(&self) -> &Truth {
        &self.truth
    }

    /// The bytes of a block of this torrent: in a live stream those of the first piece that
    /// lies there, if one does.
    pub(crate) fn block(&self, block: Block) -> Option<Bytes> {
        let Some(broadcast) = &self.broadcast else {
            let bytes = self.truth.bytes(self.offset_of(block), block.length as usize);
            return Some(bytes.expect("it is a block of this torrent"));
        };
        let (begin, end) = (block.begin as usize, (block.begin + block.length) as usize);
        broadcast.at(block.piece).next().map(|(_, piece)| piece.slice(begin..end))
    }

    fn offset_of(&self, block: Block) -> u64 {
        self.layout().offset_of(block.piece) + u64::from(block.begin)
    }

    /// What is in its files, for disks to share.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Truth)> {
        let mut offset = 0;
        let mut files = Vec::new();
        for (file, path) in self.metainfo.info.files().iter().zip(&self.paths) {
            // A live stream's bytes are not known beforehand.
            let Some(truth) = self.truth.part(offset, file.length) else { break };
            files.push((path.clone(), truth));
            offset += file.length;
        }
        files
    }

    /// Puts on `disk` what `has` says.
    pub(crate) fn put(&self, has: &Has, disk: &SimDisk) -> io::Result<()> {
        let pieces: Vec<u32> = match has {
            _ if self.broadcast.is_some() => return Ok(()),
            Has::Nothing => return Ok(()),
            Has::Everything => (0..self.layout().pieces()).collect(),
            Has::Pieces(pieces) => pieces.clone(),
        };
        for piece in pieces {
            self.each_slice(piece, |path, offset, truth| disk.write_at(path, offset, truth))?;
        }
        if let (Has::Pieces(pieces), Some(hashes)) = (has, &self.hashes) {
            // Without their hashes nobody could tell that they are right.
            let mut known = HashTree::from_root(hashes.root(), self.layout().pieces());
            for piece in pieces {
                let proof = hashes.proof(*piece).expect("the whole tree is known");
                known.learn(*piece, &proof).expect("it is of the same tree");
            }
            let path = hashes_path(self.metainfo.info_hash);
            disk.replace(&path, &known.to_bytes())?;
        }
        self.paths
            .iter()
            .try_for_each(|path| disk.length(path)?.map_or(Ok(()), |_| disk.sync(path)))
    }

    /// Puts on `disk`, which has what `has` says, what is there besides.
    pub(crate) fn leave(&self, remnant: Remnant, has: &Has, disk: &SimDisk) -> io::Result<()> {
        if self.broadcast.is_some() {
            return Ok(());
        }
        let path = ResumeData::path(self.metainfo.info_hash);
        match remnant {
            Remnant::Nothing => Ok(()),
            Remnant::OtherBytes => self.put_others(has, disk),
            Remnant::StaleResume => disk.replace(&path, &self.resume_data()?),
            Remnant::BrokenResume => {
                let mut resume = self.resume_data()?;
                *resume.last_mut().expect("it is some bytes long") ^= 1;
                disk.replace(&path, &resume)
            }
        }
    }

    fn put_others(&self, has: &Has, disk: &SimDisk) -> io::Result<()> {
        let is_there = |piece: &u32| match has {
            Has::Nothing => false,
            Has::Everything => true,
            Has::Pieces(pieces) => pieces.contains(piece),
        };
        for piece in (0..self.layout().pieces()).filter(|piece| !is_there(piece)) {
            self.each_slice(piece, |path, offset, truth| {
                let others: Vec<u8> = truth.iter().map(|byte| !byte).collect();
                disk.write_at(path, offset, &others)
            })?;
        }
        Ok(())
    }

    /// What a client remembers that has everything.
    fn resume_data(&self) -> io::Result<Vec<u8>> {
        let (disk, info_hash) = (SimDisk::new(), self.metainfo.info_hash);
        self.put(&Has::Everything, &disk)?;
        let path = ResumeData::path(info_hash);
        let verified = Bitfield::full(self.layout().pieces());
        let resume = ResumeData { verified, ..ResumeData::new(info_hash, self.layout()) };
        resume.save(&self.storage(&disk), &disk, &path).map_err(io::Error::other)?;
        Ok(disk.read(&path, u64::MAX)?.expect("it was just written"))
    }

    /// The content's files on `disk`.
    pub(crate) fn storage(&self, disk: &SimDisk) -> Storage<SimDisk> {
        let info = &self.metainfo.info;
        let lengths = info.files().iter().map(|file| file.length);
        let files = self.paths.iter().cloned().zip(lengths).collect();
        Storage::new(disk.clone(), files, info.layout())
    }

    /// Which piece of the live stream lies at `place` on `disk`, if a true one does.
    pub(crate) fn made_on(&self, disk: &SimDisk, place: u32) -> Option<u64> {
        let mut found = vec![0; self.layout().length_of(place) as usize];
        let offset = self.layout().offset_of(place);
        disk.read_at(&self.paths[0], offset, &mut found).ok()?;
        let mut made = self.broadcast.as_ref()?.at(place);
        made.find(|(_, piece)| *piece == found).map(|(sequence, _)| sequence)
    }

    /// Whether `disk` holds the true bytes of `piece`.
    pub(crate) fn is_on(&self, disk: &SimDisk, piece: u32) -> bool {
        self.each_slice(piece, |path, offset, truth| match disk.holds(path, offset, truth) {
            true => Ok(()),
            false => Err(io::ErrorKind::InvalidData.into()),
        })
        .is_ok()
    }

    /// Whether bits of `piece` have flipped on `disk` since they were written, so that
    /// whoever claims or serves it knows no better.
    pub(crate) fn has_flipped(&self, disk: &SimDisk, piece: u32) -> bool {
        let length = self.layout().length_of(piece);
        let mut spans = self.metainfo.info.spans(piece, 0, length);
        spans.any(|span| disk.has_flipped(&self.paths[span.file], span.offset, span.length.into()))
    }

    /// Of a Merkle torrent's pieces none is right if one is wrong.
    fn hashes_right(&self, piece: u32) -> bool {
        match (&self.hashes, self.metainfo.info.piece_hash(piece)) {
            (None, expected) => Some(self.hash_of(piece)) == expected,
            (Some(hashes), _) => Some(hashes.root()) == self.metainfo.info.root_hash(),
        }
    }

    fn hash_of(&self, piece: u32) -> [u8; 20] {
        use sha1::{Digest, Sha1};
        let mut hasher = Sha1::new();
        self.piece(piece).slices().for_each(|slice| hasher.update(slice));
        hasher.finalize().into()
    }

    fn each_slice(
        &self,
        piece: u32,
        mut each: impl FnMut(&Path, u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let info = &self.metainfo.info;
        let truth = self.piece(piece);
        let mut done = 0;
        for span in info.spans(piece, 0, truth.length() as u32) {
            let part =
                truth.part(done, u64::from(span.length)).expect("spans are within their piece");
            done += u64::from(span.length);
            let mut offset = span.offset;
            for slice in part.slices() {
                each(&self.paths[span.file], offset, slice)?;
                offset += slice.len() as u64;
            }
        }
        Ok(())
    }

    fn piece(&self, piece: u32) -> Truth {
        let (offset, length) = (self.layout().offset_of(piece), self.layout().length_of(piece));
        self.truth.part(offset, u64::from(length)).expect("it is a piece of this torrent")
    }
}
