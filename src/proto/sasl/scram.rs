//! SCRAM-SHA-256 as its server sees it, as a value (RFC 5802, RFC 7677; channel binding of RFC 9266).
//!
//! ```text
//!   client-first ─► First ── keys of that name, a nonce ─► Second ── client-final ─► Proof, and our own signature
//! ```
//!
//! - No password is here, only what follows from one: [`Keys`]. Those of nobody look like anybody's and prove nothing.
//! - The verdict is not said here. [`Second::verify`] always computes the same, whatever the keys are.
//! - A client that could bind to the channel and believes that we cannot has been lied to: [`Fault::Downgrade`]
//!   (RFC 5802 §6).
//! - *Liberty*: names and passwords are taken as they come, without SASLprep (RFC 4013).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Fault;

/// The kind of channel binding that there is here (RFC 9266 §2).
pub const BINDING: &[u8] = b"tls-exporter";
/// Octets of it.
pub const BINDING_BYTES: usize = 32;
/// Octets of chance in our part of a nonce.
pub const NONCE_BYTES: usize = 18;
/// Octets of a client's part of a nonce. Longer: [`Fault::Form`].
const CLIENT_NONCE_BYTES_MAX: usize = 512;
/// Octets of one message of a client. Longer: [`Fault::Form`].
const MESSAGE_BYTES_MAX: usize = 2_048;

/// What a server keeps of a password (RFC 5802 §3).
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// PBKDF2 rounds.
    pub iterations: u32,
    /// Salt.
    pub salt: Vec<u8>,
    /// H(ClientKey).
    pub stored_key: [u8; 32],
    /// HMAC(SaltedPassword, "Server Key").
    pub server_key: [u8; 32],
}

/// What the world knows of a name, and what it adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its keys, or those of nobody.
    pub keys: Keys,
    /// Chance.
    pub nonce: [u8; NONCE_BYTES],
    /// What this connection's TLS exports, where it can.
    pub binding: Option<[u8; BINDING_BYTES]>,
}

/// What a client said first.
pub struct First {
    /// The header of GS2 with both its commas.
    header: Vec<u8>,
    name: Vec<u8>,
    nonce: Vec<u8>,
    /// Its message without the header.
    bare: Vec<u8>,
    binds: bool,
}

/// Waits for the client's proof.
pub struct Second {
    name: Vec<u8>,
    keys: Keys,
    /// Both parts.
    nonce: Vec<u8>,
    /// `client-first-message-bare , server-first-message`
    so_far: Vec<u8>,
    /// What `c=` must hold.
    bound: Vec<u8>,
    /// False: this connection has nothing to bind to.
    can_bind: bool,
}

/// What a client has shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof {
    /// True if it knows a password of these keys.
    pub holds: bool,
    /// Of which keys: those that are there when the login is decided must be the same.
    pub stored_key: [u8; 32],
}

impl Keys {
    /// The keys of a password: slow on purpose.
    #[must_use]
    pub fn derive(password: &[u8], salt: &[u8], iterations: u32) -> Keys {
        let mut salted = Zeroizing::new([0; 32]);
        pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut *salted);
        let client_key = Zeroizing::new(hmac(&*salted, &[b"Client Key"]));
        Keys {
            iterations,
            salt: salt.to_vec(),
            stored_key: Sha256::digest(*client_key).into(),
            server_key: hmac(&*salted, &[b"Server Key"]),
        }
    }

    /// The keys of a name that has none: always the same for one name and one `secret`, and no password's.
    #[must_use]
    pub fn of_nobody(secret: &[u8], name: &[u8], salt_bytes: usize, iterations: u32) -> Keys {
        let one = |what: &[u8]| hmac(secret, &[what, b"\0", name]);
        let salt = one(b"salt")[..salt_bytes.min(32)].to_vec();
        Keys { iterations, salt, stored_key: one(b"stored"), server_key: one(b"server") }
    }
}

impl First {
    /// Reads `client-first-message`. `plus`: the mechanism binds to the channel; `plus_offered`: that one was offered.
    ///
    /// # Errors
    /// `Form`; `ForAnother`: somebody acts for another; `Downgrade`.
    pub fn read(message: &[u8], plus: bool, plus_offered: bool) -> Result<First, Fault> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(Fault::Form);
        }
        let mut commas = memchr::memchr_iter(b',', message);
        let (Some(first), Some(second)) = (commas.next(), commas.next()) else { return Err(Fault::Form) };
        let (flag, acting_for) = (&message[..first], &message[first + 1..second]);
        match (flag, plus) {
            (b"n", false) => {}
            // It could, and thinks that we cannot: somebody took that out of what we said (RFC 5802 §6).
            (b"y", false) if plus_offered => return Err(Fault::Downgrade),
            (b"y", false) => {}
            (_, true) if flag.strip_prefix(b"p=") == Some(BINDING) => {}
            _ => return Err(Fault::Form),
        }
        let bare = &message[second + 1..];
        let mut fields = bare.split(|b| *b == b',');
        let name = fields.next().and_then(|field| field.strip_prefix(b"n=")).ok_or(Fault::Form)?;
        let nonce = fields.next().and_then(|field| field.strip_prefix(b"r=")).ok_or(Fault::Form)?;
        if nonce.is_empty() || nonce.len() > CLIENT_NONCE_BYTES_MAX || !nonce.iter().all(u8::is_ascii_graphic) {
            return Err(Fault::Form);
        }
        let name = saslname(name).filter(|name| !name.is_empty()).ok_or(Fault::Form)?;
        if !acting_for.is_empty() {
            let another = acting_for.strip_prefix(b"a=").and_then(saslname).ok_or(Fault::Form)?;
            if another != name {
                return Err(Fault::ForAnother);
            }
        }
        let header = message[..=second].to_vec();
        Ok(First { header, name, nonce: nonce.to_vec(), bare: bare.to_vec(), binds: plus })
    }

    /// Whose keys are wanted.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// True if it binds to the channel.
    #[must_use]
    pub fn binds(&self) -> bool {
        self.binds
    }

    /// Answers with `server-first-message`.
    #[must_use]
    pub fn answer(self, known: Known) -> (Second, Vec<u8>) {
        let Known { keys, nonce, binding } = known;
        let First { header, name, nonce: mut both, bare, binds } = self;
        both.extend_from_slice(STANDARD.encode(nonce).as_bytes());
        let salt = STANDARD.encode(&keys.salt);
        let said = [b"r=", &both[..], b",s=", salt.as_bytes(), b",i=", keys.iterations.to_string().as_bytes()].concat();
        let so_far = [&bare[..], b",", &said].concat();
        let mut bound = header;
        if let (true, Some(binding)) = (binds, binding) {
            bound.extend_from_slice(&binding);
        }
        let can_bind = !binds || binding.is_some();
        (Second { name, keys, nonce: both, so_far, bound, can_bind }, said)
    }
}

impl Second {
    /// Reads `client-final-message`; says what it has shown, and `server-final-message` for a client that has shown it all.
    ///
    /// # Errors
    /// `Form`.
    pub fn verify(&self, message: &[u8]) -> Result<(Proof, Vec<u8>), Fault> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(Fault::Form);
        }
        let at = memchr::memmem::rfind(message, b",p=").ok_or(Fault::Form)?;
        let (without_proof, proof) = (&message[..at], &message[at + 3..]);
        let mut fields = without_proof.split(|b| *b == b',');
        let bound = fields.next().and_then(|field| field.strip_prefix(b"c=")).ok_or(Fault::Form)?;
        let nonce = fields.next().and_then(|field| field.strip_prefix(b"r=")).ok_or(Fault::Form)?;
        let bound = STANDARD.decode(bound).map_err(|_| Fault::Form)?;
        let proof: [u8; 32] = STANDARD.decode(proof).ok().and_then(|p| p.try_into().ok()).ok_or(Fault::Form)?;
        let all = [&self.so_far[..], b",", without_proof].concat();
        let signature = hmac(&self.keys.stored_key, &[&all]);
        let mut client_key = Zeroizing::new(proof);
        client_key.iter_mut().zip(signature).for_each(|(p, s)| *p ^= s);
        let shown: [u8; 32] = Sha256::digest(*client_key).into();
        let holds =
            same(&shown, &self.keys.stored_key) & same(&bound, &self.bound) & same(nonce, &self.nonce) & self.can_bind;
        let ours = hmac(&self.keys.server_key, &[&all]);
        let said = [b"v=", STANDARD.encode(ours).as_bytes()].concat();
        Ok((Proof { holds, stored_key: self.keys.stored_key }, said))
    }

    /// Whose proof it is.
    #[must_use]
    pub fn into_name(self) -> Vec<u8> {
        self.name
    }
}

/// A name with `=2C` and `=3D` for comma and equals sign (RFC 5802 §5.1). `None`: it is none.
fn saslname(text: &[u8]) -> Option<Vec<u8>> {
    let mut name = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, more)) = rest.split_first() {
        match (first, more) {
            (b'=', [b'2', b'C', after @ ..]) => {
                name.push(b',');
                rest = after;
            }
            (b'=', [b'3', b'D', after @ ..]) => {
                name.push(b'=');
                rest = after;
            }
            (b'=' | b',' | 0, _) => return None,
            (other, _) => {
                name.push(*other);
                rest = more;
            }
        }
    }
    Some(name)
}

fn hmac(key: &[u8], message: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    message.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// Compared in a time that depends on lengths alone.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && std::hint::black_box(a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b))) == 0
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys {{ iterations: {}, .. }}", self.iterations)
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proof {{ holds: {}, .. }}", self.holds)
    }
}

impl fmt::Debug for First {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "First {{ name: \"{}\", .. }}", self.name.escape_ascii())
    }
}

impl fmt::Debug for Second {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Second {{ name: \"{}\", .. }}", self.name.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLIENT_NONCE: &[u8] = b"rOprNGfwEbeRWgbNEkqO";
    const SERVER_NONCE: &[u8] = b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

    fn pencil() -> Keys {
        Keys::derive(b"pencil", &STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64"), 4_096)
    }

    /// As of RFC 7677 §3, whose nonce of the server is no base64.
    fn second(keys: Keys) -> Second {
        let first = First::read(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", false, false).expect("a first message");
        assert_eq!(first.name(), b"user");
        let nonce = [CLIENT_NONCE, SERVER_NONCE].concat();
        let said = [b"r=", &nonce[..], b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"].concat();
        let so_far = [&first.bare[..], b",", &said].concat();
        Second { name: first.name, keys, nonce, so_far, bound: first.header, can_bind: true }
    }

    fn final_message(proof: &str) -> Vec<u8> {
        [b"c=biws,r=", CLIENT_NONCE, SERVER_NONCE, b",p=", proof.as_bytes()].concat()
    }

    #[test]
    fn the_dialogue_of_rfc_7677() {
        let second = second(pencil());
        let (proof, said) =
            second.verify(&final_message("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")).expect("a final message");
        assert!(proof.holds);
        assert_eq!(said, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert_eq!(second.into_name(), b"user");
    }

    #[test]
    fn another_proof_nonce_binding_or_key_shows_nothing() {
        let right = final_message("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let holds = |second: &Second, message: &[u8]| second.verify(message).map(|(proof, _)| proof.holds);
        for (from, to) in [("p=dH", "p=eH"), ("r=rO", "r=rP"), ("c=biws", "c=eSws"), ("$k0", "$k1")] {
            let text = String::from_utf8(right.clone()).expect("ASCII").replacen(from, to, 1);
            assert_eq!(holds(&second(pencil()), text.as_bytes()), Ok(false), "{to}");
        }
        let nobody = Keys::of_nobody(b"secret", b"user", 16, 4_096);
        assert_eq!(holds(&second(nobody), &right), Ok(false));
        let unbound = Second { can_bind: false, ..second(pencil()) };
        assert_eq!(holds(&unbound, &right), Ok(false));
    }

    #[test]
    fn nobody_has_keys_that_stay_the_same_and_are_another_ones_for_another_name() {
        let keys = |secret: &[u8], name: &[u8]| Keys::of_nobody(secret, name, 16, 15_000);
        let one = keys(b"secret", b"mallory@ringpost.test");
        assert_eq!(one, keys(b"secret", b"mallory@ringpost.test"));
        assert_eq!((one.salt.len(), one.iterations), (16, 15_000));
        for other in [keys(b"secret", b"mallory@ringpost.tesu"), keys(b"another", b"mallory@ringpost.test")] {
            assert!(one.salt != other.salt && one.stored_key != other.stored_key && one.server_key != other.server_key);
        }
    }

    #[test]
    fn what_binds_to_the_channel_is_held_against_it() {
        let binding = [7; BINDING_BYTES];
        let known = |binding| Known { keys: pencil(), nonce: [1; NONCE_BYTES], binding };
        let play = |theirs: [u8; BINDING_BYTES], ours| {
            let first = First::read(b"p=tls-exporter,,n=user,r=abc", true, true).expect("a first message");
            let (second, said) = first.answer(known(ours));
            let said = String::from_utf8(said).expect("ASCII");
            let nonce = said.strip_prefix("r=").and_then(|s| s.split(',').next()).expect("a nonce").to_owned();
            assert!(said.ends_with(",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096") && nonce.starts_with("abc"), "{said}");
            let c = STANDARD.encode([b"p=tls-exporter,,", &theirs[..]].concat());
            let without = format!("c={c},r={nonce}");
            let all = format!("n=user,r=abc,{said},{without}");
            let mut salted = [0; 32];
            pbkdf2::pbkdf2_hmac::<Sha256>(b"pencil", &pencil().salt, 4_096, &mut salted);
            let client_key = hmac(&salted, &[b"Client Key"]);
            let signature = hmac(&Sha256::digest(client_key), &[all.as_bytes()]);
            let proof: Vec<u8> = client_key.iter().zip(signature).map(|(k, s)| k ^ s).collect();
            let message = format!("{without},p={}", STANDARD.encode(proof));
            second.verify(message.as_bytes()).expect("a final message").0.holds
        };
        assert!(play(binding, Some(binding)));
        assert!(!play([8; BINDING_BYTES], Some(binding)), "a channel between us and somebody in the middle");
        assert!(!play(binding, None), "nothing to bind to");
    }

    #[test]
    fn first_messages_that_are_none_are_refused() {
        let read = |text: &[u8], plus, offered| First::read(text, plus, offered).map(|first| first.name);
        assert_eq!(read(b"n,,n=us=2Cer=3D,r=x", false, true), Ok(b"us,er=".to_vec()));
        assert_eq!(read(b"n,a=user,n=user,r=x", false, true), Ok(b"user".to_vec()));
        assert_eq!(read(b"n,,n=user,r=x,ext=1", false, true), Ok(b"user".to_vec()));
        assert_eq!(read(b"y,,n=user,r=x", false, false), Ok(b"user".to_vec()));
        assert_eq!(read(b"y,,n=user,r=x", false, true), Err(Fault::Downgrade));
        assert_eq!(read(b"n,a=bob,n=user,r=x", false, true), Err(Fault::ForAnother));
        for (text, plus) in [
            (&b""[..], false),
            (b",", false),
            (b"n", false),
            (b"n,,", false),
            (b"n,,n=user", false),
            (b"n,,n=,r=x", false),
            (b"n,,n=user,r=", false),
            (b"n,,n=user,r=x y", false),
            (b"n,,m=1,n=user,r=x", false),
            (b"n,,n=us=er,r=x", false),
            (b"n,,n=us=2,r=x", false),
            (b"n,,n=us\0er,r=x", false),
            (b"n,user,n=user,r=x", false),
            (b"x,,n=user,r=x", false),
            (b"p=tls-exporter,,n=user,r=x", false),
            (b"n,,n=user,r=x", true),
            (b"y,,n=user,r=x", true),
            (b"p=tls-unique,,n=user,r=x", true),
        ] {
            assert_eq!(read(text, plus, true), Err(Fault::Form), "{}", text.escape_ascii());
        }
        let long = [b"n,,n=user,r=", &[b'x'; CLIENT_NONCE_BYTES_MAX + 1][..]].concat();
        assert_eq!(read(&long, false, true), Err(Fault::Form));
        let long = [b"n,,n=", &[b'x'; MESSAGE_BYTES_MAX][..], b",r=x"].concat();
        assert_eq!(read(&long, false, true), Err(Fault::Form));
    }

    #[test]
    fn final_messages_that_are_none_are_refused() {
        for text in
            [&b""[..], b",p=", b"c=biws,r=x", b"c=biws,p=AA==", b"c=?,r=x,p=AA==", b"r=x,c=biws,p=AA==", b"p=AA=="]
        {
            assert_eq!(second(pencil()).verify(text), Err(Fault::Form), "{}", text.escape_ascii());
        }
        let short = final_message("AA==");
        assert_eq!(second(pencil()).verify(&short), Err(Fault::Form));
    }

    proptest! {
        #[test]
        fn nothing_a_client_says_panics(first: Vec<u8>, last: Vec<u8>, plus: bool, offered: bool) {
            for first in [first.clone(), [b"n,,n=u,r=", &first[..]].concat(), [b"p=tls-exporter,,", &first[..]].concat()] {
                if let Ok(first) = First::read(&first, plus, offered) {
                    let known = Known { keys: pencil(), nonce: [0; NONCE_BYTES], binding: None };
                    let (second, _) = first.answer(known);
                    for last in [last.clone(), [b"c=biws,r=", &last[..], b",p=AAAA"].concat()] {
                        prop_assert!(second.verify(&last).map_or(true, |(proof, _)| !proof.holds));
                    }
                }
            }
        }
    }
}
