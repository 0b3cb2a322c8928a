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
//! - In slices: each text sought in each stretch of a message is a piece of work of its own, so that no slice is longer than
//!   [`SLICE_WORK`](super::slices::SLICE_WORK) whatever is sought; at [`WORK_MAX`] the search ends with `LIMIT` (A116).
//! - A message that is gone or cannot be read matches what its flags and dates decide, else nothing. Of one that is there and
//!   cannot be read the plan remembers that: whoever searched is told that the answer may lack it.

use std::collections::HashSet;

use memchr::memmem::Finder;
use ringpost_storage::disk::Disk;
use ringpost_storage::{AccountId, Message, Modseq, ReadError, Volume};

use crate::mail::content::{fields, unfold};
use crate::mail::date;
use crate::mail::mime::PART_HEADER_BYTES_MAX;
use crate::mail::structure::{ArchivedKind, ArchivedPart};
use crate::mail::summary::Packed;
use crate::mail::words::{Reading, Transfer, decode_words, fold};
use crate::mailbox::letter::Letter;
use crate::mailbox::slices::Slices;
use crate::mailbox::view::View;
use crate::proto::imap::{SearchKey, Set};

/// Work of one SEARCH, in the units of [`slices`](super::slices). More: NO [LIMIT].
pub const WORK_MAX: u64 = 4 << 30;
/// Work of looking at one message's flags and dates.
const MESSAGE_WORK: u64 = 64;
/// Octets of one header field that are searched.
const FIELD_BYTES_MAX: usize = 128 << 10;
/// Octets of a body that are decoded at a time.
const STRETCH_BYTES: u64 = 64 << 10;

/// A search, ready to be put to messages.
pub struct Plan {
    test: Test,
    sought: Sought,
    longest_text: usize,
    /// How many tests there are.
    tests: u64,
    work: u64,
    slices: Slices,
    lacks_some: bool,
}

/// What is sought, each once. Tests name it by its place here.
#[derive(Default)]
struct Sought {
    /// In bodies and headers, folded.
    texts: Vec<Finder<'static>>,
    /// In fields of the header: name in lower case, text folded.
    fields: Vec<(String, Finder<'static>)>,
    /// In lower case.
    keywords: Vec<String>,
}

/// The search may go no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitReached;

enum Test {
    Always(bool),
    Flag(u32, bool),
    Keyword(usize, bool),
    /// Day of INTERNALDATE: from, up to and not including.
    Day(i32, i32),
    Sent(i32, i32),
    Larger(u64),
    Smaller(u64),
    ModSeq(Modseq),
    Header(usize),
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
    /// For each sought keyword, whether the message has it.
    keywords: Vec<bool>,
    header: Option<Header>,
    /// For each sought text, whether the body has it.
    body: Option<Vec<bool>>,
}

struct Header {
    sent: Option<i32>,
    /// For each sought text, whether the header has it.
    texts: Vec<bool>,
    /// For each sought field, whether the header has it.
    fields: Vec<bool>,
}

impl Plan {
    /// A plan for all of these keys.
    #[must_use]
    pub fn new(keys: &[SearchKey]) -> Plan {
        let mut sought = Sought::default();
        let test = Test::And(keys.iter().map(|k| Test::of(k, &mut sought)).collect());
        let longest_text = sought.texts.iter().map(|f| f.needle().len()).max().unwrap_or(0);
        let tests = test.count();
        Plan { test, sought, longest_text, tests, work: 0, slices: Slices::default(), lacks_some: false }
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
        self.spend(MESSAGE_WORK + self.tests + message.keywords().len() as u64).await?;
        let (sequence_max, uid_max) = (view.len(), view.largest_uid());
        let keywords = self.sought.keywords_of(message);
        let mut facts = Facts { message, sequence, sequence_max, uid_max, keywords, header: None, body: None };
        if let Some(decided) = self.test.holds(&facts) {
            return Ok(decided);
        }
        let mut letter = Letter::new(volume, (account, view.mailbox), message);
        match letter.header().await {
            Ok((octets, _)) => facts.header = Some(self.header(&octets).await?),
            Err(why) => return Ok(self.unreadable(message, &why)),
        }
        self.spend(self.tests).await?;
        if let Some(decided) = self.test.holds(&facts) {
            return Ok(decided);
        }
        let kept = volume.summaries(account, view.mailbox, &[message.uid]).await.into_iter().next().flatten();
        let packed = match kept.and_then(Packed::open) {
            Some(packed) => packed,
            None => match letter.summary().await {
                Ok(packed) => packed,
                Err(why) => return Ok(self.unreadable(message, &why)),
            },
        };
        match self.body(&mut letter, &packed).await? {
            Ok(found) => facts.body = Some(found),
            Err(why) => return Ok(self.unreadable(message, &why)),
        }
        self.spend(self.tests).await?;
        Ok(self.test.holds(&facts).unwrap_or(false))
    }

    /// True when a message is there and could not be read, so that nobody knows whether it matches.
    #[must_use]
    pub fn lacks_some(&self) -> bool {
        self.lacks_some
    }

    fn unreadable(&mut self, message: &Message, why: &ReadError) -> bool {
        if !matches!(why, ReadError::Gone) {
            self.lacks_some = true;
            tracing::error!(target: "imap", uid = message.uid, %why, "message not readable");
        }
        false
    }

    /// Begins a piece of work.
    async fn spend(&mut self, work: u64) -> Result<(), LimitReached> {
        self.work = self.work.saturating_add(work);
        if self.work > WORK_MAX {
            return Err(LimitReached);
        }
        self.slices.spend(work).await;
        Ok(())
    }

    /// What of all that is sought the header has.
    async fn header(&mut self, octets: &[u8]) -> Result<Header, LimitReached> {
        let (texts, asked) = (self.sought.texts.len(), self.sought.fields.len());
        let mut header = Header { sent: None, texts: vec![false; texts], fields: vec![false; asked] };
        for field in fields(octets) {
            self.spend((field.whole.len() + asked) as u64).await?;
            if header.sent.is_none() && field.is("date") {
                header.sent = date::read_rfc5322(field.value).map(date::Stamp::written_day);
            }
            let open: Vec<usize> =
                (0..asked).filter(|at| !header.fields[*at] && field.is(&self.sought.fields[*at].0)).collect();
            if texts == 0 && open.is_empty() {
                continue;
            }
            let value = fold(&decode_words(&unfold(field.value, FIELD_BYTES_MAX)));
            for at in open {
                self.spend(value.len() as u64).await?;
                header.fields[at] = self.sought.fields[at].1.find(value.as_bytes()).is_some();
            }
            if texts > 0 {
                let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
                self.mark(&format!("{name}: {value}"), &mut header.texts).await?;
            }
        }
        Ok(header)
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
        let mut found = vec![false; self.sought.texts.len()];
        for part in parts {
            if let Some((from, to)) = part.header {
                let header = match letter.whole(from..to, PART_HEADER_BYTES_MAX).await {
                    Ok(header) => header,
                    Err(why) => return Ok(Err(why)),
                };
                for field in fields(&header) {
                    self.spend(field.whole.len() as u64).await?;
                    let text = fold(&decode_words(&unfold(field.value, FIELD_BYTES_MAX)));
                    self.mark(&text, &mut found).await?;
                }
            }
            let Some(mut text) = part.text else { continue };
            let mut window = String::new();
            let mut decoded = Vec::new();
            let mut at = text.from;
            while at < text.to {
                self.spend(STRETCH_BYTES).await?;
                let some = match letter.some(at..text.to.min(at + STRETCH_BYTES)).await {
                    Ok(some) => some,
                    Err(why) => return Ok(Err(why)),
                };
                at += some.len() as u64;
                decoded.clear();
                text.transfer.push(some, &mut decoded);
                text.reading.push(&decoded, at >= text.to, &mut window);
                self.mark(&window, &mut found).await?;
                if found.iter().all(|f| *f) {
                    return Ok(Ok(found));
                }
                // What is left may be the beginning of a text that the next stretch ends.
                let mut keep = window.len().saturating_sub(self.longest_text.saturating_sub(1));
                while !window.is_char_boundary(keep) {
                    keep -= 1;
                }
                window.drain(..keep);
            }
        }
        Ok(Ok(found))
    }

    /// Marks which of the sought texts are in this one.
    async fn mark(&mut self, text: &str, found: &mut [bool]) -> Result<(), LimitReached> {
        for (at, found) in found.iter_mut().enumerate() {
            if !*found {
                self.spend(text.len() as u64).await?;
                *found = self.sought.texts[at].find(text.as_bytes()).is_some();
            }
        }
        Ok(())
    }
}

impl Sought {
    fn text(&mut self, text: &str) -> usize {
        let folded = fold(text);
        place(&mut self.texts, |f| f.needle() == folded.as_bytes(), || finder(&folded))
    }

    fn field(&mut self, name: &str, text: &str) -> usize {
        let (name, folded) = (name.to_ascii_lowercase(), fold(text));
        let same = |f: &(String, Finder<'static>)| f.0 == name && f.1.needle() == folded.as_bytes();
        place(&mut self.fields, same, || (name.clone(), finder(&folded)))
    }

    fn keyword(&mut self, name: &str) -> usize {
        let name = name.to_ascii_lowercase();
        place(&mut self.keywords, |k| *k == name, || name.clone())
    }

    /// For each sought keyword, whether the message has it.
    fn keywords_of(&self, message: &Message) -> Vec<bool> {
        if self.keywords.is_empty() {
            return Vec::new();
        }
        let has: HashSet<String> = message.keywords().iter().map(|k| k.to_ascii_lowercase()).collect();
        self.keywords.iter().map(|k| has.contains(k)).collect()
    }
}

/// The place of what is `same`; what is new goes to the end.
fn place<T>(all: &mut Vec<T>, same: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> usize {
    let at = all.iter().position(same).unwrap_or(all.len());
    if at == all.len() {
        all.push(new());
    }
    at
}

fn finder(folded: &str) -> Finder<'static> {
    Finder::new(folded.as_bytes()).into_owned()
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

impl Test {
    /// Keys nest at most [`IMAP_NESTING_MAX`](crate::limits::IMAP_NESTING_MAX) deep: the parser saw to it.
    fn of(key: &SearchKey, sought: &mut Sought) -> Test {
        match key {
            SearchKey::All => Test::Always(true),
            SearchKey::Recent => Test::Always(false),
            SearchKey::Flag(bits, set) => Test::Flag(*bits, *set),
            SearchKey::Keyword(name, set) => Test::Keyword(sought.keyword(name), *set),
            SearchKey::Before(day) => Test::Day(i32::MIN, *day),
            SearchKey::On(day) => Test::Day(*day, day.saturating_add(1)),
            SearchKey::Since(day) => Test::Day(*day, i32::MAX),
            SearchKey::SentBefore(day) => Test::Sent(i32::MIN, *day),
            SearchKey::SentOn(day) => Test::Sent(*day, day.saturating_add(1)),
            SearchKey::SentSince(day) => Test::Sent(*day, i32::MAX),
            SearchKey::Larger(octets) => Test::Larger(*octets),
            SearchKey::Smaller(octets) => Test::Smaller(*octets),
            SearchKey::ModSeq(modseq) => Test::ModSeq(*modseq),
            SearchKey::Header(name, text) => Test::Header(sought.field(name, text)),
            SearchKey::Body(text) if text.is_empty() => Test::Always(true),
            SearchKey::Text(text) if text.is_empty() => Test::Always(true),
            SearchKey::Body(text) => Test::Body(sought.text(text)),
            SearchKey::Text(text) => Test::Text(sought.text(text)),
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
            Test::Flag(bits, set) => m.has(*bits) == *set,
            Test::Keyword(at, set) => f.keywords[*at] == *set,
            Test::Day(from, to) => (*from..*to).contains(&date::day(m.internal_ms)),
            Test::Sent(from, to) => f.header.as_ref()?.sent.is_some_and(|day| (*from..*to).contains(&day)),
            Test::Larger(octets) => m.size() > *octets,
            Test::Smaller(octets) => m.size() < *octets,
            Test::ModSeq(modseq) => m.modseq >= *modseq,
            Test::Header(at) => f.header.as_ref()?.fields[*at],
            Test::Body(at) => f.body.as_ref()?[*at],
            Test::Text(at) => f.header.as_ref()?.texts[*at] || f.body.as_ref()?[*at],
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

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;

    use super::*;

    #[test]
    fn a116_a_search_ends_at_its_limit() {
        let mut plan = Plan::new(&[SearchKey::All]);
        assert_eq!(block_on(plan.spend(WORK_MAX)), Ok(()));
        assert_eq!(block_on(plan.spend(1)), Err(LimitReached));
    }

    #[test]
    fn what_is_sought_twice_is_sought_once() {
        let twice = |key: SearchKey| Plan::new(&[key.clone(), SearchKey::Not(Box::new(key))]).sought;
        assert_eq!(twice(SearchKey::Text("A".into())).texts.len(), 1);
        assert_eq!(twice(SearchKey::Header("Subject".into(), "a".into())).fields.len(), 1);
        assert_eq!(twice(SearchKey::Keyword("Junk".into(), true)).keywords, ["junk"]);
    }
}
