//! SASL as every protocol here needs it: what the base64 of a response says (RFC 4616 for PLAIN).
//!
//! The protocols frame the exchange, each in its own words; a [`Fault`] says whose mistake a response is, and they choose the
//! reply. Passwords are cleared from memory when dropped and never shown by `Debug`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// A name and a password, not verified yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// As the client spelt it, any octets but NUL; `user@domain`.
    pub name: Vec<u8>,
    /// Cleared from memory when dropped.
    pub password: Zeroizing<Vec<u8>>,
}

/// Why a response is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not base64: foreign characters, padding missing or where it cannot be, bits behind the last octet (A015).
    NotBase64,
    /// Not of the mechanism's form: fields missing, or NUL where none may be.
    Form,
    /// An authorization identity other than the name: nobody acts for others here (A018).
    ForAnother,
}

/// The response of PLAIN: authorization identity, NUL, name, NUL, password (RFC 4616 §2).
///
/// # Errors
/// As the variants of [`Fault`] say.
pub fn plain(base64: &[u8]) -> Result<Login, Fault> {
    let text = decoded(base64)?;
    let mut fields = text.split(|b| *b == 0);
    let (Some(acting_for), Some(name), Some(password), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(Fault::Form);
    };
    if !acting_for.is_empty() && acting_for != name {
        return Err(Fault::ForAnother);
    }
    Ok(Login { name: name.to_vec(), password: Zeroizing::new(password.to_vec()) })
}

/// The response to one prompt of LOGIN, a mechanism that was never more than a draft and that mail programs still speak.
///
/// # Errors
/// `NotBase64`, or `Form` if it holds NUL.
pub fn word(base64: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
    decoded(base64).and_then(|text| if text.contains(&0) { Err(Fault::Form) } else { Ok(text) })
}

/// `=` alone is the empty response (RFC 4954 §4).
fn decoded(base64: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let text = if base64 == b"=" { Vec::new() } else { STANDARD.decode(base64).map_err(|_| Fault::NotBase64)? };
    Ok(Zeroizing::new(text))
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login {{ name: \"{}\", .. }}", self.name.escape_ascii())
    }
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
        for text in [&b""[..], b"alice", b"\0alice", b"\0alice\0secret\0", b"\0\0\0\0", b"\0al\0ice\0secret"] {
            assert_eq!(read(text), Err(Fault::Form), "{}", text.escape_ascii());
        }
        assert_eq!(plain(b"="), Err(Fault::Form));
    }

    #[test]
    fn a015_base64_is_read_to_the_letter() {
        for text in [
            &b"AGFsaWNl AHNlY3JldA=="[..],
            b"AGFsaWNlAHNlY3JldA",
            b"AGFsaWNlAHNlY3JldA=",
            b"AGFsaWNlAHNlY3JldA===",
            b"=AGFsaWNlAHNlY3JldA=",
            b"AGFsaWNlAHNlY3JldB==",
            b"AGFsaWNlAHNlY3JldA==AGFs",
            b"*",
            b"==",
            b"AGFsaWNl\xff",
        ] {
            assert_eq!(plain(text), Err(Fault::NotBase64), "{}", text.escape_ascii());
            assert_eq!(word(text), Err(Fault::NotBase64), "{}", text.escape_ascii());
        }
        assert_eq!(word(b"YWwAaWNl"), Err(Fault::Form));
        assert_eq!(word(b"YWxpY2U=").expect("a word")[..], b"alice"[..]);
        assert!(word(b"").expect("an empty word").is_empty() && word(b"=").expect("an empty word").is_empty());
    }

    #[test]
    fn a018_nobody_acts_for_another() {
        assert_eq!(plain(STANDARD.encode(b"bob\0alice\0secret").as_bytes()), Err(Fault::ForAnother));
    }

    #[test]
    fn a_password_does_not_show_in_debug_output() {
        let login = plain(STANDARD.encode(b"\0alice\0secret").as_bytes()).expect("a login");
        let shown = format!("{login:?}");
        assert!(shown.contains("alice") && !shown.contains("secret") && !shown.contains("115"), "{shown}");
    }
}
