//! `[dns]`: whom we ask, and how.

use super::{Key, Row, number};
use crate::config::value::{Kind, Value};
use crate::dns;

pub(super) const ROWS: &[Row] = &[
    Row {
        key: Key::DnsResolvers,
        path: "dns.resolvers",
        kind: Kind::Names(resolver),
        about: "Resolvers to ask, in this order, as [\"127.0.0.1\", \"[2001:db8::1]:5353\"]; the best is one on this host that \
                validates. Default: those of /etc/resolv.conf at the start.",
        default: |_| Value::Names(Vec::new()),
    },
    Row {
        key: Key::DnsTimeoutS,
        path: "dns.timeout_s",
        kind: number(1, 10),
        about: "Seconds until a resolver that does not answer is given up and the next one is asked.",
        default: |_| Value::Number(dns::Settings::TIMEOUT_S_DEFAULT),
    },
    Row {
        key: Key::DnsAttempts,
        path: "dns.attempts",
        kind: number(1, 5),
        about: "How often each resolver is asked before a question fails for now.",
        default: |_| Value::Number(dns::Settings::ATTEMPTS_DEFAULT.into()),
    },
    Row {
        key: Key::DnsMixedCase,
        path: "dns.mixed_case",
        kind: Kind::Switch,
        about: "Writes letters of a question as capitals by chance and believes only answers that repeat them: harder to forge, \
                where the way to the resolver is long. Some resolvers do not repeat them and would never be heard.",
        default: |_| Value::Switch(false),
    },
];

fn resolver(address: &str) -> Result<(), String> {
    match dns::resolv_conf::address(address) {
        Some(_) => Ok(()),
        None => Err("write a resolver's address, as 127.0.0.1 or [2001:db8::1]:5353".to_owned()),
    }
}
