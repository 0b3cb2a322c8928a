//! Stories of listeners: what may be said of one, and what does not go together.

use super::*;
use crate::serve::TlsMode;
use crate::shard::Place;

fn listener(text: &str) -> String {
    format!("[[listener]]\n{text}")
}

#[test]
fn a_listener_may_be_a_unix_socket_and_has_rules_of_its_own() {
    let text = "[[listener]]\nservice = \"lmtp\"\naddress = \"unix:/run/ringpost/lmtp\"\nmode = \"0660\"\n\
                [[listener]]\nservice = \"mx\"\naddress = \"192.0.2.1:25\"\nconnections_max = 100\n\
                proxy_from = [\"192.0.2.0/24\"]\nxclient_from = [\"::1\"]\nhide_starttls_from = [\"198.51.100.0/24\"]\n\
                [[listener]]\nservice = \"imap\"\naddress = \"[::1]:993\"\ntls = \"implicit\"\n\
                [[listener]]\nservice = \"submission\"\naddress = \"[::1]:587\"\ntls = \"required\"\n";
    let settings = in_force(text);
    let doors = settings.config().doors;
    assert_eq!(doors[0].at, Place::Local { path: "/run/ringpost/lmtp".into(), mode: 0o660 });
    assert_eq!((doors[0].service, doors[0].rules.tls), (Service::Lmtp, TlsMode::None));
    assert_eq!((doors[1].service, doors[1].rules.connections_max), (Service::Smtp, 100));
    assert_eq!(doors[1].rules.xclient_from, ["::1".parse().unwrap()]);
    assert_eq!(doors[1].rules.proxy_from, ["192.0.2.0/24".parse().unwrap()]);
    assert_eq!(doors[1].rules.hide_starttls_from, ["198.51.100.0/24".parse().unwrap()]);
    assert_eq!((doors[2].service, doors[2].rules.tls), (Service::Imaps, TlsMode::Implicit));
    assert_eq!((doors[3].service, doors[3].rules.tls), (Service::Submission, TlsMode::Required));
    for shown in [show::effective(&settings), show::given(&settings)] {
        assert_eq!(in_force(&shown).config().doors, doors, "{shown}");
    }
}

#[test]
fn lmtp_is_not_opened_unless_it_is_asked_for() {
    assert!(in_force("").config().doors.iter().all(|door| door.service != Service::Lmtp));
    assert!(listener::from_flag("lmtp=unix:/run/x").is_ok());
}

#[test]
fn a192_what_is_said_of_a_listener_is_held_against_what_may_be() {
    let at = "service = \"lmtp\"\naddress = \"127.0.0.1:24\"\n";
    for (line, sentence) in [
        ("tls = \"ssl\"", "listener: tls: choose \"none\" or \"starttls\" or \"required\" or \"implicit\""),
        ("tls = true", "listener: tls: this is true or false"),
        ("connections_max = 0", "listener: connections_max: choose a whole number from 1 to 20000"),
        ("hide_starttls_from = [\"ten\"]", "listener: hide_starttls_from: `ten` is not a network"),
        ("mode = \"777\"", "listener: `777`: write permission bits such as"),
        ("mode = \"0660\"", "listener: mode is for a Unix socket"),
        (
            "connection_max = 3",
            "listener: `connection_max` is not a setting of a listener: did you mean `connections_max`?",
        ),
    ] {
        let found = wrong(listener(&format!("{at}{line}\n")));
        assert!(found.len() == 1 && found[0].contains(sentence), "{line}: {found:?}");
    }
    for address in ["unix:", "unix:run/x", "unix:/run/", &format!("unix:/{}", "x".repeat(107))] {
        let found = wrong(listener(&format!("service = \"lmtp\"\naddress = \"{address}\"\n")));
        assert!(found.len() == 1 && found[0].starts_with("3:11: listener: `unix:"), "{found:?}");
    }
}

#[test]
fn a193_what_does_not_go_together_is_said_at_its_listener() {
    let unix = "address = \"unix:/run/x\"\n";
    let net = "address = \"192.0.2.1:99\"\n";
    for (text, sentence) in [
        (format!("service = \"smtp\"\n{net}tls = \"implicit\"\n"), "smtp has no form with TLS first"),
        (format!("service = \"imaps\"\n{net}tls = \"starttls\"\n"), "for tls = \"starttls\" write service = \"imap\""),
        (format!("service = \"smtp\"\n{net}proxy_from = [\"0.0.0.0/0\"]\n"), "0.0.0.0/0 is half the world"),
        (format!("service = \"lmtp\"\n{unix}proxy_from = [\"::1\"]\n"), "networks make no sense on a Unix socket"),
        (format!("service = \"smtp\"\n{net}xclient_from = [\"::/0\"]\n"), "xclient_from: ::/0 is half the world"),
        (format!("service = \"imap\"\n{net}xclient_from = [\"::1\"]\n"), "xclient_from is for SMTP, not for imap"),
        (format!("service = \"imap\"\n{unix}"), "imap is for the network"),
        (format!("service = \"lmtp\"\n{unix}tls = \"required\"\n"), "makes no sense on a Unix socket"),
        (format!("service = \"imap\"\n{net}tls = \"none\"\n"), "lets nobody log in"),
        (
            format!("service = \"smtp\"\n{net}tls = \"required\"\nhide_starttls_from = [\"192.0.2.0/24\"]\n"),
            "hide_starttls_from goes with tls = \"starttls\"",
        ),
    ] {
        let said = refused(&listener(&text), &[]);
        assert!(said.len() == 1 && said[0].starts_with("1:1: listener: ") && said[0].contains(sentence), "{said:?}");
    }
    let twice = listener(&format!("service = \"smtp\"\n{unix}")) + &listener(&format!("service = \"lmtp\"\n{unix}"));
    assert!(refused(&twice, &[])[0].contains("unix:/run/x is given to smtp already"));
    let trusted = listener(&format!("service = \"imap\"\n{net}tls = \"none\"\n"))
        + "[login]\nplaintext_networks = [\"192.0.2.0/24\"]\n";
    assert!(refused(&trusted, &[]).is_empty());
}
