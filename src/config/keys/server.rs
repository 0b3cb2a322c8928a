//! The server itself: where its data is, what it is called. These stand outside tables.

use super::{Key, Row, host_name, number};
use crate::config::value::{Kind, Value};

/// The data directory unless said otherwise.
pub const DATA_DEFAULT: &str = "ringpost-data";

pub(super) const ROWS: &[Row] = &[
    Row {
        key: Key::Data,
        path: "data",
        kind: Kind::Path,
        about: "Directory that holds everything: accounts, mail, the admin socket. Made if missing.",
        default: |_| Value::Path(DATA_DEFAULT.into()),
    },
    Row {
        key: Key::Hostname,
        path: "hostname",
        kind: Kind::Text(host_name),
        about: "The name to greet with and to sign Received fields with. Default: this host's name.",
        default: |s| Value::Text(s.host_name.clone()),
    },
    Row {
        key: Key::PortOffset,
        path: "port_offset",
        kind: number(0, 65_534),
        about: "Added to the port of every listener: for a second server on one machine.",
        default: |_| Value::Number(0),
    },
];
