//! Passwords for one program each, beside the account's own: generated, shown once, and taken back one by one.
//!
//! They have 130 bits of chance, so one round of SHA-256 keeps them (a guess costs 2^129 on the mean, however fast it is). They
//! are for PLAIN, LOGIN and the protocols' own commands: SCRAM has the account's password alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{BadSecrets, LETTERS, Password, Protocols};

/// App passwords of one account. More: refused.
pub const APP_PASSWORDS_MAX: usize = 20;
/// The name of one, octets. Longer: refused.
pub const APP_NAME_BYTES_MAX: usize = 64;
/// Letters of one, five bits each.
const APP_LETTERS: usize = 26;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppPassword {
    /// As the operator calls it.
    pub name: String,
    hash: [u8; 32],
    /// Days since 1970.
    pub created_day: u32,
    /// The last day on which it was used.
    pub used_day: Option<u32>,
    /// Where it is good.
    pub protocols: Protocols,
}

/// As it is stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EncodedApp {
    name: String,
    hash: String,
    created: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used: Option<u32>,
    protocols: u8,
}

impl AppPassword {
    /// Makes one of `random`; also returns the password, which is kept nowhere.
    #[must_use]
    pub fn make(name: String, protocols: Protocols, day: u32, random: &[u8; APP_LETTERS]) -> (Self, Zeroizing<String>) {
        let mut text = Zeroizing::new(String::with_capacity(APP_LETTERS + 4));
        for (at, octet) in random.iter().enumerate() {
            if at > 0 && at % 6 == 0 {
                text.push('-');
            }
            text.push(char::from(LETTERS[usize::from(octet & 31)]));
        }
        let hash = Sha256::digest(text.as_bytes()).into();
        (AppPassword { name, hash, created_day: day, used_day: None, protocols }, text)
    }

    /// A name that one may have.
    #[must_use]
    pub fn is_name(name: &str) -> bool {
        !name.is_empty()
            && name.len() <= APP_NAME_BYTES_MAX
            && name.trim() == name
            && !name.chars().any(char::is_control)
    }

    pub(super) fn encode(&self) -> EncodedApp {
        EncodedApp {
            name: self.name.clone(),
            hash: BASE64.encode(self.hash),
            created: self.created_day,
            used: self.used_day,
            protocols: self.protocols.bits(),
        }
    }

    pub(super) fn decode(encoded: EncodedApp) -> Result<Self, BadSecrets> {
        let EncodedApp { name, hash, created, used, protocols } = encoded;
        let hash = BASE64.decode(hash).ok().and_then(|hash| hash.try_into().ok()).ok_or(BadSecrets)?;
        let protocols = Protocols::of_bits(protocols).ok_or(BadSecrets)?;
        if !Self::is_name(&name) {
            return Err(BadSecrets);
        }
        Ok(AppPassword { name, hash, created_day: created, used_day: used, protocols })
    }
}

/// Which of them this password is. All are looked at, whichever it is.
pub(super) fn position(apps: &[AppPassword], password: &Password) -> Option<usize> {
    let hash: [u8; 32] = Sha256::digest(password.as_bytes()).into();
    let is =
        |app: &AppPassword| std::hint::black_box(app.hash.iter().zip(hash).fold(0, |all, (a, b)| all | (a ^ b))) == 0;
    apps.iter().enumerate().fold(None, |found, (at, app)| if is(app) { Some(at) } else { found })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::sasl::Speaker;

    fn made(name: &str, of: u8) -> (AppPassword, Password) {
        let random = std::array::from_fn(|at| of.wrapping_mul(31).wrapping_add(at as u8 * 7));
        let (app, text) = AppPassword::make(name.to_owned(), Protocols::only(Speaker::Imap), 20_000, &random);
        (app, Password::parse(Zeroizing::new(text.as_bytes().to_vec())).expect("a password"))
    }

    #[test]
    fn each_is_recognised_and_no_other() {
        let (phone, phones) = made("phone", 1);
        let (desk, desks) = made("desk", 2);
        let (_, lost) = made("lost", 3);
        let apps = [phone, desk];
        assert_eq!(position(&apps, &phones), Some(0));
        assert_eq!(position(&apps, &desks), Some(1));
        assert_eq!(position(&apps, &lost), None);
        assert_eq!(position(&[], &phones), None);
    }

    #[test]
    fn names_are_for_lists_of_one_line() {
        for good in ["phone", "Jürgens Telefon", "a b"] {
            assert!(AppPassword::is_name(good), "{good}");
        }
        for bad in ["", " phone", "phone ", "a\nb", "a\0", &"x".repeat(APP_NAME_BYTES_MAX + 1)] {
            assert!(!AppPassword::is_name(bad), "{}", bad.escape_debug());
        }
    }
}
