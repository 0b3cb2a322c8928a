//! `[shards]`: how many, on which cores, and what each has.

use super::{Key, Row, number};
use crate::config::value::{Fit, Kind, Value};
use crate::shard::Plan;

pub(super) const ROWS: &[Row] = &[
    Row {
        key: Key::Shards,
        path: "shards.count",
        kind: number(1, 1_024),
        about: "Shards to run, one thread each. A new store gets a volume for each. Default: one for each core.",
        default: |s| Value::Number(s.shards as u64),
    },
    Row {
        key: Key::Pin,
        path: "shards.pin",
        kind: Kind::Text(not_empty),
        about: "Cores to pin the shards to, such as \"0,2-5\", or \"all\" that this process may use.",
        default: |_| Value::Text("all".to_owned()),
    },
    Row {
        key: Key::AcceptOn,
        path: "shards.accept_on",
        kind: Kind::Text(not_empty),
        about: "Shards that open doors, such as \"1-3\", or \"all\"; the others only keep mailboxes.",
        default: |_| Value::Text("all".to_owned()),
    },
    Row {
        key: Key::RingEntries,
        path: "shards.ring_entries",
        kind: Kind::Number { least: 16, most: 32_768, fit: Fit::PowerOfTwo },
        about: "Submission entries of each shard's ring.",
        default: |_| Value::Number(ring_default().ring_entries.into()),
    },
    Row {
        key: Key::RecvBuffers,
        path: "shards.recv_buffers",
        kind: Kind::Number { least: 16, most: 32_768, fit: Fit::PowerOfTwo },
        about: "Receive buffers of each shard's ring.",
        default: |_| Value::Number(ring_default().recv_buffers.into()),
    },
];

fn not_empty(text: &str) -> Result<(), String> {
    if text.is_empty() { Err("write numbers and ranges like 0,2-5, or all".to_owned()) } else { Ok(()) }
}

fn ring_default() -> Plan {
    Plan::for_cpus(Vec::new())
}
