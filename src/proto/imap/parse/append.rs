//! APPEND up to its message, and up to those that follow (RFC 9051 §6.3.12, RFC 3502).

use super::{flags, mailbox};
use crate::proto::imap::command::{Announced, Append, Command, FlagList};
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::date::parse_date_time;
use crate::proto::imap::refusal::Refusal;

/// What the literal at the end of the text is.
#[derive(Debug, PartialEq, Eq)]
pub enum Ahead {
    /// The mailbox's name: gather it like any other.
    Mailbox,
    /// The message.
    Message(Append),
}

/// Reads an APPEND that came without a message.
pub fn append(_: &mut Cursor<'_>) -> Result<Command, Refusal> {
    Err(Refusal::bad("APPEND needs a message as a literal"))
}

/// `APPEND mailbox [(flag …)] ["date-time"] {octets}`, up to its last marker, whose octets are not in the text.
pub fn ahead(c: &mut Cursor<'_>, size: u64) -> Result<Ahead, Refusal> {
    c.sp()?;
    if c.peek() == Some(b'{') && !c.rest().contains(&b'\n') {
        return Ok(Ahead::Mailbox);
    }
    let mailbox = mailbox::mailbox(c)?;
    Ok(Ahead::Message(Append { mailbox, message: more(c, size)? }))
}

/// ` [(flag …)] ["date-time"] {octets}`, up to its marker.
pub fn more(c: &mut Cursor<'_>, size: u64) -> Result<Announced, Refusal> {
    c.sp()?;
    let mut flags = FlagList::default();
    if c.peek() == Some(b'(') {
        flags = flags::list(c)?;
        c.sp()?;
    }
    let mut internal_ms = None;
    if c.peek() == Some(b'"') {
        let date = c.string()?;
        internal_ms = Some(parse_date_time(&date).ok_or(Refusal::bad("Malformed date"))?);
        c.sp()?;
    }
    if c.peek() == Some(b'~') {
        return Err(Refusal::no("UNKNOWN-CTE", "Binary literals are not taken"));
    }
    if c.peek() != Some(b'{') || c.rest().contains(&b'\n') {
        return Err(Refusal::bad("APPEND needs a message as a literal"));
    }
    Ok(Announced { size, flags, internal_ms })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::imap::name::Name;

    fn read(text: &[u8]) -> Result<Ahead, Refusal> {
        ahead(&mut Cursor::new(text, 0), 3)
    }

    #[test]
    fn flags_and_date_may_be_left_out() {
        let message = Announced { size: 3, flags: FlagList::default(), internal_ms: None };
        let plain = Append { mailbox: Name::inbox(), message };
        assert_eq!(read(b" inbox {3}"), Ok(Ahead::Message(plain.clone())));
        assert_eq!(read(b" {5}\r\nINBOX {3+}"), Ok(Ahead::Message(plain.clone())));
        assert_eq!(read(b" inbox () {3}"), Ok(Ahead::Message(plain.clone())));
        let flags = FlagList { bits: FlagList::SEEN, keywords: vec!["$Junk".into()] };
        let full = Append { message: Announced { size: 3, flags, internal_ms: Some(0) }, ..plain };
        assert_eq!(
            read(b" \"INBOX\" ($Junk \\seen $junk \\Recent) \" 1-Jan-1970 00:00:00 +0000\" {3}"),
            Ok(Ahead::Message(full))
        );
        assert_eq!(read(b" {5}"), Ok(Ahead::Mailbox));
    }

    #[test]
    fn a121_a_bad_date_is_bad() {
        assert_eq!(read(b" INBOX \"32-Jan-1970 00:00:00 +0000\" {3}"), Err(Refusal::bad("Malformed date")));
        assert!(read(b" INBOX 1-Jan-1970 {3}").is_err());
        assert!(read(b" INBOX ~{3}").is_err());
        assert!(read(b" INBOX (\\Seen {3}").is_err());
        assert!(read(b" INBOX (\\Foo) {3}").is_err());
        assert!(read(b" ../x {3}").is_err());
        assert!(read(b" INBOX x{3}").is_err());
    }
}
