//! Faults as an API: the n-th operation of a kind fails, once or from then on.

use std::io;

/// A step of the disk that takes time and can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OpKind {
    /// Listing the folder.
    List,
    /// Making a file.
    Create,
    /// Opening a file.
    Open,
    /// Giving a file another name.
    Recycle,
    /// Removing a file.
    Remove,
    /// Reading.
    Read,
    /// The writing half of `write_sync`.
    Write,
    /// The syncing half.
    Sync,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An I/O error. A failed write may have written some of its sectors; a failed sync none or some.
    Io,
    /// No space left. (For `Create`; a write of a preallocated file does not know it.)
    NoSpace,
    /// The process has no descriptor left (EMFILE).
    NoDescriptor,
    /// Only the front of the write arrives. An error for the caller, as [`crate::disk::File::write_sync`] promises.
    Short,
    /// EINTR: nothing was done.
    Interrupted,
    /// EAGAIN: nothing was done.
    Again,
    /// ECANCELED: a link of the chain broke. Of a write some sectors may have arrived; a sync was not begun.
    Cancelled,
}

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The n-th operation of the kind from now (from 1), once.
    Once(u64),
    /// The n-th and all later ones.
    From(u64),
}

/// The plan of what fails.
#[derive(Default)]
pub struct Faults {
    plan: Vec<(OpKind, Fault, When)>,
    /// So often something went wrong.
    pub(super) struck: u64,
}

impl Faults {
    pub(super) fn add(&mut self, kind: OpKind, fault: Fault, when: When) {
        self.plan.push((kind, fault, when));
    }

    pub(super) fn clear(&mut self) {
        self.plan.clear();
    }

    /// Counts an operation; says what goes wrong with it.
    pub(super) fn strike(&mut self, kind: OpKind) -> Option<Fault> {
        let mut struck = None;
        self.plan.retain_mut(|(of, fault, when)| {
            if *of != kind {
                return true;
            }
            match when {
                When::Once(1) => {
                    struck = Some(*fault);
                    false
                }
                When::From(1) => {
                    struck = Some(*fault);
                    true
                }
                When::Once(n) | When::From(n) => {
                    *n -= 1;
                    true
                }
            }
        });
        self.struck += u64::from(struck.is_some());
        struck
    }
}

impl Fault {
    pub(super) fn error(self) -> io::Error {
        match self {
            Fault::Io => io::Error::other("simulated I/O error"),
            Fault::NoSpace => io::Error::from(io::ErrorKind::StorageFull),
            Fault::NoDescriptor => io::Error::from_raw_os_error(24),
            Fault::Short => io::Error::new(io::ErrorKind::WriteZero, "simulated short write"),
            Fault::Interrupted => io::Error::from_raw_os_error(4),
            Fault::Again => io::Error::from_raw_os_error(11),
            Fault::Cancelled => io::Error::from_raw_os_error(125),
        }
    }
}
