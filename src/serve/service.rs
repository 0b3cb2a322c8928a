//! What there are doors for: protocols, and the services that speak them.

use crate::net::{Acceptor, Acceptors};
use crate::observe::{Counter, Gauge};

/// The protocols that have doors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Mail comes in (RFC 5321).
    Smtp,
    /// Mail is read (RFC 3501, RFC 9051).
    Imap,
    /// Mail is fetched (RFC 1939).
    Pop3,
    /// Figures and health are asked for (RFC 9112).
    Http,
}

/// What a door is for: a protocol, who is expected there, and whether TLS comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// Mail from other hosts (RFC 5321).
    Smtp,
    /// Mail from our own users (RFC 6409).
    Submission,
    /// The same, TLS first (RFC 8314 §3.3).
    Submissions,
    /// Mail that a neighbour hands over for good (RFC 2033).
    Lmtp,
    /// Mailboxes (RFC 9051).
    Imap,
    /// The same, TLS first (RFC 8314 §3.2).
    Imaps,
    /// Maildrops (RFC 1939).
    Pop3,
    /// The same, TLS first (RFC 8314 §3.2).
    Pop3s,
    /// Figures and health.
    Http,
    /// Letters of programs on this host, by `ringpost sendmail`.
    Sendmail,
}

impl Service {
    /// All of them, in the order in which they are announced.
    pub const ALL: [Service; 10] = [
        Service::Smtp,
        Service::Submission,
        Service::Submissions,
        Service::Lmtp,
        Service::Imap,
        Service::Imaps,
        Service::Pop3,
        Service::Pop3s,
        Service::Http,
        Service::Sendmail,
    ];

    /// The service of that word. `mx` is another one for what IANA calls smtp.
    #[must_use]
    pub fn named(word: &str) -> Option<Service> {
        let word = if word == "mx" { "smtp" } else { word };
        Self::ALL.into_iter().find(|service| service.word() == word)
    }

    /// The same service with TLS first, if there is one.
    #[must_use]
    pub fn with_tls_first(self) -> Option<Service> {
        match self {
            Service::Submission => Some(Service::Submissions),
            Service::Imap => Some(Service::Imaps),
            Service::Pop3 => Some(Service::Pop3s),
            _ => self.tls_first().then_some(self),
        }
    }

    /// The word in the configuration, in logs and metrics: the service's name in IANA's registry.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Service::Smtp => "smtp",
            Service::Submission => "submission",
            Service::Submissions => "submissions",
            Service::Lmtp => "lmtp",
            Service::Imap => "imap",
            Service::Imaps => "imaps",
            Service::Pop3 => "pop3",
            Service::Pop3s => "pop3s",
            Service::Http => "http",
            Service::Sendmail => "sendmail",
        }
    }

    /// What is spoken there.
    #[must_use]
    pub fn protocol(self) -> Protocol {
        match self {
            // What is spoken by programs on this host is a line of JSON; it brings mail, and is counted so.
            Service::Smtp | Service::Submission | Service::Submissions | Service::Lmtp | Service::Sendmail => {
                Protocol::Smtp
            }
            Service::Imap | Service::Imaps => Protocol::Imap,
            Service::Pop3 | Service::Pop3s => Protocol::Pop3,
            Service::Http => Protocol::Http,
        }
    }

    /// True if the conversation begins with a handshake.
    #[must_use]
    pub fn tls_first(self) -> bool {
        matches!(self, Service::Submissions | Service::Imaps | Service::Pop3s)
    }

    /// Where its connections are counted.
    pub(super) fn accepted(self) -> Counter {
        match self {
            Service::Smtp => Counter::ConnectionsSmtp,
            Service::Submission => Counter::ConnectionsSubmission,
            Service::Submissions => Counter::ConnectionsSubmissions,
            Service::Lmtp => Counter::ConnectionsLmtp,
            Service::Imap => Counter::ConnectionsImap,
            Service::Imaps => Counter::ConnectionsImaps,
            Service::Pop3 => Counter::ConnectionsPop3,
            Service::Pop3s => Counter::ConnectionsPop3s,
            Service::Http => Counter::ConnectionsHttp,
            Service::Sendmail => Counter::ConnectionsSendmail,
        }
    }

    /// True if a start of which nothing was said opens it. LMTP takes mail as final and asks for no login, and who may hand in letters
    /// on this host is for the operator to say: who wants one of these says so.
    #[must_use]
    pub fn by_default(self) -> bool {
        !matches!(self, Service::Lmtp | Service::Sendmail)
    }

    /// What this door shakes hands with. `None`: there is no TLS there.
    pub(super) fn acceptor(self, acceptors: &Acceptors) -> Option<&Acceptor> {
        Some(match self {
            Service::Smtp => &acceptors.smtp,
            Service::Submission => &acceptors.submission,
            Service::Submissions => &acceptors.submissions,
            Service::Lmtp => &acceptors.lmtp,
            Service::Imap => &acceptors.imap,
            Service::Imaps => &acceptors.imaps,
            Service::Pop3 => &acceptors.pop3,
            Service::Pop3s => &acceptors.pop3s,
            Service::Http | Service::Sendmail => return None,
        })
    }

    /// The port of an unconfigured start; 0 for what has none.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Service::Smtp => 2525,
            Service::Submission => 2587,
            Service::Submissions => 2465,
            Service::Lmtp => 2024,
            Service::Imap => 2143,
            Service::Imaps => 2993,
            Service::Pop3 => 2110,
            Service::Pop3s => 2995,
            Service::Http => 2080,
            Service::Sendmail => 0,
        }
    }
}

impl Protocol {
    /// The word in logs and at the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Protocol::Smtp => "smtp",
            Protocol::Imap => "imap",
            Protocol::Pop3 => "pop3",
            Protocol::Http => "http",
        }
    }

    /// Where those are counted for whom there is no place.
    pub(super) fn refused(self) -> Counter {
        match self {
            Protocol::Smtp => Counter::RefusedSmtp,
            Protocol::Imap => Counter::RefusedImap,
            Protocol::Pop3 => Counter::RefusedPop3,
            Protocol::Http => Counter::RefusedHttp,
        }
    }

    /// Where those are counted who are here.
    pub(super) fn open(self) -> Gauge {
        match self {
            Protocol::Smtp => Gauge::OpenSmtp,
            Protocol::Imap => Gauge::OpenImap,
            Protocol::Pop3 => Gauge::OpenPop3,
            Protocol::Http => Gauge::OpenHttp,
        }
    }

    /// What a client is told whom an operator has banned.
    pub(super) fn banned(self) -> &'static [u8] {
        match self {
            Protocol::Smtp => b"554 5.7.1 Access denied\r\n",
            Protocol::Imap => b"* BYE Access denied\r\n",
            Protocol::Pop3 => b"-ERR Access denied\r\n",
            Protocol::Http => b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        }
    }

    /// What a newcomer is told when there is too much to do already.
    pub(super) fn too_busy(self) -> &'static [u8] {
        match self {
            Protocol::Smtp => b"421 4.3.2 Too busy, try again later\r\n",
            Protocol::Imap => b"* BYE [UNAVAILABLE] Too busy, try again later\r\n",
            Protocol::Pop3 => b"-ERR [SYS/TEMP] Too busy, try again later\r\n",
            Protocol::Http => self.no_place(false),
        }
    }

    /// What a guest is told for whom there is no place (A057): by his address, or by all together.
    pub(super) fn no_place(self, address_has_its_share: bool) -> &'static [u8] {
        match (self, address_has_its_share) {
            (Protocol::Smtp, true) => b"421 4.7.0 Too many connections from your address, try again later\r\n",
            (Protocol::Smtp, false) => b"421 4.3.2 Too many connections, try again later\r\n",
            (Protocol::Imap, true) => b"* BYE [LIMIT] Too many connections from your address, try again later\r\n",
            (Protocol::Imap, false) => b"* BYE [UNAVAILABLE] Too many connections, try again later\r\n",
            (Protocol::Pop3, true) => b"-ERR [SYS/TEMP] Too many connections from your address, try again later\r\n",
            (Protocol::Pop3, false) => b"-ERR [SYS/TEMP] Too many connections, try again later\r\n",
            (Protocol::Http, _) => {
                b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            }
        }
    }
}
