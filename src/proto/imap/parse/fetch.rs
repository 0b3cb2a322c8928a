//! FETCH, UID FETCH (RFC 9051 §6.4.5; RFC822 and its kin: RFC 3501 §6.4.5; MODSEQ, CHANGEDSINCE: RFC 7162 §3.1.4).

use smallvec::SmallVec;

use super::store::set;
use crate::limits;
use crate::proto::imap::ask::Ask;
use crate::proto::imap::command::{Command, Fetch, FetchItem, Label, Partial, Section, SectionText};
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::refusal::Refusal;

/// Items of one FETCH. More: BAD.
pub const FETCH_ITEMS_MAX: usize = 128;
/// Field names in one section. More: BAD (A115).
pub const FIELD_NAMES_MAX: usize = 1_000;

/// `FETCH set items [(CHANGEDSINCE modseq)]`
pub fn fetch(c: &mut Cursor<'_>, uid: bool) -> Result<Command, Refusal> {
    c.sp()?;
    let set = set(c)?;
    c.sp()?;
    let mut items = Vec::new();
    if uid {
        items.push(FetchItem::Uid);
    }
    if c.take(b'(') {
        loop {
            item(c, &mut items, false)?;
            if c.take(b')') {
                break;
            }
            c.sp()?;
        }
    } else {
        item(c, &mut items, true)?;
    }
    let changed_since = if c.take(b' ') { Some(changed_since(c)?) } else { None };
    if changed_since.is_some() {
        extend(&mut items, [FetchItem::ModSeq])?;
    }
    Ok(Command::Ask(Ask::Fetch(Fetch { set, uid, items, changed_since })))
}

fn changed_since(c: &mut Cursor<'_>) -> Result<u64, Refusal> {
    c.expect(b'(', "Parenthesis expected")?;
    if !c.run(|b| b.is_ascii_alphabetic()).eq_ignore_ascii_case(b"CHANGEDSINCE") {
        return Err(Refusal::bad("Unknown modifier of FETCH"));
    }
    c.sp()?;
    let modseq = c.number()?;
    c.expect(b')', "Parenthesis expected")?;
    // No change has this number (RFC 7162 §7 `mod-sequence-value`).
    if modseq == 0 { Err(Refusal::bad("Number out of range")) } else { Ok(modseq) }
}

fn item(c: &mut Cursor<'_>, items: &mut Vec<FetchItem>, alone: bool) -> Result<(), Refusal> {
    use FetchItem::{Body, BodyStructure, Envelope, Flags, InternalDate, ModSeq, Size, Uid};
    let name = c.run(|b| b.is_ascii_alphanumeric() || b == b'.').to_ascii_uppercase();
    let item = match name.as_slice() {
        b"ALL" if alone => return extend(items, [Flags, InternalDate, Size, Envelope]),
        b"FAST" if alone => return extend(items, [Flags, InternalDate, Size]),
        b"FULL" if alone => return extend(items, [Flags, InternalDate, Size, Envelope, Body]),
        b"FLAGS" => Flags,
        b"UID" => Uid,
        b"MODSEQ" => ModSeq,
        b"RFC822.SIZE" => Size,
        b"INTERNALDATE" => InternalDate,
        b"ENVELOPE" => Envelope,
        b"BODYSTRUCTURE" => BodyStructure,
        b"BODY" if c.peek() == Some(b'[') => section(c, false)?,
        b"BODY.PEEK" => section(c, true)?,
        b"BODY" => Body,
        b"RFC822" => whole(SectionText::Whole, false, Label::Rfc822),
        b"RFC822.HEADER" => whole(SectionText::Header, true, Label::Rfc822Header),
        b"RFC822.TEXT" => whole(SectionText::Text, false, Label::Rfc822Text),
        _ => return Err(Refusal::bad("Unknown item to fetch")),
    };
    extend(items, [item])
}

fn extend<const N: usize>(items: &mut Vec<FetchItem>, more: [FetchItem; N]) -> Result<(), Refusal> {
    for item in more {
        if !items.contains(&item) {
            items.push(item);
        }
    }
    if items.len() > FETCH_ITEMS_MAX { Err(Refusal::bad("Too many items to fetch")) } else { Ok(()) }
}

fn whole(text: SectionText, peek: bool, label: Label) -> FetchItem {
    FetchItem::Section(Box::new(Section { part: SmallVec::new(), text, partial: None, peek, label }))
}

/// `[part.text]<offset.count>`
fn section(c: &mut Cursor<'_>, peek: bool) -> Result<FetchItem, Refusal> {
    c.expect(b'[', "Section expected")?;
    let mut part = SmallVec::new();
    let mut text = SectionText::Whole;
    while c.peek() != Some(b']') {
        if !c.peek().is_some_and(|b| b.is_ascii_digit()) {
            text = section_text(c, !part.is_empty())?;
            break;
        }
        part.push(c.nz_number()?);
        if part.len() > limits::IMAP_NESTING_MAX {
            return Err(Refusal::bad("Section is nested too deep"));
        }
        if !c.take(b'.') {
            break;
        }
        if c.peek() == Some(b']') {
            return Err(Refusal::bad("Malformed section"));
        }
    }
    c.expect(b']', "Malformed section")?;
    let partial = if c.peek() == Some(b'<') { Some(partial(c)?) } else { None };
    Ok(FetchItem::Section(Box::new(Section { part, text, partial, peek, label: Label::Body })))
}

fn section_text(c: &mut Cursor<'_>, of_part: bool) -> Result<SectionText, Refusal> {
    let word = c.run(|b| b.is_ascii_alphabetic() || b == b'.').to_ascii_uppercase();
    match word.as_slice() {
        b"HEADER" => Ok(SectionText::Header),
        b"TEXT" => Ok(SectionText::Text),
        b"MIME" if of_part => Ok(SectionText::Mime),
        b"HEADER.FIELDS" => Ok(SectionText::HeaderFields { names: field_names(c)?, not: false }),
        b"HEADER.FIELDS.NOT" => Ok(SectionText::HeaderFields { names: field_names(c)?, not: true }),
        _ => Err(Refusal::bad("Malformed section")),
    }
}

fn field_names(c: &mut Cursor<'_>) -> Result<Vec<Box<str>>, Refusal> {
    c.sp()?;
    c.expect(b'(', "Parenthesis expected")?;
    let mut names = Vec::new();
    loop {
        let name = c.astring()?;
        // RFC 5322 §2.2: printable ASCII without colon.
        let name = std::str::from_utf8(&name)
            .ok()
            .filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_graphic() && b != b':'))
            .ok_or(Refusal::bad("Malformed header field name"))?;
        names.push(name.into());
        if names.len() > FIELD_NAMES_MAX {
            return Err(Refusal::bad("Too many header field names"));
        }
        if c.take(b')') {
            return Ok(names);
        }
        c.sp()?;
    }
}

fn partial(c: &mut Cursor<'_>) -> Result<Partial, Refusal> {
    c.expect(b'<', "Malformed range")?;
    let offset = c.number32()?;
    c.expect(b'.', "Malformed range")?;
    let count = c.nz_number()?;
    c.expect(b'>', "Malformed range")?;
    Ok(Partial { offset, count })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::imap::response::FetchLine;

    fn read(text: &str) -> Result<Vec<FetchItem>, Refusal> {
        let text = format!(" 1 {text}");
        let mut cursor = Cursor::new(text.as_bytes(), 0);
        let Command::Ask(Ask::Fetch(fetch)) = fetch(&mut cursor, false)? else { panic!("not a FETCH") };
        cursor.end()?;
        Ok(fetch.items)
    }

    #[test]
    fn macros_stand_alone() {
        assert_eq!(read("fast").unwrap(), [FetchItem::Flags, FetchItem::InternalDate, FetchItem::Size]);
        assert_eq!(read("ALL").unwrap().len(), 4);
        assert_eq!(read("FULL").unwrap().last(), Some(&FetchItem::Body));
        assert!(read("(ALL)").is_err());
        assert!(read("ALL FLAGS").is_err());
        assert!(read("()").is_err());
        assert!(read("(FLAGS").is_err());
        assert_eq!(read("(UID FLAGS UID)").unwrap().len(), 2);
    }

    #[test]
    fn sections_are_read_and_named_back() {
        for text in [
            "BODY[]",
            "BODY[HEADER]",
            "BODY[TEXT]<5.10>",
            "BODY[1]",
            "BODY[1.2.3]",
            "BODY[1.MIME]",
            "BODY[2.HEADER]",
            "BODY[2.TEXT]",
            "BODY[HEADER.FIELDS (From To)]",
            "BODY[4.1.HEADER.FIELDS.NOT (X-Y)]",
            "RFC822",
            "RFC822.HEADER",
            "RFC822.TEXT",
        ] {
            let items = read(text).unwrap();
            let mut out = Vec::new();
            FetchLine::begin(&mut out, 1).name(&mut out, &items[0]);
            let named = format!("* 1 FETCH ({} ", text.replace(".10>", ">"));
            assert_eq!(String::from_utf8(out).unwrap(), named);
        }
        let FetchItem::Section(peek) = &read("BODY.PEEK[3.TEXT]").unwrap()[0] else { panic!("not a section") };
        assert!(peek.peek);
        assert_eq!(peek.part.as_slice(), [3]);
    }

    #[test]
    fn a115_absurd_sections_are_bad_or_empty() {
        assert!(read(&format!("BODY[1{}]", ".1".repeat(1_000))).is_err());
        assert!(read(&format!("BODY[HEADER.FIELDS ({})]", "a ".repeat(100_000).trim_end())).is_err());
        assert!(
            read(&format!("({})", (1..1_000).map(|n| format!("BODY[{n}]")).collect::<Vec<_>>().join(" "))).is_err()
        );
        let FetchItem::Section(far) = &read("BODY[]<4294967295.4294967295>").unwrap()[0] else {
            panic!("not a section")
        };
        assert_eq!(far.partial.unwrap().cut(1_000), (1_000, 0));
        assert_eq!(Partial { offset: 990, count: 4_294_967_295 }.cut(1_000), (990, 10));
        for text in [
            "BODY[0]",
            "BODY[1.]",
            "BODY[.1]",
            "BODY[4294967296]",
            "BODY[MIME]",
            "BODY[1.FOO]",
            "BODY[HEADER.FIELDS ()]",
            "BODY[HEADER.FIELDS]",
            "BODY[HEADER.FIELDS (a:b)]",
            "BODY[",
            "BODY[]<0>",
            "BODY[]<0.0>",
            "BODY[]<-1.5>",
            "BODY[]<4294967296.1>",
            "BODY.PEEK",
            "BODY[TEXT",
            "BODYX",
            "",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
