//! `[store]`: how mail is kept.

use ringpost_storage::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN as SEGMENT_BYTES_UNIT};

use super::{Key, Row};
use crate::config::value::{Fit, Kind, Value};

/// The least segment, octets: a message must fit one (see `check`).
const SEGMENT_BYTES_MIN: u64 = 1 << 20;
/// Octets of a segment unless said otherwise.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;
/// Octets that accounts in memory may take. Less than the least: each command would read its mailbox anew.
const INDEX_MEMORY_MIN: u64 = 1 << 20;
const INDEX_MEMORY_DEFAULT: u64 = 512 << 20;
const INDEX_MEMORY_MAX: u64 = 1 << 40;
/// Thirty days.
pub(in crate::config) const SCRUB_PERIOD_S_DEFAULT: u64 = 7 * 86_400;
const SCRUB_RATE_MIN: u64 = 64 << 10;
pub(in crate::config) const SCRUB_RATE_DEFAULT: u64 = 8 << 20;
const SCRUB_RATE_MAX: u64 = 1 << 34;
/// Ten years: longer than anybody waits.
const YEARS_S_MAX: u64 = 3_650 * 86_400;

pub(super) const ROWS: &[Row] = &[
    Row {
        key: Key::SegmentBytes,
        path: "store.segment_bytes",
        kind: Kind::Number {
            least: SEGMENT_BYTES_MIN,
            most: SEGMENT_BYTES_MAX,
            fit: Fit::MultipleOf(SEGMENT_BYTES_UNIT),
        },
        about: "Octets of a log segment in a new store. A store that is there keeps its own. A message must fit one.",
        default: |_| Value::Number(SEGMENT_BYTES_DEFAULT),
    },
    Row {
        key: Key::IndexMemory,
        path: "store.index_memory",
        kind: Kind::Number { least: INDEX_MEMORY_MIN, most: INDEX_MEMORY_MAX, fit: Fit::Any },
        about: "Octets of memory for mailboxes that were looked at lately, all volumes together: 64 for a message, some 500 for \
                an account. What is held by a command in progress counts and stays. Besides, each account takes some 150 \
                octets always.",
        default: |s| Value::Number(INDEX_MEMORY_DEFAULT.min(s.memory / 4).max(INDEX_MEMORY_MIN)),
    },
    Row {
        key: Key::PageCache,
        path: "store.page_cache",
        kind: Kind::Switch,
        about: "Writes the log through the page cache instead of past it (O_DIRECT), for a file system that is bad at the other. Costs more CPU.",
        default: |_| Value::Switch(false),
    },
    Row {
        key: Key::Compaction,
        path: "store.compaction",
        kind: Kind::Switch,
        about: "Gives the space of expunged messages back in the background, at a bounded rate.",
        default: |_| Value::Switch(true),
    },
    Row {
        key: Key::ScrubPeriodS,
        path: "store.scrub_period_s",
        kind: Kind::Number { least: 0, most: YEARS_S_MAX, fit: Fit::Any },
        about: "Seconds from the beginning of one scrub to the next: all that is in use is read from the disk and held against \
                its checksums, so that rot is found while there is a backup to mend it from. 0: none, but by `ringpost store scrub`.",
        default: |_| Value::Number(SCRUB_PERIOD_S_DEFAULT),
    },
    Row {
        key: Key::ScrubRate,
        path: "store.scrub_rate",
        kind: Kind::Number { least: SCRUB_RATE_MIN, most: SCRUB_RATE_MAX, fit: Fit::Any },
        about: "Octets that a scrub reads in a second, of each volume, at most. 1 TiB takes a day and a half at the default.",
        default: |_| Value::Number(SCRUB_RATE_DEFAULT),
    },
    Row {
        key: Key::RetentionS,
        path: "store.retention_s",
        kind: Kind::Number { least: 0, most: YEARS_S_MAX, fit: Fit::Any },
        about: "Seconds for which expunged messages, and those of removed mailboxes, can be brought back (`ringpost account \
                undelete`): 604800 is a week. They take space and count for no quota. 0: what is expunged is gone, as its owner \
                expects, and what POP3 fetches and deletes takes no space for days.",
        default: |_| Value::Number(0),
    },
];
