//! LOGIN and AUTHENTICATE PLAIN (RFC 9051 §6.2.2, §6.2.3; RFC 4616).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::proto::imap::ask::{Ask, No};
use crate::proto::imap::command::{Command, Login};
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::refusal::Refusal;

/// `LOGIN userid password`
pub fn login(c: &mut Cursor<'_>) -> Result<Command, Refusal> {
    c.sp()?;
    let name = c.astring()?.into_owned();
    c.sp()?;
    let password = Zeroizing::new(c.astring()?.into_owned());
    Ok(Command::Ask(Ask::Login(Login { name, password })))
}

/// `AUTHENTICATE PLAIN [response]`
pub fn authenticate(c: &mut Cursor<'_>) -> Result<Command, Refusal> {
    c.sp()?;
    if !c.atom()?.eq_ignore_ascii_case(b"PLAIN") {
        return Err(Refusal::no("CANNOT", "Authentication mechanism is not supported"));
    }
    let initial = match c.take(b' ') {
        false => None,
        true => Some(Zeroizing::new(c.run(|b| b.is_ascii_graphic()).to_vec())),
    };
    Ok(Command::AuthenticatePlain(initial))
}

/// A response in base64: authorization identity, NUL, name, NUL, password. `=` alone is the empty one.
///
/// # Errors
/// Not base64, not of this form, or an authorization identity other than the name.
pub fn plain(base64: &[u8]) -> Result<Login, Refusal> {
    let text =
        if base64 == b"=" { Vec::new() } else { STANDARD.decode(base64).map_err(|_| Refusal::bad("Not base64"))? };
    let text = Zeroizing::new(text);
    let mut fields = text.split(|b| *b == 0);
    let (Some(acting_for), Some(name), Some(password), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(Refusal::bad("Not a PLAIN response"));
    };
    if !acting_for.is_empty() && acting_for != name {
        return Err(No::BadLogin.into());
    }
    Ok(Login { name: name.to_vec(), password: Zeroizing::new(password.to_vec()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_has_three_fields() {
        let read = |text: &[u8]| plain(STANDARD.encode(text).as_bytes());
        let login = read(b"\0alice\0secret").expect("a login");
        assert_eq!((&login.name[..], &login.password[..]), (&b"alice"[..], &b"secret"[..]));
        assert!(read(b"alice\0alice\0secret").is_ok());
        assert_eq!(read(b"bob\0alice\0secret").unwrap_err(), No::BadLogin.into());
        for text in [&b""[..], b"alice", b"\0alice", b"\0alice\0secret\0", b"\0\0\0\0"] {
            assert!(read(text).is_err(), "{}", text.escape_ascii());
        }
        assert!(plain(b"=").is_err());
        assert!(plain(b"AGFsaWNl AHNlY3JldA==").is_err());
        assert!(plain(b"AGFsaWNlAHNlY3JldA").is_err());
    }

    #[test]
    fn a_password_does_not_show_in_debug_output() {
        let login = plain(STANDARD.encode(b"\0alice\0secret").as_bytes()).expect("a login");
        let shown = format!("{:?}", Ask::Login(login));
        assert!(shown.contains("alice") && !shown.contains("secret") && !shown.contains("115"), "{shown}");
    }
}
