//! The search: what it finds, keeps, and goes on from.

use std::{fs, path::Path, process::Output};

use serde_json::Value;

use crate::command;

const CRASH: &str = "no-transporter-when-complete";

fn reseed(folder: &Path, arguments: &[&str]) -> Output {
    command(arguments).current_dir(folder).output().unwrap()
}

fn report(folder: &Path, arguments: &[&str]) -> (Value, Option<i32>) {
    let output = reseed(folder, &[arguments, &["--json"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    (serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{errors}")), output.status.code())
}

#[test]
fn where_nothing_is_wrong_it_finds_nothing_and_says_what_it_never_came_to() {
    let folder = tempfile::tempdir().unwrap();
    let (found, exit) = report(folder.path(), &["hunt", "two-peers", "--seeds", "1..=6"]);
    assert_eq!((exit, &found["runs"], &found["passed"]), (Some(0), &6.into(), &6.into()));
    assert_eq!(found["groups"], Value::Array(Vec::new()));
    let never = found["never_reached"].as_array().unwrap();
    assert!(never.contains(&"a peer was banned".into()), "{never:?}");
    assert!(!never.contains(&"a download was completed".into()), "{never:?}");
    assert!(!folder.path().join("failures").exists());
}

#[test]
fn what_fails_is_grouped_by_cause_and_left_in_its_smallest_form() {
    let folder = tempfile::tempdir().unwrap();
    let hunt = ["hunt", "wild", "--seeds", "1..=40", "--defect", CRASH];
    let (found, exit) = report(folder.path(), &hunt);
    assert_eq!(exit, Some(1));
    let groups = found["groups"].as_array().unwrap();
    let crash = groups.iter().find(|group| group["oracle"] == "I-INIT").unwrap();
    assert!(crash["runs"].as_u64() > Some(1), "one cause, many runs: {crash}");
    assert!(!crash["cause"].as_str().unwrap().contains("peer-"), "{crash}");
    let (failures, size) = (crash["shrunk"][0].as_str().unwrap(), &crash["shrunk"][1]);
    assert_eq!((&size[0], &size[1]), (&2.into(), &0.into()), "a complete peer and another");
    let failures = folder.path().join(failures);
    for file in ["README.md", "transcript.txt", "repro.toml"] {
        assert!(!fs::read_to_string(failures.join(file)).unwrap().is_empty(), "{file}");
    }
    let replay = reseed(&failures, &["replay", "repro.toml"]);
    assert_eq!(replay.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&replay.stdout).contains("I-INIT failed"));
}

#[test]
fn a_later_hunt_goes_on_from_what_is_kept_and_comes_to_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let hunt = |seeds, results| {
        ["hunt", "wild", "--seeds", seeds, "--defect", CRASH, "--results", results]
    };
    let (first, _) = report(folder.path(), &hunt("1..=10", "parts.sqlite"));
    assert_eq!(first["runs"], 10);
    let (both, _) = report(folder.path(), &hunt("1..=30", "parts.sqlite"));
    let (whole, _) =
        report(folder.path(), &[&hunt("1..=30", "whole.sqlite")[..], &["--jobs", "1"]].concat());
    for field in ["runs", "passed", "fired", "reached", "never_reached"] {
        assert_eq!(both[field], whole[field], "{field}");
    }
    let (told, exit) = report(folder.path(), &["hunt", "--report", "--results", "parts.sqlite"]);
    assert_eq!((exit, &told["groups"]), (Some(1), &both["groups"]));
}

#[test]
fn what_is_no_file_of_results_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (foreign, missing) = (folder.path().join("notes.txt"), "nowhere.sqlite");
    fs::write(&foreign, "not a database, but somebody's notes").unwrap();
    for arguments in [
        vec!["hunt", "two-peers", "--seeds", "1..2", "--results", "notes.txt"],
        vec!["hunt", "--report", "--results", missing],
        vec!["hunt", "nothing-of-the-kind"],
    ] {
        let output = reseed(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "not a database, but somebody's notes");
    assert!(!folder.path().join(missing).exists());
}
