//! SELECT, EXAMINE, STATUS (RFC 9051 §6.3).

use crate::proto::imap::ask::Ask;
use crate::proto::imap::command::{Command, Select, Status, StatusItem, StatusItems};
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::name::Name;
use crate::proto::imap::refusal::Refusal;

/// `mailbox`. A separator at its end says that there are or will be names below; it is no part of the name
/// (RFC 9051 §6.3.4). *Liberty*: it may stand there in any command.
pub fn mailbox(c: &mut Cursor<'_>) -> Result<Name, Refusal> {
    let wire = c.astring()?;
    Ok(Name::parse(wire.strip_suffix(b"/").unwrap_or(&wire))?)
}

/// `SELECT mailbox [(CONDSTORE)]`, `EXAMINE mailbox [(CONDSTORE)]` (RFC 7162 §3.1.8)
pub fn select(c: &mut Cursor<'_>, read_only: bool) -> Result<Command, Refusal> {
    c.sp()?;
    let mailbox = mailbox(c)?;
    let condstore = c.take(b' ');
    if condstore {
        c.expect(b'(', "Parenthesis expected")?;
        if !c.run(|b| b.is_ascii_alphabetic()).eq_ignore_ascii_case(b"CONDSTORE") {
            return Err(Refusal::bad("Unknown parameter of SELECT"));
        }
        c.expect(b')', "Parenthesis expected")?;
    }
    Ok(Command::Ask(Ask::Select(Select { mailbox, read_only, condstore })))
}

/// `STATUS mailbox (item …)`
pub fn status(c: &mut Cursor<'_>) -> Result<Command, Refusal> {
    c.sp()?;
    let mailbox = mailbox(c)?;
    c.sp()?;
    let items = status_items(c)?;
    Ok(Command::Ask(Ask::Status(Status { mailbox, items })))
}

/// `(item …)`, at least one.
pub fn status_items(c: &mut Cursor<'_>) -> Result<StatusItems, Refusal> {
    let mut items = StatusItems::new();
    c.expect(b'(', "Parenthesis expected")?;
    loop {
        let word = c.atom()?;
        let item = StatusItem::ALL.iter().find(|i| word.eq_ignore_ascii_case(i.name().as_bytes()));
        let item = *item.ok_or(Refusal::bad("Unknown status item"))?;
        if !items.contains(&item) {
            items.push(item);
        }
        if c.take(b')') {
            return Ok(items);
        }
        c.sp()?;
    }
}
