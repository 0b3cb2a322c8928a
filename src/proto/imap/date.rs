//! Dates as IMAP spells them: `date` of SEARCH and `date-time` of INTERNALDATE (RFC 9051 §9).
//!
//! Calendar arithmetic on plain numbers, years 1 to 9999, no clock and no time zone of our own.

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const DAY_MS: i64 = 86_400_000;

/// `1-Feb-1994` as days since 1970-01-01. `None` when malformed or not in the calendar.
#[must_use]
pub fn parse_day(text: &[u8]) -> Option<i32> {
    let (day, rest) = match text {
        [a, b'-', rest @ ..] => (digits(std::slice::from_ref(a))?, rest),
        [a, b, b'-', rest @ ..] => (digits(&[*a, *b])?, rest),
        _ => return None,
    };
    let [m0, m1, m2, b'-', year @ ..] = rest else { return None };
    if year.len() != 4 {
        return None;
    }
    days(digits(year)?, month([*m0, *m1, *m2])?, day)
}

/// `17-Jul-1996 02:44:25 -0700`, a day below 10 led by a space or 0, as milliseconds since 1970.
/// `None` when malformed or not in the calendar.
#[must_use]
pub fn parse_date_time(text: &[u8]) -> Option<i64> {
    if text.len() != 26 || text[11] != b' ' || text[14] != b':' || text[17] != b':' || text[20] != b' ' {
        return None;
    }
    let day = parse_day(if text[0] == b' ' { &text[1..11] } else { &text[..11] })?;
    let (hour, minute, second) = (digits(&text[12..14])?, digits(&text[15..17])?, digits(&text[18..20])?);
    let (zone_hour, zone_minute) = (digits(&text[22..24])?, digits(&text[24..26])?);
    // 60 is a leap second: the calendar here has none, so it is the next minute's first.
    if hour > 23 || minute > 59 || second > 60 || zone_hour > 14 || zone_minute > 59 {
        return None;
    }
    let zone_s = i64::from(zone_hour) * 3_600 + i64::from(zone_minute) * 60;
    let zone_s = match text[21] {
        b'+' => zone_s,
        b'-' => -zone_s,
        _ => return None,
    };
    let clock_s = i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second);
    Some(i64::from(day) * DAY_MS + (clock_s - zone_s) * 1_000)
}

/// Appends `17-Jul-1996 09:44:25 +0000`, the day with a leading space below 10. Years beyond 1 to 9999 are clamped.
pub fn encode_date_time(ms: i64, out: &mut Vec<u8>) {
    let least = i64::from(DAY_MIN) * DAY_MS;
    let most = (i64::from(DAY_MAX) + 1) * DAY_MS - 1;
    let ms = ms.clamp(least, most);
    let (year, month, day) = civil(ms.div_euclid(DAY_MS));
    let second = ms.rem_euclid(DAY_MS) / 1_000;
    let month = std::str::from_utf8(MONTHS[month - 1]).expect("ASCII");
    let text =
        format!("{day:2}-{month}-{year:04} {:02}:{:02}:{:02} +0000", second / 3_600, second / 60 % 60, second % 60);
    out.extend_from_slice(text.as_bytes());
}

/// 0001-01-01 and 9999-12-31.
const DAY_MIN: i32 = -719_162;
const DAY_MAX: i32 = 2_932_896;

fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0_u32, |n, b| b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0')))
}

fn month(name: [u8; 3]) -> Option<u32> {
    let at = MONTHS.iter().position(|m| m.eq_ignore_ascii_case(&name))?;
    u32::try_from(at + 1).ok()
}

/// Days since 1970-01-01 of a date of the Gregorian calendar.
fn days(year: u32, month: u32, day: u32) -> Option<i32> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let lengths = [31, 28 + u32::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    if year == 0 || day == 0 || day > *lengths.get(usize::try_from(month).ok()?.checked_sub(1)?)? {
        return None;
    }
    let before: u32 = lengths.iter().take(month as usize - 1).sum();
    let years = year - 1;
    let since_year_1 = years * 365 + years / 4 - years / 100 + years / 400 + before + day - 1;
    Some(i32::try_from(since_year_1).ok()? + DAY_MIN)
}

/// Year, month and day of a day since 1970-01-01.
fn civil(day: i64) -> (i64, usize, i64) {
    let since = day - i64::from(DAY_MIN);
    let mut year = since / 366 + 1;
    let start = |year: i64| {
        let years = year - 1;
        years * 365 + years / 4 - years / 100 + years / 400
    };
    while start(year + 1) <= since {
        year += 1;
    }
    let mut left = since - start(year);
    let leap = i64::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
    for (at, length) in [31, 28 + leap, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].into_iter().enumerate() {
        if left < length {
            return (year, at + 1, left + 1);
        }
        left -= length;
    }
    unreachable!("a day lies in one of the twelve months of its year")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_from_1970() {
        assert_eq!(parse_day(b"1-Jan-1970"), Some(0));
        assert_eq!(parse_day(b"01-feb-1994"), Some(8_797));
        assert_eq!(parse_day(b"29-Feb-2000"), Some(11_016));
        assert_eq!(parse_day(b"31-Dec-9999"), Some(DAY_MAX));
        assert_eq!(parse_day(b"1-Jan-0001"), Some(DAY_MIN));
    }

    #[test]
    fn a121_dates_that_are_none_are_refused() {
        for text in [
            "30-Feb-2024",
            "29-Feb-1900",
            "0-Jan-2000",
            "1-Foo-2000",
            "1-Jan-00",
            "1-Jan-0000",
            "",
            "--",
            "1-Jan-20000",
        ] {
            assert_eq!(parse_day(text.as_bytes()), None, "{text}");
        }
        for text in [
            "17-Jul-1996 02:44:25",
            "17-Jul-1996 24:44:25 -0700",
            "17-Jul-1996 02:44:25 -1560",
            "17-Jul-1996 02:44:25 *0700",
            "17 Jul 1996 02:44:25 -0700",
            "99-Jul-1996 02:44:25 -0700",
        ] {
            assert_eq!(parse_date_time(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_date_time_comes_back_in_utc() {
        let ms = parse_date_time(b"17-Jul-1996 02:44:25 -0700").expect("a date");
        assert_eq!(ms, 837_596_665_000);
        let mut out = Vec::new();
        encode_date_time(ms, &mut out);
        assert_eq!(out, b"17-Jul-1996 09:44:25 +0000");
        assert_eq!(parse_date_time(b" 7-Jul-1996 02:44:25 +0000"), parse_date_time(b"07-Jul-1996 02:44:25 +0000"));
    }

    #[test]
    fn every_day_comes_back() {
        for day in (DAY_MIN..=DAY_MAX).step_by(97) {
            let mut out = Vec::new();
            encode_date_time(i64::from(day) * DAY_MS + 1, &mut out);
            let from = usize::from(out[0] == b' ');
            assert_eq!(parse_day(&out[from..11]), Some(day), "{}", String::from_utf8_lossy(&out));
        }
        let mut out = Vec::new();
        encode_date_time(i64::MAX, &mut out);
        assert!(out.starts_with(b"31-Dec-9999"));
    }
}
