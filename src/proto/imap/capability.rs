//! What we say we can (RFC 9051 §6.1.1): only what is there. One row a capability.
//!
//! Most are offered before login too, because some clients look only then.

use crate::proto::sasl;

/// One capability: its name, where it is written down, and when it is offered.
struct Offer {
    name: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "for readers and for the test beside"))]
    rfc: u16,
    when: When,
}

enum When {
    Always,
    /// Before login, if a login is possible on this connection.
    LoginPossible,
    /// Before login, if it is not.
    LoginImpossible,
    /// Before login, if a handshake can be had.
    StartTls,
}

const fn offer(name: &'static str, rfc: u16, when: When) -> Offer {
    Offer { name, rfc, when }
}

static OFFERS: &[Offer] = &[
    offer("IMAP4rev1", 3501, When::Always),
    offer("LITERAL+", 7888, When::Always),
    offer("STARTTLS", 9051, When::StartTls),
    offer("SASL-IR", 4959, When::LoginPossible),
    offer("LOGINDISABLED", 9051, When::LoginImpossible),
    offer("ID", 2971, When::Always),
    offer("ENABLE", 5161, When::Always),
    offer("NAMESPACE", 2342, When::Always),
    offer("CHILDREN", 5258, When::Always),
    offer("UNSELECT", 3691, When::Always),
    offer("IDLE", 2177, When::Always),
    offer("UIDPLUS", 4315, When::Always),
    offer("MOVE", 6851, When::Always),
    offer("MULTIAPPEND", 3502, When::Always),
    offer("CONDSTORE", 7162, When::Always),
    offer("SPECIAL-USE", 6154, When::Always),
    offer("CREATE-SPECIAL-USE", 6154, When::Always),
    offer("LIST-EXTENDED", 5258, When::Always),
    offer("LIST-STATUS", 5819, When::Always),
    offer("STATUS=SIZE", 8438, When::Always),
];

/// Appends `CAPABILITY IMAP4rev1 …`, as it stands in the untagged response and in response codes.
/// Mechanisms have a table of their own and stand behind SASL-IR.
pub fn write(out: &mut Vec<u8>, logged_in: bool, login: sasl::Offer, starttls: bool) {
    let login_possible = login.private;
    out.extend_from_slice(b"CAPABILITY");
    for offer in OFFERS {
        let offered = match offer.when {
            When::Always => true,
            When::LoginPossible => !logged_in && login_possible,
            When::LoginImpossible => !logged_in && !login_possible,
            When::StartTls => !logged_in && starttls,
        };
        if offered {
            out.push(b' ');
            out.extend_from_slice(offer.name.as_bytes());
        }
        if offered && matches!(offer.when, When::LoginPossible) {
            sasl::write_offered(out, login, " AUTH=");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(logged_in: bool, possible: bool, starttls: bool) -> String {
        let mut out = Vec::new();
        let login = sasl::Offer {
            speaker: sasl::Speaker::Imap,
            private: possible,
            keys: true,
            binds: false,
            allowed: sasl::Allowed::ALL,
        };
        write(&mut out, logged_in, login, starttls);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn a110_login_is_disabled_where_it_is_not_private() {
        assert!(offered(false, false, false).contains(" LOGINDISABLED"));
        assert!(!offered(false, false, true).contains("AUTH="));
        assert!(offered(false, true, false).contains(" SASL-IR AUTH=SCRAM-SHA-256 AUTH=PLAIN AUTH=LOGIN "));
        assert!(offered(false, false, true).contains(" STARTTLS LOGINDISABLED"));
        assert!(!offered(false, true, false).contains("STARTTLS"));
        let inside = offered(true, true, true);
        assert!(inside.starts_with("CAPABILITY IMAP4rev1 "), "{inside}");
        assert!(
            ["AUTH=", "LOGINDISABLED", "SASL-IR", "STARTTLS"].iter().all(|word| !inside.contains(word)),
            "{inside}"
        );
    }

    #[test]
    fn every_capability_stands_once_and_its_rfc_is_in_the_index() {
        const INDEX: &str = include_str!("../../../tests/rfc/index.tsv");
        for (at, offer) in OFFERS.iter().enumerate() {
            assert!(OFFERS[..at].iter().all(|o| o.name != offer.name), "{} twice", offer.name);
            let row = INDEX.lines().find(|row| row.split('\t').next() == Some(&offer.rfc.to_string()));
            assert!(row.is_some_and(|row| !row.ends_with("cited")), "{}: {row:?}", offer.name);
        }
    }
}
