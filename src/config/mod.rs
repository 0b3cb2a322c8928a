//! One checked value from what the operator said: the file `ringpost.toml`, the flags, the defaults.
//!
//! All mistakes are found before anything is opened, and said at once, each with its line and column.
//!
//! ```text
//!   file ─► read ─► Given ─┐
//!   flags ─────────────────┼─► effective ─► check ─► Effective ─► config() ─► what boot is told
//!   keys: defaults ────────┘                  │          └─► show: a configuration file again
//!                                             └─► Mistakes
//! ```
//!
//! A new setting is a row in [`keys`] and the line of [`Effective::config`] that hands it to the room that owns it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::office::Settings;
use crate::serve::{Rules, Service};
use crate::shard::{Place, Plan, Writing};

pub mod keys;
pub mod value;
pub mod listener;
pub mod certificate;
pub mod mistake;
pub mod read;
pub mod effective;
mod check;
pub mod show;
#[cfg(test)]
mod tests;

pub use effective::{Asked, Effective, examine, load};
pub use keys::{Key, SEGMENT_BYTES_DEFAULT};
pub use mistake::{Mistake, Mistakes, Source};
pub use value::Value;

/// The services that have doors.
pub const SERVICES: &[Service] = &Service::ALL;

/// A door to open: on every shard, or on one if it is a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorPlan {
    /// What is spoken there.
    pub service: Service,
    /// Where.
    pub at: Place,
    /// True: a host without this address family does without this door.
    pub optional: bool,
    /// What holds there.
    pub rules: Arc<Rules>,
}

impl DoorPlan {
    /// A door at which nothing holds but what holds at all doors of this service.
    #[must_use]
    pub fn plain(service: Service, at: SocketAddr) -> Self {
        DoorPlan { service, at: at.into(), optional: false, rules: Arc::new(Rules::of(service)) }
    }
}

/// Everything a start needs.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data directory.
    pub data: PathBuf,
    /// Shards and rings.
    pub plan: Plan,
    /// Doors, the same on every shard.
    pub doors: Vec<DoorPlan>,
    /// Shards that open doors; the others only keep mailboxes.
    pub accept_on: Vec<usize>,
    /// What the doors are told.
    pub settings: Settings,
    /// Where the certificates are, the default first. Never empty.
    pub tls: Vec<TlsPaths>,
    /// The domain and the people a new store begins with; empty domain: none.
    pub founders: Founders,
    /// Octets of a segment in a new store.
    pub segment_bytes: u64,
    /// Octets that accounts in memory may take.
    pub index_memory: u64,
    /// Whether space of expunged messages is given back in the background.
    pub compaction: bool,
    /// How else the volumes are looked after.
    pub upkeep: Upkeep,
    /// How the log is written.
    pub writing: Writing,
}

/// How volumes are looked after in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upkeep {
    /// Seconds from the beginning of one scrub to the next; 0: none.
    pub scrub_period_s: u64,
    /// Octets that one reads in a second, of each volume.
    pub scrub_rate: u64,
    /// Seconds for which what is expunged can be brought back; 0: it goes at once.
    pub retention_s: u64,
}

impl Default for Upkeep {
    fn default() -> Self {
        Upkeep { scrub_period_s: keys::SCRUB_PERIOD_S_DEFAULT, scrub_rate: keys::SCRUB_RATE_DEFAULT, retention_s: 0 }
    }
}

/// A certificate chain and its private key, both PEM. In the data directory unless the operator has his own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPaths {
    /// The certificate, and those between it and its root.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl TlsPaths {
    /// Those in a data directory's folder `tls`, which the first start makes.
    #[must_use]
    pub fn own(data: &Path) -> TlsPaths {
        TlsPaths { cert: data.join("tls/cert.pem"), key: data.join("tls/key.pem") }
    }

    /// True if these are the data directory's own, however the paths are written.
    #[must_use]
    pub fn are_own(&self, data: &Path) -> bool {
        let same = |a: &Path, b: &Path| std::path::absolute(a).ok() == std::path::absolute(b).ok();
        let own = TlsPaths::own(data);
        same(&self.cert, &own.cert) && same(&self.key, &own.key)
    }
}

/// What a new store begins with on an unconfigured start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Founders {
    /// The domain.
    pub domain: String,
    /// Local parts; each gets a generated password, shown once.
    pub people: Vec<String>,
}

impl Founders {
    /// `ringpost.test` with alice and bob.
    #[must_use]
    pub fn quickstart() -> Self {
        Founders { domain: "ringpost.test".to_owned(), people: vec!["alice".to_owned(), "bob".to_owned()] }
    }
}
