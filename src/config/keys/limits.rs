//! `[limits]`: what outsiders may take.

use super::{Key, Row, number};
use crate::config::value::{Kind, Value};
use crate::limits;

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
