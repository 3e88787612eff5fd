//! What may be planned of a live stream, and who finds it.

use reseed_sim::{
    Engine, Plan, Verdict,
    plan::{AppPlan, Behaviour, Exit, Has, PeerPlan, Remnant},
};

use crate::plans::{leecher, live, plan, run, seed};

fn watched() -> Plan {
    live(plan(32, [seed("source"), leecher("viewer", &["source"])]), 60)
}

#[test]
fn a_plan_of_a_live_stream_is_refused_where_it_can_be_none() {
    type Spoil = fn(&mut Plan);
    let spoilt: [(Spoil, &str); 8] = [
        (|plan| plan.torrent.bitrate = None, "torrent: a live stream needs a bitrate"),
        (
            |plan| plan.torrent.merkle = true,
            "torrent: a live stream is no Merkle torrent and no folder",
        ),
        (
            |plan| plan.torrent.files[0].length /= 2,
            "torrent: a live stream goes round more and longer pieces",
        ),
        (
            |plan| plan.torrent.files[0].length += 1,
            "torrent: the last piece of a live stream is as long as the others",
        ),
        (
            |plan| plan.peers[1].has = Has::Everything,
            "torrent: a live stream has one source, and here are 2",
        ),
        (
            |plan| plan.peers[1].has = Has::Pieces(vec![1]),
            "viewer: nobody has pieces of a live stream before it is made",
        ),
        (
            |plan| plan.peers[1].remnant = Remnant::OtherBytes,
            "viewer: a live stream leaves nothing on disks before it is made",
        ),
        (
            |plan| plan.peers[1].app = AppPlan { exit_when: Exit::Played, ..AppPlan::default() },
            "viewer: it exits when a live stream is over, which never is",
        ),
    ];
    for (spoil, expected) in spoilt {
        let mut plan = watched();
        spoil(&mut plan);
        assert_eq!(plan.check().unwrap_err().to_string(), expected);
    }
}

/// Whom the viewer knows besides the source says that it has whatever it hears that others
/// have, and gives nothing.
#[test]
fn who_claims_a_live_stream_and_gives_nothing_leads_nobody_astray_for_long() {
    let mut asked = 0;
    for behaviour in [Behaviour::NeverSends, Behaviour::ClaimsFalsely] {
        for join_ms in (0..10_000).step_by(1_000) {
            let viewer = PeerPlan { join_ms, ..leecher("viewer", &["mallory", "source"]) };
            let mallory =
                PeerPlan { behaviour, if_possible: true, ..leecher("mallory", &["source"]) };
            let mut plan = live(plan(32, [seed("source"), viewer]), 60);
            let address = "10.0.0.9".parse().unwrap();
            plan.peers.push(PeerPlan { address, ..mallory }.without_client());
            let report = run(&plan, Engine::Native);
            let at = format!("{behaviour:?} at {join_ms}: {:?}", report.failure);
            assert_eq!(report.verdict, Verdict::Pass, "{at} {:?}", report.doubts);
            asked += report.fired(behaviour.name());
        }
    }
    assert!(asked > 0, "something was asked of it");
}
