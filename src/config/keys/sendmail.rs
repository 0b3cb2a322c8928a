//! `[sendmail]`: what programs on this host may write that hand in letters by `ringpost sendmail`, at a listener of that service.

use super::{Key, Row};
use crate::config::value::{Kind, Value};

/// Octets of a user's name, as most systems have it.
const NAME_BYTES_MAX: usize = 32;

pub(super) const ROWS: &[Row] = &[Row {
    key: Key::TrustedUsers,
    path: "sendmail.trusted_users",
    kind: Kind::Names(user),
    about: "Users of this host whose programs may write any sender (`ringpost sendmail -f`), as [\"www-data\"], beside root and the user \
            that runs the server. What others hand in at a [[listener]] with service = \"sendmail\" is from their name at the first domain; \
            if that is an account, its limits and suspension hold; else those of [submission], by the user's number.",
    default: |_| Value::Names(Vec::new()),
}];

fn user(name: &str) -> Result<(), String> {
    let sound = (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-$".contains(&b));
    if sound { Ok(()) } else { Err("write names of users, as [\"www-data\"]".to_owned()) }
}
