//! What a scenario may not say.

use std::fmt;

use crate::nearest::did_you_mean;

/// A scenario that makes no plan: what is wrong, and where.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ScenarioError {
    /// Where in the scenario.
    pub place: Place,
    /// What is wrong there.
    pub problem: Problem,
}

/// A place in a scenario, shown as `peers[2].knows[0]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place(Vec<Step>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Field(&'static str),
    Index(usize),
}

/// What a scenario may not say.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A name that cannot stand in a transcript.
    #[error("{name:?} is no name, expected letters, digits, `-` and `_`")]
    Name {
        /// The name.
        name: String,
    },
    /// A name that belongs to something else.
    #[error("the name `{name}` is taken, expected another one")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// A peer that is not there.
    #[error("there is no peer `{name}`{}", did_you_mean(nearest))]
    NoSuchPeer {
        /// What it was called.
        name: String,
        /// What may have been meant.
        nearest: Option<String>,
    },
    /// A group where one peer is needed.
    #[error("`{name}` is a group of {count}, expected one peer of it, such as `{name}-1`")]
    Group {
        /// Its name.
        name: String,
        /// Peers in it.
        count: usize,
    },
    /// An event that is not there.
    #[error("there is no event `{name}`{}", did_you_mean(nearest))]
    NoSuchEvent {
        /// What it was called.
        name: String,
        /// What may have been meant.
        nearest: Option<String>,
    },
    /// Events that wait for each other.
    #[error("this event waits for itself: {}", cycle.join(" after "))]
    Cycle {
        /// The names on the way round.
        cycle: Vec<String>,
    },
    /// Something that is missing, or zero.
    #[error("zero {what}, expected at least one")]
    Zero {
        /// Of what.
        what: &'static str,
    },
    /// More than a run can hold.
    #[error("{got} {what}, expected at most {most}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much.
        got: f64,
        /// How much there may be.
        most: f64,
    },
    /// A piece that is not there.
    #[error("there is no piece {piece}, the last of {pieces} is {}", pieces - 1)]
    NoSuchPiece {
        /// Its index.
        piece: u32,
        /// Pieces of the torrent.
        pieces: u32,
    },
    /// A torrent with both or neither of `length` and `files`.
    #[error("a torrent takes either `length` or `files`")]
    LengthOrFiles,
    /// An amount with both or neither of `pieces` and `share`.
    #[error("`verified` takes either `pieces` or `share`")]
    PiecesOrShare,
    /// A path that does not stay below its folder, or is no path.
    #[error(
        "{path:?} is no path of a file, expected names joined by `/`, none of them `.` or `..`"
    )]
    Path {
        /// The path.
        path: String,
    },
    /// A path that is the path of another file, or of a folder.
    #[error("the path {path:?} is taken by another file")]
    PathTaken {
        /// The path.
        path: String,
    },
    /// An announce without anybody to hear it.
    #[error("there is no tracker to announce to, expected a [tracker] table")]
    NoTracker,
    /// Options on one axis with different numbers of values.
    #[error("on axis {axis} there are {} values, and {} elsewhere", lengths[0], lengths[1])]
    AxisLengths {
        /// Its number.
        axis: u64,
        /// Values (count).
        lengths: [u64; 2],
    },
    /// Something is to be played, and nothing says how fast.
    #[error("only what has a bitrate can be streamed, expected a `bitrate` in [torrent]")]
    NoBitrate,
    /// A live stream that cannot be.
    #[error("{what}, expected {expected}")]
    Live {
        /// What is wrong with it.
        what: String,
        /// What could be.
        expected: &'static str,
    },
    /// Something that there is not in a live stream.
    #[error("{what}; expected none of it in a live stream")]
    NotLive {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A live stream that nobody makes, or several do (count).
    #[error("{0} peers have `everything`, expected one: the source of the live stream")]
    Sources(usize),
    /// A queue at a link that is never busy.
    #[error("a queue needs a `bandwidth`: a link without one is never busy")]
    QueueWithoutBandwidth,
}

impl Place {
    /// The whole scenario.
    pub(crate) fn root() -> Place {
        Place::default()
    }

    pub(crate) fn field(mut self, name: &'static str) -> Place {
        self.0.push(Step::Field(name));
        self
    }

    pub(crate) fn index(mut self, index: usize) -> Place {
        self.0.push(Step::Index(index));
        self
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The fields behind the last index: `peers[2].link.latency_ms` is
    /// `link.latency_ms` of that peer.
    pub(crate) fn within_subject(&self) -> Place {
        let is_index = |step: &Step| matches!(step, Step::Index(_));
        let start = self.0.iter().rposition(is_index).map_or(0, |at| at + 1);
        Place(self.0[start..].to_vec())
    }

    pub(crate) fn problem(self, problem: Problem) -> ScenarioError {
        ScenarioError { place: self, problem }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if at == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}
