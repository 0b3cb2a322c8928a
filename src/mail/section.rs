//! Where the sections of a message lie: BODY[2.1], BODY[1.MIME], BODY[HEADER.FIELDS (…)] as ranges (RFC 9051 §6.4.5.1).

use std::collections::HashSet;
use std::ops::Range;

use crate::mail::content::fields;
use crate::mail::structure::{ArchivedKind, ArchivedPart, NO_PARENT};
use crate::mail::summary::{ArchivedSummary, is_chosen};

/// What of a part is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// `BODY[n]`: its body; of the message itself, everything.
    Whole,
    /// `BODY[HEADER]`, `BODY[n.HEADER]`: the header of the message that the part is.
    Header,
    /// `BODY[TEXT]`, `BODY[n.TEXT]`: the body of the message that the part is.
    Text,
    /// `BODY[n.MIME]`: the part's own header.
    Mime,
}

/// Where a section lies, in octets of the message; `None` where there is no such section.
#[must_use]
pub fn range(summary: &ArchivedSummary, path: &[u32], of: Of) -> Option<Range<u64>> {
    let parts = summary.parts.as_slice();
    if path.is_empty() {
        return match of {
            Of::Whole => Some(0..summary.octets.to_native()),
            Of::Header => Some(header(&parts[0])),
            Of::Text => Some(body(&parts[0])),
            Of::Mime => None,
        };
    }
    let at = find(parts, path)?;
    match of {
        Of::Whole => Some(body(&parts[at])),
        Of::Mime => Some(header(&parts[at])),
        Of::Header => message_in(parts, at).map(header),
        Of::Text => message_in(parts, at).map(body),
    }
}

/// The index of the part with these numbers.
#[must_use]
pub fn find(parts: &[ArchivedPart], path: &[u32]) -> Option<usize> {
    let mut numbers = path.iter();
    let mut at = numbered(parts, 0, *numbers.next()?)?;
    for n in numbers {
        at = match parts[at].kind {
            ArchivedKind::Multipart => child(parts, at, *n)?,
            ArchivedKind::Message => numbered(parts, at + 1, *n)?,
            ArchivedKind::Leaf => return None,
        };
    }
    Some(at)
}

/// Part `n` of the message whose own part is `at`: a message that is not multipart has itself as part 1.
fn numbered(parts: &[ArchivedPart], at: usize, n: u32) -> Option<usize> {
    if parts.get(at)?.kind == ArchivedKind::Multipart { child(parts, at, n) } else { (n == 1).then_some(at) }
}

fn child(parts: &[ArchivedPart], parent: usize, n: u32) -> Option<usize> {
    let n = usize::try_from(n).ok()?.checked_sub(1)?;
    children(parts, parent).nth(n)
}

/// The indices of a part's children, in order.
pub fn children(parts: &[ArchivedPart], parent: usize) -> impl Iterator<Item = usize> {
    let whole = parts.get(parent + 1..).unwrap_or_default();
    let end = whole.iter().position(|p| below(p, parent)).unwrap_or(whole.len());
    whole[..end]
        .iter()
        .enumerate()
        .filter(move |(_, p)| p.parent.to_native() as usize == parent)
        .map(move |(i, _)| parent + 1 + i)
}

/// True if a later part does not lie within `parent`: its own parent came before.
fn below(part: &ArchivedPart, parent: usize) -> bool {
    let of = part.parent.to_native();
    of == NO_PARENT || (of as usize) < parent
}

fn message_in(parts: &[ArchivedPart], at: usize) -> Option<&ArchivedPart> {
    if parts[at].kind == ArchivedKind::Message { parts.get(at + 1) } else { None }
}

fn header(part: &ArchivedPart) -> Range<u64> {
    u64::from(part.header_at.to_native())..u64::from(part.body_at.to_native())
}

fn body(part: &ArchivedPart) -> Range<u64> {
    u64::from(part.body_at.to_native())..u64::from(part.end.to_native())
}

/// A choice of header fields by name: HEADER.FIELDS and HEADER.FIELDS.NOT. Made once a command, used for each message.
#[derive(Clone, Debug)]
pub struct FieldChoice {
    names: HashSet<Vec<u8>>,
    not: bool,
}

impl FieldChoice {
    /// These names, in any case; `not`: all but these.
    pub fn new<N: AsRef<[u8]>>(names: impl IntoIterator<Item = N>, not: bool) -> Self {
        FieldChoice { names: names.into_iter().map(|n| n.as_ref().to_ascii_lowercase()).collect(), not }
    }

    /// True if a summary's chosen fields answer it.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        !self.not && self.names.iter().all(|n| is_chosen(n))
    }

    /// The chosen fields of a header section and the blank line, appended to `out`.
    pub fn pick(&self, header: &[u8], out: &mut Vec<u8>) {
        for field in fields(header) {
            if self.names.contains(&field.name.to_ascii_lowercase()) != self.not {
                out.extend_from_slice(field.whole);
                if !field.whole.ends_with(b"\n") {
                    out.extend_from_slice(b"\r\n");
                }
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::mime::scan;
    use crate::mail::summary::Summary;

    fn cut(message: &str, path: &[u32], of: Of) -> Option<String> {
        let bytes = message.replace('\n', "\r\n");
        let packed = Summary::from(scan(bytes.as_bytes())).pack();
        let range = range(packed.get(), path, of)?;
        Some(bytes[range.start as usize..range.end as usize].replace("\r\n", "|"))
    }

    const MIXED: &str = "S: 0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nA: 1\n\none\n--b\n\
        Content-Type: message/rfc822\n\nS: 2\nContent-Type: multipart/mixed; boundary=c\n\n--c\nA: 3\n\nthree\n--c\n\nfour\n\
        --c--\n\n--b\nContent-Type: message/rfc822\n\nS: 5\n\nfive\n--b--\n";

    #[test]
    fn sections_of_nested_messages_are_found() {
        let of = |path: &[u32], of| cut(MIXED, path, of);
        assert_eq!(of(&[1], Of::Whole).as_deref(), Some("one"));
        assert_eq!(of(&[1], Of::Mime).as_deref(), Some("A: 1||"));
        assert_eq!(of(&[1], Of::Header), None);
        assert_eq!(of(&[2, 1], Of::Whole).as_deref(), Some("three"));
        assert_eq!(of(&[2, 2], Of::Whole).as_deref(), Some("four"));
        assert_eq!(of(&[2, 3], Of::Whole), None);
        assert!(of(&[2], Of::Header).unwrap().starts_with("S: 2|"));
        assert_eq!(of(&[3], Of::Header).as_deref(), Some("S: 5||"));
        assert_eq!(of(&[3], Of::Text).as_deref(), Some("five"));
        assert_eq!(of(&[3, 1], Of::Whole).as_deref(), Some("five"));
        assert_eq!(of(&[3, 1, 1], Of::Whole), None);
        assert_eq!(of(&[4], Of::Whole), None);
        assert_eq!(of(&[0], Of::Whole), None);
    }

    #[test]
    fn a_message_without_parts_is_its_own_part_one() {
        assert_eq!(cut("A: b\n\ntext", &[1], Of::Whole).as_deref(), Some("text"));
        assert_eq!(cut("A: b\n\ntext", &[1], Of::Mime).as_deref(), Some("A: b||"));
        assert_eq!(cut("A: b\n\ntext", &[2], Of::Whole), None);
        assert_eq!(cut("A: b\n\ntext", &[], Of::Text).as_deref(), Some("text"));
    }

    #[test]
    fn a115_a_path_of_a_thousand_numbers_finds_nothing() {
        assert_eq!(cut(MIXED, &[1; 1_000], Of::Whole), None);
        assert_eq!(cut(MIXED, &[u32::MAX], Of::Whole), None);
    }

    #[test]
    fn a115_a_hundred_thousand_names_cost_one_look_each() {
        let choice = FieldChoice::new((0..100_000).map(|i| format!("X-{i}")).chain(["subject".into()]), false);
        let mut out = Vec::new();
        choice.pick(b"From: a\r\nSUBJECT: b\r\n c\r\nX-5: d\r\n\r\nX-6: body", &mut out);
        assert_eq!(out, b"SUBJECT: b\r\n c\r\nX-5: d\r\n\r\n");
        out.clear();
        FieldChoice::new(["from"], true).pick(b"From: a\r\nTo: b", &mut out);
        assert_eq!(out, b"To: b\r\n\r\n");
    }
}
