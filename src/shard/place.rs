//! Where a door is: an address of the network, or a Unix socket on this host.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where a door is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// An address and port. Every shard opens its own there.
    Net(SocketAddr),
    /// A Unix socket. One shard opens it.
    Local {
        /// Its file, which is there while the door is open.
        path: PathBuf,
        /// Who may connect: the file's permission bits.
        mode: u32,
    },
}

impl Place {
    /// Permission bits of a Unix socket of which nothing is said: its owner's alone.
    pub const MODE: u32 = 0o600;

    /// The address, if it is one of the network.
    #[must_use]
    pub fn net(&self) -> Option<SocketAddr> {
        match self {
            Place::Net(at) => Some(*at),
            Place::Local { .. } => None,
        }
    }

    /// True if nobody on another host comes to this door.
    #[must_use]
    pub fn is_on_this_host(&self) -> bool {
        self.net().is_none_or(|at| at.ip().is_loopback())
    }
}

impl From<SocketAddr> for Place {
    fn from(at: SocketAddr) -> Self {
        Place::Net(at)
    }
}

/// `192.0.2.1:25`, `[2001:db8::1]:25` or `unix:/run/ringpost/lmtp`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Net(at) => write!(f, "{at}"),
            Place::Local { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}
