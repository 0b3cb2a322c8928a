//! The world of the IMAP session: alice, password `secret`, three messages in INBOX, a mailbox `Archive` nobody may change.
//! `A:` lines: the ask's name and then `no Name`, or `tell` and a line the door writes before its usual answer.
//! `K:` lines: `message_bytes_max`, `plaintext no`, `privacy offered|tls`.

use ringpost::proto::contract::{Out, Privacy};
use ringpost::proto::imap::completion;
use ringpost::proto::imap::response::{self, FetchLine};
use ringpost::proto::imap::update::may_tell_expunge;
use ringpost::proto::imap::{Answer, Ask, Config, Fetch, FetchItem, FlagList, Name, No, Session, Set, StatusItem};

use super::{Script, Settings, World, keys};

const MESSAGES: u32 = 3;
const HIGHEST_MODSEQ: u64 = 1 << 40;
const MAILBOXES: [&str; 5] = ["Archive", "Entwürfe", "INBOX", "Projects/2026", "a b"];

#[derive(Default)]
pub struct Imap {
    appended: u32,
    /// Messages of the APPEND under way.
    coming: u32,
}

impl World for Imap {
    type Session = Session;

    const NAME: &str = "imap";
    const OPENING: &[&[u8]] = &[
        b"a0 STARTTLS\r\n",
        b"a1 LOGIN alice secret\r\n",
        b"a2 SELECT INBOX\r\n",
        b"a3 FETCH 1:* (FLAGS BODY[HEADER.FIELDS (From)]<0.10>)\r\n",
        b"a4 APPEND INBOX (\\Seen) {12+}\r\nSubject: x\r\n\r\n",
        b"a5 UID SEARCH NOT OR FROM {3+}\r\nbob SEEN\r\n",
    ];
    const WORDS: &[&[u8]] = &[
        b"a AUTHENTICATE SCRAM-SHA-256 biwsbj1hbGljZSxyPWFiYw==\r\n",
        b"Yz1iaXdzLHI9YWJjLHA9QUFBQQ==\r\n",
        b"a CAPABILITY\r\n",
        b"a STARTTLS\r\n",
        b"a STARTTLS now\r\n",
        b"a STARTTLS {3+}\r\nnow\r\n",
        b"\x16\x03\x01",
        b"a NOOP\r\n",
        b"a LOGIN alice secret\r\n",
        b"a LOGIN {5}\r\nalice {6+}\r\nsecret\r\n",
        b"a LOGIN {5+}\r\nalice wrong\r\n",
        b"a LOGIN {9000}\r\n",
        b"a AUTHENTICATE PLAIN\r\n",
        b"AGFsaWNlAHNlY3JldA==\r\n",
        b"a AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==\r\n",
        b"*\r\n",
        b"a ID (\"name\" \"x\" \"version\" NIL)\r\n",
        b"a id {3+}\r\nnil\r\n",
        b"a ENABLE CONDSTORE X-NONE\r\n",
        b"a NAMESPACE\r\n",
        b"a LIST \"\" *\r\n",
        b"a LIST \"\" \"\"\r\n",
        b"a LSUB \"Projects/\" %\r\n",
        b"a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (% {1+}\r\n* \"a b\") RETURN (CHILDREN STATUS (SIZE UNSEEN))\r\n",
        b"a list (special-use) Projects/ () return (subscribed)\r\n",
        b"a STATUS INBOX (MESSAGES UIDNEXT)\r\n",
        b"a STATUS {5+}\r\nINBOX (SIZE HIGHESTMODSEQ DELETED)\r\n",
        b"a CREATE new/\r\n",
        b"a CREATE \"Entw\xc3\xbcrfe\" (USE (\\Drafts))\r\n",
        b"a CREATE x (USE (\\All \\Sent))\r\n",
        b"a DELETE inbox\r\n",
        b"a DELETE \"a b\"\r\n",
        b"a RENAME INBOX {3+}\r\nold\r\n",
        b"a RENAME Projects Projects/2027\r\n",
        b"a RENAME Archive {4}\r\nOld/\r\n",
        b"a SUBSCRIBE &AOQ-\r\n",
        b"a UNSUBSCRIBE nowhere\r\n",
        b"a SELECT INBOX\r\n",
        b"a SELECT \"in\\box\"\r\n",
        b"a SELECT ../x\r\n",
        b"a EXAMINE Archive\r\n",
        b"a CLOSE\r\n",
        b"a UNSELECT\r\n",
        b"a CHECK\r\n",
        b"a EXPUNGE\r\n",
        b"a UID EXPUNGE 1:*\r\n",
        b"a FETCH 1:* FULL\r\n",
        b"a UID FETCH 1,3:2,*:4294967295 (BODY.PEEK[1.2.MIME]<5.5> RFC822.TEXT)\r\n",
        b"a STORE 1 +FLAGS.SILENT (\\Deleted $Junk)\r\n",
        b"a UID STORE 1:2 FLAGS \\Seen x\r\n",
        b"a SEARCH CHARSET UTF-8 SUBJECT {2+}\r\n\xc3\xa4 UNSEEN\r\n",
        b"a UID SEARCH (OR NOT SEEN (LARGER 5 1:3)) SINCE 1-Feb-1994\r\n",
        b"a APPEND INBOX {20}\r\nline\nline\r\rline\r\nx\r\n\n\r\n",
        b"a APPEND {5+}\r\nINBOX (\\Seen) \" 1-Jan-2026 00:00:00 +0000\" {3+}\r\nx\0y\r\n",
        b"a APPEND nowhere {14+}\r\na LOGOUT\r\n\r\nx\r\n",
        b"a APPEND INBOX {3+}\r\nabc (\\Seen) {3+}\r\nabc\r\n",
        b"a APPEND INBOX {10000000000+}\r\n",
        b"a APPEND INBOX {1+}\r\nx (\\Seen) {2+}\r\ny\n\r\n",
        b"a APPEND INBOX {1+}\r\nx {1}\r\ny \" 1-Jan-2026 00:00:00 +0000\" {3+}\r\na\0b {4+}\r\na b\r\r\n",
        b" (\\Seen) {5+}\r\n",
        b"a COPY 1,3 Archive\r\n",
        b"a UID COPY 2:* {5+}\r\nINBOX\r\n",
        b"a MOVE 1:* nowhere\r\n",
        b"a UID MOVE 2 Archive\r\n",
        b"a SELECT INBOX (CONDSTORE)\r\n",
        b"a FETCH 1:* (FLAGS MODSEQ) (CHANGEDSINCE 12)\r\n",
        b"a UID STORE 1:* (UNCHANGEDSINCE 9223372036854775807) +FLAGS.SILENT (\\Deleted)\r\n",
        b"a STORE 1 (UNCHANGEDSINCE 18446744073709551616) FLAGS ()\r\n",
        b"a SEARCH OR MODSEQ \"/flags/\\\\seen\" all 5 NOT MODSEQ 0\r\n",
        b"a IDLE\r\n",
        b"a IDLE\r\n",
        b"done\r\n",
        b"DONE\r\n",
        b"DONE\n",
        b"DON",
        b"a LOGOUT\r\n",
        b"a FOO {4+}\r\n\r\n\r\n x\r\n",
        b"+a NOOP {3+}\r\na b\r\n",
        b"a NOOP\n",
        b"a NOOP {2+}\n\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"{3}\r\n",
        b"{0+}\r\n",
        b"{99999999999999999999+}\r\n",
        b" {",
        b"\"",
        b"((((((((",
        b"\xff\xfe",
        b"a line of text that is longer than the others and has nothing to say at all ",
    ];
    const RANDOM: &[(&str, &str)] = &[("privacy", "offered"), ("keys", "yes")];
    const STARTS_TLS: bool = true;

    fn open(settings: &Settings, out: &mut Out<Ask>) -> (Self, Session) {
        let mut config = Config {
            privacy: Privacy::None,
            plaintext_auth_allowed: true,
            keys: false,
            allowed: ringpost::proto::sasl::Allowed::ALL,
            binds: false,
            message_bytes_max: 50 << 20,
        };
        for (key, value) in settings {
            match (key.as_str(), value.as_str()) {
                ("message_bytes_max", octets) => config.message_bytes_max = octets.parse().expect("octets"),
                ("privacy", "offered") => config.privacy = Privacy::Offered,
                ("privacy", "tls") => config.privacy = Privacy::Tls,
                ("keys", "yes") => config.keys = true,
                ("binds", "yes") => config.binds = true,
                ("plaintext", "no") => config.plaintext_auth_allowed = false,
                other => panic!("no such setting: {other:?}"),
            }
        }
        (Imap::default(), Session::open(config, out))
    }

    fn answer(&mut self, ask: Ask, script: &mut Script, reply: &mut Vec<u8>) -> Answer {
        let kind = format!("{ask:?}");
        let kind = kind.split([' ', '(', '{']).next().expect("a name");
        let untold = reply.len();
        let usual = self.usual(&ask, reply);
        match script.next(kind).as_deref().map(|line| line.split_once(' ').expect("two words")) {
            None => usual,
            Some(("tell", line)) => {
                assert!(may_tell_expunge(&ask) || !line.ends_with(" EXPUNGE"), "the client is counting");
                reply.extend_from_slice(line.as_bytes());
                reply.extend_from_slice(b"\r\n");
                usual
            }
            Some(("no", name)) => {
                reply.truncate(untold);
                let all = [
                    No::BadLogin,
                    No::Unavailable,
                    No::NonExistent,
                    No::TryCreate,
                    No::Cannot,
                    No::AlreadyExists,
                    No::UseAttr,
                    No::ReadOnly,
                    No::Limit,
                    No::TooBig,
                    No::ExpungeIssued,
                    No::ServerBug,
                ];
                Answer::No(*all.iter().find(|no| format!("{no:?}") == name).expect("such a no"))
            }
            other => panic!("not an answer: {other:?}"),
        }
    }

    fn stray(n: u8) -> Answer {
        match n % 7 {
            6 => Answer::Keys(keys::known(b"stray")),
            0 => Answer::Welcome,
            1 => Answer::Done,
            2 => Answer::Selected { read_only: n > 100 },
            3 => Answer::Go,
            4 => Answer::Appended { uidvalidity: 1, uids: Set::of_rising([u32::from(n)]) },
            _ => Answer::No(No::Unavailable),
        }
    }
}

impl Imap {
    fn usual(&mut self, ask: &Ask, reply: &mut Vec<u8>) -> Answer {
        let no_mailbox = |name: &Name| !MAILBOXES.contains(&name.as_str());
        match ask {
            Ask::Login(login) if login.name == b"alice" && keys::is_alices(&login.evidence) => return Answer::Welcome,
            Ask::Keys(name) => return Answer::Keys(keys::known(name)),
            Ask::Login(_) => return Answer::No(No::BadLogin),
            Ask::Id(fields) => {
                let fields: Vec<String> = fields.iter().map(|f| format!("{}={}", f.name, f.value)).collect();
                response::id(reply, &[("name", "stage"), ("you", &fields.join(" "))]);
            }
            Ask::List(list) => {
                for name in MAILBOXES.iter().filter(|name| list.patterns.iter().any(|p| p.matches(name))) {
                    let child_info: &[&str] = if list.only.recursive { &["SUBSCRIBED"] } else { &[] };
                    response::list(reply, list.lsub, &["\\HasNoChildren"], name, child_info);
                    if let Some(items) = &list.tell.status {
                        response::status(reply, name, &counts(items));
                    }
                }
            }
            Ask::Create(create) if !no_mailbox(&create.mailbox) => return Answer::No(No::AlreadyExists),
            Ask::Delete(name) if no_mailbox(name) => return Answer::No(No::NonExistent),
            Ask::Rename(rename) if no_mailbox(&rename.from) => return Answer::No(No::NonExistent),
            Ask::Rename(rename) if !no_mailbox(&rename.to) => return Answer::No(No::AlreadyExists),
            Ask::Create(_) | Ask::Delete(_) | Ask::Rename(_) | Ask::Subscribe { .. } => {}
            Ask::Status(status) if no_mailbox(&status.mailbox) => return Answer::No(No::NonExistent),
            Ask::Status(status) => {
                response::status(reply, status.mailbox.as_str(), &counts(&status.items));
            }
            Ask::Select(select) if no_mailbox(&select.mailbox) => return Answer::No(No::NonExistent),
            Ask::Select(select) => {
                let read_only = select.read_only || select.mailbox.as_str() == "Archive";
                response::flags(reply, FlagList::SEEN | FlagList::DELETED, &[]);
                response::exists(reply, MESSAGES);
                response::recent(reply, 0);
                response::permanent_flags(reply, if read_only { 0 } else { FlagList::SEEN }, &[], !read_only);
                response::uid_validity(reply, 1);
                response::uid_next(reply, MESSAGES + 1);
                response::highest_modseq(reply, HIGHEST_MODSEQ);
                return Answer::Selected { read_only };
            }
            Ask::Fetch(fetch) => write_fetch(fetch, reply),
            // Message 2 was changed by somebody else.
            Ask::Store(store) if store.unchanged_since.is_some_and(|since| since < HIGHEST_MODSEQ) => {
                let left_alone = Set::of_rising([2]);
                return if store.uid {
                    Answer::Modified { left_alone }
                } else {
                    Answer::ModifiedAndGone { left_alone }
                };
            }
            Ask::Store(store) => {
                for sequence in store.set.resolve(MESSAGES).into_iter().flatten().filter(|_| !store.silent) {
                    let mut line = FetchLine::begin(reply, sequence);
                    line.flags(reply, store.flags.bits, &store.flags.keywords, false);
                    line.end(reply);
                }
            }
            Ask::Search(search) => {
                response::search_begin(reply);
                response::search_hit(reply, MESSAGES);
                response::search_end(reply, Some(HIGHEST_MODSEQ).filter(|_| search.modseq));
            }
            Ask::Expunge(_) => response::expunge(reply, 1),
            Ask::AppendBegin(append) if no_mailbox(&append.mailbox) => return Answer::No(No::TryCreate),
            Ask::AppendBegin(_) => {
                self.coming = 1;
                return Answer::Go;
            }
            Ask::AppendMore(_) => {
                self.coming += 1;
                return Answer::Go;
            }
            Ask::AppendDone => {
                let first = MESSAGES + self.appended + 1;
                self.appended += self.coming;
                return Answer::Appended { uidvalidity: 1, uids: Set::of_rising(first..first + self.coming) };
            }
            Ask::Copy(copy) if no_mailbox(&copy.to) => return Answer::No(No::TryCreate),
            Ask::Copy(copy) => {
                let from = Set::of_rising(copy.set.resolve(MESSAGES).into_iter().flatten());
                if from == Set::of_rising([]) {
                    return Answer::Done;
                }
                let to = Set::of_rising((11..).take(copy.set.resolve(MESSAGES).into_iter().flatten().count()));
                if copy.moves {
                    completion::moved(reply, 7, &from, &to);
                    response::expunge(reply, 1);
                    return Answer::Done;
                }
                return Answer::Copied { uidvalidity: 7, from, to };
            }
            Ask::Enable(_) | Ask::Close { .. } | Ask::AppendDrop | Ask::Poll => {}
        }
        Answer::Done
    }
}

fn counts(items: &[StatusItem]) -> Vec<(StatusItem, u64)> {
    items.iter().map(|item| (*item, u64::from(MESSAGES))).collect()
}

fn write_fetch(fetch: &Fetch, reply: &mut Vec<u8>) {
    for sequence in fetch.set.resolve(MESSAGES).into_iter().flatten() {
        let mut line = FetchLine::begin(reply, sequence);
        for item in &fetch.items {
            match item {
                FetchItem::Flags => line.flags(reply, 0, &[], false),
                FetchItem::Uid => line.uid(reply, sequence),
                FetchItem::ModSeq => line.modseq(reply, HIGHEST_MODSEQ),
                FetchItem::Size => line.size(reply, 10),
                FetchItem::InternalDate => line.internal_date(reply, 0),
                FetchItem::Section(section) => {
                    let text = &b"0123456789"[..];
                    let (start, len) = section.partial.map_or((0, 10), |partial| partial.cut(10));
                    line.section(reply, item, len);
                    reply.extend_from_slice(&text[start as usize..(start + len) as usize]);
                }
                FetchItem::Envelope | FetchItem::Body | FetchItem::BodyStructure => {
                    line.name(reply, item);
                    reply.extend_from_slice(b"NIL");
                }
            }
        }
        line.end(reply);
    }
}
