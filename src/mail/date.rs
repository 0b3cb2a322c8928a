//! Dates as letters spell them: RFC 5322 date-time, IMAP date-time and date.
//!
//! Inside the house time is milliseconds since 1970 (UTC). Nothing here panics, whatever the number or the
//! octets: what a calendar of four-digit years cannot say is clamped to its ends.
//!
//! ```text
//!   Sun, 22 Nov 2026 08:46:46 +0000      RFC 5322 §3.3, as we write it; read with comments, obsolete years and zones (§4.3)
//!   22-Nov-2026 08:46:46 +0000           RFC 9051 §9 date-time, without its quotes
//!   22-Nov-2026                          RFC 9051 §9 date
//! ```

use std::fmt::Write;

use time::{Date, Month, OffsetDateTime, Time};

const MS_MIN: i64 = -62_167_219_200_000;
const MS_MAX: i64 = 253_402_300_799_999;
const DAY_MS: i64 = 86_400_000;
/// Of a Date field, octets looked at. What comes later is not a date.
const READ_BYTES_MAX: usize = 256;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A point of time and the zone it was written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Milliseconds since 1970, UTC.
    pub ms: i64,
    /// Minutes east of UTC.
    pub offset_min: i16,
}

impl Stamp {
    /// The day as written, its zone disregarded, as SENTON and its like compare (RFC 9051 §6.4.4). Days since 1970.
    #[must_use]
    pub fn written_day(self) -> i32 {
        day(self.ms + i64::from(self.offset_min) * 60_000)
    }
}

/// The UTC day of `ms`, days since 1970.
#[must_use]
pub fn day(ms: i64) -> i32 {
    // Clamped to four-digit years, so it fits.
    clamp(ms).div_euclid(DAY_MS) as i32
}

/// `ms` (since 1970) as a Date or trace field says it, in UTC.
#[must_use]
pub fn rfc5322(ms: i64) -> String {
    let t = utc(ms);
    let weekday = DAYS[usize::from(t.weekday().number_days_from_monday())];
    let (hour, minute, second) = t.to_hms();
    let mut text = String::with_capacity(31);
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "{weekday}, {} {} {:04} {hour:02}:{minute:02}:{second:02} +0000",
        t.day(),
        MONTHS[usize::from(u8::from(t.month())) - 1],
        t.year()
    );
    text
}

/// `ms` (since 1970) as HTTP says it (RFC 9110 §5.6.7).
#[must_use]
pub fn http(ms: i64) -> String {
    let t = utc(ms);
    let weekday = DAYS[usize::from(t.weekday().number_days_from_monday())];
    let (hour, minute, second) = t.to_hms();
    let month = MONTHS[usize::from(u8::from(t.month())) - 1];
    format!("{weekday}, {:02} {month} {:04} {hour:02}:{minute:02}:{second:02} GMT", t.day(), t.year())
}

/// `ms` (since 1970) as IMAP's INTERNALDATE says it, in UTC, without quotes. Always 26 octets.
#[must_use]
pub fn internal_date(ms: i64) -> String {
    let t = utc(ms);
    let (hour, minute, second) = t.to_hms();
    let mut text = String::with_capacity(26);
    let _ = write!(
        text,
        "{:2}-{}-{:04} {hour:02}:{minute:02}:{second:02} +0000",
        t.day(),
        MONTHS[usize::from(u8::from(t.month())) - 1],
        t.year()
    );
    text
}

/// Reads the value of a Date field. Tolerant where letters are: comments, names of days and zones, two-digit years,
/// a missing zone (taken as UTC). `None`: no date can be made of it.
#[must_use]
pub fn read_rfc5322(value: &[u8]) -> Option<Stamp> {
    let text = without_comments(&value[..value.len().min(READ_BYTES_MAX)]);
    let mut words = text.split([' ', '\t', '\r', '\n', ',']).filter(|word| !word.is_empty()).peekable();
    words.next_if(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()));
    let day = number(words.next()?, 1, 2)?;
    let month = month(words.next()?)?;
    let year = words.next()?;
    let year = match (year.len(), number(year, 2, 4)?) {
        (2, y) if y < 50 => 2000 + y,
        (2 | 3, y) => 1900 + y,
        (_, y) => y,
    };
    let clock = clock(words.next()?)?;
    let offset_min = words.next().map_or(0, zone);
    stamp(date(year, month, day)?, clock, offset_min)
}

/// Reads an IMAP date-time without its quotes (RFC 9051 §9): APPEND's.
#[must_use]
pub fn read_internal_date(text: &[u8]) -> Option<Stamp> {
    let text = std::str::from_utf8(text).ok()?;
    let mut words = text.trim_start_matches(' ').split(' ');
    let date = imap_date(words.next()?)?;
    let clock = clock(words.next()?)?;
    let offset_min = numeric_zone(words.next()?)?;
    if words.next().is_some() {
        return None;
    }
    stamp(date, clock, offset_min)
}

/// Reads an IMAP date, quoted or not (RFC 9051 §9): SEARCH's. Days since 1970.
#[must_use]
pub fn read_date(text: &[u8]) -> Option<i32> {
    let text = std::str::from_utf8(text).ok()?;
    let text = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
    let date = imap_date(text)?;
    Some(day(date.midnight().assume_utc().unix_timestamp() * 1_000))
}

fn clamp(ms: i64) -> i64 {
    ms.clamp(MS_MIN, MS_MAX)
}

fn utc(ms: i64) -> OffsetDateTime {
    // Within four-digit years every second has its date.
    OffsetDateTime::from_unix_timestamp(clamp(ms).div_euclid(1_000)).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn stamp(date: Date, clock: Time, offset_min: i16) -> Option<Stamp> {
    let written = date.with_time(clock).assume_utc().unix_timestamp();
    let ms = (written - i64::from(offset_min) * 60) * 1_000;
    (clamp(ms) == ms).then_some(Stamp { ms, offset_min })
}

fn date(year: u16, month: Month, day: u16) -> Option<Date> {
    Date::from_calendar_date(i32::from(year), month, u8::try_from(day).ok()?).ok()
}

fn imap_date(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let day = number(parts.next()?, 1, 2)?;
    let month = month(parts.next()?)?;
    let year = number(parts.next()?, 4, 4)?;
    if parts.next().is_some() { None } else { date(year, month, day) }
}

fn number(text: &str, digits_min: usize, digits_max: usize) -> Option<u16> {
    let sound = (digits_min..=digits_max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if sound { text.parse().ok() } else { None }
}

fn month(text: &str) -> Option<Month> {
    let at = MONTHS.iter().position(|m| m.eq_ignore_ascii_case(text))?;
    Month::try_from(u8::try_from(at + 1).ok()?).ok()
}

/// `hh:mm` or `hh:mm:ss`. A leap second is the second before it.
fn clock(text: &str) -> Option<Time> {
    let mut parts = text.split(':');
    let mut next = || parts.next().map(|part| number(part, 1, 2).and_then(|n| u8::try_from(n).ok()));
    let (hour, minute, second) = (next()??, next()??, next().unwrap_or(Some(0))?);
    if parts.next().is_some() {
        return None;
    }
    Time::from_hms(hour, minute, if second == 60 { 59 } else { second }).ok()
}

/// Zones that are not known count as UTC (RFC 5322 §4.3).
fn zone(text: &str) -> i16 {
    const NAMED: [(&str, i16); 8] =
        [("EDT", -4), ("EST", -5), ("CDT", -5), ("CST", -6), ("MDT", -6), ("MST", -7), ("PDT", -7), ("PST", -8)];
    let named = || NAMED.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, hours)| hours * 60);
    numeric_zone(text).or_else(named).unwrap_or(0)
}

fn numeric_zone(text: &str) -> Option<i16> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let hhmm = i16::try_from(number(digits, 4, 4)?).ok()?;
    let (hours, minutes) = (hhmm / 100, hhmm % 100);
    (minutes < 60).then_some(sign * (hours * 60 + minutes))
}

/// Comments out, however they nest; octets above 127 become `?`.
fn without_comments(value: &[u8]) -> String {
    let mut depth = 0usize;
    let mut escaped = false;
    let mut text = String::with_capacity(value.len());
    for &byte in value {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if depth > 0 => escaped = true,
            b'(' => depth += 1,
            b')' if depth > 0 => {
                depth -= 1;
                text.push(' ');
            }
            _ if depth > 0 => {}
            _ => text.push(if byte.is_ascii() { char::from(byte) } else { '?' }),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOON_MS: i64 = 1_795_337_206_000;

    #[test]
    fn a_date_is_written_as_letters_and_as_imap_spell_it() {
        assert_eq!(rfc5322(NOON_MS), "Sun, 22 Nov 2026 08:46:46 +0000");
        assert_eq!(internal_date(NOON_MS), "22-Nov-2026 08:46:46 +0000");
        assert_eq!(http(NOON_MS), "Sun, 22 Nov 2026 08:46:46 GMT");
        assert_eq!(http(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(rfc5322(0), "Thu, 1 Jan 1970 00:00:00 +0000");
        assert_eq!(internal_date(0), " 1-Jan-1970 00:00:00 +0000");
        assert_eq!(rfc5322(-1), "Wed, 31 Dec 1969 23:59:59 +0000");
    }

    #[test]
    fn a195_years_that_do_not_fit_are_clamped() {
        assert_eq!(rfc5322(i64::MAX), "Fri, 31 Dec 9999 23:59:59 +0000");
        assert_eq!(rfc5322(i64::MIN), "Sat, 1 Jan 0000 00:00:00 +0000");
    }

    #[test]
    fn what_letters_carry_is_read() {
        for (text, ms, offset_min) in [
            ("Sun, 22 Nov 2026 08:46:46 +0000", NOON_MS, 0),
            ("22 Nov 2026 09:46:46 +0100", NOON_MS, 60),
            ("Sun, 22 Nov 2026 03:46:46 EST", NOON_MS, -300),
            ("Sun, 22 Nov 26 08:46:46 GMT", NOON_MS, 0),
            (" Sun,22 nov 2026\r\n 08:46:46 (a (nested\\)) one) +0000 (UTC)", NOON_MS, 0),
            ("22 Nov 2026 08:46 -0000", NOON_MS - 46_000, 0),
            ("1 Jan 1970 00:00:60 +0000", 59_000, 0),
            ("Thu, 1 Jan 70 00:00:00", 0, 0),
        ] {
            assert_eq!(read_rfc5322(text.as_bytes()), Some(Stamp { ms, offset_min }), "{text}");
        }
        for bad in
            ["", "Sun", "32 Nov 2026 1:1:1 +0000", "30 Feb 2026 01:01:01 +0000", "1 Foo 2026 1:1", "1 Jan 2026", "(((("]
        {
            assert_eq!(read_rfc5322(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn imap_dates_are_read_strictly() {
        assert_eq!(read_internal_date(b"22-Nov-2026 08:46:46 +0000"), Some(Stamp { ms: NOON_MS, offset_min: 0 }));
        assert_eq!(read_internal_date(b" 1-Jan-1970 01:00:00 +0100").map(|s| s.ms), Some(0));
        for bad in [
            "22-Nov-2026",
            "22-Nov-2026 08:46:46",
            "22-Nov-2026 08:46:46 EST",
            "22-Nov-26 08:46:46 +0000",
            "22-Nov-2026 08:46:46 +0000 x",
        ] {
            assert_eq!(read_internal_date(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(read_date(b"2-Jan-1970"), Some(1));
        assert_eq!(read_date(b"\"31-Dec-1969\""), Some(-1));
        assert_eq!(read_date(b"29-Feb-2025"), None);
    }

    #[test]
    fn the_written_day_ignores_its_zone() {
        let late = read_rfc5322(b"22 Nov 2026 23:30:00 -0800").unwrap();
        assert_eq!(late.written_day(), read_date(b"22-Nov-2026").unwrap());
        assert_eq!(day(late.ms), read_date(b"23-Nov-2026").unwrap());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(ms in MS_MIN + DAY_MS * 366 * 1_900..MS_MAX) {
            let whole = ms.div_euclid(1_000) * 1_000;
            prop_assert_eq!(read_rfc5322(rfc5322(ms).as_bytes()).map(|s| s.ms), Some(whole));
            prop_assert_eq!(read_internal_date(internal_date(ms).as_bytes()).map(|s| s.ms), Some(whole));
            prop_assert_eq!(internal_date(ms).len(), 26);
        }

        #[test]
        fn any_octets_are_answered(bytes in proptest::collection::vec(0u8.., 0..300), ms: i64) {
            let _ = (read_rfc5322(&bytes), read_internal_date(&bytes), read_date(&bytes), rfc5322(ms), internal_date(ms));
        }

        #[test]
        fn any_words_of_dates_are_answered(words in "[0-9:+,()A-Z -]{0,40}") {
            let _ = (read_rfc5322(words.as_bytes()), read_internal_date(words.as_bytes()), read_date(words.as_bytes()));
        }
    }
}
