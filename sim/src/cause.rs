//! Why a run failed, in words that two runs have in common.

use std::fmt;

use crate::{Failure, Plan, oracle::Code};

/// An oracle, and what it found, without whatever differs from run to run: names,
/// numbers, lists. Runs with the same cause most likely show the same bug.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cause {
    /// The oracle that failed.
    pub oracle: Code,
    /// What it found, up to the first semicolon of its evidence.
    pub words: String,
}

/// Letters of a cause at most (count): after that it says less of why than of where.
const WORDS_MAX: usize = 160;

impl Cause {
    /// That of `failure`, in a run of `plan`.
    pub fn of(failure: &Failure, plan: &Plan) -> Cause {
        Cause { oracle: failure.oracle, words: Cause::words_of(&failure.evidence, plan) }
    }

    /// The same of other words that are said of a run of `plan`.
    pub fn words_of(text: &str, plan: &Plan) -> String {
        let first = text.lines().next().unwrap_or_default();
        let first = first.split("; ").next().unwrap_or_default();
        let names = plan.peers.iter().map(|peer| peer.name.as_str());
        plain(first, &names.collect::<Vec<_>>()).chars().take(WORDS_MAX).collect()
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.oracle, self.words)
    }
}

/// `text` with `NAME` for each of `names`, and `N` for whatever has a digit in it, and
/// for lists of those.
fn plain(text: &str, names: &[&str]) -> String {
    let mut out = String::new();
    for token in tokens(text) {
        let word = match token {
            _ if names.contains(&token) => "NAME",
            _ if token.chars().any(|letter| letter.is_ascii_digit()) => "N",
            _ => token,
        };
        out.push_str(word);
    }
    while let Some(shorter) = ["N, N", "N N", "N:N", "N+N"]
        .iter()
        .find_map(|list| out.contains(list).then(|| out.replacen(list, "N", 1)))
    {
        out = shorter;
    }
    out
}

/// `text` cut into words and what is between them. A name may have a hyphen in it, a
/// number a point.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let is_word = |letter: char| letter.is_alphanumeric() || "-_.#".contains(letter);
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end = rest.find(|letter| is_word(letter) != is_word(first)).unwrap_or(rest.len());
        let (token, after) = rest.split_at(end);
        rest = after;
        Some(token)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_no_part_of_a_cause() {
        let plain = |text| plain(text, &["seed", "leecher-1"]);
        let one = plain("leecher-1 has 14 of 17 pieces after 600.000000 s, it lacks 3, 9, 13");
        assert_eq!(one, "NAME has N of N pieces after N s, it lacks N");
        assert_eq!(plain("seed: #3 to 10.0.0.2:6881 is late"), "NAME: N to N is late");
        assert_eq!(plain("reseeding goes on"), "reseeding goes on");
    }
}
