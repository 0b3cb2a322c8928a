//! Flag lists (RFC 9051 §9 `flag-list`).

use crate::proto::imap::command::FlagList;
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::refusal::Refusal;

/// One keyword, octets. Longer: NO [LIMIT] (A126).
pub const KEYWORD_BYTES_MAX: usize = 64;
/// Keywords in one command, and of one message. More: NO [LIMIT].
pub const KEYWORDS_MAX: usize = 64;

/// `(flag …)`, perhaps empty.
pub fn list(c: &mut Cursor<'_>) -> Result<FlagList, Refusal> {
    c.expect(b'(', "Parenthesis expected")?;
    let mut flags = FlagList::default();
    if c.take(b')') {
        return Ok(flags);
    }
    loop {
        one(c, &mut flags)?;
        if c.take(b')') {
            return finished(flags);
        }
        c.sp()?;
    }
}

/// `flag …` without parentheses, at least one, to the end of the text.
pub fn bare(c: &mut Cursor<'_>) -> Result<FlagList, Refusal> {
    let mut flags = FlagList::default();
    loop {
        one(c, &mut flags)?;
        if !c.take(b' ') {
            return finished(flags);
        }
    }
}

fn one(c: &mut Cursor<'_>, flags: &mut FlagList) -> Result<(), Refusal> {
    if !c.take(b'\\') {
        let keyword = keyword(c)?;
        flags.keywords.push(keyword);
        // Twice the bound may stand here before duplicates go: what counts is that a line cannot fill memory.
        return if flags.keywords.len() > 2 * KEYWORDS_MAX { Err(TOO_MANY) } else { Ok(()) };
    }
    let name = c.atom()?;
    let known = FlagList::SYSTEM.iter().find(|(_, n)| n.as_bytes()[1..].eq_ignore_ascii_case(name));
    match known {
        Some((bit, _)) => flags.bits |= bit,
        // A liberty: \Recent cannot be set (RFC 3501 §2.3.2), but clients copy it from what they were shown.
        None if name.eq_ignore_ascii_case(b"Recent") => {}
        None => return Err(Refusal::bad("Unknown system flag")),
    }
    Ok(())
}

/// `flag-keyword`
pub fn keyword(c: &mut Cursor<'_>) -> Result<Box<str>, Refusal> {
    let atom = c.atom()?;
    if atom.len() > KEYWORD_BYTES_MAX {
        return Err(Refusal::no("LIMIT", "Keyword is too long"));
    }
    Ok(std::str::from_utf8(atom).map_err(|_| Refusal::bad("Atom expected"))?.into())
}

const TOO_MANY: Refusal = Refusal::no("LIMIT", "Too many keywords");

fn finished(mut flags: FlagList) -> Result<FlagList, Refusal> {
    flags.keywords.sort_unstable_by_key(|k| k.to_ascii_lowercase());
    flags.keywords.dedup_by(|a, b| a.eq_ignore_ascii_case(b));
    flags.keywords.sort_unstable();
    if flags.keywords.len() > KEYWORDS_MAX { Err(TOO_MANY) } else { Ok(flags) }
}
