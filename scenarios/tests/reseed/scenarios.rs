//! What scenario files say, what they may not say, and which plans they make.

use std::{collections::BTreeSet, env, fs};

use miette::{GraphicalReportHandler, GraphicalTheme};
use reseed::{Entry, Scenario, Source, catalogue, find, summary};
use reseed_sim::{
    Plan,
    plan::{Action, Fault, Has, When},
};

use crate::snapshots;

const GROUP: &str = r#"
name = "group"

[torrent]
length = 1_000_000

[[peers]]
name = "seed"
has = "everything"

[[peers]]
name = "leecher"
count = 3
join_s = { from = 0, to = 100 }
has = { share = 0.5 }
knows = ["seed", "leecher"]
"#;

fn source(text: &str) -> Source {
    Source { name: "test.toml".to_owned(), text: text.to_owned() }
}

fn scenario(text: &str) -> Scenario {
    source(text).read().unwrap_or_else(|misread| panic!("{:?}", miette::Report::new(*misread)))
}

fn plan(text: &str, seed: u64) -> Plan {
    scenario(text).plan(seed).unwrap()
}

/// What a reader sees of what is wrong with `text`.
fn complaint(text: &str) -> String {
    let source = source(text);
    let misread = match source.read() {
        Err(misread) => misread,
        Ok(scenario) => source.explain(&scenario.plan(1).expect_err("this makes a plan")),
    };
    let theme = GraphicalTheme::unicode_nocolor();
    let mut rendered = String::new();
    GraphicalReportHandler::new_themed(theme)
        .with_width(100)
        .render_report(&mut rendered, &*misread)
        .unwrap();
    rendered
}

#[test]
fn every_entry_of_the_catalogue_goes_by_its_own_name_and_makes_a_plan_under_every_seed() {
    for Entry { name, .. } in catalogue() {
        let scenario = find(name).unwrap().source().read().unwrap();
        assert_eq!(scenario.name, *name);
        assert!(!scenario.about.is_empty());
        for seed in (0..64).chain([u64::MAX]) {
            let plan = scenario.plan(seed).unwrap();
            // Where all is drawn some links have a bandwidth, and turmoil has none.
            assert!(name.starts_with("wild") || !plan.shapes_links(), "{name}: not on turmoil");
        }
    }
}

#[test]
fn the_plans_of_the_catalogue_are_as_reviewed() {
    let _settings = snapshots();
    for entry in catalogue() {
        let scenario = entry.source().read().unwrap();
        insta::assert_snapshot!(
            format!("plan-{}", entry.name),
            summary(&scenario.plan(1).unwrap())
        );
    }
}

#[test]
fn a_seed_makes_one_plan_and_another_seed_another() {
    assert_eq!(plan(GROUP, 7), plan(GROUP, 7));
    assert_ne!(plan(GROUP, 7).peers, plan(GROUP, 8).peers);
}

#[test]
fn every_peer_of_a_group_draws_for_itself() {
    let plan = plan(GROUP, 1);
    let [_, a, b, c] = plan.peers.as_slice() else { panic!("four peers") };
    assert_eq!([&*a.name, &*b.name, &*c.name], ["leecher-1", "leecher-2", "leecher-3"]);
    assert_ne!(a.join_ms, b.join_ms);
    assert_ne!(a.has, b.has);
    let Has::Pieces(pieces) = &c.has else { panic!("a share is some pieces") };
    assert_eq!(pieces.len(), 16, "half of 31, rounded");
    assert!(pieces.is_sorted());
}

#[test]
fn a_draw_shifts_no_other_draw() {
    let before = plan(GROUP, 3);
    let text = GROUP
        .replace("has = \"everything\"", "has = \"everything\"\njoin_s = { from = 1, to = 9 }")
        .replace("knows =", "link = { latency_ms = { from = 1, to = 9 } }\nknows =")
        + "\n[[peers]]\nname = \"late\"\njoin_s = { from = 5, to = 50 }\n";
    let text = text.replace(
        "[[peers]]\nname = \"seed\"",
        "[[peers]]\nname = \"first\"\n\n[[peers]]\nname = \"seed\"",
    );
    let after = plan(&text, 3);
    for peer in &before.peers[1..] {
        let same = &after.peers[after.peer(&peer.name).unwrap()];
        assert_eq!((peer.join_ms, &peer.has), (same.join_ms, &same.has));
    }
}

#[test]
fn the_name_of_a_group_among_known_peers_means_all_of_it_but_oneself() {
    let plan = plan(GROUP, 1);
    assert_eq!(plan.peers[2].knows, ["seed", "leecher-1", "leecher-3"]);
}

#[test]
fn a_plan_survives_its_text() {
    for entry in catalogue() {
        let plan = entry.source().read().unwrap().plan(u64::MAX).unwrap();
        assert_eq!(toml::from_str::<Plan>(&toml::to_string(&plan).unwrap()).unwrap(), plan);
    }
}

#[test]
fn an_event_of_a_group_happens_to_whom_chance_has_it_and_what_waits_for_it_to_the_same() {
    let text = format!(
        "{}
        [[events]]
        name = \"cut\"
        peer = \"leecher\"
        chance = 0.4
        action = \"crash\"
        when = {{ at_s = {{ from = 0, to = 100 }} }}

        [[events]]
        peer = \"leecher\"
        action = \"start\"
        when = {{ after = \"cut\" }}",
        GROUP.replace("count = 3", "count = 100")
    );
    let plan = plan(&text, 1);
    let (cuts, starts): (Vec<_>, Vec<_>) =
        plan.events.iter().partition(|event| event.action == Action::Crash);
    assert!((25..55).contains(&cuts.len()), "{} of 100 were cut, at 0.4", cuts.len());
    assert_eq!(cuts.len(), starts.len());
    for (at, (cut, start)) in cuts.iter().zip(starts).enumerate() {
        assert_eq!(cut.peer, start.peer);
        assert_eq!(start.when, When::After(at));
    }
    let times: BTreeSet<_> = cuts.iter().map(|cut| format!("{:?}", cut.when)).collect();
    assert!(times.len() > 20, "each has its own time: {times:?}");
}

const FAULTS: &str = r#"
[[events]]
name = "cut"
peer = "leecher-2"
action = "crash"
chance = 0.5
when = { at_s = 3 }

[[faults]]
name = "split"
kind = "partition"
peers = ["leecher"]
peers_chance = 0.5
when = { at_s = { from = 1, to = 9 } }
for_s = { from = 1, to = 60 }

[[faults]]
kind = { one_of = ["link-cut", { one-way = "sent" }, { loss = { share = { from = 0.1, to = 0.5 } } }] }
chance = 0.5
when = { verified = { peer = "leecher-1", share = 0.5 } }
for_s = 20
if_possible = true

[[faults]]
kind = { latency = { more_ms = 200 } }
peers = ["seed", "leecher-2"]
when = { after = "cut" }
delay_s = 2
for_s = 3
"#;

#[test]
fn a_fault_happens_when_chance_has_it_to_the_hosts_that_it_draws() {
    let text = format!("{GROUP}{FAULTS}");
    let plans: Vec<Plan> = (0..64).map(|seed| plan(&text, seed)).collect();
    for plan in &plans {
        plan.check().unwrap();
    }
    let all = || plans.iter().flat_map(|plan| &plan.faults);
    let names: BTreeSet<_> = all().map(|fault| fault.fault.name()).collect();
    assert_eq!(names, BTreeSet::from(["latency", "link-cut", "loss", "one-way", "partition"]));
    let splits = all().filter(|fault| fault.fault == Fault::Partition);
    let sizes: BTreeSet<_> = splits.map(|fault| fault.hosts.len()).collect();
    assert_eq!(sizes, BTreeSet::from([1, 2, 3]), "who is in it is drawn, and nobody is no fault");
    let chances = all().filter(|fault| fault.if_possible);
    assert!((16..48).contains(&chances.clone().count()));
    assert!(chances.clone().all(|fault| fault.hosts.len() == 4), "by default everybody");
    for plan in &plans {
        let latency = plan.faults.iter().find(|fault| fault.fault.name() == "latency");
        assert_eq!(latency.is_some(), plan.events.len() == 1, "it waits for the event");
        if let Some(latency) = latency {
            let expected = (When::After(0), 2_000, 3_000);
            assert_eq!((latency.when.clone(), latency.delay_ms, latency.for_ms), expected);
        }
    }
}

#[test]
fn a_fault_shifts_no_draw_and_is_told_of_in_words() {
    let before = plan(GROUP, 3);
    let after = plan(&format!("{GROUP}{FAULTS}"), 3);
    assert_eq!(before.peers, after.peers);
    let told = plan(&format!("{GROUP}{}", FAULTS.replace("chance = 0.5", "chance = 1")), 3);
    let words = summary(&told);
    for expected in [
        "fault 0: nothing passes between others and leecher-1, leecher-2, leecher-3, at ",
        "once leecher-1 has verified 16 pieces, for 20 s",
        "fault 2: packets take 200 ms longer of seed, leecher-2, 2 s after event 0 has",
    ] {
        assert!(words.contains(expected), "{expected:?} in {words}");
    }
}

#[test]
fn how_many_others_a_peer_knows_is_a_matter_of_chance() {
    let text = GROUP.replace("count = 3", "count = 60\nknows_chance = 0.25");
    let text = text.replace("knows = [\"seed\", \"leecher\"]", "knows = [\"seed\"]");
    let plan = plan(&text, 1);
    let known: usize = plan.peers[1..].iter().map(|peer| peer.knows.len() - 1).sum();
    assert!((60 * 59 / 5..60 * 59 * 3 / 10).contains(&known), "{known} of {}", 60 * 59);
    assert!(plan.peers[1..].iter().all(|peer| peer.knows[0] == "seed"));
}

#[test]
fn one_of_several_beginnings_is_drawn_for_each_peer_and_each_comes() {
    let text = GROUP
        .replace("{ share = 0.5 }", "{ one_of = [\"nothing\", \"everything\", { share = 0.5 }] }");
    let plan = plan(&text.replace("count = 3", "count = 60"), 1);
    let of =
        |wanted: fn(&Has) -> bool| plan.peers[1..].iter().filter(|peer| wanted(&peer.has)).count();
    assert!(of(|has| *has == Has::Nothing) > 10);
    assert!(of(|has| *has == Has::Everything) > 10);
    assert!(of(|has| matches!(has, Has::Pieces(_))) > 10);
}

#[test]
fn a_content_is_cut_into_files_that_together_are_as_long_as_it_is() {
    let text = GROUP.replace("1_000_000", "1_000_000\nfile_count = { from = 1, to = 4 }");
    let mut counts = BTreeSet::new();
    let mut lengths = BTreeSet::new();
    for seed in 0..40 {
        let files = plan(&text, seed).torrent.files;
        assert_eq!(files.iter().map(|file| file.length).sum::<u64>(), 1_000_000);
        let paths: BTreeSet<_> = files.iter().map(|file| file.path.clone()).collect();
        assert_eq!(paths.len(), files.len(), "each has a path of its own");
        lengths.extend(files.iter().map(|file| file.length));
        counts.insert(files.len());
    }
    assert_eq!(counts, BTreeSet::from([1, 2, 3, 4]));
    assert!(lengths.len() > 60, "each run has files of other lengths");
    let tiny = GROUP.replace("1_000_000", "1\nfile_count = 4");
    assert_eq!(plan(&tiny, 1).torrent.files.iter().filter(|file| file.length == 0).count(), 3);
}

#[test]
fn what_may_be_left_out_is_left_out_but_by_chance() {
    let limits = "upload_limit = { chance = 0.25, from = 10, to = 20 }\n\
                  link = { bandwidth = { chance = 0.5, from = 30, to = 40 }, queue = 7 }";
    let text = GROUP.replace("count = 3", &format!("count = 100\n{limits}"));
    let plan = plan(&text, 1);
    let leechers = &plan.peers[1..];
    let limits: Vec<_> = leechers.iter().filter_map(|peer| peer.upload_limit).collect();
    assert!((15..35).contains(&limits.len()), "{limits:?}");
    assert!(limits.iter().all(|limit| (10..=20).contains(limit)), "{limits:?}");
    let narrow = leechers.iter().filter(|peer| peer.link.bandwidth.is_some()).count();
    assert!((35..65).contains(&narrow), "{narrow}");
    assert!(leechers.iter().all(|peer| { peer.link.queue == peer.link.bandwidth.map(|_| 7) }));
}

/// The same about a live stream.
fn live(text: &str) -> String {
    text.replace("1_000_000", "1_048_576\nbitrate = 9_000\nlive = 50")
}

#[test]
fn a_live_stream_goes_round_whole_pieces_however_long_a_round_is_drawn() {
    let drawn = "{ from = 1_048_576, to = 2_000_000 }\nbitrate = 9_000\nlive = 50";
    for seed in 0..10 {
        let text = GROUP.replace("1_000_000", drawn).replace("{ share = 0.5 }", "\"nothing\"");
        let torrent = plan(&text, seed).torrent;
        let [file] = &torrent.files[..] else { panic!("{:?}", torrent.files) };
        assert_eq!(file.length % u64::from(torrent.piece_length), 0);
        assert!((32..=61).contains(&(file.length / u64::from(torrent.piece_length))));
    }
}

#[test]
fn what_is_left_out_has_its_default() {
    let plan = plan(GROUP, 1);
    assert_eq!((plan.limits.done_ms, plan.limits.steps), (3_600_000, 100_000_000));
    assert_eq!(plan.torrent.piece_length, 32_768);
    assert_eq!(plan.torrent.files[0].path, plan.torrent.name);
    assert!((0.0..=0.5).contains(&plan.perturbation));
    let seed = &plan.peers[0];
    assert!(seed.pex && seed.fast && !seed.announce);
    assert_eq!((seed.upload_slots, seed.upload_limit), (4, None));
    assert_eq!(seed.address.to_string(), "10.0.0.1");
}

#[test]
fn more_peers_than_a_subnet_holds_go_on_in_the_next() {
    let plan = plan(&GROUP.replace("count = 3", "count = 255"), 1);
    assert_eq!(plan.peers[253].address.to_string(), "10.0.0.254");
    assert_eq!(plan.peers[254].address.to_string(), "10.0.1.1");
}

#[test]
fn a_mistake_in_a_file_is_shown_where_it_is() {
    let _settings = snapshots();
    insta::assert_snapshot!("misread-typo", complaint(&GROUP.replace("length =", "lenght =")));
    insta::assert_snapshot!("misread-draw", complaint(&GROUP.replace("to = 100", "to = -1")));
    insta::assert_snapshot!(
        "misread-has",
        complaint(&GROUP.replace("\"everything\"", "\"everythin\""))
    );
    insta::assert_snapshot!(
        "misread-peer",
        complaint(&GROUP.replace("[\"seed\", ", "[\"seet\", "))
    );
    insta::assert_snapshot!("misread-toml", complaint(&GROUP.replace("[torrent]", "[torrent")));
}

#[test]
fn what_makes_no_sense_together_is_an_error() {
    let event = |event: &str| format!("{GROUP}\n{event}");
    let cases = [
        (GROUP.replace("\"seed\"\nhas", "\"leecher-2\"\nhas"), "`leecher-2` is taken"),
        (GROUP.replace("\"seed\"\nhas", "\"tracker\"\nhas"), "`tracker` is taken"),
        (GROUP.replace("\"seed\"\nhas", "\"a seed\"\nhas"), "\"a seed\" is no name"),
        (GROUP.replace("1_000_000", "0"), "zero bytes"),
        (GROUP.replace("1_000_000", "9_000_000_000"), "at most 4294967296"),
        (GROUP.replace("1_000_000", "4_000_000_000\npiece_length = 1"), "at most 1048576"),
        (GROUP.replace("1_000_000", "1\npiece_length = 0"), "zero bytes a piece"),
        (GROUP.replace("1_000_000", "1\nfiles = []"), "either `length` or `files`"),
        (GROUP.replace("length = 1_000_000", ""), "either `length` or `files`"),
        (GROUP.replace("length = 1_000_000", "files = []"), "zero bytes"),
        (GROUP.replace("1_000_000", "1\nfile_count = 0"), "zero files"),
        (GROUP.replace("1_000_000", "1\nfile_count = 1_001"), "at most 1000"),
        (GROUP.replace("length = 1_000_000", "files = []\nfile_count = 1"), "either `length`"),
        (
            GROUP.replace("length = 1_000_000", "files = [{ path = \"a/../b\", length = 1 }]"),
            "\"a/../b\" is no path",
        ),
        (
            GROUP.replace(
                "length = 1_000_000",
                "files = [{ path = \"a/b\", length = 1 }, { path = \"a\", length = 1 }]",
            ),
            "\"a\" is taken",
        ),
        (
            GROUP.replace("\"everything\"", "{ pieces = [0, 31] }"),
            "no piece 31, the last of 31 is 30",
        ),
        (GROUP.replace("share = 0.5", "share = 1.5"), "at most 1"),
        (GROUP.replace("count = 3", "count = 4_000_000_000"), "at most 64770"),
        (GROUP.replace("count = 3", "announce = true"), "no tracker"),
        (GROUP.replace("count = 3", "upload_limit = 0"), "zero bytes a second"),
        (
            GROUP.replace("count = 3", "upload_limit = { chance = 0.5, from = 0, to = 1 }"),
            "zero bytes a second",
        ),
        (GROUP.replace("count = 3", "churn = { arrivals_per_min = 0 }"), "zero arrivals"),
        (
            GROUP.replace("count = 3", "behaviour = { half-open = { connections = 0 } }"),
            "zero connections",
        ),
        (
            GROUP.replace("count = 3", "behaviour = { trickles = { every_ms = 70_000 } }"),
            "at most 60000",
        ),
        (GROUP.replace("count = 3", "link = { queue = 9 }"), "needs a `bandwidth`"),
        (
            event(
                "[[events]]\nname = \"all\"\npeer = \"leecher\"\naction = \"leave\"\nwhen = { at_s = 1 }\n\
                 [[events]]\npeer = \"seed\"\naction = \"leave\"\nwhen = { after = \"all\" }",
            ),
            "`leecher` is a group of 3",
        ),
        (
            event(
                "[[events]]\npeer = \"seed\"\nchance = 1.5\naction = \"leave\"\nwhen = { at_s = 1 }",
            ),
            "at most 1",
        ),
        (GROUP.replace("count = 3", "knows_chance = 1.5"), "at most 1"),
        (
            event(
                "[[events]]\npeer = \"seed\"\naction = \"leave\"\nwhen = { copy_without = \"sed\" }",
            ),
            "no peer `sed`; did you mean `seed`?",
        ),
        (
            event("[[events]]\npeer = \"seed\"\naction = \"leave\"\nwhen = { verified = {} }"),
            "either `pieces` or `share`",
        ),
        (
            event(
                "[[events]]\npeer = \"seed\"\naction = \"leave\"\nwhen = { verified = { pieces = 32 } }",
            ),
            "32 pieces, expected at most 31",
        ),
        (
            event(
                "[[events]]\nname = \"a\"\npeer = \"seed\"\naction = \"leave\"\nwhen = { after = \"b\" }\n\
                 [[events]]\nname = \"b\"\npeer = \"seed\"\naction = \"start\"\nwhen = { after = \"a\" }",
            ),
            "waits for itself: a after b after a",
        ),
        (
            event(
                "[[events]]\nname = \"cut\"\npeer = \"seed\"\naction = \"crash\"\nwhen = { after = \"cutt\" }",
            ),
            "no event `cutt`; did you mean `cut`?",
        ),
        (live(GROUP), "before it is made"),
        (
            live(&GROUP.replace("{ share = 0.5 }", "\"everything\"")),
            "4 peers have `everything`, expected one",
        ),
        (
            live(
                &GROUP.replace("{ share = 0.5 }", "\"nothing\"\napp = { exit_when = \"played\" }"),
            ),
            "when a live stream is over, which never is",
        ),
        (
            live(&GROUP.replace("{ share = 0.5 }", "\"nothing\"\nremnant = \"other-bytes\"")),
            "leaves nothing on disks",
        ),
    ];
    for (text, expected) in cases {
        let complaint = complaint(&text);
        assert!(complaint.contains(expected), "{complaint}\nwhere this was expected: {expected}");
    }
}

#[test]
fn the_schema_for_editors_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/scenario.schema.json");
    let schema = serde_json::to_string_pretty(&Scenario::schema()).unwrap() + "\n";
    if env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(path, &schema).unwrap();
    }
    let there = fs::read_to_string(path).unwrap_or_default();
    assert!(there == schema, "{path} is out of date: run this test with UPDATE_SCHEMA=1");
}
