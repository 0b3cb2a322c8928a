//! What is said: reply codes and enhanced codes, chosen in one place from a type.
//!
//! [`Word`] lists everything the session says of its own; [`Word::reply`] is the only place that maps it to
//! numbers and text (RFC 5321 §4.2, RFC 3463, RFC 5248). The world's refusals are [`Reply`] values. Both are written by
//! [`Reply::write`], which lets no CR, LF or control character of a text onto the wire.

use std::borrow::Cow;

use super::keyword::{Handler, is_out};
use crate::mail::header::HeaderFault;

/// One reply line. `221 2.0.0 Bye` is `Reply { code: 221, enhanced: (2, 0, 0), text: "Bye" }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200–559 (RFC 5321 §4.2.1).
    pub code: u16,
    /// Class, subject, detail (RFC 3463 §2). The class is that of `code`.
    pub enhanced: (u8, u16, u16),
    /// For people. Written in ASCII, cut at [`Reply::TEXT_BYTES_MAX`].
    pub text: Cow<'static, str>,
}

impl Reply {
    /// Text of a reply line, octets, so that the line stays within 512 (RFC 5321 §4.5.3.1.5). Longer: cut.
    pub const TEXT_BYTES_MAX: usize = 490;

    /// A reply from its parts.
    #[must_use]
    pub fn new(code: u16, enhanced: (u8, u16, u16), text: impl Into<Cow<'static, str>>) -> Self {
        Reply { code, enhanced, text: text.into() }
    }

    /// 5xx: the peer should not come back with this.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.code >= 500
    }

    /// Appends the line with its CRLF to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let (class, subject, detail) = self.enhanced;
        number(out, u64::from(self.code));
        out.push(b' ');
        if !is_out(Handler::Codes) {
            number(out, u64::from(class));
            out.push(b'.');
            number(out, u64::from(subject));
            out.push(b'.');
            number(out, u64::from(detail));
            out.push(b' ');
        }
        clean(out, &self.text);
        out.extend_from_slice(b"\r\n");
    }
}

/// Everything the session says of its own, one variant each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Yes, to a command without a code of its own.
    Ok,
    /// MAIL accepted.
    SenderOk,
    /// RCPT accepted.
    RecipientOk,
    /// QUIT.
    Bye,
    /// VRFY: neither yes nor no, the same for everybody (RFC 5321 §3.5.3, §7.3).
    CannotVerify,
    /// HELP.
    Help,
    /// A line over [`SMTP_LINE_BYTES_MAX`](crate::limits::SMTP_LINE_BYTES_MAX).
    LineTooLong,
    /// A lone CR or LF in a command line.
    BareNewlineInCommand,
    /// A NUL in a command line.
    NulInCommand,
    /// No such command.
    UnknownCommand,
    /// A command of the standards that we do not offer.
    NotImplemented,
    /// An argument missing, malformed or one too many.
    BadArgument,
    /// A name in EHLO or HELO that cannot be one.
    BadHelo,
    /// A parameter malformed or given twice.
    BadParameter,
    /// A parameter we do not know.
    UnknownParameter,
    /// MAIL FROM is no address.
    BadSender,
    /// MAIL FROM breaks a length.
    SenderTooLong,
    /// RCPT TO is no address or breaks a length.
    BadRecipient,
    /// An address in UTF-8 without SMTPUTF8 (RFC 6531 §3.5).
    NeedsUtf8,
    /// MAIL before EHLO.
    HeloFirst,
    /// MAIL within a transaction.
    NestedMail,
    /// RCPT, DATA or BDAT outside a transaction.
    MailFirst,
    /// DATA or BDAT, and every recipient was refused.
    NoRecipients,
    /// The same by LMTP (RFC 2033 §4.2).
    NoRecipientsYet,
    /// BDAT without a size that can be read.
    BadChunk,
    /// RCPT or DATA behind a chunk.
    MessageBegun,
    /// More recipients than [`RECIPIENTS_MAX`](crate::limits::RECIPIENTS_MAX).
    TooManyRecipients,
    /// The size declared or sent is over the maximum.
    TooBig,
    /// A NUL in the message.
    NulInMessage,
    /// A lone CR or LF in the message, with [`BareNewline::Reject`](super::BareNewline::Reject).
    BareNewlineInMessage,
    /// A header field or the header over its bound.
    HeaderTooBig,
    /// More header fields than [`HEADER_FIELDS_MAX`](crate::limits::HEADER_FIELDS_MAX).
    TooManyFields,
    /// The message came by here too often (RFC 5321 §6.3).
    Loop,
    /// The budget of commands or errors is spent.
    TooMuch,
    /// STARTTLS: the handshake may begin (RFC 3207 §4).
    StartTls,
    /// STARTTLS where TLS is in force.
    TlsAlready,
    /// STARTTLS after AUTH or within a transaction.
    TlsTooLate,
    /// Octets between STARTTLS and its answer (A008).
    TlsTooSoon,
    /// A command before STARTTLS, and a login needs it (RFC 3207 §4).
    TlsFirst,
    /// A command before AUTH (RFC 4954 §6).
    LoginFirst,
    /// AUTH where a password would cross the network in the clear.
    LoginNeedsTls,
    /// AUTH after AUTH or within a transaction.
    NoLoginNow,
    /// AUTH with a mechanism that we do not have.
    UnknownMechanism,
    /// AUTH succeeded.
    LoggedIn,
    /// AUTH: wrong name or password; which of them is not said.
    BadLogin,
    /// AUTH: come back later.
    LoginLater,
    /// AUTH: `*`.
    LoginCancelled,
    /// AUTH: a response that is not base64 or not of the mechanism's form.
    BadResponse,
    /// AUTH: a line over [`AUTH_LINE_BYTES_MAX`](crate::limits::AUTH_LINE_BYTES_MAX).
    AuthLineTooLong,
    /// AUTH: [`SMTP_LOGINS_REFUSED_MAX`](crate::limits::SMTP_LOGINS_REFUSED_MAX) is reached.
    TooManyLogins,
    /// The session is ended by us.
    Over,
    /// A verb of HTTP.
    NotMail,
    /// The peer was silent too long or sent too slowly.
    Timeout,
}

impl Word {
    /// The reply for this word.
    #[must_use]
    pub fn reply(self) -> Reply {
        let (code, enhanced, text) = match self {
            Word::Ok => (250, (2, 0, 0), "Ok"),
            Word::SenderOk => (250, (2, 1, 0), "Ok"),
            Word::RecipientOk => (250, (2, 1, 5), "Ok"),
            Word::Bye => (221, (2, 0, 0), "Bye"),
            Word::CannotVerify => (252, (2, 5, 0), "Send some mail, we will try to deliver it"),
            Word::Help => (214, (2, 0, 0), "See RFC 5321"),
            Word::LineTooLong => (500, (5, 5, 2), "Line too long"),
            Word::BareNewlineInCommand => (500, (5, 5, 2), "Lines end with CR and LF together"),
            Word::NulInCommand => (501, (5, 5, 2), "NUL in command"),
            Word::UnknownCommand => (500, (5, 5, 2), "Command not recognised"),
            Word::NotImplemented => (502, (5, 5, 1), "Command not implemented"),
            Word::BadArgument => (501, (5, 5, 4), "Syntax error in arguments"),
            Word::BadHelo => (501, (5, 5, 4), "Not a host name"),
            Word::BadParameter => (501, (5, 5, 4), "Parameter malformed or given twice"),
            Word::UnknownParameter => (555, (5, 5, 4), "Parameter not recognised"),
            Word::BadSender => (553, (5, 1, 7), "Sender address malformed"),
            Word::SenderTooLong => (501, (5, 1, 7), "Sender address too long"),
            Word::BadRecipient => (501, (5, 1, 3), "Recipient address malformed"),
            Word::NeedsUtf8 => (553, (5, 6, 7), "Address needs SMTPUTF8"),
            Word::HeloFirst => (503, (5, 5, 1), "Say EHLO first"),
            Word::NestedMail => (503, (5, 5, 1), "Sender already given"),
            Word::MailFirst => (503, (5, 5, 1), "Say MAIL first"),
            Word::NoRecipients => (554, (5, 5, 1), "No valid recipients"),
            Word::NoRecipientsYet => (503, (5, 5, 1), "No valid recipients"),
            Word::BadChunk => (501, (5, 5, 4), "Chunk size malformed, closing"),
            Word::MessageBegun => (503, (5, 5, 1), "The message has begun in chunks"),
            Word::TooManyRecipients => (452, (4, 5, 3), "Too many recipients"),
            Word::TooBig => (552, (5, 3, 4), "Message too big"),
            Word::NulInMessage => (550, (5, 6, 0), "NUL in message"),
            Word::BareNewlineInMessage => (550, (5, 6, 11), "Message holds a lone CR or LF"),
            Word::HeaderTooBig => (552, (5, 3, 4), "Message header too big"),
            Word::TooManyFields => (550, (5, 6, 0), "Too many header fields"),
            Word::Loop => (554, (5, 4, 6), "Routing loop detected"),
            Word::TooMuch => (421, (4, 7, 0), "Too many commands or errors, closing"),
            Word::StartTls => (220, (2, 0, 0), "Ready to start TLS"),
            Word::TlsAlready => (503, (5, 5, 1), "TLS is in force already"),
            Word::TlsTooLate => (503, (5, 5, 1), "Too late for STARTTLS"),
            Word::TlsTooSoon => (421, (4, 7, 0), "Octets between STARTTLS and its answer, closing"),
            Word::TlsFirst => (530, (5, 7, 0), "Say STARTTLS first"),
            Word::LoginFirst => (530, (5, 7, 0), "Log in first"),
            Word::LoginNeedsTls => (538, (5, 7, 11), "Log in over TLS only"),
            Word::NoLoginNow => (503, (5, 5, 1), "No login now"),
            Word::UnknownMechanism => (504, (5, 5, 4), "Mechanism not known"),
            Word::LoggedIn => (235, (2, 7, 0), "Logged in"),
            Word::BadLogin => (535, (5, 7, 8), "Wrong name or password"),
            Word::LoginLater => (454, (4, 7, 0), "No login now, try again later"),
            Word::LoginCancelled => (501, (5, 7, 0), "Login cancelled"),
            Word::BadResponse => (501, (5, 5, 2), "Response malformed"),
            Word::AuthLineTooLong => (500, (5, 5, 6), "Line too long"),
            Word::TooManyLogins => (421, (4, 7, 0), "Too many logins refused, closing"),
            Word::Over => (421, (4, 3, 2), "This session is ended, log in again"),
            Word::NotMail => (421, (4, 7, 0), "This is a mail server, closing"),
            Word::Timeout => (421, (4, 4, 2), "Timeout, closing"),
        };
        Reply { code, enhanced, text: Cow::Borrowed(text) }
    }
}

impl From<HeaderFault> for Word {
    fn from(fault: HeaderFault) -> Self {
        match fault {
            HeaderFault::FieldTooLong | HeaderFault::HeaderTooLong => Word::HeaderTooBig,
            HeaderFault::TooManyFields => Word::TooManyFields,
            HeaderFault::Loop => Word::Loop,
        }
    }
}

/// Appends `text` so that it cannot leave its line: printable ASCII stays, all else becomes `?`.
pub(super) fn clean(out: &mut Vec<u8>, text: &str) {
    out.extend(text.chars().take(Reply::TEXT_BYTES_MAX).map(|c| match c {
        ' '..='~' => c as u8,
        _ => b'?',
    }));
}

/// Appends `n` in decimal without formatting machinery: replies are written for every command.
pub(super) fn number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_stays_on_its_line() {
        let mut out = Vec::new();
        Reply::new(550, (5, 7, 1), "no\r\n250 yes\0ü").write(&mut out);
        assert_eq!(out, b"550 5.7.1 no??250 yes??\r\n");
        out.clear();
        Reply::new(550, (5, 7, 1), "x".repeat(5_000)).write(&mut out);
        assert!(out.len() <= 512);
    }

    #[test]
    fn numbers_are_decimal() {
        for n in [0, 7, 10, 421, u64::MAX] {
            let mut out = Vec::new();
            number(&mut out, n);
            assert_eq!(out, n.to_string().as_bytes());
        }
    }
}
