//! Doors to open: a service and a place each, and what holds there.
//!
//! ```toml
//! [[listener]]
//! service = "imaps"
//! address = "192.0.2.1:993"
//!
//! [[listener]]
//! service = "lmtp"
//! address = "unix:/run/ringpost/lmtp"
//! mode = "0660"
//! ```
//!
//! When none is given, every service but LMTP is open on loopback, on the ports above 2000 of an unconfigured start.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::SERVICES;
use super::keys::mechanism;
use super::mistake::{Source, nearest};
use super::value::{Fit, Kind, Value, named};
use crate::admin::SOCKET_PATH_BYTES_MAX;
use crate::limits;
use crate::net::census::Cidr;
use crate::proto::sasl::Allowed;
use crate::serve::{Protocol, Rules, Service, TlsMode};
use crate::shard::Place;

/// Listeners in one configuration. More: refused. Every shard opens each.
pub const LISTENERS_MAX: usize = 32;

/// What a place on this host begins with.
const UNIX: &str = "unix:";

/// What may be said of a listener.
const NAMES: [&str; 11] = [
    "service",
    "address",
    "optional",
    "tls",
    "mode",
    "connections_max",
    "proxy_from",
    "xclient_from",
    "hide_starttls_from",
    "mechanisms",
    "i_understand_networks_are_wide",
];

/// A door that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What is spoken there.
    pub service: Service,
    /// Where, before `port_offset`.
    pub address: Place,
    /// True: a host without this address does without this door.
    pub optional: bool,
    /// What holds there.
    pub rules: Rules,
    /// The width of its networks is meant.
    pub wide: bool,
    /// Who asked for it.
    pub from: Source,
}

/// The doors of an unconfigured start: both loopback addresses; a host without IPv6 does without the second.
pub fn defaults() -> Vec<Listener> {
    let one = |service: &Service, ip: IpAddr| Listener {
        optional: ip.is_ipv6(),
        ..Listener::plain(*service, Place::Net((ip, service.port()).into()), Source::Default)
    };
    let services = SERVICES.iter().filter(|s| s.by_default());
    services.flat_map(|s| [one(s, Ipv4Addr::LOCALHOST.into()), one(s, Ipv6Addr::LOCALHOST.into())]).collect()
}

/// The service of that word.
///
/// # Errors
/// What to write.
pub fn service(word: &str) -> Result<Service, String> {
    if let Some(service) = Service::named(word) {
        return Ok(service);
    }
    let words: Vec<_> = SERVICES.iter().map(|s| s.word()).collect();
    Err(match nearest(word, words.iter().copied()) {
        Some(near) => format!("`{word}` is not a service: did you mean \"{near}\"?"),
        None => format!("`{word}` is not a service: choose one of {}", words.join(", ")),
    })
}

/// The place of that text, of a Unix socket with the usual permissions.
///
/// # Errors
/// What to write.
pub fn place(text: &str) -> Result<Place, String> {
    if let Some(path) = text.strip_prefix(UNIX) {
        let sound = Path::new(path).is_absolute() && !path.ends_with('/') && !path.contains('\0');
        return match sound {
            true if path.len() > SOCKET_PATH_BYTES_MAX => Err(format!(
                "`{text}`: a socket's path has at most {SOCKET_PATH_BYTES_MAX} octets: choose a shorter one"
            )),
            true => Ok(Place::Local { path: path.into(), mode: Place::MODE }),
            false => Err(format!("`{text}`: write the whole path of the socket, as unix:/run/ringpost/lmtp")),
        };
    }
    match text.parse::<SocketAddr>() {
        Ok(at) if at.port() == 0 => Err(format!("`{text}`: choose a port from 1 to 65535")),
        Ok(at) => Ok(Place::Net(at)),
        Err(_) => Err(format!(
            "`{text}` is not an address and port: write it as 192.0.2.1:25 or [2001:db8::1]:25, or unix:/run/ringpost/lmtp"
        )),
    }
}

/// `SERVICE=ADDRESS:PORT` or `SERVICE=unix:/PATH`, as `--listen` takes it.
///
/// # Errors
/// What to write.
pub fn from_flag(text: &str) -> Result<Listener, String> {
    let (word, at) =
        text.split_once('=').ok_or_else(|| format!("`{text}`: write SERVICE=ADDRESS:PORT, as smtp=192.0.2.1:25"))?;
    Ok(Listener::plain(service(word)?, place(at)?, Source::Flag("--listen")))
}

/// Hands on a mistake: where it is (octets; `None`: the listener) and what to do.
type Wrong<'a> = &'a mut dyn FnMut(Option<Range<usize>>, String);

/// One `[[listener]]`.
pub fn from_table(table: &DeTable<'_>, from: Source, wrong: Wrong<'_>) -> Option<Listener> {
    let (mut spoken, mut at, mut optional, mut mode) = (None, None, false, None);
    let (mut tls, mut connections_max) = (None, limits::CONNECTIONS_MAX);
    let (mut proxy_from, mut xclient_from, mut hide_starttls_from) = (Vec::new(), Vec::new(), Vec::new());
    let (mut wide, mut mechanisms) = (false, None);
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
                    DeValue::String(text) => place(text),
                    _ => Err(expected("the address in quotes, as \"192.0.2.1:25\"")),
                };
                at = read.map_err(|why| wrong(Some(value.span()), why)).ok();
            }
            ("optional", DeValue::Boolean(found)) => optional = *found,
            ("optional", _) => wrong(Some(value.span()), expected("true or false")),
            ("mode", found) => {
                let read = match found {
                    DeValue::String(text) => permissions(text),
                    _ => Err(expected("permission bits in quotes, as \"0660\"")),
                };
                mode = read.map_err(|why| wrong(Some(value.span()), why)).ok();
            }
            ("tls", found) => {
                let kind = Kind::OneOf(&["none", "starttls", "required", "implicit"]);
                let word = read(kind, "tls", found, value.span(), wrong);
                tls = word.and_then(|word| TlsMode::ALL.into_iter().find(|t| word == Value::Text(t.word().to_owned())));
            }
            ("connections_max", found) => {
                let kind = Kind::Number { least: 1, most: limits::CONNECTIONS_MAX as u64, fit: Fit::Any };
                if let Some(Value::Number(n)) = read(kind, "connections_max", found, value.span(), wrong) {
                    connections_max = usize::try_from(n).unwrap_or(limits::CONNECTIONS_MAX);
                }
            }
            ("xclient_from", found) => xclient_from = networks("xclient_from", found, value.span(), wrong),
            ("proxy_from", found) => proxy_from = networks("proxy_from", found, value.span(), wrong),
            ("i_understand_networks_are_wide", DeValue::Boolean(found)) => wide = *found,
            ("i_understand_networks_are_wide", _) => wrong(Some(value.span()), expected("true or false")),
            ("mechanisms", found) => {
                let kind = Kind::Names(mechanism);
                if let Some(Value::Names(names)) = read(kind, "mechanisms", found, value.span(), wrong) {
                    mechanisms = Allowed::named(names.iter().map(String::as_str));
                }
            }
            ("hide_starttls_from", found) => {
                hide_starttls_from = networks("hide_starttls_from", found, value.span(), wrong);
            }
            (unknown, _) => {
                let known = nearest(unknown, NAMES.into_iter());
                let hint = known
                    .map_or_else(|| format!("it has {}", NAMES.join(", ")), |near| format!("did you mean `{near}`?"));
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
    let mut listener = Listener { optional, ..Listener::plain(spoken?, at?, from) };
    match (&mut listener.address, mode) {
        (Place::Local { mode, .. }, Some(said)) => *mode = said,
        (Place::Net(_), Some(_)) => wrong(None, "mode is for a Unix socket: remove it".to_owned()),
        (_, None) => {}
    }
    if let Some(tls) = tls {
        // "imap" with TLS first is "imaps".
        if let (TlsMode::Implicit, Some(service)) = (tls, listener.service.with_tls_first()) {
            listener.service = service;
        }
        listener.rules.tls = tls;
    }
    listener.wide = wide;
    listener.rules =
        Rules { tls: listener.rules.tls, connections_max, proxy_from, xclient_from, hide_starttls_from, mechanisms };
    Some(listener)
}

impl Listener {
    /// A listener of which nothing else was said.
    fn plain(service: Service, address: Place, from: Source) -> Self {
        let mut rules = Rules::of(service);
        if address.net().is_none() {
            rules.tls = TlsMode::None;
        }
        Listener { service, address, optional: false, rules, wide: false, from }
    }

    /// What of it does not go together, and what to do.
    pub(super) fn contradictions(&self) -> Vec<String> {
        let Listener { service, rules, .. } = self;
        let (word, tls) = (service.word(), rules.tls.word());
        let mut found = Vec::new();
        let plain = match service {
            Service::Submissions => "submission",
            Service::Imaps => "imap",
            _ => "pop3",
        };
        match rules.tls {
            TlsMode::Implicit if !service.tls_first() => {
                found.push(format!("{word} has no form with TLS first: write tls = \"starttls\" or \"required\""));
            }
            TlsMode::None | TlsMode::StartTls | TlsMode::Required if service.tls_first() => {
                found.push(format!("{word} begins with TLS: for tls = \"{tls}\" write service = \"{plain}\""));
            }
            TlsMode::StartTls | TlsMode::Required if *service == Service::Http => {
                found.push("http has no TLS: remove tls".to_owned());
            }
            _ => {}
        }
        if *service == Service::Sendmail && self.address.net().is_some() {
            found.push("sendmail is for this host: write address = \"unix:/run/ringpost/sendmail\"".to_owned());
        }
        if self.address.net().is_none() {
            if !matches!(service, Service::Smtp | Service::Lmtp | Service::Sendmail) {
                found.push(format!("{word} is for the network: a Unix socket is for lmtp, smtp or sendmail"));
            }
            if rules.tls != TlsMode::None {
                found.push(format!("tls = \"{tls}\" makes no sense on a Unix socket: remove it"));
            }
            if [&rules.hide_starttls_from, &rules.proxy_from, &rules.xclient_from].iter().any(|list| !list.is_empty()) {
                found.push("networks make no sense on a Unix socket: remove them".to_owned());
            }
        } else if !rules.hide_starttls_from.is_empty() && rules.tls != TlsMode::StartTls {
            found
                .push(format!("hide_starttls_from goes with tls = \"starttls\", not \"{tls}\": change one of the two"));
        }
        if rules.mechanisms.is_some_and(Allowed::is_empty) {
            found.push("mechanisms: name at least one, or remove the line".to_owned());
        }
        if rules.mechanisms.is_some()
            && matches!(service, Service::Smtp | Service::Lmtp | Service::Http | Service::Sendmail)
        {
            found.push(format!("mechanisms are for logins, and nobody logs in by {word}: remove them"));
        }
        if !rules.xclient_from.is_empty() && service.protocol() != Protocol::Smtp {
            found.push(format!("xclient_from is for SMTP, not for {word}: remove it"));
        }
        // Whoever is in one of these says what his address is.
        for (name, list) in [("proxy_from", &rules.proxy_from), ("xclient_from", &rules.xclient_from)] {
            for network in list.iter().filter(|network| network.is_wide() && !self.wide) {
                found.push(format!(
                    "{name}: {network} is half the world: name your own hosts, or set i_understand_networks_are_wide = true"
                ));
            }
        }
        found
    }

    /// True if nobody could ever log in there, unless from a network that may without TLS.
    pub(super) fn asks_for_passwords_in_the_clear(&self) -> bool {
        let users =
            self.service == Service::Submission || matches!(self.service.protocol(), Protocol::Imap | Protocol::Pop3);
        users && self.address.net().is_some() && self.rules.tls == TlsMode::None
    }
}

/// `0660`: who may connect.
fn permissions(text: &str) -> Result<u32, String> {
    let bits = u32::from_str_radix(text, 8).ok().filter(|bits| bits & !0o666 == 0 && bits & 0o600 == 0o600);
    bits.ok_or_else(|| format!("`{text}`: write permission bits such as \"0600\", \"0660\" or \"0666\""))
}

/// A value of this kind, or what is wrong with it.
fn read(kind: Kind, name: &str, value: &DeValue<'_>, span: Range<usize>, wrong: Wrong<'_>) -> Option<Value> {
    match kind.read(value) {
        Ok(value) => Some(value),
        Err(wrongs) => {
            for one in wrongs {
                wrong(Some(one.span.unwrap_or_else(|| span.clone())), format!("{name}: {}", one.why));
            }
            None
        }
    }
}

fn networks(name: &str, value: &DeValue<'_>, span: Range<usize>, wrong: Wrong<'_>) -> Vec<Cidr> {
    match read(Kind::Networks, name, value, span, wrong) {
        Some(Value::Networks(list)) => list,
        _ => Vec::new(),
    }
}
