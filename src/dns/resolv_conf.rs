//! The resolvers of this host, as `/etc/resolv.conf` lists them.
//!
//! Only its `nameserver` lines are read: our names are complete, so nothing is searched, and time-outs are settings of ours.
//! What cannot be read is passed over, as the C library does; without any line the resolver is on this host.

use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

use crate::limits::DNS_RESOLVERS_MAX;

const PATH: &str = "/etc/resolv.conf";
/// Octets of the file that are read. More: ignored.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Where resolvers are asked.
pub const PORT: u16 = 53;

/// The resolvers of this host: at least one.
#[must_use]
pub fn system() -> Vec<SocketAddr> {
    let mut bytes = Vec::new();
    // No file is the same as an empty one.
    if let Ok(file) = File::open(PATH) {
        let _ = file.take(FILE_BYTES_MAX).read_to_end(&mut bytes);
    }
    let list = parse(&String::from_utf8_lossy(&bytes));
    if list.is_empty() { vec![(Ipv4Addr::LOCALHOST, PORT).into()] } else { list }
}

/// The resolvers that the text of such a file lists, each once.
#[must_use]
pub fn parse(text: &str) -> Vec<SocketAddr> {
    let mut list = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        if let Some(at) = words.next().and_then(address)
            && !list.contains(&at)
            && list.len() < DNS_RESOLVERS_MAX
        {
            list.push(at);
        }
    }
    list
}

/// Reads `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1`, `[2001:db8::1]:5353`; link-local addresses with the number or name of
/// their interface behind a `%`.
#[must_use]
pub fn address(text: &str) -> Option<SocketAddr> {
    if let Ok(at) = text.parse::<SocketAddr>() {
        return (at.port() != 0).then_some(at);
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, PORT));
    }
    let (ip, scope) = text.split_once('%')?;
    let ip = ip.parse().ok()?;
    let scope = scope.parse().ok().or_else(|| {
        let index = std::fs::read_to_string(format!("/sys/class/net/{}/ifindex", interface(scope)?)).ok()?;
        index.trim().parse().ok()
    })?;
    Some(SocketAddrV6::new(ip, PORT, 0, scope).into())
}

/// A name that leads nowhere else in the file system.
fn interface(name: &str) -> Option<&str> {
    let sound =
        !name.is_empty() && name.len() < 16 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    (sound && !name.starts_with('.')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_nameservers_are_read_and_the_others_passed_over() {
        let text = "# made by hand\nsearch example.org\nnameserver 192.0.2.1\nnameserver\t2001:db8::1   # the other\n\
                    nameserver 192.0.2.1\nnameserver nonsense\nnameserver fe80::1%7\nnameserverx 192.0.2.9\noptions timeout:1\n";
        let list: Vec<String> = parse(text).iter().map(ToString::to_string).collect();
        assert_eq!(list, ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%7]:53"]);
        assert_eq!(parse("").len(), 0);
    }

    #[test]
    fn so_many_are_read_and_no_more() {
        let text: String = (1..=100).map(|n| format!("nameserver 192.0.2.{n}\n")).collect();
        assert_eq!(parse(&text).len(), DNS_RESOLVERS_MAX);
    }

    #[test]
    fn an_address_may_have_its_port() {
        let read = |text| address(text).map(|at| at.to_string());
        assert_eq!(read("127.0.0.1:5353").as_deref(), Some("127.0.0.1:5353"));
        assert_eq!(read("[::1]:5353").as_deref(), Some("[::1]:5353"));
        for bad in ["", "localhost", "127.0.0.1:0", "fe80::1%../../x", "1.2.3", "fe80::1%"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
