//! ENVELOPE as IMAP writes it (RFC 9051 §7.5.2), from a message's summary.

use rkyv::option::ArchivedOption;
use rkyv::vec::ArchivedVec;

use super::response::{nstring, string};
use crate::mail::structure::{ArchivedAddress, ArchivedEnvelope};

/// Appends the ten fields of an envelope in parentheses.
pub fn envelope(out: &mut Vec<u8>, e: &ArchivedEnvelope) {
    out.push(b'(');
    nstring(out, octets(&e.date));
    out.push(b' ');
    nstring(out, octets(&e.subject));
    // Where Sender and Reply-To are absent or empty they are From, and the client need not know.
    let or_from = |list| if addresses_are_none(list) { e.from.as_slice() } else { list };
    for list in [e.from.as_slice(), or_from(&e.sender), or_from(&e.reply_to), &e.to, &e.cc, &e.bcc] {
        out.push(b' ');
        addresses(out, list);
    }
    out.push(b' ');
    nstring(out, octets(&e.in_reply_to));
    out.push(b' ');
    nstring(out, octets(&e.message_id));
    out.push(b')');
}

fn addresses_are_none(list: &[ArchivedAddress]) -> bool {
    list.is_empty()
}

fn addresses(out: &mut Vec<u8>, list: &[ArchivedAddress]) {
    if list.is_empty() {
        return out.extend_from_slice(b"NIL");
    }
    out.push(b'(');
    for a in list {
        out.push(b'(');
        for (i, field) in [&a.name, &a.route, &a.mailbox, &a.host].into_iter().enumerate() {
            if i > 0 {
                out.push(b' ');
            }
            nstring(out, octets(field));
        }
        out.push(b')');
    }
    out.push(b')');
}

/// Optional octets of an archive.
pub(super) fn octets(of: &ArchivedOption<ArchivedVec<u8>>) -> Option<&[u8]> {
    of.as_ref().map(|v| v.as_slice())
}

/// Octets of an archive as a string.
pub(super) fn octet_string(out: &mut Vec<u8>, of: &ArchivedVec<u8>) {
    string(out, of.as_slice());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::mime::scan;
    use crate::mail::summary::Summary;

    fn shown(message: &str) -> String {
        let packed = Summary::from(scan(message.replace('\n', "\r\n").as_bytes())).pack();
        let mut out = Vec::new();
        envelope(&mut out, packed.get().parts[0].envelope.as_ref().expect("the root has one"));
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn the_example_of_the_rfc_reads_so() {
        assert_eq!(
            shown(
                "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\nFrom: Terry Gray <gray@cac.washington.edu>\n\
                 Subject: IMAP4rev2 WG mtg summary\nTo: imap@cac.washington.edu\n\
                 Cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\nMessage-Id: <B27@x>\n\nx\n"
            ),
            "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev2 WG mtg summary\" \
             ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
             ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((NIL NIL \"imap\" \"cac.washington.edu\")) \
             ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL \"<B27@x>\")"
        );
    }

    #[test]
    fn an_empty_header_is_all_nil_and_groups_are_told() {
        assert_eq!(shown("\nx"), "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
        assert!(shown("To: G: a@b;\n\n").contains("((NIL NIL \"G\" NIL)(NIL NIL \"a\" \"b\")(NIL NIL NIL NIL))"));
    }

    #[test]
    fn what_cannot_be_quoted_is_a_literal() {
        assert!(shown("Subject: a\"b\n\n").contains(" {3}\r\na\"b "));
        assert!(shown("Subject: gr\u{fc}n\n\n").contains(" {5}\r\ngr\u{fc}n "));
    }
}
