//! Faults on purpose: what the tests are tested with.
//!
//! Each is a mistake that somebody could make in this code, at the very place where it would be made. In a build with the
//! feature `bugs` one of them can be switched on for a thread, or by `RINGPOST_BUG=NAME` for all threads of a process; in any
//! other build `on` is false at compile time. Which campaign or story finds which, and within how many seeds, is in
//! `tests/bugs.rs`; `tests/bugs.tsv` of the whole project has which test does, as far as it was looked at.

/// Declares mistakes: `enum Bug` with `ALL` and `name`, and `switch` and `on`. A crate that uses it has a feature `bugs`.
#[macro_export]
macro_rules! mistakes {
    ($($(#[doc = $doc:literal])* $bug:ident = $name:literal,)*) => {
        /// A mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Bug {
            $($(#[doc = $doc])* $bug,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Bug] = &[$(Bug::$bug,)*];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Bug::$bug => $name,)*
                }
            }
        }

        #[cfg(feature = "bugs")]
        thread_local! {
            static NOW: std::cell::Cell<Option<Bug>> = std::cell::Cell::new(of_process());
        }

        /// The one that the environment asks for. (A name that is none of these may be another crate's.)
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
            static SAID: [std::sync::atomic::AtomicBool; Bug::ALL.len()] =
                [const { std::sync::atomic::AtomicBool::new(false) }; Bug::ALL.len()];
            if !SAID[bug as usize].swap(true, std::sync::atomic::Ordering::Relaxed) {
                $crate::bugs::reached(bug.name());
            }
            NOW.with(|now| now.get() == Some(bug))
        }

        /// True if the mistake is to be made.
        #[cfg(not(feature = "bugs"))]
        #[inline(always)]
        #[must_use]
        pub const fn on(_: Bug) -> bool {
            false
        }
    };
}

/// Tells that this process has come by the place of a mistake: a line in the file `RINGPOST_BUGS_REACHED`, if that is set. With a
/// mistake whose place a test does not reach it goes as without.
///
/// # Panics
/// When that file cannot be written.
#[cfg(feature = "bugs")]
pub fn reached(name: &str) {
    use std::io::Write;
    let Some(path) = std::env::var_os("RINGPOST_BUGS_REACHED") else { return };
    let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(format!("{name}\n").as_bytes())).expect("it can be written");
}

mistakes! {
    /// A commit is acknowledged before its sync.
    AckBeforeSync = "ack-before-sync",
    /// A new file's name is not synced.
    SkipDirectorySync = "skip-directory-sync",
    /// The highest UID is given again when its message is expunged.
    ReuseUid = "reuse-uid",
    /// Opening takes the first octets that do not verify for the end of the log.
    TruncateAtDamage = "truncate-at-damage",
    /// A failed sync is tried again, and believed.
    RetrySync = "retry-sync",
    /// A short write counts as a write.
    IgnoreShortWrite = "ignore-short-write",
    /// MOVE forgets to take the message from where it was.
    LoseMoveSource = "lose-move-source",
    /// The epoch stays when a torn tail is discarded.
    KeepEpoch = "keep-epoch",
    /// A second user of a body is not counted.
    DropReference = "drop-reference",
    /// A transfer is received once more.
    ReceiveTwice = "receive-twice",
    /// A batch is shown before it is durable.
    ShowDecided = "show-decided",
    /// The copies of a transfer become durable without their watermark.
    ForgetWatermark = "forget-watermark",
    /// A segment is begun without its header.
    SkipSegmentHeader = "skip-segment-header",
    /// What is read is not verified.
    SkipVerify = "skip-verify",
    /// UIDVALIDITY is the clock's.
    UidvalidityOfClock = "uidvalidity-of-clock",
    /// Opening believes in what nobody has synced.
    TrustUnsynced = "trust-unsynced",
    /// Bodies at the end of the log are not verified when it is opened.
    SkipBodies = "skip-bodies",
    /// Numbers do not jump over what was lost.
    ForgetGap = "forget-gap",
    /// A record is no link of its account's chain.
    BreakChain = "break-chain",
    /// A change of flags has the MODSEQ of the change before.
    KeepModseq = "keep-modseq",
    /// A failed write is acknowledged.
    IgnoreError = "ignore-error",
    /// What is expunged still counts for the quota.
    KeepQuota = "keep-quota",
    /// Batches that a recycled file held before count as this segment's.
    WrongIncarnation = "wrong-incarnation",
    /// The superblock names a checkpoint whose pages are not synced.
    CheckpointUnsynced = "checkpoint-unsynced",
    /// A segment is retired while an opening from a checkpoint still reads it.
    RetireEarly = "retire-early",
    /// A change of an account is not marked for the next checkpoint.
    ForgetMark = "forget-mark",
    /// A fold drops the newest row.
    FoldDropsNewest = "fold-drops-newest",
    /// Compaction leaves no word where it moved a body.
    ForgetForward = "forget-forward",
    /// A batch calls itself durable.
    VouchEarly = "vouch-early",
    /// Old places are not named anew in accounts that keep nothing but what was expunged, and then forgotten.
    ForgetRetained = "forget-retained",
    /// What was expunged is kept by the letter's date, and not by when it was expunged.
    RetainByDate = "retain-by-date",
    /// A scrub reads bodies and does not hold them against their checksums.
    ScrubUnverified = "scrub-unverified",
    /// A large body that nobody has any more lets its list go, and not its pieces.
    ForgetPieces = "forget-pieces",
    /// A quota counts what is durable, and not what is decided.
    QuotaOfDurable = "quota-of-durable",
    /// Appends use what is left of the reserve.
    AppendInReserve = "append-in-reserve",
}
