//! Faults on purpose, of the whole node: what its tests are tested with. The store's are in `ringpost_storage::bugs`.
//!
//! Each is a mistake that somebody could make in this code, at the very place where it would be made. In a build with the
//! feature `bugs` one of them can be switched on for a thread, or by `RINGPOST_BUG=NAME` for a process; in any other build
//! `on` is false at compile time. Who finds which, as far as it was looked at, is in `tests/bugs.tsv`.

ringpost_storage::mistakes! {
    /// A sender has its `250` before the letter is durable.
    EarlyYes = "early-yes",
    /// A transfer is settled at its source before it is durable at its target.
    SettleEarly = "settle-early",
    /// Nobody calls the courier for what a letter owes to other volumes.
    ForgetCourier = "forget-courier",
    /// EXPUNGE is answered before it is durable.
    EarlyExpunge = "early-expunge",
    /// QUIT is answered before what it deletes is gone for good.
    EarlyQuit = "early-quit",
    /// What a client said before its conversation was handed over is lost.
    LoseHeld = "lose-held",
    /// The new home of an account that moved is not believed.
    StaleHome = "stale-home",
    /// What a move that was cut off has left stays.
    KeepLeft = "keep-left",
    /// An account that moves is frozen after the last look at what changed.
    FreezeLate = "freeze-late",
    /// Where nobody knows whether an account has arrived, it takes changes again in its old home.
    ThawUnknown = "thaw-unknown",
    /// A courier takes a load that was not answered for one that has arrived.
    SkipUnanswered = "skip-unanswered",
    /// A start keeps no room for what volumes owe one another.
    ForgetExpected = "forget-expected",
    /// What was handed to the disk and is not vouched for counts as not kept.
    UnknownIsRefused = "unknown-is-refused",
}

#[cfg(feature = "bugs")]
thread_local! {
    static EXTENSION_OUT: std::cell::Cell<Option<&'static str>> = const { std::cell::Cell::new(None) };
    static MECHANISM_OUT: std::cell::Cell<Option<&'static str>> = const { std::cell::Cell::new(None) };
}

/// Takes out, on this thread, whatever honours an extension of SMTP that EHLO goes on to offer; or puts all back.
#[cfg(feature = "bugs")]
pub fn take_out_extension(keyword: Option<&'static str>) {
    EXTENSION_OUT.with(|out| out.set(keyword));
}

/// The keyword of the extension that is offered and not honoured.
#[cfg(feature = "bugs")]
#[must_use]
pub fn extension_out() -> Option<&'static str> {
    EXTENSION_OUT.with(std::cell::Cell::get)
}

/// The keyword of the extension that is offered and not honoured.
#[cfg(not(feature = "bugs"))]
#[inline(always)]
#[must_use]
pub const fn extension_out() -> Option<&'static str> {
    None
}

/// Takes out, on this thread, what carries out a mechanism of SASL that is offered all the same; or puts it back.
#[cfg(feature = "bugs")]
pub fn take_out_mechanism(name: Option<&'static str>) {
    MECHANISM_OUT.with(|out| out.set(name));
}

/// The name of the mechanism that is offered and not carried out.
#[cfg(feature = "bugs")]
#[must_use]
pub fn mechanism_out() -> Option<&'static str> {
    MECHANISM_OUT.with(std::cell::Cell::get)
}

/// The name of the mechanism that is offered and not carried out.
#[cfg(not(feature = "bugs"))]
#[inline(always)]
#[must_use]
pub const fn mechanism_out() -> Option<&'static str> {
    None
}
