//! Every oracle fails where it should: each defect is written back into the peers
//! of a plan that passes without it.

use std::{collections::BTreeSet, net::IpAddr};

use reseed_protocol::Defect;
use reseed_sim::{
    Engine, Plan, Report, Verdict,
    oracle::Code,
    plan::{
        Action, AppPlan, CertificatePlan, Exit, Feature, FlipPlan, Has, Lies, Locality, PeerPlan,
        ReportsPlan, When,
    },
};

use crate::plans::{
    self, announced, leecher, link_ms, live, plan, private, seed, video, with_events,
};

/// A plan in which a defect shows, and what the evidence then says: of whom, and what.
fn canary(defect: Defect) -> (Plan, [&'static str; 2]) {
    match defect {
        Defect::AnnounceAssertionEndsAnnounces => (
            more_than_it_dials(),
            ["seed announced last at ", "though the tracker asks for an announce each 5 s"],
        ),
        Defect::CancelKeepsRequest => {
            (two_seeds(), ["leecher: Block {", "waits in the queue of #2, but is not in flight"])
        }
        Defect::ClosedSwarmInOpenSwarm => (
            one_to_one(5),
            [
                "leecher: an error was caught and dropped while beginning the closed-swarm",
                "handshake on #1 to 10.0.0.1:6881: the connection has no attribute `closed_swarm`",
            ],
        ),
        Defect::DisconnectWakesNobody => (
            three_leave_and_one_stays(),
            ["leecher: for ", " s it has got no block, though somebody has one, does not choke it"],
        ),
        Defect::EqualTimesUnordered => (
            watched(one_to_one(5)),
            ["its download has stopped, and ", " was never told: the last that it heard, at "],
        ),
        Defect::ExtensionHandshakeNeedsPex => (
            switching_pex(merkle(one_to_one(5))),
            [
                "only switched seed parts from leecher: exception: no `m` to look up Tr_hashpiece in",
                "seed: its uploads stand still: it is the turn of #1, which is gone; #2 to leecher waits",
            ],
        ),
        Defect::ExitOutrunsStop => (
            announced(exits_when_finished(1)),
            ["leecher: it has exited, and the tracker never heard `stopped`", "no resume data"],
        ),
        Defect::ForwardReportsUnread => (
            a_giver_and_takers(),
            [
                "seed: after the round at ",
                "and is choked, while 3 of those are unchoked that report less",
            ],
        ),
        Defect::GracePeriodIgnored => (
            announced(exits_when_finished(1)),
            ["leecher: it has exited, and the tracker never heard `stopped`", "only `completed`"],
        ),
        Defect::HandshakeReleasesLastPeer => {
            (closed(), ["seed: `unchoke` to outsider, who has not proven access", "outsider"])
        }
        Defect::HashFailureBlamesNobody => (
            a_liar(),
            ["leecher: liar has sent wrong bytes of 17 pieces that failed", "is not banned"],
        ),
        Defect::HaveBeforeCheck => {
            (in_a_row(), ["a: it claims piece ", ", which is not whole on its disk"])
        }
        Defect::HaveCountedTwice => {
            (in_a_row(), ["seed: availability of piece ", " is 2, but 1 connections have it"])
        }
        Defect::HaveInHostOrder => {
            (in_a_row(), ["a: it says `message 4 ", "and the bytes that it writes are message 4 "])
        }
        Defect::KeepsOwnDial => {
            (halves(), ["b and a each closed the other's connection", "none is left"])
        }
        Defect::LastBlockTooLong => {
            (one_to_one(5), [": `request 4+16384 (16385)` to 10.0.0.1:6881", "not within a piece"])
        }
        Defect::LateCancelPanics => (
            two_seeds(),
            ["of other panicked at protocol/", "is cancelled, but was never requested"],
        ),
        Defect::LivePiecesKept => (
            live(one_to_one(32), 40),
            ["leecher: its player is given wrong bytes, of ", " of the stream"],
        ),
        Defect::LocalityStarvesRemotes => {
            (two_are_far(), ["seed: 10.9.0.", "has been interested and choked for"])
        }
        Defect::LoserStaysUnchoked => {
            (two_for_one_slot(), ["seed: 2 upload slots in use", "the limit is 1"])
        }
        Defect::NoTransporterWhenComplete => (
            video(slow_seed_of(20)),
            [
                "seed: one-second check → request more of #1 → picker next → next_new → transporter",
                "it has 20 of 20 pieces",
            ],
        ),
        Defect::PieceZeroIsFalse => (
            late_and_gone(),
            ["leecher: ", " blocks of piece 0, which is played next, are asked of nobody"],
        ),
        Defect::PlaybackClamped => {
            (video(one_to_one(20)), ["leecher: its player has played all ", "never sees the end"])
        }
        Defect::PexInPrivate => {
            (private(two_seeds()), ["seed: it offers ut_pex", "private torrent"])
        }
        Defect::PexRefusesLoopback => (
            switching_pex(three_on_one_host()),
            [
                "switching pex, which is on at seed, on at a, on at b",
                "peer exchange names 127.0.0.1:688",
            ],
        ),
        Defect::PoolDrainsItself => (
            exits_when_finished(3),
            [
                "leecher has finished all of its downloads at ",
                "main → uptime handler → callback worker 2 → callback queue → callback worker 2",
            ],
        ),
        Defect::RedialAtOnce => (
            gone_for_good(),
            ["leecher: 5 connections to 10.0.0.2:6881 have come to an end in a minute", "lost"],
        ),
        Defect::RequestWhileChoked => {
            (two_for_one_slot(), [": `request ", "` to 10.0.0.1:6881: the remote chokes us"])
        }
        Defect::SecondInterruptShutsDownAgain => (
            interrupted_twice(),
            ["seed: it has exited, and the tracker never heard `stopped`", "no resume data"],
        ),
        Defect::ResumeBeforeSync => (
            power_cut_after_saving(),
            [
                "leecher: its resume data says that piece ",
                " was verified, and it is not whole on its disk",
            ],
        ),
        Defect::ShutdownFromCallback => (
            exits_when_finished(1),
            [
                "leecher has finished all of its downloads at ",
                "main → session → callback worker 2 → session",
            ],
        ),
        Defect::SilentAskedAgain => (
            seed_goes_dark(),
            ["leecher: for ", " s it has got no block, though somebody has one, does not choke it"],
        ),
        Defect::ReporterFailureEndsReports => (
            watched(slowly()),
            ["monitoring server fails: the monitoring server is down", "its reports end, with its"],
        ),
        Defect::StatusLacksAttributes => (
            watched(one_to_one(5)),
            ["the report has no `peer_id`", "server fails: the report has no attribute `peer_id`"],
        ),
        Defect::StoppedTaskFires => (
            watched(slowly()),
            [": its download was torn down at ", " s, and is called again for Report"],
        ),
        Defect::TaskWithoutOwner => {
            (one_to_one(5), ["10 s after its shutdown there is left: ", "leecher: task \"saver\""])
        }
        Defect::TimerInThePast => {
            (one_to_one(5), ["leecher was polled ", " times at 0.040000 s and is not done"])
        }
        Defect::UnboundedBacklog => {
            (slow_seed(), ["seed: #1 to 10.0.0.2:", " bytes; 4194304 are allowed"])
        }
        Defect::UnchokeWakesNobody => (
            without_fast(one_to_one(5)),
            ["leecher: for ", " s it has got no block, though somebody has one, does not choke it"],
        ),
        Defect::UptimeMissesFinished => (
            complete_from_the_start(),
            [
                "leecher has finished all of its downloads at 0.000000 s",
                "uptime handler waits for a download to be seen downloading",
            ],
        ),
        Defect::VodStatsPlaceholder => {
            (watched(one_to_one(5)), ["seed: at ", "the report's `playback` has no `played`"])
        }
        _ => panic!("{defect} has no plan to show itself in"),
    }
}

/// The same, where the seed lets nobody request before it unchokes them.
fn without_fast(mut plan: Plan) -> Plan {
    plan.peers[0].fast = false;
    plan
}

/// A seed, and one who has nothing.
fn one_to_one(pieces: u32) -> Plan {
    plan(pieces, [seed("seed"), leecher("leecher", &["seed"])])
}

/// Everybody is watched, closely, with a monitoring server that is down now and then.
fn watched(mut plan: Plan) -> Plan {
    let reports =
        ReportsPlan { interval_ms: 130, server: true, fails: 0.2, takes_ms: 5, log: true };
    plan.peers.iter_mut().for_each(|peer| peer.reports = Some(reports));
    plan
}

/// Four seconds of a download, and two who come and go.
fn slowly() -> Plan {
    let seed = PeerPlan { upload_limit: Some(80_000), ..seed("seed") };
    let leave = |name, at| (name, Action::Leave, When::At(at));
    let peers = [seed, leecher("a", &["seed"]), leecher("b", &["seed"]), leecher("c", &["seed"])];
    with_events(plan(3, peers), [leave("a", 710), leave("b", 1_150)])
}

fn two_seeds() -> Plan {
    two_seeds_of(8)
}

/// Two seeds are asked for the same blocks in the endgame.
fn two_seeds_of(pieces: u32) -> Plan {
    plan(pieces, [seed("seed"), seed("other"), leecher("leecher", &["seed", "other"])])
}

/// A member, and one who is not, dial the seed of a closed swarm at the same time.
fn closed() -> Plan {
    let outsider = leecher("outsider", &["seed"]);
    let outsider = PeerPlan { certificate: CertificatePlan::None, join_ms: 2, ..outsider };
    let mut plan = plan(8, [seed("seed"), leecher("member", &["seed"]), outsider]);
    plan.torrent.closed = true;
    plan
}

/// A seed that lies, and a true one that comes late.
fn a_liar() -> Plan {
    let liar = PeerPlan { lies: Some(Lies::Blocks(1.0)), ..seed("liar") };
    let late = PeerPlan { join_ms: 10_000, knows: vec!["leecher".to_owned()], ..seed("seed") };
    plan(5, [liar, late, leecher("leecher", &["liar"])])
}

/// The seed knows `a`'s dial only, and `b` gets everything from `a`.
fn in_a_row() -> Plan {
    plan(8, [seed("seed"), leecher("a", &["seed"]), leecher("b", &["a"])])
}

/// Each has what the other lacks, and dials it at the same moment.
fn halves() -> Plan {
    let half = |pieces: [u32; 4], peer| PeerPlan { has: Has::Pieces(pieces.into()), ..peer };
    plan(8, [half([0, 1, 2, 3], leecher("a", &["b"])), half([4, 5, 6, 7], leecher("b", &["a"]))])
}

/// Two who want the one upload slot for longer than the optimistic unchoke stays
/// with one of them.
fn two_for_one_slot() -> Plan {
    let seed = PeerPlan { upload_slots: 1, upload_limit: Some(20_000), ..seed("seed") };
    plan(50, [seed, leecher("a", &["seed"]), leecher("b", &["seed"])])
}

/// A seed prefers its subnet, from which enough want its slots for ever.
fn two_are_far() -> Plan {
    let seed = PeerPlan {
        locality: Locality::Subnet,
        choke_round_ms: 500,
        upload_slots: 2,
        upload_limit: Some(100_000),
        ..seed("seed")
    };
    let leecher = |name| PeerPlan { pex: false, upload_slots: 1, ..leecher(name, &["seed"]) };
    let leechers = ["a", "b", "c", "d", "x", "y"].map(leecher);
    let mut plan = plan(40, std::iter::once(seed).chain(leechers));
    plan.peers[5].address = IpAddr::from([10, 9, 0, 1]);
    plan.peers[6].address = IpAddr::from([10, 9, 0, 2]);
    plan
}

/// The same plan for a Merkle torrent. BEP 30.
fn merkle(mut plan: Plan) -> Plan {
    plan.torrent.merkle = true;
    plan
}

/// The same plan, and a second run in which nobody exchanges peers.
fn switching_pex(mut plan: Plan) -> Plan {
    let peers = plan.peers.iter().map(|peer| peer.name.clone()).collect();
    plan.flip = Some(FlipPlan { feature: Feature::Pex, peers });
    plan.limits.done_ms = 90_000;
    plan
}

fn three_on_one_host() -> Plan {
    let mut plan = plan(5, [seed("seed"), leecher("a", &["seed"]), leecher("b", &["seed", "a"])]);
    for (peer, port) in plan.peers.iter_mut().zip(6881..) {
        (peer.address, peer.port) = ([10, 0, 0, 1].into(), port);
    }
    plan
}

/// More requests wait than the seed's client sends in a second.
fn slow_seed() -> Plan {
    slow_seed_of(400)
}

fn slow_seed_of(pieces: u32) -> Plan {
    let seed = PeerPlan { upload_limit: Some(4_000_000 / 400 * u64::from(pieces)), ..seed("seed") };
    plan(pieces, [seed, leecher("leecher", &["seed"])])
}

/// Of those who stream from a seed with two slots to give one passes on what it gets.
fn a_giver_and_takers() -> Plan {
    let seed = PeerPlan {
        upload_slots: 3,
        upload_limit: Some(60_000),
        choke_round_ms: 1_000,
        ..seed("seed")
    };
    let taker = |name| PeerPlan { upload_slots: 0, ..leecher(name, &["seed", "giver"]) };
    let takers = ["a", "b", "c", "d"].map(taker);
    let giver = PeerPlan { pex: false, ..leecher("giver", &["seed"]) };
    let plan = video(plan(60, [seed, giver].into_iter().chain(takers)));
    // At most seeds the optimistic slot is for one that forwards nothing, when it matters.
    Plan { seed: 8, ..plan }
}

/// Who has piece 0 is late with it, and who is asked for it instead leaves.
fn late_and_gone() -> Plan {
    let slow = |name, limit| PeerPlan { upload_limit: Some(limit), ..seed(name) };
    let quicker = slow("quicker", 4_000);
    let quicker = PeerPlan { join_ms: 5_000, knows: vec!["leecher".to_owned()], ..quicker };
    let leecher = PeerPlan { has: Has::Pieces((1..20).collect()), ..leecher("leecher", &["seed"]) };
    let mut plan = video(plan(20, [slow("seed", 1_000), quicker, leecher]));
    plan.torrent.piece_length = 4 * 32 * 1024;
    plan.torrent.files[0].length *= 4;
    with_events(plan, [("quicker", Action::Leave, When::At(9_500))])
}

/// One of two seeds, who do not hear of each other, exits, and its host says so to whoever
/// dials it.
fn gone_for_good() -> Plan {
    let slow = PeerPlan { upload_limit: Some(20_000), ..seed("seed") };
    let other = PeerPlan { pex: false, ..seed("other") };
    let peers = [PeerPlan { pex: false, ..slow }, other, leecher("leecher", &["seed", "other"])];
    with_events(plan(60, peers), [("other", Action::Leave, When::At(300))])
}

/// The leecher loses power a little later than its resume data was saved, with what came
/// in between, and starts again.
fn power_cut_after_saving() -> Plan {
    let seed = PeerPlan { upload_limit: Some(40_000), ..seed("seed") };
    let events = [(11_000, Action::Crash), (13_000, Action::Start)];
    let events = events.map(|(at, action)| ("leecher", action, When::At(at)));
    with_events(plan(60, [seed, leecher("leecher", &["seed"])]), events)
}

/// Three seeds far away unchoke the leecher and leave. Between the two it asks each
/// of them for the only block, and nobody is asked a fourth time in the endgame: so
/// nothing is asked of the seed that has just come, until the others are gone.
fn three_leave_and_one_stays() -> Plan {
    let far = |name| PeerPlan { link: link_ms(1_000), ..seed(name) };
    let late = PeerPlan { join_ms: 5_340, knows: vec!["leecher".to_owned()], ..seed("late") };
    let leave = |name| (name, Action::Leave, When::At(4_800));
    let peers = [far("x"), far("y"), far("z"), late, leecher("leecher", &["x", "y", "z"])];
    let mut plan = with_events(plan(1, peers), [leave("x"), leave("y"), leave("z")]);
    plan.torrent.files[0].length = 16 * 1024;
    plan
}

/// The seed loses power with the last block of the first piece, which somebody has who comes
/// then, and of the second one, which nobody else has, much is left. It is long away.
fn seed_goes_dark() -> Plan {
    let slow = PeerPlan { upload_limit: Some(20_000), ..seed("seed") };
    let other = leecher("other", &["leecher"]);
    let other = PeerPlan { has: Has::Pieces(vec![0]), join_ms: 20_000, ..other };
    let events = [(12_700, Action::Crash), (300_000, Action::Start)];
    let events = events.map(|(at, action)| ("seed", action, When::At(at)));
    let mut plan = with_events(plan(1, [slow, leecher("leecher", &["seed"]), other]), events);
    plan.torrent.piece_length = 256 * 1024;
    plan.torrent.files[0].length = 2 * 256 * 1024;
    plan
}

/// The leecher exits as soon as it sees that all of its downloads are finished.
fn exits_when_finished(downloads: u32) -> Plan {
    let app = AppPlan { exit_when: Exit::Finished, downloads, ..AppPlan::default() };
    plan(5, [seed("seed"), PeerPlan { app, ..leecher("leecher", &["seed"]) }])
}

/// The same, but it has all of it already when it starts.
fn complete_from_the_start() -> Plan {
    let mut plan = exits_when_finished(1);
    plan.peers[1].has = Has::Everything;
    plan.peers.push(PeerPlan { address: [10, 0, 0, 3].into(), ..leecher("other", &["seed"]) });
    plan
}

/// The seed's user presses Ctrl-C twice, before the tracker can have been told.
fn interrupted_twice() -> Plan {
    let ctrl_c = |at| ("seed", Action::Interrupt, When::At(at));
    with_events(announced(one_to_one(5)), [ctrl_c(12_000), ctrl_c(12_005)])
}

/// Three connect to a seed that would have dialled one.
fn more_than_it_dials() -> Plan {
    let peers = ["a", "b", "c"].map(|name| leecher(name, &["seed"]));
    let seed = PeerPlan { initiate_max: Some(1), upload_limit: Some(20_000), ..seed("seed") };
    announced(plan(10, [seed].into_iter().chain(peers)))
}

fn run(plan: &Plan) -> Report {
    plans::run(plan, Engine::TurmoilNet)
}

fn outcome(plan: &Plan, report: &Report) -> String {
    let Report { verdict, failure, doubts, .. } = report;
    format!("{verdict}: {failure:#?}\n{doubts:?}\nof {plan:?}")
}

#[test]
fn every_defect_is_found_by_its_oracle_with_evidence_for_a_reader() {
    let mut wrong = Vec::new();
    for defect in Defect::ALL {
        let (plan, says) = canary(defect);
        let plan = Plan { defects: vec![defect], ..plan };
        let report = run(&plan);
        let found = report.failure.as_ref().is_some_and(|failure| {
            failure.oracle.to_string() == defect.oracle()
                && says.iter().all(|words| failure.evidence.contains(words))
        });
        if report.verdict != Verdict::Fail || !found {
            let got = outcome(&plan, &report);
            wrong.push(format!("expected {} with {says:?}, got {got}", defect.oracle()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn without_its_defect_each_plan_passes() {
    let mut wrong = Vec::new();
    for defect in Defect::ALL {
        let (plan, _) = canary(defect);
        let report = run(&plan);
        if report.verdict != Verdict::Pass {
            wrong.push(format!("for {defect}, expected pass, got {}", outcome(&plan, &report)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_panic_after_the_last_download_is_found_too() {
    let late = two_seeds_of(1);
    let report = run(&Plan { defects: vec![Defect::LateCancelPanics], ..late });
    let failure = report.failure.expect("a cancel comes when the last block has been sent");
    assert_eq!(failure.oracle, Code::Robust);
    assert!(failure.at > report.peers[2].completed.expect("it finished before"), "{failure:?}");
}

#[test]
fn an_event_that_never_comes_to_pass_leaves_the_verdict_unknown() {
    let never = When::Verified { peer: "leecher".to_owned(), pieces: 6 };
    let report = run(&with_events(one_to_one(5), [("seed", Action::Crash, never)]));
    assert_eq!((report.verdict, report.failure), (Verdict::Unknown, None));
    assert_eq!(report.doubts, ["Crash of seed never came to pass"]);
}

#[test]
fn an_event_that_finds_nothing_to_do_leaves_the_verdict_unknown() {
    let at_once = ("leecher", Action::Start, When::At(0));
    let report = run(&with_events(one_to_one(5), [at_once]));
    assert_eq!((report.verdict, report.failure), (Verdict::Unknown, None));
    assert_eq!(report.doubts, ["Start of leecher came when it could do nothing"]);
}

#[test]
fn an_event_that_need_not_happen_leaves_no_doubt_when_it_does_not() {
    let mut plan = with_events(one_to_one(5), [("leecher", Action::Start, When::At(0))]);
    let never = When::Verified { peer: "leecher".to_owned(), pieces: 6 };
    plan = with_events(plan, [("seed", Action::Crash, never)]);
    for event in &mut plan.events {
        event.if_possible = true;
    }
    let report = run(&plan);
    assert_eq!((report.verdict, report.doubts), (Verdict::Pass, vec![]));
}

#[test]
fn a_run_cut_off_by_its_step_limit_shows_nothing() {
    let mut plan = one_to_one(5);
    let steps =
        |report: &Report| report.checks.iter().find(|(code, _)| *code == Code::Spin).unwrap().1;
    let whole = steps(&run(&plan));
    for cut in [1, whole / 2, whole - 1] {
        plan.limits.steps = cut;
        let report = run(&plan);
        assert_eq!((report.verdict, report.failure), (Verdict::Unknown, None), "after {cut} steps");
        let says = format!("stopping the run after {cut} steps, its limit");
        assert!(report.doubts.contains(&says), "{:?}", report.doubts);
        assert_eq!(report.doubts.iter().filter(|doubt| **doubt == says).count(), 1);
    }
}

#[test]
fn an_oracle_with_nothing_to_check_leaves_the_verdict_unknown() {
    let report = run(&plan(5, [seed("seed")]));
    assert_eq!((report.verdict, report.failure), (Verdict::Unknown, None));
    let idle = [
        "I-AVAIL", "I-BAN", "I-BLK", "I-DONE", "I-FAIR", "I-HAVE", "I-MEM", "I-ONE", "I-SLOT",
        "I-WASTE", "I-WIRE",
    ];
    assert_eq!(report.doubts, idle.map(|code| format!("{code} had nothing to check")));
}

#[test]
fn privacy_is_checked_in_private_torrents_only() {
    let checks = |plan| run(&plan).checks.iter().any(|(code, _)| *code == Code::Priv);
    assert!(!checks(one_to_one(5)));
    assert!(checks(private(one_to_one(5))));
}

#[test]
fn every_oracle_of_a_run_has_a_defect_that_it_finds() {
    let found: BTreeSet<&str> = Defect::ALL.iter().map(|defect| defect.oracle()).collect();
    let report = run(&watched(video(private(one_to_one(1)))));
    for (code, _) in report.checks {
        assert!(found.contains(code.to_string().as_str()), "no defect proves {code}");
    }
}
