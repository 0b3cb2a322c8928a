//! `[http]`: who may read the figures.

use super::{Key, Row, host_name};
use crate::config::value::{Kind, Value};

pub(super) const ROWS: &[Row] = &[
    Row {
        key: Key::HttpHosts,
        path: "http.hosts",
        kind: Kind::Names(host_name),
        about: "Names, beside localhost, any address and hostname, by which http may be asked, as [\"mx.internal\"]. Requests for \
                others are refused (421): their DNS could point a browser's pages at this host.",
        default: |_| Value::Names(Vec::new()),
    },
    Row {
        key: Key::HttpPublic,
        path: "http.i_understand_there_is_no_password",
        kind: Kind::Switch,
        about: "Allows http listeners on addresses other than loopback: whoever reaches them reads the figures.",
        default: |_| Value::Switch(false),
    },
];
