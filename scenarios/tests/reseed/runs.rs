//! The catalogue, run for real on every engine, and what reviewed runs look like.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    process::Stdio,
};

use reseed::{RecordedDigests, bytes, catalogue};
use reseed_protocol::{Defect, Time};
use reseed_sim::{Engine, Plan, Report, Verdict, Watch, oracle::Code};

use crate::{command, plan, run, run_on, snapshots};

const ENGINES: [Engine; 3] = Engine::ALL;

fn run_at(scenario: &str, seed: u64, engine: Engine, watch: &mut dyn Watch) -> Report {
    run_on(&plan(scenario, seed), engine, watch)
}

/// Runs one entry at `seeds` on the two engines that have all of the world: each must pass.
/// turmoil takes longer than both, and is asked for the seed whose digest is recorded.
fn passes(scenario: &str, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        for engine in [Engine::TurmoilNet, Engine::Native] {
            let report = run_at(scenario, seed, engine, &mut ());
            assert_eq!(
                report.verdict,
                Verdict::Pass,
                "{scenario}, seed {seed}, on {engine}: {:?} {:?}",
                report.failure,
                report.doubts,
            );
        }
    }
}

#[test]
fn two_peers_passes_at_several_seeds_on_both_engines() {
    passes("two-peers", 1..9);
}

#[test]
fn swarm_passes_at_several_seeds_on_both_engines() {
    passes("swarm", 1..4);
}

/// All combinations of its options, on both engines; each has its second run.
#[test]
fn pex_off_passes_at_as_many_seeds_as_it_has_combinations() {
    passes("pex-off", 0..48);
    for seed in 0..48 {
        let report = run_at("pex-off", seed, Engine::TurmoilNet, &mut ());
        let flag = report.checks.iter().find(|(code, _)| *code == Code::Flag);
        assert!(flag.is_some_and(|(_, checks)| *checks > 0), "seed {seed}");
    }
}

#[test]
fn pex_off_goes_through_every_combination_of_its_options() {
    let combination = |seed| {
        let plan = plan("pex-off", seed);
        let pex = |name| plan.peers[plan.peer(name).unwrap()].pex;
        let both_dial = plan.peers[0].knows.contains(&"leecher".to_owned());
        let kind = (plan.torrent.merkle, plan.torrent.closed, plan.peers[1].stream);
        (pex("seed"), pex("leecher"), plan.peers.len(), both_dial, kind)
    };
    for first in [0, 1, 1000] {
        let all: std::collections::BTreeSet<_> = (first..first + 48).map(combination).collect();
        assert_eq!(all.len(), 48);
    }
}

#[test]
fn locality_passes_at_several_seeds_on_both_engines() {
    passes("locality", 1..4);
}

#[test]
fn late_seed_passes_at_several_seeds_on_both_engines() {
    passes("late-seed", 1..4);
}

#[test]
fn dark_seed_passes_at_several_seeds_on_both_engines() {
    passes("dark-seed", 1..4);
}

#[test]
fn crash_and_resume_passes_at_several_seeds_on_both_engines() {
    passes("crash-and-resume", 1..4);
}

#[test]
fn multi_file_passes_at_several_seeds_on_both_engines() {
    passes("multi-file", 1..6);
}

#[test]
fn status_report_passes_at_several_seeds_on_both_engines() {
    passes("status-report", 1..4);
}

#[test]
fn magnet_passes_at_several_seeds_on_both_engines() {
    passes("magnet", 1..4);
}

#[test]
fn udp_tracker_passes_at_several_seeds_on_both_engines() {
    passes("udp-tracker", 1..4);
}

#[test]
fn ipv6_passes_at_several_seeds_on_both_engines() {
    passes("ipv6", 1..4);
}

/// BEP 7, BEP 11: `peers6` and `added6`.
#[test]
fn peers_at_ipv6_addresses_learn_of_each_other_by_the_tracker_and_by_peer_exchange() {
    let plan = plan("ipv6", 1);
    assert!(plan.peers.iter().all(|peer| peer.address.is_ipv6()));
    let mut transcript = Transcript::default();
    run_at("ipv6", 1, Engine::TurmoilNet, &mut transcript);
    let of_each_other = |line: &str| line.contains("ut_pex +[fd00::");
    assert!(transcript.0.lines().any(of_each_other), "peers tell of peers");
    // Who comes first has nobody to be told by but the tracker.
    let dials = "neighbour-2 is connected to seed";
    let told_by_peer = transcript.0.find("→ neighbour-2  extended 1 ut_pex");
    assert!(transcript.0.find(dials) < told_by_peer && transcript.0.contains(dials));
}

#[test]
fn super_seeding_passes_at_several_seeds_on_both_engines() {
    passes("super-seeding", 1..4);
}

/// BEP 16.
#[test]
fn a_seed_that_shows_its_pieces_one_at_a_time_sends_little_more_than_one_copy() {
    for seed in 1..4 {
        let plan = plan("super-seeding", seed);
        let copies = |super_seed| {
            let mut plan = plan.clone();
            plan.peers[0].super_seed = super_seed;
            let report = run(&plan);
            assert_eq!(report.verdict, Verdict::Pass, "seed {seed}: {report:?}");
            report.peers[0].uploaded as f64 / plan.torrent.files[0].length as f64
        };
        let (with, without) = (copies(true), copies(false));
        assert!(with < 1.3, "seed {seed}: {with} copies");
        assert!(without > 1.5 * with, "seed {seed}: {without} copies, {with} with it");
    }
}

#[test]
fn who_has_a_magnet_link_gets_both_pieces_of_the_metadata_of_who_gives_it() {
    let mut transcript = Transcript::default();
    run_at("magnet", 1, Engine::TurmoilNet, &mut transcript);
    for number in 1..=4 {
        for piece in 0..2 {
            let given = format!("→ leecher-{number}  extended 2 ut_metadata data {piece}, ");
            assert!(transcript.0.contains(&given), "{given}");
        }
    }
    assert!(!transcript.0.contains("reserved → leecher-1  extended 2 ut_metadata"));
    let passed_on = |line: &str| {
        let (who, what) = line.split_once('→').unwrap_or_default();
        who.contains("leecher-") && what.contains("ut_metadata data 1")
    };
    assert!(transcript.0.lines().any(passed_on), "who got it from a link gives it as well");
}

#[test]
fn task_order_passes_at_several_seeds_on_both_engines() {
    passes("task-order", 1..4);
}

#[test]
fn stopped_task_passes_at_several_seeds_on_both_engines() {
    passes("stopped-task", 1..4);
}

#[test]
fn wild_passes_at_many_seeds_and_some_of_them_on_both_engines() {
    passes("wild", 1..5);
    for seed in 5..100 {
        let report = run_at("wild", seed, Engine::TurmoilNet, &mut ());
        assert_eq!(report.verdict, Verdict::Pass, "seed {seed}: {report:?}");
    }
}

#[test]
fn wild_live_passes_at_several_seeds_on_both_engines() {
    passes("wild-live", 1..4);
}

#[test]
fn vod_passes_at_several_seeds_on_both_engines() {
    passes("vod", 1..4);
}

#[test]
fn give_to_get_passes_at_several_seeds_on_both_engines() {
    passes("give-to-get", 1..4);
}

#[test]
fn live_passes_at_several_seeds_on_both_engines() {
    passes("live", 1..4);
}

/// The source could not feed them all, nor is it asked to.
#[test]
fn viewers_of_a_live_stream_have_most_of_it_from_each_other() {
    for seed in 1..4 {
        let report = run_at("live", seed, Engine::TurmoilNet, &mut ());
        let uploaded = |of: &dyn Fn(&str) -> bool| -> u64 {
            report.peers.iter().filter(|peer| of(&peer.name)).map(|peer| peer.uploaded).sum()
        };
        let (source, viewers) =
            (uploaded(&|name| name == "source"), uploaded(&|name| name != "source"));
        assert!(viewers > source, "seed {seed}: {source} from the source, {viewers} from viewers");
    }
}

#[test]
fn streaming_picker_crash_passes_at_several_seeds_on_both_engines() {
    passes("streaming-picker-crash", 1..4);
}

#[test]
fn piece_zero_passes_at_several_seeds_on_both_engines() {
    passes("piece-zero", 1..4);
}

#[test]
fn playback_end_passes_at_several_seeds_on_both_engines() {
    passes("playback-end", 1..4);
}

#[test]
fn shutdown_deadlock_passes_at_several_seeds_on_both_engines() {
    passes("shutdown-deadlock", 1..6);
}

#[test]
fn announces_stop_passes_at_several_seeds_on_both_engines() {
    passes("announces-stop", 1..3);
}

/// A transcript, as `reseed replay` prints it.
#[derive(Default)]
struct Transcript(String);

impl Watch for Transcript {
    fn wants_lines(&self) -> bool {
        true
    }

    fn line(&mut self, at: Time, line: &str) {
        writeln!(self.0, "{at:>12} {line}").unwrap();
    }
}

#[test]
fn what_a_run_said_does_not_depend_on_whether_anybody_listens() {
    let mut transcript = Transcript::default();
    let heard = run_at("swarm", 5, Engine::TurmoilNet, &mut transcript);
    let unheard = run_at("swarm", 5, Engine::TurmoilNet, &mut ());
    assert!(transcript.0.lines().count() > 1000);
    assert_eq!((heard.digest, heard.events), (unheard.digest, unheard.events));
}

#[test]
fn a_seed_gives_one_digest_two_hundred_times_in_one_process() {
    for (scenario, times) in [("two-peers", 200), ("crash-and-resume", 5)] {
        let first = run_at(scenario, 7, Engine::TurmoilNet, &mut ());
        for time in 1..times {
            let again = run_at(scenario, 7, Engine::TurmoilNet, &mut ());
            assert_eq!(again.digest, first.digest, "{scenario}, seed 7, run {time}");
        }
    }
    let first = run_at("two-peers", 7, Engine::Turmoil, &mut ());
    for time in 1..10 {
        let again = run_at("two-peers", 7, Engine::Turmoil, &mut ());
        assert_eq!(again.digest, first.digest, "two-peers on turmoil, seed 7, run {time}");
    }
}

/// They were recorded from a release build, by another process.
#[test]
fn the_recorded_digests_are_those_that_runs_give_and_these_pass() {
    let recorded = RecordedDigests::built_in();
    for entry in catalogue() {
        // Of the first of `wild` a link has a bandwidth, and turmoil has none.
        let seed = if entry.name.starts_with("wild") { 2 } else { 1 };
        for engine in ENGINES {
            let expected = recorded.get(entry.name, seed, engine);
            let expected = expected.unwrap_or_else(|| panic!("{} on {engine}", entry.name));
            let report = run_at(entry.name, seed, engine, &mut ());
            assert_eq!(report.verdict, Verdict::Pass, "{} on {engine}", entry.name);
            assert_eq!(report.digest.to_string(), expected, "{} on {engine}", entry.name);
        }
    }
}

#[test]
fn seeds_give_different_runs() {
    let digest = |seed| run_at("two-peers", seed, Engine::TurmoilNet, &mut ()).digest;
    let digests: std::collections::BTreeSet<_> = (1..9).map(digest).collect();
    assert_eq!(digests.len(), 8);
}

#[test]
fn another_process_gives_the_same_digest_with_every_log_line_on_and_with_none() {
    let process = |log: Option<&str>, engine: Engine| {
        let mut command = command(&["run", "crash-and-resume", "--seed", "7", "--json"]);
        command.args(["--engine", &engine.to_string()]).stderr(Stdio::null());
        log.map(|level| command.env("RUST_LOG", level));
        let output = command.output().unwrap();
        let record: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        record["digest"].as_str().unwrap().to_owned()
    };
    for engine in ENGINES {
        let here = run_at("crash-and-resume", 7, engine, &mut ()).digest.to_string();
        assert_eq!(process(None, engine), here, "on {engine}, without a log");
        assert_eq!(process(Some("trace"), engine), here, "on {engine}, with RUST_LOG=trace");
    }
}

#[test]
fn a_leecher_that_lost_its_power_goes_on_from_what_was_safe_on_its_disk() {
    for seed in 1..4 {
        let mut transcript = Transcript::default();
        let report = run_at("crash-and-resume", seed, Engine::TurmoilNet, &mut transcript);
        assert_eq!(report.verdict, Verdict::Pass, "seed {seed}");
        let (before, after) = transcript.0.split_once("leecher-1 loses power").unwrap();
        assert!(before.contains("leecher-1 has verified piece"), "seed {seed}");
        assert!(after.contains("leecher-1 → seed  bitfield"), "seed {seed}: nothing was kept");
    }
}

/// What was asked of it they wait for until those requests have run out of time, which is a
/// minute (`Config::request_timeout`), and then never again.
#[test]
fn while_a_seed_is_dark_all_get_what_anybody_has_as_soon_as_its_requests_have_lapsed() {
    let mut waited = 0;
    for seed in 1..6 {
        let mut transcript = Transcript::default();
        run_at("dark-seed", seed, Engine::TurmoilNet, &mut transcript);
        let (mut have, mut dark) = (BTreeMap::<&str, BTreeSet<&str>>::new(), None);
        for line in transcript.0.lines() {
            let (at, words) = line.trim().split_once(' ').unwrap();
            let at: f64 = at.parse().unwrap();
            match (words, dark) {
                ("seed loses power", _) => dark = Some(at),
                ("seed starts", Some(_)) => break,
                _ => {}
            }
            if let Some((who, piece)) = words.split_once(" has verified piece ") {
                have.entry(who).or_default().insert(piece);
                let after = dark.map_or(0.0, |dark| at - dark);
                assert!(after < 61.0, "seed {seed}, {line}: {after} s after the seed went dark");
                waited += u32::from(after > 30.0);
            }
        }
        let all: BTreeSet<&str> = have.values().flatten().copied().collect();
        assert!(have.len() > 1 && have.values().all(|has| *has == all), "seed {seed}: {have:?}");
    }
    assert!(waited > 0, "nobody waited for anything that others had");
}

#[test]
fn dark_seed_shows_who_asks_a_silent_remote_again_and_again() {
    let defects = vec![Defect::SilentAskedAgain];
    let report = run(&Plan { defects, ..plan("dark-seed", 58) });
    let failure = report.failure.expect("it fails");
    assert_eq!(failure.oracle, Code::Prog, "{failure:?}");
    assert_eq!(run(&plan("dark-seed", 58)).verdict, Verdict::Pass);
}

#[test]
fn the_seed_that_leaves_late_leaves_nobody_complete_behind() {
    // Elsewhere the block that completes the last copy may complete its peer as well.
    for seed in 3..6 {
        let mut transcript = Transcript::default();
        run_at("late-seed", seed, Engine::TurmoilNet, &mut transcript);
        let (before, after) = transcript.0.split_once("seed has left").unwrap();
        assert!(!before.contains("is complete"), "seed {seed}: it left too late to matter");
        assert_eq!(after.matches("is complete").count(), 5, "seed {seed}");
    }
}

/// A run in words, but for what any change to anything changes: its digest.
fn summary(report: &Report) -> String {
    let mut words = format!(
        "{} after {} s, {} useful\n",
        report.verdict,
        report.ended,
        bytes(report.useful_bytes)
    );
    for peer in &report.peers {
        let completed = match peer.completed {
            Some(at) => format!("complete at {at} s"),
            // It had all from the start, or it is a live stream.
            None => "completed nothing".to_owned(),
        };
        let (down, up) = (bytes(peer.downloaded), bytes(peer.uploaded));
        writeln!(words, "{}: {completed}, {down} down, {up} up", peer.name).unwrap();
    }
    for (oracle, checks) in &report.checks {
        writeln!(words, "{oracle} checked {checks} times").unwrap();
    }
    words
}

#[test]
fn a_summary_of_each_entry_at_seed_1() {
    let _settings = snapshots();
    for entry in catalogue() {
        let report = run_at(entry.name, 1, Engine::TurmoilNet, &mut ());
        insta::assert_snapshot!(format!("run-{}", entry.name), summary(&report));
    }
}

#[test]
fn the_whole_transcript_of_two_peers_at_seed_1() {
    let _settings = snapshots();
    let mut transcript = Transcript::default();
    run_at("two-peers", 1, Engine::TurmoilNet, &mut transcript);
    insta::assert_snapshot!("transcript-two-peers", transcript.0);
}
