//! What the README shows of runs is what the command prints.

use std::fs;

use crate::command;

const README: &str = include_str!("../../../README.md");

/// Its blocks in one language.
fn blocks(language: &str) -> impl Iterator<Item = &'static str> {
    let fence = format!("```{language}\n");
    let after: Vec<&str> = README.split(&fence).skip(1).collect();
    after.into_iter().map(|rest| rest.split_once("```").unwrap().0)
}

/// The commands that it shows, each with the lines below it.
fn shown() -> Vec<(Vec<&'static str>, Vec<&'static str>)> {
    let mut shown = Vec::new();
    for line in blocks("text").flat_map(str::lines) {
        let of_reseed = |typed: &'static str| {
            let arguments = typed.strip_prefix("cargo run --release -- ");
            arguments.or_else(|| typed.strip_prefix("reseed ")).unwrap().split(' ').collect()
        };
        match line.strip_prefix("$ ") {
            Some(typed) => shown.push((of_reseed(typed), Vec::new())),
            None => shown.last_mut().unwrap().1.push(line),
        }
    }
    shown
}

/// How long a run really took is another each time.
fn timeless(line: &str) -> String {
    const TOOK: &str = " of virtual time in ";
    match line.split_once(TOOK).and_then(|(run, took)| Some((run, took.split_once(" s, ")?))) {
        Some((run, (_, counts))) => format!("{run}{TOOK}{counts}"),
        None => line.to_owned(),
    }
}

/// Whether `line` may be what is shown, where `…` stands for anything.
fn is_shown(shown: &str, line: &str) -> bool {
    let (shown, line) = (timeless(shown), timeless(line));
    let mut parts = shown.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap()) else { return false };
    let parts: Vec<&str> = parts.collect();
    for part in &parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.is_empty() || parts.last().is_some_and(|last| last.is_empty())
}

#[test]
fn runs_print_what_the_readme_shows_of_them() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("dark.toml"), blocks("toml").next().unwrap()).unwrap();
    let mut held = 0;
    for (arguments, lines) in shown() {
        // A hunt takes too long, and files of others are not there.
        let is_run = matches!(arguments[0], "run" | "replay");
        if !is_run || lines.is_empty() || arguments.contains(&"--torrent") {
            continue;
        }
        let output = command(&arguments).current_dir(folder.path()).output().unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        let mut printed = output.lines();
        for line in lines.into_iter().filter(|line| line.trim() != "…") {
            let found = printed.any(|it| is_shown(line, it));
            assert!(found, "{arguments:?} prints no {line:?}, or not there:\n{output}");
            held += 1;
        }
    }
    assert!(held > 20, "{held} lines");
}

#[test]
fn three_dots_stand_for_anything() {
    assert!(is_shown("a…c", "abc") && is_shown("a…", "abc") && is_shown("abc", "abc"));
    assert!(!is_shown("a…b", "abc") && !is_shown("ab", "abc") && !is_shown("b…", "abc"));
    let took = |took: &str| format!("1.5 s of virtual time in {took} s, 9 events");
    assert!(is_shown(&took("0.1"), &took("2.75")));
}
