use std::io;

use reseed_client::{Env, Tasks};
use tokio::sync::mpsc;

/// Sends a message for each Ctrl-C, and for each request of the system to end, from
/// now on until `tasks` end.
#[cfg(unix)]
pub fn forward(tasks: &Tasks, env: &impl Env, to: mpsc::UnboundedSender<()>) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    for (name, kind) in [("SIGINT", SignalKind::interrupt()), ("SIGTERM", SignalKind::terminate())]
    {
        let (mut signals, to) = (signal(kind)?, to.clone());
        tasks.spawn(env, name, async move {
            while signals.recv().await.is_some() && to.send(()).is_ok() {}
        });
    }
    Ok(())
}

/// Sends a message for each Ctrl-C from now on, until `tasks` end.
#[cfg(not(unix))]
pub fn forward(tasks: &Tasks, env: &impl Env, to: mpsc::UnboundedSender<()>) -> io::Result<()> {
    tasks.spawn(env, "Ctrl-C", async move {
        while tokio::signal::ctrl_c().await.is_ok() && to.send(()).is_ok() {}
    });
    Ok(())
}
