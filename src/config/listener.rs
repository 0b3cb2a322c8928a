//! Doors to open: a service and an address each.
//!
//! ```toml
//! [[listener]]
//! service = "imaps"
//! address = "192.0.2.1:993"
//! ```
//!
//! When none is given, every service is open on loopback, on the ports above 2000 of an unconfigured start.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use toml::de::{DeTable, DeValue};

use super::SERVICES;
use super::mistake::{Source, nearest};
use super::value::named;
use crate::serve::Service;

/// Listeners in one configuration. More: refused. Every shard opens each.
pub const LISTENERS_MAX: usize = 32;

/// A door that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What is spoken there.
    pub service: Service,
    /// Where, before `port_offset`.
    pub address: SocketAddr,
    /// True: a host without this address does without this door.
    pub optional: bool,
    /// Who asked for it.
    pub from: Source,
}

/// The doors of an unconfigured start: both loopback addresses; a host without IPv6 does without the second.
pub fn defaults() -> Vec<Listener> {
    let one = |service: &Service, ip: IpAddr| Listener {
        service: *service,
        address: (ip, service.port()).into(),
        optional: ip.is_ipv6(),
        from: Source::Default,
    };
    SERVICES.iter().flat_map(|s| [one(s, Ipv4Addr::LOCALHOST.into()), one(s, Ipv6Addr::LOCALHOST.into())]).collect()
}

/// The service of that word.
///
/// # Errors
/// What to write.
pub fn service(word: &str) -> Result<Service, String> {
    if let Some(service) = SERVICES.iter().find(|s| s.word() == word) {
        return Ok(*service);
    }
    if Service::ALL.iter().any(|s| s.word() == word) {
        return Err(format!("there is no door for {word} yet: choose one of {}", words()));
    }
    Err(match nearest(word, SERVICES.iter().map(|s| s.word())) {
        Some(near) => format!("`{word}` is not a service: did you mean \"{near}\"?"),
        None => format!("`{word}` is not a service: choose one of {}", words()),
    })
}

fn words() -> String {
    SERVICES.iter().map(|s| s.word()).collect::<Vec<_>>().join(", ")
}

/// The address of that text.
///
/// # Errors
/// What to write.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(at) if at.port() == 0 => Err(format!("`{text}`: choose a port from 1 to 65535")),
        Ok(at) => Ok(at),
        Err(_) => Err(format!("`{text}` is not an address and port: write it as 192.0.2.1:25 or [2001:db8::1]:25")),
    }
}

/// `SERVICE=ADDRESS:PORT`, as `--listen` takes it.
///
/// # Errors
/// What to write.
pub fn from_flag(text: &str) -> Result<Listener, String> {
    let (word, at) =
        text.split_once('=').ok_or_else(|| format!("`{text}`: write SERVICE=ADDRESS:PORT, as smtp=192.0.2.1:25"))?;
    Ok(Listener { service: service(word)?, address: address(at)?, optional: false, from: Source::Flag("--listen") })
}

/// One `[[listener]]`. Hands each mistake to `wrong`: where (octets; `None`: the listener) and what to do.
pub fn from_table(
    table: &DeTable<'_>,
    from: Source,
    wrong: &mut dyn FnMut(Option<std::ops::Range<usize>>, String),
) -> Option<Listener> {
    let (mut spoken, mut at, mut optional) = (None, None, false);
    let mut said = (false, false);
    for (name, value) in table.iter() {
        let expected = |what: &str| format!("this is {}: write {what}", named(value.get_ref()));
        match (name.get_ref().as_ref(), value.get_ref()) {
            ("service", found) => {
                said.0 = true;
                let read = match found {
                    DeValue::String(word) => service(word),
                    _ => Err(expected("the service in quotes, as \"imaps\"")),
                };
                spoken = read.map_err(|why| wrong(Some(value.span()), why)).ok();
            }
            ("address", found) => {
                said.1 = true;
                let read = match found {
                    DeValue::String(text) => address(text),
                    _ => Err(expected("the address in quotes, as \"192.0.2.1:25\"")),
                };
                at = read.map_err(|why| wrong(Some(value.span()), why)).ok();
            }
            ("optional", DeValue::Boolean(found)) => optional = *found,
            ("optional", _) => wrong(Some(value.span()), expected("true or false")),
            (unknown, _) => {
                let known = nearest(unknown, ["service", "address", "optional"].into_iter());
                let hint = known.map_or("it has service, address and optional".to_owned(), |near| {
                    format!("did you mean `{near}`?")
                });
                wrong(Some(name.span()), format!("`{unknown}` is not a setting of a listener: {hint}"));
            }
        }
    }
    if !said.0 {
        wrong(None, "this listener has no service: write service = \"smtp\", for example".to_owned());
    }
    if !said.1 {
        wrong(None, "this listener has no address: write address = \"127.0.0.1:2525\", for example".to_owned());
    }
    Some(Listener { service: spoken?, address: at?, optional, from })
}
