//! What an account proves itself with: a hash of its password, keys for SCRAM-SHA-256, passwords of single programs; and by
//! which protocols it may.
//!
//! Rules:
//!
//! - [`Secrets::make`], [`Secrets::verify`] and [`Secrets::anew`] take tens of milliseconds: they run on the side pool, never on a
//!   shard.
//! - A name that does not exist is verified against [`Secrets::nobody`], which costs the same and always fails (A111).
//! - A hash that another server made is kept as it is until its password is seen; then [`Secrets::anew`] replaces it.
//! - What is stored is text in a versioned JSON object; decoding never panics, and it refuses costs that would let a
//!   damaged record stall the side pool.
//! - *Liberty*: passwords are taken as UTF-8 without the normalisation of SASLprep (RFC 4013); what it prohibits among
//!   control characters is refused.
//!
//! ```text
//! {"v":1,
//!  "argon2id":"$argon2id$v=19$m=47104,t=1,p=1$<salt>$<hash>",           PHC string; or
//!  "imported":"{SHA512-CRYPT}$6$…",                                     as another server had it
//!  "scram":"SCRAM-SHA-256$15000:<salt>$<StoredKey>:<ServerKey>",        RFC 5803 form, base64; absent: not derived yet
//!  "closed":5,                                                          protocols without login: 1 SMTP, 2 IMAP, 4 POP3
//!  "apps":[{"name":"phone","hash":"<SHA-256>","created":20000,"used":20001,"protocols":7}]}
//! ```

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::imported::Imported;
use crate::proto::sasl::Speaker;
use crate::proto::sasl::scram::Keys;

mod apps;

use apps::EncodedApp;
pub use apps::{APP_NAME_BYTES_MAX, APP_PASSWORDS_MAX, AppPassword};

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
pub const ENCODED_BYTES_MAX: usize = 16_384;

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

/// Protocols by which somebody logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols(u8);

impl Protocols {
    /// None.
    pub const NONE: Protocols = Protocols(0);
    /// All of them.
    pub const ALL: Protocols = Protocols(7);

    /// One.
    #[must_use]
    pub const fn only(speaker: Speaker) -> Self {
        Protocols(match speaker {
            Speaker::Smtp => 1,
            Speaker::Imap => 2,
            Speaker::Pop3 => 4,
        })
    }

    /// These, with another one or without it.
    #[must_use]
    pub const fn with(self, speaker: Speaker, on: bool) -> Self {
        let one = Self::only(speaker).0;
        Protocols(if on { self.0 | one } else { self.0 & !one })
    }

    /// True if it is one of them.
    #[must_use]
    pub const fn has(self, speaker: Speaker) -> bool {
        self.0 & Self::only(speaker).0 != 0
    }

    const fn bits(self) -> u8 {
        self.0
    }

    const fn of_bits(bits: u8) -> Option<Self> {
        if bits <= Self::ALL.0 { Some(Protocols(bits)) } else { None }
    }
}

/// What is kept of an account's passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets {
    hash: Hash,
    /// SCRAM-SHA-256 keys. `None`: they are derived when the password is seen next.
    pub scram: Option<Keys>,
    /// By these it may not log in.
    pub closed: Protocols,
    /// Passwords of single programs, at most [`APP_PASSWORDS_MAX`].
    pub apps: Vec<AppPassword>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hash {
    /// Argon2id, a PHC string.
    Own(String),
    /// Another server made it.
    Imported(Imported),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoded {
    v: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    argon2id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    imported: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scram: Option<String>,
    #[serde(default, skip_serializing_if = "is_none")]
    closed: u8,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    apps: Vec<EncodedApp>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_none(bits: &u8) -> bool {
    *bits == 0
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
        let scram = Some(Keys::derive(&password.0, scram_salt, SCRAM_ITERATIONS));
        Ok(Secrets { hash: Hash::Own(hash.to_string()), scram, closed: Protocols::NONE, apps: Vec::new() })
    }

    /// What is known of a password that another server hashed.
    #[must_use]
    pub fn import(hash: Imported) -> Secrets {
        Secrets { hash: Hash::Imported(hash), scram: None, closed: Protocols::NONE, apps: Vec::new() }
    }

    /// The secrets of nobody: verifying against them costs what `cost` says and fails.
    #[must_use]
    pub fn nobody(cost: Argon2Cost) -> Secrets {
        // 256 zero bits: no password is known, or will be found, whose hash this is.
        let argon2id =
            format!("$argon2id$v=19$m={},t={},p=1${}${}", cost.memory_kib, cost.passes, "A".repeat(22), "A".repeat(43));
        Secrets { hash: Hash::Own(argon2id), scram: None, closed: Protocols::NONE, apps: Vec::new() }
    }

    /// True if this is the password: slow on purpose, and compared in constant time.
    #[must_use]
    pub fn verify(&self, password: &Password) -> bool {
        match &self.hash {
            Hash::Own(phc) => {
                let Ok(hash) = believed(phc) else { return false };
                Argon2::default().verify_password(&password.0, &hash).is_ok()
            }
            Hash::Imported(hash) => hash.verify(&password.0),
        }
    }

    /// True if the hash is another server's, so that verifying takes another time than for nobody.
    #[must_use]
    pub fn is_imported(&self) -> bool {
        matches!(self.hash, Hash::Imported(_))
    }

    /// True if something is missing that follows from the password.
    #[must_use]
    pub fn wants_password(&self) -> bool {
        self.is_imported() || self.scram.is_none()
    }

    /// The same account with the hash and the keys of this password: slow on purpose. `random`: the salts.
    ///
    /// # Errors
    /// As [`Secrets::make`].
    pub fn anew(&self, password: &Password, cost: Argon2Cost, random: &[u8; 32]) -> Result<Secrets, BadSecrets> {
        let Secrets { hash, scram, .. } = Secrets::make(password, cost, random)?;
        Ok(Secrets { hash, scram, ..self.clone() })
    }

    /// The same account with another password.
    #[must_use]
    pub fn with_password_of(self, other: Secrets) -> Secrets {
        Secrets { hash: other.hash, scram: other.scram, ..self }
    }

    /// Which app password this is, by its place in the list.
    #[must_use]
    pub fn app(&self, password: &Password) -> Option<usize> {
        apps::position(&self.apps, password)
    }

    /// The bytes to be stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (argon2id, imported) = match &self.hash {
            Hash::Own(phc) => (Some(phc.clone()), None),
            Hash::Imported(hash) => (None, Some(hash.as_str().to_owned())),
        };
        let encoded = Encoded {
            v: 1,
            argon2id,
            imported,
            scram: self.scram.as_ref().map(encode_keys),
            closed: self.closed.bits(),
            apps: self.apps.iter().map(AppPassword::encode).collect(),
        };
        serde_json::to_vec(&encoded).expect("plain fields are always JSON")
    }

    /// Reads what [`Secrets::encode`] wrote.
    ///
    /// # Errors
    /// [`BadSecrets`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Secrets, BadSecrets> {
        if bytes.len() > ENCODED_BYTES_MAX {
            return Err(BadSecrets);
        }
        let Encoded { v, argon2id, imported, scram, closed, apps } =
            serde_json::from_slice(bytes).map_err(|_| BadSecrets)?;
        if v != 1 || apps.len() > APP_PASSWORDS_MAX {
            return Err(BadSecrets);
        }
        let hash = match (argon2id, imported) {
            (Some(phc), None) => {
                believed(&phc)?;
                Hash::Own(phc)
            }
            (None, Some(text)) => Hash::Imported(Imported::parse(&text).map_err(|_| BadSecrets)?),
            _ => return Err(BadSecrets),
        };
        Ok(Secrets {
            hash,
            scram: scram.as_deref().map(decode_keys).transpose()?,
            closed: Protocols::of_bits(closed).ok_or(BadSecrets)?,
            apps: apps.into_iter().map(AppPassword::decode).collect::<Result<_, _>>()?,
        })
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
        let Hash::Own(phc) = &nobody.hash else { panic!("our own") };
        let params = Params::try_from(&believed(phc).unwrap()).unwrap();
        assert_eq!((params.m_cost(), params.t_cost()), (46 << 10, 1));
        assert!(!Secrets::nobody(CHEAP).verify(&password("anything")));
    }

    #[test]
    fn everything_comes_back_from_its_encoding() {
        let mut secrets = Secrets::make(&password("correct horse"), CHEAP, &[7; 32]).unwrap();
        secrets.closed = Protocols::NONE.with(Speaker::Pop3, true);
        for n in 0..APP_PASSWORDS_MAX {
            let name = format!("{}{n}", "\u{e4}".repeat(30));
            let (mut app, _) = AppPassword::make(name, Protocols::only(Speaker::Smtp), 20_000, &[n as u8; 26]);
            app.used_day = (n % 2 == 0).then_some(20_001);
            secrets.apps.push(app);
        }
        assert_eq!(Secrets::decode(&secrets.encode()), Ok(secrets));
    }

    #[test]
    fn an_imported_hash_becomes_our_own_with_all_that_the_account_has_beside_it() {
        let hash = Imported::parse("{SSHA}7cWpUwo0GRt/CEYUHQjPcwCaoKpOYlgj").unwrap();
        let closed = Protocols::ALL.with(Speaker::Imap, false);
        let imported = Secrets { closed, ..Secrets::import(hash) };
        assert!(!has_keys(&imported.encode()) && imported.wants_password());
        let read = Secrets::decode(&imported.encode()).unwrap();
        assert!(read.verify(&password("Tr0ub4dor&3")) && !read.verify(&password("x")));
        let anew = read.anew(&password("Tr0ub4dor&3"), CHEAP, &[7; 32]).unwrap();
        assert!(has_keys(&anew.encode()) && !anew.wants_password() && anew.closed == closed);
        assert!(anew.verify(&password("Tr0ub4dor&3")) && !anew.verify(&password("x")));
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
