//! LIST with its options, LSUB (RFC 5258 §6, RFC 5819 §4, RFC 6154 §6).

use std::borrow::Cow;

use super::mailbox::status_items;
use crate::proto::imap::ask::{Ask, No};
use crate::proto::imap::command::{Command, List, ListOnly, ListTell};
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::glob::Pattern;
use crate::proto::imap::name::NAME_BYTES_MAX;
use crate::proto::imap::refusal::Refusal;

/// Octets of all patterns of one LIST, each with the reference before it. More: NO [LIMIT].
const PATTERN_BYTES_MAX: usize = 2 * NAME_BYTES_MAX;
/// Patterns of one LIST. More: NO [LIMIT].
const PATTERNS_MAX: usize = 100;

/// `LSUB reference pattern`
pub fn lsub(c: &mut Cursor<'_>) -> Result<Command, Refusal> {
    c.sp()?;
    let reference = c.astring()?;
    c.sp()?;
    let pattern = c.list_mailbox()?;
    if pattern.is_empty() {
        return Ok(Command::ListRoot { lsub: true });
    }
    let patterns = joined(&reference, &[pattern])?;
    let list = List { patterns, only: ListOnly::default(), tell: ListTell::default(), lsub: true };
    Ok(Command::Ask(Ask::List(list)))
}

/// `LIST [(option …)] reference pattern|(pattern …) [RETURN (option …)]`
pub fn list(c: &mut Cursor<'_>) -> Result<Command, Refusal> {
    c.sp()?;
    let only = match c.peek() {
        Some(b'(') => Some(only(c)?),
        _ => None,
    };
    let reference = c.astring()?;
    c.sp()?;
    let many = c.peek() == Some(b'(');
    let patterns = if many { patterns(c)? } else { vec![c.list_mailbox()?] };
    let tell = if c.take(b' ') { Some(tell(c)?) } else { None };
    let extended = only.is_some() || many || tell.is_some();
    if !extended && patterns[0].is_empty() {
        return Ok(Command::ListRoot { lsub: false });
    }
    let patterns = joined(&reference, &patterns)?;
    let list = List { patterns, only: only.unwrap_or_default(), tell: tell.unwrap_or_default(), lsub: false };
    Ok(Command::Ask(Ask::List(list)))
}

/// The reference is a prefix and nothing more: there is one namespace and it has no leading separator.
fn joined(reference: &[u8], patterns: &[Cow<'_, [u8]>]) -> Result<Vec<Pattern>, Refusal> {
    let octets: usize = patterns.iter().map(|p| reference.len() + p.len()).sum();
    if patterns.len() > 1 && octets > PATTERN_BYTES_MAX {
        return Err(No::Limit.into());
    }
    Ok(patterns.iter().map(|pattern| Pattern::parse(reference, pattern)).collect::<Result<_, _>>()?)
}

/// `(pattern …)`
fn patterns<'a>(c: &mut Cursor<'a>) -> Result<Vec<Cow<'a, [u8]>>, Refusal> {
    c.expect(b'(', "Parenthesis expected")?;
    let mut patterns = vec![c.list_mailbox()?];
    while !c.take(b')') {
        c.sp()?;
        if patterns.len() == PATTERNS_MAX {
            return Err(No::Limit.into());
        }
        patterns.push(c.list_mailbox()?);
    }
    Ok(patterns)
}

/// Selection options and the space after them.
fn only(c: &mut Cursor<'_>) -> Result<ListOnly, Refusal> {
    let mut only = ListOnly::default();
    options(c, |_, word| {
        match word {
            b"SUBSCRIBED" => only.subscribed = true,
            b"SPECIAL-USE" => only.special_use = true,
            b"RECURSIVEMATCH" => only.recursive = true,
            b"REMOTE" => {}
            _ => return Err(Refusal::bad("Unknown selection option")),
        }
        Ok(())
    })?;
    c.sp()?;
    if only.recursive && !only.subscribed && !only.special_use {
        // RFC 5258 §3.1: it says where to look, not what for.
        return Err(Refusal::bad("RECURSIVEMATCH needs another selection option"));
    }
    Ok(only)
}

/// `RETURN (option …)`
fn tell(c: &mut Cursor<'_>) -> Result<ListTell, Refusal> {
    let mut tell = ListTell::default();
    if !c.atom()?.eq_ignore_ascii_case(b"RETURN") {
        return Err(Refusal::bad("RETURN expected"));
    }
    c.sp()?;
    options(c, |c, word| {
        match word {
            b"SUBSCRIBED" => tell.subscribed = true,
            b"STATUS" => {
                c.sp()?;
                tell.status = Some(status_items(c)?);
            }
            b"CHILDREN" | b"SPECIAL-USE" => {}
            _ => return Err(Refusal::bad("Unknown return option")),
        }
        Ok(())
    })?;
    Ok(tell)
}

/// `(word …)`, perhaps empty; `each` is given the words in upper case and reads what belongs to them.
fn options<'a>(
    c: &mut Cursor<'a>,
    mut each: impl FnMut(&mut Cursor<'a>, &[u8]) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    c.expect(b'(', "Parenthesis expected")?;
    let mut first = true;
    while !c.take(b')') {
        if !std::mem::take(&mut first) {
            c.sp()?;
        }
        let word = c.atom()?.to_ascii_uppercase();
        each(c, &word)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::imap::command::StatusItem;

    fn read(text: &str) -> Result<List, Refusal> {
        let mut cursor = Cursor::new(text.as_bytes(), 0);
        let command = list(&mut cursor)?;
        cursor.end()?;
        match command {
            Command::Ask(Ask::List(list)) => Ok(list),
            Command::ListRoot { .. } => Err(Refusal::no("", "the root")),
            other => panic!("{other:?}"),
        }
    }

    fn shown(list: &List) -> String {
        let mut words = vec![format!("{:?}", list.patterns)];
        for (on, word) in [
            (list.only.subscribed, "subscribed"),
            (list.only.special_use, "special-use"),
            (list.only.recursive, "recursive"),
            (list.tell.subscribed, "tell-subscribed"),
            (list.tell.status.is_some(), "status"),
        ] {
            if on {
                words.push(word.to_owned());
            }
        }
        words.join(" ")
    }

    #[test]
    fn options_stand_before_and_behind() {
        let read = |text| read(text).map(|list| shown(&list)).expect(text);
        assert_eq!(read(" \"\" *"), "[\"*\"]");
        assert_eq!(read(" () \"\" (a \"b/%\" {1}\r\nc)"), "[\"a\", \"b/%\", \"c\"]");
        assert_eq!(read(" (subscribed RECURSIVEMATCH) x/ (\"\" %)"), "[\"x/\", \"x/%\"] subscribed recursive");
        assert_eq!(read(" (REMOTE special-use) \"\" \"\" RETURN ()"), "[\"\"] special-use");
        assert_eq!(
            read(" \"\" % RETURN (SUBSCRIBED STATUS (MESSAGES SIZE) CHILDREN SPECIAL-USE)"),
            "[\"%\"] tell-subscribed status"
        );
        // Each part is spelt for itself.
        assert_eq!(read(" &AOQ- &APw-*"), "[\"äü*\"]");
    }

    #[test]
    fn status_is_asked_of_each() {
        let list = read(" \"\" * return (status (uidnext MESSAGES UIDNEXT))").expect("a list");
        assert_eq!(list.tell.status.as_deref(), Some(&[StatusItem::UidNext, StatusItem::Messages][..]));
    }

    #[test]
    fn what_is_not_understood_is_bad() {
        for text in [
            "",
            " \"\"",
            " (SUBSCRIBED)",
            " (SUBSCRIBED)\"\" *",
            " (NEW) \"\" *",
            " (RECURSIVEMATCH) \"\" *",
            " (RECURSIVEMATCH REMOTE) \"\" *",
            " ( SUBSCRIBED) \"\" *",
            " (SUBSCRIBED ) \"\" *",
            " \"\" ()",
            " \"\" (a b",
            " \"\" * RETURN",
            " \"\" * RETURN CHILDREN",
            " \"\" * RETURN (NEW)",
            " \"\" * RETURN (STATUS)",
            " \"\" * RETURN (STATUS ())",
            " \"\" * RETURN (STATUS (NEW))",
            " \"\" * (CHILDREN)",
            " \"\" * RETURN (CHILDREN) x",
        ] {
            assert!(read(text).is_err_and(|refusal| !refusal.is_no()), "{text}");
        }
    }

    #[test]
    fn a117_many_patterns_are_together_no_longer_than_one_may_be() {
        let many = |n: usize, len: usize| format!(" \"\" ({})", vec!["x".repeat(len); n].join(" "));
        assert!(read(&many(100, 20)).is_ok());
        assert_eq!(read(&many(101, 1)), Err(No::Limit.into()));
        assert_eq!(read(&many(3, 1_000)), Err(No::Limit.into()));
        assert!(read(&many(2, 1_000)).is_ok());
    }
}
