//! A plan that shows a failure, as a file.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use reseed_sim::{Cause, Engine, Plan, Report};

use super::folder::written;

/// Writes `plan` to `path`, with what comes of it as a comment; the file is there
/// whole, or not at all.
pub fn write(path: &Path, plan: &Plan, report: &Report, engine: Engine) -> io::Result<()> {
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let file = written(folder, &text(plan, report, engine))?;
    file.persist(path).map(drop).map_err(io::Error::from)
}

/// The folder's name of a cause: `i-done-name-has-n-of-n-pieces`.
pub fn slug(cause: &Cause) -> PathBuf {
    let mut slug = String::new();
    for letter in cause.to_string().chars() {
        match letter {
            _ if slug.len() >= SLUG_MAX => break,
            letter if letter.is_ascii_alphanumeric() => slug.push(letter.to_ascii_lowercase()),
            _ if slug.ends_with('-') || slug.is_empty() => {}
            _ => slug.push('-'),
        }
    }
    PathBuf::from(slug.trim_end_matches('-'))
}

/// Letters of a folder's name at most (count).
const SLUG_MAX: usize = 60;

fn text(plan: &Plan, report: &Report, engine: Engine) -> String {
    let mut text = String::new();
    if let Some(failure) = &report.failure {
        let _ = writeln!(text, "# {} fails at {} s on {engine}:", failure.oracle, failure.at);
        for line in failure.evidence.lines() {
            let _ = writeln!(text, "#   {line}");
        }
        text.push('\n');
    }
    text + &toml::to_string(plan).expect("a plan can be written")
}
