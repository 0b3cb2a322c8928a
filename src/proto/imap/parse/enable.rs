//! ENABLE (RFC 5161 §3.1).

use crate::proto::imap::command::Command;
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::enabled::Enabled;
use crate::proto::imap::refusal::Refusal;

/// `ENABLE capability …`. Words that are not known are passed over.
pub fn enable(c: &mut Cursor<'_>) -> Result<Command, Refusal> {
    let mut wanted = Enabled::default();
    c.sp()?;
    loop {
        if let Some(extension) = Enabled::of(c.atom()?) {
            wanted.add(extension);
        }
        if !c.take(b' ') {
            return Ok(Command::Enable(wanted));
        }
    }
}
