//! Encoders of untagged responses: they append to a buffer and know nothing of who sends it (RFC 9051 §7).
//!
//! Strings from messages and users are safe by construction: [`string`] quotes only what is 7-bit and free of quotes,
//! backslashes and controls, and writes everything else as a literal. Names go out in modified UTF-7.
//!
//! A FETCH line is written by a [`FetchLine`], item by item, so that long literals can be streamed between two items.

use super::command::{FetchItem, FlagList, Label, Section, SectionText, StatusItem};
use super::date::encode_date_time;
use super::enabled::Enabled;
use super::name::encode_utf7;

/// Longest text sent quoted, octets; longer goes as a literal.
const QUOTED_BYTES_MAX: usize = 1_024;

/// Appends a decimal number.
pub fn number(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut left = value;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(left % 10).unwrap_or(0);
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends `{len}` CRLF; exactly `len` octets must follow.
pub fn literal_head(out: &mut Vec<u8>, len: u64) {
    out.push(b'{');
    number(out, len);
    out.extend_from_slice(b"}\r\n");
}

/// Appends a string: quoted if it may be, else a literal. NUL, which neither form can carry, is written as `?`.
pub fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    let plain =
        bytes.len() <= QUOTED_BYTES_MAX && bytes.iter().all(|b| matches!(b, b' '..=b'~') && *b != b'"' && *b != b'\\');
    if plain {
        out.push(b'"');
        out.extend_from_slice(bytes);
        out.push(b'"');
    } else {
        literal_head(out, bytes.len() as u64);
        let from = out.len();
        out.extend_from_slice(bytes);
        for byte in &mut out[from..] {
            if *byte == 0 {
                *byte = b'?';
            }
        }
    }
}

/// Appends a string, or NIL.
pub fn nstring(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => string(out, bytes),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// Appends an atom if the bytes are one, else a string.
pub fn astring(out: &mut Vec<u8>, bytes: &[u8]) {
    let atom = !bytes.is_empty()
        && !bytes.eq_ignore_ascii_case(b"NIL")
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$'+,-./:;<=>?@^_`|~&".contains(b));
    if atom { out.extend_from_slice(bytes) } else { string(out, bytes) }
}

/// Appends a mailbox name, given in UTF-8.
pub fn mailbox(out: &mut Vec<u8>, name: &str) {
    let mut wire = Vec::with_capacity(name.len() + 8);
    encode_utf7(name, &mut wire);
    astring(out, &wire);
}

/// Appends `(\Seen $Junk)`.
pub fn flag_list(out: &mut Vec<u8>, bits: u32, keywords: &[Box<str>]) {
    out.push(b'(');
    let from = out.len();
    let system = FlagList::SYSTEM.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name);
    for name in system.chain(keywords.iter().map(|k| &**k)) {
        if out.len() > from {
            out.push(b' ');
        }
        out.extend_from_slice(name.as_bytes());
    }
    out.push(b')');
}

/// `* 23 EXISTS`
pub fn exists(out: &mut Vec<u8>, messages: u32) {
    counted(out, messages, "EXISTS");
}

/// `* 2 RECENT`
pub fn recent(out: &mut Vec<u8>, messages: u32) {
    counted(out, messages, "RECENT");
}

/// `* 44 EXPUNGE`; later messages move up by one at once.
pub fn expunge(out: &mut Vec<u8>, sequence: u32) {
    counted(out, sequence, "EXPUNGE");
}

fn counted(out: &mut Vec<u8>, value: u32, word: &str) {
    out.extend_from_slice(b"* ");
    number(out, u64::from(value));
    out.push(b' ');
    out.extend_from_slice(word.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `* FLAGS (…)`: the flags in use in the mailbox.
pub fn flags(out: &mut Vec<u8>, bits: u32, keywords: &[Box<str>]) {
    out.extend_from_slice(b"* FLAGS ");
    flag_list(out, bits, keywords);
    out.extend_from_slice(b"\r\n");
}

/// `* OK [PERMANENTFLAGS (…)]`. `new_keywords`: clients may make new ones.
pub fn permanent_flags(out: &mut Vec<u8>, bits: u32, keywords: &[Box<str>], new_keywords: bool) {
    out.extend_from_slice(b"* OK [PERMANENTFLAGS ");
    flag_list(out, bits, keywords);
    if new_keywords {
        out.pop();
        out.extend_from_slice(if out.ends_with(b"(") { b"\\*)" } else { b" \\*)" });
    }
    out.extend_from_slice(b"] Flags kept\r\n");
}

/// `* OK [UIDVALIDITY …]`
pub fn uid_validity(out: &mut Vec<u8>, value: u32) {
    coded(out, "UIDVALIDITY", value.into(), "UIDs valid");
}

/// `* OK [UIDNEXT …]`
pub fn uid_next(out: &mut Vec<u8>, value: u32) {
    coded(out, "UIDNEXT", value.into(), "Predicted next UID");
}

/// `* OK [HIGHESTMODSEQ …]` (RFC 7162 §3.1.2.1)
pub fn highest_modseq(out: &mut Vec<u8>, value: u64) {
    coded(out, "HIGHESTMODSEQ", value, "Highest");
}

/// `* OK [CLOSED]`: what is told from here on is of no mailbox, or of the next (RFC 9051 §7.1, RFC 7162 §3.2.11).
pub fn closed(out: &mut Vec<u8>) {
    out.extend_from_slice(b"* OK [CLOSED] The mailbox before is left\r\n");
}

/// `* BYE text`: the connection ends (RFC 9051 §7.1.5).
pub fn bye(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"* BYE ");
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `* OK [UNSEEN …]`: the first message without `\Seen`, by sequence number.
pub fn unseen(out: &mut Vec<u8>, sequence: u32) {
    coded(out, "UNSEEN", sequence.into(), "First unseen");
}

fn coded(out: &mut Vec<u8>, code: &str, value: u64, text: &str) {
    out.extend_from_slice(b"* OK [");
    out.extend_from_slice(code.as_bytes());
    out.push(b' ');
    number(out, value);
    out.extend_from_slice(b"] ");
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `* NAMESPACE (("" "/")) NIL NIL`: one of one's own, none of others' (RFC 2342 §5).
pub fn namespace(out: &mut Vec<u8>) {
    out.extend_from_slice(b"* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
}

/// `* ENABLED CONDSTORE`; also of none (RFC 5161 §3.2).
pub fn enabled(out: &mut Vec<u8>, new: Enabled) {
    out.extend_from_slice(b"* ENABLED");
    for name in new.names() {
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// `* ID ("name" "Ringpost" …)`
pub fn id(out: &mut Vec<u8>, fields: &[(&str, &str)]) {
    out.extend_from_slice(b"* ID (");
    for (at, (name, value)) in fields.iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        string(out, name.as_bytes());
        out.push(b' ');
        string(out, value.as_bytes());
    }
    out.extend_from_slice(b")\r\n");
}

/// `* LIST (\HasNoChildren) "/" name`, or LSUB. `attributes` with their backslashes; `name` in UTF-8; `child_info`: the
/// selection options that names below satisfy (RFC 5258 §3.5).
pub fn list(out: &mut Vec<u8>, lsub: bool, attributes: &[&str], name: &str, child_info: &[&str]) {
    out.extend_from_slice(if lsub { b"* LSUB (" } else { b"* LIST (" });
    out.extend_from_slice(attributes.join(" ").as_bytes());
    out.extend_from_slice(b") \"/\" ");
    mailbox(out, name);
    if !child_info.is_empty() {
        out.extend_from_slice(b" (\"CHILDINFO\" (\"");
        out.extend_from_slice(child_info.join("\" \"").as_bytes());
        out.extend_from_slice(b"\"))");
    }
    out.extend_from_slice(b"\r\n");
}

/// `* STATUS name (MESSAGES 3 …)`
pub fn status(out: &mut Vec<u8>, name: &str, items: &[(StatusItem, u64)]) {
    out.extend_from_slice(b"* STATUS ");
    mailbox(out, name);
    out.extend_from_slice(b" (");
    for (at, (item, value)) in items.iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(item.name().as_bytes());
        out.push(b' ');
        number(out, *value);
    }
    out.extend_from_slice(b")\r\n");
}

impl StatusItem {
    /// As it stands on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            StatusItem::Messages => "MESSAGES",
            StatusItem::Recent => "RECENT",
            StatusItem::UidNext => "UIDNEXT",
            StatusItem::UidValidity => "UIDVALIDITY",
            StatusItem::Unseen => "UNSEEN",
            StatusItem::HighestModSeq => "HIGHESTMODSEQ",
            StatusItem::Size => "SIZE",
            StatusItem::Deleted => "DELETED",
        }
    }
}

/// Begins `* SEARCH`; follow with [`search_hit`] and [`search_end`].
pub fn search_begin(out: &mut Vec<u8>) {
    out.extend_from_slice(b"* SEARCH");
}

/// One number found.
pub fn search_hit(out: &mut Vec<u8>, value: u32) {
    out.push(b' ');
    number(out, u64::from(value));
}

/// Ends the SEARCH line. `modseq`: the highest MODSEQ among what was found, if it is to be told (RFC 7162 §3.1.5).
pub fn search_end(out: &mut Vec<u8>, modseq: Option<u64>) {
    if let Some(modseq) = modseq {
        out.extend_from_slice(b" (MODSEQ ");
        number(out, modseq);
        out.push(b')');
    }
    out.extend_from_slice(b"\r\n");
}

/// A `* n FETCH (…)` line being written.
#[derive(Debug)]
pub struct FetchLine {
    first: bool,
}

impl FetchLine {
    /// Begins the line of a message, by sequence number.
    #[must_use]
    pub fn begin(out: &mut Vec<u8>, sequence: u32) -> FetchLine {
        out.extend_from_slice(b"* ");
        number(out, u64::from(sequence));
        out.extend_from_slice(b" FETCH (");
        FetchLine { first: true }
    }

    /// Appends an item's name and a space; its value must follow.
    pub fn name(&mut self, out: &mut Vec<u8>, item: &FetchItem) {
        if !std::mem::take(&mut self.first) {
            out.push(b' ');
        }
        match item {
            FetchItem::Flags => out.extend_from_slice(b"FLAGS"),
            FetchItem::Uid => out.extend_from_slice(b"UID"),
            FetchItem::ModSeq => out.extend_from_slice(b"MODSEQ"),
            FetchItem::Size => out.extend_from_slice(b"RFC822.SIZE"),
            FetchItem::InternalDate => out.extend_from_slice(b"INTERNALDATE"),
            FetchItem::Envelope => out.extend_from_slice(b"ENVELOPE"),
            FetchItem::Body => out.extend_from_slice(b"BODY"),
            FetchItem::BodyStructure => out.extend_from_slice(b"BODYSTRUCTURE"),
            FetchItem::Section(section) => section_name(out, section),
        }
        out.push(b' ');
    }

    /// `FLAGS (…)`. `recent`: with `\Recent`.
    pub fn flags(&mut self, out: &mut Vec<u8>, bits: u32, keywords: &[Box<str>], recent: bool) {
        self.name(out, &FetchItem::Flags);
        flag_list(out, bits, keywords);
        if recent {
            out.pop();
            out.extend_from_slice(if out.ends_with(b"(") { b"\\Recent)" } else { b" \\Recent)" });
        }
    }

    /// `UID n`
    pub fn uid(&mut self, out: &mut Vec<u8>, uid: u32) {
        self.name(out, &FetchItem::Uid);
        number(out, u64::from(uid));
    }

    /// `MODSEQ (n)`
    pub fn modseq(&mut self, out: &mut Vec<u8>, modseq: u64) {
        self.name(out, &FetchItem::ModSeq);
        out.push(b'(');
        number(out, modseq);
        out.push(b')');
    }

    /// `RFC822.SIZE n`
    pub fn size(&mut self, out: &mut Vec<u8>, octets: u64) {
        self.name(out, &FetchItem::Size);
        number(out, octets);
    }

    /// `INTERNALDATE "…"`, milliseconds since 1970.
    pub fn internal_date(&mut self, out: &mut Vec<u8>, ms: i64) {
        self.name(out, &FetchItem::InternalDate);
        out.push(b'"');
        encode_date_time(ms, out);
        out.push(b'"');
    }

    /// A section's name and the head of a literal; exactly `len` octets must follow.
    pub fn section(&mut self, out: &mut Vec<u8>, item: &FetchItem, len: u64) {
        self.name(out, item);
        literal_head(out, len);
    }

    /// A section that does not exist.
    pub fn section_nil(&mut self, out: &mut Vec<u8>, item: &FetchItem) {
        self.name(out, item);
        out.extend_from_slice(b"NIL");
    }

    /// Ends the line.
    pub fn end(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b")\r\n");
    }
}

fn section_name(out: &mut Vec<u8>, section: &Section) {
    match section.label {
        Label::Rfc822 => return out.extend_from_slice(b"RFC822"),
        Label::Rfc822Header => return out.extend_from_slice(b"RFC822.HEADER"),
        Label::Rfc822Text => return out.extend_from_slice(b"RFC822.TEXT"),
        Label::Body => out.extend_from_slice(b"BODY["),
    }
    for (at, part) in section.part.iter().enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        number(out, u64::from(*part));
    }
    if !section.part.is_empty() && section.text != SectionText::Whole {
        out.push(b'.');
    }
    match &section.text {
        SectionText::Whole => {}
        SectionText::Header => out.extend_from_slice(b"HEADER"),
        SectionText::Text => out.extend_from_slice(b"TEXT"),
        SectionText::Mime => out.extend_from_slice(b"MIME"),
        SectionText::HeaderFields { names, not } => {
            out.extend_from_slice(if *not { b"HEADER.FIELDS.NOT (" } else { b"HEADER.FIELDS (" });
            for (at, name) in names.iter().enumerate() {
                if at > 0 {
                    out.push(b' ');
                }
                astring(out, name.as_bytes());
            }
            out.push(b')');
        }
    }
    out.push(b']');
    if let Some(partial) = section.partial {
        out.push(b'<');
        number(out, u64::from(partial.offset));
        out.push(b'>');
    }
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;
    use crate::proto::imap::command::Partial;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn strings_are_quoted_only_when_nothing_in_them_is_special() {
        assert_eq!(written(|o| string(o, b"a b")), "\"a b\"");
        assert_eq!(written(|o| string(o, b"a\"b")), "{3}\r\na\"b");
        assert_eq!(written(|o| string(o, b"a\r\nb")), "{4}\r\na\r\nb");
        assert_eq!(written(|o| string(o, "ä".as_bytes())), "{2}\r\nä");
        assert_eq!(written(|o| string(o, b"a\0b")), "{3}\r\na?b");
        assert_eq!(written(|o| string(o, &[b'a'; 2_000])).find("{2000}\r\n"), Some(0));
        assert_eq!(written(|o| nstring(o, None)), "NIL");
        assert_eq!(written(|o| astring(o, b"NIL")), "\"NIL\"");
        assert_eq!(written(|o| astring(o, b"")), "\"\"");
        assert_eq!(written(|o| mailbox(o, "Entwürfe")), "Entw&APw-rfe");
        assert_eq!(written(|o| mailbox(o, "a b")), "\"a b\"");
    }

    #[test]
    fn a_fetch_line_names_its_items_as_they_were_asked() {
        let section = FetchItem::Section(Box::new(Section {
            part: smallvec![1, 2],
            text: SectionText::HeaderFields { names: vec!["From".into(), "X Y".into()], not: true },
            partial: Some(Partial { offset: 5, count: 9 }),
            peek: true,
            label: Label::Body,
        }));
        let line = written(|o| {
            let mut line = FetchLine::begin(o, 7);
            line.flags(o, FlagList::SEEN | FlagList::DELETED, &["$Junk".into()], true);
            line.uid(o, 4_294_967_295);
            line.modseq(o, 9_223_372_036_854_775_807);
            line.size(o, 12);
            line.internal_date(o, 837_596_665_000);
            line.section(o, &section, 3);
            o.extend_from_slice(b"abc");
            line.section_nil(o, &section);
            line.end(o);
        });
        assert_eq!(
            line,
            "* 7 FETCH (FLAGS (\\Deleted \\Seen $Junk \\Recent) UID 4294967295 MODSEQ (9223372036854775807) RFC822.SIZE 12 \
             INTERNALDATE \"17-Jul-1996 09:44:25 +0000\" BODY[1.2.HEADER.FIELDS.NOT (From \"X Y\")]<5> {3}\r\nabc \
             BODY[1.2.HEADER.FIELDS.NOT (From \"X Y\")]<5> NIL)\r\n"
        );
    }

    #[test]
    fn mailbox_lines_read_as_in_the_rfc() {
        assert_eq!(written(|o| list(o, false, &["\\Noselect"], "", &[])), "* LIST (\\Noselect) \"/\" \"\"\r\n");
        assert_eq!(
            written(|o| list(o, false, &[], "Foo", &["SUBSCRIBED"])),
            "* LIST () \"/\" Foo (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n"
        );
        assert_eq!(
            written(|o| status(o, "INBOX", &[(StatusItem::Messages, 3), (StatusItem::UidNext, 10)])),
            "* STATUS INBOX (MESSAGES 3 UIDNEXT 10)\r\n"
        );
        assert_eq!(
            written(|o| permanent_flags(o, FlagList::SEEN, &[], true)),
            "* OK [PERMANENTFLAGS (\\Seen \\*)] Flags kept\r\n"
        );
        assert_eq!(written(|o| permanent_flags(o, 0, &[], false)), "* OK [PERMANENTFLAGS ()] Flags kept\r\n");
        assert_eq!(written(|o| expunge(o, 4)), "* 4 EXPUNGE\r\n");
        assert_eq!(written(|o| highest_modseq(o, 1 << 40)), "* OK [HIGHESTMODSEQ 1099511627776] Highest\r\n");
        assert_eq!(
            written(|o| {
                search_begin(o);
                search_hit(o, 2);
                search_hit(o, 84);
                search_end(o, Some(917_162_500));
            }),
            "* SEARCH 2 84 (MODSEQ 917162500)\r\n"
        );
    }
}
