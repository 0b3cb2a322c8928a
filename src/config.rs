//! One checked value from what the operator said. All mistakes are found before anything is opened.
//!
//! The configuration file comes later; until then the flags of `ringpost serve` are all there is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::office::Settings;
use crate::serve::Service;
use crate::shard::{Plan, StartError};

/// The doors of an unconfigured start.
const SERVICES: [Service; 7] = [
    Service::Smtp,
    Service::Submission,
    Service::Submissions,
    Service::Imap,
    Service::Imaps,
    Service::Pop3,
    Service::Pop3s,
];

/// A door to open on every shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoorPlan {
    /// What is spoken there.
    pub service: Service,
    /// Where.
    pub at: SocketAddr,
    /// True: a host without this address family does without this door.
    pub optional: bool,
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
    /// The domain and the people a new store begins with; empty domain: none.
    pub founders: Founders,
    /// True when the operator said nothing of names and networks: a start to try things out.
    pub unconfigured: bool,
    /// Octets of a segment in a new store.
    pub segment_bytes: u64,
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

/// Octets of a segment unless said otherwise.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;

/// The doors of an unconfigured start: loopback only, default ports moved by `offset`.
///
/// # Errors
/// A port beyond 65,535.
pub fn default_doors(offset: u16) -> Result<Vec<DoorPlan>, StartError> {
    let mut doors = Vec::new();
    for service in SERVICES {
        let port = service.port();
        let port = port.checked_add(offset).ok_or_else(|| {
            StartError::Setting(format!(
                "--port-offset {offset} moves the {} port {port} beyond 65535: choose an offset of at most {}",
                service.word(),
                u16::MAX - SERVICES.iter().map(|s| s.port()).max().unwrap_or(0),
            ))
        })?;
        doors.push(DoorPlan { service, at: (IpAddr::from(Ipv4Addr::LOCALHOST), port).into(), optional: false });
        doors.push(DoorPlan { service, at: (IpAddr::from(Ipv6Addr::LOCALHOST), port).into(), optional: true });
    }
    Ok(doors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_offset_beyond_the_last_port_is_a_start_error() {
        assert!(default_doors(62_540).is_ok());
        let error = default_doors(62_541).unwrap_err().to_string();
        assert!(error.contains("62540"), "{error}");
    }
}
