//! `.torrent` files.

use std::path::{Component, Path};

use reseed_protocol::metainfo::{Info, Metainfo};

/// What is taken is a torrent: its files make up its content, none of them leads out of
/// its folder, every piece has a hash, and the info-hash is that of its bytes.
pub fn run(bytes: &[u8]) {
    let Ok(metainfo) = Metainfo::from_bytes(bytes) else { return };
    let info = &metainfo.info;
    let layout = info.layout();
    let total: u64 = info.files().iter().map(|file| file.length).sum();
    assert_eq!(total, layout.total_length());
    for file in info.files() {
        let path: std::path::PathBuf = file.path.iter().collect();
        let plain = |component| matches!(component, Component::Normal(_));
        assert!(Path::new(&path).components().all(plain), "{}", path.display());
    }
    let last = layout.pieces() - 1;
    for piece in [0, last / 2, last] {
        assert_eq!(info.piece_hash(piece).is_none(), info.root_hash().is_some());
        let length = layout.length_of(piece);
        let spans = info.spans(piece, 0, length);
        assert_eq!(spans.map(|span| u64::from(span.length)).sum::<u64>(), u64::from(length));
    }
    assert_eq!(Info::hash(info.raw()), metainfo.info_hash);
    let again = Info::from_bytes(info.raw()).expect("what was read reads again");
    assert_eq!(again.raw(), info.raw());
}

/// A file, a folder, a Merkle torrent.
pub fn seeds() -> Vec<Vec<u8>> {
    let hashes = "h".repeat(40);
    let single = format!(
        "d8:announce12:http://a/ann4:infod6:lengthi20000e4:name4:file12:piece lengthi16384e\
         6:pieces40:{hashes}7:privatei1eee"
    );
    let folder = format!(
        "d4:infod5:filesld6:lengthi10000e4:pathl1:a1:beed6:lengthi10000e4:pathl1:ceee\
         4:name6:folder12:piece lengthi16384e6:pieces40:{hashes}ee"
    );
    let merkle = "d4:infod6:lengthi20000e4:name4:file12:piece lengthi16384e\
                  9:root hash20:rrrrrrrrrrrrrrrrrrrree";
    [single, folder, merkle.to_owned()].map(String::into_bytes).into()
}
