//! Panics of simulated code: caught, kept quiet, and told with their place.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    fmt, panic,
    panic::{AssertUnwindSafe, PanicHookInfo},
    sync::Once,
};

/// What a panic said, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PanicMessage {
    /// The payload, if it was text.
    pub message: String,
    /// `file:line:column`, if it is known.
    pub location: Option<String>,
}

impl fmt::Display for PanicMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let location = self.location.as_deref().unwrap_or("an unknown place");
        write!(f, "panicked at {location}: {}", self.message)
    }
}

/// Runs `code`; a panic in it is an error and is not printed.
pub(crate) fn catch<R>(code: impl FnOnce() -> R) -> Result<R, PanicMessage> {
    install_hook();
    let outer = CATCHING.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(code));
    CATCHING.set(outer);
    outcome.map_err(|payload| PanicMessage {
        message: text(payload.as_ref()),
        location: LOCATION.take(),
    })
}

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The hook is the process's, so it is set once and only for good: whatever
/// panics outside [`catch`] goes to the hook that was there before.
fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            if CATCHING.get() {
                LOCATION.set(info.location().map(ToString::to_string));
            } else {
                previous(info);
            }
        }));
    });
}

fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("(not text)").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caught_panic_tells_its_message_and_place() {
        let panic = catch(|| panic!("piece {} is gone", 7)).expect_err("it panicked");
        assert_eq!(panic.message, "piece 7 is gone");
        assert!(panic.location.expect("the hook saw it").contains("panics.rs"));
    }

    #[test]
    fn code_that_does_not_panic_returns_its_value() {
        assert_eq!(catch(|| 3), Ok(3));
    }
}
