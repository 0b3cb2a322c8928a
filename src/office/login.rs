//! Who comes in: a name and what proves it become an account at its home, or a refusal that tells nothing.
//!
//! ```text
//! name ──► attempts ──► directory ──► secrets from the owner's volume (here, or over the mesh) ──┬─► side pool ──► Here | There
//!           │             │                                                                      └ a password that was right a
//!           │             └─ nobody: the same steps with the secrets of nobody, so that answer     moment ago, an app's, a
//!           └─ too many failed a moment ago: not now     and time are the same (A111)              proof: no hash
//! ```
//!
//! - The password is verified on the accepting shard and wiped; only the account travels. What follows from it and is not kept yet
//!   (keys, our own hash in the place of another server's) is made and stored meanwhile: see `anew`.
//! - A failure is answered after the time that [`attempts`](super::attempts) says, rounded up to a grid that no work shows through.
//!   A right password where the account may not log
//!   in by this protocol is answered as a wrong one; the log says why.
//! - Every login is counted and leaves one event. The number of passwords being verified is bounded by the side pool's queue:
//!   beyond it, [`Login::Busy`].

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
use crate::proto::sasl::{self, By, Evidence, Speaker};
use crate::shard::{self, MeshError, Moment, ShardId, SideError};

/// A login name, octets: local part, `@` and domain (RFC 5321 §4.5.3.1). Longer names are nobody's.
pub const LOGIN_NAME_BYTES_MAX: usize = 64 + 1 + 255;
/// Answers that must not tell what they took come on a grid of this, milliseconds.
const GRID_MS: u64 = 10;
/// The same of failed logins while hashes of other servers may be here, milliseconds: longer than any that is taken needs.
const COARSE_GRID_MS: u64 = 2_000;

/// No account has this id.
const NOBODY: AccountId = AccountId(u64::MAX);

/// How a login ended.
pub enum Login {
    /// The account lives on this shard.
    Here(Resident),
    /// The account lives on that shard: hand the connection over.
    There(ShardId, Arrival),
    /// Wrong name or wrong password; which of them is not said.
    Wrong,
    /// Too many logins failed: come back later.
    TooMany,
    /// Too many passwords are being verified: come back later.
    Busy,
    /// The account's volume, or the directory, cannot be asked now: come back later.
    Unavailable,
}

/// What SCRAM is told of a name.
pub enum Keys {
    /// Its keys, or those of nobody.
    Known(Box<Known>),
    /// Too many logins failed: come back later.
    TooMany,
    /// Come back later.
    Unavailable,
}

/// Why an account's secrets are not known.
enum Unasked {
    /// Its shard has too much to do.
    Busy,
    /// They cannot be read, or its shard is gone.
    Unreadable,
}

/// Who proved to be who, or why not.
enum Verdict {
    /// It is: with the password of an account, if it was seen.
    Right(Home),
    /// It is, and may not log in by this protocol.
    Closed,
    Wrong,
    TooMany,
    Busy,
    Unavailable,
}

impl Verdict {
    fn word(&self) -> &'static str {
        match self {
            Verdict::Right(_) => "ok",
            Verdict::Closed => "closed",
            Verdict::Wrong => "wrong",
            Verdict::TooMany => "too-many",
            Verdict::Busy => "busy",
            Verdict::Unavailable => "unavailable",
        }
    }
}

impl Office {
    /// What SCRAM needs to know of a name.
    ///
    /// Answered on a grid of [`GRID_MS`]: an account that has to be read must not be told by the time it takes from one that is
    /// not there (A111).
    pub async fn keys(self: &Rc<Self>, wire: &Wire, name: &[u8]) -> Keys {
        let began = shard::now();
        let name = self.full_name(name);
        if !self.may_try(wire.peer(), &name).await {
            return Keys::TooMany;
        }
        let Ok(found) = self.home_or_nobody(&name) else { return Keys::Unavailable };
        let asked = found.unwrap_or_else(|| self.home_of_nobody(&name));
        let Ok(encoded) = self.secrets_of(asked).await else { return Keys::Unavailable };
        let nobody = secrets::keys_of_nobody(self.secret().as_slice(), &name);
        let own = encoded.and_then(|encoded| Secrets::decode(&encoded).ok()).and_then(|secrets| secrets.scram);
        let mut nonce = [0; NONCE_BYTES];
        shard::random(&mut nonce);
        let known = Known { keys: own.unwrap_or(nobody), nonce, binding: wire.binding() };
        on_the_grid(began, Duration::ZERO, GRID_MS).await;
        Keys::Known(Box::new(known))
    }

    /// Verifies who somebody is. His name: `user@domain` in any case, or `user` alone while there is exactly one domain.
    /// `wire`: where it comes from. The event says whether it came by TLS (A013).
    pub async fn login(self: &Rc<Self>, wire: &Wire, speaker: Speaker, login: sasl::Login) -> Login {
        let (peer, tls, began) = (wire.peer(), wire.privacy() == Privacy::Tls, shard::now());
        let sasl::Login { name, by, evidence } = login;
        let name = self.full_name(&name);
        let mut app = None;
        let attempt = self.begin_attempt(peer, &name).await;
        let verdict = match (&attempt, evidence) {
            (None, _) => Verdict::TooMany,
            (Some(_), Evidence::Password(password)) => self.verified(&name, speaker, password, &mut app).await,
            (Some(_), Evidence::Proof(proof)) => self.proven(&name, speaker, &proof).await,
        };
        observe::took(Measure::Login, shard::now().since(began));
        observe::count(counter(by, &verdict));
        let (outcome, mechanism, protocol) = (verdict.word(), word(by), super::sessions::word(speaker));
        let account = &*name;
        match &verdict {
            Verdict::Right(_) => {
                tracing::info!(target: "login", outcome, account, %peer, tls, protocol, mechanism, app);
            }
            // Many come of these, and each says the same.
            Verdict::TooMany if !self.may_complain() => {}
            _ => tracing::warn!(target: "login", outcome, account, %peer, tls, protocol, mechanism),
        }
        let Some(attempt) = attempt else { return Login::TooMany };
        match verdict {
            Verdict::Right(home) => {
                self.end_attempt(attempt, true).await;
                self.at_home(&name, home, began)
            }
            Verdict::Closed | Verdict::Wrong => {
                // An account without keys may have another server's hash, which takes a time of its own.
                let grid_ms = if self.offers_keys() { GRID_MS } else { COARSE_GRID_MS };
                on_the_grid(began, attempt.delay(), grid_ms).await;
                Login::Wrong
            }
            Verdict::TooMany => Login::TooMany,
            Verdict::Busy => {
                self.end_attempt(attempt, false).await;
                Login::Busy
            }
            Verdict::Unavailable => {
                self.end_attempt(attempt, false).await;
                Login::Unavailable
            }
        }
    }

    /// Where a name lives. `Ok(None)`: it is nobody's.
    fn home_or_nobody(&self, name: &str) -> Result<Option<Home>, Verdict> {
        match self.directory(|d| d.find(name, self.volume_count().into())) {
            Found::Home(home) => Ok(Some(home)),
            Found::Elsewhere | Found::Nobody => Ok(None),
            // Lost, or never there: one wrong login is like the other, whatever the disk has lost (A111).
            Found::NotYetKnown if self.directory(|d| d.complete(self.volume_count().into())) => Ok(None),
            Found::NotYetKnown => Err(Verdict::Unavailable),
        }
    }

    /// The proof was held against keys; are they those of this account still?
    async fn proven(self: &Rc<Self>, name: &str, speaker: Speaker, proof: &Proof) -> Verdict {
        let home = match self.home_or_nobody(name) {
            Ok(home) => home,
            Err(verdict) => return verdict,
        };
        let asked = home.unwrap_or_else(|| self.home_of_nobody(name));
        let encoded = match self.secrets_of(asked).await {
            Ok(encoded) => encoded,
            Err(Unasked::Busy) => return Verdict::Busy,
            Err(Unasked::Unreadable) => return Verdict::Unavailable,
        };
        let own = encoded.and_then(|encoded| Secrets::decode(&encoded).ok());
        match (home, own) {
            (Some(home), Some(own))
                if proof.holds && own.scram.as_ref().is_some_and(|keys| keys.stored_key == proof.stored_key) =>
            {
                if own.closed.has(speaker) { Verdict::Closed } else { Verdict::Right(home) }
            }
            _ => Verdict::Wrong,
        }
    }

    /// `app`: set to the name of the app password, if it was one.
    async fn verified(
        self: &Rc<Self>,
        name: &str,
        speaker: Speaker,
        password: Zeroizing<Vec<u8>>,
        app: &mut Option<String>,
    ) -> Verdict {
        // A password that can never have been set is refused without work: this tells nothing about the name.
        let Ok(password) = Password::parse(password) else { return Verdict::Wrong };
        let home = match self.home_or_nobody(name) {
            Ok(home) => home,
            Err(verdict) => return verdict,
        };
        // Nobody's secrets are asked for too, and found by no one: the mesh is crossed as often as for somebody.
        let asked = home.unwrap_or_else(|| self.home_of_nobody(name));
        let encoded = match self.secrets_of(asked).await {
            Ok(encoded) => encoded,
            Err(Unasked::Busy) => return Verdict::Busy,
            // A password that was not looked at is not wrong.
            Err(Unasked::Unreadable) => return Verdict::Unavailable,
        };
        let decoded = encoded.as_deref().map(Secrets::decode);
        if let Some(Err(why)) = &decoded {
            tracing::error!(target: "login", account = %name, %why, "set a new password for this account");
        }
        let cost = self.settings.argon2;
        // Nobody's take the same way, octet by octet.
        let (home, stored, own) = match (home, encoded, decoded) {
            (Some(home), Some(stored), Some(Ok(own))) => (Some(home), stored, own),
            _ => {
                let stored = Secrets::nobody(cost).encode();
                let own = Secrets::decode(&stored).unwrap_or_else(|_| Secrets::nobody(cost));
                (None, stored, own)
            }
        };
        let account = home.map_or(NOBODY, |home| home.account);
        let right = |home: Option<Home>, good: bool| match home {
            Some(home) if good => Verdict::Right(home),
            Some(_) => Verdict::Closed,
            None => Verdict::Wrong,
        };
        if let (Some(at), Some(home)) = (own.app(&password), home) {
            let found = &own.apps[at];
            *app = Some(found.name.clone());
            let good = found.protocols.has(speaker) && !own.closed.has(speaker);
            if good {
                self.note_use(name, home, stored, &own, at);
            }
            return right(Some(home), good);
        }
        let closed = own.closed.has(speaker);
        if self.remembered.knows(account, &stored, password.as_bytes()) {
            return right(home, !closed);
        }
        let verified = shard::side(move || {
            let verified = own.verify(&password);
            if !verified && own.is_imported() {
                // A hash of another kind takes another time than nobody's: that one is computed too.
                std::hint::black_box(Secrets::nobody(cost).verify(&password));
            }
            verified.then_some((own, password))
        });
        match (verified.await, home) {
            (Ok(Some((own, password))), Some(home)) => {
                self.remembered.note(account, &stored, password.as_bytes());
                if own.wants_password() {
                    self.make_anew(name, home, stored, own, password);
                }
                right(Some(home), !closed)
            }
            (Ok(_), _) => Verdict::Wrong,
            (Err(SideError::Full), _) => Verdict::Busy,
            (Err(SideError::Panicked), _) => Verdict::Unavailable,
        }
    }

    fn at_home(&self, name: &str, home: Home, began: Moment) -> Login {
        let arrival = Arrival { volume: home.volume, account: home.account, name: name.to_owned(), began };
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

    fn home_of_nobody(&self, name: &str) -> Home {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let volumes = u64::from(self.volume_count().max(1));
        let volume = VolumeId::try_from(hasher.finish() % volumes).unwrap_or(0);
        Home { volume, account: NOBODY, generation: 0 }
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

/// The word in the log.
fn word(by: By) -> &'static str {
    match by {
        By::Command => "command",
        By::Plain => "plain",
        By::Login => "login",
        By::Scram => "scram-sha-256",
        By::ScramPlus => "scram-sha-256-plus",
    }
}

fn counter(by: By, verdict: &Verdict) -> Counter {
    match (verdict, by) {
        (Verdict::Right(_), By::Command) => Counter::LoginsCommand,
        (Verdict::Right(_), By::Plain) => Counter::LoginsPlain,
        (Verdict::Right(_), By::Login) => Counter::LoginsLogin,
        (Verdict::Right(_), By::Scram) => Counter::LoginsScram,
        (Verdict::Right(_), By::ScramPlus) => Counter::LoginsScramPlus,
        (Verdict::Wrong, By::Command) => Counter::LoginsWrongCommand,
        (Verdict::Wrong, By::Plain) => Counter::LoginsWrongPlain,
        (Verdict::Wrong, By::Login) => Counter::LoginsWrongLogin,
        (Verdict::Wrong, By::Scram) => Counter::LoginsWrongScram,
        (Verdict::Wrong, By::ScramPlus) => Counter::LoginsWrongScramPlus,
        (Verdict::Closed, _) => Counter::LoginsClosed,
        (Verdict::TooMany, _) => Counter::LoginsTooMany,
        (Verdict::Busy | Verdict::Unavailable, _) => Counter::LoginsNotNow,
    }
}

/// Waits for so long since then, or until a multiple of the grid has passed, whichever is later.
async fn on_the_grid(began: Moment, least: Duration, grid_ms: u64) {
    let grid = Duration::from_millis(grid_ms);
    let steps = shard::now().since(began).as_millis() / u128::from(grid_ms) + 1;
    let time = grid.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX)).max(least);
    let left = time.saturating_sub(shard::now().since(began));
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
