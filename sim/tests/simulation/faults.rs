//! Faults: each kind fires, and is the cause of what is seen with it.

mod disk;
mod host;
mod network;
mod remnants;

use reseed_protocol::Time;
use reseed_sim::{Engine, Plan, Report, Verdict, plan::Fault};

use crate::plans::{leecher, plan, run, seed, with_fault};

fn report(plan: &Plan) -> Report {
    run(plan, Engine::TurmoilNet)
}

/// A leecher that gets 4 MiB from a seed, which sends 256 KiB a second: 16 s.
fn download() -> Plan {
    let mut seed = seed("seed");
    seed.upload_limit = Some(256 * 1024);
    plan(128, [seed, leecher("leecher", &["seed"])])
}

fn completed(report: &Report, peer: &str) -> Time {
    let peer = report.peers.iter().find(|it| it.name == peer).unwrap();
    peer.completed.unwrap_or_else(|| panic!("{} is not complete: {report:?}", peer.name))
}

/// How much later the leecher is complete with `fault` from 2 s to `until` (ms) than
/// without it, in seconds. The fault fires, and the run passes.
fn delay(fault: Fault, hosts: &[&str], until: u64) -> f64 {
    let without = report(&download());
    let name = fault.name();
    assert_eq!((without.verdict, without.fired(name)), (Verdict::Pass, 0), "{without:?}");
    let with = report(&with_fault(download(), fault, hosts, 2_000, until));
    assert_eq!(with.verdict, Verdict::Pass, "{name}: {:?} {:?}", with.failure, with.doubts);
    assert!(with.fired(name) > 0, "{name}: {:?}", with.fired);
    let [before, after] = [&without, &with].map(|it| completed(it, "leecher").since_epoch());
    after.as_secs_f64() - before.as_secs_f64()
}
