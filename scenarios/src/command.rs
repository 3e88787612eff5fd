//! What the command does, a module for each of its verbs.

pub mod bench;
mod campaign;
pub mod create;
pub mod diff;
pub mod explain;
mod folder;
pub mod get;
pub mod hunt;
mod interrupt;
pub mod list;
mod outcome;
mod packets;
mod peer;
mod prepare;
pub mod replay;
mod repro;
pub mod run;
pub mod scrape;
pub mod seed;
mod seeds;
pub mod shrink;

use std::{io, process::ExitCode};

use reseed_sim::Verdict;

/// What the command ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Every run passed.
    Pass,
    /// A run failed.
    Fail,
    /// Nothing was run.
    BadInput,
    /// A run showed nothing, and none failed.
    Unknown,
}

/// Why the command ends early.
pub enum Stop {
    /// Results cannot be written.
    Output(io::Error),
    /// The command was asked for what cannot be done.
    BadInput(miette::Report),
}

impl Status {
    /// Both together: a failure counts more than a doubt, and that more than a
    /// pass.
    pub fn and(self, other: Status) -> Status {
        let weight = |status| match status {
            Status::Pass => 0,
            Status::Unknown => 1,
            Status::Fail => 2,
            Status::BadInput => 3,
        };
        if weight(other) > weight(self) { other } else { self }
    }
}

impl From<Verdict> for Status {
    fn from(verdict: Verdict) -> Status {
        match verdict {
            Verdict::Pass => Status::Pass,
            Verdict::Fail => Status::Fail,
            Verdict::Unknown => Status::Unknown,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> ExitCode {
        match status {
            Status::Pass => 0,
            Status::Fail => 1,
            Status::BadInput => 2,
            Status::Unknown => 3,
        }
        .into()
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Output(error)
    }
}

impl From<miette::Report> for Stop {
    fn from(report: miette::Report) -> Stop {
        Stop::BadInput(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_wins_over_a_doubt_and_that_over_a_pass() {
        use Status::{Fail, Pass, Unknown};
        for (all, expected) in [
            (vec![Pass, Unknown, Fail], Fail),
            (vec![Fail, Unknown, Pass], Fail),
            (vec![Pass, Unknown, Pass], Unknown),
            (vec![Pass, Pass], Pass),
        ] {
            assert_eq!(all.iter().copied().fold(Pass, Status::and), expected, "{all:?}");
        }
    }
}
