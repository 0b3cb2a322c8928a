//! Hashes of passwords that another server made: read, held against a password, and replaced by our own at the next login.
//!
//! ```text
//!   $1$ $5$ $6$                     crypt: MD5, SHA-256, SHA-512
//!   $2a$ $2b$ $2y$                  bcrypt
//!   $argon2id$ $argon2i$            Argon2 (RFC 9106)
//!   $pbkdf2-sha256$ …               PBKDF2 (RFC 8018) as passlib writes it
//!   {SSHA256}… {SHA512.HEX}…        digests, salted or not, in base64 or hexadecimal
//!   {SHA512-CRYPT}$6$… {CRYPT}…     Dovecot's words before any of them; {PBKDF2}$1$salt$rounds$…
//! ```
//!
//! - [`Imported::verify`] takes as long as the hash asks for: it runs on the side pool, never on a shard.
//! - A hash that would take absurdly long is refused when it is read, and so never kept.

use std::fmt;

use argon2::password_hash::{PasswordHash, PasswordVerifier};
use argon2::{Argon2, Params};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha_crypt::{Sha256Params, Sha512Params};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

mod md5_crypt;

/// A hash as text, octets. Longer: refused.
pub const HASH_BYTES_MAX: usize = 512;
/// A password that is held against one of these, octets. Longer: it is not the one, whatever the hash says. The work of SHA crypt
/// grows with it.
pub const PASSWORD_BYTES_MAX: usize = 128;
/// Rounds of SHA crypt. More: refused. (passlib makes 656,000.)
const CRYPT_ROUNDS_MAX: usize = 700_000;
/// Rounds of SHA crypt where the hash says nothing of them.
const CRYPT_ROUNDS_DEFAULT: usize = 5_000;
/// The cost of bcrypt, a power of two. More: refused.
const BCRYPT_COST_MAX: u32 = 13;
/// Rounds of PBKDF2. More: refused.
const PBKDF2_ROUNDS_MAX: u32 = 1_400_000;
/// Memory of Argon2, KiB, and that times its passes. More: refused.
const ARGON2_MEMORY_KIB_MAX: u32 = 256 << 10;
const ARGON2_WORK_KIB_MAX: u64 = 1 << 20;

/// Why a hash is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHash {
    /// No scheme is known that looks so.
    #[error(
        "this is no hash of a scheme that is known here: crypt ($1$, $5$, $6$), bcrypt ($2a$, $2b$, $2y$), Argon2, PBKDF2, or \
         {{SSHA}}, {{SSHA256}}, {{SSHA512}} and their kind"
    )]
    Unknown,
    /// It is named and not known.
    #[error("the scheme {{{0}}} is not known here")]
    Scheme(String),
    /// It is a password.
    #[error("{{{0}}} is no hash but the password itself: set it with `ringpost account passwd --password-stdin`")]
    Plain(String),
    /// Of a scheme that is known, and broken.
    #[error("this hash is cut off or damaged")]
    Damaged,
    /// It would take too long, or too much memory.
    #[error("this hash asks for too much work: {0}")]
    Cost(&'static str),
}

/// A hash that was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Imported {
    text: String,
    kind: Kind,
}

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Md5Crypt,
    Sha256Crypt(usize),
    Sha512Crypt(usize),
    Bcrypt,
    Argon2,
    Digest { of: Of, digest: Vec<u8>, salt: Vec<u8> },
    Pbkdf2 { of: Of, rounds: u32, salt: Vec<u8>, key: Vec<u8> },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Sha1,
    Sha256,
    Sha512,
}

impl Of {
    fn bytes(self) -> usize {
        match self {
            Of::Sha1 => 20,
            Of::Sha256 => 32,
            Of::Sha512 => 64,
        }
    }

    fn digest(self, parts: [&[u8]; 2]) -> Vec<u8> {
        fn all<D: Digest>(parts: [&[u8]; 2]) -> Vec<u8> {
            D::new().chain_update(parts[0]).chain_update(parts[1]).finalize().to_vec()
        }
        match self {
            Of::Sha1 => all::<Sha1>(parts),
            Of::Sha256 => all::<Sha256>(parts),
            Of::Sha512 => all::<Sha512>(parts),
        }
    }

    fn pbkdf2(self, password: &[u8], salt: &[u8], rounds: u32, key: &mut [u8]) {
        match self {
            Of::Sha1 => pbkdf2::pbkdf2_hmac::<Sha1>(password, salt, rounds, key),
            Of::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, rounds, key),
            Of::Sha512 => pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, rounds, key),
        }
    }
}

impl Imported {
    /// Reads a hash, with or without its scheme in braces before it.
    ///
    /// # Errors
    /// See [`BadHash`].
    pub fn parse(text: &str) -> Result<Imported, BadHash> {
        if text.len() > HASH_BYTES_MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(BadHash::Damaged);
        }
        let kind = match text.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((scheme, rest)) => named(&scheme.to_ascii_uppercase(), rest)?,
            None => crypt(text)?,
        };
        Ok(Imported { text: text.to_owned(), kind })
    }

    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// True if it is the hash of this password: slow if it was made to be.
    #[must_use]
    pub fn verify(&self, password: &[u8]) -> bool {
        if password.len() > PASSWORD_BYTES_MAX {
            return false;
        }
        let bare =
            self.text.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or(&*self.text, |(_, rest)| rest);
        match &self.kind {
            Kind::Md5Crypt => {
                md5_crypt::crypt(password, bare).is_some_and(|made| same(made.as_bytes(), bare.as_bytes()))
            }
            Kind::Sha256Crypt(rounds) => sha_crypt_is(bare, |salt| {
                sha_crypt::sha256_crypt_b64(password, salt, &Sha256Params::new(*rounds).ok()?).ok()
            }),
            Kind::Sha512Crypt(rounds) => sha_crypt_is(bare, |salt| {
                sha_crypt::sha512_crypt_b64(password, salt, &Sha512Params::new(*rounds).ok()?).ok()
            }),
            Kind::Bcrypt => bcrypt::verify(password, bare).unwrap_or(false),
            Kind::Argon2 => {
                PasswordHash::new(bare).is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
            }
            Kind::Digest { of, digest, salt } => same(&of.digest([password, salt]), digest),
            Kind::Pbkdf2 { of, rounds, salt, key } => {
                let mut made = vec![0; key.len()];
                of.pbkdf2(password, salt, *rounds, &mut made);
                same(&made, key)
            }
        }
    }
}

/// What a name in braces says of what follows it.
fn named(scheme: &str, rest: &str) -> Result<Kind, BadHash> {
    let (name, hex) = match scheme.split_once('.') {
        Some((name, "HEX")) => (name, true),
        Some((name, "B64" | "BASE64")) => (name, false),
        Some(_) => return Err(BadHash::Scheme(scheme.to_owned())),
        None => (scheme, false),
    };
    let digest = |of: Of, salted: bool| {
        let octets = if hex { unhex(rest) } else { STANDARD.decode(rest).ok() }.ok_or(BadHash::Damaged)?;
        let (digest, salt) = octets.split_at_checked(of.bytes()).ok_or(BadHash::Damaged)?;
        if salted == salt.is_empty() {
            return Err(BadHash::Damaged);
        }
        Ok(Kind::Digest { of, digest: digest.to_vec(), salt: salt.to_vec() })
    };
    let only = |prefixes: &[&str]| {
        if prefixes.iter().any(|prefix| rest.starts_with(prefix)) { crypt(rest) } else { Err(BadHash::Damaged) }
    };
    match name {
        "CRYPT" => crypt(rest),
        "MD5-CRYPT" | "MD5" => only(&["$1$"]),
        "SHA256-CRYPT" => only(&["$5$"]),
        "SHA512-CRYPT" => only(&["$6$"]),
        "BLF-CRYPT" | "BCRYPT" => only(&["$2a$", "$2b$", "$2y$"]),
        "ARGON2I" => only(&["$argon2i$"]),
        "ARGON2ID" => only(&["$argon2id$"]),
        "ARGON2" => only(&["$argon2i$", "$argon2id$"]),
        "SHA" | "SHA1" => digest(Of::Sha1, false),
        "SHA256" => digest(Of::Sha256, false),
        "SHA512" => digest(Of::Sha512, false),
        "SSHA" | "SSHA1" => digest(Of::Sha1, true),
        "SSHA256" => digest(Of::Sha256, true),
        "SSHA512" => digest(Of::Sha512, true),
        "PBKDF2" if rest.starts_with("$1$") => dovecot_pbkdf2(&rest[3..]),
        "PBKDF2" | "PBKDF2-SHA1" => passlib_pbkdf2(Of::Sha1, rest),
        "PBKDF2-SHA256" => passlib_pbkdf2(Of::Sha256, rest),
        "PBKDF2-SHA512" => passlib_pbkdf2(Of::Sha512, rest),
        "PLAIN" | "CLEAR" | "CLEARTEXT" => Err(BadHash::Plain(name.to_owned())),
        _ => Err(BadHash::Scheme(scheme.to_owned())),
    }
}

/// What begins with a scheme between dollar signs.
fn crypt(text: &str) -> Result<Kind, BadHash> {
    let mut fields = text.split('$');
    let (Some(""), Some(id)) = (fields.next(), fields.next()) else { return Err(BadHash::Unknown) };
    // What follows the scheme and its dollar sign.
    let rest = text.get(id.len() + 2..).unwrap_or_default();
    match id {
        "1" => md5_crypt::parts(text).map(|_| Kind::Md5Crypt).ok_or(BadHash::Damaged),
        "5" => sha_crypt(text, 43).map(Kind::Sha256Crypt),
        "6" => sha_crypt(text, 86).map(Kind::Sha512Crypt),
        "2a" | "2b" | "2y" => bcrypt_cost(text).map(|()| Kind::Bcrypt),
        "argon2id" | "argon2i" => argon2_cost(text).map(|()| Kind::Argon2),
        "pbkdf2" => passlib_pbkdf2(Of::Sha1, rest),
        "pbkdf2-sha256" => passlib_pbkdf2(Of::Sha256, rest),
        "pbkdf2-sha512" => passlib_pbkdf2(Of::Sha512, rest),
        _ => Err(BadHash::Unknown),
    }
}

/// `$5$[rounds=N$]salt$hash`: the rounds.
fn sha_crypt(text: &str, hash_bytes: usize) -> Result<usize, BadHash> {
    let (rounds, salt, hash) = sha_crypt_parts(text).ok_or(BadHash::Damaged)?;
    let letters = hash.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'/');
    if hash.len() != hash_bytes || !letters || salt.len() > 16 || !(1_000..=999_999_999).contains(&rounds) {
        return Err(BadHash::Damaged);
    }
    if rounds > CRYPT_ROUNDS_MAX {
        return Err(BadHash::Cost("more than 700,000 rounds"));
    }
    Ok(rounds)
}

fn sha_crypt_parts(text: &str) -> Option<(usize, &str, &str)> {
    let rest = text.get(3..)?;
    let (rounds, rest) = match rest.strip_prefix("rounds=") {
        Some(rest) => {
            let (rounds, rest) = rest.split_once('$')?;
            (rounds.parse().ok()?, rest)
        }
        None => (CRYPT_ROUNDS_DEFAULT, rest),
    };
    let (salt, hash) = rest.split_once('$')?;
    Some((rounds, salt, hash))
}

fn sha_crypt_is(bare: &str, make: impl FnOnce(&[u8]) -> Option<String>) -> bool {
    let Some((_, salt, hash)) = sha_crypt_parts(bare) else { return false };
    make(salt.as_bytes()).is_some_and(|made| same(made.as_bytes(), hash.as_bytes()))
}

/// `$2b$NN$` and 53 letters.
fn bcrypt_cost(text: &str) -> Result<(), BadHash> {
    let mut fields = text.split('$').skip(2);
    let (Some(cost), Some(rest), None) = (fields.next(), fields.next(), fields.next()) else {
        return Err(BadHash::Damaged);
    };
    let letters = rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'/');
    match cost.parse::<u32>() {
        Ok(4..=BCRYPT_COST_MAX) if cost.len() == 2 && rest.len() == 53 && letters => Ok(()),
        Ok(n) if n > BCRYPT_COST_MAX && n < 32 => Err(BadHash::Cost("a cost above 13")),
        _ => Err(BadHash::Damaged),
    }
}

fn argon2_cost(text: &str) -> Result<(), BadHash> {
    let hash = PasswordHash::new(text).map_err(|_| BadHash::Damaged)?;
    let params = Params::try_from(&hash).map_err(|_| BadHash::Damaged)?;
    if hash.hash.is_none_or(|h| h.len() < 16) || hash.salt.is_none() {
        return Err(BadHash::Damaged);
    }
    let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
    if params.m_cost() > ARGON2_MEMORY_KIB_MAX || work > ARGON2_WORK_KIB_MAX || params.p_cost() > 16 {
        return Err(BadHash::Cost("more than 256 MiB, or more than four passes over that"));
    }
    Ok(())
}

/// `rounds$salt$key` as passlib writes it: base64 with `.` for `+` and without padding.
fn passlib_pbkdf2(of: Of, text: &str) -> Result<Kind, BadHash> {
    let mut fields = text.split('$');
    let (Some(rounds), Some(salt), Some(key), None) = (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(BadHash::Damaged);
    };
    let octets = |text: &str| STANDARD_NO_PAD.decode(text.replace('.', "+")).map_err(|_| BadHash::Damaged);
    pbkdf2_of(of, rounds, octets(salt)?, octets(key)?)
}

/// `salt$rounds$key` as Dovecot writes it behind `{PBKDF2}$1$`: the salt is text and the key hexadecimal.
fn dovecot_pbkdf2(text: &str) -> Result<Kind, BadHash> {
    let mut fields = text.split('$');
    let (Some(salt), Some(rounds), Some(key), None) = (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(BadHash::Damaged);
    };
    pbkdf2_of(Of::Sha1, rounds, salt.as_bytes().to_vec(), unhex(key).ok_or(BadHash::Damaged)?)
}

fn pbkdf2_of(of: Of, rounds: &str, salt: Vec<u8>, key: Vec<u8>) -> Result<Kind, BadHash> {
    let rounds: u32 = rounds.parse().map_err(|_| BadHash::Damaged)?;
    if rounds > PBKDF2_ROUNDS_MAX {
        return Err(BadHash::Cost("more than 1,400,000 rounds"));
    }
    if rounds == 0 || key.len() != of.bytes() {
        return Err(BadHash::Damaged);
    }
    Ok(Kind::Pbkdf2 { of, rounds, salt, key })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| if let [high, low] = pair { Some(digit(*high)? << 4 | digit(*low)?) } else { None }).collect()
}

/// Compared in a time that depends on lengths alone.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && std::hint::black_box(a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b))) == 0
}

impl fmt::Debug for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Imported(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &[u8] = b"Tr0ub4dor&3";

    /// Made by crypt(3), `openssl passwd`, `doveadm pw` and passlib.
    const MADE: &[&str] = &[
        "$1$saltsalt$ueg/7ujBFDpyKLR2vs28p1",
        "$1$abcdefgh$FErPkDeIHv781e9EexumS.",
        "{MD5-CRYPT}$1$AqOVbLeP$.XYzgC2DpiGlAMaLPr29./",
        "{MD5}$1$Io4mm5Xf$Hu72I/TupKwZl3x5U0.pN1",
        "$5$saltstring$RT55UUFV8nhS8YjKMVGspyCektw1KgSPNiHv3htupz8",
        "$5$rounds=5000$saltstring$RT55UUFV8nhS8YjKMVGspyCektw1KgSPNiHv3htupz8",
        "$5$abcdefgh$5trO9qTaLlR3B5F0SFWD25qek6wuypUgQsCdjQ8/IcC",
        "{SHA256-CRYPT}$5$kkNPzhloxyl.M2jH$B04/yYEE/GYOYixyyfQOhWE8GtKcPE7kQTQG/j1/vJ9",
        "$6$rounds=1400$anotherlongsalts$KqEinOaYAq7OE7pipAgP6OuCA9x5hyrHiiB8Xq0aDQ9/3cFQBPREHYkveTvTSDhiXI6K78fD3QvOOa3vGU3tT0",
        "$6$abcdefgh$4U6jebhBw.wRMvkXtOStfkrjBM/.iDeiWvfh4qpnUke7UGqEpD4aifufCgop0XRNXWgsGN1Da9is/9zY7KCTl.",
        "{SHA512-CRYPT}$6$uUdtTcjst5oBAWu7$Fv57c1WhKr90TNU6lWOQURZ8AIpDeHZcqtwsWOC7Tm8A.MgfIvM16zUYOn32uJRviVHMNxR.tq.zlSC3SFUM40",
        "$2b$05$abcdefghijklmnopqrstuujyowYzwa5GTkdJQ1hID4j4yIozDs7U.",
        "{BLF-CRYPT}$2y$05$YxDTBLoBS2HeMXIGkGdc6.0yJQ/Dd80UxBEnen1LOGaKWJrdMlIdS",
        "{CRYPT}$2b$05$abcdefghijklmnopqrstuujyowYzwa5GTkdJQ1hID4j4yIozDs7U.",
        "{SSHA}7cWpUwo0GRt/CEYUHQjPcwCaoKpOYlgj",
        "{SSHA}E5YqVfnkpWwjGxjlUGKkPKOG9ILjnHNu",
        "{SSHA256}UGc3d+aDU+d0VBc6NM+qGHKZpRdQw+10bVzkdymw3pEVXfAx",
        "{SSHA512}Gs6LMXDF3Q43NDVJfdZ0fb8lwn+QdBP2NGAxnUDzzFz0sjPftZ+EU+N5p+VD1d7jW1JYQAC7It9i/88lnVeVYKMX6nc=",
        "{SHA}h0Vy56WuaklGamrFeLmK26eMaqY=",
        "{SHA.HEX}874572e7a5ae6a49466a6ac578b98adba78c6aa6",
        "{SHA256}SEhuFRToQjRv9AWx5F9EBZroJhnyMG+Z0JQNyzhukfc=",
        "{SHA512}xyu2IccEDPS2R0BjqaeXJpDiUvNa2+fPr/Wx7iMW7+c4LnI9QeATor+8M8MAfFDFhH0hqInM6DhTbqxyeAjeQA==",
        "{PBKDF2}$1$xFcvXKd8pY23Z5A1$5000$f1978114fa35f692e1801d8a129cc814bc6d8a43",
        "$pbkdf2$1000$c2FsdHNhbHRzYWx0c2FsdA$PnjnShUb5imMAk5xcWfooZdMQUE",
        "$pbkdf2-sha256$1000$c2FsdHNhbHRzYWx0c2FsdA$2MkELeph4zwIGRMgcQq7R5y/xByW9EEHLeYKylw8xgE",
        "{PBKDF2-SHA256}1000$c2FsdHNhbHRzYWx0c2FsdA$2MkELeph4zwIGRMgcQq7R5y/xByW9EEHLeYKylw8xgE",
        "$pbkdf2-sha512$1000$c2FsdHNhbHRzYWx0c2FsdA$ItdTXkkogW5bm93MKeq3CcO8gZcJQIIP253eqxItujjim3PW1/xhNa7lDg3EYcluqfw1cVtk7e/v2Rz0O97E.g",
        "{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$6f0i9YhMoBvd9/Yrpj+BHA$3n1E01Kq+P5i4qkwy7E4ggOhT+W2t2wHbb+UvHPwGGQ",
        "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$F2jhjnuzRtuOxeugcBFnFw$agfb/9AXkCuELgiCxpHVB6RaqCiJ5EhCIw9VjN3GIIk",
    ];

    #[test]
    fn what_other_servers_made_is_recognised() {
        for text in MADE {
            let hash = Imported::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert!(hash.verify(PASSWORD), "{text}");
            assert!(!hash.verify(b"Tr0ub4dor&4") && !hash.verify(b""), "{text}");
        }
    }

    #[test]
    fn long_passwords_are_hashed_whole() {
        let long = b"a password that is longer than thirty-two octets, to be sure";
        for text in
            ["$1$abcdefgh$Lojz3O4czsQwhOdfXHWmP/", "$5$abcdefghijklmnop$0XwyrLYOMme0ZqCPOtvifX6kIBHWiFU.aSu7hmndZc0"]
        {
            assert!(Imported::parse(text).expect("a hash").verify(long), "{text}");
        }
        assert!(Imported::parse("$1$x$fwjfZtMwarkdetsjiQreU1").expect("a hash").verify(b""));
    }

    #[test]
    fn a_password_whose_length_would_be_work_is_not_the_one() {
        let long = vec![b'a'; PASSWORD_BYTES_MAX + 1];
        let digest = |password: &[u8]| format!("{{SHA256}}{}", STANDARD.encode(Sha256::digest(password)));
        assert!(!Imported::parse(&digest(&long)).expect("a hash").verify(&long));
        assert!(Imported::parse(&digest(&long[1..])).expect("a hash").verify(&long[1..]));
    }

    #[test]
    fn a_hash_cut_anywhere_is_refused_or_another_passwords() {
        for text in MADE {
            for cut in 0..text.len() {
                let verified = Imported::parse(&text[..cut]).is_ok_and(|hash| hash.verify(PASSWORD));
                assert!(!verified, "{}", &text[..cut]);
            }
        }
    }

    #[test]
    fn what_would_take_too_long_is_refused_when_it_is_read() {
        for text in [
            "$6$rounds=700001$abcdefgh$4U6jebhBw.wRMvkXtOStfkrjBM/.iDeiWvfh4qpnUke7UGqEpD4aifufCgop0XRNXWgsGN1Da9is/9zY7KCTl.",
            "$2b$14$abcdefghijklmnopqrstuujyowYzwa5GTkdJQ1hID4j4yIozDs7U.",
            "$2b$31$abcdefghijklmnopqrstuujyowYzwa5GTkdJQ1hID4j4yIozDs7U.",
            "$pbkdf2-sha256$1400001$c2FsdHNhbHRzYWx0c2FsdA$2MkELeph4zwIGRMgcQq7R5y/xByW9EEHLeYKylw8xgE",
            "$argon2id$v=19$m=262145,t=1,p=1$F2jhjnuzRtuOxeugcBFnFw$agfb/9AXkCuELgiCxpHVB6RaqCiJ5EhCIw9VjN3GIIk",
            "$argon2id$v=19$m=65536,t=17,p=1$F2jhjnuzRtuOxeugcBFnFw$agfb/9AXkCuELgiCxpHVB6RaqCiJ5EhCIw9VjN3GIIk",
        ] {
            assert!(matches!(Imported::parse(text), Err(BadHash::Cost(_))), "{text}");
        }
    }

    #[test]
    fn what_is_no_hash_is_refused_with_a_reason() {
        assert_eq!(Imported::parse("{PLAIN}secret"), Err(BadHash::Plain("PLAIN".to_owned())));
        assert_eq!(Imported::parse("{CRAM-MD5}00"), Err(BadHash::Scheme("CRAM-MD5".to_owned())));
        assert_eq!(Imported::parse("{SSHA.ROT13}00"), Err(BadHash::Scheme("SSHA.ROT13".to_owned())));
        for text in [
            "",
            "secret",
            "$",
            "$$",
            "$9$x$y",
            "abJnggxhB/yWI",
            "$2x$05$abcdefghijklmnopqrstuujyowYzwa5GTkdJQ1hID4j4yIozDs7U.",
        ] {
            assert_eq!(Imported::parse(text), Err(BadHash::Unknown), "{text}");
        }
        for text in [
            "{SSHA}AAAA",
            "{SSHA}h0Vy56WuaklGamrFeLmK26eMaqY=",
            "{SHA512-CRYPT}$5$x$y",
            "{MD5}0123",
            "{SHA.HEX}8745z",
            "$1$x",
            "a b",
        ] {
            assert_eq!(Imported::parse(text), Err(BadHash::Damaged), "{text}");
        }
        assert_eq!(Imported::parse(&"x".repeat(HASH_BYTES_MAX + 1)), Err(BadHash::Damaged));
    }
}
