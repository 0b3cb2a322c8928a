//! SEARCH, UID SEARCH (RFC 9051 §6.4.4; NEW, OLD, RECENT: RFC 3501 §6.4.4; MODSEQ: RFC 7162 §3.1.5).
//!
//! Texts are UTF-8 inside. US-ASCII and UTF-8 are the charsets there are; without one, UTF-8 is taken as such.

use super::flags::keyword;
use super::store::set;
use crate::limits;
use crate::proto::imap::ask::Ask;
use crate::proto::imap::command::{Command, FlagList, Search, SearchKey};
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::date::parse_day;
use crate::proto::imap::refusal::Refusal;

/// Criteria of one SEARCH, all nestings together. More: NO [LIMIT].
pub const SEARCH_KEYS_MAX: usize = 1_000;

/// `SEARCH [CHARSET charset] key …`
pub fn search(c: &mut Cursor<'_>, uid: bool) -> Result<Command, Refusal> {
    c.sp()?;
    let mut ascii = false;
    if c.rest().get(..8).is_some_and(|w| w.eq_ignore_ascii_case(b"CHARSET ")) {
        c.atom()?;
        c.sp()?;
        let charset = c.astring()?;
        ascii = charset.eq_ignore_ascii_case(b"US-ASCII");
        if !ascii && !charset.eq_ignore_ascii_case(b"UTF-8") {
            return Err(Refusal::BAD_CHARSET);
        }
        c.sp()?;
    }
    let mut reader = Reader { ascii, modseq: false, left: SEARCH_KEYS_MAX };
    let mut keys = Vec::new();
    loop {
        keys.push(reader.key(c, 0)?);
        if !c.take(b' ') {
            return Ok(Command::Ask(Ask::Search(Search { uid, modseq: reader.modseq, keys })));
        }
    }
}

struct Reader {
    /// Texts must be ASCII.
    ascii: bool,
    /// There was a MODSEQ.
    modseq: bool,
    /// Criteria still allowed.
    left: usize,
}

impl Reader {
    /// Calls itself at most [`limits::IMAP_NESTING_MAX`] deep (A106).
    fn key(&mut self, c: &mut Cursor<'_>, depth: usize) -> Result<SearchKey, Refusal> {
        if depth >= limits::IMAP_NESTING_MAX {
            return Err(Refusal::bad("Search is nested too deep"));
        }
        self.left = self.left.checked_sub(1).ok_or(Refusal::no("LIMIT", "Too many search keys"))?;
        match c.peek() {
            Some(b'(') => return self.all_of(c, depth),
            Some(b'0'..=b'9' | b'*') => return Ok(SearchKey::Sequence(set(c)?)),
            _ => {}
        }
        let word = c.run(|b| b.is_ascii_alphabetic()).to_ascii_uppercase();
        if let Some(key) = flag_key(&word) {
            return Ok(key);
        }
        let with_text: fn(Box<str>) -> SearchKey = match word.as_slice() {
            b"NOT" => {
                c.sp()?;
                return Ok(SearchKey::Not(Box::new(self.key(c, depth + 1)?)));
            }
            b"OR" => {
                c.sp()?;
                let one = self.key(c, depth + 1)?;
                c.sp()?;
                return Ok(SearchKey::Or(Box::new(one), Box::new(self.key(c, depth + 1)?)));
            }
            b"HEADER" => {
                let name = self.text(c)?;
                return Ok(SearchKey::Header(name, self.text(c)?));
            }
            b"MODSEQ" => {
                self.modseq = true;
                return modseq(c);
            }
            b"BODY" => SearchKey::Body,
            b"TEXT" => SearchKey::Text,
            b"BCC" => |t| SearchKey::Header("Bcc".into(), t),
            b"CC" => |t| SearchKey::Header("Cc".into(), t),
            b"FROM" => |t| SearchKey::Header("From".into(), t),
            b"SUBJECT" => |t| SearchKey::Header("Subject".into(), t),
            b"TO" => |t| SearchKey::Header("To".into(), t),
            other => return argument_key(other, c),
        };
        Ok(with_text(self.text(c)?))
    }

    fn all_of(&mut self, c: &mut Cursor<'_>, depth: usize) -> Result<SearchKey, Refusal> {
        c.expect(b'(', "Parenthesis expected")?;
        let mut keys = Vec::new();
        loop {
            keys.push(self.key(c, depth + 1)?);
            if c.take(b')') {
                return Ok(SearchKey::And(keys));
            }
            c.sp()?;
        }
    }

    fn text(&self, c: &mut Cursor<'_>) -> Result<Box<str>, Refusal> {
        c.sp()?;
        let text = c.astring()?;
        match std::str::from_utf8(&text) {
            Ok(text) if !self.ascii || text.is_ascii() => Ok(text.into()),
            _ => Err(Refusal::bad("Text is not in the charset")),
        }
    }
}

/// ` ["entry" type] modseq`. A liberty: all flags of a message have one MODSEQ, so which flag is meant and of whom is read
/// and does not matter.
fn modseq(c: &mut Cursor<'_>) -> Result<SearchKey, Refusal> {
    c.sp()?;
    if c.peek() == Some(b'"') {
        if !c.string()?.starts_with(b"/flags/") {
            return Err(Refusal::bad("Unknown entry"));
        }
        c.sp()?;
        if !matches!(c.atom()?.to_ascii_lowercase().as_slice(), b"all" | b"priv" | b"shared") {
            return Err(Refusal::bad("Unknown type of entry"));
        }
        c.sp()?;
    }
    Ok(SearchKey::ModSeq(c.number()?))
}

/// Keys of one word.
fn flag_key(word: &[u8]) -> Option<SearchKey> {
    use SearchKey::{All, And, Flag, Not, Recent};
    Some(match word {
        b"ALL" => All,
        b"ANSWERED" => Flag(FlagList::ANSWERED, true),
        b"DELETED" => Flag(FlagList::DELETED, true),
        b"DRAFT" => Flag(FlagList::DRAFT, true),
        b"FLAGGED" => Flag(FlagList::FLAGGED, true),
        b"SEEN" => Flag(FlagList::SEEN, true),
        b"UNANSWERED" => Flag(FlagList::ANSWERED, false),
        b"UNDELETED" => Flag(FlagList::DELETED, false),
        b"UNDRAFT" => Flag(FlagList::DRAFT, false),
        b"UNFLAGGED" => Flag(FlagList::FLAGGED, false),
        b"UNSEEN" => Flag(FlagList::SEEN, false),
        b"RECENT" => Recent,
        b"NEW" => And(vec![Recent, Flag(FlagList::SEEN, false)]),
        b"OLD" => Not(Box::new(Recent)),
        _ => return None,
    })
}

/// Keys with a date, a number, a keyword or a set.
fn argument_key(word: &[u8], c: &mut Cursor<'_>) -> Result<SearchKey, Refusal> {
    let with_day: fn(i32) -> SearchKey = match word {
        b"BEFORE" => SearchKey::Before,
        b"ON" => SearchKey::On,
        b"SINCE" => SearchKey::Since,
        b"SENTBEFORE" => SearchKey::SentBefore,
        b"SENTON" => SearchKey::SentOn,
        b"SENTSINCE" => SearchKey::SentSince,
        b"LARGER" => {
            c.sp()?;
            return Ok(SearchKey::Larger(c.number()?));
        }
        b"SMALLER" => {
            c.sp()?;
            return Ok(SearchKey::Smaller(c.number()?));
        }
        b"KEYWORD" => {
            c.sp()?;
            return Ok(SearchKey::Keyword(keyword(c)?, true));
        }
        b"UNKEYWORD" => {
            c.sp()?;
            return Ok(SearchKey::Keyword(keyword(c)?, false));
        }
        b"UID" => {
            c.sp()?;
            return Ok(SearchKey::Uid(set(c)?));
        }
        _ => return Err(Refusal::bad("Unknown search key")),
    };
    c.sp()?;
    let day = c.astring()?;
    Ok(with_day(parse_day(&day).ok_or(Refusal::bad("Malformed date"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<SearchKey>, Refusal> {
        let text = format!(" {text}");
        let mut cursor = Cursor::new(text.as_bytes(), 0);
        let Command::Ask(Ask::Search(search)) = search(&mut cursor, false)? else { panic!("not a SEARCH") };
        cursor.end()?;
        Ok(search.keys)
    }

    #[test]
    fn keys_are_read_in_their_nesting() {
        use SearchKey::{And, Flag, Header, Larger, Not, Or, Sequence, Since};
        assert_eq!(
            read("CHARSET utf-8 unseen SINCE 1-Feb-1994 NOT FROM \"Smith\" OR 1:3 (LARGER 5 TO {2}\r\nab)").unwrap(),
            [
                Flag(FlagList::SEEN, false),
                Since(8_797),
                Not(Box::new(Header("From".into(), "Smith".into()))),
                Or(
                    Box::new(Sequence(Set::of(1..=3))),
                    Box::new(And(vec![Larger(5), Header("To".into(), "ab".into())]))
                ),
            ]
        );
        assert_eq!(read("HEADER X-Y \"\"").unwrap(), [Header("X-Y".into(), "".into())]);
        assert_eq!(read("UID 5,4 KEYWORD $Junk").unwrap().len(), 2);
        assert_eq!(read("TEXT \"ä\"").unwrap(), [SearchKey::Text("ä".into())]);
        assert_eq!(read("MODSEQ 0").unwrap(), [SearchKey::ModSeq(0)]);
        assert_eq!(read("MODSEQ \"/flags/\\\\draft\" all 620162338").unwrap(), [SearchKey::ModSeq(620_162_338)]);
    }
    use crate::proto::imap::set::Set;

    #[test]
    fn a106_nesting_ends_at_its_bound() {
        let deepest = limits::IMAP_NESTING_MAX - 1;
        assert!(read(&format!("{}ALL", "NOT ".repeat(deepest))).is_ok());
        assert!(read(&format!("{}ALL{}", "(".repeat(deepest), ")".repeat(deepest))).is_ok());
        assert!(read(&format!("{}ALL", "NOT ".repeat(deepest + 1))).is_err());
        assert!(read(&"(".repeat(1_000_000)).is_err());
        assert!(read(&"NOT ".repeat(100_000)).is_err());
        assert!(read(&"OR ".repeat(100_000)).is_err());
        assert!(read(&"OR ALL ".repeat(100_000)).is_err());
        assert!(read("ALL ".repeat(1_001).trim_end()).is_err());
        assert!(read("ALL ".repeat(1_000).trim_end()).is_ok());
    }

    #[test]
    fn a116_other_charsets_are_refused_by_name() {
        assert_eq!(read("CHARSET KOI8-R ALL"), Err(Refusal::BAD_CHARSET));
        assert!(read("CHARSET US-ASCII TEXT \"ä\"").is_err());
        assert!(read("CHARSET \"UTF-8\" ALL").is_ok());
    }

    #[test]
    fn malformed_searches_are_bad() {
        for text in [
            "",
            "ALL ",
            "()",
            "(ALL",
            "ALL)",
            "NOT",
            "OR ALL",
            "FOO",
            "SINCE 32-Jan-2000",
            "LARGER",
            "LARGER -1",
            "UID",
            "UID 0",
            "HEADER X",
            "KEYWORD \\Seen",
            "RETURN (ALL) ALL",
            "LARGER 9223372036854775808",
            "MODSEQ",
            "MODSEQ 9223372036854775808",
            "MODSEQ \"/other/x\" all 1",
            "MODSEQ \"/flags/x\" mine 1",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
