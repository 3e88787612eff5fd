//! A torrent's content on a disk.

mod buffer;
mod digest;
mod file_map;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use reseed_protocol::{
    Bitfield, Block, Layout, extension::closed_swarm::PublicKey, live::open_seal, wire::Parts,
};

use crate::Disk;
use buffer::PieceBuffer;
pub(crate) use digest::LANES;
use digest::digests;
use file_map::FileMap;

/// A torrent's content on a disk.
///
/// Blocks come in through [`receive`](Storage::receive), and a piece whose blocks
/// are all there through [`finish`](Storage::finish). In between they are held in
/// memory: the piece is hashed where it lies and written once, in one go, so it is
/// not read back, and bytes that fail their hash never reach the disk. Blocks that
/// were written one by one would survive a crash, but nothing would be gained:
/// resume data speaks of whole pieces (BEP 3 has no hash of a block).
///
/// The memory has a bound. A piece that finds no room when its first block comes
/// goes to the disk block by block and is read back to be hashed; so a burst of
/// started pieces, or a torrent of huge ones, costs time and not memory.
#[derive(Debug)]
pub struct Storage<D> {
    disk: D,
    files: FileMap,
    layout: Layout,
    buffer: RefCell<PieceBuffer>,
    unsynced: RefCell<BTreeSet<usize>>,
    sync_failed: Cell<bool>,
}

impl<D: Disk> Storage<D> {
    /// Memory for started pieces unless [`with_buffer`](Storage::with_buffer) says
    /// otherwise: 64 MiB.
    pub const BUFFER_DEFAULT: usize = 64 << 20;

    /// Content that lies in `files`, paths and lengths (bytes) in the order of the
    /// metainfo. Touches nothing yet.
    ///
    /// # Panics
    /// If the lengths do not add up to the layout's total.
    pub fn new(disk: D, files: Vec<(PathBuf, u64)>, layout: Layout) -> Storage<D> {
        let files = FileMap::new(files);
        assert_eq!(files.total_length(), layout.total_length(), "the files make up the content");
        Storage {
            disk,
            files,
            layout,
            buffer: RefCell::new(PieceBuffer::new(Self::BUFFER_DEFAULT)),
            unsynced: RefCell::default(),
            sync_failed: Cell::new(false),
        }
    }

    /// Bounds the memory for started pieces to `bytes`; with 0 every block is
    /// written as it comes.
    pub fn with_buffer(self, bytes: usize) -> Storage<D> {
        Storage { buffer: RefCell::new(PieceBuffer::new(bytes)), ..self }
    }

    /// The grid of pieces and blocks.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Paths and lengths (bytes) of the files.
    pub fn files(&self) -> impl Iterator<Item = (&Path, u64)> {
        self.files.iter()
    }

    /// The disk.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// Makes the files without bytes, which no piece will ever make.
    pub fn prepare(&self) -> io::Result<()> {
        for (index, (path, length)) in self.files.iter().enumerate() {
            if length == 0 && self.disk.length(path)?.is_none() {
                self.disk.set_length(path, 0)?;
                self.unsynced.borrow_mut().insert(index);
            }
        }
        Ok(())
    }

    /// Reads from the disk. The caller knows which pieces are there; bytes of
    /// others are whatever the files hold, or an error if they end before.
    ///
    /// # Panics
    /// If the block is not inside its piece. [`Layout::contains`] tells, and what a
    /// remote asks for must be held to it first.
    pub fn read_block(&self, block: Block) -> io::Result<Bytes> {
        self.assert_inside(block.piece, block.begin, block.length as usize);
        let length = block.length as usize;
        let mut spans = self.spans(block.piece, block.begin, length);
        if let (Some(only), None) = (spans.next(), spans.next()) {
            return self.disk.read_bytes_at(self.files.path(only.file), only.offset, length);
        }
        let mut bytes = vec![0; length];
        self.read(block.piece, block.begin, &mut bytes)?;
        Ok(bytes.into())
    }

    /// Writes to the disk, past the buffer: for content that is made or copied
    /// here. What a peer sends goes to [`receive`](Storage::receive).
    ///
    /// # Panics
    /// If the bytes are not inside the piece.
    pub fn write_block(&self, piece: u32, begin: u32, bytes: &[u8]) -> io::Result<()> {
        self.assert_inside(piece, begin, bytes.len());
        let mut rest = bytes;
        for span in self.spans(piece, begin, bytes.len()) {
            let (part, behind) = rest.split_at(span.length);
            // Before the write: one that fails may have written something.
            self.unsynced.borrow_mut().insert(span.file);
            let path = self.files.path(span.file);
            self.disk.write_at(path, span.offset, part)?;
            rest = behind;
        }
        Ok(())
    }

    /// Writes a whole piece that comes in parts.
    fn write_piece(&self, piece: u32, mut parts: Parts) -> io::Result<()> {
        for span in self.spans(piece, 0, parts.len()) {
            let of_file = parts.split_to(span.length);
            self.unsynced.borrow_mut().insert(span.file);
            self.disk.write_parts_at(self.files.path(span.file), span.offset, &of_file)?;
        }
        Ok(())
    }

    /// Takes in bytes of a piece that is being downloaded.
    ///
    /// # Panics
    /// If the bytes are not inside the piece.
    pub fn receive(&self, piece: u32, begin: u32, bytes: &Bytes) -> io::Result<()> {
        self.assert_inside(piece, begin, bytes.len());
        let length = self.layout.length_of(piece) as usize;
        let mut spans = self.spans(piece, begin, bytes.len());
        let bytes = match (spans.next(), spans.next()) {
            (Some(only), None) => {
                self.disk.hold(self.files.path(only.file), only.offset, bytes.clone())
            }
            _ => bytes.clone(),
        };
        let kept = self.buffer.borrow_mut().keep(piece, length, begin as usize, &bytes);
        if kept {
            return Ok(());
        }
        self.write_block(piece, begin, &bytes)
    }

    /// Ends the download of pieces, all of whose bytes were received: returns for each
    /// whether it hashes to what is expected of it, and if so, it is on the disk. If not, or
    /// on an error, its bytes are forgotten and must be received anew.
    pub fn finish(&self, pieces: &[(u32, [u8; 20])]) -> Vec<io::Result<bool>> {
        let kept = pieces.iter().map(|(piece, _)| self.buffer.borrow_mut().take(*piece));
        let kept: Vec<Option<Parts>> = kept.collect();
        let contents = kept.iter().flatten().map(|parts| parts.iter().cloned().map(Ok));
        let mut digests = digests(contents).into_iter();
        let finish = |((piece, expected), kept): (&(u32, [u8; 20]), Option<Parts>)| {
            let Some(parts) = kept else { return self.check(*piece, expected) };
            let good = digests.next().expect("each was hashed")? == *expected;
            if good {
                self.write_piece(*piece, parts)?;
            }
            Ok(good)
        };
        pieces.iter().zip(kept).map(finish).collect()
    }

    /// The same for a piece of a live stream, which ends with its number and a signature
    /// that `key` verifies: returns that number, if it does.
    pub fn finish_sealed(&self, piece: u32, key: &PublicKey) -> io::Result<Option<u64>> {
        let kept = self.buffer.borrow_mut().take(piece);
        if let Some(parts) = kept {
            let sequence = open_seal(key, &parts.to_bytes());
            if sequence.is_some() {
                self.write_piece(piece, parts)?;
            }
            return Ok(sequence);
        }
        let length = self.layout.length_of(piece);
        let bytes = self.read_block(Block { piece, begin: 0, length })?;
        Ok(open_seal(key, &bytes))
    }

    /// Forgets what was received of a piece that will not be finished.
    pub fn forget(&self, piece: u32) {
        self.buffer.borrow_mut().take(piece);
    }

    /// SHA-1 of each of the pieces on the disk, or `None` if its bytes are not there: a
    /// file is missing or too short.
    ///
    /// # Panics
    /// If there is no such piece.
    pub fn hash_pieces(&self, pieces: &[u32]) -> Vec<io::Result<Option<[u8; 20]>>> {
        let read = |&piece: &u32| {
            let all = self.layout.length_of(piece);
            (0..all).step_by(HASH_CHUNK as usize).map(move |begin| {
                let length = (all - begin).min(HASH_CHUNK);
                self.read_block(Block { piece, begin, length })
            })
        };
        let found = |digest| match digest {
            Ok(digest) => Ok(Some(digest)),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(error),
        };
        digests(pieces.iter().map(read)).into_iter().map(found).collect()
    }

    /// Whether the piece on the disk hashes to `expected`.
    ///
    /// # Panics
    /// If there is no such piece.
    pub fn check(&self, piece: u32, expected: &[u8; 20]) -> io::Result<bool> {
        let found = self.hash_pieces(&[piece]).pop().expect("one was asked for")?;
        Ok(self.is_right(piece, found, expected))
    }

    /// Whether a piece that was `found` on the disk is the one that is `expected` there.
    pub(crate) fn is_right(
        &self,
        piece: u32,
        found: Option<[u8; 20]>,
        expected: &[u8; 20],
    ) -> bool {
        let right = found.as_ref() == Some(expected);
        if right {
            self.mark_unsynced(piece);
        }
        right
    }

    /// The piece was found there: who wrote it, and whether it is safe from a loss of
    /// power, is unknown.
    pub(crate) fn mark_unsynced(&self, piece: u32) {
        let spans = self.spans(piece, 0, self.layout.length_of(piece) as usize);
        let files = spans.map(|span| span.file);
        self.unsynced.borrow_mut().extend(files);
    }

    /// Returns once everything written so far, or found right by a check, survives
    /// a loss of power.
    ///
    /// After a failure it fails for ever: a system may drop what it could not write
    /// and report success the next time, so only a check of the content in a new
    /// `Storage` tells what is there.
    pub fn sync(&self) -> io::Result<()> {
        if self.sync_failed.get() {
            return Err(io::Error::other("an earlier sync of the content failed"));
        }
        let mut unsynced = self.unsynced.borrow_mut();
        while let Some(&file) = unsynced.first() {
            (self.disk.sync(self.files.path(file))).inspect_err(|_| self.sync_failed.set(true))?;
            unsynced.remove(&file);
        }
        Ok(())
    }

    fn read(&self, piece: u32, begin: u32, bytes: &mut [u8]) -> io::Result<()> {
        let mut rest = bytes;
        for span in self.spans(piece, begin, rest.len()) {
            let (part, behind) = rest.split_at_mut(span.length);
            let path = self.files.path(span.file);
            self.disk.read_at(path, span.offset, part)?;
            rest = behind;
        }
        Ok(())
    }

    fn spans(
        &self,
        piece: u32,
        begin: u32,
        length: usize,
    ) -> impl Iterator<Item = file_map::Span> + use<'_, D> {
        let start = self.layout.offset_of(piece) + u64::from(begin);
        self.files.spans(start, length)
    }

    /// The first file that lacks bytes of `pieces`, with the length (bytes) that it
    /// would need, and the one that it has, if it is there.
    pub(crate) fn first_too_short(&self, pieces: &Bitfield) -> io::Result<Option<TooShort>> {
        let mut needed = BTreeMap::new();
        for piece in pieces.iter() {
            for span in self.spans(piece, 0, self.layout.length_of(piece) as usize) {
                // Ascending, as the pieces are.
                needed.insert(span.file, span.offset + span.length as u64);
            }
        }
        for (file, needed) in needed {
            let path = self.files.path(file);
            let found = self.disk.length(path)?;
            if found.is_none_or(|found| found < needed) {
                return Ok(Some(TooShort { path: path.to_owned(), needed, found }));
            }
        }
        Ok(None)
    }

    /// Those of the pieces that the files are long enough to hold; of a file whose length
    /// cannot be told, all.
    pub(crate) fn within_files(&self) -> Bitfield {
        let lengths = self.files.iter().map(|(path, _)| match self.disk.length(path) {
            Ok(length) => length.unwrap_or(0),
            Err(_) => u64::MAX,
        });
        let lengths: Vec<u64> = lengths.collect();
        let mut within = Bitfield::empty(self.layout.pieces());
        for piece in 0..self.layout.pieces() {
            let mut spans = self.spans(piece, 0, self.layout.length_of(piece) as usize);
            if spans.all(|span| span.offset + span.length as u64 <= lengths[span.file]) {
                within.insert(piece);
            }
        }
        within
    }

    fn assert_inside(&self, piece: u32, begin: u32, length: usize) {
        let piece_length = self.layout.length_of(piece);
        assert!(
            begin <= piece_length && length <= (piece_length - begin) as usize,
            "{length} bytes from {begin} of piece {piece}, which has {piece_length}"
        );
    }
}

/// A file that cannot hold what it should.
pub(crate) struct TooShort {
    pub path: PathBuf,
    pub needed: u64,
    pub found: Option<u64>,
}

/// Bytes read at a time to be hashed: stays in a processor's cache.
const HASH_CHUNK: u32 = 256 << 10;

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha1::{Digest, Sha1};

    use super::*;
    use crate::MemoryDisk;

    /// Three pieces of 8 bytes and one of 2 over five files, two of them empty.
    fn storage(disk: &MemoryDisk) -> Storage<MemoryDisk> {
        let lengths = [("t/a", 5), ("t/e", 0), ("t/b", 1), ("t/d/c", 20), ("t/f", 0)];
        let files = lengths.map(|(path, length)| (path.into(), length));
        Storage::new(disk.clone(), files.into(), Layout::new(8, 26))
    }

    fn finish(storage: &Storage<MemoryDisk>, piece: u32, expected: [u8; 20]) -> io::Result<bool> {
        storage.finish(&[(piece, expected)]).pop().expect("one was asked for")
    }

    fn hash(storage: &Storage<MemoryDisk>, piece: u32) -> io::Result<Option<[u8; 20]>> {
        storage.hash_pieces(&[piece]).pop().expect("one was asked for")
    }

    fn content() -> Vec<u8> {
        (b'a'..=b'z').collect()
    }

    fn hash_of(piece: u32) -> [u8; 20] {
        let start = piece as usize * 8;
        Sha1::digest(&content()[start..(start + 8).min(26)]).into()
    }

    fn read(disk: &MemoryDisk, path: &str) -> Option<Vec<u8>> {
        disk.read(Path::new(path), 99).unwrap()
    }

    #[test]
    fn a_piece_goes_into_every_file_that_it_touches() {
        let disk = MemoryDisk::new(99);
        let storage = storage(&disk);
        storage.write_block(0, 2, b"cdefgh").unwrap();
        assert_eq!(read(&disk, "t/a").unwrap(), b"\0\0cde");
        assert_eq!(read(&disk, "t/b").unwrap(), b"f");
        assert_eq!(read(&disk, "t/d/c").unwrap(), b"gh");
        assert_eq!(read(&disk, "t/e"), None);
        let block = Block { piece: 0, begin: 4, length: 3 };
        assert_eq!(storage.read_block(block).unwrap(), "efg");
    }

    #[test]
    fn files_without_bytes_are_made_and_nothing_else() {
        let disk = MemoryDisk::new(99);
        storage(&disk).prepare().unwrap();
        assert_eq!(disk.paths(), ["t/e", "t/f"].map(PathBuf::from));
    }

    #[test]
    fn a_received_piece_reaches_the_disk_when_it_is_verified() {
        let disk = MemoryDisk::new(99);
        let storage = storage(&disk);
        storage.receive(1, 4, &Bytes::from_static(b"mnop")).unwrap();
        storage.receive(1, 0, &Bytes::from_static(b"ijkl")).unwrap();
        assert!(disk.paths().is_empty());
        assert!(finish(&storage, 1, hash_of(1)).unwrap());
        assert!(storage.check(1, &hash_of(1)).unwrap());
    }

    #[test]
    fn bytes_that_fail_their_hash_never_reach_the_disk_and_are_forgotten() {
        let disk = MemoryDisk::new(99);
        let storage = storage(&disk);
        storage.receive(3, 0, &Bytes::from_static(b"yx")).unwrap();
        assert!(!finish(&storage, 3, hash_of(3)).unwrap());
        storage.receive(3, 1, &Bytes::from_static(b"z")).unwrap();
        assert!(!finish(&storage, 3, hash_of(3)).unwrap());
        assert!(disk.paths().is_empty());
    }

    #[test]
    fn of_pieces_that_end_together_each_has_its_own_verdict() {
        let disk = MemoryDisk::new(99);
        let storage = storage(&disk);
        storage.receive(3, 0, &Bytes::from_static(b"yz")).unwrap();
        storage.receive(0, 0, &Bytes::from_static(b"abcdefg!")).unwrap();
        storage.receive(2, 0, &Bytes::from_static(b"qrstuvwx")).unwrap();
        let ended = [3, 0, 1, 2].map(|piece| (piece, hash_of(piece)));
        let verdicts: Vec<bool> = storage.finish(&ended).into_iter().map(Result::unwrap).collect();
        assert_eq!(verdicts, [true, false, false, true], "nothing has come of piece 1");
        let found = storage.hash_pieces(&[2, 0, 3]).into_iter().map(Result::unwrap);
        assert_eq!(found.collect::<Vec<_>>(), [Some(hash_of(2)), None, Some(hash_of(3))]);
    }

    #[test]
    fn a_piece_that_finds_no_room_is_written_block_by_block_even_if_room_comes() {
        let disk = MemoryDisk::new(99);
        let storage = storage(&disk).with_buffer(10);
        storage.receive(0, 0, &Bytes::from_static(b"abcd")).unwrap();
        storage.receive(1, 0, &Bytes::from_static(b"ijkl")).unwrap();
        assert_eq!(disk.paths(), [Path::new("t/d/c")]);
        storage.forget(0);
        storage.receive(1, 4, &Bytes::from_static(b"mnop")).unwrap();
        assert!(finish(&storage, 1, hash_of(1)).unwrap());
        storage.receive(2, 0, &Bytes::from_static(b"qrstuvwx")).unwrap();
        assert_eq!(hash(&storage, 2).unwrap(), None);
        assert!(finish(&storage, 2, hash_of(2)).unwrap());
    }

    #[test]
    fn a_piece_whose_file_is_missing_or_too_short_has_no_hash() {
        let disk = MemoryDisk::new(99);
        let storage = storage(&disk);
        assert_eq!(hash(&storage, 0).unwrap(), None);
        storage.write_block(0, 0, b"abcdefg").unwrap();
        assert_eq!(hash(&storage, 0).unwrap(), None);
        storage.write_block(0, 7, b"h").unwrap();
        assert_eq!(hash(&storage, 0).unwrap(), Some(hash_of(0)));
    }

    #[test]
    fn only_pieces_that_files_are_long_enough_for_are_within_them() {
        let disk = MemoryDisk::new(99);
        let storage = storage(&disk);
        let within = || storage.within_files().iter().collect::<Vec<u32>>();
        assert_eq!(within(), [0; 0]);
        disk.write_at(Path::new("t/d/c"), 0, &[0; 17]).unwrap();
        assert_eq!(within(), [1], "the first has parts elsewhere, the third one byte more");
        disk.write_at(Path::new("t/a"), 4, &[0]).unwrap();
        disk.write_at(Path::new("t/b"), 0, &[0]).unwrap();
        assert_eq!(within(), [0, 1]);
        disk.write_at(Path::new("t/d/c"), 19, &[0]).unwrap();
        assert_eq!(within(), [0, 1, 2, 3]);
    }

    #[test]
    fn a_full_disk_is_an_error_and_the_piece_can_come_again() {
        let disk = MemoryDisk::new(6);
        let storage = storage(&disk);
        for _ in 0..2 {
            storage.receive(0, 0, &Bytes::from_static(b"abcdefgh")).unwrap();
            let error = finish(&storage, 0, hash_of(0)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
    }

    #[test]
    fn a_sync_that_failed_is_not_forgotten() {
        let disk = MemoryDisk::new(99);
        let storage = storage(&disk);
        storage.write_block(0, 0, b"abc").unwrap();
        storage.sync().unwrap();
        storage.write_block(0, 0, b"abc").unwrap();
        disk.remove(Path::new("t/a"));
        assert!(storage.sync().is_err());
        storage.write_block(0, 0, b"abc").unwrap();
        assert!(storage.sync().is_err());
    }

    #[test]
    fn what_a_check_found_is_synced_as_well() {
        let disk = MemoryDisk::new(99);
        storage(&disk).write_block(0, 0, b"abcdefgh").unwrap();
        let later = storage(&disk);
        assert!(later.check(0, &hash_of(0)).unwrap());
        disk.remove(Path::new("t/b"));
        assert!(later.sync().is_err());
    }

    #[test]
    #[should_panic(expected = "6 bytes from 3 of piece 0")]
    fn a_block_that_leaves_its_piece_is_a_fault_of_the_caller() {
        let _ = storage(&MemoryDisk::new(99)).write_block(0, 3, b"defghi");
    }

    proptest! {
        #[test]
        fn content_comes_out_as_it_went_in_however_it_is_cut(
            lengths in prop::collection::vec(0u64..50, 1..8),
            piece_length in 1u32..40,
            buffer in 0usize..100,
            backwards: bool,
        ) {
            let total: u64 = lengths.iter().sum();
            prop_assume!(total > 0);
            let content: Vec<u8> = (0..total).map(|n| (n * 7 + n / 256) as u8).collect();
            let files: Vec<(PathBuf, u64)> = (lengths.iter().enumerate())
                .map(|(index, &length)| (format!("{index}").into(), length))
                .collect();
            let disk = MemoryDisk::new(total);
            let layout = Layout::new(piece_length, total);
            let storage = Storage::new(disk.clone(), files, layout).with_buffer(buffer);
            storage.prepare().unwrap();
            for piece in 0..layout.pieces() {
                let start = layout.offset_of(piece) as usize;
                let bytes = &content[start..][..layout.length_of(piece) as usize];
                let (left, right) = bytes.split_at(bytes.len() / 2);
                let mut halves = [(0, left), (left.len() as u32, right)];
                if backwards {
                    halves.reverse();
                }
                for (begin, half) in halves {
                    storage.receive(piece, begin, &Bytes::copy_from_slice(half)).unwrap();
                }
                prop_assert!(finish(&storage, piece, Sha1::digest(bytes).into()).unwrap());
            }
            let stored: Vec<u8> = (storage.files())
                .flat_map(|(path, length)| disk.read(path, length).unwrap().unwrap())
                .collect();
            prop_assert_eq!(stored, content);
        }
    }
}
