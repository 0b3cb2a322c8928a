//! LOGIN and AUTHENTICATE (RFC 9051 §6.2.2, §6.2.3; RFC 4959).

use zeroize::Zeroizing;

use crate::proto::imap::ask::{Ask, No};
use crate::proto::imap::command::{Command, Login};
use crate::proto::imap::cursor::Cursor;
use crate::proto::imap::refusal::Refusal;
use crate::proto::sasl::{By, Fault};

/// `LOGIN userid password`
pub fn login(c: &mut Cursor<'_>) -> Result<Command, Refusal> {
    c.sp()?;
    let name = c.astring()?.into_owned();
    c.sp()?;
    let password = Zeroizing::new(c.astring()?.into_owned());
    Ok(Command::Ask(Ask::Login(Login::with_password(name, By::Command, password))))
}

/// `AUTHENTICATE mechanism [response]`
pub fn authenticate(c: &mut Cursor<'_>) -> Result<Command, Refusal> {
    c.sp()?;
    let mechanism = c.atom()?.into();
    let initial = match c.take(b' ') {
        false => None,
        true => Some(Zeroizing::new(c.run(|b| b.is_ascii_graphic()).to_vec())),
    };
    Ok(Command::Authenticate { mechanism, initial })
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NotBase64 => Refusal::bad("Not base64"),
            Fault::Form => Refusal::bad("Response malformed"),
            Fault::ForAnother | Fault::Downgrade => No::BadLogin.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_mistake_a_response_is_decides_the_refusal() {
        for fault in [Fault::NotBase64, Fault::Form] {
            assert!(!Refusal::from(fault).is_no(), "{fault:?}");
        }
        for fault in [Fault::ForAnother, Fault::Downgrade] {
            assert_eq!(Refusal::from(fault), No::BadLogin.into(), "{fault:?}");
        }
    }

    #[test]
    fn a_password_does_not_show_in_debug_output() {
        let login = Login::with_password(b"alice".to_vec(), By::Command, Zeroizing::new(b"secret".to_vec()));
        let shown = format!("{:?}", Ask::Login(login));
        assert!(shown.contains("alice") && !shown.contains("secret") && !shown.contains("115"), "{shown}");
    }
}
