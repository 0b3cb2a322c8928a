//! SASL as every protocol here needs it: one table of mechanisms, and an exchange as a value (RFC 4422).
//!
//! ```text
//!   begin ─► Exchange ── response ─► Challenge ─► Exchange … ─► Login: a name, and what proves it
//!                            └─ Keys: whose keys the world is to look up ─► Exchange
//! ```
//!
//! The protocols frame the exchange, each in its own words; a [`Fault`] says whose mistake a response is, and they choose the
//! reply. Passwords are cleared from memory when dropped and never shown by `Debug`. A mechanism is a row of [`MECHANISMS`], a
//! variant of [`Exchange`], and a transcript for each protocol, which fails in a build with the feature `bugs` when the
//! row's handler is taken out.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::bugs;

pub mod scram;

use scram::{First, Known, Proof, Second};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// SMTP (RFC 4954).
    Smtp,
    /// IMAP (RFC 9051 §6.2.2).
    Imap,
    /// POP3 (RFC 5034).
    Pop3,
}

/// What a connection can have now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Who speaks.
    pub speaker: Speaker,
    /// A password may be given on it as it is.
    pub private: bool,
    /// Every account has keys, so that whoever chooses SCRAM comes in.
    pub keys: bool,
    /// Its TLS can be bound to.
    pub binds: bool,
    /// What the operator lets be offered.
    pub allowed: Allowed,
}

/// Which mechanisms an operator lets be offered: a bit for each row of [`MECHANISMS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed(u8);

impl Allowed {
    /// All of them.
    pub const ALL: Allowed = Allowed(u8::MAX);

    /// Those of these names, in any case. `None`: one of them is none of ours.
    #[must_use]
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Allowed> {
        let place = |name: &str| MECHANISMS.iter().position(|mechanism| mechanism.name.eq_ignore_ascii_case(name));
        names.into_iter().try_fold(Allowed(0), |all, name| Some(Allowed(all.0 | 1 << place(name)?)))
    }

    /// Their names, in the order in which they are offered.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        MECHANISMS.iter().filter(move |mechanism| self.has(mechanism.by)).map(|mechanism| mechanism.name)
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.names().next().is_none()
    }

    fn has(self, by: By) -> bool {
        MECHANISMS.iter().zip(0..).any(|(mechanism, place)| mechanism.by == by && self.0 & 1 << place != 0)
    }
}

const _: () = assert!(MECHANISMS.len() <= 8, "a bit for each");

/// How somebody logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A command of the protocol: LOGIN, USER and PASS.
    Command,
    /// PLAIN.
    Plain,
    /// LOGIN.
    Login,
    /// SCRAM-SHA-256.
    Scram,
    /// SCRAM-SHA-256-PLUS.
    ScramPlus,
}

/// One mechanism.
#[derive(Debug)]
pub struct Mechanism {
    /// As IANA's registry has it.
    pub name: &'static str,
    /// Where it comes from. LOGIN was never more than a draft: 4954, which speaks of it.
    pub rfc: u16,
    /// Which it is.
    pub by: By,
    offered: fn(Offer) -> bool,
    begin: fn(Offer) -> Exchange,
}

/// The table, in the order in which they are offered.
pub const MECHANISMS: &[Mechanism] = &[
    Mechanism {
        name: "SCRAM-SHA-256-PLUS",
        rfc: 7677,
        by: By::ScramPlus,
        offered: |offer| offer.private && offer.keys && offer.binds,
        begin: |_| Exchange::ScramFirst { plus: true, plus_offered: true },
    },
    Mechanism {
        name: "SCRAM-SHA-256",
        rfc: 7677,
        by: By::Scram,
        offered: |offer| offer.private && offer.keys,
        begin: |offer| Exchange::ScramFirst {
            plus: false,
            plus_offered: offer.binds && offer.allowed.has(By::ScramPlus),
        },
    },
    Mechanism { name: "PLAIN", rfc: 4616, by: By::Plain, offered: |offer| offer.private, begin: |_| Exchange::Plain },
    Mechanism {
        name: "LOGIN",
        rfc: 4954,
        by: By::Login,
        offered: |offer| offer.private && offer.speaker != Speaker::Pop3,
        begin: |_| Exchange::Name,
    },
];

/// What is offered to this connection now.
pub fn offered(offer: Offer) -> impl Iterator<Item = &'static Mechanism> {
    MECHANISMS.iter().filter(move |mechanism| offer.allowed.has(mechanism.by) && (mechanism.offered)(offer))
}

/// Appends their names, each behind `before`.
pub fn write_offered(out: &mut Vec<u8>, offer: Offer, before: &str) {
    for mechanism in offered(offer) {
        out.extend_from_slice(before.as_bytes());
        out.extend_from_slice(mechanism.name.as_bytes());
    }
}

/// Begins an exchange by the mechanism of that name, in any case. `None`: it is not offered here.
#[must_use]
pub fn begin(offer: Offer, name: &[u8]) -> Option<Exchange> {
    let asked = |mechanism: &&Mechanism| mechanism.name.as_bytes().eq_ignore_ascii_case(name);
    let mechanism = offered(offer).find(asked)?;
    (bugs::mechanism_out() != Some(mechanism.name)).then(|| (mechanism.begin)(offer))
}

/// Who wants to come in, and what proves it; not verified yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// As the client spelt it, any octets but NUL; `user@domain`.
    pub name: Vec<u8>,
    /// How.
    pub by: By,
    /// What proves it.
    pub evidence: Evidence,
}

/// What proves a name.
#[derive(Clone, PartialEq, Eq)]
pub enum Evidence {
    /// Cleared from memory when dropped.
    Password(Zeroizing<Vec<u8>>),
    /// That a password is known.
    Proof(Proof),
}

impl Login {
    /// A name and a password.
    #[must_use]
    pub fn with_password(name: Vec<u8>, by: By, password: Zeroizing<Vec<u8>>) -> Login {
        Login { name, by, evidence: Evidence::Password(password) }
    }

    /// True if it comes with this very password. For scripted worlds.
    #[must_use]
    pub fn has_password(&self, password: &[u8]) -> bool {
        matches!(&self.evidence, Evidence::Password(given) if given[..] == *password)
    }
}

/// An exchange under way: what is waited for.
#[derive(Debug)]
pub enum Exchange {
    /// The response of PLAIN.
    Plain,
    /// LOGIN's first answer.
    Name,
    /// LOGIN's second answer; the first is here.
    Password(Box<[u8]>),
    /// The first message of SCRAM.
    ScramFirst {
        /// It binds to the channel.
        plus: bool,
        /// The one that does was offered.
        plus_offered: bool,
    },
    /// Keys.
    ScramKeys(Box<First>),
    /// The last message of SCRAM.
    ScramLast(Box<Second>, By),
    /// Nothing but that the client has seen our proof.
    ScramSeen(Box<Login>),
}

/// What comes next.
#[derive(Debug)]
pub enum Next {
    /// Say this, in base64, and wait for a response.
    Challenge(Exchange, Vec<u8>),
    /// Ask the world for the keys of this name, for [`Exchange::keys`].
    Keys(Exchange, Vec<u8>),
    /// Ask the world whether this is somebody.
    Login(Login),
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
    /// The client was told of less than we offered (RFC 5802 §6).
    Downgrade,
}

impl Exchange {
    /// What is said, in base64, to who gave no initial response.
    #[must_use]
    pub fn opening(&self) -> &'static [u8] {
        match self {
            // `Username:`
            Exchange::Name => b"VXNlcm5hbWU6",
            _ => b"",
        }
    }

    /// The client says this, in base64.
    ///
    /// # Errors
    /// As the variants of [`Fault`] say.
    pub fn respond(self, base64: &[u8]) -> Result<Next, Fault> {
        Ok(match self {
            Exchange::Plain => Next::Login(plain(base64)?),
            Exchange::Name => {
                let name = word(base64)?.as_slice().into();
                // `Password:`
                Next::Challenge(Exchange::Password(name), b"UGFzc3dvcmQ6".to_vec())
            }
            Exchange::Password(name) => Next::Login(Login::with_password(name.into(), By::Login, word(base64)?)),
            Exchange::ScramFirst { plus, plus_offered } => {
                let first = First::read(&decoded(base64)?, plus, plus_offered)?;
                let name = first.name().to_vec();
                Next::Keys(Exchange::ScramKeys(Box::new(first)), name)
            }
            // Nobody is heard before the keys are here.
            Exchange::ScramKeys(_) => return Err(Fault::Form),
            Exchange::ScramLast(second, by) => {
                let (proof, said) = second.verify(&decoded(base64)?)?;
                let holds = proof.holds;
                let login = Login { name: second.into_name(), by, evidence: Evidence::Proof(proof) };
                if holds {
                    Next::Challenge(Exchange::ScramSeen(Box::new(login)), STANDARD.encode(said).into_bytes())
                } else {
                    Next::Login(login)
                }
            }
            Exchange::ScramSeen(login) => {
                if !decoded(base64)?.is_empty() {
                    return Err(Fault::Form);
                }
                Next::Login(*login)
            }
        })
    }

    /// The world knows this of the name that was asked for.
    ///
    /// # Errors
    /// `Form` where nobody waits for keys.
    pub fn keys(self, known: Known) -> Result<Next, Fault> {
        let Exchange::ScramKeys(first) = self else { return Err(Fault::Form) };
        let by = if first.binds() { By::ScramPlus } else { By::Scram };
        let (second, said) = first.answer(known);
        Ok(Next::Challenge(Exchange::ScramLast(Box::new(second), by), STANDARD.encode(said).into_bytes()))
    }
}

/// The response of PLAIN: authorization identity, NUL, name, NUL, password (RFC 4616 §2).
fn plain(base64: &[u8]) -> Result<Login, Fault> {
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
    Ok(Login::with_password(name.to_vec(), By::Plain, Zeroizing::new(password.to_vec())))
}

/// The response to one prompt of LOGIN, a mechanism that was never more than a draft and that mail programs still speak.
fn word(base64: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
    decoded(base64).and_then(|text| if text.contains(&0) { Err(Fault::Form) } else { Ok(text) })
}

/// `=` alone is the empty response (RFC 4954 §4).
fn decoded(base64: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let text = if base64 == b"=" { Vec::new() } else { STANDARD.decode(base64).map_err(|_| Fault::NotBase64)? };
    Ok(Zeroizing::new(text))
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match &self.evidence {
            Evidence::Password(_) => "a password".to_owned(),
            Evidence::Proof(proof) => format!("{proof:?}"),
        };
        write!(f, "Login {{ name: \"{}\", by: {:?}, {how} }}", self.name.escape_ascii(), self.by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIVATE: Offer =
        Offer { speaker: Speaker::Smtp, private: true, keys: true, binds: true, allowed: Allowed::ALL };

    #[test]
    fn plain_has_three_fields() {
        let read = |text: &[u8]| plain(STANDARD.encode(text).as_bytes());
        let login = read(b"\0alice\0secret").expect("a login");
        assert!(login.name == b"alice" && login.has_password(b"secret"));
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

    #[test]
    fn what_is_offered_follows_from_what_a_connection_can_have() {
        let names = |offer| offered(offer).map(|mechanism| mechanism.name).collect::<Vec<_>>();
        assert_eq!(names(PRIVATE), ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"]);
        assert_eq!(names(Offer { binds: false, ..PRIVATE }), ["SCRAM-SHA-256", "PLAIN", "LOGIN"]);
        assert_eq!(names(Offer { keys: false, ..PRIVATE }), ["PLAIN", "LOGIN"]);
        assert_eq!(names(Offer { keys: false, speaker: Speaker::Pop3, ..PRIVATE }), ["PLAIN"]);
        assert!(names(Offer { private: false, ..PRIVATE }).is_empty(), "A013");
        let of = |names: &[&'static str]| Allowed::named(names.iter().copied()).expect("ours");
        assert_eq!(names(Offer { allowed: of(&["plain", "SCRAM-SHA-256"]), ..PRIVATE }), ["SCRAM-SHA-256", "PLAIN"]);
        assert!(names(Offer { keys: false, allowed: of(&["SCRAM-SHA-256"]), ..PRIVATE }).is_empty());
        assert_eq!(Allowed::named(["PLAIN", "CRAM-MD5"]), None);
    }

    #[test]
    fn a_client_that_sees_no_plus_because_it_is_switched_off_was_not_cheated() {
        // The client could bind and was not offered to: "y" (RFC 5802 §6).
        let first = STANDARD.encode(b"y,,n=alice,r=nonce");
        let answer = |offer| begin(offer, b"SCRAM-SHA-256").expect("offered").respond(first.as_bytes());
        assert!(matches!(answer(PRIVATE), Err(Fault::Downgrade)));
        let allowed = Allowed::named(["SCRAM-SHA-256", "PLAIN"]).expect("ours");
        assert!(matches!(answer(Offer { allowed, ..PRIVATE }), Ok(Next::Keys(..))));
    }

    #[test]
    fn what_is_not_offered_cannot_be_begun() {
        assert!(begin(PRIVATE, b"scram-sha-256").is_some());
        assert!(begin(Offer { keys: false, ..PRIVATE }, b"SCRAM-SHA-256").is_none());
        assert!(begin(Offer { private: false, ..PRIVATE }, b"PLAIN").is_none());
        for name in [&b""[..], b"CRAM-MD5", b"SCRAM-SHA-1", b"EXTERNAL", b"PLAI", b"PLAIN "] {
            assert!(begin(PRIVATE, name).is_none(), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn every_mechanism_comes_from_an_rfc_that_we_cite() {
        let index = include_str!("../../tests/rfc/index.tsv");
        for mechanism in MECHANISMS {
            let cited = index.lines().any(|line| line.split('\t').next() == Some(&mechanism.rfc.to_string()));
            assert!(cited, "RFC {} of {}", mechanism.rfc, mechanism.name);
        }
    }
}
