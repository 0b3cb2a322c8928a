//! What we say we can (RFC 9051 §6.1.1): only what is there.

/// One capability, and when it is offered.
struct Offer {
    name: &'static str,
    when: When,
}

enum When {
    Always,
    /// Before login, if a login is possible on this connection.
    LoginPossible,
    /// Before login, if it is not.
    LoginImpossible,
}

static OFFERS: [Offer; 5] = [
    Offer { name: "IMAP4rev1", when: When::Always },
    Offer { name: "LITERAL+", when: When::Always },
    Offer { name: "UNSELECT", when: When::Always },
    Offer { name: "AUTH=PLAIN", when: When::LoginPossible },
    Offer { name: "LOGINDISABLED", when: When::LoginImpossible },
];

/// Appends `CAPABILITY IMAP4rev1 …`, as it stands in the untagged response and in response codes.
pub fn write(out: &mut Vec<u8>, logged_in: bool, login_possible: bool) {
    out.extend_from_slice(b"CAPABILITY");
    for offer in &OFFERS {
        let offered = match offer.when {
            When::Always => true,
            When::LoginPossible => !logged_in && login_possible,
            When::LoginImpossible => !logged_in && !login_possible,
        };
        if offered {
            out.push(b' ');
            out.extend_from_slice(offer.name.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a110_login_is_disabled_where_it_is_not_private() {
        let offered = |logged_in, possible| {
            let mut out = Vec::new();
            write(&mut out, logged_in, possible);
            String::from_utf8(out).expect("ASCII")
        };
        assert!(offered(false, false).contains(" LOGINDISABLED"));
        assert!(!offered(false, false).contains("AUTH="));
        assert!(offered(false, true).contains(" AUTH=PLAIN"));
        assert_eq!(offered(true, true), "CAPABILITY IMAP4rev1 LITERAL+ UNSELECT");
    }
}
