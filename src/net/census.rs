//! How many connections this shard has, in sum, from each address and from each network.
//!
//! An IPv6 peer counts by its /64, because one host owns at least that much; its network is its /48, that of an IPv4 peer his /24. At a bound the newcomer is told so in
//! his protocol's words and closed (A057); nobody else is touched. Exempt networks count only in the sum.
//!
//! A connection handed to another shard gives up its place here and needs one there: else an account's owner could
//! fill its shard by way of the others.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use crate::limits;
use crate::shard::Peer;

/// A network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    base: u128,
    bits: u8,
    v4: bool,
}

impl std::str::FromStr for Cidr {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, bits) = match text.split_once('/') {
            Some((a, b)) => (a, Some(b)),
            None => (text, None),
        };
        let ip: IpAddr = address
            .parse()
            .map_err(|_| format!("`{text}` is not a network: write it as 192.0.2.0/24 or 2001:db8::/32"))?;
        if ip.to_canonical() != ip {
            return Err(format!("`{text}`: write IPv4 networks as IPv4, as 192.0.2.0/24"));
        }
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let bits: u8 = match bits {
            None => most,
            Some(b) => b
                .parse()
                .ok()
                .filter(|b| *b <= most)
                .ok_or_else(|| format!("`{text}`: the prefix length must be 0 to {most}"))?,
        };
        let (number, v4) = number_of(ip);
        if number & !mask(bits, v4) != 0 {
            return Err(format!("`{text}`: the address has bits beyond its prefix length"));
        }
        Ok(Cidr { base: number, bits, v4 })
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.v4 {
            let base = u32::try_from(self.base).unwrap_or(u32::MAX);
            write!(f, "{}/{}", std::net::Ipv4Addr::from(base), self.bits)
        } else {
            write!(f, "{}/{}", std::net::Ipv6Addr::from(self.base), self.bits)
        }
    }
}

fn number_of(ip: IpAddr) -> (u128, bool) {
    match ip.to_canonical() {
        IpAddr::V4(a) => (u128::from(u32::from(a)), true),
        IpAddr::V6(a) => (u128::from(a), false),
    }
}

fn mask(bits: u8, v4: bool) -> u128 {
    let width = if v4 { 32 } else { 128 };
    let all = if v4 { u128::from(u32::MAX) } else { u128::MAX };
    let host = width - u32::from(bits);
    if host == width { 0 } else { (all >> host) << host }
}

impl Cidr {
    /// True if this is wider than what one network of somebody's own usually is: /8 for IPv4, /32 for IPv6, except
    /// the unique local and link-local addresses.
    #[must_use]
    pub fn is_wide(&self) -> bool {
        if self.v4 {
            return self.bits < 8;
        }
        let private = [(0xfc00 << 112, 7), (0xfe80 << 112, 10)];
        self.bits < 32
            && !private.iter().any(|(base, bits)| self.bits >= *bits && self.base & mask(*bits, false) == *base)
    }

    /// The network of so many bits that an address lies in; more bits than it has are all of them.
    #[must_use]
    pub fn around(ip: IpAddr, bits: u8) -> Cidr {
        let (number, v4) = number_of(ip);
        let bits = bits.min(if v4 { 32 } else { 128 });
        Cidr { base: number & mask(bits, v4), bits, v4 }
    }

    /// True if the address lies in this network. IPv4-mapped IPv6 addresses count as IPv4.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let (number, v4) = number_of(ip);
        v4 == self.v4 && number & mask(self.bits, v4) == self.base
    }
}

/// True if any of `networks` contains the peer. A process on this host over a Unix socket is in none.
#[must_use]
pub fn listed(networks: &[Cidr], peer: Peer) -> bool {
    match peer {
        Peer::Net(a) => networks.iter().any(|n| n.contains(a.ip())),
        Peer::Local => false,
    }
}

/// How many connections each of `shards` may have, so that outsiders cannot take the files that the volumes need.
/// `files`: how many the process may have open, `None` for any number; `segments`: how many of them the volumes hold.
///
/// # Errors
/// How many would have to be allowed for [`limits::CONNECTIONS_MIN`] connections a shard.
pub fn places(files: Option<u64>, shards: u64, segments: u64) -> Result<usize, u64> {
    let kept = limits::FILES_KEPT + limits::FILES_KEPT_PER_SHARD * shards + segments;
    let Some(files) = files else { return Ok(limits::CONNECTIONS_MAX) };
    let left = usize::try_from(files.saturating_sub(kept) / shards.max(1)).unwrap_or(usize::MAX);
    if left < limits::CONNECTIONS_MIN {
        return Err(kept + limits::CONNECTIONS_MIN as u64 * shards);
    }
    Ok(left.min(limits::CONNECTIONS_MAX))
}

/// The count of a shard. Cheap to clone.
#[derive(Clone)]
pub struct Census(Rc<RefCell<Counts>>);

struct Counts {
    places: usize,
    per_address: usize,
    per_network: usize,
    all: usize,
    by_address: HashMap<u128, usize>,
    /// Networks of which somebody is here, if they have a bound.
    by_network: HashMap<u128, usize>,
}

/// What the door says to a newcomer.
pub enum Admission {
    /// Come in; the place is free again when the guard drops.
    Welcome(Guest),
    /// This address has its share already.
    TooManyFromAddress,
    /// The shard is full.
    TooMany,
}

/// A counted connection.
pub struct Guest {
    census: Census,
    address: Option<u128>,
}

impl Census {
    /// Nobody is in, and so many may come: in sum, and from one address.
    #[must_use]
    pub fn new(places: usize, per_address: usize) -> Self {
        Census(Rc::new(RefCell::new(Counts {
            places,
            per_address,
            per_network: usize::MAX,
            all: 0,
            by_address: HashMap::new(),
            by_network: HashMap::new(),
        })))
    }

    /// And so many from one network: a /24 of IPv4, a /48 of IPv6. Nobody may be in yet.
    #[must_use]
    pub fn with_networks(self, per_network: usize) -> Self {
        self.0.borrow_mut().per_network = per_network;
        self
    }

    /// Counts a newcomer in, or says why not.
    #[must_use]
    pub fn admit(&self, peer: Peer, exempt: &[Cidr]) -> Admission {
        let mut counts = self.0.borrow_mut();
        if counts.all >= counts.places {
            return Admission::TooMany;
        }
        let address = match peer {
            Peer::Net(a) if !listed(exempt, peer) => Some(address_key(a.ip())),
            _ => None,
        };
        if address.is_some_and(|key| !counts.enter(key)) {
            return Admission::TooManyFromAddress;
        }
        counts.all += 1;
        drop(counts);
        Admission::Welcome(Guest { census: self.clone(), address })
    }

    /// Counts somebody in whose name is not known yet: in the sum alone.
    #[must_use]
    pub fn admit_nameless(&self) -> Admission {
        let mut counts = self.0.borrow_mut();
        if counts.all >= counts.places {
            return Admission::TooMany;
        }
        counts.all += 1;
        drop(counts);
        Admission::Welcome(Guest { census: self.clone(), address: None })
    }

    /// Now the name is known. False: this address has its share already; the guest keeps his place until he is gone.
    #[must_use]
    pub fn name(&self, guest: &mut Guest, peer: Peer, exempt: &[Cidr]) -> bool {
        assert!(guest.address.is_none(), "a guest has one name");
        let Some(key) = self.key(peer, exempt) else { return true };
        let entered = self.0.borrow_mut().enter(key);
        guest.address = entered.then_some(key);
        entered
    }

    /// Whose part of this shard's bounds a peer takes: his address or network, or `None` if only the sums bound him.
    #[must_use]
    pub fn key(&self, peer: Peer, exempt: &[Cidr]) -> Option<u128> {
        match peer {
            Peer::Net(a) if !listed(exempt, peer) => Some(address_key(a.ip())),
            _ => None,
        }
    }

    /// True when nobody more may come, wherever from.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let counts = self.0.borrow();
        counts.all >= counts.places
    }

    /// Connections now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.borrow().all
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counts = self.census.0.borrow_mut();
        counts.all -= 1;
        if let Some(key) = self.address {
            counts.leave(key);
        }
    }
}

impl Counts {
    /// Counts one more of this address. False: it has its share, or its network has.
    fn enter(&mut self, key: u128) -> bool {
        let here = |counts: &HashMap<u128, usize>, key| counts.get(&key).copied().unwrap_or(0);
        let network = network_key(key);
        if here(&self.by_address, key) >= self.per_address || here(&self.by_network, network) >= self.per_network {
            return false;
        }
        *self.by_address.entry(key).or_insert(0) += 1;
        if self.per_network < usize::MAX {
            *self.by_network.entry(network).or_insert(0) += 1;
        }
        true
    }

    fn leave(&mut self, key: u128) {
        for (counts, key) in [(&mut self.by_address, key), (&mut self.by_network, network_key(key))] {
            let Some(n) = counts.get_mut(&key) else { continue };
            *n -= 1;
            if *n == 0 {
                counts.remove(&key);
            }
        }
    }
}

/// The network of an address's key. No key of IPv6 looks like one of IPv4: it ends with 64 zeros, and none begins with the 80 of
/// an IPv4 address but that of `::/64`, where nobody lives.
fn network_key(key: u128) -> u128 {
    if key >> 32 == 0xffff { key >> 8 << 8 } else { key >> 80 << 80 }
}

fn address_key(ip: IpAddr) -> u128 {
    match number_of(ip) {
        (n, true) => n | (0xffff << 32),
        (n, false) => n >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Peer {
        Peer::Net(format!("{text}:1000").parse().expect("a test's address"))
    }

    #[test]
    fn a057_one_address_cannot_take_every_place() {
        let census = Census::new(limits::CONNECTIONS_MAX, limits::CONNECTIONS_PER_ADDRESS_MAX);
        let mut guests = Vec::new();
        for _ in 0..limits::CONNECTIONS_PER_ADDRESS_MAX {
            match census.admit(peer("192.0.2.1"), &[]) {
                Admission::Welcome(g) => guests.push(g),
                _ => panic!("refused too early"),
            }
        }
        assert!(matches!(census.admit(peer("192.0.2.1"), &[]), Admission::TooManyFromAddress));
        assert!(matches!(census.admit(peer("192.0.2.2"), &[]), Admission::Welcome(_)));
        guests.pop();
        assert!(matches!(census.admit(peer("192.0.2.1"), &[]), Admission::Welcome(_)));
    }

    #[test]
    fn a057_a_network_cannot_take_every_place_though_each_of_its_addresses_has_few() {
        for (near, far) in [("192.0.2.", "192.0.3.1"), ("[2001:db8:0:", "[2001:db8:1::1]")] {
            let census = Census::new(100, 2).with_networks(3);
            let admit = |address: &str| match census.admit(peer(address), &[]) {
                Admission::Welcome(guest) => Some(guest),
                Admission::TooManyFromAddress | Admission::TooMany => None,
            };
            let of = |n: usize| if near.ends_with('.') { format!("{near}{n}") } else { format!("{near}{n}::1]") };
            let guests: Vec<_> = (0..9).filter_map(|n| admit(&of(n))).collect();
            assert_eq!(guests.len(), 3, "{near}");
            assert!(admit(far).is_some());
            drop(guests);
            assert!(admit(&of(7)).is_some(), "they gave their places back");
        }
    }

    #[test]
    fn all_addresses_together_cannot_take_more_than_the_places() {
        let census = Census::new(3, limits::CONNECTIONS_PER_ADDRESS_MAX);
        let admit = |n: usize| census.admit(peer(&format!("192.0.2.{n}")), &["192.0.2.0/31".parse().unwrap()]);
        let guests: Vec<_> = (0..3).map(admit).collect();
        assert!(guests.iter().all(|g| matches!(g, Admission::Welcome(_))));
        assert!(census.is_full());
        assert!((0..9).all(|n| matches!(admit(n), Admission::TooMany)), "exempt or not");
        drop(guests);
        assert!(!census.is_full());
        assert!(matches!(admit(9), Admission::Welcome(_)));
    }

    #[test]
    fn connections_leave_files_for_the_volumes() {
        assert_eq!(places(None, 4, 1_000_000), Ok(limits::CONNECTIONS_MAX));
        assert_eq!(places(Some(1 << 20), 4, 100), Ok(limits::CONNECTIONS_MAX));
        assert_eq!(places(Some(1_024), 1, 0), Ok(1_024 - 256 - 576));
        assert_eq!(places(Some(4_096), 4, 600), Ok((4_096 - 256 - 2_304 - 600) / 4));
        assert_eq!(places(Some(1_024), 4, 600), Err(256 + 2_304 + 600 + 256));
        assert_eq!(places(Some(3_416), 4, 600), Ok(64));
    }

    #[test]
    fn a_whole_v6_64_counts_as_one_address() {
        assert_eq!(address_key("2001:db8::1".parse().unwrap()), address_key("2001:db8::ffff:1".parse().unwrap()));
        assert_ne!(address_key("2001:db8::1".parse().unwrap()), address_key("2001:db8:0:1::1".parse().unwrap()));
    }

    #[test]
    fn networks_are_read_and_matched() {
        let net: Cidr = "127.0.0.0/8".parse().unwrap();
        assert!(net.contains("127.9.9.9".parse().unwrap()));
        assert!(net.contains("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!net.contains("128.0.0.1".parse().unwrap()));
        assert!(!net.contains("::1".parse().unwrap()));
        assert!("127.0.0.1/8".parse::<Cidr>().is_err());
        assert!("127.0.0.0/33".parse::<Cidr>().is_err());
        assert!("::ffff:0:0/96".parse::<Cidr>().unwrap_err().contains("as IPv4"));
        assert!("host".parse::<Cidr>().is_err());
        assert!("0.0.0.0/0".parse::<Cidr>().unwrap().contains("9.9.9.9".parse().unwrap()));
        assert_eq!("2001:db8::/32".parse::<Cidr>().unwrap().to_string(), "2001:db8::/32");
    }
}
