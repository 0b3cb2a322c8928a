//! Parameters of MAIL and RCPT: `KEYWORD=value`, each at most once (RFC 5321 §4.1.1.11).

use super::keyword::{Handler, is_out};
use super::{Word, queued};

/// What MAIL FROM declares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MailParams {
    pub(super) size: Option<u64>,
    pub(super) eight_bit: bool,
    pub(super) utf8: bool,
}

/// Reads MAIL's parameters. `size_max`: octets; a declared size over it is refused here (RFC 1870 §6.1). `auth`: AUTH= is known.
/// Nobody's word about who sent a message first is worth anything here, so its value is read and forgotten (RFC 4954 §5).
pub(super) fn mail(text: &[u8], size_max: u64, auth: bool) -> Result<MailParams, Word> {
    let mut params = MailParams::default();
    let mut body = None;
    let mut first_sender = None;
    let mut international = None;
    for (keyword, value) in each(text)? {
        let is =
            |name: &'static str| keyword.eq_ignore_ascii_case(name.as_bytes()) && !is_out(Handler::Parameter(name));
        if is("SIZE") {
            once(&mut params.size, size(value)?)?;
        } else if is("BODY") {
            once(&mut body, eight_bit(value)?)?;
        } else if is("SMTPUTF8") {
            once(&mut international, utf8(value)?)?;
        } else if auth && is("AUTH") {
            once(&mut first_sender, xtext(value)?)?;
        } else {
            return Err(unoffered(queued::mail(keyword, value)));
        }
    }
    if params.size.is_some_and(|octets| octets > size_max) {
        return Err(Word::TooBig);
    }
    params.eight_bit = body.unwrap_or(false);
    params.utf8 = international.is_some();
    Ok(params)
}

/// True if SMTPUTF8 stands among the words of `text`: octets above 127 before it may be meant (RFC 6531 §3.4).
pub(super) fn asks_for_utf8(text: &[u8]) -> bool {
    let named = |word: &[u8]| word.eq_ignore_ascii_case(b"SMTPUTF8");
    !text.is_ascii() && text.split(|&b| b == b' ').any(named)
}

/// Reads RCPT's parameters: those that are known are the queue's.
pub(super) fn rcpt(text: &[u8]) -> Result<(), Word> {
    match each(text)?.next() {
        Some((keyword, value)) => Err(unoffered(queued::rcpt(keyword, value))),
        None => Ok(()),
    }
}

/// What is said to a parameter that is not offered. `sound`: it is known, and whether its value is one.
fn unoffered(sound: Option<bool>) -> Word {
    if sound == Some(false) { Word::BadParameter } else { Word::UnknownParameter }
}

/// Keywords and values in order. What stands at the front must be a space or nothing: `<a@b>SIZE=1` is malformed.
fn each(text: &[u8]) -> Result<impl Iterator<Item = (&[u8], Option<&[u8]>)>, Word> {
    let keyword_is_sound = |k: &[u8]| {
        k.first().is_some_and(u8::is_ascii_alphanumeric) && k.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let value_is_sound = |v: &[u8]| !v.is_empty() && v.iter().all(|&b| matches!(b, 33..=60 | 62..=126 | 128..));
    let params = || {
        text.split(|&b| b == b' ').filter(|word| !word.is_empty()).map(|word| match memchr::memchr(b'=', word) {
            Some(at) => (&word[..at], Some(&word[at + 1..])),
            None => (word, None),
        })
    };
    let sound = params().all(|(k, v)| keyword_is_sound(k) && v.is_none_or(value_is_sound));
    if sound && matches!(text.first(), None | Some(b' ')) { Ok(params()) } else { Err(Word::BadParameter) }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Word> {
    if place.replace(value).is_some() { Err(Word::BadParameter) } else { Ok(()) }
}

/// One to twenty digits (RFC 1870 §4). Twenty that do not fit 64 bits are certainly too big.
fn size(value: Option<&[u8]>) -> Result<u64, Word> {
    let digits = value.ok_or(Word::BadParameter)?;
    if !(1..=20).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Word::BadParameter);
    }
    Ok(digits.iter().fold(0u64, |n, d| n.saturating_mul(10).saturating_add(u64::from(d - b'0'))))
}

fn xtext(value: Option<&[u8]>) -> Result<(), Word> {
    if value.is_some_and(queued::is_xtext) { Ok(()) } else { Err(Word::BadParameter) }
}

/// RFC 6531 §3.4: it has no value.
fn utf8(value: Option<&[u8]>) -> Result<(), Word> {
    if value.is_none() { Ok(()) } else { Err(Word::BadParameter) }
}

/// RFC 6152 §2. BINARYMIME is not offered.
fn eight_bit(value: Option<&[u8]>) -> Result<bool, Word> {
    match value {
        Some(v) if v.eq_ignore_ascii_case(b"8BITMIME") => Ok(true),
        Some(v) if v.eq_ignore_ascii_case(b"7BIT") => Ok(false),
        _ => Err(Word::BadParameter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a027_size_has_at_most_twenty_digits_and_a_maximum() {
        let size = |text: &[u8]| mail(text, 1_000, false).map(|p| p.size);
        assert_eq!(size(b" SIZE=1000"), Ok(Some(1_000)));
        assert_eq!(size(b" size=0"), Ok(Some(0)));
        assert_eq!(size(b" SIZE=1001"), Err(Word::TooBig));
        assert_eq!(size(b" SIZE=99999999999999999999"), Err(Word::TooBig));
        for bad in [&b" SIZE=999999999999999999999"[..], b" SIZE=", b" SIZE", b" SIZE=-1", b" SIZE=1x", b" SIZE=1=2"] {
            assert_eq!(size(bad), Err(Word::BadParameter), "{bad:?}");
        }
    }

    #[test]
    fn a029_parameters_twice_or_unknown_are_refused() {
        assert_eq!(
            mail(b" SIZE=1 BODY=8BITMIME", 9, false),
            Ok(MailParams { size: Some(1), eight_bit: true, utf8: false })
        );
        assert_eq!(mail(b" BODY=7bit ", 9, false), Ok(MailParams::default()));
        assert_eq!(mail(b" SIZE=1 SIZE=1", 9, false), Err(Word::BadParameter));
        assert_eq!(mail(b" BODY=7BIT BODY=7BIT", 9, false), Err(Word::BadParameter));
        assert_eq!(mail(b" BODY=BINARYMIME", 9, false), Err(Word::BadParameter));
        assert_eq!(mail(b" RET=FULL", 9, false), Err(Word::UnknownParameter));
        assert_eq!(mail(b" smtputf8", 9, false), Ok(MailParams { utf8: true, ..MailParams::default() }));
        assert_eq!(mail(b" SMTPUTF8 SMTPUTF8", 9, false), Err(Word::BadParameter));
        assert_eq!(mail(b" SMTPUTF8=1", 9, false), Err(Word::BadParameter));
        assert_eq!(mail(b"SIZE=1", 9, false), Err(Word::BadParameter));
        assert_eq!(mail(b" =1", 9, false), Err(Word::BadParameter));
        assert_eq!(mail(b" A\x01=1", 9, false), Err(Word::BadParameter));
        assert_eq!(rcpt(b"  "), Ok(()));
        assert_eq!(rcpt(b" NOTIFY=NEVER"), Err(Word::UnknownParameter));
    }

    #[test]
    fn auth_is_read_and_forgotten_where_auth_is_known() {
        for good in [&b" AUTH=<>"[..], b" auth=alice+40ringpost.test", b" AUTH=e+3DmcSuffix SIZE=1"] {
            assert!(mail(good, 9, true).is_ok(), "{}", good.escape_ascii());
            assert_eq!(mail(good, 9, false), Err(Word::UnknownParameter));
        }
        for bad in
            [&b" AUTH"[..], b" AUTH=", b" AUTH=a+4", b" AUTH=a+4g", b" AUTH=a+3d", b" AUTH=\xff", b" AUTH=<> AUTH=<>"]
        {
            assert_eq!(mail(bad, 9, true), Err(Word::BadParameter), "{}", bad.escape_ascii());
        }
    }
}
