//! Ctrl-C, as a wish to end that is looked at now and then.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use miette::miette;

/// Whether the user wishes that it ends.
#[derive(Clone)]
pub struct Interrupt(Arc<AtomicBool>);

/// Takes Ctrl-C from now on; the second one ends the process at once.
pub fn flag() -> miette::Result<Interrupt> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let second = signal_hook::flag::register_conditional_shutdown(signal, 130, flag.clone());
        let first = signal_hook::flag::register(signal, flag.clone());
        second.and(first).map_err(|error| miette!("cannot wait for signals: {error}"))?;
    }
    Ok(Interrupt(flag))
}

impl Interrupt {
    /// Whether it came.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
