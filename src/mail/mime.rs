//! The structure of a message in one pass: fed block by block, it never holds more than one header and one line.
//!
//! Rules:
//!
//! - **Linear.** Every octet is looked at a fixed number of times, whatever the boundaries (A151): a line that may be
//!   a boundary is hashed once and compared with the hashes of the open ones.
//! - **Not recursive.** Open multiparts are a stack of at most [`DEPTH_MAX`]; deeper ones are opaque octets (A150).
//!   From the [`PARTS_MAX`]th part on nothing is opened: the rest belongs to the parts that are open.
//! - **Cut anywhere.** The pieces in which the message comes make no difference.
//! - A header ends where [`header`] says: at the empty line, or before the first line that is no field.
//! - A boundary is a line, alone, trailing white space aside (RFC 2046 §5.1.1), so one that is the beginning of
//!   another does no harm. The innermost that fits wins. One that is empty or longer than [`BOUNDARY_BYTES_MAX`] makes
//!   the part plain text.
//! - The transfer encoding of a multipart or a message is taken as identity (A156, RFC 2045 §6.4).
//! - Octets beyond 4 GiB are not looked at: offsets have 32 bits, messages at most
//!   [`MESSAGE_BYTES_MAX`](crate::limits::MESSAGE_BYTES_MAX).
//!
//! ```text
//!   header ──blank line──► body (leaf)
//!      ▲                   body (multipart): wait for its boundary ──► header of a child
//!      └────────────────── body (message): header of its child at once
//! ```

use std::collections::HashMap;

use memchr::memmem;
use xxhash_rust::xxh3::xxh3_64;

use crate::limits;
use crate::mail::content;
use crate::mail::envelope;
use crate::mail::header;
use crate::mail::structure::{Content, Kind, NO_PARENT, Part};

/// Nesting of multiparts and messages. Deeper: opaque octets.
pub const DEPTH_MAX: usize = 100;
/// Parts of one message. More are not told apart.
pub const PARTS_MAX: usize = 10_000;
/// Octets of a boundary (RFC 2046 §5.1.1 allows 70). Longer: the part is plain text.
pub const BOUNDARY_BYTES_MAX: usize = 256;
/// Octets of a part's header that are read; the message's own may have [`limits::HEADER_BYTES_MAX`]. Fields beyond are not seen.
pub const PART_HEADER_BYTES_MAX: usize = 64 << 10;
/// Octets of all the headers of parts that are read, the message's own aside. Beyond, parts are plain text.
pub const PART_HEADERS_BYTES_MAX: usize = 1 << 20;
/// A line longer than this is no boundary: two hyphens before and after, white space, CRLF.
const BOUNDARY_LINE_BYTES_MAX: usize = BOUNDARY_BYTES_MAX + 64;

/// What a message consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structure {
    /// In pre-order; the first is the message itself.
    pub parts: Vec<Part>,
    /// The header of the message as far as it was read, blank line included.
    pub header: Vec<u8>,
    /// Octets of the message.
    pub octets: u64,
}

/// Scans a message that is in memory.
#[must_use]
pub fn scan(message: &[u8]) -> Structure {
    let mut scan = Scan::new();
    scan.feed(message);
    scan.finish()
}

/// A scan in progress.
pub struct Scan {
    parts: Vec<Part>,
    /// Parts whose end has not come, outermost first.
    open: Vec<Open>,
    /// The hash of each open boundary and the innermost level that has it.
    boundaries: HashMap<u64, usize>,
    state: State,
    /// The header being read.
    header: Vec<u8>,
    /// The root's header, once read.
    root_header: Vec<u8>,
    headers_bytes: usize,
    /// The beginning of a line whose end has not come, kept because it matters.
    line: Vec<u8>,
    /// Where the next octet, or `line` if there is one, stands.
    at: u32,
    /// Line ends before `at`.
    lines: u32,
    /// The two octets before `at`.
    last: [u8; 2],
    /// Octets looked at, for the cost test.
    #[cfg(test)]
    looked_at: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the beginning of a line of a header.
    Header,
    /// In a header line too long to be kept.
    HeaderLine,
    /// At the beginning of a line of a body.
    Body,
    /// In a line of a body that cannot be a boundary.
    BodyLine,
}

struct Open {
    part: u32,
    /// Lines before its body.
    lines_before: u32,
    /// A multipart's boundary, while it is heard.
    boundary: Option<Boundary>,
    digest: bool,
}

struct Boundary {
    hash: u64,
    text: Vec<u8>,
    /// An outer level with the same hash, not heard while this one is.
    shadowed: Option<usize>,
}

impl Default for Scan {
    fn default() -> Self {
        Scan::new()
    }
}

impl Scan {
    /// At the first octet.
    #[must_use]
    pub fn new() -> Self {
        let mut scan = Scan {
            parts: Vec::new(),
            open: Vec::new(),
            boundaries: HashMap::new(),
            state: State::Header,
            header: Vec::new(),
            root_header: Vec::new(),
            headers_bytes: 0,
            line: Vec::new(),
            at: 0,
            lines: 0,
            last: [b'\r', b'\n'],
            #[cfg(test)]
            looked_at: 0,
        };
        scan.begin_part(NO_PARENT);
        scan
    }

    /// Takes the next octets.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        let room = (u32::MAX - self.at) as usize - self.line.len();
        bytes = &bytes[..bytes.len().min(room)];
        if !self.line.is_empty() {
            let end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
            let (now, later) = bytes.split_at(end);
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(now);
            bytes = later;
            self.advance(&line);
            // What is left in `self.line` is the same line, longer; its buffer is the one to keep.
        }
        self.advance(bytes);
    }

    /// No more octets come.
    #[must_use]
    pub fn finish(mut self) -> Structure {
        if !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            self.whole_line(&line);
        }
        self.end_headers();
        self.close_down_to(0, self.at, self.lines);
        Structure { parts: self.parts, header: self.root_header, octets: u64::from(self.at) }
    }

    fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let used = match self.state {
                State::Header => self.header_line(bytes),
                State::Body => self.body_line(bytes),
                State::HeaderLine => {
                    let used = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
                    self.pass(&bytes[..used]);
                    if bytes[used - 1] == b'\n' {
                        self.state = State::Header;
                    }
                    used
                }
                State::BodyLine => self.body_to_next_candidate(bytes),
            };
            bytes = &bytes[used..];
        }
    }

    /// Counts octets as read.
    fn pass(&mut self, bytes: &[u8]) {
        #[cfg(test)]
        {
            self.looked_at += bytes.len() as u64;
        }
        self.at += u32::try_from(bytes.len()).expect("feed cuts at 4 GiB");
        self.lines += u32::try_from(memchr::memchr_iter(b'\n', bytes).count()).expect("no more lines than octets");
        match bytes {
            [] => {}
            [one] => self.last = [self.last[1], *one],
            [.., a, b] => self.last = [*a, *b],
        }
    }

    fn header_line(&mut self, bytes: &[u8]) -> usize {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            if bytes.len() >= header::NAME_BYTES_MAX && !self.belongs_to_header(bytes) {
                self.end_header(self.at);
                return 0;
            }
            // A line longer than any header may be is passed over without being kept.
            if bytes.len() > BOUNDARY_LINE_BYTES_MAX && self.header.len() + bytes.len() > self.header_room() {
                self.state = State::HeaderLine;
                self.pass(bytes);
            } else {
                self.line = bytes.to_vec();
            }
            return bytes.len();
        };
        self.whole_line(&bytes[..=end]);
        end + 1
    }

    /// A field's first line, the continuation of one, or the empty line.
    fn belongs_to_header(&self, line: &[u8]) -> bool {
        match line {
            b"\n" | b"\r\n" => true,
            [b' ' | b'\t', ..] => self.at > self.header_at(),
            line => header::begins_field(line),
        }
    }

    fn header_at(&self) -> u32 {
        self.open.last().map_or(0, |o| self.parts[o.part as usize].header_at)
    }

    /// A line that is no field ends the header it stands in without an empty line; it belongs to the body.
    fn end_headers_before(&mut self, line: &[u8]) {
        while self.state == State::Header && !self.belongs_to_header(line) {
            self.end_header(self.at);
        }
    }

    fn header_room(&self) -> usize {
        if self.parts.len() == 1 {
            limits::HEADER_BYTES_MAX
        } else {
            PART_HEADER_BYTES_MAX.min(PART_HEADERS_BYTES_MAX - self.headers_bytes)
        }
    }

    fn body_line(&mut self, bytes: &[u8]) -> usize {
        if self.boundaries.is_empty() {
            self.pass(bytes);
            return bytes.len();
        }
        let hopeful = bytes.len().min(2);
        if bytes[..hopeful] != b"--"[..hopeful] {
            self.state = State::BodyLine;
            return self.body_to_next_candidate(bytes);
        }
        match memchr::memchr(b'\n', &bytes[..bytes.len().min(BOUNDARY_LINE_BYTES_MAX)]) {
            Some(end) => {
                self.whole_line(&bytes[..=end]);
                end + 1
            }
            None if bytes.len() >= BOUNDARY_LINE_BYTES_MAX => {
                self.state = State::BodyLine;
                self.body_to_next_candidate(bytes)
            }
            None => {
                self.line = bytes.to_vec();
                bytes.len()
            }
        }
    }

    /// Passes over body octets up to a line that begins with two hyphens, or to the last line of `bytes`.
    fn body_to_next_candidate(&mut self, bytes: &[u8]) -> usize {
        if self.boundaries.is_empty() {
            self.pass(bytes);
            return bytes.len();
        }
        let candidate = memmem::find(bytes, b"\n--").or_else(|| {
            // A line that begins at the very end, or with one hyphen at the very end.
            let tail = bytes.len().saturating_sub(2);
            match &bytes[tail..] {
                [b'\n', b'-'] => Some(tail),
                [.., b'\n'] => Some(bytes.len() - 1),
                _ => None,
            }
        });
        let used = candidate.map_or(bytes.len(), |at| at + 1);
        self.pass(&bytes[..used]);
        self.state = if candidate.is_some() { State::Body } else { State::BodyLine };
        used
    }

    /// A line of a header, or one of a body that may be a boundary. Whole, but for the last of the message.
    fn whole_line(&mut self, line: &[u8]) {
        if line.starts_with(b"--")
            && let Some((level, closing)) = self.boundary(line)
        {
            self.at_boundary(level, closing, line);
            return;
        }
        if self.state == State::Header && !self.belongs_to_header(line) {
            self.end_headers_before(line);
        }
        self.pass(line);
        match self.state {
            State::Header if matches!(line, b"\n" | b"\r\n") => {
                if self.header.len() + line.len() <= self.header_room() {
                    self.header.extend_from_slice(line);
                }
                self.end_header(self.at);
            }
            State::Header => {
                if self.header.len() + line.len() <= self.header_room() {
                    self.header.extend_from_slice(line);
                }
            }
            _ => self.state = State::Body,
        }
    }

    /// Which open multipart this line is a boundary of, and whether it is the closing one.
    fn boundary(&self, line: &[u8]) -> Option<(usize, bool)> {
        if line.len() > BOUNDARY_LINE_BYTES_MAX || self.boundaries.is_empty() {
            return None;
        }
        let text = line[2..].trim_ascii_end();
        let opening = self.level_of(text).map(|level| (level, false));
        let closing = text.strip_suffix(b"--").and_then(|stem| self.level_of(stem)).map(|level| (level, true));
        match (opening, closing) {
            (Some(o), Some(c)) => Some(if o.0 >= c.0 { o } else { c }),
            (o, c) => o.or(c),
        }
    }

    fn level_of(&self, text: &[u8]) -> Option<usize> {
        let level = *self.boundaries.get(&xxh3_64(text))?;
        self.open[level].boundary.as_ref().is_some_and(|b| b.text == text).then_some(level)
    }

    fn hear(&mut self, level: usize, text: Vec<u8>) {
        let hash = xxh3_64(&text);
        let shadowed = self.boundaries.insert(hash, level);
        self.open[level].boundary = Some(Boundary { hash, text, shadowed });
    }

    fn hear_no_more(&mut self, boundary: Option<Boundary>) {
        if let Some(b) = boundary {
            match b.shadowed {
                Some(level) => self.boundaries.insert(b.hash, level),
                None => self.boundaries.remove(&b.hash),
            };
        }
    }

    fn at_boundary(&mut self, level: usize, closing: bool, line: &[u8]) {
        let in_header = self.state == State::Header;
        // The line end before a boundary belongs to the boundary (RFC 2046 §5.1.1), unless the part is empty.
        let (mut end, mut lines) = (self.at, self.lines);
        if in_header {
            self.end_headers();
        } else if self.at > self.innermost_body_at() && self.last[1] == b'\n' {
            end -= 1;
            lines -= 1;
            if self.last[0] == b'\r' && end > self.innermost_body_at() {
                end -= 1;
            }
        }
        self.close_down_to(level + 1, end, lines);
        self.pass(line);
        self.state = State::Body;
        if closing {
            // What follows is the epilogue: it belongs to the multipart, whose boundary is heard no more.
            let boundary = self.open[level].boundary.take();
            self.hear_no_more(boundary);
        } else if self.parts.len() < PARTS_MAX {
            let parent = self.open[level].part;
            self.begin_part(parent);
        }
    }

    fn innermost_body_at(&self) -> u32 {
        self.open.last().map_or(0, |o| self.parts[o.part as usize].body_at)
    }

    fn begin_part(&mut self, parent: u32) {
        self.header.clear();
        self.state = State::Header;
        self.open.push(Open { part: self.parts.len() as u32, lines_before: self.lines, boundary: None, digest: false });
        self.parts.push(Part {
            parent,
            kind: Kind::Leaf,
            header_at: self.at,
            body_at: self.at,
            end: self.at,
            lines: 0,
            content: Content::default(),
            envelope: None,
        });
    }

    /// The header of the innermost part, and of the message it may be, ends here for want of more.
    fn end_headers(&mut self) {
        while matches!(self.state, State::Header | State::HeaderLine) {
            self.end_header(self.at);
        }
    }

    /// The header of the innermost part is complete: what it says decides what comes.
    fn end_header(&mut self, body_at: u32) {
        let header = std::mem::take(&mut self.header);
        let depth = self.open.len();
        let in_digest = depth >= 2 && self.open[depth - 2].digest;
        let index = self.open[depth - 1].part;
        let parent = self.parts[index as usize].parent;
        let is_message = parent == NO_PARENT || self.parts[parent as usize].kind == Kind::Message;
        let mut content = content::content_of(&header, in_digest);
        let within = self.kind_of(&mut content, depth);
        let kind = match within {
            Within::Nothing => Kind::Leaf,
            Within::Message => Kind::Message,
            Within::Parts(boundary) => {
                self.hear(depth - 1, boundary);
                Kind::Multipart
            }
        };
        let open = &mut self.open[depth - 1];
        open.digest = content.is("multipart", "digest");
        open.lines_before = self.lines;
        let part = &mut self.parts[index as usize];
        part.kind = kind;
        part.content = content;
        part.body_at = body_at;
        part.envelope = is_message.then(|| Box::new(envelope::envelope_of(&header)));
        if index == 0 {
            self.root_header = header;
        } else {
            self.headers_bytes += header.len();
            self.header = header;
            self.header.clear();
        }
        self.state = State::Body;
        if kind == Kind::Message {
            self.begin_part(index);
        }
    }

    fn kind_of(&self, content: &mut Content, depth: usize) -> Within {
        let multipart = content.media.eq_ignore_ascii_case(b"multipart");
        let message = content.is("message", "rfc822") || content.is("message", "global");
        if !multipart && !message {
            return Within::Nothing;
        }
        if depth > DEPTH_MAX || self.parts.len() >= PARTS_MAX {
            content.media = b"application".to_vec();
            content.subtype = b"octet-stream".to_vec();
            content.params.clear();
            return Within::Nothing;
        }
        if message {
            return Within::Message;
        }
        let boundary = content.param("boundary").map(<[u8]>::trim_ascii_end).unwrap_or_default();
        if boundary.is_empty() || boundary.len() > BOUNDARY_BYTES_MAX {
            content.media = b"text".to_vec();
            content.subtype = b"plain".to_vec();
            content.params.clear();
            return Within::Nothing;
        }
        Within::Parts(boundary.to_vec())
    }

    fn close_down_to(&mut self, depth: usize, end: u32, lines: u32) {
        while self.open.len() > depth {
            if let Some(open) = self.open.pop() {
                let part = &mut self.parts[open.part as usize];
                part.end = end.max(part.body_at);
                part.lines = lines.saturating_sub(open.lines_before);
                self.hear_no_more(open.boundary);
            }
        }
    }
}

enum Within {
    Nothing,
    Message,
    Parts(Vec<u8>),
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod differential;
