//! Whose neighbourhood an address is in: the /24 (IPv4) or /64 (IPv6) that greylisting takes for one sender, because large
//! senders try again from the host next door.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::shard::ShardId;

/// A /24 of IPv4 or a /64 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network(u128);

/// Where IPv4 lies in IPv6 (RFC 4291 §2.5.5.2).
const MAPPED: u128 = 0xffff << 32;

impl Network {
    /// That of an address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Network {
        Network(match ip.to_canonical() {
            IpAddr::V4(v4) => MAPPED | u128::from(u32::from(v4) & 0xffff_ff00),
            IpAddr::V6(v6) => u128::from(v6) >> 64 << 64,
        })
    }

    /// The shard that remembers it, of so many.
    #[must_use]
    pub fn home(self, shards: ShardId) -> ShardId {
        let number = xxhash_rust::xxh3::xxh3_64(&self.0.to_be_bytes()) % u64::from(shards.max(1));
        ShardId::try_from(number).expect("less than their number")
    }

    /// As a file has it.
    #[must_use]
    pub fn octets(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// From a file.
    #[must_use]
    pub fn from_octets(octets: [u8; 16]) -> Network {
        Network(u128::from_be_bytes(octets))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match u32::try_from(self.0 ^ MAPPED) {
            Ok(v4) => write!(f, "{}/24", Ipv4Addr::from(v4)),
            Err(_) => write!(f, "{}/64", Ipv6Addr::from(self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_network_with_one_home() {
        let of = |ip: &str| Network::of(ip.parse().expect("an address"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.254"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("192.0.2.77").to_string(), "192.0.2.0/24");
        assert_eq!(of("2001:db8::1").to_string(), "2001:db8::/64");
        assert_eq!(Network::from_octets(of("192.0.2.1").octets()), of("192.0.2.1"));
        let homes: Vec<ShardId> = (0..=255).map(|n| of(&format!("10.0.{n}.1")).home(4)).collect();
        assert!((0..4).all(|shard| homes.contains(&shard)) && homes.iter().all(|home| *home < 4));
    }
}
