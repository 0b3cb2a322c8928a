//! What is found in a mailbox: SEARCH (RFC 9051 §6.4.4).
//!
//! ```text
//!   keys ──► Plan ──► each message: flags, dates, size, numbers ──undecided──► header ──undecided──► body, decoded
//! ```
//!
//! - Cheap first: a message's header is read only when its flags and dates leave the question open, its body only when
//!   the header does.
//! - Text is found as it reads: transfer encodings, charsets and encoded words undone, case folded. All texts sought in
//!   bodies are sought in one reading.
//! - In slices: the shard gets its turn after [`SLICE_WORK`], and at [`WORK_MAX`] the search ends with `LIMIT` (A116).
//! - A message that is gone or cannot be read matches what its flags and dates decide, else nothing.

use memchr::memmem::Finder;
use ringpost_storage::disk::Disk;
use ringpost_storage::{AccountId, Message, ReadError, Volume};

use crate::mail::content::{fields, unfold};
use crate::mail::date;
use crate::mail::mime::PART_HEADER_BYTES_MAX;
use crate::mail::structure::{ArchivedKind, ArchivedPart};
use crate::mail::summary::Packed;
use crate::mail::words::{Reading, Transfer, decode_words, fold};
use crate::mailbox::letter::Letter;
use crate::mailbox::view::View;
use crate::proto::imap::{SearchKey, Set};

/// Work after which other tasks get their turn. One is about an octet compared with one text.
pub const SLICE_WORK: u64 = 1 << 20;
/// Work of one SEARCH. More: NO [LIMIT].
pub const WORK_MAX: u64 = 4 << 30;
/// Work of looking at one message's flags and dates.
const MESSAGE_WORK: u64 = 64;
/// Octets of one header field that are searched.
const FIELD_BYTES_MAX: usize = 128 << 10;

/// A search, ready to be put to messages.
pub struct Plan {
    test: Test,
    /// What is sought in bodies, folded.
    sought: Vec<Finder<'static>>,
    longest_sought: usize,
    /// How many tests there are.
    tests: u64,
    work: u64,
    work_at_turn: u64,
}

/// The search may go no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitReached;

enum Test {
    Always(bool),
    Flag(u32, bool),
    Keyword(Box<str>, bool),
    /// Day of INTERNALDATE: from, up to and not including.
    Day(i32, i32),
    Sent(i32, i32),
    Larger(u64),
    Smaller(u64),
    /// Name in lower case, text folded.
    Header(Box<(String, Finder<'static>)>),
    Body(usize),
    Text(usize),
    Uid(Set),
    Sequence(Set),
    Not(Box<Test>),
    Or(Box<Test>, Box<Test>),
    And(Vec<Test>),
}

/// What is known of a message so far.
struct Facts<'a> {
    message: &'a Message,
    sequence: u32,
    sequence_max: u32,
    uid_max: u32,
    header: Option<Header>,
    /// For each sought text, whether the body has it.
    body: Option<Vec<bool>>,
}

struct Header {
    /// Names in lower case, values as they read, folded.
    fields: Vec<(String, String)>,
    sent: Option<i32>,
    /// For each sought text, whether the header has it.
    has: Vec<bool>,
}

impl Plan {
    /// A plan for all of these keys.
    #[must_use]
    pub fn new(keys: &[SearchKey]) -> Plan {
        let mut sought = Vec::new();
        let test = Test::And(keys.iter().map(|k| Test::of(k, &mut sought)).collect());
        let longest_sought = sought.iter().map(|f| f.needle().len()).max().unwrap_or(0);
        let tests = test.count();
        Plan { test, sought, longest_sought, tests, work: 0, work_at_turn: 0 }
    }

    /// True if the message matches. Reads what it must.
    ///
    /// # Errors
    /// [`LimitReached`] at [`WORK_MAX`].
    pub async fn matches<D: Disk>(
        &mut self,
        volume: &Volume<D>,
        account: AccountId,
        view: &View,
        sequence: u32,
        message: &Message,
    ) -> Result<bool, LimitReached> {
        self.worked(MESSAGE_WORK + self.tests).await?;
        let (sequence_max, uid_max) = (view.len(), view.largest_uid());
        let mut facts = Facts { message, sequence, sequence_max, uid_max, header: None, body: None };
        if let Some(decided) = self.test.holds(&facts) {
            return Ok(decided);
        }
        let mut letter = Letter::new(volume, message);
        match letter.header().await {
            Ok((octets, _)) => {
                self.worked(octets.len() as u64 * (1 + self.tests)).await?;
                facts.header = Some(Header::read(&octets, &self.sought));
            }
            Err(why) => return Ok(unreadable(message, &why)),
        }
        if let Some(decided) = self.test.holds(&facts) {
            return Ok(decided);
        }
        let kept = volume.summaries(account, view.mailbox, &[message.uid]).await.into_iter().next().flatten();
        let packed = match kept.and_then(Packed::open) {
            Some(packed) => packed,
            None => match letter.summary().await {
                Ok(packed) => packed,
                Err(why) => return Ok(unreadable(message, &why)),
            },
        };
        match self.body(&mut letter, &packed).await? {
            Ok(found) => facts.body = Some(found),
            Err(why) => return Ok(unreadable(message, &why)),
        }
        Ok(self.test.holds(&facts).unwrap_or(false))
    }

    async fn worked(&mut self, work: u64) -> Result<(), LimitReached> {
        self.work = self.work.saturating_add(work);
        if self.work > WORK_MAX {
            return Err(LimitReached);
        }
        if self.work - self.work_at_turn >= SLICE_WORK {
            self.work_at_turn = self.work;
            futures_lite::future::yield_now().await;
        }
        Ok(())
    }

    /// Which of the sought texts the body has: texts of its parts, and headers of parts and of messages within.
    async fn body<D: Disk>(
        &mut self,
        letter: &mut Letter<'_, D>,
        packed: &Packed,
    ) -> Result<Result<Vec<bool>, ReadError>, LimitReached> {
        let parts: Vec<Piece> = {
            let all = &packed.get().parts;
            all.iter().enumerate().map(|(at, p)| Piece::of(at, p)).collect()
        };
        let mut found = vec![false; self.sought.len()];
        for part in parts {
            if let Some((from, to)) = part.header {
                let header = match letter.whole(from..to, PART_HEADER_BYTES_MAX).await {
                    Ok(header) => header,
                    Err(why) => return Ok(Err(why)),
                };
                self.worked((to - from) * (1 + self.sought.len() as u64)).await?;
                for field in fields(&header) {
                    let text = fold(&decode_words(&unfold(field.value, FIELD_BYTES_MAX)));
                    self.mark(&text, &mut found);
                }
            }
            let Some(mut text) = part.text else { continue };
            let mut window = String::new();
            let mut decoded = Vec::new();
            let mut at = text.from;
            while at < text.to {
                let some = match letter.some(at..text.to).await {
                    Ok(some) => some,
                    Err(why) => return Ok(Err(why)),
                };
                at += some.len() as u64;
                let octets = some.len() as u64;
                decoded.clear();
                text.transfer.push(some, &mut decoded);
                text.reading.push(&decoded, at >= text.to, &mut window);
                self.mark(&window, &mut found);
                if found.iter().all(|f| *f) {
                    return Ok(Ok(found));
                }
                self.worked(octets * (1 + self.sought.len() as u64)).await?;
                // What is left may be the beginning of a text that the next block ends.
                let mut keep = window.len().saturating_sub(self.longest_sought.saturating_sub(1));
                while !window.is_char_boundary(keep) {
                    keep -= 1;
                }
                window.drain(..keep);
            }
        }
        Ok(Ok(found))
    }

    fn mark(&self, text: &str, found: &mut [bool]) {
        for (finder, found) in self.sought.iter().zip(found) {
            *found = *found || finder.find(text.as_bytes()).is_some();
        }
    }
}

fn unreadable(message: &Message, why: &ReadError) -> bool {
    if !matches!(why, ReadError::Gone) {
        tracing::error!(target: "imap", uid = message.uid, %why, "message not readable");
    }
    false
}

/// What of a part is searched.
struct Piece {
    header: Option<(u64, u64)>,
    text: Option<Text>,
}

struct Text {
    from: u64,
    to: u64,
    transfer: Transfer,
    reading: Reading,
}

impl Piece {
    fn of(at: usize, part: &ArchivedPart) -> Piece {
        let (header_at, body_at) = (u64::from(part.header_at.to_native()), u64::from(part.body_at.to_native()));
        let is_text = part.kind == ArchivedKind::Leaf && part.content.media.as_slice().eq_ignore_ascii_case(b"text");
        let charset = part.content.params.iter().find(|p| p.name.as_slice().eq_ignore_ascii_case(b"charset"));
        Piece {
            header: (at > 0 && body_at > header_at).then_some((header_at, body_at)),
            text: is_text.then(|| Text {
                from: body_at,
                to: u64::from(part.end.to_native()),
                transfer: Transfer::named(part.content.encoding.as_ref().map_or(b"", |e| e.as_slice())),
                reading: Reading::new(charset.map(|p| p.value.as_slice())),
            }),
        }
    }
}

impl Header {
    fn read(octets: &[u8], sought: &[Finder<'static>]) -> Header {
        let mut header = Header { fields: Vec::new(), sent: None, has: vec![false; sought.len()] };
        for field in fields(octets) {
            if header.sent.is_none() && field.is("date") {
                header.sent = date::read_rfc5322(field.value).map(date::Stamp::written_day);
            }
            let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
            let value = fold(&decode_words(&unfold(field.value, FIELD_BYTES_MAX)));
            if !sought.is_empty() {
                let line = format!("{name}: {value}");
                for (finder, has) in sought.iter().zip(&mut header.has) {
                    *has = *has || finder.find(line.as_bytes()).is_some();
                }
            }
            header.fields.push((name, value));
        }
        header
    }
}

impl Test {
    /// Keys nest at most [`IMAP_NESTING_MAX`](crate::limits::IMAP_NESTING_MAX) deep: the parser saw to it.
    fn of(key: &SearchKey, sought: &mut Vec<Finder<'static>>) -> Test {
        let mut seek = |text: &str| {
            let folded = fold(text);
            let at = sought.iter().position(|f| f.needle() == folded.as_bytes()).unwrap_or(sought.len());
            if at == sought.len() {
                sought.push(Finder::new(folded.as_bytes()).into_owned());
            }
            at
        };
        match key {
            SearchKey::All => Test::Always(true),
            SearchKey::Recent => Test::Always(false),
            SearchKey::Flag(bits, set) => Test::Flag(*bits, *set),
            SearchKey::Keyword(name, set) => Test::Keyword(name.clone(), *set),
            SearchKey::Before(day) => Test::Day(i32::MIN, *day),
            SearchKey::On(day) => Test::Day(*day, day.saturating_add(1)),
            SearchKey::Since(day) => Test::Day(*day, i32::MAX),
            SearchKey::SentBefore(day) => Test::Sent(i32::MIN, *day),
            SearchKey::SentOn(day) => Test::Sent(*day, day.saturating_add(1)),
            SearchKey::SentSince(day) => Test::Sent(*day, i32::MAX),
            SearchKey::Larger(octets) => Test::Larger(*octets),
            SearchKey::Smaller(octets) => Test::Smaller(*octets),
            SearchKey::Header(name, text) => {
                Test::Header(Box::new((name.to_ascii_lowercase(), Finder::new(fold(text).as_bytes()).into_owned())))
            }
            SearchKey::Body(text) if text.is_empty() => Test::Always(true),
            SearchKey::Text(text) if text.is_empty() => Test::Always(true),
            SearchKey::Body(text) => Test::Body(seek(text)),
            SearchKey::Text(text) => Test::Text(seek(text)),
            SearchKey::Uid(set) => Test::Uid(set.clone()),
            SearchKey::Sequence(set) => Test::Sequence(set.clone()),
            SearchKey::Not(key) => Test::Not(Box::new(Test::of(key, sought))),
            SearchKey::Or(a, b) => Test::Or(Box::new(Test::of(a, sought)), Box::new(Test::of(b, sought))),
            SearchKey::And(keys) => Test::And(keys.iter().map(|k| Test::of(k, sought)).collect()),
        }
    }

    fn count(&self) -> u64 {
        match self {
            Test::Not(test) => 1 + test.count(),
            Test::Or(a, b) => 1 + a.count() + b.count(),
            Test::And(tests) => 1 + tests.iter().map(Test::count).sum::<u64>(),
            _ => 1,
        }
    }

    /// Whether it holds, or `None` if more must be known.
    fn holds(&self, f: &Facts<'_>) -> Option<bool> {
        let m = f.message;
        Some(match self {
            Test::Always(answer) => *answer,
            Test::Flag(bits, set) => m.flags.has(*bits) == *set,
            Test::Keyword(name, set) => m.flags.keywords().iter().any(|k| k.eq_ignore_ascii_case(name)) == *set,
            Test::Day(from, to) => (*from..*to).contains(&date::day(m.internal_ms)),
            Test::Sent(from, to) => f.header.as_ref()?.sent.is_some_and(|day| (*from..*to).contains(&day)),
            Test::Larger(octets) => m.size > *octets,
            Test::Smaller(octets) => m.size < *octets,
            Test::Header(sought) => {
                let (name, text) = &**sought;
                let fields = &f.header.as_ref()?.fields;
                fields.iter().any(|(n, value)| n == name && text.find(value.as_bytes()).is_some())
            }
            Test::Body(at) => f.body.as_ref()?[*at],
            Test::Text(at) => f.header.as_ref()?.has[*at] || f.body.as_ref()?[*at],
            Test::Uid(set) => set.contains(m.uid, f.uid_max.max(m.uid)),
            Test::Sequence(set) => set.contains(f.sequence, f.sequence_max),
            Test::Not(test) => !test.holds(f)?,
            Test::Or(a, b) => match (a.holds(f), b.holds(f)) {
                (Some(true), _) | (_, Some(true)) => true,
                (Some(false), Some(false)) => false,
                _ => return None,
            },
            Test::And(tests) => {
                let mut open = false;
                for test in tests {
                    match test.holds(f) {
                        Some(false) => return Some(false),
                        Some(true) => {}
                        None => open = true,
                    }
                }
                if open {
                    return None;
                }
                true
            }
        })
    }
}
