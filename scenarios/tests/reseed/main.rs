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
mod regressions;
mod runs;
mod scenarios;
mod shrink;

/// Snapshots are in a folder of their own, and each says by its name what it is of.
fn snapshots() -> insta::internals::SettingsBindDropGuard {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind_to_scope()
}
