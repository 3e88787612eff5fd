//! The target `connection` bites: with a bug written back into the peer, it finds it.

use std::panic::catch_unwind;

use reseed_fuzz::{Target, connection, property::hold};
use reseed_protocol::{Defect, Defects};

/// Whether the target finds a defect among its seeds and some variations of them.
macro_rules! finds {
    ($defect:ident) => {{
        fn run(bytes: &[u8]) {
            connection::run_with(bytes, Defects::NONE.with(Defect::$defect));
        }
        let target = Target { run, ..Target::named("connection") };
        catch_unwind(|| hold(&target, 1_000)).is_err()
    }};
}

#[test]
fn a_peer_that_breaks_is_found() {
    assert!(finds!(LateCancelPanics));
}

#[test]
fn books_that_do_not_agree_are_found() {
    assert!(finds!(HaveCountedTwice));
}

#[test]
fn a_claim_of_what_is_not_there_is_found() {
    assert!(finds!(HaveBeforeCheck));
}

#[test]
fn a_call_to_what_is_not_there_is_found() {
    assert!(finds!(NoTransporterWhenComplete));
}

#[test]
fn a_timer_that_is_always_due_is_found() {
    assert!(finds!(TimerInThePast));
}
