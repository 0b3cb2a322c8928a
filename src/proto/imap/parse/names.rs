//! CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 9051 §6.3.4 to §6.3.8).
//!
//! What can never be done is refused here, from the names alone; what is there already or not there, the door knows.

use super::mailbox::mailbox;
use crate::proto::imap::ask::{Ask, No};
use crate::proto::imap::command::{Command, Create, Rename, SpecialUse};
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::name::Name;
use crate::proto::imap::refusal::Refusal;

/// `CREATE mailbox [(USE (attribute …))]` (RFC 6154 §3)
pub fn create(c: &mut Cursor<'_>) -> Result<Command, Refusal> {
    c.sp()?;
    let wire = c.astring()?;
    // A separator at the end says that names below will follow; it is no part of the name (RFC 9051 §6.3.4).
    let name = Name::parse(wire.strip_suffix(b"/").unwrap_or(&wire));
    let special_use = if c.take(b' ') { special_use(c)? } else { Ok(None) };
    let mailbox = name?;
    if mailbox.is_inbox() {
        return Err(No::AlreadyExists.into());
    }
    Ok(Command::Ask(Ask::Create(Create { mailbox, special_use: special_use? })))
}

/// `(USE (attribute …))`; within, the use that the mailbox can have, or why it cannot.
fn special_use(c: &mut Cursor<'_>) -> Result<Result<Option<SpecialUse>, Refusal>, Refusal> {
    c.expect(b'(', "Parenthesis expected")?;
    if !c.atom()?.eq_ignore_ascii_case(b"USE") {
        return Err(Refusal::bad("Unknown parameter of CREATE"));
    }
    c.sp()?;
    c.expect(b'(', "Parenthesis expected")?;
    let mut uses = Vec::new();
    while !c.take(b')') {
        if !uses.is_empty() {
            c.sp()?;
        }
        c.expect(b'\\', "Special use expected")?;
        let word = c.atom()?;
        uses.push(SpecialUse::ALL.into_iter().find(|u| word.eq_ignore_ascii_case(&u.name().as_bytes()[1..])));
    }
    c.expect(b')', "Parenthesis expected")?;
    Ok(match uses[..] {
        [] => Ok(None),
        // Views of other mailboxes are not made, and a mailbox is for one thing.
        [Some(SpecialUse::Flagged | SpecialUse::All)] => Err(No::UseAttr.into()),
        [Some(one)] => Ok(Some(one)),
        _ => Err(No::UseAttr.into()),
    })
}

/// `DELETE mailbox`
pub fn delete(c: &mut Cursor<'_>) -> Result<Command, Refusal> {
    c.sp()?;
    let name = mailbox(c)?;
    if name.is_inbox() {
        return Err(No::Cannot.into());
    }
    Ok(Command::Ask(Ask::Delete(name)))
}

/// `RENAME mailbox mailbox` (A120)
pub fn rename(c: &mut Cursor<'_>) -> Result<Command, Refusal> {
    c.sp()?;
    let from = mailbox(c);
    // What is no name is refused when the syntax is known to be right.
    let from = match from {
        Err(refusal) if !refusal.is_no() => return Err(refusal),
        from => from,
    };
    c.sp()?;
    let to = mailbox(c)?;
    let from = from?;
    if to.is_inbox() || from == to {
        return Err(No::AlreadyExists.into());
    }
    if to.is_below(&from) && !from.is_inbox() {
        return Err(Refusal::no("CANNOT", "A mailbox cannot go below itself"));
    }
    Ok(Command::Ask(Ask::Rename(Rename { from, to })))
}

/// `SUBSCRIBE mailbox`, `UNSUBSCRIBE mailbox`
pub fn subscribe(c: &mut Cursor<'_>, on: bool) -> Result<Command, Refusal> {
    c.sp()?;
    let name = mailbox(c)?;
    Ok(Command::Ask(Ask::Subscribe { name, on }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(parse: fn(&mut Cursor<'_>) -> Result<Command, Refusal>, text: &str) -> String {
        let mut cursor = Cursor::new(text.as_bytes(), 0);
        let command = parse(&mut cursor).and_then(|command| cursor.end().map(|()| command));
        match command {
            Ok(Command::Ask(Ask::Create(create))) => format!("{} {:?}", create.mailbox, create.special_use),
            Ok(Command::Ask(Ask::Rename(rename))) => format!("{} to {}", rename.from, rename.to),
            Ok(other) => format!("{other:?}"),
            Err(refusal) => {
                let mut line = Vec::new();
                refusal.write(&mut line);
                let line = String::from_utf8(line).expect("ASCII");
                line.split(']').next().expect("one").split(" [").last().expect("one").trim_end().to_owned()
            }
        }
    }

    #[test]
    fn a_mailbox_may_be_made_for_a_use() {
        let said = |text| said(create, text);
        assert_eq!(said(" a/b/"), "a/b None");
        assert_eq!(said(" Sent (USE (\\sent))"), "Sent Some(Sent)");
        assert_eq!(said(" Sent (use ())"), "Sent None");
        for text in [" x (USE (\\All))", " x (USE (\\Flagged))", " x (USE (\\Sent \\Drafts))", " x (USE (\\Other))"] {
            assert_eq!(said(text), "USEATTR", "{text}");
        }
        for text in [
            "",
            " ",
            " x ",
            " x ()",
            " x (USE)",
            " x (USE \\Sent)",
            " x (USE (Sent))",
            " x (USE (\\Sent)",
            " x (NEW ())",
        ] {
            assert!(said(text).starts_with("BAD"), "{text}: {}", said(text));
        }
        assert_eq!(said(" inbox"), "ALREADYEXISTS");
        assert_eq!(said(" INBOX/"), "ALREADYEXISTS");
        assert_eq!(said(" /"), "CANNOT");
        assert_eq!(said(" a//"), "CANNOT");
        assert_eq!(said(" /a (USE"), "BAD Space expected: too few arguments or malformed ones");
    }

    #[test]
    fn a120_names_that_can_never_follow_one_another() {
        let said = |text| said(rename, text);
        assert_eq!(said(" a b/"), "a to b");
        assert_eq!(said(" a ab/a"), "a to ab/a");
        assert_eq!(said(" a/b a"), "a/b to a");
        assert_eq!(said(" inbox old"), "INBOX to old");
        assert_eq!(said(" INBOX INBOX/old"), "INBOX to INBOX/old");
        assert_eq!(said(" a a/b"), "CANNOT");
        assert_eq!(said(" a a"), "ALREADYEXISTS");
        assert_eq!(said(" a Inbox"), "ALREADYEXISTS");
        assert_eq!(said(" inbox INBOX"), "ALREADYEXISTS");
        assert_eq!(said(" ../a b"), "CANNOT");
        assert_eq!(said(" a b/../c"), "CANNOT");
        assert!(said(" ../a").starts_with("BAD"));
        assert!(said(" a").starts_with("BAD"));
    }

    #[test]
    fn inbox_cannot_be_deleted() {
        assert_eq!(said(delete, " iNBOX"), "CANNOT");
        assert_eq!(said(delete, " INBOX/a"), "Ask(Delete(\"INBOX/a\"))");
    }

    #[test]
    fn a_separator_at_the_end_is_no_part_of_a_name() {
        assert_eq!(said(delete, " a/b/"), "Ask(Delete(\"a/b\"))");
        assert_eq!(said(delete, " inbox/"), "CANNOT");
        assert_eq!(said(rename, " a/ b/"), "a to b");
        assert_eq!(said(|c| subscribe(c, true), " a/"), "Ask(Subscribe { name: \"a\", on: true })");
        assert_eq!(said(delete, " a//"), "CANNOT");
        assert_eq!(said(delete, " /"), "CANNOT");
    }
}
