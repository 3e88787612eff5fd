use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha1::{Digest, Sha1};

use super::*;
use crate::{BencodeError, extension::closed_swarm::PrivateKey};

/// A .torrent file of one file of `length` bytes, with `edit` made to its text.
/// `HASHES` stands for two hashes.
fn single(edit: impl Fn(String) -> String) -> Vec<u8> {
    let text = edit("d4:infod6:lengthi3e4:name1:a12:piece lengthi2e6:pieces40:HASHESee".into());
    text.replace("HASHES", &"x".repeat(40)).into_bytes()
}

fn replaced(from: &str, to: &str) -> Result<Metainfo, MetainfoError> {
    let bytes = single(|text| {
        assert!(text.contains(from));
        text.replace(from, to)
    });
    Metainfo::from_bytes(&bytes)
}

/// A .torrent file of a folder `t`, 8 bytes a piece, with one hash and these files.
fn folder(files: &str) -> Result<Metainfo, MetainfoError> {
    let hash = "x".repeat(20);
    let text = format!("d4:infod5:filesl{files}e4:name1:t12:piece lengthi8e6:pieces20:{hash}ee");
    Metainfo::from_bytes(text.as_bytes())
}

fn draft(piece_length: u32, lengths: &[u64]) -> Draft {
    Draft {
        name: "t".into(),
        piece_length,
        private: false,
        merkle: false,
        live: None,
        torrent_keys: Vec::new(),
        announce: None,
        content: Content::Folder(
            (0..).map(|index| vec![format!("{index}")]).zip(lengths.iter().copied()).collect(),
        ),
    }
}

fn sha1(bytes: &[u8]) -> [u8; 20] {
    Sha1::digest(bytes).into()
}

#[test]
fn a_single_file_torrent_reads_as_bep_3_says() {
    let metainfo = Metainfo::from_bytes(&single(|text| text)).unwrap();
    assert_eq!(metainfo.announce, None);
    let info = &metainfo.info;
    assert_eq!(info.name(), "a");
    assert!(!info.is_private() && !info.is_multi_file());
    assert_eq!(info.layout(), crate::Layout::new(2, 3));
    assert_eq!(info.piece_hash(1), Some([b'x'; 20]));
    assert_eq!(info.root_hash(), None);
    let file = File { path: vec!["a".into()], length: 3, offset: 0 };
    assert_eq!(info.files(), [file]);
}

#[test]
fn the_info_hash_is_taken_over_the_raw_bytes_with_keys_that_are_not_known() {
    let bytes = single(|text| text.replace("ee", "7:unknownld1:xi1eeeee"));
    let metainfo = Metainfo::from_bytes(&bytes).unwrap();
    let raw = &bytes["d4:info".len()..bytes.len() - 1];
    assert_eq!(metainfo.info_hash.0, sha1(raw));
    assert_eq!(metainfo.info.raw().as_ref(), raw);
    assert_eq!(Info::from_bytes(raw).as_ref(), Ok(&metainfo.info));
}

#[test]
fn the_outer_keys_are_read() {
    let bytes = single(|text| {
        let outer = "d8:announce10:http://a/b13:announce-listll1:a1:bel1:cee\
                     7:comment2:\u{e9}10:created by1:z4:info";
        text.replace("d4:info", outer)
    });
    let metainfo = Metainfo::from_bytes(&bytes).unwrap();
    assert_eq!(metainfo.announce.as_deref(), Some("http://a/b"));
    assert_eq!(metainfo.announce_list, [vec!["a", "b"], vec!["c"]]);
    assert_eq!(metainfo.comment.as_deref(), Some("\u{e9}"));
    assert_eq!(metainfo.created_by.as_deref(), Some("z"));
}

#[test]
fn private_is_one_or_zero_and_nothing_else() {
    let private = |flag: &str| {
        let bytes = single(|text| text.replace("HASHES", &format!("HASHES7:private{flag}")));
        Metainfo::from_bytes(&bytes).map(|metainfo| metainfo.info.is_private())
    };
    assert_eq!(private("i1e"), Ok(true));
    assert_eq!(private("i0e"), Ok(false));
    assert!(private("i2e").is_err());
    assert!(private("i-1e").is_err());
    assert!(private("1:1").is_err());
}

#[test]
fn a_folder_has_the_torrents_name_in_front_of_each_path_and_may_have_empty_files() {
    let metainfo =
        folder("d6:lengthi3e4:pathl1:a1:beed6:lengthi0e4:pathl1:ceed6:lengthi5e4:pathl1:dee");
    let info = metainfo.unwrap().info;
    assert!(info.is_multi_file());
    let files: Vec<_> =
        info.files().iter().map(|file| (file.path.join("/"), file.length, file.offset)).collect();
    assert_eq!(files, [("t/a/b".into(), 3, 0), ("t/c".into(), 0, 3), ("t/d".into(), 5, 3)]);
}

#[test]
fn impossible_numbers_are_errors_that_show_them() {
    for (from, to) in [
        ("piece lengthi2e", "piece lengthi0e"),
        ("piece lengthi2e", "piece lengthi-1e"),
        ("piece lengthi2e", "piece lengthi67108865e"),
        ("piece lengthi2e", "piece lengthi4294967298e"),
        ("piece lengthi2e", "piece lengthi99999999999999999999e"),
        ("piece lengthi2e", "piece length1:2"),
        ("lengthi3e", "lengthi-3e"),
        ("lengthi3e", "length1:3"),
        ("4:name1:a", "4:namei1e"),
        ("4:name1:a", "4:namele"),
    ] {
        let error = replaced(from, to).unwrap_err();
        assert!(
            matches!(error, MetainfoError::Bencode(BencodeError::Unexpected { .. })),
            "{to}: {error}"
        );
    }
    assert_eq!(
        replaced("piece lengthi2e", "piece lengthi-1e").unwrap_err().to_string(),
        "metainfo: `info.piece length` is -1; expected a number from 0 to 2^64-1"
    );
}

#[test]
fn there_is_content_and_a_hash_for_each_piece_of_it() {
    assert_eq!(replaced("lengthi3e", "lengthi0e"), Err(MetainfoError::Empty { files: 1 }));
    assert!(replaced("lengthi3e", "lengthi4e").is_ok());
    for (length, pieces) in [(2u64, 1), (5, 3), (2 << 32, 0)] {
        let error = replaced("lengthi3e", &format!("lengthi{length}e")).unwrap_err();
        let expected = match pieces {
            0 => MetainfoError::TooLarge { piece_length: 2 },
            _ => MetainfoError::Hashes { got: 40, pieces },
        };
        assert_eq!(error, expected);
    }
    assert_eq!(folder("d6:lengthi0e4:pathl1:aee"), Err(MetainfoError::Empty { files: 1 }));
    assert_eq!(folder(""), Err(MetainfoError::Empty { files: 0 }));
}

#[test]
fn lengths_that_overflow_together_are_an_error() {
    let files = "d6:lengthi18446744073709551615e4:pathl1:aeed6:lengthi9e4:pathl1:bee";
    assert_eq!(folder(files), Err(MetainfoError::TooLarge { piece_length: 8 }));
}

#[test]
fn a_field_that_is_missing_is_named() {
    let missing = |from, to| replaced(from, to).unwrap_err().to_string();
    assert_eq!(missing("4:name1:a", ""), "metainfo: `info.name` is missing");
    assert_eq!(missing("6:lengthi3e", ""), "metainfo: `info.length or info.files` is missing");
    assert_eq!(missing("12:piece lengthi2e", ""), "metainfo: `info.piece length` is missing");
    assert_eq!(
        missing("6:pieces40:HASHES", ""),
        "metainfo: `info.pieces or info.root hash` is missing"
    );
    assert_eq!(
        Metainfo::from_bytes(b"d8:announce1:ae").unwrap_err().to_string(),
        "metainfo: `info` is missing"
    );
}

#[test]
fn a_torrent_is_a_file_or_a_folder_but_not_both() {
    assert!(replaced("d6:length", "d5:filesld6:lengthi3e4:pathl1:beee6:length").is_err());
}

#[test]
fn dangerous_or_colliding_paths_are_refused() {
    let name = |files: &str| matches!(folder(files), Err(MetainfoError::Name { .. }));
    assert!(name("d6:lengthi8e4:pathl2:..1:aee"));
    assert!(name("d6:lengthi8e4:pathl4:/etcee"));
    assert!(name("d6:lengthi8e4:pathl1:a0:ee"));
    assert!(folder("d6:lengthi8e4:pathlee").is_err(), "no component");
    let collision = |files: &str| matches!(folder(files), Err(MetainfoError::Collision { .. }));
    assert!(collision("d6:lengthi4e4:pathl1:aeed6:lengthi4e4:pathl1:aee"));
    assert!(collision("d6:lengthi4e4:pathl1:aeed6:lengthi4e4:pathl1:a1:bee"));
    assert!(matches!(replaced("4:name1:a", "4:name2:.."), Err(MetainfoError::Name { .. })));

    let mut bytes = single(|text| text);
    let at = bytes.windows(3).position(|window| window == b"1:a").unwrap();
    bytes[at + 2] = 0xff;
    let message = Metainfo::from_bytes(&bytes).unwrap_err().to_string();
    assert_eq!(message, "metainfo: `info.name` is \"\\xff\"; expected UTF-8 text");
}

#[test]
fn a_block_across_three_files_has_three_spans() {
    let content = [7; 20];
    let (metainfo, _) = Metainfo::create(&draft(16, &[3, 0, 4, 0, 13, 0]), &content[..]).unwrap();
    let spans: Vec<_> =
        metainfo.info.spans(0, 1, 10).map(|span| (span.file, span.offset, span.length)).collect();
    assert_eq!(spans, [(0, 1, 2), (2, 0, 4), (4, 0, 4)]);
    let spans: Vec<_> = metainfo.info.spans(1, 3, 1).collect();
    assert_eq!(spans, [FileSpan { file: 4, offset: 12, length: 1 }]);
    assert_eq!(metainfo.info.spans(0, 3, 0).count(), 0);
    assert_eq!(metainfo.info.spans(0, 5, 0).count(), 0);
}

#[test]
#[should_panic(expected = "2 bytes from 3 of a piece of 4")]
fn a_span_stays_inside_its_piece() {
    let (metainfo, _) = Metainfo::create(&draft(16, &[20]), &[0; 20][..]).unwrap();
    let _ = metainfo.info.spans(1, 3, 2).count();
}

#[test]
fn a_new_torrent_has_the_bytes_that_bep_3_says() {
    let draft = Draft {
        name: "a".into(),
        piece_length: 2,
        private: true,
        merkle: false,
        live: None,
        torrent_keys: Vec::new(),
        announce: Some("http://t/".into()),
        content: Content::File { length: 3 },
    };
    let (_, bytes) = Metainfo::create(&draft, &b"xyz"[..]).unwrap();
    let expected = [
        b"d8:announce9:http://t/4:infod6:lengthi3e4:name1:a12:piece lengthi2e6:pieces40:"
            .as_slice(),
        &sha1(b"xy"),
        &sha1(b"z"),
        b"7:privatei1eee",
    ];
    assert_eq!(bytes.escape_ascii().to_string(), expected.concat().escape_ascii().to_string());
}

/// The root is that of `hash_tree`'s vectors: pieces `A`, `B`, `C`.
#[test]
fn a_merkle_torrent_has_the_root_in_place_of_the_pieces() {
    let draft = Draft {
        name: "a".into(),
        piece_length: 1,
        private: true,
        merkle: true,
        live: None,
        torrent_keys: Vec::new(),
        announce: None,
        content: Content::File { length: 3 },
    };
    let (metainfo, bytes) = Metainfo::create(&draft, &b"ABC"[..]).unwrap();
    let root = b"\xd5\xd5\xf0\x08\xb3\x36\x93\xfb\x99\xda\x20\xf4\x1a\xb7\x3c\xc8\x03\x87\x57\xf0";
    let info = [
        b"d6:lengthi3e4:name1:a12:piece lengthi1e7:privatei1e9:root hash20:".as_slice(),
        root,
        b"e",
    ]
    .concat();
    let expected = [b"d4:info".as_slice(), &info, b"e"].concat();
    assert_eq!(bytes.escape_ascii().to_string(), expected.escape_ascii().to_string());
    assert_eq!(metainfo.info_hash.0, sha1(&info));
    assert_eq!(metainfo.info.root_hash(), Some(*root));
    assert_eq!(metainfo.info.piece_hash(2), None);
}

#[test]
fn a_root_is_one_hash_and_alone() {
    let merkle = |length: u64, hash: &str| {
        let bytes = single(|text| {
            let text = text.replace("lengthi3e", &format!("lengthi{length}e"));
            text.replace("6:pieces40:HASHES", &format!("9:root hash{}:{hash}", hash.len()))
        });
        Metainfo::from_bytes(&bytes)
    };
    let hash = "x".repeat(20);
    assert_eq!(merkle(3, &hash).unwrap().info.root_hash(), Some([b'x'; 20]));
    assert_eq!(merkle(3, &hash[1..]), Err(MetainfoError::RootHash { got: 19 }));
    assert!(merkle(2 << 20, &hash).is_ok());
    let pieces = (1 << 20) + 1;
    assert_eq!(
        merkle(2 * pieces, &hash),
        Err(MetainfoError::TooManyPieces { pieces: pieces as u32 })
    );
    let both = replaced("40:HASHES", &format!("40:HASHES9:root hash20:{hash}")).unwrap_err();
    assert!(both.to_string().contains("beside `info.pieces`"), "{both}");
}

#[test]
fn content_that_ends_early_is_an_error_of_its_piece() {
    let error = Metainfo::create(&draft(16, &[3, 30]), &[0; 20][..]).unwrap_err();
    assert!(matches!(error, CreateError::Read { piece: 1, .. }), "{error}");
}

#[test]
fn a_draft_is_held_to_the_same_rules() {
    for draft in [draft(0, &[1]), draft(Info::PIECE_LENGTH_MAX + 1, &[1]), draft(1, &[0])] {
        let error = Metainfo::create(&draft, std::io::repeat(0)).unwrap_err();
        assert!(matches!(error, CreateError::Draft(_)), "{error}");
    }
}

proptest! {
    #[test]
    fn what_is_created_reads_back_and_its_spans_tile_the_content(
        piece_length in 1u32..50,
        lengths in prop::collection::vec(0u64..60, 1..8),
        one_more in 1u64..3,
        private: bool,
        announce in prop::option::of("http://[a-z/?&]{1,10}"),
        single: bool,
    ) {
        let lengths = [lengths, vec![one_more]].concat();
        let total: u64 = lengths.iter().sum();
        let content: Vec<u8> = (0..total).map(|at| (at * 31 % 251) as u8).collect();
        let mut draft = draft(piece_length, &lengths);
        draft.private = private;
        draft.announce = announce.clone();
        if single {
            draft.content = Content::File { length: total };
        }

        let (metainfo, bytes) = Metainfo::create(&draft, &content[..]).unwrap();
        prop_assert_eq!(Metainfo::from_bytes(&bytes), Ok(metainfo.clone()));
        prop_assert_eq!(metainfo.announce, announce);
        let info = metainfo.info;
        prop_assert_eq!(info.is_private(), private);
        prop_assert_eq!(info.is_multi_file(), !single);
        let mut written: Vec<Vec<u8>> = vec![Vec::new(); info.files().len()];
        let mut at = 0;
        for piece in 0..info.layout().pieces() {
            let length = info.layout().length_of(piece);
            let bytes = &content[at..at + length as usize];
            prop_assert_eq!(info.piece_hash(piece), Some(sha1(bytes)));
            for span in info.spans(piece, 0, length) {
                prop_assert_eq!(span.offset, written[span.file].len() as u64);
                prop_assert!(span.length > 0);
                written[span.file].extend(&content[at..at + span.length as usize]);
                at += span.length as usize;
            }
        }
        prop_assert_eq!(at, content.len());
        for (file, written) in info.files().iter().zip(&written) {
            prop_assert_eq!(file.length, written.len() as u64);
        }
        prop_assert_eq!(written.concat(), content);
    }

    #[test]
    fn any_bytes_are_metainfo_or_an_error(bytes: Vec<u8>) {
        let _ = Metainfo::from_bytes(&bytes);
        let _ = Info::from_bytes(&bytes);
    }

    #[test]
    fn a_damaged_torrent_is_metainfo_or_an_error(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut: prop::sample::Index,
    ) {
        let (_, mut bytes) = Metainfo::create(&draft(9, &[5, 0, 30]), &[1; 35][..]).unwrap();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = Metainfo::from_bytes(&bytes);
        prop_assert!(Metainfo::from_bytes(&bytes[..cut.index(bytes.len())]).is_err());
    }
}

/// A live torrent of so many bytes in pieces of so many, as its .torrent file.
fn live(piece_length: u32, length: u64) -> Result<(Metainfo, Vec<u8>), CreateError> {
    let source = PrivateKey::generate(&mut ChaCha8Rng::seed_from_u64(1)).public();
    let content = Content::File { length };
    let draft = Draft { live: Some(source), content, ..draft(piece_length, &[]) };
    Metainfo::create(&draft, std::io::empty())
}

#[test]
fn a_live_torrent_has_its_sources_key_in_place_of_the_pieces() {
    let (metainfo, bytes) = live(100, 3_200).unwrap();
    let info = &metainfo.info;
    let source = PrivateKey::generate(&mut ChaCha8Rng::seed_from_u64(1)).public();
    assert_eq!(
        (info.live_key(), info.piece_hash(31), info.root_hash()),
        (Some(source), None, None)
    );
    assert_eq!(Metainfo::from_bytes(&bytes).unwrap(), metainfo);
    let text = bytes.escape_ascii().to_string();
    assert!(
        text.contains("4:lived10:authmethod10:ECDSA-P2566:pubkey91:") && !text.contains("6:pieces")
    );
}

#[test]
fn a_stream_goes_round_a_grid_of_many_whole_pieces() {
    for (piece_length, length) in [(100, 3_100), (100, 3_250), (72, 72 * 32)] {
        let error = live(piece_length, length).unwrap_err().to_string();
        assert!(error.contains("expected at least 32 pieces of one length"), "{error}");
    }
    assert!(live(73, 73 * 32).is_ok());
}

#[test]
fn pieces_of_a_stream_that_are_signed_in_another_way_are_not_taken() {
    let (_, bytes) = live(100, 3_200).unwrap();
    let at = bytes.windows(10).position(|found| found == b"ECDSA-P256").unwrap();
    let other = [&bytes[..at], b"RSA-SHA256", &bytes[at + 10..]].concat();
    let error = Metainfo::from_bytes(&other).unwrap_err().to_string();
    assert!(error.contains("info.live.authmethod") && error.contains("RSA-SHA256"), "{error}");
}

#[test]
fn the_pieces_of_files_are_all_that_hold_a_byte_of_them() {
    let lengths = [5u64, 0, 11, 4, 12];
    let files = lengths.iter().enumerate().map(|(at, length)| (vec![at.to_string()], *length));
    let draft = Draft {
        name: "t".to_owned(),
        piece_length: 8,
        private: false,
        merkle: false,
        torrent_keys: Vec::new(),
        live: None,
        announce: None,
        content: Content::Folder(files.collect()),
    };
    let metainfo = Metainfo::create(&draft, &[7; 32][..]).unwrap().0;
    let pieces = |files: &[std::ops::RangeInclusive<u32>]| -> Vec<u32> {
        metainfo.info.pieces_of(files).iter().collect()
    };
    assert_eq!(pieces(&[0..=0]), [0]);
    assert_eq!(pieces(&[1..=1]), [], "an empty file");
    assert_eq!(pieces(&[2..=2]), [0, 1], "5 to 15");
    assert_eq!(pieces(&[3..=3]), [2], "16 to 19");
    assert_eq!(pieces(&[0..=1, 4..=9]), [0, 2, 3]);
}
