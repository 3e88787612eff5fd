//! What is shared, spelled out.

use std::{collections::BTreeSet, iter};

use reseed_protocol::{
    HashTree,
    live::{Ring, SEAL_LENGTH},
};
use reseed_sim::plan::{FilePlan, TorrentPlan};

use super::{
    Draw, File, Flag, Place, Problem, ScenarioError, Torrent,
    plan::{Dice, at_most},
};

/// Bytes of content (4 GiB): a run holds all of it in memory.
const LENGTH_MAX: u64 = 1 << 32;
/// Pieces (count): every peer has a bit for each, and one for each of everybody
/// that it knows.
const PIECES_MAX: u64 = 1 << 20;
/// Files that a content is cut into (count).
const FILES_MAX: f64 = 1_000.0;
/// Pieces that a live stream makes (count): each costs a signature, and memory.
const LIVE_MAX: u64 = 1 << 16;
const _: () = assert!(PIECES_MAX <= HashTree::PIECES_MAX as u64, "each may be a Merkle torrent");

impl From<TorrentPlan> for Torrent {
    /// A torrent that is already there, such as one from a `.torrent` file.
    fn from(torrent: TorrentPlan) -> Torrent {
        let file = |file: FilePlan| File { path: file.path, length: Draw::Fixed(file.length) };
        Torrent {
            name: torrent.name,
            piece_length: Draw::Fixed(torrent.piece_length),
            private: Flag::Fixed(torrent.private),
            merkle: Flag::Fixed(torrent.merkle),
            bitrate: torrent.bitrate.map(Draw::Fixed),
            live: torrent.live.map(Draw::Fixed),
            closed: Flag::Fixed(torrent.closed),
            length: None,
            file_count: None,
            files: Some(torrent.files.into_iter().map(file).collect()),
        }
    }
}

pub(super) fn plan(torrent: &Torrent, dice: Dice<'_>) -> Result<TorrentPlan, ScenarioError> {
    let place = Place::root().field("torrent");
    let at = |field| place.clone().field(field);
    check_path(&torrent.name, at("name"))?;
    if torrent.name.contains('/') {
        return Err(at("name").problem(Problem::Path { path: torrent.name.clone() }));
    }
    let piece_length = dice.some(torrent.piece_length, "bytes a piece", at("piece_length"))?;
    let live = dice.some_if(torrent.live, "pieces that are made", at("live"))?;
    let files = match (torrent.length, torrent.file_count, &torrent.files) {
        (Some(length), None, None) => {
            let drawn = dice.some(length, "bytes", at("length"))?;
            let over = match (live, length) {
                (None, _) | (_, Draw::Fixed(_)) => 0,
                (Some(_), _) => drawn % u64::from(piece_length),
            };
            vec![FilePlan { path: torrent.name.clone(), length: drawn - over }]
        }
        (Some(length), Some(count), None) => {
            let length = dice.some(length, "bytes", at("length"))?;
            let count = dice.some(count, "files", at("file_count"))?;
            at_most(count.into(), FILES_MAX, "files", at("file_count"))?;
            cut(length, count, at("file_count"), dice)
        }
        (None, None, Some(files)) => plan_files(files, at("files"), dice)?,
        _ => return Err(place.problem(Problem::LengthOrFiles)),
    };
    let whole = if torrent.files.is_some() { at("files") } else { at("length") };
    let length = files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.length));
    at_most(length as f64, LENGTH_MAX as f64, "bytes", whole.clone())?;
    if length == 0 {
        return Err(whole.problem(Problem::Zero { what: "bytes" }));
    }
    let pieces = length.div_ceil(piece_length.into());
    at_most(pieces as f64, PIECES_MAX as f64, "pieces", at("piece_length"))?;
    let closed = dice.flag(torrent.closed, &at("closed"));
    let private = dice.flag(torrent.private, &at("private"));
    let merkle = dice.flag(torrent.merkle, &at("merkle"));
    let bitrate = dice.some_if(torrent.bitrate, "bytes a second", at("bitrate"))?;
    let torrent = TorrentPlan {
        name: torrent.name.clone(),
        piece_length,
        private,
        merkle,
        bitrate,
        live,
        closed,
        files,
    };
    check_live(&torrent, at("live"))?;
    Ok(torrent)
}

/// Holds a live stream to what can be shared.
fn check_live(torrent: &TorrentPlan, place: Place) -> Result<(), ScenarioError> {
    let Some(made) = torrent.live else { return Ok(()) };
    at_most(made as f64, LIVE_MAX as f64, "pieces that are made", place.clone())?;
    let wrong =
        |what: String, expected| Err(place.clone().problem(Problem::Live { what, expected }));
    let length: u64 = torrent.files.iter().map(|file| file.length).sum();
    let piece_length = u64::from(torrent.piece_length);
    if torrent.merkle || torrent.files.len() > 1 {
        let what = "a live stream in a Merkle torrent or a folder".to_owned();
        return wrong(what, "a single file in an ordinary torrent");
    }
    if torrent.bitrate.is_none() {
        return wrong("a live stream without a `bitrate`".to_owned(), "how fast it plays");
    }
    let pieces = length / piece_length;
    let goes_round = length.is_multiple_of(piece_length) && pieces >= Ring::PIECES_MIN.into();
    if !goes_round || piece_length <= SEAL_LENGTH as u64 {
        let what = format!("a live stream that goes round {length} bytes, {piece_length} a piece");
        return wrong(what, "at least 32 pieces of one length, of more than 72 bytes");
    }
    Ok(())
}

/// This many files of `length` bytes together, each of which ends at a drawn place.
fn cut(length: u64, count: u32, place: Place, dice: Dice<'_>) -> Vec<FilePlan> {
    let anywhere = Draw::Range { from: 0, to: length };
    let mut ends: Vec<u64> = (1..count as usize)
        .map(|index| dice.number(anywhere, &place.clone().index(index)))
        .collect();
    ends.sort_unstable();
    ends.push(length);
    let begins = iter::once(0).chain(ends.clone());
    let file =
        |(number, (begin, end))| FilePlan { path: format!("{number}.bin"), length: end - begin };
    (1..).zip(begins.zip(ends)).map(file).collect()
}

fn plan_files(
    files: &[File],
    place: Place,
    dice: Dice<'_>,
) -> Result<Vec<FilePlan>, ScenarioError> {
    let mut taken = BTreeSet::new();
    let mut folders = BTreeSet::new();
    let mut plans = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let place = place.clone().index(index);
        check_path(&file.path, place.clone().field("path"))?;
        let parents = || file.path.match_indices('/').map(|(at, _)| &file.path[..at]);
        let clashes = folders.contains(file.path.as_str())
            || parents().any(|folder| taken.contains(folder))
            || !taken.insert(file.path.as_str());
        if clashes {
            let path = file.path.clone();
            return Err(place.field("path").problem(Problem::PathTaken { path }));
        }
        folders.extend(parents());
        let subject = format!("file {}", file.path);
        let length = dice.of(&subject).number(file.length, &place.field("length"));
        plans.push(FilePlan { path: file.path.clone(), length });
    }
    Ok(plans)
}

/// Holds a path to names below its folder.
fn check_path(path: &str, place: Place) -> Result<(), ScenarioError> {
    let is_name = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0']);
    if path.split('/').all(is_name) {
        return Ok(());
    }
    Err(place.problem(Problem::Path { path: path.to_owned() }))
}
