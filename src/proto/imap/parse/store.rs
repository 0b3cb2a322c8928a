//! STORE, UID STORE, EXPUNGE, UID EXPUNGE (RFC 9051 §6.4.3, §6.4.6, §6.4.9; UNCHANGEDSINCE: RFC 7162 §3.1.3).

use super::flags;
use crate::proto::imap::ask::Ask;
use crate::proto::imap::command::{Command, Expunge, Store, StoreHow};
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::refusal::Refusal;
use crate::proto::imap::set::Set;

/// `STORE set [(UNCHANGEDSINCE modseq)] [+|-]FLAGS[.SILENT] flags`
pub fn store(c: &mut Cursor<'_>, uid: bool) -> Result<Command, Refusal> {
    c.sp()?;
    let set = set(c)?;
    c.sp()?;
    let mut unchanged_since = None;
    if c.take(b'(') {
        if !c.run(|b| b.is_ascii_alphabetic()).eq_ignore_ascii_case(b"UNCHANGEDSINCE") {
            return Err(Refusal::bad("Unknown modifier of STORE"));
        }
        c.sp()?;
        unchanged_since = Some(c.number()?);
        c.expect(b')', "Parenthesis expected")?;
        c.sp()?;
    }
    let how = if c.take(b'+') {
        StoreHow::Add
    } else if c.take(b'-') {
        StoreHow::Remove
    } else {
        StoreHow::Replace
    };
    let item = c.run(|b| b.is_ascii_alphabetic() || b == b'.');
    let silent = match item.to_ascii_uppercase().as_slice() {
        b"FLAGS" => false,
        b"FLAGS.SILENT" => true,
        _ => return Err(Refusal::bad("Unknown item to store")),
    };
    c.sp()?;
    let flags = if c.peek() == Some(b'(') { flags::list(c)? } else { flags::bare(c)? };
    Ok(Command::Ask(Ask::Store(Store { set, uid, how, silent, flags, unchanged_since })))
}

/// `EXPUNGE`
pub fn expunge(_: &mut Cursor<'_>) -> Result<Command, Refusal> {
    Ok(Command::Ask(Ask::Expunge(Expunge { uids: None })))
}

/// `UID EXPUNGE set`
pub fn uid_expunge(c: &mut Cursor<'_>) -> Result<Command, Refusal> {
    c.sp()?;
    let uids = Some(set(c)?);
    Ok(Command::Ask(Ask::Expunge(Expunge { uids })))
}

/// `sequence-set`
pub fn set(c: &mut Cursor<'_>) -> Result<Set, Refusal> {
    let text = c.run(|b| b.is_ascii_digit() || matches!(b, b',' | b':' | b'*'));
    Set::parse(text).ok_or(Refusal::bad("Malformed sequence set"))
}
