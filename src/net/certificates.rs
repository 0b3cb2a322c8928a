//! The certificates that doors show, and which of them a client is shown.
//!
//! ```text
//!   a client's hello ─► the name it asks for ──► certificates of that very name ─┐
//!                       │                  └──► of a wildcard that covers it ────┤ the first whose key the client
//!                       └── none, or unknown ─► the default: the first, and ─────┘ can verify: ECDSA before RSA
//!                                               others of the same name
//! ```
//!
//! Rules:
//!
//! - A name has one certificate for each kind of key in force: of several the one that was listed first. ECDSA comes before RSA,
//!   whatever their order, because it is cheaper to sign with; who cannot verify it gets the other.
//! - All doors of all shards look at one [`Shelf`]. What is put there is whole and was held against itself before; connections
//!   that have begun keep what they have.
//! - The name asked for is looked up and kept nowhere (A096). One that nobody knows gets the default, as RFC 6066 §3 allows.
//!
//! Nothing here judges a certificate's dates: that is the clients' business, and the alarm's ([`Identity::validity`]).

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};
use webpki::EndEntityCert;

use super::validity::Validity;

/// Kinds of keys, in the order in which they are preferred. Few clients that offer Ed25519 have a root that would vouch for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// On a curve of NIST.
    Ecdsa,
    /// RSA, of any size.
    Rsa,
    /// Ed25519 and what else there may be.
    Other,
}

impl KeyKind {
    /// The word in figures and lists.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            KeyKind::Ecdsa => "ecdsa",
            KeyKind::Rsa => "rsa",
            KeyKind::Other => "other",
        }
    }
}

/// A certificate with its key, read and found to fit one another.
pub struct Identity {
    certified: Arc<CertifiedKey>,
    file: PathBuf,
    names: Vec<String>,
    kind: KeyKind,
    validity: Option<Validity>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("file", &self.file).field("names", &self.names).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads a certificate chain (PEM, leaf first) and its private key (PEM).
    ///
    /// # Errors
    /// A sentence that names the file and says what is wrong with it.
    pub fn read(cert: &Path, key: &Path) -> Result<Identity, String> {
        let chain = CertificateDer::pem_file_iter(cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|why| format!("{}: not a certificate in PEM form: {why}", cert.display()))?;
        let Some(leaf) = chain.first() else {
            return Err(format!("{}: there is no certificate in it", cert.display()));
        };
        let names = EndEntityCert::try_from(leaf)
            .map_err(|why| format!("{}: its first certificate cannot be read: {why}", cert.display()))?
            .valid_dns_names()
            .map(folded)
            .collect();
        let key_read = PrivateKeyDer::from_pem_file(key)
            .map_err(|why| format!("{}: not a private key in PEM form: {why}", key.display()))?;
        let validity = Validity::of_chain(chain.iter().map(|one| &one[..]));
        let certified = CertifiedKey::from_der(chain, key_read, &aws_lc_rs::default_provider())
            .map_err(|why| format!("{} and {} cannot be used together: {why}", cert.display(), key.display()))?;
        let kind = match certified.key.algorithm() {
            SignatureAlgorithm::ECDSA => KeyKind::Ecdsa,
            SignatureAlgorithm::RSA => KeyKind::Rsa,
            _ => KeyKind::Other,
        };
        Ok(Identity { certified: Arc::new(certified), file: cert.to_path_buf(), names, kind, validity })
    }

    /// The names that it holds for, in small letters; a wildcard as `*.example.org`. Empty: addresses alone, or nothing.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Its key's kind.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The file it was read from.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// From when to when all of its chain holds. `None`: that cannot be read.
    #[must_use]
    pub fn validity(&self) -> Option<Validity> {
        self.validity
    }

    fn suits(&self, schemes: &[SignatureScheme]) -> bool {
        self.certified.key.choose_scheme(schemes).is_some()
    }
}

/// As names are compared: without the dot of the root, in small letters.
fn folded(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// One or more certificates, and what each is for.
pub struct Certificates {
    all: Vec<Identity>,
    /// Name → positions in `all`, the preferred first, one of each kind.
    named: HashMap<String, Vec<usize>>,
    /// What comes behind `*.` → the same.
    wild: HashMap<String, Vec<usize>>,
    /// Who asks for no name, or one that nobody has.
    default: Vec<usize>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.all).finish()
    }
}

impl Certificates {
    /// The first is the default.
    ///
    /// # Errors
    /// A sentence that names the file: there is none, or one that is not the first holds for no name, so that it would
    /// never be shown.
    pub fn of(all: Vec<Identity>) -> Result<Certificates, String> {
        let Some(first) = all.first() else { return Err("there is no certificate".to_owned()) };
        if let Some(nameless) = all.iter().skip(1).find(|one| one.names.is_empty()) {
            return Err(nobody_asks_for(&nameless.file));
        }
        let first_name = first.names.first().cloned();
        let (mut named, mut wild) = (HashMap::new(), HashMap::new());
        for (at, one) in all.iter().enumerate() {
            for name in &one.names {
                let (map, name): (&mut HashMap<String, Vec<usize>>, _) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut wild, parent),
                    None => (&mut named, name.as_str()),
                };
                let there = map.entry(name.to_owned()).or_default();
                if !there.iter().any(|other| all[*other].kind == one.kind) {
                    there.push(at);
                }
            }
        }
        for list in named.values_mut().chain(wild.values_mut()) {
            list.sort_by_key(|at| all[*at].kind);
        }
        let of_first = first_name.and_then(|name| match name.strip_prefix("*.") {
            Some(parent) => wild.get(parent).cloned(),
            None => named.get(&name).cloned(),
        });
        Ok(Certificates { default: of_first.unwrap_or_else(|| vec![0]), all, named, wild })
    }

    /// All of them, as they were listed.
    #[must_use]
    pub fn all(&self) -> &[Identity] {
        &self.all
    }

    /// What a client is shown that asks for `name` and can verify `schemes`. Where it can verify nothing that we have it gets
    /// what it would get otherwise, and TLS says what is amiss.
    #[must_use]
    pub fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> &Identity {
        let name = name.map(folded);
        let named = name.as_ref().and_then(|name| self.named.get(name));
        // A wildcard stands for one label (RFC 9525 §6.3).
        let wild = name.as_ref().and_then(|name| self.wild.get(name.split_once('.')?.1));
        let candidates = || [named, wild, Some(&self.default)].into_iter().flatten().flatten().map(|at| &self.all[*at]);
        candidates().find(|one| one.suits(schemes)).or_else(|| candidates().next()).expect("the default has one")
    }

    /// Name by name the certificate that is in force for each kind of key, sorted.
    #[must_use]
    pub fn in_force(&self) -> Vec<(String, &Identity)> {
        let named = self.named.iter().map(|(name, list)| (name.clone(), list));
        let wild = self.wild.iter().map(|(parent, list)| (format!("*.{parent}"), list));
        let each = named.chain(wild).flat_map(|(name, list)| list.iter().map(move |at| (name.clone(), &self.all[*at])));
        let mut each: Vec<_> = each.collect();
        if self.all[0].names.is_empty() {
            each.push((String::new(), &self.all[0]));
        }
        each.sort_by(|(a, one), (b, other)| (a, one.kind).cmp(&(b, other.kind)));
        each
    }
}

/// What is wrong with a certificate that is not the first and holds for no name.
#[must_use]
pub fn nobody_asks_for(file: &Path) -> String {
    format!("{}: it holds for no DNS name, so no client would ever be shown it: only the first may", file.display())
}

/// Reads the certificates anew, from wherever they are.
pub type Reader = Box<dyn Fn() -> Result<Certificates, String> + Send + Sync>;

/// What all doors of all shards look at.
pub struct Shelf {
    now: RwLock<Arc<Certificates>>,
    /// One reads at a time, so that what was read last is what stays.
    reader: Mutex<Option<Reader>>,
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.now().fmt(f)
    }
}

impl Shelf {
    /// With these on it. `reader`: what reads them anew.
    #[must_use]
    pub fn with(certificates: Certificates, reader: Option<Reader>) -> Shelf {
        Shelf { now: RwLock::new(Arc::new(certificates)), reader: Mutex::new(reader) }
    }

    /// Reads all certificates anew and puts them in force for handshakes that begin from now on, on all shards at once.
    /// Waits for files: not for a shard's own thread.
    ///
    /// # Errors
    /// A sentence that names what is wrong. What was in force stays in force.
    ///
    /// # Panics
    /// Never: no holder of the lock of what is in force can panic.
    pub fn reload(&self) -> Result<Arc<Certificates>, String> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = reader.as_ref().ok_or("these certificates are from no files")?;
        let read = Arc::new(reader()?);
        *self.now.write().expect("no holder of this lock can panic") = read.clone();
        Ok(read)
    }

    /// What is in force.
    ///
    /// # Panics
    /// Never: no holder of the lock can panic.
    #[must_use]
    pub fn now(&self) -> Arc<Certificates> {
        self.now.read().expect("no holder of this lock can panic").clone()
    }
}

impl ResolvesServerCert for Shelf {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now().choose(hello.server_name(), hello.signature_schemes()).certified.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};

    const ECDSA: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;
    const RSA: SignatureScheme = SignatureScheme::RSA_PSS_SHA256;
    const BOTH: &[SignatureScheme] = &[RSA, ECDSA];

    /// A certificate called `file` with a key of `algorithm` for these names.
    fn made(file: &str, algorithm: &'static rcgen::SignatureAlgorithm, names: &[&str]) -> Identity {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = (dir.path().join(file), dir.path().join("key.pem"));
        let pair = KeyPair::generate_for(algorithm).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        std::fs::write(&cert, CertificateParams::new(names).unwrap().self_signed(&pair).unwrap().pem()).unwrap();
        std::fs::write(&key, pair.serialize_pem()).unwrap();
        Identity::read(&cert, &key).unwrap()
    }

    fn shown<'a>(of: &'a Certificates, name: Option<&str>, schemes: &[SignatureScheme]) -> &'a str {
        of.choose(name, schemes).file().file_name().unwrap().to_str().unwrap()
    }

    #[test]
    fn a_name_gets_its_own_certificate_a_wildcard_one_label_and_everybody_else_the_first() {
        let of = Certificates::of(vec![
            made("first", &PKCS_ECDSA_P256_SHA256, &["mx.example.org"]),
            made("wild", &PKCS_ECDSA_P256_SHA256, &["*.example.net"]),
            made("mail", &PKCS_ECDSA_P256_SHA256, &["Mail.Example.NET", "imap.example.com"]),
        ])
        .unwrap();
        for (name, file) in [
            ("mx.example.org", "first"),
            ("MX.Example.ORG", "first"),
            ("mail.example.net", "mail"),
            ("mail.example.net.", "mail"),
            ("imap.example.com", "mail"),
            ("pop.example.net", "wild"),
            ("a.b.example.net", "first"),
            ("example.net", "first"),
            ("*.example.net", "wild"),
            ("elsewhere.test", "first"),
            ("", "first"),
            (".", "first"),
        ] {
            assert_eq!(shown(&of, Some(name), BOTH), file, "{name}");
        }
        assert_eq!(shown(&of, None, BOTH), "first");
    }

    #[test]
    fn of_two_kinds_of_keys_a_client_gets_the_one_that_it_can_verify() {
        let of = Certificates::of(vec![
            made("rsa", &PKCS_RSA_SHA256, &["mx.example.org"]),
            made("ecdsa", &PKCS_ECDSA_P256_SHA256, &["mx.example.org"]),
            made("late", &PKCS_ECDSA_P256_SHA256, &["mx.example.org"]),
            made("only", &PKCS_ECDSA_P256_SHA256, &["mail.example.net"]),
            made("odd", &PKCS_ED25519, &["mail.example.net"]),
        ])
        .unwrap();
        for name in [Some("mx.example.org"), None, Some("elsewhere.test")] {
            assert_eq!(shown(&of, name, BOTH), "ecdsa", "{name:?}: the cheaper, and of two the first");
            assert_eq!(shown(&of, name, &[RSA]), "rsa", "{name:?}");
        }
        let mail = Some("mail.example.net");
        assert_eq!(shown(&of, mail, BOTH), "only");
        assert_eq!(shown(&of, mail, &[SignatureScheme::ED25519]), "odd");
        assert_eq!(shown(&of, mail, &[RSA]), "rsa", "another name is better than no handshake");
        assert_eq!(shown(&of, mail, &[SignatureScheme::ED448]), "only", "TLS will say that it cannot be verified");
    }

    #[test]
    fn what_is_in_force_is_told_name_by_name_and_kind_by_kind() {
        let of = Certificates::of(vec![
            made("ecdsa", &PKCS_ECDSA_P256_SHA256, &["b.test", "*.a.test"]),
            made("rsa", &PKCS_RSA_SHA256, &["b.test"]),
            made("late", &PKCS_RSA_SHA256, &["b.test", "c.test"]),
        ])
        .unwrap();
        let told: Vec<_> = of.in_force().into_iter().map(|(name, one)| (name, one.kind().word())).collect();
        let expected = [("*.a.test", "ecdsa"), ("b.test", "ecdsa"), ("b.test", "rsa"), ("c.test", "rsa")];
        assert_eq!(told, expected.map(|(name, kind)| (name.to_owned(), kind)));
    }

    #[test]
    fn only_the_first_may_hold_for_no_name() {
        let nameless = || made("nameless", &PKCS_ECDSA_P256_SHA256, &["192.0.2.1"]);
        let named = || made("named", &PKCS_ECDSA_P256_SHA256, &["mx.example.org"]);
        let of = Certificates::of(vec![nameless(), named()]).unwrap();
        assert_eq!(shown(&of, None, BOTH), "nameless");
        assert_eq!(shown(&of, Some("mx.example.org"), BOTH), "named");
        assert_eq!(of.in_force().len(), 2);
        let error = Certificates::of(vec![named(), nameless()]).unwrap_err();
        assert!(error.contains("nameless: it holds for no DNS name"), "{error}");
        assert!(Certificates::of(Vec::new()).is_err());
    }
}
