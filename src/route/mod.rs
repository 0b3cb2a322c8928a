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
            route_name(format!("postmaster@{domain}"), directory, volumes)
        }
    }
}

fn route_address(address: &Address, directory: &Directory, volumes: usize) -> Route {
    // Whoever writes another host into the local part asks for relaying, whatever stands behind the `@` (A033). No
    // account has such a name.
    if address.has_relay_trick() {
        return Route::Relaying;
    }
    route_name(address.folded(), directory, volumes)
}

/// `name`: `user@domain`, folded.
fn route_name(name: String, directory: &Directory, volumes: usize) -> Route {
    match directory.find(&name, volumes) {
        Found::Home(home) => Route::Mailbox { name, home },
        Found::Nobody => Route::NoSuchUser,
        Found::Elsewhere => Route::Relaying,
        Found::NotYetKnown => Route::AskAgain,
    }
}

#[cfg(test)]
mod tests {
    use ringpost_storage::AccountId;

    use super::*;
    use crate::directory::Change;

    fn to(address: &str, directory: &Directory) -> Route {
        route(&ForwardPath::Address(Address::parse(address, true).unwrap()), directory, 1)
    }

    #[test]
    fn a033_a_local_part_that_names_another_host_is_relaying() {
        let mut directory = Directory::default();
        assert_eq!(to("alice@us.test", &directory), Route::AskAgain, "from a complete directory only");
        let home = Home { volume: 0, account: AccountId(1), generation: 0 };
        let accounts = vec![("alice@us.test".to_owned(), home), ("\u{e4}nne@us.test".to_owned(), home)];
        directory.apply(Change::Volume {
            volume: 0,
            domains: vec!["us.test".to_owned()],
            accounts,
            limited: vec![],
            keyless: vec![],
            whole: true,
        });
        for trick in ["x%elsewhere.test@us.test", "elsewhere.test!x@us.test", "\"x@elsewhere.test\"@us.test"] {
            assert_eq!(to(trick, &directory), Route::Relaying, "{trick}");
        }
        assert_eq!(to("x@elsewhere.test", &directory), Route::Relaying);
        assert_eq!(to("nobody@us.test", &directory), Route::NoSuchUser);
        assert_eq!(to("Alice@US.test", &directory), Route::Mailbox { name: "alice@us.test".to_owned(), home });
        let name = "\u{e4}nne@us.test".to_owned();
        assert_eq!(to("\u{c4}nne@us.test", &directory), Route::Mailbox { name, home });
    }
}
