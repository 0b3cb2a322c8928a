//! What holds at one door beside what holds at all: TLS, how many may come, and who is told what.

use std::cell::Cell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use crate::limits;
use crate::net::Acceptor;
use crate::net::census::{Cidr, listed};
use crate::office::Office;
use crate::proto::sasl;
use crate::serve::Service;
use crate::shard::Peer;

/// The rules of a door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What TLS is to it.
    pub tls: TlsMode,
    /// Connections of this door on each shard. More: 421 4.3.2 / BYE / -ERR, then closed.
    pub connections_max: usize,
    /// Networks of balancers, which say of each connection whose it is before its first octet (PROXY protocol). One of theirs that
    /// says nothing is closed.
    pub proxy_from: Vec<Cidr>,
    /// Networks of neighbours that hand connections on, and say whose they are (XCLIENT).
    pub xclient_from: Vec<Cidr>,
    /// Networks to which a handshake is not offered, because they ask for one and cannot do it.
    pub hide_starttls_from: Vec<Cidr>,
    /// Mechanisms of SASL that may be offered. `None`: as everywhere.
    pub mechanisms: Option<sasl::Allowed>,
}

/// What TLS is to a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// There is none.
    None,
    /// Who wants to begins it (RFC 3207, RFC 9051 §6.2.1, RFC 2595).
    StartTls,
    /// Nothing of weight is heard before it was begun.
    Required,
    /// It comes first (RFC 8314 §3).
    Implicit,
}

impl TlsMode {
    /// All of them.
    pub const ALL: [TlsMode; 4] = [TlsMode::None, TlsMode::StartTls, TlsMode::Required, TlsMode::Implicit];

    /// The word in the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            TlsMode::None => "none",
            TlsMode::StartTls => "starttls",
            TlsMode::Required => "required",
            TlsMode::Implicit => "implicit",
        }
    }
}

impl Rules {
    /// Those of a door of which nothing was said.
    #[must_use]
    pub fn of(service: Service) -> Self {
        let tls = match service {
            Service::Http | Service::Sendmail => TlsMode::None,
            _ if service.tls_first() => TlsMode::Implicit,
            _ => TlsMode::StartTls,
        };
        Rules {
            tls,
            connections_max: limits::CONNECTIONS_MAX,
            proxy_from: Vec::new(),
            xclient_from: Vec::new(),
            hide_starttls_from: Vec::new(),
            mechanisms: None,
        }
    }

    /// True if this peer says first whose connection it is.
    #[must_use]
    pub fn is_balancer(&self, peer: Peer) -> bool {
        listed(&self.proxy_from, peer)
    }

    /// True if this peer is offered a handshake, where there is TLS to have.
    #[must_use]
    pub fn offers_tls(&self, peer: Peer) -> bool {
        self.tls != TlsMode::None && !listed(&self.hide_starttls_from, peer)
    }
}

/// A door of this shard, shared by those who came in by it.
pub struct Doorway {
    /// What it is for.
    pub service: Service,
    /// What holds there.
    pub rules: Arc<Rules>,
    inside: Cell<usize>,
}

/// Somebody who came in by a door and is still here.
pub struct Entrant(Rc<Doorway>);

impl Doorway {
    /// A door by which nobody has come yet.
    #[must_use]
    pub fn new(service: Service, rules: Arc<Rules>) -> Rc<Self> {
        Rc::new(Doorway { service, rules, inside: Cell::new(0) })
    }

    /// Counts a newcomer in. `None`: this door has its share of them.
    #[must_use]
    pub fn enter(self: &Rc<Self>) -> Option<Entrant> {
        let inside = self.inside.get();
        (inside < self.rules.connections_max).then(|| {
            self.inside.set(inside + 1);
            Entrant(self.clone())
        })
    }

    /// True if nobody more may come in by it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.inside.get() >= self.rules.connections_max
    }

    /// What is shaken hands with there, if this peer is offered it.
    #[must_use]
    pub fn acceptor(&self, office: &Office, peer: Peer) -> Option<Acceptor> {
        let acceptors = office.settings.tls.as_ref().filter(|_| self.rules.offers_tls(peer))?;
        self.service.acceptor(acceptors).cloned()
    }

    /// Mechanisms that may be offered here.
    #[must_use]
    pub fn mechanisms(&self, office: &Office) -> sasl::Allowed {
        self.rules.mechanisms.unwrap_or(office.settings.mechanisms)
    }

    /// True if this peer may give a password in the clear.
    #[must_use]
    pub fn plaintext_auth_allowed(&self, office: &Office, peer: Peer) -> bool {
        self.rules.tls != TlsMode::Required && office.plaintext_auth_allowed(peer)
    }
}

impl Deref for Entrant {
    type Target = Doorway;
    fn deref(&self) -> &Doorway {
        &self.0
    }
}

impl Drop for Entrant {
    fn drop(&mut self) {
        self.0.inside.set(self.0.inside.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a057_a_door_has_its_share_and_gets_it_back() {
        let rules = Rules { connections_max: 2, ..Rules::of(Service::Lmtp) };
        let door = Doorway::new(Service::Lmtp, Arc::new(rules));
        let (one, two) = (door.enter(), door.enter());
        assert!(one.is_some() && two.is_some() && door.is_full() && door.enter().is_none());
        drop(one);
        assert!(!door.is_full() && door.enter().is_some());
    }

    #[test]
    fn a_handshake_is_hidden_from_those_who_cannot_do_it() {
        let hidden = vec!["192.0.2.0/24".parse().expect("a network")];
        let rules = Rules { hide_starttls_from: hidden, ..Rules::of(Service::Smtp) };
        let from = |address: &str| Peer::Net(address.parse().expect("an address"));
        assert!(!rules.offers_tls(from("192.0.2.7:25")) && rules.offers_tls(from("192.0.3.7:25")));
        assert!(!Rules::of(Service::Http).offers_tls(from("192.0.3.7:25")));
    }
}
