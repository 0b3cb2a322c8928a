//! Session tickets: what lets a client come back without a signature (RFC 5077, RFC 8446 §2.2), and when their keys change.
//!
//! ```text
//!   keys      made ──────────── KEY_S ──────────── replaced ──────────── KEY_S ──────────── forgotten
//!   tickets   made and opened                      opened, no longer made                   a full handshake
//! ```
//!
//! - One [`Tickets`] serves one kind of door on all shards: a ticket that one shard gave is good at every other, and at no door
//!   of another kind (A099). It outlives the certificates: a renewed one ends no session.
//! - rustls seals (AES-256 and HMAC-SHA-256, RFC 5077 §4) and binds each ticket to the name that was asked for; here is only
//!   the time. It is the shard's, so that the simulated world can let days pass.
//! - Keys are in memory alone: after a restart everybody shakes hands anew.
//! - Without randomness for new keys there are no tickets rather than old keys.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ProducesTickets;

use crate::shard::{self, Moment};

/// Seconds for which one key makes tickets; for as many more it opens them. Then it is forgotten: a ticket lives
/// 8 hours at most. (rustls' own keys live 12 hours: it never forgets one before we do.)
pub const KEY_S: u32 = 4 * 3_600;

/// The keys of one kind of door. Shared by all shards.
pub struct Tickets(RwLock<Keys>);

struct Keys {
    /// When those of now were first looked at; `None`: never yet.
    since: Option<Moment>,
    now: Option<Arc<dyn ProducesTickets>>,
    before: Option<Arc<dyn ProducesTickets>>,
}

impl Keys {
    /// True if others are due.
    fn are_old(&self, now: Moment) -> bool {
        self.since.is_none_or(|since| now.since(since) >= Duration::from_secs(KEY_S.into()))
    }

    fn change(&mut self, now: Moment) {
        let Some(since) = self.since else {
            self.since = Some(now);
            return;
        };
        let key = Duration::from_secs(KEY_S.into());
        let due = since.after(key);
        let idle = now >= due.after(key);
        // From when it was due, so that nothing is opened longer because nobody came in time.
        self.since = Some(if idle { now } else { due });
        self.before = self.now.take().filter(|_| !idle);
        self.now = Ticketer::new().ok();
    }
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl Tickets {
    /// With keys of its own.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new() -> Result<Tickets, rustls::Error> {
        Ok(Tickets(RwLock::new(Keys { since: None, now: Some(Ticketer::new()?), before: None })))
    }

    /// Changes the keys if it is time. Done at each use; whoever wants a key forgotten that nobody uses any more calls it.
    ///
    /// # Panics
    /// Never: no holder of the lock can panic.
    pub fn keep_fresh(&self, now: Moment) {
        if self.0.read().expect("no holder of this lock can panic").are_old(now) {
            let mut keys = self.0.write().expect("no holder of this lock can panic");
            // Another shard may have been quicker.
            if keys.are_old(now) {
                keys.change(now);
            }
        }
    }

    fn seal(&self, plain: &[u8], now: Moment) -> Option<Vec<u8>> {
        self.keep_fresh(now);
        let keys = self.0.read().expect("no holder of this lock can panic");
        keys.now.as_ref()?.encrypt(plain)
    }

    fn open(&self, ticket: &[u8], now: Moment) -> Option<Vec<u8>> {
        self.keep_fresh(now);
        let keys = self.0.read().expect("no holder of this lock can panic");
        keys.now.iter().chain(&keys.before).find_map(|key| key.decrypt(ticket))
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        KEY_S
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, shard::now())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(ticket, shard::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u32) -> Moment {
        Moment::default().after(Duration::from_secs(s.into()))
    }

    #[test]
    fn a099_a_ticket_is_good_for_the_time_of_two_keys_and_no_longer() {
        for made in [0, 1, KEY_S - 1] {
            let tickets = Tickets::new().unwrap();
            let first = tickets.seal(b"begun", at(0)).unwrap();
            let ticket = tickets.seal(b"a session", at(made)).unwrap();
            for good in [made, KEY_S - 1, KEY_S, 2 * KEY_S - 1] {
                assert_eq!(
                    tickets.open(&ticket, at(good)).as_deref(),
                    Some(&b"a session"[..]),
                    "made {made}, at {good}"
                );
            }
            let next = tickets.seal(b"another", at(2 * KEY_S - 1)).unwrap();
            assert_eq!(tickets.open(&ticket, at(2 * KEY_S)), None, "made {made}");
            assert_eq!(tickets.open(&first, at(2 * KEY_S)), None);
            assert!(tickets.open(&next, at(2 * KEY_S)).is_some());
        }
    }

    #[test]
    fn a099_after_a_long_silence_no_old_key_is_left() {
        let tickets = Tickets::new().unwrap();
        let ticket = tickets.seal(b"a session", at(5)).unwrap();
        assert_eq!(tickets.open(&ticket, at(5 + 2 * KEY_S)), None);
        let tickets = Tickets::new().unwrap();
        let ticket = tickets.seal(b"a session", at(5)).unwrap();
        tickets.keep_fresh(at(5 + KEY_S));
        tickets.keep_fresh(at(5 + 2 * KEY_S));
        assert_eq!(tickets.open(&ticket, at(5 + 2 * KEY_S)), None);
    }

    #[test]
    fn a099_what_is_no_ticket_of_ours_opens_nothing() {
        let (tickets, others) = (Tickets::new().unwrap(), Tickets::new().unwrap());
        let ticket = tickets.seal(b"a session", at(0)).unwrap();
        assert_eq!(others.open(&ticket, at(0)), None, "another door's");
        for cut in 0..ticket.len() {
            assert_eq!(tickets.open(&ticket[..cut], at(0)), None, "cut at {cut}");
            let mut changed = ticket.clone();
            changed[cut] ^= 1;
            assert_eq!(tickets.open(&changed, at(0)), None, "changed at {cut}");
        }
    }
}
