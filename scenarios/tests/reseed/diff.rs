//! Where two runs part.

use std::{fs, path::Path, process::Output};

use crate::command;

fn reseed(folder: &Path, arguments: &[&str]) -> (String, Option<i32>) {
    let Output { status, stdout, stderr } =
        command(arguments).current_dir(folder).output().unwrap();
    let text = String::from_utf8(stdout).unwrap() + &String::from_utf8_lossy(&stderr);
    (text, status.code())
}

#[test]
fn a_run_does_not_differ_from_itself_in_any_event_of_its_digest() {
    let folder = tempfile::tempdir().unwrap();
    let (text, exit) = reseed(folder.path(), &["diff", "two-peers@1", "two-peers@1"]);
    let (run, _) = reseed(folder.path(), &["run", "two-peers", "--seed", "1", "--json"]);
    let run: serde_json::Value = serde_json::from_str(&run).unwrap();
    assert_eq!(exit, Some(0));
    assert_eq!(text, format!("no difference in {} events\n", run["events"]));
}

#[test]
fn what_breaks_determinism_is_found_at_its_first_event() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let replay = ["replay", "two-peers", "--seed", "1", "--trace", "then.trace", "--out", "then"];
    assert_eq!(reseed(folder.path(), &replay).1, Some(0));
    let (text, exit) = reseed(folder.path(), &["diff", "then.trace", "two-peers@1"]);
    assert_eq!(exit, Some(0), "{text}");
    // As if an event had come of something that no seed knows.
    let trace = fs::read_to_string(at("then.trace")).unwrap();
    let mut events: Vec<&str> = trace.lines().collect();
    events[101] = "0.123456 something that no seed knows";
    fs::write(at("now.trace"), events.join("\n")).unwrap();
    let (text, exit) = reseed(folder.path(), &["diff", "then.trace", "now.trace"]);
    assert_eq!(exit, Some(1));
    assert!(text.starts_with("100 events in common\n"), "{text}");
    assert!(text.contains("something that no seed knows") && text.contains(events[100]), "{text}");
    // A link that is a microsecond longer is not seen before somebody sends.
    let plan = fs::read_to_string(at("then/plan.toml")).unwrap();
    let longer = plan.replacen("latency_us = 20000", "latency_us = 20001", 1);
    assert_ne!(plan, longer);
    fs::write(at("longer.toml"), longer).unwrap();
    let (text, exit) = reseed(folder.path(), &["diff", "then/plan.toml", "longer.toml"]);
    assert_eq!(exit, Some(1));
    let common: u64 = text.split(' ').next().unwrap().parse().unwrap();
    assert!(common > 0 && text.contains("Delivered"), "{text}");
}

#[test]
fn what_is_no_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (["diff", "two-peers", "two-peers@1"], "a scenario needs a seed"),
        (["diff", "two-peers@x", "two-peers@1"], "\"x\" is no seed"),
        (["diff", "nobody@1", "two-peers@1"], "there is no scenario"),
        (["diff", "nothing.trace/", "two-peers@1"], "cannot read"),
    ] {
        let (text, exit) = reseed(folder.path(), &arguments);
        assert_eq!(exit, Some(2), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}
