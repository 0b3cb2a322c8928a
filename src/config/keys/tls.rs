//! `[tls]`: the first certificate. More are a list of their own: see `config::certificate`.

use super::{Key, Row};
use crate::config::TlsPaths;
use crate::config::value::{Kind, Value};

pub(super) const ROWS: &[Row] = &[
    Row {
        key: Key::TlsCert,
        path: "tls.cert",
        kind: Kind::Path,
        about: "Certificate chain, PEM. Default: the one in the data directory, which the first start makes.",
        default: |s| Value::Path(TlsPaths::own(&s.data).cert),
    },
    Row {
        key: Key::TlsKey,
        path: "tls.key",
        kind: Kind::Path,
        about: "Its private key, PEM. Refused if others may read it.",
        default: |s| Value::Path(TlsPaths::own(&s.data).key),
    },
];
