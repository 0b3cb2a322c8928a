//! `[log]`: what is logged, and how it looks.

use super::{Key, Row};
use crate::config::value::{Kind, Value};

pub(super) const ROWS: &[Row] = &[
    Row {
        key: Key::LogLevel,
        path: "log.level",
        kind: Kind::Text(log_level),
        about: "What `ringpost serve` logs: error, warn, info, debug, trace, or a filter such as \"warn,login=info\". \
                --log-level and $RINGPOST_LOG come before it.",
        default: |_| Value::Text("info".to_owned()),
    },
    Row {
        key: Key::LogFormat,
        path: "log.format",
        kind: Kind::OneOf(&["human", "json"]),
        about: "How lines of the log look: for people, or one JSON object a line.",
        default: |_| Value::Text("human".to_owned()),
    },
];

fn log_level(level: &str) -> Result<(), String> {
    crate::observe::log::check_level(level)
}
