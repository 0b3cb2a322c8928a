//! From when to when a certificate holds: the two times of its DER (RFC 5280 §4.1.2.5), and nothing else of it.
//!
//! rustls holds a certificate against its key and never against the clock, which is the clients' business; and it hands out
//! neither time. A parser of everything a certificate may hold would be the largest thing in this house that reads
//! certificates, for two fields whose place is fixed:
//!
//! ```text
//!   Certificate { TBSCertificate { [0] version?, serial, algorithm, issuer, validity { notBefore, notAfter }, … }, … }
//! ```
//!
//! It never panics, whatever the bytes: a certificate that cannot be read has no times.

use time::{Date, Month, Time, UtcDateTime};

/// Between these two, both included, a certificate holds. Seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub from_s: i64,
    /// The last.
    pub until_s: i64,
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]`, constructed: the version. Left out by certificates of version 1.
const VERSION: u8 = 0xa0;

impl Validity {
    /// Of one certificate in DER. `None`: it is none that can be read.
    #[must_use]
    pub fn of(der: &[u8]) -> Option<Validity> {
        let (certificate, _) = expect(SEQUENCE, der)?;
        let (mut rest, _) = expect(SEQUENCE, certificate)?;
        if rest.first() == Some(&VERSION) {
            rest = expect(VERSION, rest)?.1;
        }
        for tag in [INTEGER, SEQUENCE, SEQUENCE] {
            rest = expect(tag, rest)?.1;
        }
        let (validity, _) = expect(SEQUENCE, rest)?;
        let (tag, from, rest) = element(validity)?;
        let from_s = seconds(tag, from)?;
        let (tag, until, _) = element(rest)?;
        Some(Validity { from_s, until_s: seconds(tag, until)? })
    }

    /// Of a chain: while all of its certificates hold. `None`: one cannot be read, or there is none.
    #[must_use]
    pub fn of_chain<'a>(chain: impl Iterator<Item = &'a [u8]>) -> Option<Validity> {
        let both =
            |a: Validity, b: Validity| Validity { from_s: a.from_s.max(b.from_s), until_s: a.until_s.min(b.until_s) };
        chain.map(Validity::of).reduce(|a, b| Some(both(a?, b?))).flatten()
    }
}

/// The content of the element that is to stand here, and what follows it.
fn expect(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    element(bytes).filter(|(found, ..)| *found == tag).map(|(_, content, rest)| (content, rest))
}

/// One element: its tag, its content, and what follows. Tags of one octet alone stand before the times.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (octets, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // So many octets of length follow. DER has no open end (0x80), and no certificate has 2^32 octets.
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(octets)?;
    Some((tag, content, rest))
}

/// YYMMDDHHMMSSZ until 2049, YYYYMMDDHHMMSSZ from then on (RFC 5280 §4.1.2.5.1 and §4.1.2.5.2).
fn seconds(tag: u8, text: &[u8]) -> Option<i64> {
    let year_digits = match tag {
        UTC_TIME => 2,
        GENERALIZED_TIME => 4,
        _ => return None,
    };
    let digits = text.strip_suffix(b"Z")?;
    if digits.len() != year_digits + 10 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |part: &[u8]| part.iter().fold(0_u16, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    let (year, rest) = digits.split_at(year_digits);
    let year = match (number(year), year_digits) {
        (year, 2) => i32::from(year) + if year < 50 { 2000 } else { 1900 },
        (year, _) => i32::from(year),
    };
    let mut parts = rest.chunks_exact(2).map(|two| number(two) as u8);
    let mut next = || parts.next();
    let date = Date::from_calendar_date(year, Month::try_from(next()?).ok()?, next()?).ok()?;
    let time = Time::from_hms(next()?, next()?, next()?).ok()?;
    Some(UtcDateTime::new(date, time).unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};
    use time::OffsetDateTime;

    fn made(from_s: i64, until_s: i64) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = OffsetDateTime::from_unix_timestamp(from_s).unwrap();
        params.not_after = OffsetDateTime::from_unix_timestamp(until_s).unwrap();
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    /// 1994-11-06 08:49:37, 2049-12-31 23:59:59, 2050-01-01 00:00:00 and the end of 9999.
    const MOMENTS: [i64; 4] = [784_111_777, 2_524_607_999, 2_524_608_000, 253_402_300_799];

    #[test]
    fn both_times_are_read_on_either_side_of_2050() {
        for pair in MOMENTS.windows(2) {
            let expected = Validity { from_s: pair[0], until_s: pair[1] };
            assert_eq!(Validity::of(&made(pair[0], pair[1])), Some(expected));
        }
    }

    #[test]
    fn a_chain_holds_while_all_of_it_does() {
        let [a, b, c, d] = MOMENTS;
        let chain = [made(a, c), made(b, d)];
        assert_eq!(Validity::of_chain(chain.iter().map(Vec::as_slice)), Some(Validity { from_s: b, until_s: c }));
        let broken = [&chain[0][..], b"hello"];
        assert_eq!(Validity::of_chain(broken.into_iter()), None);
        assert_eq!(Validity::of_chain(broken.into_iter().rev()), None);
        assert_eq!(Validity::of_chain(std::iter::empty()), None);
    }

    #[test]
    fn a_certificate_cut_anywhere_or_with_any_octet_changed_does_no_harm() {
        let whole = made(MOMENTS[0], MOMENTS[1]);
        for cut in 0..whole.len() {
            assert_eq!(Validity::of(&whole[..cut]), None, "cut at {cut}");
            for octet in [0x00, 0x7f, 0x80, 0x84, 0xff] {
                let mut changed = whole.clone();
                changed[cut] = octet;
                let read = Validity::of(&changed);
                assert!(read.is_none_or(|v| v.from_s <= MOMENTS[3]), "{read:?}");
            }
        }
    }

    #[test]
    fn a_time_that_is_none_is_not_read() {
        assert_eq!(seconds(UTC_TIME, b"941106084937Z"), Some(MOMENTS[0]));
        assert_eq!(seconds(GENERALIZED_TIME, b"19941106084937Z"), Some(MOMENTS[0]));
        for text in ["941106084937", "9411060849Z", "941306084937Z", "940230084937Z", "941106244937Z", "94110608493xZ"]
        {
            assert_eq!(seconds(UTC_TIME, text.as_bytes()), None, "{text}");
        }
        assert_eq!(seconds(SEQUENCE, b"941106084937Z"), None);
    }
}
