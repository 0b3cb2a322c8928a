//! The envelope that IMAP shows, and address lists as they are written (RFC 9051 §7.5.2, RFC 5322 §3.4, §4.4).
//!
//! Tolerant: whatever the header holds, a list comes out, groups balanced. Bounded: at [`ADDRESS_TOKENS_MAX`] tokens of
//! one envelope the rest is left out (A158). No recursion: comments are counted.

use crate::mail::content::{fields, unfold};
use crate::mail::structure::{Address, Envelope, Octets};

/// Tokens of all address fields of one envelope. The rest is not read.
pub const ADDRESS_TOKENS_MAX: usize = 10_240;
/// Octets of one envelope field that are kept and read. The rest is left out.
pub const ENVELOPE_FIELD_BYTES_MAX: usize = 128 << 10;

/// The envelope of a header section. Repeated address fields count as one list; of other fields the first wins.
#[must_use]
pub fn envelope_of(header: &[u8]) -> Envelope {
    let mut e = Envelope::default();
    let mut tokens_left = ADDRESS_TOKENS_MAX;
    for field in fields(header) {
        if field.name.len() > 11 {
            continue;
        }
        let text = || Some(unfold(field.value, ENVELOPE_FIELD_BYTES_MAX));
        let list = match field.name.to_ascii_lowercase().as_slice() {
            b"date" if e.date.is_none() => {
                e.date = text();
                continue;
            }
            b"subject" if e.subject.is_none() => {
                e.subject = text();
                continue;
            }
            b"in-reply-to" if e.in_reply_to.is_none() => {
                e.in_reply_to = text();
                continue;
            }
            b"message-id" if e.message_id.is_none() => {
                e.message_id = text();
                continue;
            }
            b"from" => &mut e.from,
            b"sender" => &mut e.sender,
            b"reply-to" => &mut e.reply_to,
            b"to" => &mut e.to,
            b"cc" => &mut e.cc,
            b"bcc" => &mut e.bcc,
            _ => continue,
        };
        read_list(&unfold(field.value, ENVELOPE_FIELD_BYTES_MAX), &mut tokens_left, list);
    }
    e
}

/// The addresses of an unfolded field value.
#[must_use]
pub fn addresses(value: &[u8]) -> Vec<Address> {
    let mut list = Vec::new();
    read_list(value, &mut ADDRESS_TOKENS_MAX.clone(), &mut list);
    list
}

fn read_list(value: &[u8], tokens_left: &mut usize, list: &mut Vec<Address>) {
    let mut reader = ListReader { list, entry: Entry::default(), in_group: false };
    let mut rest = value;
    while let Some(token) = next_token(&mut rest) {
        if *tokens_left == 0 {
            break;
        }
        *tokens_left -= 1;
        reader.take(token);
    }
    reader.end_entry();
    reader.end_group();
}

enum Token {
    Word(Octets),
    Quoted(Octets),
    Comment(Octets),
    Special(u8),
}

fn is_word(b: u8) -> bool {
    b > b' ' && b != 127 && !b",;:<>@()\"[".contains(&b)
}

fn next_token(rest: &mut &[u8]) -> Option<Token> {
    let skip = rest.iter().position(|b| *b > b' ' && *b != 127)?;
    *rest = &rest[skip..];
    let (token, used) = match rest[0] {
        b'"' => {
            let (text, used) = quoted(rest, b'"');
            (Token::Quoted(text), used)
        }
        b'[' => {
            let used = memchr::memchr(b']', rest).map_or(rest.len(), |at| at + 1);
            (Token::Word(rest[..used].to_vec()), used)
        }
        b'(' => {
            let (text, used) = comment(rest);
            (Token::Comment(text), used)
        }
        b if is_word(b) => {
            let used = rest.iter().position(|b| !is_word(*b)).unwrap_or(rest.len());
            (Token::Word(rest[..used].to_vec()), used)
        }
        special => (Token::Special(special), 1),
    };
    *rest = &rest[used..];
    Some(token)
}

fn quoted(text: &[u8], close: u8) -> (Octets, usize) {
    let mut inner = Vec::new();
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b if b == close => return (inner, at + 1),
            b'\\' if at + 1 < text.len() => {
                inner.push(text[at + 1]);
                at += 2;
            }
            b => {
                inner.push(b);
                at += 1;
            }
        }
    }
    (inner, text.len())
}

/// A comment, its nested ones included as they are.
fn comment(text: &[u8]) -> (Octets, usize) {
    let mut inner = Vec::new();
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'\\' if at + 1 < text.len() => {
                at += 1;
                inner.push(text[at]);
            }
            b'(' => {
                if depth > 0 {
                    inner.push(b'(');
                }
                depth += 1;
            }
            b')' => {
                depth -= 1;
                if depth == 0 {
                    return (inner, at + 1);
                }
                inner.push(b')');
            }
            b => inner.push(b),
        }
        at += 1;
    }
    (inner, text.len())
}

#[derive(Default, PartialEq, Eq, Clone, Copy)]
enum Stage {
    /// Words that may become a name, a local part or a group's name.
    #[default]
    Words,
    /// Behind `<`: a route or a local part.
    Angle,
    /// In the route, up to its colon.
    Route,
    /// Behind the `@` of an address.
    Host,
    /// Behind `>`: nothing more counts.
    Done,
}

#[derive(Default)]
struct Entry {
    stage: Stage,
    angle: bool,
    words: Vec<Octets>,
    name: Option<Octets>,
    comment: Option<Octets>,
    route: Octets,
    local: Option<Octets>,
    host: Octets,
}

struct ListReader<'a> {
    list: &'a mut Vec<Address>,
    entry: Entry,
    in_group: bool,
}

impl ListReader<'_> {
    fn take(&mut self, token: Token) {
        let e = &mut self.entry;
        match (token, e.stage) {
            (Token::Comment(text), _) => {
                if e.comment.is_none() && !text.is_empty() {
                    e.comment = Some(text);
                }
            }
            (Token::Special(b';'), _) if self.in_group => {
                self.end_entry();
                self.end_group();
            }
            (Token::Special(b','), Stage::Route) => e.route.push(b','),
            (Token::Special(b',' | b';'), _) => self.end_entry(),
            (_, Stage::Done) => {}
            (Token::Special(b':'), Stage::Route) => e.stage = Stage::Angle,
            (Token::Special(b'@'), Stage::Route) => e.route.push(b'@'),
            (Token::Word(w), Stage::Route) => e.route.extend_from_slice(&w),
            (Token::Special(b'@'), Stage::Angle) if e.words.is_empty() => {
                e.route.push(b'@');
                e.stage = Stage::Route;
            }
            (Token::Special(b'@'), Stage::Words | Stage::Angle) => {
                e.local = Some(take_local(&mut e.words));
                if !e.angle && !e.words.is_empty() {
                    e.name = Some(join(&e.words));
                }
                e.stage = Stage::Host;
            }
            (Token::Special(b':'), Stage::Words) => {
                let name = join(&e.words);
                self.entry = Entry::default();
                if !self.in_group {
                    self.in_group = true;
                    self.list.push(Address { mailbox: Some(name), ..Address::default() });
                }
            }
            (Token::Special(b'<'), Stage::Words | Stage::Host) => {
                // `a@b <c@d>`: what looked like an address was the name.
                if let Some(local) = e.local.take() {
                    e.name = Some([&local, &b"@"[..], &e.host].concat());
                    e.host.clear();
                } else if !e.words.is_empty() {
                    e.name = Some(join(&e.words));
                }
                e.words.clear();
                e.angle = true;
                e.stage = Stage::Angle;
            }
            (Token::Special(b'>'), Stage::Angle | Stage::Host | Stage::Route) if e.angle => {
                if e.local.is_none() && !e.words.is_empty() {
                    e.local = Some(take_local(&mut e.words));
                }
                e.stage = Stage::Done;
            }
            (Token::Word(w) | Token::Quoted(w), Stage::Host) => e.host.extend_from_slice(&w),
            (Token::Word(w) | Token::Quoted(w), Stage::Words | Stage::Angle) => e.words.push(w),
            (Token::Special(_) | Token::Quoted(_), _) => {}
        }
    }

    fn end_entry(&mut self) {
        let mut e = std::mem::take(&mut self.entry);
        if e.local.is_none() && !e.words.is_empty() {
            e.local = Some(take_local(&mut e.words));
            if !e.angle && !e.words.is_empty() {
                e.name = Some(join(&e.words));
            }
        }
        let Some(mailbox) = e.local else { return };
        self.list.push(Address {
            name: e.name.or(e.comment),
            route: Some(e.route).filter(|r| !r.is_empty()),
            mailbox: Some(mailbox),
            host: Some(e.host),
        });
    }

    fn end_group(&mut self) {
        if self.in_group {
            self.in_group = false;
            self.list.push(Address::default());
        }
    }
}

fn join(words: &[Octets]) -> Octets {
    words.join(&b' ')
}

/// The last word, with those before it that a dot ties to it: the obsolete `a . b`.
fn take_local(words: &mut Vec<Octets>) -> Octets {
    let mut first = words.len().saturating_sub(1);
    while first > 0 && (words[first].starts_with(b".") || words[first - 1].ends_with(b".")) {
        first -= 1;
    }
    words.split_off(first).concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        addresses(text.as_bytes()).iter().map(show).collect()
    }

    fn show(a: &Address) -> String {
        let f = |o: &Option<Octets>| o.as_ref().map_or("-".into(), |v| String::from_utf8_lossy(v).into_owned());
        format!("{}|{}|{}|{}", f(&a.name), f(&a.route), f(&a.mailbox), f(&a.host))
    }

    #[test]
    fn plain_and_named_addresses_are_read() {
        assert_eq!(list("a@b.c"), ["-|-|a|b.c"]);
        assert_eq!(list("John Q. Public <j.q@x.y>"), ["John Q. Public|-|j.q|x.y"]);
        assert_eq!(list("\"Public, John\" <\"j d\"@x.y>, b@c"), ["Public, John|-|j d|x.y", "-|-|b|c"]);
        assert_eq!(list("j@x.y (John (the) P)"), ["John (the) P|-|j|x.y"]);
        assert_eq!(list("a@[192.0.2.1]"), ["-|-|a|[192.0.2.1]"]);
    }

    #[test]
    fn groups_are_balanced_whatever_happens() {
        assert_eq!(list("Friends: a@b, C <c@d>;"), ["-|-|Friends|-", "-|-|a|b", "C|-|c|d", "-|-|-|-"]);
        assert_eq!(list("undisclosed-recipients:;"), ["-|-|undisclosed-recipients|-", "-|-|-|-"]);
        assert_eq!(list("G: a@b"), ["-|-|G|-", "-|-|a|b", "-|-|-|-"]);
        assert_eq!(list("G: H: a@b;"), ["-|-|G|-", "-|-|a|b", "-|-|-|-"]);
    }

    #[test]
    fn obsolete_forms_are_read() {
        assert_eq!(list("<@a,@b:c@d>"), ["-|@a,@b|c|d"]);
        assert_eq!(list("a . b @ c . d"), ["-|-|a.b|c.d"]);
        assert_eq!(list(",, a@b ,,"), ["-|-|a|b"]);
    }

    #[test]
    fn what_is_no_address_still_comes_out() {
        assert_eq!(list("postmaster"), ["-|-|postmaster|"]);
        assert_eq!(list("John <>"), Vec::<String>::new());
        assert_eq!(list("a@b <c@d>"), ["a@b|-|c|d"]);
        assert_eq!(list("\"unterminated <a@b>"), ["-|-|unterminated <a@b>|"]);
    }

    #[test]
    fn a158_the_list_ends_at_its_bound_and_depth_costs_nothing() {
        assert!(addresses("a,".repeat(100_000).as_bytes()).len() <= ADDRESS_TOKENS_MAX);
        assert_eq!(list(&format!("{}a@b", "(".repeat(100_000))), Vec::<String>::new());
        assert_eq!(list(&format!("{}a@b", "G:".repeat(1_000))).len(), 3);
    }

    #[test]
    fn an_envelope_takes_first_subject_and_all_recipients() {
        let e = envelope_of(
            b"Subject: one\r\nsubject: two\r\nTo: a@b\r\nTo: c@d\r\nFROM:\r\n x@y\r\nMessage-ID: <1@2>\r\n\r\nTo: no@no",
        );
        assert_eq!(e.subject.as_deref(), Some(&b"one"[..]));
        assert_eq!(e.to.len(), 2);
        assert_eq!(show(&e.from[0]), "-|-|x|y");
        assert_eq!(e.message_id.as_deref(), Some(&b"<1@2>"[..]));
    }
}
