//! Trace fields: what we put in front of a letter (RFC 5321 §4.4, RFC 5322 §3.6.7).
//!
//! Each function appends one field with its CRLF. Nothing that a peer said can start another field or close a
//! comment: the name it gave is written with host name characters alone, addresses come as types that hold
//! no control character. Lines are folded at 78 octets where their words allow.

use std::net::IpAddr;

use crate::mail::address::{ForwardPath, ReversePath};
use crate::mail::date;

/// Where a line is folded if it can be (RFC 5322 §2.1.1).
const FOLD_COLUMN: usize = 78;

/// How a letter came to us.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The name the peer gave. Anything; written sanitised.
    pub helo: &'a str,
    /// EHLO or LHLO, not HELO.
    pub extended: bool,
    /// LHLO.
    pub lmtp: bool,
    /// SMTPUTF8 was declared.
    pub utf8: bool,
    /// Under TLS: which.
    pub tls: Option<Secured<'a>>,
    /// From one of our own users, who had logged in. Who it was is not written: readers need not know.
    pub authenticated: bool,
    /// Where it came from, if from the network.
    pub peer: Option<IpAddr>,
    /// Our own name.
    pub host: &'a str,
    /// The letter's id.
    pub id: &'a str,
    /// The recipient, only if there is one: else one recipient would learn of the others.
    pub recipient: Option<&'a ForwardPath>,
    /// When, milliseconds since 1970.
    pub now_ms: i64,
}

/// What TLS protected a letter on its way to us.
#[derive(Clone, Copy, Debug)]
pub struct Secured<'a> {
    /// `TLSv1.3`.
    pub version: &'a str,
    /// As IANA names it: `TLS_AES_128_GCM_SHA256`.
    pub cipher: &'a str,
}

impl Received<'_> {
    /// Appends the field.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut field = Folded::begin(out, "Received: from ");
        field.word(&name(self.helo));
        match self.peer.map(|ip| ip.to_canonical()) {
            Some(IpAddr::V4(ip)) => field.word(&format!("([{ip}])")),
            Some(IpAddr::V6(ip)) => field.word(&format!("([IPv6:{ip}])")),
            None => {}
        }
        field.line();
        field.word("by");
        field.word(&name(self.host));
        field.word(&self.with());
        field.word("id");
        field.word(&name(self.id));
        field.line();
        if let Some(recipient) = self.recipient {
            field.word("for");
            field.word(&recipient.to_string());
        }
        // RFC 8314 §4.3 has the cipher; the version is a comment.
        if let Some(Secured { version, cipher }) = self.tls {
            field.word("tls");
            field.word(&name(cipher));
            field.word(&format!("({})", name(version)));
        }
        field.glue(";");
        field.word(&date::rfc5322(self.now_ms));
        field.end();
    }
}

impl Received<'_> {
    /// Protocol and manner (RFC 3848 §2, RFC 6531 §4.3). HELO has no words for TLS and login.
    fn with(&self) -> String {
        let protocol = match (self.extended, self.lmtp, self.utf8) {
            (false, ..) => return "with SMTP".to_owned(),
            (true, false, false) => "ESMTP",
            (true, false, true) => "UTF8SMTP",
            (true, true, false) => "LMTP",
            (true, true, true) => "UTF8LMTP",
        };
        let (tls, login) = (if self.tls.is_some() { "S" } else { "" }, if self.authenticated { "A" } else { "" });
        format!("with {protocol}{tls}{login}")
    }
}

/// Appends `Received` for a letter that a program on this host handed in without SMTP (RFC 5321 §4.4 has no words for it). `user`:
/// whose program.
pub fn received_here(out: &mut Vec<u8>, (host, id): (&str, &str), user: u32, now_ms: i64) {
    let mut field = Folded::begin(out, "Received: by ");
    field.word(&name(host));
    field.word(&format!("(Ringpost, from userid {user})"));
    field.word("id");
    field.word(&name(id));
    field.glue(";");
    field.word(&date::rfc5322(now_ms));
    field.end();
}

/// Appends `Return-Path`, written once, at final delivery.
pub fn return_path(out: &mut Vec<u8>, sender: &ReversePath) {
    let mut field = Folded::begin(out, "Return-Path: ");
    field.word(&sender.to_string());
    field.end();
}

/// Appends `Delivered-To`, by which a loop is known.
pub fn delivered_to(out: &mut Vec<u8>, mailbox: &str) {
    let mut field = Folded::begin(out, "Delivered-To: ");
    field.word(&mailbox.chars().map(|c| if c.is_control() { '?' } else { c }).collect::<String>());
    field.end();
}

/// A host name, address literal or id as it may stand in a trace field; what cannot be there becomes `?`. Colons and
/// brackets stand in a literal only, one pair around it: half of one would swallow what follows (RFC 5322 §3.4.1).
fn name(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let cleaned = |text: &str, sound: &dyn Fn(char) -> bool| -> String {
        text.chars().map(|c| if sound(c) { c } else { '?' }).collect()
    };
    match text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(inner) => format!("[{}]", cleaned(inner, &|c| plain(c) || c == ':')),
        None if text.is_empty() => "?".to_owned(),
        None => cleaned(text, &plain),
    }
}

/// A field being written word by word.
struct Folded<'a> {
    out: &'a mut Vec<u8>,
    column: usize,
    /// The next word begins a line or the value.
    fresh: bool,
    /// Fold before the next word.
    due: bool,
}

impl<'a> Folded<'a> {
    fn begin(out: &'a mut Vec<u8>, name: &str) -> Self {
        out.extend_from_slice(name.as_bytes());
        Folded { out, column: name.len(), fresh: true, due: false }
    }

    fn word(&mut self, word: &str) {
        if self.due || (!self.fresh && self.column + 1 + word.len() >= FOLD_COLUMN) {
            self.out.extend_from_slice(b"\r\n\t");
            self.column = 1;
        } else if !self.fresh {
            self.out.push(b' ');
            self.column += 1;
        }
        self.due = false;
        self.fresh = false;
        self.glue(word);
    }

    /// Without a space before it.
    fn glue(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
        self.column += text.len();
    }

    /// The next word begins a line.
    fn line(&mut self) {
        self.due = true;
    }

    fn end(self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received<'a>(change: impl FnOnce(&mut Received<'a>)) -> String {
        let mut received = Received {
            helo: "client.test",
            extended: true,
            lmtp: false,
            utf8: false,
            tls: None,
            authenticated: false,
            peer: Some("192.0.2.1".parse().unwrap()),
            host: "mx.ringpost.test",
            id: "0190c7a4",
            recipient: None,
            now_ms: 0,
        };
        change(&mut received);
        let mut out = Vec::new();
        received.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_letter_says_whether_it_came_by_tls_after_a_login_and_in_which_protocol() {
        const TLS: Secured<'_> = Secured { version: "TLSv1.3", cipher: "TLS_AES_128_GCM_SHA256" };
        for (lmtp, utf8, protocol) in
            [(false, false, "ESMTP"), (false, true, "UTF8SMTP"), (true, false, "LMTP"), (true, true, "UTF8LMTP")]
        {
            for (tls, authenticated, suffix) in
                [(None, false, ""), (Some(TLS), false, "S"), (None, true, "A"), (Some(TLS), true, "SA")]
            {
                let set = |r: &mut Received<'_>| {
                    (r.lmtp, r.utf8, r.authenticated) = (lmtp, utf8, authenticated);
                    r.tls = tls;
                };
                let text = received(set);
                assert!(text.contains(&format!(" with {protocol}{suffix} id ")) && is_one_field(&text), "{text}");
                assert_eq!(text.contains("\ttls TLS_AES_128_GCM_SHA256 (TLSv1.3); Thu"), tls.is_some(), "{text}");
                let text = received(|r| {
                    set(r);
                    r.extended = false;
                });
                assert!(text.contains(" with SMTP id "), "{text}");
            }
        }
        let (path, _) = ForwardPath::read(b"<alice@ringpost.test>", false).unwrap();
        let text = received(|r| (r.tls, r.recipient) = (Some(TLS), Some(&path)));
        assert!(is_one_field(&text), "{text}");
        let line = text.replace("\r\n\t", " ");
        assert!(line.contains("for <alice@ringpost.test> tls TLS_AES_128_GCM_SHA256 (TLSv1.3); Thu"), "{text}");
    }

    /// Exactly one field, and every line of it but the first is folded.
    fn is_one_field(text: &str) -> bool {
        let inner = text.strip_suffix("\r\n").unwrap();
        inner.split("\r\n").skip(1).all(|line| line.starts_with('\t') && line.len() > 1)
            && !inner.replace("\r\n", "").contains(['\r', '\n', '\0'])
    }

    #[test]
    fn a_letter_says_how_it_came() {
        assert_eq!(
            received(|_| {}),
            "Received: from client.test ([192.0.2.1])\r\n\tby mx.ringpost.test with ESMTP id 0190c7a4;\r\n\tThu, 1 Jan 1970 00:00:00 +0000\r\n"
        );
        let (path, _) = ForwardPath::read(b"<alice@ringpost.test>", false).unwrap();
        let text = received(|r| {
            r.recipient = Some(&path);
            r.extended = false;
            r.peer = Some("2001:db8::1".parse().unwrap());
        });
        assert_eq!(
            text,
            "Received: from client.test ([IPv6:2001:db8::1])\r\n\tby mx.ringpost.test with SMTP id 0190c7a4\r\n\tfor <alice@ringpost.test>; Thu, 1 Jan 1970 00:00:00 +0000\r\n"
        );
    }

    #[test]
    fn a047_a048_nothing_a_peer_says_leaves_its_place() {
        let long = "x".repeat(5_000);
        for helo in ["a\r\nX-Evil: 1", "a) by evil (", "a\0b", "", "ü", "a;b", &long] {
            let text = received(|r| r.helo = helo);
            assert!(is_one_field(&text), "{text}");
            assert_eq!(text.matches('(').count(), 1, "{text}");
            assert_eq!(text.matches(';').count(), 1, "{text}");
        }
        for (helo, shown) in [("[IPv6:::1]", "[IPv6:::1]"), ("[", "?"), ("[a", "?a"), ("a]", "a?"), ("[[a]]", "[?a?]")]
        {
            let text = received(|r| r.helo = helo);
            assert!(text.contains(&format!("from {shown} (")), "{text}");
        }
    }

    #[test]
    fn long_words_go_to_a_line_of_their_own() {
        let helo = format!("{}.test", "h".repeat(60));
        let text = received(|r| r.helo = &helo);
        assert!(is_one_field(&text) && text.split("\r\n").all(|line| line.len() < 85), "{text}");
    }

    #[test]
    fn return_path_and_delivered_to_are_one_field_each() {
        let (path, _) = ReversePath::read(b"<\"a b\"@d.test>", false).unwrap();
        let mut out = Vec::new();
        return_path(&mut out, &path);
        return_path(&mut out, &ReversePath::Null);
        delivered_to(&mut out, "alice@ringpost.test\r\nX: y");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "Return-Path: <\"a b\"@d.test>\r\nReturn-Path: <>\r\nDelivered-To: alice@ringpost.test??X: y\r\n"
        );
    }
}
