//! The real world: glommio keeps the runnable tasks, one io_uring ring per shard carries all that waits.
//!
//! ```text
//!   node ── shard ── driver ─ turn ─► ring ── slots: what the kernel holds of ours
//!    │        │                        └─ pool: receive buffers
//!    │        └─ bell ◄─ other threads: side pool, mesh, signals
//!    └─ side threads
//! ```
//!
//! Unsafe code lives in `ring`, `entries`, `buffers`, `stage` and `signals`.

use std::cell::RefCell;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Moment, ShardId};

mod bell;
mod buffers;
mod disk;
mod entries;
mod file;
mod home;
mod mesh;
mod net;
mod node;
mod outward;
mod panics;
mod process;
mod ring;
mod side;
mod signals;
mod stage;
mod start;
mod stream;
mod work;

#[cfg(test)]
mod tests;

pub use buffers::Chunk;
pub use disk::Disk;
pub use file::DiskFile;
pub use home::{round, run_dry, sleep, stop_requested, within};
pub use mesh::Mesh;
pub use net::{Listener, accept_paused, descriptors_are_scarce, local_is_free, tcp_socket};
pub use node::{request_stop, run};
pub use outward::{Datagrams, connect};
pub use process::{process, resident_bytes};
pub use side::{side, waiting as side_jobs_waiting};
pub use signals::{hold as hold_stop_signals, reload_requested};
pub use start::raise_nofile;
pub use stream::{Detached, Stream};

/// This thread's shard.
pub fn id() -> ShardId {
    home::here().id
}

/// Shards of this node.
pub fn count() -> ShardId {
    home::here().node.count()
}

/// Monotonic time since the process first asked, read without a system call.
pub fn now() -> Moment {
    static START: OnceLock<Instant> = OnceLock::new();
    let since = START.get_or_init(Instant::now).elapsed();
    Moment(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Milliseconds since 1970, 0 before.
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Random bytes fetched from the kernel at a time.
const RANDOM_BYTES: usize = 512;

thread_local! {
    /// Bytes not yet given out; each is given once and wiped.
    static RANDOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Fills `into` from the kernel's generator.
///
/// # Panics
/// When the kernel has none: then no password and no identity would be safe.
pub fn random(into: &mut [u8]) {
    use rand::TryRngCore;
    let fetch = |into: &mut [u8]| rand::rngs::OsRng.try_fill_bytes(into).expect("the kernel's random generator");
    if into.len() > RANDOM_BYTES {
        return fetch(into);
    }
    RANDOM.with_borrow_mut(|kept| {
        if kept.len() < into.len() {
            kept.resize(RANDOM_BYTES, 0);
            fetch(kept);
        }
        let rest = kept.len() - into.len();
        into.copy_from_slice(&kept[rest..]);
        kept[rest..].fill(0);
        kept.truncate(rest);
    });
}

/// Runs a task on this shard.
pub fn spawn(name: &'static str, task: impl Future<Output = ()> + 'static) {
    home::here().spawn(name, task);
}
