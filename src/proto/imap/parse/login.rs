//! LOGIN and AUTHENTICATE PLAIN (RFC 9051 §6.2.2, §6.2.3; RFC 4616).

use zeroize::Zeroizing;

use crate::proto::imap::ask::{Ask, No};
use crate::proto::imap::command::{Command, Login};
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::refusal::Refusal;
use crate::proto::sasl::{self, Fault};

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

/// The response of PLAIN.
///
/// # Errors
/// Not base64, not of its form, or an authorization identity other than the name.
pub fn plain(base64: &[u8]) -> Result<Login, Refusal> {
    sasl::plain(base64).map_err(|fault| match fault {
        Fault::NotBase64 => Refusal::bad("Not base64"),
        Fault::Form => Refusal::bad("Not a PLAIN response"),
        Fault::ForAnother => No::BadLogin.into(),
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn whose_mistake_a_response_is_decides_the_refusal() {
        let read = |text: &[u8]| plain(STANDARD.encode(text).as_bytes());
        assert!(read(b"\0alice\0secret").is_ok());
        assert_eq!(read(b"bob\0alice\0secret").unwrap_err(), No::BadLogin.into());
        assert_eq!(read(b"alice").unwrap_err(), Refusal::bad("Not a PLAIN response"));
        assert_eq!(plain(b"AGFsaWNlAHNlY3JldA").unwrap_err(), Refusal::bad("Not base64"));
    }

    #[test]
    fn a_password_does_not_show_in_debug_output() {
        let login = plain(STANDARD.encode(b"\0alice\0secret").as_bytes()).expect("a login");
        let shown = format!("{:?}", Ask::Login(login));
        assert!(shown.contains("alice") && !shown.contains("secret") && !shown.contains("115"), "{shown}");
    }
}
