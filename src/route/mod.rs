//! Where a recipient's mail goes: mailboxes here, or nowhere.
//!
//! Mail for elsewhere is refused for everybody: nothing in this room can make a relay, because there is no type for
//! it yet. When the queue comes, only a `RelayGrant` will (DESIGN §9).

pub mod expand;
pub mod sender;

use std::borrow::Cow;

use crate::directory::Directory;
use crate::mail::address::{Address, ForwardPath};
pub use expand::{Nowhere, Target, expand, expand_let_in};

/// The way of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Mailboxes of this host, at least one, each once.
    Mailboxes(Vec<Target>),
    /// Nowhere, and why.
    Nowhere(Nowhere),
}

/// Finds the way as the table of recipients lets one go there at `now_ms`, milliseconds since 1970; and how many names were
/// followed for it. `volumes`: how many volumes the store has.
#[must_use]
pub fn route(recipient: &ForwardPath, directory: &Directory, volumes: usize, now_ms: u64) -> (Route, usize) {
    let (name, local) = match recipient {
        ForwardPath::Address(address) => match name_of(address) {
            Some(name) => (name, address.local()),
            None => return (Route::Nowhere(Nowhere::Elsewhere), 0),
        },
        // RFC 5321 §4.5.1: the bare reserved mailbox belongs to this host, whatever its domains are called.
        ForwardPath::Postmaster => match directory.domains().next() {
            Some(domain) => (format!("postmaster@{domain}"), "postmaster"),
            None => return (Route::Nowhere(Nowhere::AskAgain), 0),
        },
    };
    let (found, names) = expand_let_in(&name, local, directory, volumes, now_ms);
    (found.map_or_else(Route::Nowhere, Route::Mailboxes), names)
}

/// An address as the directory spells it; `None`: it is of no host that could be ours.
#[must_use]
pub fn name_of(address: &Address) -> Option<String> {
    // Whoever writes another host into the local part asks for relaying, whatever stands behind the `@` (A033). No
    // account has such a name.
    if address.has_relay_trick() {
        return None;
    }
    // Domains are known by their A-labels (RFC 5890 §2.3.2.1).
    let domain = match address.domain() {
        ascii if ascii.is_ascii() => Cow::Borrowed(ascii),
        international => Cow::Owned(idna::domain_to_ascii(international).ok()?),
    };
    Some(format!("{}@{domain}", address.local().to_lowercase()))
}

#[cfg(test)]
mod relay;
#[cfg(test)]
mod tests {
    use ringpost_storage::AccountId;

    use super::*;
    use crate::directory::{Change, Home, catalogue};

    fn to(address: &str, directory: &Directory) -> Route {
        route(&ForwardPath::Address(Address::parse(address, true).unwrap()), directory, 1, 0).0
    }

    #[test]
    fn a033_a_local_part_that_names_another_host_is_relaying() {
        let mut directory = Directory::default();
        let (elsewhere, again) = (Route::Nowhere(Nowhere::Elsewhere), Route::Nowhere(Nowhere::AskAgain));
        assert_eq!(to("alice@us.test", &directory), again, "from a complete directory only");
        let home = Home { volume: 0, account: AccountId(1), generation: 0 };
        let names = ["alice@us.test", "\u{e4}nne@us.test", "x@xn--bcher-kva.test"];
        directory.apply(Change::Volume {
            volume: 0,
            catalogue: vec![catalogue::domain("us.test"), catalogue::domain("xn--bcher-kva.test")],
            accounts: names.map(|name| (name.to_owned(), home)).to_vec(),
            limited: vec![],
            keyless: vec![],
            whole: true,
        });
        for trick in ["x%elsewhere.test@us.test", "elsewhere.test!x@us.test", "\"x@elsewhere.test\"@us.test"] {
            assert_eq!(to(trick, &directory), elsewhere, "{trick}");
        }
        assert_eq!(to("x@elsewhere.test", &directory), elsewhere);
        assert_eq!(to("nobody@us.test", &directory), Route::Nowhere(Nowhere::Nobody));
        let mailbox = |name: &str| Route::Mailboxes(vec![Target { name: name.to_owned(), home, folder: None }]);
        assert_eq!(to("Alice@US.test", &directory), mailbox("alice@us.test"));
        assert_eq!(to("\u{c4}nne@us.test", &directory), mailbox("\u{e4}nne@us.test"));
        assert_eq!(to("x@B\u{dc}CHER.test", &directory), mailbox("x@xn--bcher-kva.test"), "by its A-label");
    }
}
