//! BODY and BODYSTRUCTURE as IMAP writes them (RFC 9051 §7.5.2), from a message's summary.
//!
//! One pass over the flat list of parts; open multiparts and messages are a stack, so depth costs no calls. What the
//! grammar asks for and the message lacks is written all the same: a multipart without parts has one empty text part,
//! a charset that is not said is US-ASCII.

use super::encode_envelope::{envelope, octet_string, octets};
use super::response::{nstring, number, string};
use crate::mail::structure::{ArchivedContent, ArchivedDisposition, ArchivedKind, ArchivedParam, ArchivedPart};

/// Appends the structure of a message. `extended`: BODYSTRUCTURE, with extension data; else BODY.
pub fn structure(out: &mut Vec<u8>, parts: &[ArchivedPart], extended: bool) {
    let mut open: Vec<usize> = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let parent = part.parent.to_native() as usize;
        while let Some(top) = open.last().copied().filter(|top| *top != parent) {
            open.pop();
            close(out, parts, top, at, extended);
        }
        out.push(b'(');
        match part.kind {
            ArchivedKind::Leaf => leaf(out, part, extended),
            ArchivedKind::Multipart => open.push(at),
            ArchivedKind::Message => {
                basic(out, part);
                out.push(b' ');
                match parts.get(at + 1).and_then(|child| child.envelope.as_ref()) {
                    Some(e) => envelope(out, e),
                    None => out.extend_from_slice(b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"),
                }
                out.push(b' ');
                open.push(at);
            }
        }
    }
    while let Some(top) = open.pop() {
        close(out, parts, top, parts.len(), extended);
    }
}

/// Ends a part with children; `next` is the first part behind them.
fn close(out: &mut Vec<u8>, parts: &[ArchivedPart], at: usize, next: usize, extended: bool) {
    let part = &parts[at];
    if next == at + 1 {
        out.extend_from_slice(b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)");
    }
    out.push(b' ');
    if part.kind == ArchivedKind::Multipart {
        octet_string(out, &part.content.subtype);
        if extended {
            out.push(b' ');
            params(out, &part.content.params);
            extension(out, &part.content);
        }
    } else {
        number(out, u64::from(part.lines.to_native()));
        if extended {
            one_part_extension(out, part);
        }
    }
    out.push(b')');
}

fn leaf(out: &mut Vec<u8>, part: &ArchivedPart, extended: bool) {
    basic(out, part);
    if part.content.media.as_slice().eq_ignore_ascii_case(b"text") {
        out.push(b' ');
        number(out, u64::from(part.lines.to_native()));
    }
    if extended {
        one_part_extension(out, part);
    }
    out.push(b')');
}

/// Type, subtype, parameters, id, description, encoding, octets.
fn basic(out: &mut Vec<u8>, part: &ArchivedPart) {
    let c = &part.content;
    octet_string(out, &c.media);
    out.push(b' ');
    octet_string(out, &c.subtype);
    out.push(b' ');
    let charset_is_missing = c.media.as_slice().eq_ignore_ascii_case(b"text")
        && !c.params.iter().any(|p| p.name.as_slice().eq_ignore_ascii_case(b"charset"));
    if charset_is_missing && c.params.is_empty() {
        out.extend_from_slice(b"(\"charset\" \"us-ascii\")");
    } else {
        params(out, &c.params);
    }
    out.push(b' ');
    nstring(out, octets(&c.id));
    out.push(b' ');
    nstring(out, octets(&c.description));
    out.push(b' ');
    let encoding = octets(&c.encoding).unwrap_or(b"7bit");
    // A message that claims to be encoded was read as it stands (A156), and is told so.
    let identity = [&b"7bit"[..], b"8bit", b"binary"].iter().any(|e| encoding.eq_ignore_ascii_case(e));
    string(out, if part.kind == ArchivedKind::Message && !identity { b"8bit" } else { encoding });
    out.push(b' ');
    number(out, u64::from(part.end.to_native() - part.body_at.to_native()));
}

fn one_part_extension(out: &mut Vec<u8>, part: &ArchivedPart) {
    out.push(b' ');
    nstring(out, octets(&part.content.md5));
    extension(out, &part.content);
}

/// Disposition, language, location.
fn extension(out: &mut Vec<u8>, c: &ArchivedContent) {
    out.push(b' ');
    disposition(out, c.disposition.as_ref());
    out.push(b' ');
    match c.language.as_slice() {
        [] => out.extend_from_slice(b"NIL"),
        [one] => octet_string(out, one),
        many => {
            for (i, tag) in many.iter().enumerate() {
                out.push(if i == 0 { b'(' } else { b' ' });
                octet_string(out, tag);
            }
            out.push(b')');
        }
    }
    out.push(b' ');
    nstring(out, octets(&c.location));
}

fn disposition(out: &mut Vec<u8>, d: Option<&ArchivedDisposition>) {
    let Some(d) = d else { return out.extend_from_slice(b"NIL") };
    out.push(b'(');
    octet_string(out, &d.kind);
    out.push(b' ');
    params(out, &d.params);
    out.push(b')');
}

fn params(out: &mut Vec<u8>, params: &[ArchivedParam]) {
    if params.is_empty() {
        return out.extend_from_slice(b"NIL");
    }
    for (i, p) in params.iter().enumerate() {
        out.push(if i == 0 { b'(' } else { b' ' });
        octet_string(out, &p.name);
        out.push(b' ');
        octet_string(out, &p.value);
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mail::mime::scan;
    use crate::mail::summary::Summary;

    fn shown(message: &[u8], extended: bool) -> String {
        let packed = Summary::from(scan(message)).pack();
        let mut out = Vec::new();
        structure(&mut out, &packed.get().parts, extended);
        String::from_utf8_lossy(&out).into_owned()
    }

    fn of(message: &str) -> (String, String) {
        let message = message.replace('\n', "\r\n").into_bytes();
        (shown(&message, false), shown(&message, true))
    }

    #[test]
    fn a_plain_message_is_text() {
        let (body, structure) = of("Subject: x\n\none\ntwo\n");
        assert_eq!(body, r#"("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 10 2)"#);
        assert_eq!(structure, r#"("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 10 2 NIL NIL NIL NIL)"#);
    }

    #[test]
    fn parts_and_messages_are_nested() {
        let (body, structure) = of("Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\
             Content-Type: message/rfc822\n\nSubject: in\nContent-Type: image/png\nContent-Disposition: inline; filename=x\n\n\
             two\n--b--\n");
        assert_eq!(
            body,
            r#"(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 3 0)("message" "rfc822" NIL NIL NIL "7bit" 84 (NIL "in" NIL NIL NIL NIL NIL NIL NIL NIL) ("image" "png" NIL NIL NIL "7bit" 3) 4) "mixed")"#
        );
        assert!(structure.contains(r#""7bit" 3 NIL ("inline" ("filename" "x")) NIL NIL) 4 NIL NIL NIL NIL)"#));
        assert!(structure.ends_with(r#" "mixed" ("boundary" "b") NIL NIL NIL)"#));
    }

    #[test]
    fn a_multipart_without_parts_has_an_empty_one() {
        let (body, _) = of("Content-Type: multipart/mixed; boundary=b\n\nnothing\n");
        assert_eq!(body, r#"(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0) "mixed")"#);
    }

    proptest! {
        #[test]
        fn parentheses_balance_whatever_the_message(pieces in prop::collection::vec(prop_oneof![
            Just("Content-Type: multipart/mixed; boundary=b\r\n"), Just("Content-Type: message/rfc822\r\n"),
            Just("Content-Language: de, en\r\n"), Just("--b\r\n"), Just("--b--\r\n"), Just("\r\n"), Just("x\r\n"),
        ], 0..30)) {
            for extended in [false, true] {
                let text = shown(pieces.concat().as_bytes(), extended);
                let mut depth = 0_i32;
                for b in text.bytes() {
                    depth += match b { b'(' => 1, b')' => -1, _ => 0 };
                    prop_assert!(depth >= 0);
                }
                prop_assert_eq!(depth, 0);
                prop_assert!(!text.contains("()"), "{}", text);
            }
        }
    }
}
