//! What a download finds on its disk of an earlier one.

use std::path::Path;

use reseed_client::{Disk, MemoryDisk, ResumeData, Storage};
use reseed_protocol::{Bitfield, HashTree, InfoHash, Layout};
use sha1::{Digest, Sha1};

const HASH: InfoHash = InfoHash([0xab; 20]);
const PIECES: u32 = 5;

/// The first byte says what follows: resume data, its JSON under a right checksum, or a
/// Merkle torrent's kept hashes. What is believed is of this torrent, claims nothing
/// that the files lack, and is the same when it is saved and loaded again.
pub fn run(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    match kind % 3 {
        0 => resume(rest),
        1 => {
            let sum: String = Sha1::digest(rest).iter().map(|byte| format!("{byte:02x}")).collect();
            resume(&[b"reseed resume 1 ", sum.as_bytes(), b"\n", rest].concat());
        }
        _ => hashes(rest),
    }
}

fn path() -> &'static Path {
    Path::new("resume")
}

/// Two files, of which one is there and holds the first three pieces.
fn storage() -> Storage<MemoryDisk> {
    let disk = MemoryDisk::new(1 << 20);
    let files = vec![("a".into(), 12), ("b".into(), 8)];
    let storage = Storage::new(disk.clone(), files, Layout::new(4, 20));
    disk.write_at(Path::new("a"), 0, b"twelve bytes").expect("there is room");
    storage
}

fn resume(bytes: &[u8]) {
    let storage = storage();
    let disk = MemoryDisk::new(1 << 20);
    disk.replace(path(), bytes).expect("there is room");
    let Ok(found) = ResumeData::load(&storage, HASH, &disk, path()) else { return };
    let found = found.expect("it is there");
    assert_eq!((found.info_hash, found.verified.pieces()), (HASH, PIECES));
    assert!(found.verified.iter().all(|piece| piece < 3), "nothing is claimed that is not there");
    found.save(&storage, &disk, path()).expect("there is room");
    let again = ResumeData::load(&storage, HASH, &disk, path()).expect("it was just saved");
    assert_eq!(again, Some(found));
}

fn leaf(piece: u32) -> [u8; 20] {
    [piece as u8 + 1; 20]
}

fn tree() -> HashTree {
    HashTree::from_pieces(&(0..PIECES).map(leaf).collect::<Vec<_>>())
}

fn hashes(bytes: &[u8]) {
    let Ok(kept) = HashTree::from_bytes(tree().root(), PIECES, bytes) else { return };
    for piece in 0..PIECES {
        let hash = kept.piece_hash(piece);
        assert!(hash.is_none_or(|hash| hash == leaf(piece)), "what is known is true");
    }
    let again = HashTree::from_bytes(tree().root(), PIECES, &kept.to_bytes());
    let again = again.expect("it was just written");
    assert_eq!(again.known_pieces().to_wire(), kept.known_pieces().to_wire());
}

/// What was saved.
pub fn seeds() -> Vec<Vec<u8>> {
    let storage = storage();
    let disk = MemoryDisk::new(1 << 20);
    let mut verified = Bitfield::empty(PIECES);
    verified.insert(0);
    verified.insert(2);
    let data = ResumeData { info_hash: HASH, verified, uploaded: 7, downloaded: 12 };
    data.save(&storage, &disk, path()).expect("there is room");
    let saved = disk.read(path(), 1 << 20).expect("it can be read").expect("it was just saved");
    let json = saved.iter().position(|byte| *byte == b'\n').expect("a line comes first") + 1;
    vec![
        [&[0][..], &saved].concat(),
        [&[1][..], &saved[json..]].concat(),
        [&[2][..], &tree().to_bytes()].concat(),
    ]
}
