//! How long a client that only wants its downloads stays.

use std::{collections::BTreeMap, time::Duration};

use reseed_protocol::{Defect, Defects, InfoHash, Time};

use crate::State;

/// When a client that nobody interrupts exits by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitWhen {
    /// As soon as every download is finished.
    AllFinished,
    /// When every download is finished, and the last of them has been so for this
    /// long: something is given back.
    Seeded(Duration),
    /// When what was downloaded has been played to its end.
    Played,
}

/// Watches a client's downloads, and says when it may exit. It is told of a
/// download's state from time to time, and so may learn late of what happened.
#[derive(Debug)]
pub struct Uptime {
    exit_when: ExitWhen,
    /// Since when each download is known to be finished.
    finished: BTreeMap<InfoHash, Option<Time>>,
    played: bool,
    defects: Defects,
}

impl Uptime {
    /// Knows of no download yet.
    pub fn new(exit_when: ExitWhen, defects: Defects) -> Uptime {
        Uptime { exit_when, finished: BTreeMap::new(), played: false, defects }
    }

    /// There is a download to be waited for.
    pub fn expect(&mut self, info_hash: InfoHash) {
        if !self.defects.has(Defect::UptimeMissesFinished) {
            self.finished.insert(info_hash, None);
        }
    }

    /// A download was seen in `state`.
    pub fn observe(&mut self, info_hash: InfoHash, state: State, now: Time) {
        if self.defects.has(Defect::UptimeMissesFinished) && state == State::Downloading {
            self.finished.entry(info_hash).or_default();
        }
        // One that was stopped, or that failed, is not waited for either.
        if (state == State::Seeding || state.is_over())
            && let Some(finished) = self.finished.get_mut(&info_hash)
        {
            finished.get_or_insert(now);
        }
    }

    /// The player has come to the end.
    pub fn played(&mut self) {
        self.played = true;
    }

    /// Whether it is time to exit.
    pub fn is_over(&self, now: Time) -> bool {
        let all_finished = || self.finished.values().copied().max().flatten();
        match self.exit_when {
            ExitWhen::Played => self.played,
            _ if self.finished.values().any(Option::is_none) => false,
            ExitWhen::AllFinished => all_finished().is_some(),
            ExitWhen::Seeded(time) => all_finished().is_some_and(|since| since + time <= now),
        }
    }

    /// What has to come to pass yet, as in "waits for a download *to finish*"; a
    /// download is named by its info-hash.
    pub fn awaits(&self) -> (Option<InfoHash>, &'static str) {
        let unfinished = self.finished.iter().find(|(_, finished)| finished.is_none());
        match (self.exit_when, unfinished) {
            (ExitWhen::Played, _) => (None, "be played to its end"),
            (_, Some((info_hash, _))) => (Some(*info_hash), "finish"),
            (_, None) if self.finished.is_empty() => (None, "be seen downloading"),
            (_, None) => (None, "have been seeded for long enough"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: InfoHash = InfoHash([1; 20]);
    const B: InfoHash = InfoHash([2; 20]);

    fn at(seconds: u64) -> Time {
        Time::from_secs(seconds)
    }

    fn uptime(exit_when: ExitWhen) -> Uptime {
        let mut uptime = Uptime::new(exit_when, Defects::NONE);
        [A, B].into_iter().for_each(|download| uptime.expect(download));
        uptime
    }

    #[test]
    fn all_finished_means_all() {
        let mut uptime = uptime(ExitWhen::AllFinished);
        assert!(!uptime.is_over(at(0)));
        uptime.observe(A, State::Seeding, at(5));
        assert!(!uptime.is_over(at(100)));
        assert_eq!(uptime.awaits(), (Some(B), "finish"));
        uptime.observe(B, State::Downloading, at(5));
        assert!(!uptime.is_over(at(100)));
        uptime.observe(B, State::Seeding, at(10));
        assert!(uptime.is_over(at(10)));
    }

    #[test]
    fn a_download_that_was_never_seen_downloading_counts() {
        let mut uptime = uptime(ExitWhen::AllFinished);
        for download in [A, B] {
            uptime.observe(download, State::Checking, at(0));
            uptime.observe(download, State::Seeding, at(5));
        }
        assert!(uptime.is_over(at(5)));
    }

    #[test]
    fn a_download_that_failed_is_not_waited_for() {
        let mut uptime = uptime(ExitWhen::AllFinished);
        uptime.observe(A, State::Stopped, at(0));
        uptime.observe(B, State::Seeding, at(0));
        assert!(uptime.is_over(at(0)));
    }

    #[test]
    fn the_seeding_time_counts_from_the_last_that_finished() {
        let mut uptime = uptime(ExitWhen::Seeded(Duration::from_secs(15)));
        uptime.observe(A, State::Seeding, at(10));
        uptime.observe(B, State::Seeding, at(30));
        uptime.observe(A, State::Seeding, at(40));
        assert!(!uptime.is_over(at(44)));
        assert!(uptime.is_over(at(45)));
    }

    #[test]
    fn who_plays_exits_at_the_end_of_the_playback_whatever_is_missing() {
        let mut uptime = uptime(ExitWhen::Played);
        uptime.observe(A, State::Seeding, at(1));
        uptime.observe(B, State::Seeding, at(1));
        assert!(!uptime.is_over(at(1000)));
        uptime.played();
        assert!(uptime.is_over(at(1000)));
    }

    #[cfg(feature = "defects")]
    #[test]
    fn with_the_defect_who_was_not_seen_downloading_is_never_known() {
        let defects = Defects::NONE.with(Defect::UptimeMissesFinished);
        let mut uptime = Uptime::new(ExitWhen::AllFinished, defects);
        uptime.expect(A);
        uptime.observe(A, State::Checking, at(0));
        uptime.observe(A, State::Seeding, at(5));
        assert!(!uptime.is_over(at(1000)));
        assert_eq!(uptime.awaits(), (None, "be seen downloading"));
        uptime.observe(B, State::Downloading, at(5));
        uptime.observe(B, State::Seeding, at(10));
        assert!(uptime.is_over(at(10)), "one that was seen ends it");
    }

    proptest! {
        #[test]
        fn it_is_over_once_the_last_was_seen_to_be_finished_long_enough_ago(
            finished in [0u64..50, 0u64..50], seeded in 0u64..50, poll in 1u64..10,
        ) {
            let mut uptime = uptime(ExitWhen::Seeded(Duration::from_secs(seeded)));
            let mut over = None;
            for now in (0..200).step_by(poll as usize) {
                for (download, finished) in [A, B].into_iter().zip(finished) {
                    let state = if now < finished { State::Downloading } else { State::Seeding };
                    uptime.observe(download, state, at(now));
                }
                if over.is_none() && uptime.is_over(at(now)) {
                    over = Some(now);
                }
            }
            let (over, due) = (over.expect("it ends"), finished[0].max(finished[1]) + seeded);
            prop_assert!(over >= due && over < due + 2 * poll, "over at {over}, due at {due}");
        }
    }
}
