//! Who comes in: a name and a password become an account at its home, or a refusal that tells nothing.
//!
//! ```text
//! name ──► directory ──► secrets from the owner's volume (here, or over the mesh) ──► side pool ──► Here | There
//!            │         └─ the very password that was right a moment ago: no hash (see `remembered`)
//!            └─ nobody: the same steps with the secrets of nobody, so that answer and time are the same (A111)
//! ```
//!
//! The password is verified on the accepting shard and wiped; only the account travels. Every login is counted and
//! leaves one event. The number of passwords being verified is bounded by the side pool's queue: beyond it, [`Login::Busy`].

use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::time::Duration;

use ringpost_storage::{AccountId, ReadError, VolumeId};
use zeroize::Zeroizing;

use super::{Arrival, Office, Reply, Request, Resident};
use crate::directory::secrets::{self, Password, Secrets};
use crate::directory::{Found, Home};
use crate::net::Wire;
use crate::observe::{self, Counter, Measure};
use crate::proto::contract::Privacy;
use crate::proto::sasl::scram::{Known, NONCE_BYTES, Proof};
use crate::proto::sasl::{self, Evidence};
use crate::shard::{self, MeshError, Moment, ShardId, SideError};

/// A login name, octets: local part, `@` and domain (RFC 5321 §4.5.3.1). Longer names are nobody's.
pub const LOGIN_NAME_BYTES_MAX: usize = 64 + 1 + 255;

/// Answers about keys come no sooner than this, milliseconds.
const KEYS_MS: u64 = 10;

/// How a login ended.
pub enum Login {
    /// The account lives on this shard.
    Here(Resident),
    /// The account lives on that shard: hand the connection over.
    There(ShardId, Arrival),
    /// Wrong name or wrong password; which of them is not said.
    Wrong,
    /// Too many passwords are being verified: come back later.
    Busy,
    /// The account's volume, or the directory, cannot be asked now: come back later.
    Unavailable,
}

/// Why an account's secrets are not known.
enum Unasked {
    /// Its shard has too much to do.
    Busy,
    /// They cannot be read, or its shard is gone.
    Unreadable,
}

impl Office {
    /// What SCRAM needs to know of a name: its keys, or those of nobody. `None`: not now.
    ///
    /// Answered no sooner than [`KEYS_MS`] after it was asked: an account that has to be read must not be told by the time it
    /// takes from one that is not there (A111).
    pub async fn keys(self: &Rc<Self>, wire: &Wire, name: &[u8]) -> Option<Box<Known>> {
        let name = self.full_name(name);
        let began = shard::now();
        let found = match self.look_up(&name) {
            Found::Home(home) => Some(home),
            Found::NotYetKnown if !self.directory(|d| d.complete(self.volume_count().into())) => return None,
            Found::Elsewhere | Found::Nobody | Found::NotYetKnown => None,
        };
        let asked = found.unwrap_or_else(|| self.home_of_nobody(&name));
        let encoded = self.secrets_of(asked).await.ok()?;
        let nobody = secrets::keys_of_nobody(self.secret().as_slice(), &name);
        let own = encoded.and_then(|encoded| Secrets::decode(&encoded).ok()).and_then(|secrets| secrets.scram);
        let mut nonce = [0; NONCE_BYTES];
        shard::random(&mut nonce);
        let known = Known { keys: own.unwrap_or(nobody), nonce, binding: wire.binding() };
        not_before(began, KEYS_MS).await;
        Some(Box::new(known))
    }

    /// Verifies a name and password. `name`: `user@domain` in any case, or `user` alone while there is exactly one domain.
    /// `wire`: where they came from. The event says whether they came by TLS (A013).
    pub async fn login(self: &Rc<Self>, wire: &Wire, login: sasl::Login) -> Login {
        let (peer, tls) = (wire.peer(), wire.privacy() == Privacy::Tls);
        let name = self.full_name(&login.name);
        let began = shard::now();
        let login = match login.evidence {
            Evidence::Password(password) => self.verified(&name, password).await,
            Evidence::Proof(proof) => {
                let login = self.proven(&name, &proof).await;
                not_before(began, KEYS_MS).await;
                login
            }
        };
        observe::took(Measure::Login, shard::now().since(began));
        let outcome = match &login {
            Login::Here(_) | Login::There(..) => "ok",
            Login::Wrong => "wrong",
            Login::Busy => "busy",
            Login::Unavailable => "unavailable",
        };
        if outcome == "ok" {
            observe::count(Counter::Logins);
            tracing::info!(target: "login", outcome, account = %name, %peer, tls);
        } else {
            observe::count(Counter::LoginsFailed);
            tracing::warn!(target: "login", outcome, account = %name, %peer, tls);
        }
        login
    }

    /// The proof was held against keys; are they those of this account still?
    async fn proven(self: &Rc<Self>, name: &str, proof: &Proof) -> Login {
        let home = match self.look_up(name) {
            Found::Home(home) => Some(home),
            Found::Elsewhere | Found::Nobody | Found::NotYetKnown => None,
        };
        let asked = home.unwrap_or_else(|| self.home_of_nobody(name));
        let encoded = match self.secrets_of(asked).await {
            Ok(encoded) => encoded,
            Err(Unasked::Busy) => return Login::Busy,
            Err(Unasked::Unreadable) => return Login::Unavailable,
        };
        let keys = encoded.and_then(|encoded| Secrets::decode(&encoded).ok()).and_then(|secrets| secrets.scram);
        match (home, keys) {
            (Some(home), Some(keys)) if proof.holds && keys.stored_key == proof.stored_key => self.at_home(name, home),
            _ => Login::Wrong,
        }
    }

    async fn verified(self: &Rc<Self>, name: &str, password: Zeroizing<Vec<u8>>) -> Login {
        // A password that can never have been set is refused without work: this tells nothing about the name.
        let Ok(password) = Password::parse(password) else { return Login::Wrong };
        let home = match self.look_up(name) {
            Found::Home(home) => Some(home),
            Found::Elsewhere | Found::Nobody => None,
            // Lost, or never there: one wrong login is like the other, whatever the disk has lost (A111).
            Found::NotYetKnown if self.directory(|d| d.complete(self.volume_count().into())) => None,
            Found::NotYetKnown => return Login::Unavailable,
        };
        // Nobody's secrets are asked for too, and found by no one: the mesh is crossed as often as for somebody.
        let asked = home.unwrap_or_else(|| self.home_of_nobody(name));
        let encoded = match self.secrets_of(asked).await {
            Ok(encoded) => encoded,
            Err(Unasked::Busy) => return Login::Busy,
            // A password that was not looked at is not wrong.
            Err(Unasked::Unreadable) => return Login::Unavailable,
        };
        if let (Some(home), Some(stored)) = (home, &encoded)
            && self.remembered.knows(home.account, stored, password.as_bytes())
        {
            return self.at_home(name, home);
        }
        let decoded = encoded.as_deref().map(Secrets::decode);
        if let Some(Err(why)) = &decoded {
            tracing::error!(target: "login", account = %name, %why, "set a new password for this account");
        }
        let own = decoded.and_then(Result::ok);
        let known = home.is_some() && own.is_some();
        let secrets = own.unwrap_or_else(|| Secrets::nobody(self.settings.argon2));
        let verified = shard::side(move || secrets.verify(&password).then_some(password)).await;
        match (verified, home) {
            (Ok(Some(password)), Some(home)) if known => {
                if let Some(stored) = &encoded {
                    self.remembered.note(home.account, stored, password.as_bytes());
                }
                self.at_home(name, home)
            }
            (Ok(_), _) => Login::Wrong,
            (Err(SideError::Full), _) => Login::Busy,
            (Err(SideError::Panicked), _) => Login::Unavailable,
        }
    }

    fn at_home(&self, name: &str, home: Home) -> Login {
        let arrival = Arrival { volume: home.volume, account: home.account, name: name.to_owned() };
        let owner = self.shard_of(home.volume);
        if owner != shard::id() {
            return Login::There(owner, arrival);
        }
        self.resident(&arrival).map_or(Login::Unavailable, Login::Here)
    }

    /// The encoded secrets of an account whose volume is on this shard. `None`: there is no such account, or volume.
    ///
    /// # Errors
    /// As [`Volume::account`](ringpost_storage::Volume::account); it is in the log.
    pub async fn secrets(&self, volume: VolumeId, account: AccountId) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(here) = self.volume(volume) else { return Ok(None) };
        match here.account(account).await {
            Ok(found) => Ok(found.map(|found| found.secrets.to_vec())),
            Err(why) => {
                tracing::error!(target: "login", volume, account = account.0, %why, "account not readable");
                Err(why)
            }
        }
    }

    async fn secrets_of(&self, home: Home) -> Result<Option<Vec<u8>>, Unasked> {
        let Home { volume, account, .. } = home;
        let owner = self.shard_of(volume);
        if owner == shard::id() {
            return self.secrets(volume, account).await.map_err(|_| Unasked::Unreadable);
        }
        match self.mesh.call(owner, Request::Secrets { volume, account }, 0).await {
            Ok(Reply::Secrets(encoded)) => Ok(encoded),
            Err(MeshError::Full) => Err(Unasked::Busy),
            Ok(_) | Err(MeshError::Down) => Err(Unasked::Unreadable),
        }
    }

    fn look_up(&self, name: &str) -> Found {
        self.directory(|d| d.find(name, self.volume_count().into()))
    }

    fn home_of_nobody(&self, name: &str) -> Home {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let volumes = u64::from(self.volume_count().max(1));
        let volume = VolumeId::try_from(hasher.finish() % volumes).unwrap_or(0);
        Home { volume, account: AccountId(u64::MAX), generation: 0 }
    }

    fn full_name(&self, name: &[u8]) -> String {
        self.directory(|d| {
            let mut domains = d.domains();
            let only = match (domains.next(), domains.next()) {
                (Some(only), None) => Some(only),
                _ => None,
            };
            full_name(name, only)
        })
    }
}

/// Waits until so many milliseconds have passed.
async fn not_before(began: Moment, ms: u64) {
    let left = Duration::from_millis(ms).saturating_sub(shard::now().since(began));
    if !left.is_zero() {
        shard::sleep(left).await;
    }
}

/// The name as the directory spells it; a name that nobody can have becomes the empty one.
fn full_name(name: &[u8], only_domain: Option<&str>) -> String {
    let Ok(text) = std::str::from_utf8(name) else { return String::new() };
    if text.len() > LOGIN_NAME_BYTES_MAX || text.chars().any(char::is_control) {
        return String::new();
    }
    let mut full = text.to_lowercase();
    if let (false, Some(domain)) = (full.is_empty() || full.contains('@'), only_domain) {
        full.push('@');
        full.push_str(domain);
    }
    full
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_means_the_only_domain() {
        assert_eq!(full_name(b"Alice", Some("ringpost.test")), "alice@ringpost.test");
        assert_eq!(full_name(b"Alice@Ringpost.TEST", Some("other.test")), "alice@ringpost.test");
        assert_eq!(full_name(b"alice", None), "alice");
        assert_eq!(full_name(b"", Some("ringpost.test")), "");
    }

    #[test]
    fn a019_a_name_that_nobody_can_have_is_nobody() {
        assert_eq!(full_name(b"al\0ice", Some("ringpost.test")), "");
        assert_eq!(full_name(b"al\r\nice", Some("ringpost.test")), "");
        assert_eq!(full_name(b"\xff\xfe", Some("ringpost.test")), "");
        assert_eq!(full_name(&[b'a'; LOGIN_NAME_BYTES_MAX + 1], None), "");
    }
}
