//! OpenSMTPD, as Debian builds it: its two users, its queue and its empty folder, and each word to its relay in its log.

use std::path::Path;

use super::apart::{Apart, Running};
use super::free_port;

/// Running; stopped when dropped.
pub struct OpenSmtpd {
    running: Running,
    pub port: u16,
}

/// `smtp+tls`: no letter without a handshake, and no handshake without a certificate that somebody vouches for.
const CONF: &str = "\
listen on 127.0.0.1 port PORT hostname opensmtpd.test
action \"relay\" relay host \"smtp+tls://localhost:RELAY\" helo opensmtpd.test
match from any for any action \"relay\"
";

impl OpenSmtpd {
    /// Relays everything to `localhost:RELAY`, whose certificate is this one. `None`: this machine cannot run one.
    pub fn relaying(dir: &Path, relay: u16, certificate: &str) -> Option<OpenSmtpd> {
        let apart = Apart::prepare(dir, "smtpd", &["opensmtpd", "opensmtpq"])?;
        let port = free_port();
        apart.file("etc/smtpd.conf", &CONF.replace("PORT", &port.to_string()).replace("RELAY", &relay.to_string()));
        apart.file("etc/mailname", "opensmtpd.test\n");
        // Whom it believes; there is no setting for it.
        apart.file("etc/ssl/certs/ca-certificates.crt", certificate);
        apart.folder("var/spool/smtpd");
        apart.folder("var/lib/opensmtpd/empty");
        Some(OpenSmtpd { running: apart.start(port, &["-d", "-v", "-T", "mta"]), port })
    }

    pub fn log(&self) -> String {
        self.running.log()
    }
}
