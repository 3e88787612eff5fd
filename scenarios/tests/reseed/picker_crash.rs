//! Problem 6 shows where a complete video meets a leecher with a slot to spare, and
//! nowhere else: each control takes one of that away, with the bug still in.

use reseed::Scenario;
use reseed_protocol::Defect;
use reseed_sim::{Plan, Report, Verdict};

use crate::run;

/// A torrent with a bitrate, and one leecher of `sharer`; none hears of others by PEX.
fn scenario(peers: &str) -> Scenario {
    let text = format!(
        r#"
name = "control"
about = "A leecher comes to somebody who shares a video."
[torrent]
piece_length = 32_768
length = 1_000_000
bitrate = 200_000
{peers}"#
    );
    toml::from_str(&text).unwrap()
}

/// It has the video from the start, and streams it.
const SHARER: &str = r#"
[[peers]]
name = "sharer"
has = "everything"
upload_limit = 200_000
pex = false
stream = true
player = { watches = false }
"#;

const LEECHER: &str = r#"
[[peers]]
name = "leecher"
knows = ["sharer"]
pex = false
link = { latency_ms = 20 }
"#;

/// What comes of it at some seeds with the bug in.
fn with_the_bug(peers: &[&str]) -> Vec<Report> {
    let scenario = scenario(&peers.concat());
    let runs = 1..=8u64;
    runs.map(|seed| {
        let plan = scenario.plan(seed).unwrap();
        let plan = Plan { defects: vec![Defect::NoTransporterWhenComplete], ..plan };
        run(&plan)
    })
    .collect()
}

#[track_caller]
fn all_crash(reports: &[Report]) {
    for report in reports {
        let failure = report.failure.as_ref().expect("the picker crashes");
        assert_eq!(failure.oracle.to_string(), "I-INIT", "{}", failure.evidence);
    }
}

#[track_caller]
fn all_pass(reports: &[Report]) {
    for Report { verdict, failure, doubts, .. } in reports {
        assert_eq!(*verdict, Verdict::Pass, "{failure:?} {doubts:?}");
    }
}

#[test]
fn a_complete_video_and_a_leecher_with_a_slot_to_spare_are_all_it_takes() {
    all_crash(&with_the_bug(&[SHARER, LEECHER]));
}

#[test]
fn it_does_not_show_while_the_leechers_slots_are_full_of_interested_peers() {
    let busy = LEECHER.to_owned()
        + r#"has = { pieces = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] }
upload_slots = 1
upload_limit = 20_000
"#;
    // They hang on the leecher alone, and there are more of them than slots.
    let hungry = r#"
[[peers]]
name = "hungry"
count = 3
knows = ["leecher"]
pex = false
"#;
    // The leecher has not got all of it when it looks round for somebody to unchoke.
    let late = SHARER.replace("200_000", "30_000") + "join_s = 3\nknows = [\"leecher\"]\n";
    all_pass(&with_the_bug(&[&busy, hungry, &late]));
    let spare = busy.replace("upload_slots = 1", "upload_slots = 4");
    all_crash(&with_the_bug(&[&spare, hungry, &late]));
}

#[test]
fn it_does_not_show_where_the_torrent_is_not_streamed() {
    let plain = SHARER.replace("stream = true\nplayer = { watches = false }\n", "");
    assert_ne!(plain, SHARER);
    all_pass(&with_the_bug(&[&plain, LEECHER]));
}

#[test]
fn it_does_not_show_where_the_video_completes_while_the_client_runs() {
    let most = SHARER.replace(
        r#"has = "everything""#,
        "has = { share = 0.9 }\nknows = [\"origin\"]\nupload_slots = 4",
    );
    let origin = r#"
[[peers]]
name = "origin"
has = "everything"
pex = false
"#;
    all_pass(&with_the_bug(&[origin, &most, LEECHER]));
}

#[test]
fn it_does_not_show_where_the_other_side_is_complete() {
    let other = LEECHER.replace(r#"name = "leecher""#, "name = \"other\"\nhas = \"everything\"");
    // Somebody has to want something, of a peer that streams nothing.
    let reader = r#"
[[peers]]
name = "reader"
knows = ["other"]
pex = false
"#;
    all_pass(&with_the_bug(&[SHARER, &other, reader]));
}
