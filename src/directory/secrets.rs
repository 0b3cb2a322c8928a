//! What an account proves itself with: an Argon2id hash of its password, and beside it SCRAM-SHA-256 keys.
//!
//! Rules:
//!
//! - [`Secrets::make`] and [`Secrets::verify`] take tens of milliseconds: they run on the side pool, never on a shard.
//! - A name that does not exist is verified against [`Secrets::nobody`], which costs the same and always fails (A111).
//! - What is stored is text in a versioned JSON object; decoding never panics, and it refuses costs that would let a
//!   damaged record stall the side pool.
//! - *Liberty*: passwords are taken as UTF-8 without the normalisation of SASLprep (RFC 4013); what it prohibits among
//!   control characters is refused.
//!
//! ```text
//! {"v":1,
//!  "argon2id":"$argon2id$v=19$m=47104,t=1,p=1$<salt>$<hash>",           PHC string
//!  "scram":"SCRAM-SHA-256$15000:<salt>$<StoredKey>:<ServerKey>"}        RFC 5803 form, base64
//! ```

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::proto::sasl::scram::Keys;

/// A password, octets. Longer ones are refused when set and never match at login.
pub const PASSWORD_BYTES_MAX: usize = 1_024;
/// PBKDF2 rounds of new SCRAM keys. Stored keys with fewer than this are refused (RFC 7677 §4 asks for 4096).
pub const SCRAM_ITERATIONS: u32 = 15_000;
/// Octets of their salt. Stored keys with fewer are refused.
const SCRAM_SALT_BYTES: usize = 16;
/// PBKDF2 rounds believed in a stored record. More: the record does not decode.
const SCRAM_ITERATIONS_MAX: u32 = 10_000_000;
/// Argon2 memory believed in a stored record, KiB. More: the record does not decode.
const ARGON2_MEMORY_KIB_MAX: u32 = 1 << 20;
/// Argon2 passes believed in a stored record. More: the record does not decode.
const ARGON2_PASSES_MAX: u32 = 64;
/// Encoded secrets, octets. Longer: the record does not decode.
const ENCODED_BYTES_MAX: usize = 4_096;

const SCRAM_NAME: &str = "SCRAM-SHA-256";
/// Letters of generated passwords: 32, none of which is mistaken for another.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Argon2id's cost (RFC 9106 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Cost {
    /// Memory, KiB.
    pub memory_kib: u32,
    /// Passes.
    pub passes: u32,
}

impl Argon2Cost {
    /// What new passwords cost unless configured: 46 MiB, one pass.
    pub const DEFAULT: Argon2Cost = Argon2Cost { memory_kib: 46 << 10, passes: 1 };

    fn hasher(self) -> Result<Argon2<'static>, BadSecrets> {
        let params = Params::new(self.memory_kib, self.passes, 1, None).map_err(|_| BadSecrets)?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

/// A password fit to be set or tried. Wiped from memory when dropped.
pub struct Password(Zeroizing<Vec<u8>>);

/// Why a password cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPassword {
    /// No octets.
    #[error("the password is empty")]
    Empty,
    /// More than [`PASSWORD_BYTES_MAX`].
    #[error("the password is longer than {PASSWORD_BYTES_MAX} octets")]
    TooLong,
    /// Not UTF-8.
    #[error("the password is not UTF-8 text")]
    NotUtf8,
    /// NUL or another control character (RFC 4013 §2.3).
    #[error("the password contains a control character")]
    Control,
}

/// The record is damaged, or made by something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the account's secrets cannot be read")]
pub struct BadSecrets;

/// What is kept of a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets {
    /// PHC string.
    argon2id: String,
    /// SCRAM-SHA-256 keys. `None`: they are derived when the password is seen next.
    pub scram: Option<Keys>,
}

#[derive(Serialize, Deserialize)]
struct Encoded {
    v: u32,
    argon2id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scram: Option<String>,
}

impl Password {
    /// Its octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Checks what a person or a client sent.
    ///
    /// # Errors
    /// See [`BadPassword`].
    pub fn parse(bytes: Zeroizing<Vec<u8>>) -> Result<Password, BadPassword> {
        if bytes.is_empty() {
            return Err(BadPassword::Empty);
        }
        if bytes.len() > PASSWORD_BYTES_MAX {
            return Err(BadPassword::TooLong);
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| BadPassword::NotUtf8)?;
        if text.chars().any(char::is_control) {
            return Err(BadPassword::Control);
        }
        Ok(Password(bytes))
    }

    /// A password to be read aloud: four groups of five letters, 100 bits of `random`.
    #[must_use]
    pub fn generate(random: &[u8; 20]) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(23));
        for (i, byte) in random.iter().enumerate() {
            if i > 0 && i % 5 == 0 {
                text.push('-');
            }
            text.push(char::from(LETTERS[usize::from(byte & 31)]));
        }
        text
    }
}

impl Secrets {
    /// Hashes a password: slow on purpose. `random`: the salts.
    ///
    /// # Errors
    /// When `cost` is not one that Argon2 knows.
    pub fn make(password: &Password, cost: Argon2Cost, random: &[u8; 32]) -> Result<Secrets, BadSecrets> {
        let (argon2_salt, scram_salt) = random.split_at(16);
        let salt = SaltString::encode_b64(argon2_salt).map_err(|_| BadSecrets)?;
        let hash = cost.hasher()?.hash_password(&password.0, &salt).map_err(|_| BadSecrets)?;
        Ok(Secrets { argon2id: hash.to_string(), scram: Some(Keys::derive(&password.0, scram_salt, SCRAM_ITERATIONS)) })
    }

    /// The secrets of nobody: verifying against them costs what `cost` says and fails.
    #[must_use]
    pub fn nobody(cost: Argon2Cost) -> Secrets {
        // 256 zero bits: no password is known, or will be found, whose hash this is.
        let argon2id =
            format!("$argon2id$v=19$m={},t={},p=1${}${}", cost.memory_kib, cost.passes, "A".repeat(22), "A".repeat(43));
        Secrets { argon2id, scram: None }
    }

    /// True if this is the password: slow on purpose, and compared in constant time.
    #[must_use]
    pub fn verify(&self, password: &Password) -> bool {
        let Ok(hash) = believed(&self.argon2id) else { return false };
        Argon2::default().verify_password(&password.0, &hash).is_ok()
    }

    /// The bytes to be stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let encoded = Encoded { v: 1, argon2id: self.argon2id.clone(), scram: self.scram.as_ref().map(encode_keys) };
        serde_json::to_vec(&encoded).expect("three plain fields are always JSON")
    }

    /// Reads what [`Secrets::encode`] wrote.
    ///
    /// # Errors
    /// [`BadSecrets`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Secrets, BadSecrets> {
        if bytes.len() > ENCODED_BYTES_MAX {
            return Err(BadSecrets);
        }
        let Encoded { v, argon2id, scram } = serde_json::from_slice(bytes).map_err(|_| BadSecrets)?;
        if v != 1 {
            return Err(BadSecrets);
        }
        believed(&argon2id)?;
        Ok(Secrets { scram: scram.as_deref().map(decode_keys).transpose()?, argon2id })
    }
}

/// Parses a PHC string and refuses what is not Argon2id or costs absurdly much.
fn believed(phc: &str) -> Result<PasswordHash<'_>, BadSecrets> {
    let hash = PasswordHash::new(phc).map_err(|_| BadSecrets)?;
    let params = Params::try_from(&hash).map_err(|_| BadSecrets)?;
    let sane = hash.algorithm == argon2::ARGON2ID_IDENT
        && hash.hash.is_some_and(|h| h.len() >= 16)
        && params.m_cost() <= ARGON2_MEMORY_KIB_MAX
        && params.t_cost() <= ARGON2_PASSES_MAX
        && params.p_cost() == 1;
    if sane { Ok(hash) } else { Err(BadSecrets) }
}

/// True if encoded secrets have keys, without decoding them.
#[must_use]
pub fn has_keys(encoded: &[u8]) -> bool {
    // Inside a text of JSON a quote has a backslash before it.
    memchr::memmem::find(encoded, b"\"scram\":\"").is_some()
}

/// The keys that a name has which is nobody's: of the same form as those of [`Secrets::make`]. `secret`: of this server.
#[must_use]
pub fn keys_of_nobody(secret: &[u8], name: &str) -> Keys {
    Keys::of_nobody(secret, name.as_bytes(), SCRAM_SALT_BYTES, SCRAM_ITERATIONS)
}

fn encode_keys(keys: &Keys) -> String {
    let b64 = |bytes: &[u8]| BASE64.encode(bytes);
    let Keys { iterations, salt, stored_key, server_key } = keys;
    format!("{SCRAM_NAME}${iterations}:{}${}:{}", b64(salt), b64(stored_key), b64(server_key))
}

fn decode_keys(text: &str) -> Result<Keys, BadSecrets> {
    let fields = || {
        let rest = text.strip_prefix(SCRAM_NAME)?.strip_prefix('$')?;
        let (cost, keys) = rest.split_once('$')?;
        let (iterations, salt) = cost.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        Some(Keys {
            iterations: iterations.parse().ok().filter(|i| (SCRAM_ITERATIONS..=SCRAM_ITERATIONS_MAX).contains(i))?,
            salt: BASE64.decode(salt).ok().filter(|s| s.len() >= SCRAM_SALT_BYTES)?,
            stored_key: BASE64.decode(stored).ok()?.try_into().ok()?,
            server_key: BASE64.decode(server).ok()?.try_into().ok()?,
        })
    };
    fields().ok_or(BadSecrets)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Argon2Cost = Argon2Cost { memory_kib: 64, passes: 1 };

    fn password(text: &str) -> Password {
        Password::parse(Zeroizing::new(text.as_bytes().to_vec())).expect("a test's password")
    }

    #[test]
    fn a_password_is_kept_and_recognised_through_its_encoding() {
        let made = Secrets::make(&password("correct horse"), CHEAP, &[7; 32]).unwrap();
        let read = Secrets::decode(&made.encode()).unwrap();
        assert_eq!(read, made);
        assert!(read.verify(&password("correct horse")));
        assert!(!read.verify(&password("correct hors")));
        assert!(!String::from_utf8(made.encode()).unwrap().contains("horse"));
    }

    #[test]
    fn a111_nobody_has_no_password_but_costs_the_same() {
        let nobody = Secrets::nobody(Argon2Cost::DEFAULT);
        assert_eq!(Secrets::decode(&nobody.encode()).unwrap(), nobody);
        let params = Params::try_from(&believed(&nobody.argon2id).unwrap()).unwrap();
        assert_eq!((params.m_cost(), params.t_cost()), (46 << 10, 1));
        assert!(!Secrets::nobody(CHEAP).verify(&password("anything")));
    }

    #[test]
    fn keys_of_nobody_have_the_form_of_somebodys() {
        let made = Secrets::make(&password("x"), CHEAP, &[1; 32]).unwrap().scram.unwrap();
        let nobody = keys_of_nobody(b"secret", "mallory@ringpost.test");
        assert_eq!((made.iterations, made.salt.len()), (nobody.iterations, nobody.salt.len()));
        assert_eq!(decode_keys(&encode_keys(&nobody)), Ok(nobody));
    }

    #[test]
    fn damaged_secrets_are_refused() {
        let good = Secrets::make(&password("x"), CHEAP, &[1; 32]).unwrap().encode();
        let text = String::from_utf8(good.clone()).unwrap();
        for cut in 0..good.len() {
            assert_eq!(Secrets::decode(&good[..cut]), Err(BadSecrets));
        }
        for (from, to) in [
            ("\"v\":1", "\"v\":2"),
            ("argon2id$", "argon2i$"),
            ("m=64", "m=4294967295"),
            ("t=1", "t=4294967295"),
            ("15000:", "1:"),
            ("15000:", "4294967295:"),
            ("SCRAM-SHA-256", "SCRAM-SHA-1"),
        ] {
            let bad = text.replacen(from, to, 1);
            assert_ne!(bad, text, "{from} occurs");
            assert_eq!(Secrets::decode(bad.as_bytes()), Err(BadSecrets), "{to}");
        }
    }

    #[test]
    fn control_characters_and_absurd_lengths_are_no_passwords() {
        let parse = |bytes: &[u8]| Password::parse(Zeroizing::new(bytes.to_vec())).map(|_| ());
        assert_eq!(parse(b""), Err(BadPassword::Empty));
        assert_eq!(parse(b"a\0b"), Err(BadPassword::Control));
        assert_eq!(parse(b"a\r\nb"), Err(BadPassword::Control));
        assert_eq!(parse("a\u{85}b".as_bytes()), Err(BadPassword::Control));
        assert_eq!(parse(b"\xff"), Err(BadPassword::NotUtf8));
        assert_eq!(parse(&[b'a'; PASSWORD_BYTES_MAX + 1]), Err(BadPassword::TooLong));
        assert_eq!(parse(&[b'a'; PASSWORD_BYTES_MAX]), Ok(()));
        assert_eq!(parse("p\u{e4}ss w\u{f6}rd \u{1f511}".as_bytes()), Ok(()));
    }

    #[test]
    fn a_generated_password_can_be_read_aloud() {
        let text = Password::generate(&std::array::from_fn(|i| i as u8 * 13));
        assert_eq!(text.len(), 23);
        assert_eq!(text.split('-').map(str::len).collect::<Vec<_>>(), [5, 5, 5, 5]);
        let distinct: std::collections::BTreeSet<u8> = LETTERS.iter().copied().collect();
        assert_eq!(distinct.len(), 32);
        assert!(Password::parse(Zeroizing::new(text.as_bytes().to_vec())).is_ok());
    }
}
