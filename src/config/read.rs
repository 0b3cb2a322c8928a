//! One file in; what it says, and all that is wrong with it, out.
//!
//! - Any bytes are read without a panic, and all mistakes are found at once; what stands on a line that TOML cannot read
//!   is not judged a second time.
//! - A byte order mark and CRLF line ends are accepted: editors elsewhere write them. What is not UTF-8 is a mistake at
//!   its line and column.
//! - The file, its nesting and the list of mistakes are bounded (A192).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::certificate::{self, CERTIFICATES_MAX, Certificate};
use super::keys::{KEYS, Key, is_table};
use super::listener::{self, LISTENERS_MAX, Listener};
use super::mistake::{Lines, Mistake, Place, Source, nearest};
use super::value::{Value, named};

/// A configuration file, octets. Larger: refused, unread.
pub const FILE_BYTES_MAX: u64 = 256 << 10;
/// Dots on one line that is no comment. More: refused, unparsed. Each may nest a table, and the parser allows 80 inline
/// tables within one another.
const DOTS_PER_LINE_MAX: usize = 64;
/// Times a file is read to find what stands behind lines that cannot be read. Then what is found has to do.
const PASSES_MAX: usize = 8;
/// Mistakes up to which it is searched what was meant: many times those that are shown.
const HINTS_MAX: usize = 1_000;
/// Stack for tables nested that deep, octets; what is not used costs nothing.
const STACK_BYTES: usize = 64 << 20;

/// What a file says.
#[derive(Debug, Default)]
pub struct Given {
    /// Its settings, and where each value stands.
    pub values: BTreeMap<Key, (Value, Place)>,
    /// Its listeners; `None` if it says nothing of them.
    pub listeners: Option<Vec<Listener>>,
    /// Its certificates beside the first.
    pub certificates: Vec<Certificate>,
    /// What is wrong with it.
    pub mistakes: Vec<Mistake>,
}

/// Reads the file at `path`.
///
/// # Errors
/// A sentence, when there are no bytes to read.
pub fn file(path: &Path) -> Result<Given, String> {
    let bytes = bytes(path).map_err(|why| match why.kind() {
        io::ErrorKind::NotFound => "there is no such file: name the configuration file with --config FILE".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied: let the user that runs Ringpost read it".to_owned(),
        io::ErrorKind::FileTooLarge => {
            format!("it is larger than {FILE_BYTES_MAX} octets: that is no configuration file")
        }
        io::ErrorKind::InvalidInput => "it is not a plain file: name one with --config FILE".to_owned(),
        _ => format!("it cannot be read: {why}"),
    })?;
    Ok(text(&bytes, folder_of(path).as_deref()))
}

/// The folder that paths in a file are relative to; `None` if there is no telling.
pub fn folder_of(path: &Path) -> Option<PathBuf> {
    std::path::absolute(path).ok()?.parent().map(Path::to_path_buf)
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    // Asked first: opening a FIFO would wait for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

/// Reads a file's bytes. `folder`: what its relative paths are relative to.
///
/// # Panics
/// When the process can have no thread more.
#[must_use]
pub fn text(bytes: &[u8], folder: Option<&Path>) -> Given {
    // Nested tables are built, and let go, by recursion.
    let builder = std::thread::Builder::new().stack_size(STACK_BYTES);
    std::thread::scope(|scope| {
        let reader = builder.spawn_scoped(scope, || parse(bytes, folder)).expect("a thread for reading a file");
        reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn parse(bytes: &[u8], folder: Option<&Path>) -> Given {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut text = String::with_capacity(bytes.len());
    let mut strange = Vec::new();
    for chunk in bytes.utf8_chunks() {
        text += chunk.valid();
        if !chunk.invalid().is_empty() {
            strange.push((text.len(), chunk.invalid()[0]));
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    let mut reader = Reader { lines: Lines::of(&text), folder, given: Given::default(), unreadable: BTreeSet::new() };
    for (at, octet) in strange {
        reader.syntax(at, format!("octet {octet:#04x} is not UTF-8: save the file as UTF-8"));
    }
    if let Some(at) = too_deep(&text) {
        reader
            .syntax(at, format!("more than {DOTS_PER_LINE_MAX} dots on one line: write a long list on several lines"));
        return reader.given;
    }
    reader.tables(&text);
    reader.given
}

/// The first line that could nest tables beyond what our stack should hold. Lists and inline tables are bounded by the
/// parser itself.
fn too_deep(text: &str) -> Option<usize> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let comment = line.trim_start().starts_with('#');
        if !comment && line.bytes().filter(|b| *b == b'.').count() > DOTS_PER_LINE_MAX {
            return Some(start);
        }
        start += line.len();
    }
    None
}

/// What to do about what TOML says.
fn sentence(message: &str, there: &str) -> String {
    let there: String = there.chars().take(40).collect();
    match message {
        "duplicate key" => format!("`{there}` is set a second time: keep one of the two"),
        m if m.starts_with("string values must be quoted") && there.is_empty() => {
            "a value is missing: write one behind the =".to_owned()
        }
        m if m.starts_with("string values must be quoted") => format!("write text in quotes: \"{there}\""),
        m if m.starts_with("cannot recurse further") => "this is nested too deeply: no setting is".to_owned(),
        m => format!("this cannot be read as TOML: {m}"),
    }
}

struct Reader<'a> {
    lines: Lines<'a>,
    folder: Option<&'a Path>,
    given: Given,
    unreadable: BTreeSet<usize>,
}

impl Reader<'_> {
    /// A mistake of form: what its line says is not judged any further. False if it was said of this line before.
    fn syntax(&mut self, at: usize, why: String) -> bool {
        let place = self.lines.place(at);
        let first = self.unreadable.insert(place.line);
        if first {
            self.given.mistakes.push(Mistake { at: Source::File(place), why });
        }
        first
    }

    fn wrong(&mut self, at: usize, why: String) {
        let place = self.lines.place(at);
        if !self.unreadable.contains(&place.line) {
            self.given.mistakes.push(Mistake { at: Source::File(place), why });
        }
    }

    /// Reads the tables. TOML's recovery skips what follows a mistake, so lines that cannot be read are blanked, and the
    /// rest is read again.
    fn tables(&mut self, text: &str) {
        let mut left = text.to_owned();
        for _ in 1..PASSES_MAX {
            let (root, errors) = DeTable::parse_recoverable(&left);
            let mut blank = BTreeSet::new();
            let mut open = false;
            for error in errors {
                let span = error.span().unwrap_or(0..0);
                let line = self.lines.around(span.start);
                let why = sentence(error.message(), text.get(span.clone()).unwrap_or_default());
                // What follows a header belongs to it, and what follows an open list may.
                open |= error.message().contains("array") || error.message().contains("inline table");
                if !self.syntax(span.start, why) {
                    continue;
                }
                if text[line.clone()].trim_start().starts_with('[') {
                    // TOML's recovery takes the next line for a part of the header.
                    self.unreadable.insert(self.lines.place(span.start).line + 1);
                } else {
                    blank.insert((line.start, line.end));
                }
            }
            if blank.is_empty() || open {
                return self.table("", root.get_ref());
            }
            drop(root);
            let mut octets = left.into_bytes();
            for (start, end) in blank {
                octets[start..end].fill(b' ');
            }
            left = String::from_utf8(octets).expect("whole lines were blanked");
        }
        let (root, _) = DeTable::parse_recoverable(&left);
        self.table("", root.get_ref());
    }

    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table.iter() {
            let path = format!("{prefix}{}", name.get_ref());
            let span = value.span();
            match value.get_ref() {
                found if let Some(key) = Key::named(&path) => self.setting(key, found, span),
                DeValue::Array(list) if path == "listener" && list.is_empty() => self.wrong(
                    span.start,
                    "listener: an empty list would open no door: remove the line for a door of each service on loopback, \
                     or write a [[listener]]"
                        .to_owned(),
                ),
                DeValue::Array(list) if path == "listener" => {
                    let tables: Vec<_> = list.iter().collect();
                    for entry in tables {
                        self.listener(entry.get_ref(), entry.span());
                    }
                }
                _ if path == "listener" => {
                    self.wrong(span.start, "listeners are a list: write [[listener]], in double brackets".to_owned());
                }
                DeValue::Array(list) if path == "certificate" => {
                    for entry in list.iter() {
                        self.certificate(entry.get_ref(), entry.span());
                    }
                }
                _ if path == "certificate" => {
                    self.wrong(span.start, "certificates are a list: write [[certificate]], in double brackets".to_owned());
                }
                DeValue::Table(inner) if is_table(&path) => self.table(&format!("{path}."), inner),
                other if is_table(&path) => {
                    let why = format!("`{path}` is a group of settings, not {}: write [{path}]", named(other));
                    self.wrong(span.start, why);
                }
                _ if self.given.mistakes.len() >= HINTS_MAX => {
                    self.wrong(name.span().start, format!("`{}` is not a setting: remove it", short(&path)));
                }
                DeValue::Table(_) if prefix.is_empty() => self.wrong(name.span().start, unknown_table(&path)),
                DeValue::Array(list) if prefix.is_empty() && list.iter().any(|e| e.get_ref().is_table()) => {
                    self.wrong(name.span().start, unknown_table(&path));
                }
                _ => self.wrong(name.span().start, unknown(&path)),
            }
        }
    }

    fn setting(&mut self, key: Key, value: &DeValue<'_>, span: Range<usize>) {
        match key.row().kind.read(value) {
            Ok(value) => {
                let value = match (value, self.folder) {
                    (Value::Path(path), Some(folder)) => Value::Path(folder.join(path)),
                    (value, _) => value,
                };
                let place = self.lines.place(span.start);
                self.given.values.insert(key, (value, place));
            }
            Err(wrongs) => {
                for wrong in wrongs {
                    let at = wrong.span.unwrap_or_else(|| span.clone()).start;
                    self.wrong(at, format!("{}: {}", key.path(), wrong.why));
                }
            }
        }
    }

    fn listener(&mut self, value: &DeValue<'_>, span: Range<usize>) {
        let count = self.given.listeners.get_or_insert_default().len();
        let DeValue::Table(table) = value else {
            return self.wrong(span.start, "a listener is a table: write [[listener]]".to_owned());
        };
        if count >= LISTENERS_MAX {
            return self.wrong(span.start, format!("more than {LISTENERS_MAX} listeners: remove some"));
        }
        let from = Source::File(self.lines.place(span.start));
        let read = listener::from_table(table, from, &mut |at, why| {
            let at = at.unwrap_or_else(|| span.clone()).start;
            self.wrong(at, format!("listener: {why}"));
        });
        self.given.listeners.get_or_insert_default().extend(read);
    }
}

impl Reader<'_> {
    fn certificate(&mut self, value: &DeValue<'_>, span: Range<usize>) {
        let DeValue::Table(table) = value else {
            return self.wrong(span.start, "a certificate is a table: write [[certificate]]".to_owned());
        };
        if self.given.certificates.len() >= CERTIFICATES_MAX {
            return self.wrong(span.start, format!("more than {CERTIFICATES_MAX} certificates: remove some"));
        }
        let mut wrongs = Vec::new();
        let place = |at| Source::File(self.lines.place(at));
        let read = certificate::from_table(table, place(span.start), self.folder, &place, &mut |at, why| {
            wrongs.push((at.unwrap_or_else(|| span.clone()).start, format!("certificate: {why}")));
        });
        wrongs.into_iter().for_each(|(at, why)| self.wrong(at, why));
        self.given.certificates.extend(read);
    }
}

/// The sentence for a name that is none: what was probably meant, in this table or another.
fn unknown(path: &str) -> String {
    let last = path.rsplit('.').next().unwrap_or(path);
    let elsewhere = KEYS.iter().find(|row| row.split().1 == last).map(|row| row.path);
    let near = elsewhere.or_else(|| nearest(path, KEYS.iter().map(|row| row.path)));
    let near = near.or_else(|| {
        let word = nearest(last, KEYS.iter().map(|row| row.split().1))?;
        KEYS.iter().find(|row| row.split().1 == word).map(|row| row.path)
    });
    match near {
        Some(near) => format!("`{}` is not a setting: did you mean `{near}`?", short(path)),
        None => format!("`{}` is not a setting: `ringpost config show --effective` lists them all", short(path)),
    }
}

fn unknown_table(path: &str) -> String {
    let tables = KEYS.iter().map(|row| row.split().0).filter(|t| !t.is_empty()).chain(["listener", "certificate"]);
    match nearest(path, tables) {
        Some(list @ ("listener" | "certificate")) => {
            format!("`{}` is not a group of settings: did you mean [[{list}]]?", short(path))
        }
        Some(near) => format!("`{}` is not a group of settings: did you mean [{near}]?", short(path)),
        None => {
            format!("`{}` is not a group of settings: `ringpost config show --effective` lists them all", short(path))
        }
    }
}

fn short(path: &str) -> String {
    path.chars().take(80).collect()
}
