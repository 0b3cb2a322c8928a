//! `[accounts]`: what a new account may keep, and what is said when it keeps that much.

use super::{Key, Row, number};
use crate::config::value::{Kind, Value};

pub(super) const ROWS: &[Row] = &[
    Row {
        key: Key::QuotaBytes,
        path: "accounts.quota_bytes",
        kind: number(0, u64::MAX >> 1),
        about: "Octets that a new account may keep; 0 is no limit. `ringpost account quota` sets one account's.",
        default: |_| Value::Number(0),
    },
    Row {
        key: Key::QuotaMessages,
        path: "accounts.quota_messages",
        kind: number(0, u32::MAX as u64),
        about: "Messages that a new account may keep; 0 is no limit.",
        default: |_| Value::Number(0),
    },
    Row {
        key: Key::OverQuota,
        path: "accounts.over_quota",
        kind: Kind::OneOf(&["defer", "reject"]),
        about: "Mail for an account that keeps as much as it may: defer tells its sender to come back (452), reject refuses it (552).",
        default: |_| Value::Text("defer".to_owned()),
    },
];
