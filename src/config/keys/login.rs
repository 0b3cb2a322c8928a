//! `[login]`: who may log in where, and what hashing a password costs.

use super::{Key, Row, number};
use crate::config::value::{Kind, Value};
use crate::office::Argon2Cost;
use crate::proto::sasl::{Allowed, MECHANISMS};

/// The least memory of a new password's hash, KiB: cheaper ones are guessed too fast when a store is stolen.
const ARGON2_MEMORY_KIB_MIN: u64 = 7_168;
/// The dearest cost a stored record may have, so that it can be read again: KiB and passes.
const ARGON2_MEMORY_KIB_MAX: u64 = 1 << 20;
const ARGON2_PASSES_MAX: u64 = 64;
pub(super) const ROWS: &[Row] = &[
    Row {
        key: Key::PlaintextNetworks,
        path: "login.plaintext_networks",
        kind: Kind::Networks,
        about: "Networks that may log in without TLS: passwords cross them in the clear.",
        default: |_| Value::Networks(Vec::new()),
    },
    Row {
        key: Key::PlaintextUntil,
        path: "login.plaintext_until",
        kind: Kind::Text(day_or_never),
        about: "The first day (UTC) on which those networks need TLS again, as \"2027-06-30\", or \"never\". Each such login is \
                logged with tls=false.",
        default: |_| Value::Text("never".to_owned()),
    },
    Row {
        key: Key::PlaintextWide,
        path: "login.i_understand_plaintext_networks_are_wide",
        kind: Kind::Switch,
        about: "Allows login.plaintext_networks that are wider than /8 (IPv4) or /32 (IPv6).",
        default: |_| Value::Switch(false),
    },
    Row {
        key: Key::Mechanisms,
        path: "login.mechanisms",
        kind: Kind::Names(mechanism),
        about: "Mechanisms of SASL that are offered, SCRAM only while every account has keys. A [[listener]] may say its own: without \
                SCRAM-SHA-256-PLUS where mail programs choose that and cannot do it, as those with GNU SASL. IMAP's LOGIN and POP3's \
                USER are no mechanisms, and stay.",
        default: |_| Value::Names(MECHANISMS.iter().map(|mechanism| mechanism.name.to_owned()).collect()),
    },
    Row {
        key: Key::RememberS,
        path: "login.remember_s",
        kind: number(0, 3_600),
        about: "Seconds for which a password that was right is remembered, so that a mail program that connects again and again \
                costs a hash once. 0: every login computes it.",
        default: |_| Value::Number(300),
    },
    Row {
        key: Key::Argon2Memory,
        path: "login.argon2_memory_kib",
        kind: number(ARGON2_MEMORY_KIB_MIN, ARGON2_MEMORY_KIB_MAX),
        about: "Memory that hashing a new password takes (Argon2id), KiB.",
        default: |_| Value::Number(Argon2Cost::DEFAULT.memory_kib.into()),
    },
    Row {
        key: Key::Argon2Passes,
        path: "login.argon2_passes",
        kind: number(1, ARGON2_PASSES_MAX),
        about: "Passes over that memory.",
        default: |_| Value::Number(Argon2Cost::DEFAULT.passes.into()),
    },
];

/// A mechanism that there is.
pub(in crate::config) fn mechanism(name: &str) -> Result<(), String> {
    if Allowed::named([name]).is_some() {
        return Ok(());
    }
    let all: Vec<_> = MECHANISMS.iter().map(|mechanism| mechanism.name).collect();
    Err(format!("choose among {}", all.join(", ")))
}

fn day_or_never(text: &str) -> Result<(), String> {
    match day_begins_ms(text) {
        Ok(_) => Ok(()),
        Err(()) => Err("write a day as \"2027-06-30\", or \"never\"".to_owned()),
    }
}

/// When a day begins in UTC, milliseconds since 1970; `None` for `never`.
pub(in crate::config) fn day_begins_ms(text: &str) -> Result<Option<u64>, ()> {
    if text == "never" {
        return Ok(None);
    }
    let format = time::macros::format_description!("[year]-[month]-[day]");
    let day = time::Date::parse(text, format).map_err(|_| ())?;
    let seconds = day.midnight().assume_utc().unix_timestamp();
    Ok(Some(u64::try_from(seconds).map_err(|_| ())?.saturating_mul(1_000)))
}
