//! ID (RFC 2971).

use crate::proto::imap::ask::Ask;
use crate::proto::imap::command::{Command, IdField};
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::refusal::Refusal;

/// Fields of one ID. More: BAD (A131, RFC 2971 §3.3).
const FIELDS_MAX: usize = 30;
/// Octets of a field's name. More: BAD.
const NAME_BYTES_MAX: usize = 30;
/// Octets of a field's value. More: BAD.
const VALUE_BYTES_MAX: usize = 1_024;

/// `ID NIL`, `ID (name value …)`: who the client says it is. A value may be NIL, which says nothing.
pub fn id(c: &mut Cursor<'_>) -> Result<Command, Refusal> {
    c.sp()?;
    let mut fields = Vec::new();
    if !c.take(b'(') {
        nil(c)?;
        return Ok(Command::Ask(Ask::Id(fields)));
    }
    while !c.take(b')') {
        if !fields.is_empty() {
            c.sp()?;
        }
        if fields.len() == FIELDS_MAX {
            return Err(Refusal::bad("Too many fields"));
        }
        let name = c.string()?.into_owned();
        c.sp()?;
        let value = match c.peek() {
            Some(b'"' | b'{') => c.string()?.into_owned(),
            _ => nil(c).map(|()| Vec::new())?,
        };
        if name.len() > NAME_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
            return Err(Refusal::bad("Field is too long"));
        }
        let text = |octets: Vec<u8>| String::from_utf8_lossy(&octets).into();
        fields.push(IdField { name: text(name), value: text(value) });
    }
    Ok(Command::Ask(Ask::Id(fields)))
}

fn nil(c: &mut Cursor<'_>) -> Result<(), Refusal> {
    if c.atom()?.eq_ignore_ascii_case(b"NIL") { Ok(()) } else { Err(Refusal::bad("NIL or a list of strings expected")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Option<usize> {
        let mut cursor = Cursor::new(text.as_bytes(), 0);
        let Ok(Command::Ask(Ask::Id(fields))) = id(&mut cursor) else { return None };
        cursor.end().ok()?;
        Some(fields.len())
    }

    #[test]
    fn a131_thirty_fields_of_a_kilobyte_are_the_most() {
        let list = |n: usize, name: usize, value: usize| {
            let field = format!("\"{}\" \"{}\"", "n".repeat(name), "v".repeat(value));
            format!(" ({})", vec![field; n].join(" "))
        };
        assert_eq!(fields(&list(30, 30, 1_024)), Some(30));
        assert_eq!(fields(&list(31, 1, 1)), None);
        assert_eq!(fields(&list(1, 31, 1)), None);
        assert_eq!(fields(&list(1, 1, 1_025)), None);
    }

    #[test]
    fn a_client_may_say_nothing_of_itself() {
        assert_eq!(fields(" NIL"), Some(0));
        assert_eq!(fields(" nil"), Some(0));
        assert_eq!(fields(" ()"), Some(0));
        assert_eq!(fields(" (\"name\" NIL \"version\" {1}\r\n1)"), Some(2));
        for text in ["", " ", " x", " (", " (\"name\")", " (name \"x\")", " (\"a\" \"b\" )", " (\"a\" \"b\"\"c\" NIL)"]
        {
            assert_eq!(fields(text), None, "{text}");
        }
    }
}
