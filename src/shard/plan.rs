//! What a start is asked for, and the sentences it may be refused with.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Shards to start and what each may have.
#[derive(Clone, Debug)]
pub struct Plan {
    /// One entry a shard: the CPU it is pinned to.
    pub cpus: Vec<usize>,
    /// Submission entries of each ring (a power of two).
    pub ring_entries: u32,
    /// Provided receive buffers of each ring (a power of two).
    pub recv_buffers: u16,
    /// Octets of one receive buffer.
    pub recv_buffer_bytes: u32,
    /// Side threads of the process.
    pub side_threads: usize,
}

/// Why the process does not start. Each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kernel lacks what the ring needs.
    #[error("this kernel is Linux {found}; Ringpost needs 6.1 or newer: boot a newer kernel")]
    Kernel {
        /// What `uname -r` says.
        found: String,
    },
    /// io_uring is switched off.
    #[error("io_uring is not allowed here ({why}): {cure}")]
    IoUring {
        /// The kernel's answer.
        why: String,
        /// What to do.
        cure: String,
    },
    /// Locked memory is too small for the rings.
    #[error(
        "locked memory is limited to {have_kib} KiB and {need_kib} KiB are needed: raise it with `ulimit -l {need_kib}` or LimitMEMLOCK={need_kib}K in the unit file"
    )]
    Memlock {
        /// Present limit.
        have_kib: u64,
        /// Needed limit.
        need_kib: u64,
    },
    /// Too few file descriptors.
    #[error(
        "open files are limited to {have} and at least {need} are needed: raise it with `ulimit -n {need}` or LimitNOFILE={need} in the unit file"
    )]
    Nofile {
        /// Present limit.
        have: u64,
        /// Needed limit.
        need: u64,
    },
    /// A port is taken.
    #[error("port {} on {} is taken by another process: stop it (`ss -ltnp 'sport = :{}'` names it), or start with --port-offset", at.port(), at.ip(), at.port())]
    PortTaken {
        /// The address asked for.
        at: SocketAddr,
    },
    /// A door cannot be opened for another reason.
    #[error("cannot listen on {at}: {why}")]
    Listen {
        /// The address asked for.
        at: SocketAddr,
        /// The kernel's answer.
        why: io::Error,
    },
    /// Another process has the data directory.
    #[error("{} is in use by another Ringpost ({holder}): stop it first, or give this one its own --data DIR", dir.display())]
    DataInUse {
        /// The directory.
        dir: PathBuf,
        /// What the lock file says of its holder.
        holder: String,
    },
    /// The volume cannot be opened.
    #[error("{}: {why}", dir.display())]
    Data {
        /// The volume's folder.
        dir: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// A setting is out of range.
    #[error("{0}")]
    Setting(String),
    /// Anything else.
    #[error("{doing}: {why}")]
    Io {
        /// What was being done.
        doing: String,
        /// The kernel's answer.
        why: io::Error,
    },
}
