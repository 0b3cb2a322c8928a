//! Parameters of MAIL and RCPT that only the queue can honour: DSN (RFC 3461 §4), FUTURERELEASE (RFC 4865 §4), DELIVERBY
//! (RFC 2852 §4), MT-PRIORITY (RFC 6710 §4), REQUIRETLS (RFC 8689 §4.1).
//!
//! They are not offered yet, and refused with 555. Their values are looked at all the same, so that a malformed one has its 501
//! from the first day on (A066, A067) and nothing that was said in one is ever believed unread.

/// ENVID, octets as they stand (RFC 3461 §4.4). Longer: 501 5.5.4.
const ENVID_BYTES_MAX: usize = 100;
/// ORCPT, octets as they stand (RFC 3461 §4.2). Longer: 501 5.5.4.
const ORCPT_BYTES_MAX: usize = 500;
/// Digits of a number of seconds (RFC 4865 §4, RFC 2852 §4). More: 501 5.5.4.
const SECONDS_DIGITS_MAX: usize = 9;

/// A parameter of MAIL: whether its value is sound. `None`: it is none of these.
pub(super) fn mail(keyword: &[u8], value: Option<&[u8]>) -> Option<bool> {
    let is = |name: &str| keyword.eq_ignore_ascii_case(name.as_bytes());
    Some(if is("RET") {
        value.is_some_and(|v| v.eq_ignore_ascii_case(b"FULL") || v.eq_ignore_ascii_case(b"HDRS"))
    } else if is("ENVID") {
        value.is_some_and(|v| v.len() <= ENVID_BYTES_MAX && is_xtext(v))
    } else if is("HOLDFOR") {
        value.is_some_and(is_seconds)
    } else if is("HOLDUNTIL") {
        value.is_some_and(is_moment)
    } else if is("BY") {
        value.is_some_and(is_deliver_by)
    } else if is("MT-PRIORITY") {
        value.is_some_and(|v| matches!(v, [b'0'..=b'9'] | [b'-', b'1'..=b'9']))
    } else if is("REQUIRETLS") {
        value.is_none()
    } else {
        return None;
    })
}

/// A parameter of RCPT, likewise.
pub(super) fn rcpt(keyword: &[u8], value: Option<&[u8]>) -> Option<bool> {
    if keyword.eq_ignore_ascii_case(b"NOTIFY") {
        Some(value.is_some_and(is_notify))
    } else if keyword.eq_ignore_ascii_case(b"ORCPT") {
        Some(value.is_some_and(|v| v.len() <= ORCPT_BYTES_MAX && is_original_recipient(v)))
    } else {
        None
    }
}

/// Printable ASCII in which `+` and two hexadecimal digits, upper case, stand for an octet (RFC 3461 §4). What they stand for is
/// printable too, so that it may be written into a report (A066).
pub(super) fn is_xtext(text: &[u8]) -> bool {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    };
    let printable = |part: &[u8]| match (part.first().copied().and_then(digit), part.get(1).copied().and_then(digit)) {
        (Some(high), Some(low)) => matches!(high << 4 | low, b' '..=b'~'),
        _ => false,
    };
    text.is_ascii() && text.split(|&b| b == b'+').skip(1).all(printable)
}

/// NEVER, or some of SUCCESS, FAILURE, DELAY, each once (RFC 3461 §4.1).
fn is_notify(value: &[u8]) -> bool {
    let mut seen = [false; 3];
    value.eq_ignore_ascii_case(b"NEVER")
        || value.split(|&b| b == b',').all(|word| {
            let names: [&[u8]; 3] = [b"SUCCESS", b"FAILURE", b"DELAY"];
            let place = names.iter().position(|name| word.eq_ignore_ascii_case(name));
            place.is_some_and(|n| !std::mem::replace(&mut seen[n], true))
        })
}

/// `rfc822;xtext` (RFC 3461 §4.2): a kind of address, and the address.
fn is_original_recipient(value: &[u8]) -> bool {
    let Some(at) = memchr::memchr(b';', value) else { return false };
    let (kind, address) = (&value[..at], &value[at + 1..]);
    let word = !kind.is_empty() && kind.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-');
    // RFC 6533 §3 has an address in UTF-8 under a kind of its own.
    let utf8 = kind.eq_ignore_ascii_case(b"utf-8") && std::str::from_utf8(address).is_ok();
    word && !address.is_empty() && (is_xtext(address) || utf8)
}

fn is_seconds(value: &[u8]) -> bool {
    (1..=SECONDS_DIGITS_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_digit)
}

/// `[-]seconds;N|R[T]`. With R, return, the time must be still to come (RFC 2852 §4.1).
fn is_deliver_by(value: &[u8]) -> bool {
    let Some(at) = memchr::memchr(b';', value) else { return false };
    let (seconds, mode) = (&value[..at], &value[at + 1..]);
    let (past, digits) = match seconds {
        [b'-', rest @ ..] => (true, rest),
        all => (false, all),
    };
    let zero = digits.iter().all(|&b| b == b'0');
    let returns = match mode {
        [b'R' | b'r'] | [b'R' | b'r', b'T' | b't'] => true,
        [b'N' | b'n'] | [b'N' | b'n', b'T' | b't'] => false,
        _ => return false,
    };
    is_seconds(digits) && !(returns && (past || zero))
}

/// `2030-01-31T23:59:59Z`, or with `+hh:mm` (RFC 4865 §4 after RFC 3339 §5.6).
fn is_moment(value: &[u8]) -> bool {
    let shape = |text: &[u8], shape: &[u8]| {
        text.len() == shape.len()
            && text
                .iter()
                .zip(shape)
                .all(|(b, s)| if *s == b'0' { b.is_ascii_digit() } else { b.eq_ignore_ascii_case(s) })
    };
    let Some((head, zone)) = value.split_at_checked(19) else { return false };
    shape(head, b"0000-00-00T00:00:00") && (shape(zone, b"Z") || shape(zone, b"+00:00") || shape(zone, b"-00:00"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail_is(text: &str) -> Option<bool> {
        let (keyword, value) = text.split_once('=').map_or((text, None), |(k, v)| (k, Some(v.as_bytes())));
        mail(keyword.as_bytes(), value)
    }

    fn rcpt_is(text: &str) -> Option<bool> {
        let (keyword, value) = text.split_once('=').map_or((text, None), |(k, v)| (k, Some(v.as_bytes())));
        rcpt(keyword.as_bytes(), value)
    }

    #[test]
    fn a066_what_a_report_would_repeat_is_printable_and_short() {
        for good in ["RET=full", "RET=HDRS", "ENVID=QQ314159", "ENVID=a+2Bb", &format!("ENVID={}", "x".repeat(100))] {
            assert_eq!(mail_is(good), Some(true), "{good}");
        }
        for bad in [
            "RET",
            "RET=ALL",
            "ENVID",
            "ENVID=a+0D+0AX-Evil:+20y",
            "ENVID=a+",
            "ENVID=a+2",
            "ENVID=a+2b",
            "ENVID=a+80",
            "ENVID=\u{e4}",
            &format!("ENVID={}", "x".repeat(101)),
        ] {
            assert_eq!(mail_is(bad), Some(false), "{bad}");
        }
        for good in
            ["NOTIFY=NEVER", "NOTIFY=success,DELAY,Failure", "ORCPT=rfc822;Bob@Ringpost.test", "ORCPT=utf-8;b\u{fc}@x"]
        {
            assert_eq!(rcpt_is(good), Some(true), "{good}");
        }
        for bad in [
            "NOTIFY",
            "NOTIFY=NEVER,DELAY",
            "NOTIFY=DELAY,DELAY",
            "NOTIFY=",
            "NOTIFY=,",
            "ORCPT",
            "ORCPT=bob",
            "ORCPT=;bob",
            "ORCPT=rfc822;",
            "ORCPT=rfc822;a+0Ab",
            "ORCPT=rfc822;b\u{fc}@x",
            "ORCPT=a b;c",
            &format!("ORCPT=rfc822;{}", "x".repeat(494)),
        ] {
            assert_eq!(rcpt_is(bad), Some(false), "{bad}");
        }
        assert_eq!((rcpt_is("SIZE=1"), mail_is("NOTIFY=NEVER")), (None, None));
    }

    #[test]
    fn a067_times_are_neither_negative_nor_beyond_what_their_digits_hold() {
        for good in [
            "HOLDFOR=0",
            "HOLDFOR=999999999",
            "HOLDUNTIL=2030-01-31T23:59:59Z",
            "HOLDUNTIL=2030-01-31t23:59:59+01:00",
            "BY=1;R",
            "BY=120;rt",
            "BY=-1;N",
            "BY=0;NT",
            "MT-PRIORITY=-9",
            "MT-PRIORITY=0",
            "REQUIRETLS",
        ] {
            assert_eq!(mail_is(good), Some(true), "{good}");
        }
        for bad in [
            "HOLDFOR",
            "HOLDFOR=",
            "HOLDFOR=-1",
            "HOLDFOR=+1",
            "HOLDFOR=1000000000",
            "HOLDFOR=18446744073709551616",
            "HOLDUNTIL=tomorrow",
            "HOLDUNTIL=2030-01-31T23:59:59",
            "HOLDUNTIL=2030-01-31 23:59:59Z",
            "BY=1",
            "BY=;R",
            "BY=0;R",
            "BY=-1;R",
            "BY=1000000000;N",
            "BY=1;X",
            "BY=1;RTT",
            "MT-PRIORITY=10",
            "MT-PRIORITY=-0",
            "MT-PRIORITY=",
            "REQUIRETLS=yes",
        ] {
            assert_eq!(mail_is(bad), Some(false), "{bad}");
        }
    }
}
