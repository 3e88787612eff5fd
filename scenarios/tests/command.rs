//! The command as a shell sees it: what it prints where, and its exit status.

use std::{
    fs,
    process::{Command, Output},
};

fn reseed(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reseed")).args(args).env_remove("RUST_LOG").output().unwrap()
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
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let _bound = settings.bind_to_scope();
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
    refuses(&["replay", "swarm"], "--seed <N>");
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
