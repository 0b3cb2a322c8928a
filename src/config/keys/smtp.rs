//! `[smtp]`: how messages are taken in.

use super::{Key, Row};
use crate::config::value::{Kind, Value};

pub(super) const ROWS: &[Row] = &[Row {
    key: Key::RejectBareNewlines,
    path: "smtp.reject_bare_newlines",
    kind: Kind::Switch,
    about: "Refuse messages with a bare CR or LF (550 5.6.11) instead of making them canonical.",
    default: |_| Value::Switch(false),
}];
