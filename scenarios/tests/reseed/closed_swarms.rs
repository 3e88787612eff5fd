//! Problems 4 and 6 have nothing to do with each other, though the report suspected it:
//! each shows where the other cannot.

use reseed_protocol::Defect;
use reseed_sim::{Plan, Report, Verdict};

use crate::run;

const ATTRIBUTE: &str = "closed-swarm-attribute";
const CRASH: &str = "streaming-picker-crash";

fn plan(scenario: &str, defect: Defect) -> Plan {
    Plan { defects: vec![defect], ..crate::plan(scenario, 1) }
}

fn failed_on(report: &Report) -> Option<String> {
    report.failure.as_ref().map(|failure| failure.oracle.to_string())
}

#[test]
fn the_attribute_is_missed_where_nobody_streams() {
    let plan = plan(ATTRIBUTE, Defect::ClosedSwarmInOpenSwarm);
    assert!(plan.peers.iter().all(|peer| !peer.stream));
    assert_eq!(failed_on(&run(&plan)).as_deref(), Some("I-ERR"));
}

#[test]
fn without_streams_the_bug_behind_the_picker_harms_nobody() {
    let report = run(&plan(ATTRIBUTE, Defect::NoTransporterWhenComplete));
    assert_eq!((report.verdict, report.failure), (Verdict::Pass, None));
}

#[test]
fn the_picker_crashes_where_nobody_offers_the_closed_swarm_handshake() {
    let plan = plan(CRASH, Defect::NoTransporterWhenComplete);
    assert!(!plan.torrent.closed, "only a closed swarm's peers offer it");
    assert_eq!(failed_on(&run(&plan)).as_deref(), Some("I-INIT"));
}

#[test]
fn the_missing_attribute_alone_crashes_no_picker() {
    let report = run(&plan(CRASH, Defect::ClosedSwarmInOpenSwarm));
    assert_eq!(failed_on(&report).as_deref(), Some("I-ERR"));
}
