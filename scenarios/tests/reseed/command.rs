//! The command as a shell sees it: what it prints where, and its exit status.

use std::{fs, path::Path, process::Output};

use reseed_protocol::metainfo::{Content, Draft, Metainfo};

use crate::{command, snapshots};

fn reseed(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

/// Holds that `args` are refused: exit 2, nothing on standard output, and
/// `expected` on standard error.
fn refuses(args: &[&str], expected: &str) {
    let output = reseed(args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{args:?}");
    assert!(stderr.contains(expected), "{args:?}: {stderr}");
}

#[test]
fn the_list_is_as_reviewed() {
    let _settings = snapshots();
    for (name, args) in [("list", &["list"][..]), ("list-json", &["list", "--json"])] {
        let output = reseed(args);
        assert_eq!(output.status.code(), Some(0));
        assert!(output.stderr.is_empty());
        insta::assert_snapshot!(name, String::from_utf8(output.stdout).unwrap());
    }
}

#[test]
fn a_name_that_is_not_in_the_catalogue_is_refused_with_the_nearest_that_is() {
    refuses(&["run", "swarms"], "no scenario `swarms` in the catalogue; did you mean `swarm`?");
    refuses(&["replay", "two-pears", "--seed", "1"], "did you mean `two-peers`?");
}

#[test]
fn a_file_that_is_not_there_or_no_scenario_is_refused() {
    refuses(&["run", "nowhere/at-all.toml"], "cannot read the scenario nowhere/at-all.toml");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("typo.toml");
    fs::write(&file, "name = \"typo\"\n[torent]\nlength = 1\n").unwrap();
    refuses(&["run", file.to_str().unwrap()], "did you mean `torrent`?");
    fs::write(&file, b"name = \"\xff\"").unwrap();
    refuses(&["run", file.to_str().unwrap()], "cannot read the scenario");
}

#[test]
fn a_log_that_cannot_be_what_is_wanted_is_refused() {
    let output = command(&["run", "two-peers"]).env("RUST_LOG", "reseed=loud").output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(String::from_utf8(output.stderr).unwrap().contains("cannot read RUST_LOG"));
}

#[test]
fn one_bad_name_among_good_ones_runs_nothing() {
    refuses(&["run", "two-peers", "swarms", "--json"], "no scenario `swarms`");
}

#[test]
fn a_torrent_without_its_content_is_refused() {
    refuses(&["run", "swarm", "--torrent", "x.torrent"], "--content <PATH>");
    refuses(&["run", "swarm", "--content", "x"], "--torrent <X.torrent>");
}

#[test]
fn usage_that_is_none_is_refused() {
    refuses(&["rum"], "unrecognized subcommand 'rum'");
    refuses(&["run", "--seed", "one"], "invalid value 'one'");
    refuses(&["run", "--engine", "steam"], "there is no engine \"steam\"");
    refuses(&["replay", "swarm"], "give one, as in --seed 1");
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "as it was").unwrap();
    let below = file.join("out");
    let args = ["replay", "two-peers", "--seed", "1", "--out", below.to_str().unwrap()];
    refuses(&args, "cannot write to");
    assert_eq!(fs::read_to_string(&file).unwrap(), "as it was");
}

#[test]
fn only_runs_of_the_catalogue_are_recorded_and_only_in_a_file_of_digests() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("digests.toml");
    fs::write(&file, "no digests").unwrap();
    let file = file.to_str().unwrap();
    let args = ["replay", "two-peers", "--seed", "1", "--record", file];
    refuses(&args, "these are no recorded digests");
    assert_eq!(fs::read_to_string(file).unwrap(), "no digests");
}

/// A torrent of two files in `folder`, with its content; `change` may spoil the
/// .torrent file.
fn torrent(folder: &Path, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> [String; 2] {
    let part = |length: u64, seed: u8| -> Vec<u8> {
        (0..length).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 8) as u8 ^ seed).collect()
    };
    let (first, second) = (part(100_001, 1), part(40_000, 2));
    let draft = Draft {
        name: "music".to_owned(),
        piece_length: 20_000,
        private: false,
        merkle: false,
        live: None,
        torrent_keys: Vec::new(),
        announce: Some("http://tracker.invalid/announce".to_owned()),
        content: Content::Folder(vec![
            (vec!["a.ogg".to_owned()], first.len() as u64),
            (vec!["more".to_owned(), "b.ogg".to_owned()], second.len() as u64),
        ]),
    };
    let all = [first.as_slice(), &second].concat();
    let (_, bytes) = Metainfo::create(&draft, all.as_slice()).unwrap();
    let content = folder.join("music");
    fs::create_dir_all(content.join("more")).unwrap();
    fs::write(content.join("a.ogg"), first).unwrap();
    fs::write(content.join("more/b.ogg"), second).unwrap();
    let torrent = folder.join("music.torrent");
    fs::write(&torrent, change(bytes)).unwrap();
    [torrent, content].map(|path| path.to_str().unwrap().to_owned())
}

#[test]
fn a_real_torrent_is_shared_with_its_real_content_on_all_engines() {
    let folder = tempfile::tempdir().unwrap();
    let [torrent, content] = torrent(folder.path(), |bytes| bytes);
    for engine in ["turmoil-net", "native", "turmoil"] {
        let shared = ["--torrent", &torrent, "--content", &content, "--engine", engine, "--json"];
        let output = reseed(&[&["run", "swarm"], &shared[..]].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let record: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(record["verdict"], "pass");
        assert_eq!(record["useful_bytes"], 8 * 140_001, "eight leechers got all of it");
    }
}

#[test]
fn a_torrent_that_is_none_is_refused_with_what_is_wrong_with_it() {
    let replace = |bytes: &[u8], from: &str, to: &str| -> Vec<u8> {
        let at = bytes.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
        [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()
    };
    type Change<'a> = Box<dyn FnOnce(Vec<u8>) -> Vec<u8> + 'a>;
    let cases: [(Change<'_>, &str); 3] = [
        (Box::new(|bytes| bytes[..bytes.len() / 2].to_vec()), "is no torrent"),
        (Box::new(|bytes| replace(&bytes, "4:more5:b.ogg", "2:..5:b.ogg")), "\"..\""),
        (Box::new(|bytes| replace(&bytes, "lengthi20000e", "lengthi10000e")), "hashes"),
    ];
    for (change, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let [torrent, content] = torrent(folder.path(), change);
        refuses(&["run", "swarm", "--torrent", &torrent, "--content", &content], expected);
    }
}

#[test]
fn content_that_is_not_the_torrents_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [torrent, content] = torrent(folder.path(), |bytes| bytes);
    let args = ["replay", "swarm", "--seed", "1", "--torrent", &torrent, "--content", &content];
    let file = folder.path().join("music/a.ogg");
    let mut spoilt = fs::read(&file).unwrap();
    spoilt[25_000] ^= 1;
    fs::write(&file, &spoilt).unwrap();
    refuses(&args, "piece 1 of");
    fs::write(&file, &spoilt[1..]).unwrap();
    refuses(&args, "has 100000 bytes where the torrent says 100001");
    fs::remove_file(&file).unwrap();
    refuses(&args, "cannot read");
}

#[test]
fn a_run_prints_its_seed_and_plan_before_its_verdict() {
    let output = reseed(&["run", "two-peers", "--seed", "3"]);
    assert_eq!(output.status.code(), Some(0));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let at = |words: &str| stdout.find(words).unwrap_or_else(|| panic!("{words:?} in {stdout}"));
    assert!(at("seed 3") < at("leecher  10.0.0.2"));
    assert!(at("leecher  10.0.0.2") < at("pass  digest"));
}

#[test]
fn a_bare_command_runs_the_whole_catalogue_and_prints_a_table() {
    let output = reseed(&[]);
    assert_eq!(output.status.code(), Some(0));
    let stdout = String::from_utf8(output.stdout).unwrap();
    for entry in reseed::catalogue() {
        let mut lines = stdout.lines().filter(|line| line.starts_with(entry.name));
        assert!(lines.any(|line| line.contains("pass")), "{} in {stdout}", entry.name);
    }
}

#[test]
fn a_replay_prints_and_keeps_the_transcript() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    let output = reseed(&["replay", "two-peers", "--seed", "2", "--out", kept.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let transcript = fs::read_to_string(kept.join("transcript.txt")).unwrap();
    assert!(transcript.lines().count() > 30);
    assert!(transcript.lines().all(|line| stdout.contains(line)));
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(kept.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["verdict"], "pass");
    let plan: reseed_sim::Plan =
        toml::from_str(&fs::read_to_string(kept.join("plan.toml")).unwrap()).unwrap();
    assert_eq!(plan.seed, 2);
}

#[test]
fn the_packets_of_a_replay_are_written_as_pcapng() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.pcapng");
    let replay = ["replay", "two-peers", "--seed", "1", "--pcap", file.to_str().unwrap()];
    let output = reseed(&replay);
    assert_eq!(output.status.code(), Some(0));
    let written = fs::read(&file).unwrap();
    assert_eq!(written[..4], [0x0a, 0x0d, 0x0d, 0x0a], "a section begins");
    let says = |words: &str| written.windows(words.len()).any(|at| at == words.as_bytes());
    assert!(says("two-peers, seed 1: ") && says("pass, digest ") && says("s: leecher starts"));
    assert!(says("BitTorrent protocol"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "and nothing else");
    reseed(&replay);
    assert_eq!(fs::read(&file).unwrap(), written, "the same run has the same packets");
}

#[test]
fn packets_that_cannot_be_had_or_kept_are_refused_before_anything_runs() {
    let replay = ["replay", "two-peers", "--seed", "1", "--pcap"];
    let turmoil = ["run.pcapng", "--engine", "turmoil"];
    refuses(&[&replay[..], &turmoil].concat(), "turmoil does not show its packets");
    assert!(!Path::new("run.pcapng").exists());
    refuses(&[&replay[..], &["no/such/folder/x"]].concat(), "cannot write to no/such/folder/x");
}
