//! Where a recipient's mail goes: a mailbox here, or nowhere.
//!
//! Mail for elsewhere is refused for everybody: nothing in this room can make a relay, because there is no type for
//! it yet. When the queue comes, only a `RelayGrant` will (DESIGN §9).

use crate::directory::{Directory, Found, Home};
use crate::mail::address::{Address, ForwardPath};

/// The way of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// A mailbox of this host.
    Mailbox {
        /// `user@domain` of the account.
        name: String,
        /// Where it lives.
        home: Home,
    },
    /// Our domain, and nobody there.
    NoSuchUser,
    /// Not our domain: that would be relaying.
    Relaying,
    /// The directory is not complete yet.
    AskAgain,
}

/// Finds the way. `volumes`: how many volumes the store has.
#[must_use]
pub fn route(recipient: &ForwardPath, directory: &Directory, volumes: usize) -> Route {
    match recipient {
        ForwardPath::Address(address) => route_address(address, directory, volumes),
        // RFC 5321 §4.5.1: the bare reserved mailbox belongs to this host, whatever its domains are called.
        ForwardPath::Postmaster => {
            let Some(domain) = directory.domains().next() else { return Route::AskAgain };
            route_name("postmaster", domain, directory, volumes)
        }
    }
}

fn route_address(address: &Address, directory: &Directory, volumes: usize) -> Route {
    route_name(address.local(), address.domain(), directory, volumes)
}

fn route_name(local: &str, domain: &str, directory: &Directory, volumes: usize) -> Route {
    match directory.find(local, domain, volumes) {
        Found::Home(home) => {
            Route::Mailbox { name: format!("{}@{}", local.to_ascii_lowercase(), domain.to_ascii_lowercase()), home }
        }
        Found::Nobody => Route::NoSuchUser,
        Found::Elsewhere => Route::Relaying,
        Found::NotYetKnown => Route::AskAgain,
    }
}
