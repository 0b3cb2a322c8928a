//! Reading mbox: messages one after the other in a file, each behind a line `From address date` (RFC 4155 appendix A).
//!
//! - A line `From ` begins a message when it ends with a date as `asctime` writes it; any other such line is text. That is
//!   lenient where a program forgot to quote.
//! - Quoted lines lose one `>`: all of `>From `, `>>From ` … (mboxrd), `>From ` alone (mboxo), or none.
//! - `Status`, `X-Status` and `X-Keywords` become flags. They, the UIDs that some programs write beside them and
//!   `Content-Length` belong to the file: they are taken out of the message.
//! - The message in which some programs keep their notes is passed over.
//! - The date is UTC where it has no zone. A message is in memory whole, one at a time.

use std::io::{self, BufRead, Read as _};

use time::{Date, Month, Time};

use super::keywords::is_keyword;
use super::line_ends::canonical;
use super::maildir::settle;
use crate::mail::header::{Fields, body_start};
use crate::proto::imap::FlagList;

/// How lines that begin as a separator does are told from one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Quoting {
    /// `>From `, `>>From ` and so on each lose one `>`.
    #[default]
    Mboxrd,
    /// `>From ` loses its `>`.
    Mboxo,
    /// Lines stay as they are.
    None,
}

/// Fields that say something of the message in its file, and are no part of it.
pub(super) const FIELDS_OF_THE_FILE: [&str; 7] =
    ["Status", "X-Status", "X-Keywords", "X-UID", "X-IMAP", "X-IMAPbase", "Content-Length"];
/// The subject of the message that is none.
const NOTES: &[u8] = b"DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA";
/// A separator, octets. Longer: it is text.
const SEPARATOR_BYTES_MAX: usize = 1_024;

/// A message of an mbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The line of its separator, from 1.
    pub line: u64,
    /// Canonical.
    pub octets: Vec<u8>,
    /// What its status fields say.
    pub flags: FlagList,
    /// The separator's date, milliseconds since 1970.
    pub internal_ms: i64,
    /// There were NULs in it.
    pub had_nul: bool,
}

/// Why a message, or the file, is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Where it begins, from 1.
    pub line: u64,
    /// A half sentence.
    pub why: String,
    /// Nothing more comes.
    pub ends: bool,
}

/// Reads an mbox from its first octet on.
pub struct Reader<R> {
    input: R,
    quoting: Quoting,
    bytes_max: u64,
    /// Lines read.
    line: u64,
    /// The separator that was read last: its line and date.
    next: Option<(u64, i64)>,
    begun: bool,
    ended: bool,
}

impl<R: BufRead> Reader<R> {
    /// `bytes_max`: octets of one message, at most. Larger: [`Unread`], and the next is read.
    pub fn new(input: R, quoting: Quoting, bytes_max: u64) -> Reader<R> {
        Reader { input, quoting, bytes_max, line: 0, next: None, begun: false, ended: false }
    }

    /// The next message; `None` at the end.
    pub fn message(&mut self) -> Option<Result<Message, Unread>> {
        loop {
            match self.read()? {
                Ok(message) if is_notes(&message.octets) => {}
                read => return Some(read),
            }
        }
    }

    fn read(&mut self) -> Option<Result<Message, Unread>> {
        if self.ended {
            return None;
        }
        if !self.begun {
            self.begun = true;
            if let Err(unread) = self.begin()? {
                self.ended = true;
                return Some(Err(unread));
            }
        }
        let (line, internal_ms) = self.next.take()?;
        let mut octets = Vec::new();
        let mut large = false;
        loop {
            let before = octets.len();
            match self.line(&mut octets) {
                Err(why) => {
                    self.ended = true;
                    return Some(Err(Unread { line, why: why.to_string(), ends: true }));
                }
                Ok(false) => break,
                Ok(true) => {}
            }
            if let Some(date) = separator(&octets[before..]) {
                self.next = Some((self.line, date));
                octets.truncate(before);
                break;
            }
            self.unquote(&mut octets, before);
            if octets.len() as u64 > self.bytes_max {
                large = true;
                octets.clear();
            }
        }
        if large {
            let why = format!("the message has more than {} octets", self.bytes_max);
            return Some(Err(Unread { line, why, ends: false }));
        }
        // The empty line before the next separator is no part of the message.
        for end in [&b"\r\n\r\n"[..], b"\n\n"] {
            if octets.ends_with(end) {
                octets.truncate(octets.len() - end.len() / 2);
                break;
            }
        }
        let (octets, had_nul) = canonical(&octets);
        let (octets, flags) = without_status(octets);
        Some(Ok(Message { line, octets, flags, internal_ms, had_nul }))
    }

    /// The first line that is not empty has to be a separator. `None`: there is no line.
    fn begin(&mut self) -> Option<Result<(), Unread>> {
        loop {
            let mut first = Vec::new();
            match self.line(&mut first) {
                Err(why) => return Some(Err(Unread { line: self.line, why: why.to_string(), ends: true })),
                Ok(false) => return None,
                Ok(true) if first.trim_ascii().is_empty() => {}
                Ok(true) => {
                    self.next = separator(&first).map(|date| (self.line, date));
                    let why = "this is no mbox: it does not begin with a line `From address date`".to_owned();
                    return Some(self.next.map(|_| ()).ok_or(Unread { line: self.line, why, ends: true }));
                }
            }
        }
    }

    /// Appends a line, or as much of it as a message may have and one octet; false at the end of the file.
    fn line(&mut self, octets: &mut Vec<u8>) -> io::Result<bool> {
        let before = octets.len();
        let bytes_max = self.bytes_max.saturating_add(1);
        let got = self.input.by_ref().take(bytes_max).read_until(b'\n', octets)?;
        self.line += u64::from(octets[before..].ends_with(b"\n"));
        Ok(got > 0)
    }

    fn unquote(&self, octets: &mut Vec<u8>, line: usize) {
        let quotes = octets[line..].iter().take_while(|&&b| b == b'>').count();
        let quoted = match self.quoting {
            Quoting::Mboxrd => quotes > 0,
            Quoting::Mboxo => quotes == 1,
            Quoting::None => false,
        };
        if quoted && octets[line + quotes..].starts_with(b"From ") {
            octets.remove(line);
        }
    }
}

/// The date of a separator, milliseconds since 1970; `None` for a line that is none.
fn separator(line: &[u8]) -> Option<i64> {
    let rest = line.strip_prefix(b"From ")?;
    if rest.len() > SEPARATOR_BYTES_MAX {
        return None;
    }
    let rest = std::str::from_utf8(rest).ok()?;
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    // Www Mmm dd hh:mm[:ss] [zone] yyyy [zone]; what stands before is an address, and there may be blanks in it.
    (0..words.len()).rev().find_map(|at| date(&words[at..]))
}

fn date(words: &[&str]) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (month, rest) = words.split_first()?;
    let month = MONTHS.iter().zip(1..).find(|(name, _)| name.eq_ignore_ascii_case(month))?.1;
    let (day, rest) = rest.split_first()?;
    let (clock, rest) = rest.split_first()?;
    let mut clock = clock.split(':').map(|n| n.parse::<u8>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next().unwrap_or(Some(0))?);
    let is_year = |word: &&str| word.len() == 4 && word.bytes().all(|b| b.is_ascii_digit());
    let (year, zone) = match rest {
        [year, rest @ ..] if is_year(year) => (year, rest.first()),
        [zone, year, ..] if is_year(year) => (year, Some(zone)),
        _ => return None,
    };
    let date = Date::from_calendar_date(year.parse().ok()?, Month::try_from(month).ok()?, day.parse().ok()?).ok()?;
    // A leap second is the second before it.
    let time = Time::from_hms(hour, minute, second.min(59)).ok()?;
    let seconds = date.with_time(time).assume_utc().unix_timestamp();
    Some((seconds - zone.map_or(0, |zone| zone_s(zone))) * 1_000)
}

/// Seconds east of UTC. Names of zones mean different things to different people: they count as UTC.
fn zone_s(zone: &str) -> i64 {
    let (sign, digits) = match zone.split_at_checked(1) {
        Some(("+", digits)) => (1, digits),
        Some(("-", digits)) => (-1, digits),
        _ => return 0,
    };
    match digits.parse::<i64>() {
        Ok(hhmm) if digits.len() == 4 => sign * (hhmm / 100 * 3_600 + hhmm % 100 * 60),
        _ => 0,
    }
}

/// Takes the fields of the file out of a canonical message, and says what they mean.
fn without_status(octets: Vec<u8>) -> (Vec<u8>, FlagList) {
    let mut flags = FlagList::default();
    let mut kept = Vec::new();
    let mut at = 0;
    for field in Fields::of(&octets) {
        let name = &octets[field.name.clone()];
        let Some(known) = FIELDS_OF_THE_FILE.iter().find(|known| name.eq_ignore_ascii_case(known.as_bytes())) else {
            continue;
        };
        let value = &octets[field.value.clone()];
        match *known {
            "Status" | "X-Status" => value.iter().for_each(|letter| flags.bits |= status(*letter)),
            "X-Keywords" => {
                let words = std::str::from_utf8(value).unwrap_or_default().split_ascii_whitespace();
                flags.keywords.extend(words.filter(|word| is_keyword(word)).map(Into::into));
            }
            _ => {}
        }
        kept.extend_from_slice(&octets[at..field.whole.start]);
        at = field.whole.end;
    }
    settle(&mut flags);
    if at == 0 {
        return (octets, flags);
    }
    kept.extend_from_slice(&octets[at..]);
    (kept, flags)
}

/// The flag of a letter in Status or X-Status. `O` says that it was seen there before, which says nothing here.
fn status(letter: u8) -> u32 {
    match letter {
        b'R' => FlagList::SEEN,
        b'A' => FlagList::ANSWERED,
        b'F' => FlagList::FLAGGED,
        b'T' => FlagList::DRAFT,
        b'D' => FlagList::DELETED,
        _ => 0,
    }
}

fn is_notes(octets: &[u8]) -> bool {
    let header = &octets[..body_start(octets)];
    memchr::memmem::find(header, NOTES).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8], quoting: Quoting) -> Vec<Result<Message, Unread>> {
        let mut reader = Reader::new(text, quoting, 200);
        std::iter::from_fn(|| reader.message()).collect()
    }

    fn texts(text: &[u8], quoting: Quoting) -> Vec<String> {
        all(text, quoting).into_iter().map(|m| String::from_utf8(m.unwrap().octets).unwrap()).collect()
    }

    #[test]
    fn messages_flags_and_dates_are_read() {
        let read = all(
            b"From alice@a.test Fri Feb 13 23:31:30 2009\nSubject: one\nStatus: RO\nX-Status: AF\nX-Keywords: work  $Junk work\n\nHello\n\n\
              From MAILER-DAEMON  Sat Feb 14 00:31:30 +0100 2009\r\nSubject: two\r\n\r\nBye\r\n",
            Quoting::Mboxrd,
        );
        let [one, two] = &read[..] else { panic!("{read:?}") };
        let (one, two) = (one.as_ref().unwrap(), two.as_ref().unwrap());
        assert_eq!(one.octets, b"Subject: one\r\n\r\nHello\r\n");
        assert_eq!(one.flags.bits, FlagList::SEEN | FlagList::ANSWERED | FlagList::FLAGGED);
        assert_eq!(*one.flags.keywords, ["$Junk".into(), "work".into()]);
        assert_eq!((one.internal_ms, one.line), (1_234_567_890_000, 1));
        assert_eq!(
            (&two.octets[..], two.internal_ms, two.line),
            (&b"Subject: two\r\n\r\nBye\r\n"[..], 1_234_567_890_000, 9)
        );
        assert_eq!(two.flags, FlagList::default());
    }

    #[test]
    fn lines_are_unquoted_as_the_file_was_quoted() {
        let text = b"From a Fri Feb 13 23:31:30 2009\n\n>From x\n>>From y\n>Frome\nFrom here on no date\n";
        assert_eq!(texts(text, Quoting::Mboxrd), ["\r\nFrom x\r\n>From y\r\n>Frome\r\nFrom here on no date\r\n"]);
        assert_eq!(texts(text, Quoting::Mboxo), ["\r\nFrom x\r\n>>From y\r\n>Frome\r\nFrom here on no date\r\n"]);
        assert_eq!(texts(text, Quoting::None), ["\r\n>From x\r\n>>From y\r\n>Frome\r\nFrom here on no date\r\n"]);
    }

    #[test]
    fn separators_carry_dates_in_the_spellings_there_are() {
        for line in [
            "From a Fri Feb 13 23:31:30 2009\n",
            "From a@b.test  Fri Feb 13 23:31:30 2009\r\n",
            "From \"a b\"@c.test Fri Feb 13 23:31:30 UTC 2009",
            "From a Fri Feb 13 15:31:30 2009 -0800\n",
            "From - Sat Feb 14 01:01:30 +0130 2009\n",
        ] {
            assert_eq!(separator(line.as_bytes()), Some(1_234_567_890_000), "{line}");
        }
        for line in
            ["From a\n", "From a Fri Feb 30 23:31:30 2009\n", "From: a Fri Feb 13 23:31:30 2009\n", "From Feb 1 2 3\n"]
        {
            assert_eq!(separator(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_message_too_large_is_named_and_the_next_is_read() {
        let mut text = b"From a Fri Feb 13 23:31:30 2009\n\n".to_vec();
        text.extend_from_slice(&[b'x'; 5_000]);
        text.extend_from_slice(b"\nFrom a Fri Feb 13 23:31:30 2009\n\nsmall\n");
        let read = all(&text, Quoting::Mboxrd);
        assert!(read[0].as_ref().is_err_and(|u| u.line == 1 && !u.ends && u.why.contains("200")));
        assert_eq!((read[1].as_ref().unwrap().line, read.len()), (4, 2));
    }

    #[test]
    fn what_is_no_mbox_is_refused_and_an_empty_file_is_an_empty_mailbox() {
        assert!(all(b"Subject: x\n\nHello\n", Quoting::Mboxrd)[0].as_ref().is_err_and(|u| u.ends));
        assert!(all(b"", Quoting::Mboxrd).is_empty());
        assert!(all(b"\n\n", Quoting::Mboxrd).is_empty());
    }

    #[test]
    fn notes_of_other_programs_are_passed_over() {
        let text = b"From MAILER-DAEMON Fri Feb 13 23:31:30 2009\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1 2\n\nnotes\n\n\
                     From a Fri Feb 13 23:31:30 2009\nX-UID: 7\nSubject: x\n\nbody";
        assert_eq!(texts(text, Quoting::Mboxrd), ["Subject: x\r\n\r\nbody"]);
    }
}
