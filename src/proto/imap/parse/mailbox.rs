//! SELECT, EXAMINE, STATUS, LIST, LSUB (RFC 9051 §6.3; LSUB: RFC 3501 §6.3.9).

use smallvec::SmallVec;

use crate::proto::imap::ask::Ask;
use crate::proto::imap::command::{Command, Select, Status, StatusItem};
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::glob::Pattern;
use crate::proto::imap::name::Name;
use crate::proto::imap::refusal::Refusal;

/// `mailbox`
pub fn mailbox(c: &mut Cursor<'_>) -> Result<Name, Refusal> {
    Ok(Name::parse(&c.astring()?)?)
}

/// `SELECT mailbox`, `EXAMINE mailbox`
pub fn select(c: &mut Cursor<'_>, read_only: bool) -> Result<Command, Refusal> {
    c.sp()?;
    let mailbox = mailbox(c)?;
    Ok(Command::Ask(Ask::Select(Select { mailbox, read_only })))
}

/// `STATUS mailbox (item …)`
pub fn status(c: &mut Cursor<'_>) -> Result<Command, Refusal> {
    const ITEMS: [StatusItem; 5] =
        [StatusItem::Messages, StatusItem::Recent, StatusItem::UidNext, StatusItem::UidValidity, StatusItem::Unseen];
    c.sp()?;
    let mailbox = mailbox(c)?;
    c.sp()?;
    c.expect(b'(', "Parenthesis expected")?;
    let mut items = SmallVec::new();
    loop {
        let word = c.atom()?;
        let item = ITEMS.iter().find(|i| word.eq_ignore_ascii_case(i.name().as_bytes()));
        let item = *item.ok_or(Refusal::bad("Unknown status item"))?;
        if !items.contains(&item) {
            items.push(item);
        }
        if c.take(b')') {
            return Ok(Command::Ask(Ask::Status(Status { mailbox, items })));
        }
        c.sp()?;
    }
}

/// `LIST reference pattern`, `LSUB reference pattern`
pub fn list(c: &mut Cursor<'_>, lsub: bool) -> Result<Command, Refusal> {
    c.sp()?;
    let reference = c.astring()?;
    c.sp()?;
    let pattern = c.list_mailbox()?;
    if pattern.is_empty() {
        return Ok(Command::ListRoot { lsub });
    }
    // The reference is a prefix and nothing more: there is one namespace and it has no leading separator.
    let pattern = Pattern::parse(&[&reference[..], &pattern[..]].concat())?;
    Ok(Command::Ask(Ask::List { pattern, lsub }))
}
