//! Writing mbox, quoted as mboxrd does (RFC 4155 appendix A, and every line of `>`s and `From ` gets one more `>`).
//!
//! Flags are written as `Status`, `X-Status` and `X-Keywords`, in the place of what the message had of such fields: a reader
//! could not tell whose they are. The separator says where bounces went, as the Return-Path field knows it, and the date
//! of receipt in UTC.

use std::io::{self, Write};

use time::OffsetDateTime;

use super::line_ends::bare;
use super::mbox::FIELDS_OF_THE_FILE;
use crate::mail::header::{Fields, body_start, find};
use crate::proto::imap::FlagList;

/// Appends a canonical message.
///
/// # Errors
/// As the file says.
pub fn write(out: &mut impl Write, octets: &[u8], flags: &FlagList, internal_ms: i64) -> io::Result<()> {
    writeln!(out, "From {} {}", sender(octets), asctime(internal_ms))?;
    let mut message = Vec::with_capacity(octets.len() + 128);
    let mut at = 0;
    for field in Fields::of(octets) {
        let name = &octets[field.name.clone()];
        if FIELDS_OF_THE_FILE.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes())) {
            message.extend_from_slice(&octets[at..field.whole.start]);
            at = field.whole.end;
        }
    }
    let mut fields = Fields::of(octets);
    fields.by_ref().for_each(drop);
    let header_end = fields.position();
    message.extend_from_slice(&octets[at..header_end]);
    if header_end > 0 && !octets[..header_end].ends_with(b"\n") {
        message.extend_from_slice(b"\r\n");
    }
    message.extend_from_slice(status(flags).as_bytes());
    // Behind the fields there is an empty line, whatever the message has.
    message.extend_from_slice(b"\r\n");
    message.extend_from_slice(&octets[body_start(octets)..]);
    let text = bare(&message);
    for line in text.split_inclusive(|&b| b == b'\n') {
        let quotes = line.iter().take_while(|&&b| b == b'>').count();
        if line[quotes..].starts_with(b"From ") {
            out.write_all(b">")?;
        }
        out.write_all(line)?;
    }
    if !text.ends_with(b"\n") {
        out.write_all(b"\n")?;
    }
    out.write_all(b"\n")
}

fn status(flags: &FlagList) -> String {
    let letters = |known: &[(u32, char)]| -> String {
        known.iter().filter(|(bit, _)| flags.bits & bit != 0).map(|(_, letter)| *letter).collect()
    };
    let seen = letters(&[(FlagList::SEEN, 'R')]);
    let others = letters(&[
        (FlagList::ANSWERED, 'A'),
        (FlagList::FLAGGED, 'F'),
        (FlagList::DRAFT, 'T'),
        (FlagList::DELETED, 'D'),
    ]);
    let mut text = format!("Status: {seen}O\r\n");
    if !others.is_empty() {
        text += &format!("X-Status: {others}\r\n");
    }
    if !flags.keywords.is_empty() {
        text += &format!("X-Keywords: {}\r\n", flags.keywords.join(" "));
    }
    text
}

/// What stands in Return-Path, if that is an address without blanks.
fn sender(octets: &[u8]) -> String {
    let path = find(octets, "Return-Path").and_then(|field| std::str::from_utf8(&octets[field.value]).ok());
    let address = path.map(|p| p.trim().trim_start_matches('<').trim_end_matches('>')).unwrap_or_default();
    let fits = !address.is_empty() && address.bytes().all(|b| b.is_ascii_graphic());
    if fits { address.to_owned() } else { "MAILER-DAEMON".to_owned() }
}

/// As C writes it, in UTC: `Fri Feb 13 23:31:30 2009`.
fn asctime(ms: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(ms.div_euclid(1_000)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (weekday, month) = (at.weekday().to_string(), at.month().to_string());
    let (hour, minute, second) = at.to_hms();
    format!("{} {} {:>2} {hour:02}:{minute:02}:{second:02} {:04}", &weekday[..3], &month[..3], at.day(), at.year())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::archive::mbox::{Quoting, Reader};

    fn written(octets: &[u8], flags: &FlagList, ms: i64) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, octets, flags, ms).unwrap();
        out
    }

    #[test]
    fn a_message_is_written_with_its_flags_and_date() {
        let flags = FlagList { bits: FlagList::SEEN | FlagList::FLAGGED, keywords: vec!["a".into(), "b".into()] };
        let text = written(
            b"Return-Path: <bob@b.test>\r\nStatus: N\r\nSubject: x\r\n\r\nFrom me\r\n>From you\r\n",
            &flags,
            1_234_567_890_000,
        );
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "From bob@b.test Fri Feb 13 23:31:30 2009\nReturn-Path: <bob@b.test>\nSubject: x\nStatus: RO\nX-Status: F\nX-Keywords: a b\n\n>From me\n>>From you\n\n"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            bodies in proptest::collection::vec(proptest::collection::vec("(>{0,2}From a Fri Feb 13 23:31:30 2009|[a-z ]{0,9})", 0..5), 1..4),
            bits in 0_u32..32,
        ) {
            let flags = FlagList { bits, keywords: vec!["k".into()] };
            let mut out = Vec::new();
            let mut messages = Vec::new();
            for body in &bodies {
                let message = format!("Subject: x\r\n\r\n{}", body.iter().map(|line| format!("{line}\r\n")).collect::<String>());
                write(&mut out, message.as_bytes(), &flags, 1_234_567_890_000).unwrap();
                messages.push(message);
            }
            let mut reader = Reader::new(&out[..], Quoting::Mboxrd, 10_000);
            for message in &messages {
                let read = reader.message().unwrap().unwrap();
                prop_assert_eq!(String::from_utf8(read.octets).unwrap(), message.clone());
                prop_assert_eq!((read.flags, read.internal_ms), (flags.clone(), 1_234_567_890_000));
            }
            prop_assert!(reader.message().is_none());
        }
    }
}
