//! COPY, UID COPY, MOVE, UID MOVE (RFC 9051 §6.4.7, §6.4.8).

use super::mailbox::mailbox;
use super::store::set;
use crate::proto::imap::ask::Ask;
use crate::proto::imap::command::{Command, Copy};
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::refusal::Refusal;

/// `COPY set mailbox`, `MOVE set mailbox`
pub fn copy(c: &mut Cursor<'_>, uid: bool, moves: bool) -> Result<Command, Refusal> {
    c.sp()?;
    let set = set(c)?;
    c.sp()?;
    let to = mailbox(c)?;
    Ok(Command::Ask(Ask::Copy(Copy { set, uid, to, moves })))
}
