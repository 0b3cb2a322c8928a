//! `ringpost account undelete`: what somebody has expunged by mistake comes back, while it is kept.

use clap::Args;
use indicatif::HumanBytes;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use super::{At, desk, say, say_json};
use crate::admin::{Request, Response};
use crate::mail::date;
use crate::office::tools::{Ask, Told, Undeleted};

/// Bring back what was expunged, while it is kept.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost account undelete alice@example.org --dry-run            shows what there is, and changes nothing
  ringpost account undelete alice@example.org --since 2h           what was expunged in the last two hours
  ringpost account undelete alice@example.org --since 2026-11-20 --mailbox Lists/Rust
  ringpost account undelete alice@example.org --to Undeleted       all into one mailbox, for its owner to sort

Expunged messages, and those of removed mailboxes, are kept for `store.retention_s` seconds, which is 0 where nobody has
set it: then there is nothing to bring back but from a backup (`ringpost store restore --account`). Removed accounts are
not kept.

Messages go back to the mailbox where they were, which is made again if it was removed, with flags and dates, under new
UIDs and without \\Deleted. What came back is not there a second time, so a call that was cut off may be repeated.")]
pub(super) struct UndeleteArgs {
    /// The account.
    address: String,
    /// Only what was expunged since then: 30m, 2h, 3d (ago), a day such as 2026-11-20, or 2026-11-20T08:00:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only what was in this mailbox.
    #[arg(long, value_name = "MAILBOX")]
    mailbox: Option<String>,
    /// All of it into this mailbox, and not where it was.
    #[arg(long, value_name = "MAILBOX")]
    to: Option<String>,
    /// Show what would come back.
    #[arg(long)]
    dry_run: bool,
    /// As a JSON array, one object a mailbox.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

pub(super) fn run(args: UndeleteArgs) -> Result<(), String> {
    let UndeleteArgs { address, since, mailbox, to, dry_run, json, at } = args;
    let now_ms = OffsetDateTime::now_utc().unix_timestamp() * 1_000;
    let since_ms = since.map(|since| time_of(&since, now_ms)).transpose()?;
    let ask = Ask::Undelete { since_ms, mailbox, to, dry_run };
    let told = match desk::ask(&at.data, Request::Store { account: address, ask })? {
        Response::Store { told: Told::Undeleted { mailboxes } } => mailboxes,
        other => return Err(desk::strange(&other)),
    };
    if json {
        return say_json(&told);
    }
    told.iter().for_each(show);
    let (messages, octets) = told.iter().fold((0, 0), |(n, octets), of| (n + of.messages, octets + of.octets));
    let would = if dry_run { "would come back" } else { "came back" };
    say(&format!("{messages} messages ({}) {would}\n", HumanBytes(octets)));
    Ok(())
}

fn show(of: &Undeleted) {
    let Undeleted { mailbox, messages, octets, first_ms, last_ms } = of;
    let (first, last) = (date::rfc5322(*first_ms), date::rfc5322(*last_ms));
    say(&format!("{mailbox}: {messages} messages ({}), expunged {first} to {last}\n", HumanBytes(*octets)));
}

/// A time in the past, milliseconds since 1970.
fn time_of(text: &str, now_ms: i64) -> Result<i64, String> {
    let ago = |count: &str, unit_s: i64| {
        let count: i64 = count.parse().ok().filter(|count| *count >= 0)?;
        Some(now_ms.saturating_sub(count.checked_mul(unit_s)?.checked_mul(1_000)?))
    };
    let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 7 * 86_400)];
    let found = units.iter().find_map(|(unit, unit_s)| ago(text.strip_suffix(*unit)?, *unit_s));
    let day =
        || Date::parse(text, format_description!("[year]-[month]-[day]")).ok().map(|day| day.midnight().assume_utc());
    let moment = || day().or_else(|| OffsetDateTime::parse(text, &Rfc3339).ok());
    let found = found.or_else(|| moment().map(|moment| moment.unix_timestamp() * 1_000));
    found.ok_or_else(|| {
        format!("`{}` is no time: write 30m, 2h, 3d, 2026-11-20, or 2026-11-20T08:00:00Z", text.escape_debug())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_some_while_ago_a_day_or_a_moment() {
        let now_ms = 1_795_000_000_000;
        assert_eq!(time_of("90s", now_ms), Ok(now_ms - 90_000));
        assert_eq!(time_of("2h", now_ms), Ok(now_ms - 7_200_000));
        assert_eq!(time_of("3d", now_ms), Ok(now_ms - 3 * 86_400_000));
        assert_eq!(time_of("2026-11-20", now_ms), Ok(1_795_132_800_000));
        assert_eq!(time_of("2026-11-20T01:00:00+01:00", now_ms), Ok(1_795_132_800_000));
        for none in ["", "h", "-2h", "yesterday", "2026-13-01", "99999999999999999999d"] {
            assert!(time_of(none, now_ms).is_err(), "{none}");
        }
    }
}
