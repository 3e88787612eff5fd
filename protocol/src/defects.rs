//! Bugs that can be written back into a peer, to show that they would be found.
//!
//! Each is a few lines at the place where such a bug would be, behind
//! [`Defects::has`]. Without the cargo feature `defects` nothing can be put into
//! [`Defects`], and the compiler drops those lines.

use std::{fmt, str::FromStr};

/// Lists the defects: each variant with its name in plans, the oracle that must
/// find it, and what a peer with it does wrong.
macro_rules! defects {
    ($($variant:ident, $name:literal, $oracle:literal, $summary:literal;)*) => {
        /// A bug, and the oracle that finds it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Defect {
            $(#[doc = $summary] #[doc = concat!("Found by ", $oracle, ".")] $variant,)*
        }

        impl Defect {
            /// All of them, by name.
            pub const ALL: [Defect; [$(Defect::$variant),*].len()] = [$(Defect::$variant),*];

            const fn entry(self) -> (&'static str, &'static str, &'static str) {
                match self {
                    $(Defect::$variant => ($name, $oracle, $summary),)*
                }
            }
        }
    };
}

defects! {
    AnnounceAssertionEndsAnnounces, "announce-assertion-ends-announces", "I-TRK",
        "An answer of the tracker that comes when there are more connections than we open ourselves trips an assertion, and the next announce is never scheduled.";
    CancelKeepsRequest, "cancel-keeps-request", "I-BLK",
        "A cancelled request stays in the connection's queue.";
    ClosedSwarmInOpenSwarm, "closed-swarm-in-open-swarm", "I-ERR",
        "The closed-swarm handshake is offered and begun in an open swarm too, where the connection has no state for it; the error is caught and dropped.";
    DisconnectWakesNobody, "disconnect-wakes-nobody", "I-PROG",
        "Who leaves frees blocks that nobody else is then asked for.";
    EqualTimesUnordered, "equal-times-unordered", "I-REPORT",
        "Tasks of one time come in the order of their addresses, not in that in which they were scheduled.";
    ExitOutrunsStop, "exit-outruns-stop", "I-TRK",
        "The client exits before the stops that it queued were carried out: the tracker never hears `stopped`, and nothing is saved.";
    ExtensionHandshakeNeedsPex, "extension-handshake-needs-pex", "I-FLAG",
        "The extension handshake goes out only if peer exchange is on, and who needs what it says looks it up all the same; the exception leaves the uploads to a turn that never ends.";
    ForwardReportsUnread, "forward-reports-unread", "I-GIVE",
        "What peers that stream report to have passed on does not come to the choker.";
    GracePeriodIgnored, "grace-period-ignored", "I-TRK",
        "A shutdown waits no time at all for the last announces, whatever grace period it was given.";
    HandshakeReleasesLastPeer, "handshake-releases-last-peer", "I-CS",
        "Of several closed-swarm handshakes at once, the one that ends releases the peer that connected last, whether that has proven access or not.";
    HashFailureBlamesNobody, "hash-failure-blames-nobody", "I-BAN",
        "Who sent what of a piece is not passed on, so that a wrong hash is nobody's fault: a poisoner poisons for ever.";
    HaveBeforeCheck, "have-before-check", "I-HAVE",
        "A piece is announced before it is hashed and written.";
    HaveCountedTwice, "have-counted-twice", "I-AVAIL",
        "A remote's HAVE counts twice in the availability.";
    HaveInHostOrder, "have-in-host-order", "I-WIRE",
        "The piece of a HAVE is written and read in the machine's byte order: two such peers understand each other, and nobody else does.";
    KeepsOwnDial, "keeps-own-dial", "I-ONE",
        "Of two connections to one peer each end keeps the one that it dialled, and so closes the one that the other keeps.";
    LastBlockTooLong, "last-block-too-long", "I-WIRE",
        "The last block of the content is asked for with one byte too many.";
    LateCancelPanics, "late-cancel-panics", "I-ROBUST",
        "A CANCEL that crossed its block brings the peer down.";
    LivePiecesKept, "live-pieces-kept", "I-STREAM",
        "Pieces of a live stream that have gone by stay valid: when the stream comes round to their places, they are taken for those that are made there then.";
    LocalityStarvesRemotes, "locality-starves-remotes", "I-FAIR",
        "Of those who wait for the optimistic slot the nearest are always first, so that it never comes round to the others.";
    LoserStaysUnchoked, "loser-stays-unchoked", "I-SLOT",
        "Who loses its upload slot is not choked.";
    NoTransporterWhenComplete, "no-transporter-when-complete", "I-INIT",
        "A streamed download that is complete when it starts gets no transporter, and the one-second check asks its picker on every connection that does not choke it.";
    PexInPrivate, "pex-in-private", "I-PRIV",
        "Peer exchange is offered in a private torrent.";
    PexRefusesLoopback, "pex-refuses-loopback", "I-FLAG",
        "Peer exchange that names a loopback address is refused, and its sender dropped.";
    PieceZeroIsFalse, "piece-zero-is-false", "I-STREAM",
        "Piece 0 is never asked of a remote that was late.";
    PlaybackClamped, "playback-clamped", "I-DONE",
        "After the last piece the playback position is that of the last piece again, and no end is seen.";
    PoolDrainsItself, "pool-drains-itself", "I-STOP",
        "The drain of the callback pool waits in its caller, be that a worker, until the queue is empty.";
    RedialAtOnce, "redial-at-once", "I-WASTE",
        "An address that cannot be connected to, or was connected to, is dialled again at once, for ever.";
    ReporterFailureEndsReports, "reporter-failure-ends-reports", "I-REPORT",
        "A reporter that fails takes along those after it and every later report of its download.";
    RequestWhileChoked, "request-while-choked", "I-WIRE",
        "Requests go out as if the remote had unchoked us.";
    ResumeBeforeSync, "resume-before-sync", "I-RESUME",
        "Resume data is saved before what it speaks of is safe on the disk.";
    SecondInterruptShutsDownAgain, "second-interrupt-shuts-down-again", "I-TRK",
        "A second Ctrl-C begins the shutdown anew, and drops what the first one was waiting for.";
    ShutdownFromCallback, "shutdown-from-callback", "I-STOP",
        "The uptime handler shuts the session down from inside its own callback, and the session waits for that callback to end.";
    SilentAskedAgain, "silent-asked-again", "I-PROG",
        "What a remote let run out of time in silence is asked of it again, though others have it.";
    StatusLacksAttributes, "status-lacks-attributes", "I-REPORT",
        "A download's status has neither its peer id nor its video info.";
    StoppedTaskFires, "stopped-task-fires", "I-INIT",
        "What is due with a download's end is still done to it afterwards.";
    TaskWithoutOwner, "task-without-owner", "I-STOP",
        "A task belongs to no owner and outlives its download.";
    TimerInThePast, "timer-in-the-past", "I-SPIN",
        "A timer that found nothing to do is set to the time that it was due.";
    UnboundedBacklog, "unbounded-backlog", "I-MEM",
        "All that a remote asks for is read at once, however slowly it takes it.";
    UnchokeWakesNobody, "unchoke-wakes-nobody", "I-PROG",
        "An UNCHOKE lets requests go out, and nobody is told to send them.";
    UptimeMissesFinished, "uptime-misses-finished", "I-STOP",
        "The uptime handler knows only downloads that it saw downloading: one that finished between two looks, or before the first, keeps the client for ever.";
    VodStatsPlaceholder, "vod-stats-placeholder", "I-REPORT",
        "A placeholder stands for the playback figures of a download that is complete and plays nothing, and the first reporter that reads one ends the reports.";
}

impl Defect {
    /// Its name in plans.
    pub const fn name(self) -> &'static str {
        self.entry().0
    }

    /// The code of the oracle that must find it.
    pub const fn oracle(self) -> &'static str {
        self.entry().1
    }

    /// What a peer with it does wrong, in a sentence.
    pub const fn summary(self) -> &'static str {
        self.entry().2
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that no defect has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no defect {name:?}; expected one of {}", Defect::ALL.map(Defect::name).join(", "))]
pub struct UnknownDefect {
    /// The name.
    pub name: String,
}

impl FromStr for Defect {
    type Err = UnknownDefect;

    fn from_str(name: &str) -> Result<Defect, UnknownDefect> {
        let named = Defect::ALL.into_iter().find(|defect| defect.name() == name);
        named.ok_or_else(|| UnknownDefect { name: name.to_owned() })
    }
}

/// The defects that a peer has. Without the cargo feature `defects` it takes no
/// space and is always empty.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Defects {
    #[cfg(feature = "defects")]
    bits: u64,
}

#[cfg(not(feature = "defects"))]
const _: () = assert!(size_of::<Defects>() == 0, "nothing of a defect is shipped");
#[cfg(feature = "defects")]
const _: () = assert!(Defect::ALL.len() <= u64::BITS as usize, "each has its bit");

impl Defects {
    /// Not one.
    #[cfg(not(feature = "defects"))]
    pub const NONE: Defects = Defects {};
    /// Not one.
    #[cfg(feature = "defects")]
    pub const NONE: Defects = Defects { bits: 0 };

    /// Whether `defect` is among them.
    #[cfg(not(feature = "defects"))]
    #[inline]
    pub const fn has(self, _defect: Defect) -> bool {
        false
    }

    /// Whether `defect` is among them.
    #[cfg(feature = "defects")]
    #[inline]
    pub const fn has(self, defect: Defect) -> bool {
        self.bits & (1 << defect as u64) != 0
    }

    /// These and `defect`.
    #[cfg(feature = "defects")]
    #[must_use]
    pub const fn with(self, defect: Defect) -> Defects {
        Defects { bits: self.bits | 1 << defect as u64 }
    }
}

#[cfg(feature = "defects")]
impl FromIterator<Defect> for Defects {
    fn from_iter<I: IntoIterator<Item = Defect>>(defects: I) -> Defects {
        defects.into_iter().fold(Defects::NONE, Defects::with)
    }
}

impl fmt::Debug for Defects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Defect::ALL.into_iter().filter(|defect| self.has(*defect))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_defect_is_listed_once_and_found_by_its_name() {
        for (at, defect) in Defect::ALL.into_iter().enumerate() {
            assert_eq!(defect as usize, at, "{defect} stands where its bit is");
            assert_eq!(defect.to_string().parse(), Ok(defect));
        }
        assert!(Defect::ALL.is_sorted_by_key(|defect| defect.name()));
    }

    #[test]
    fn a_name_that_is_none_is_answered_with_those_that_are() {
        let error = "have-before-chek".parse::<Defect>().unwrap_err().to_string();
        assert!(error.contains("\"have-before-chek\""), "{error}");
        assert!(error.contains("have-before-check, have-counted-twice"), "{error}");
    }

    #[test]
    fn without_the_feature_a_set_of_defects_takes_no_space() {
        let bytes = if cfg!(feature = "defects") { 8 } else { 0 };
        assert_eq!(size_of::<Defects>(), bytes);
    }

    #[test]
    fn nothing_is_in_an_empty_set() {
        assert!(Defect::ALL.iter().all(|defect| !Defects::NONE.has(*defect)));
        assert_eq!(Defects::default(), Defects::NONE);
    }

    #[cfg(feature = "defects")]
    #[test]
    fn a_set_holds_what_was_put_into_it_and_nothing_else() {
        for defect in Defect::ALL {
            let set = Defects::NONE.with(defect);
            assert!(Defect::ALL.iter().all(|other| set.has(*other) == (*other == defect)));
            assert_eq!(format!("{set:?}"), format!("{{{defect:?}}}"));
        }
        let all = Defects::from_iter(Defect::ALL);
        assert!(Defect::ALL.iter().all(|defect| all.has(*defect)));
    }
}
