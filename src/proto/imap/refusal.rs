//! Why a command is not carried out, as the tagged line says it: NO (it may not or cannot be) or BAD (it is not IMAP,
//! or not now). Chosen where the mistake is found, spelt in one place.

use super::ask::No;
use super::name;

/// A tagged NO or BAD, without its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    word: &'static str,
    /// Response code without brackets; may be empty.
    code: &'static str,
    text: &'static str,
}

impl Refusal {
    /// SEARCH in a charset that is not known (A116, RFC 9051 §6.4.4).
    pub const BAD_CHARSET: Refusal = Refusal { word: "NO", code: "BADCHARSET (UTF-8)", text: "Charset is not known" };
    /// Passwords only over TLS (A110, RFC 9051 §6.2.3).
    pub const PRIVACY: Refusal = Refusal { word: "NO", code: "PRIVACYREQUIRED", text: "Log in over TLS only" };

    /// BAD with a text.
    #[must_use]
    pub const fn bad(text: &'static str) -> Refusal {
        Refusal { word: "BAD", code: "", text }
    }

    /// BAD because something is larger than we take.
    #[must_use]
    pub const fn too_big(text: &'static str) -> Refusal {
        Refusal { word: "BAD", code: "TOOBIG", text }
    }

    /// NO with a response code and a text.
    #[must_use]
    pub const fn no(code: &'static str, text: &'static str) -> Refusal {
        Refusal { word: "NO", code, text }
    }

    /// True for NO: the syntax was right.
    #[must_use]
    pub fn is_no(self) -> bool {
        self.word == "NO"
    }

    /// Appends `NO [CODE] text` CRLF.
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.word.as_bytes());
        if !self.code.is_empty() {
            out.extend_from_slice(b" [");
            out.extend_from_slice(self.code.as_bytes());
            out.push(b']');
        }
        out.push(b' ');
        out.extend_from_slice(self.text.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

impl From<No> for Refusal {
    fn from(no: No) -> Refusal {
        let (code, text) = no.words();
        Refusal { word: "NO", code, text }
    }
}

/// A name that is none can never be a mailbox (A118).
impl From<name::Refused> for Refusal {
    fn from(refused: name::Refused) -> Refusal {
        Refusal::no(
            "CANNOT",
            match refused {
                name::Refused::TooLong => "Mailbox name is too long",
                name::Refused::TooDeep => "Mailbox name has too many levels",
                name::Refused::Utf7 => "Mailbox name is not valid modified UTF-7",
                name::Refused::Control => "Mailbox name has control characters",
                name::Refused::Level => "Mailbox name has an empty or relative level",
                name::Refused::Wildcard => "Mailbox name has wildcards",
            },
        )
    }
}
