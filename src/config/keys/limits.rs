//! `[limits]`: what outsiders may take.

use super::{Key, Row, number};
use crate::config::value::{Kind, Value};
use crate::limits;

/// The least memory, octets: what an idle server holds, and a little.
pub(super) const MEMORY_MIN: u64 = 32 << 20;

pub(super) const ROWS: &[Row] = &[
    Row {
        key: Key::ConnectionsMax,
        path: "limits.connections_max",
        kind: number(limits::CONNECTIONS_MIN as u64, limits::CONNECTIONS_MAX as u64),
        about: "Connections of each shard. More are told to come back. Fewer where the limit of open files leaves less.",
        default: |_| Value::Number(limits::CONNECTIONS_MAX as u64),
    },
    Row {
        key: Key::ConnectionsPerAddressMax,
        path: "limits.connections_per_address_max",
        kind: number(1, limits::CONNECTIONS_MAX as u64),
        about: "Connections of one address (IPv4) or /64 (IPv6) on each shard. More are told to come back.",
        default: |_| Value::Number(limits::CONNECTIONS_PER_ADDRESS_MAX as u64),
    },
    Row {
        key: Key::ConnectionsPerNetworkMax,
        path: "limits.connections_per_network_max",
        kind: number(1, limits::CONNECTIONS_MAX as u64),
        about: "Connections of one /24 (IPv4) or /48 (IPv6) on each shard. More are told to come back.",
        default: |_| Value::Number(limits::CONNECTIONS_PER_NETWORK_MAX as u64),
    },
    Row {
        key: Key::Memory,
        path: "limits.memory_bytes",
        kind: number(MEMORY_MIN, u64::MAX >> 1),
        about: "Octets of memory that Ringpost may hold. At four fifths newcomers are told to come back (421 4.3.2), at nine tenths \
                letters too (452 4.3.1), so that who is here is served. Default: three quarters of what this host has, or this \
                control group may have.",
        default: |s| Value::Number(s.memory),
    },
    Row {
        key: Key::LoopDelay,
        path: "limits.loop_delay_ms",
        kind: number(0, 60_000),
        about: "From how late its timers fire, milliseconds, a shard has too much to do: newcomers are told to come back (421 4.3.2) \
                until it keeps time again. 0: never.",
        default: |_| Value::Number(500),
    },
    Row {
        key: Key::MessageBytesMax,
        path: "limits.message_bytes_max",
        kind: number(1_024, limits::MESSAGE_BYTES_MAX),
        about: "Largest message accepted, octets.",
        default: |_| Value::Number(limits::MESSAGE_BYTES_MAX),
    },
    Row {
        key: Key::ExemptNetworks,
        path: "limits.exempt_networks",
        kind: Kind::Networks,
        about: "Networks without per-address limits: your own relays, load tests.",
        default: |_| Value::Networks(Vec::new()),
    },
    Row {
        key: Key::ExemptWide,
        path: "limits.i_understand_exempt_networks_are_wide",
        kind: Kind::Switch,
        about: "Allows limits.exempt_networks that are wider than /8 (IPv4) or /32 (IPv6).",
        default: |_| Value::Switch(false),
    },
];
