//! What a panic prints on our threads: one line, no backtrace.
//!
//! With RUST_BACKTRACE set the standard hook symbolises on the thread that panicked, which holds a shard and all its
//! connections for over a second. Threads that are not ours keep the hook they had.

use std::cell::Cell;
use std::panic;
use std::sync::Once;

thread_local! {
    static OURS: Cell<bool> = const { Cell::new(false) };
}

/// Panics of this thread are contained by us.
pub fn expect_here() {
    OURS.set(true);
}

/// Installs the hook, once a process.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !OURS.try_with(Cell::get).unwrap_or(false) {
                return before(info);
            }
            let text = super::home::panic_text(info.payload());
            let at = info.location().map(ToString::to_string).unwrap_or_default();
            if tracing::dispatcher::has_been_set() {
                tracing::error!(%at, "panic: {text}");
            } else {
                eprintln!("panic at {at}: {text}");
            }
        }));
    });
}
