//! What pieces are held to: the metainfo's hashes, or those of a Merkle torrent's
//! tree, which is kept on the disk.

use std::{io, path::PathBuf};

use reseed_protocol::{Bitfield, HashTree, Info, InfoHash};

use crate::{Disk, Storage, storage::TooShort};

/// The tree of `info`, if it is a Merkle torrent: what is kept of it on `disk`, or
/// just its root. BEP 30.
pub(crate) fn kept_tree(info: &Info, info_hash: InfoHash, disk: &impl Disk) -> Option<HashTree> {
    let root = info.root_hash()?;
    let pieces = info.layout().pieces();
    let bytes = match disk.read(&hashes_path(info_hash), HashTree::bytes_max(pieces)) {
        Ok(bytes) => bytes.unwrap_or_default(),
        // Longer than any tree, or not to be read: its hashes are got anew.
        Err(error) => {
            tracing::warn!(%error, "doing without the kept tree of hashes");
            Vec::new()
        }
    };
    let tree = HashTree::from_bytes(root, pieces, &bytes).unwrap_or_else(|error| {
        tracing::warn!(%error, "doing without the kept tree of hashes");
        HashTree::from_root(root, pieces)
    });
    Some(tree)
}

/// Keeps `tree` on `disk`, in place of what was kept before.
pub(crate) fn keep_tree(tree: &HashTree, info_hash: InfoHash, disk: &impl Disk) -> io::Result<()> {
    disk.replace(&hashes_path(info_hash), &tree.to_bytes())
}

/// Where a Merkle torrent's tree of hashes is kept on a download's disk, as
/// [`HashTree::to_bytes`] writes it.
pub fn hashes_path(info_hash: InfoHash) -> PathBuf {
    PathBuf::from(format!(".{info_hash}.hashes"))
}

/// Fails unless all of the content is `verified`, and names what is wrong first.
pub(crate) fn all_here<D: Disk>(
    storage: &Storage<D>,
    info: &Info,
    verified: &Bitfield,
) -> io::Result<()> {
    let pieces = info.layout().pieces();
    let Some(wrong) = (0..pieces).find(|piece| !verified.contains(*piece)) else { return Ok(()) };
    let why = match storage.first_too_short(&Bitfield::full(pieces))? {
        Some(TooShort { path, found: None, .. }) => format!("{} is not there", path.display()),
        Some(TooShort { path, needed, found: Some(found) }) => {
            format!("{} has {found} bytes where the torrent says {needed}", path.display())
        }
        None => {
            let span = info.spans(wrong, 0, 1).next().expect("a piece has a byte");
            let file = info.files()[span.file].path.join("/");
            format!("piece {wrong}, from {file}, has another hash than the torrent says")
        }
    };
    let message = format!("{} of {pieces} pieces are there and right: {why}", verified.count());
    Err(io::Error::new(io::ErrorKind::InvalidData, message))
}

/// Looks which pieces are on a disk and right, a few at a step.
///
/// Where the metainfo has a root only, a piece can be told to be right if its hash
/// is known; or if all the others are there too, and together they make the root.
/// So a first seed of a Merkle torrent needs nothing but the content.
pub(crate) struct PieceSearch<'a> {
    info: &'a Info,
    tree: Option<HashTree>,
    /// What pieces on the disk hash to that nothing is known of.
    found: Vec<Option<[u8; 20]>>,
}

impl<'a> PieceSearch<'a> {
    /// A search that has not begun; `tree` is what is known of a Merkle torrent's.
    pub(crate) fn new(info: &'a Info, tree: Option<HashTree>) -> PieceSearch<'a> {
        let found = match tree {
            Some(_) => vec![None; info.layout().pieces() as usize],
            None => Vec::new(),
        };
        PieceSearch { info, tree, found }
    }

    /// Those of `pieces` whose hashes are known, so that others can be told them.
    pub(crate) fn provable(&self, pieces: &Bitfield) -> Bitfield {
        let Some(tree) = &self.tree else { return pieces.clone() };
        let mut provable = Bitfield::empty(pieces.pieces());
        let known = tree.known_pieces();
        pieces.iter().filter(|piece| known.contains(*piece)).for_each(|piece| {
            provable.insert(piece);
        });
        provable
    }

    /// Whether each of `pieces` is there and right, as far as one can tell yet.
    pub(crate) fn look<D: Disk>(
        &mut self,
        pieces: &[u32],
        storage: &Storage<D>,
    ) -> Vec<io::Result<bool>> {
        let held_against = |(&piece, found): (&u32, io::Result<Option<[u8; 20]>>)| {
            let found = found?;
            let known = self.tree.as_ref().map(|tree| tree.piece_hash(piece));
            match known.unwrap_or(self.info.piece_hash(piece)) {
                Some(expected) => Ok(storage.is_right(piece, found, &expected)),
                None => {
                    self.found[piece as usize] = found;
                    Ok(false)
                }
            }
        };
        pieces.iter().zip(storage.hash_pieces(pieces)).map(held_against).collect()
    }

    /// What is known of the tree after every piece was looked at, and the pieces that
    /// proved right only with all the others.
    pub(crate) fn end<D: Disk>(self, storage: &Storage<D>) -> (Vec<u32>, Option<HashTree>) {
        let Some(tree) = self.tree else { return (Vec::new(), None) };
        let pieces = 0..self.info.layout().pieces();
        let hash = |piece: u32| tree.piece_hash(piece).or(self.found[piece as usize]);
        let whole = pieces.clone().map(hash).collect::<Option<Vec<_>>>();
        match whole.map(|hashes| HashTree::from_pieces(&hashes)) {
            Some(whole) if whole.root() == tree.root() && whole != tree => {
                // A piece whose hash was known has been held against that.
                let proven = pieces.filter(|piece| self.found[*piece as usize].is_some());
                let proven: Vec<u32> = proven.collect();
                proven.iter().for_each(|piece| storage.mark_unsynced(*piece));
                (proven, Some(whole))
            }
            _ => (Vec::new(), Some(tree)),
        }
    }
}

#[cfg(test)]
mod tests {
    use reseed_protocol::{
        Metainfo,
        metainfo::{Content, Draft},
    };

    use super::*;
    use crate::MemoryDisk;

    const CONTENT: &[u8] = b"abcdefghijklmn";

    /// Four pieces, of which the last is short; those in `there` are on the disk.
    fn merkle(there: &[u32]) -> (Info, InfoHash, Storage<MemoryDisk>) {
        let draft = Draft {
            name: "t".into(),
            piece_length: 4,
            private: false,
            merkle: true,
            live: None,
            torrent_keys: Vec::new(),
            announce: None,
            content: Content::File { length: CONTENT.len() as u64 },
        };
        let (Metainfo { info, info_hash, .. }, _) = Metainfo::create(&draft, CONTENT).unwrap();
        let files = vec![("t".into(), CONTENT.len() as u64)];
        let storage = Storage::new(MemoryDisk::new(999), files, info.layout());
        for &piece in there {
            storage.write_block(piece, 0, bytes(piece)).unwrap();
        }
        (info, info_hash, storage)
    }

    fn bytes(piece: u32) -> &'static [u8] {
        let start = piece as usize * 4;
        &CONTENT[start..(start + 4).min(CONTENT.len())]
    }

    fn search(
        info: &Info,
        storage: &Storage<MemoryDisk>,
        tree: Option<HashTree>,
    ) -> (Vec<u32>, Vec<u32>, HashTree) {
        let mut search = PieceSearch::new(info, tree);
        let looked = search.look(&[0, 1, 2, 3], storage);
        let good = (0..).zip(looked).filter(|(_, good)| *good.as_ref().unwrap());
        let good = good.map(|(piece, _)| piece).collect();
        let (proven, tree) = search.end(storage);
        (good, proven, tree.expect("it is a Merkle torrent"))
    }

    #[test]
    fn a_seed_needs_nothing_but_the_whole_content() {
        let (info, info_hash, storage) = merkle(&[0, 1, 2, 3]);
        let tree = kept_tree(&info, info_hash, storage.disk());
        let (good, proven, tree) = search(&info, &storage, tree);
        assert_eq!((good, proven), (vec![], vec![0, 1, 2, 3]));
        assert!((0..4).all(|piece| tree.piece_hash(piece).is_some()));
    }

    #[test]
    fn content_that_is_wrong_anywhere_or_lacks_anything_proves_nothing() {
        for there in [&[0, 1, 2][..], &[]] {
            let (info, info_hash, storage) = merkle(there);
            let tree = kept_tree(&info, info_hash, storage.disk());
            let (good, proven, _) = search(&info, &storage, tree);
            assert!(good.is_empty() && proven.is_empty());
        }
        let (info, info_hash, storage) = merkle(&[0, 1, 2, 3]);
        storage.write_block(2, 1, b"!").unwrap();
        let tree = kept_tree(&info, info_hash, storage.disk());
        let (good, proven, tree) = search(&info, &storage, tree);
        assert!(good.is_empty() && proven.is_empty());
        assert_eq!(tree.known_pieces().count(), 0);
    }

    #[test]
    fn a_tree_that_is_kept_lets_a_part_be_found_again() {
        let (info, info_hash, storage) = merkle(&[0, 1, 2, 3]);
        let tree = kept_tree(&info, info_hash, storage.disk());
        let (_, _, whole) = search(&info, &storage, tree);
        let mut part = HashTree::from_root(whole.root(), 4);
        part.learn(2, &whole.proof(2).unwrap()).unwrap();

        let (info, info_hash, storage) = merkle(&[0, 2]);
        keep_tree(&part, info_hash, storage.disk()).unwrap();
        let kept = kept_tree(&info, info_hash, storage.disk());
        assert_eq!(kept.as_ref(), Some(&part));
        let provable = PieceSearch::new(&info, kept.clone()).provable(&Bitfield::full(4));
        assert_eq!(provable.iter().collect::<Vec<_>>(), [2, 3], "brothers are learnt together");
        let (good, proven, _) = search(&info, &storage, kept);
        assert_eq!((good, proven), (vec![2], vec![]));
    }

    #[test]
    fn a_wrong_piece_whose_hash_is_known_is_not_proven_by_the_others() {
        let (info, info_hash, storage) = merkle(&[0, 1, 2, 3]);
        let tree = kept_tree(&info, info_hash, storage.disk());
        let (_, _, whole) = search(&info, &storage, tree);
        let mut part = HashTree::from_root(whole.root(), 4);
        part.learn(2, &whole.proof(2).unwrap()).unwrap();
        storage.write_block(2, 1, b"!").unwrap();
        let (good, proven, tree) = search(&info, &storage, Some(part));
        assert_eq!((good, proven), (vec![3], vec![0, 1]));
        assert_eq!(tree, whole);
    }

    #[test]
    fn a_kept_tree_that_is_damaged_is_done_without() {
        let (info, info_hash, storage) = merkle(&[]);
        for bytes in [&b"x"[..], &[0; 999]] {
            storage.disk().replace(&hashes_path(info_hash), bytes).unwrap();
            let tree = kept_tree(&info, info_hash, storage.disk());
            assert_eq!(tree, Some(HashTree::from_root(info.root_hash().unwrap(), 4)));
        }
    }
}
