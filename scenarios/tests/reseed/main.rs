//! The catalogue and the command, as their users see them.

mod any_plan;
mod churn;
mod closed_swarms;
mod command;
mod diff;
mod hunt;
mod peer;
mod picker_crash;
mod problems;
mod readme;
mod regressions;
mod runs;
mod scenarios;
mod shrink;

use std::process::Command;

use reseed::find;
use reseed_sim::{Content, Engine, Plan, Report, Watch};

/// The command, which logs nothing.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reseed"));
    command.args(arguments).env_remove("RUST_LOG");
    command
}

/// A plan of a scenario of the catalogue.
fn plan(scenario: &str, seed: u64) -> Plan {
    find(scenario).unwrap().source().read().unwrap().plan(seed).unwrap()
}

/// What comes of it, on the engine that the command takes unless it is told another.
fn run(plan: &Plan) -> Report {
    run_on(plan, Engine::TurmoilNet, &mut ())
}

fn run_on(plan: &Plan, engine: Engine, watch: &mut dyn Watch) -> Report {
    let content = Content::generate(&plan.torrent).unwrap();
    reseed_sim::run(plan, &content, engine, watch)
}

/// Snapshots are in a folder of their own, and each says by its name what it is of.
fn snapshots() -> insta::internals::SettingsBindDropGuard {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind_to_scope()
}
