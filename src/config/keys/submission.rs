//! `[submission]`: how much an account may hand in, where `ringpost account limits` says nothing else.

use super::{Key, Row, number};
use crate::config::value::{Kind, Value};

pub(super) const ROWS: &[Row] = &[
    Row {
        key: Key::SenderCheck,
        path: "submission.sender",
        kind: Kind::OneOf(&["header", "mail", "off"]),
        about: "Which senders must be addresses of the account that hands a letter in: its own, its aliases, and what `ringpost account \
                sender` grants it. \"header\": MAIL FROM, and every From and Sender of the letter; \"mail\": MAIL FROM alone, so that \
                what a program redirects as it is goes through; \"off\": none. Others: 553 5.7.1.",
        default: |_| Value::Text("header".to_owned()),
    },
    Row {
        key: Key::MessagesPerHour,
        path: "submission.messages_per_hour",
        kind: number(0, u32::MAX as u64),
        about: "Messages that an account may hand in within an hour; 0 is no limit. More: 450 4.7.1. `ringpost account limits` sets \
                one account's.",
        default: |_| Value::Number(0),
    },
    Row {
        key: Key::MessagesPerDay,
        path: "submission.messages_per_day",
        kind: number(0, u32::MAX as u64),
        about: "Messages that an account may hand in within a day; 0 is no limit.",
        default: |_| Value::Number(0),
    },
    Row {
        key: Key::RecipientsPerHour,
        path: "submission.recipients_per_hour",
        kind: number(0, u32::MAX as u64),
        about: "Recipients an account may write to within an hour, all its messages together; 0 is no limit. An account that is \
                refused in half of the minutes of an hour is suspended: see `ringpost account resume`.",
        default: |_| Value::Number(200),
    },
    Row {
        key: Key::RecipientsPerDay,
        path: "submission.recipients_per_day",
        kind: number(0, u32::MAX as u64),
        about: "Recipients an account may write to within a day; 0 is no limit.",
        default: |_| Value::Number(2_000),
    },
    Row {
        key: Key::RecipientsPerMessage,
        path: "submission.recipients_per_message",
        kind: number(0, u32::MAX as u64),
        about: "Recipients of one message that an account hands in; 0 is as many as anybody's. More: 452 4.5.3.",
        default: |_| Value::Number(0),
    },
];
