//! Faults on purpose, of the whole node: what its tests are tested with. The store's are in `ringpost_storage::bugs`.
//!
//! Each is a mistake that somebody could make in this code, at the very place where it would be made. In a build with the
//! feature `bugs` one of them can be switched on for a thread, or by `RINGPOST_BUG=NAME` for a process; in any other build
//! [`on`] is false at compile time. Who catches which is in `tests/sim/bugs.rs` and `tests/sim_doors/bugs.rs`.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A sender has its `250` before the letter is durable.
    EarlyYes,
    /// A transfer is settled at its source before it is durable at its target.
    SettleEarly,
    /// Nobody calls the courier for what a letter owes to other volumes.
    ForgetCourier,
    /// EXPUNGE is answered before it is durable.
    EarlyExpunge,
    /// What a client said before its conversation was handed over is lost.
    LoseHeld,
    /// The new home of an account that moved is not believed.
    StaleHome,
}

impl Bug {
    /// All of them.
    pub const ALL: &[Bug] =
        &[Bug::EarlyYes, Bug::SettleEarly, Bug::ForgetCourier, Bug::EarlyExpunge, Bug::LoseHeld, Bug::StaleHome];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Bug::EarlyYes => "early-yes",
            Bug::SettleEarly => "settle-early",
            Bug::ForgetCourier => "forget-courier",
            Bug::EarlyExpunge => "early-expunge",
            Bug::LoseHeld => "lose-held",
            Bug::StaleHome => "stale-home",
        }
    }
}

#[cfg(feature = "bugs")]
thread_local! {
    static NOW: std::cell::Cell<Option<Bug>> = std::cell::Cell::new(of_process());
    static EXTENSION_OUT: std::cell::Cell<Option<&'static str>> = const { std::cell::Cell::new(None) };
}

/// The one that the environment asks for. (A name that is none of these may be the store's.)
#[cfg(feature = "bugs")]
fn of_process() -> Option<Bug> {
    let name = std::env::var("RINGPOST_BUG").ok()?;
    Bug::ALL.iter().copied().find(|bug| bug.name() == name)
}

/// Switches one on for this thread, or all off.
#[cfg(feature = "bugs")]
pub fn switch(bug: Option<Bug>) {
    NOW.with(|now| now.set(bug));
}

/// True if the mistake is to be made.
#[cfg(feature = "bugs")]
#[must_use]
pub fn on(bug: Bug) -> bool {
    NOW.with(|now| now.get() == Some(bug))
}

/// True if the mistake is to be made.
#[cfg(not(feature = "bugs"))]
#[inline(always)]
#[must_use]
pub const fn on(_: Bug) -> bool {
    false
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
