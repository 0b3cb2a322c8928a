//! Golden dialogues: their format, how they are played, and how a difference is shown.
//!
//! ```text
//!   # comment                      K: setting value          (before the first C:)
//!   C: NOOP                        the client says NOOP and CRLF
//!   c: NO                          the client says two octets
//!   T:      E:      L:      N:     silence, end of input, handshake complete, news
//!   O:                             the conversation is to end
//!   S: 250 2.0.0 Ok                the server says a line and CRLF; s: without
//!   B: Subject: x                  a line of a message as it is handed in; b: without CRLF
//!   Q: Rcpt { … }                  an ask; shown only in files that have Q: lines
//!   A: Rcpt no 550 5.1.1 No        the next ask of this kind is answered so; the world of the protocol says what it understands
//!   X: close                       close, abort or starttls
//! ```
//!
//! In text `\r \n \t \0 \\ \xHH` are octets and `\{x*5000}` is five thousand of `x`. `C*3:` is the line three times; runs of five
//! and more equal lines are shown so, runs of forty and more equal octets as `\{x*40}`.
//!
//! What we can is told in many places and grows: in a response code (`[CAPABILITY …]`) it is shown as an ellipsis, so that
//! the whole list stands only where a dialogue asks for it.
//!
//! A handshake succeeds at once (`X: starttls`) if nothing was delivered behind the command that asked for it. Else the wall
//! stands: the session's answer is not given, and a farewell and `X: close` come behind `X: starttls`. A dialogue with a wall is
//! played whole alone, because where it is cut decides it.
//!
//! `C:` lines that follow one another are delivered as one. With `TRANSCRIPTS=update` in the environment the files
//! are rewritten as heard: read the difference before you keep it.

use std::fmt::Write;
use std::path::Path;

use ringpost::proto::contract::Turn;

use super::{Event, Heard, Player, Settings, World};

const STARTTLS: &str = "X: starttls";

/// One file.
pub struct Transcript {
    settings: Settings,
    blocks: Vec<Block>,
    shows_asks: bool,
}

/// What the client does before it listens, and what it should hear then.
#[derive(Default)]
struct Block {
    answers: Vec<String>,
    /// As they stand in the file.
    client: Vec<String>,
    events: Vec<Event>,
    expected: Vec<String>,
}

impl Transcript {
    pub fn read(text: &str) -> Self {
        let mut transcript =
            Transcript { settings: Settings::new(), blocks: vec![Block::default()], shows_asks: false };
        for (n, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (tag, rest) = line.split_once(':').unwrap_or_else(|| panic!("line {}: no tag: {line}", n + 1));
            let rest = rest.strip_prefix(' ').unwrap_or(rest);
            let kind = tag.split('*').next().expect("split has a first part");
            match kind {
                "K" => {
                    let (key, value) = rest.split_once(' ').expect("K: setting value");
                    transcript.settings.insert(key.to_owned(), value.to_owned());
                }
                "A" | "C" | "c" | "T" | "E" | "L" | "N" | "O" => {
                    let block = transcript.block_for_client();
                    if kind == "A" {
                        block.answers.push(rest.to_owned());
                        continue;
                    }
                    block.client.push(line.to_owned());
                    block.event(kind, times(tag), rest);
                }
                "S" | "s" | "B" | "b" | "Q" | "X" => {
                    transcript.shows_asks |= kind == "Q";
                    transcript.blocks.last_mut().expect("never empty").expected.push(line.to_owned());
                }
                _ => panic!("line {}: no such tag: {tag}", n + 1),
            }
        }
        transcript
    }

    fn block_for_client(&mut self) -> &mut Block {
        let listening = self.blocks.last().is_some_and(|block| !block.expected.is_empty());
        if listening || self.blocks.len() == 1 {
            self.blocks.push(Block::default());
        }
        self.blocks.last_mut().expect("never empty")
    }

    fn meets_the_wall(&self) -> bool {
        let wall = |block: &Block| block.expected.iter().rev().skip(1).any(|line| line == STARTTLS);
        self.blocks.iter().any(wall)
    }

    /// Octets the client sends.
    pub fn octets(&self) -> usize {
        let bytes = |event: &Event| if let Event::Bytes(bytes) = event { bytes.len() } else { 0 };
        self.blocks.iter().flat_map(|block| &block.events).map(bytes).sum()
    }

    /// Plays block by block: the lines heard after each.
    pub fn play<W: World>(&self) -> Vec<Vec<String>> {
        let mut player = Player::<W>::open(&self.settings);
        let mut lines = Vec::new();
        for block in &self.blocks {
            block.answers.iter().for_each(|line| player.script.add(line));
            block.events.iter().for_each(|event| player.event(event));
            lines.push(self.shown(&std::mem::take(&mut player.heard)));
        }
        lines
    }

    /// Plays with the octets of each block delivered in the pieces that `cut` makes of them, told how many octets came before.
    pub fn play_cut<W: World>(&self, cut: impl Fn(usize, &[u8]) -> Vec<Vec<u8>>) -> Vec<Heard> {
        let mut player = Player::<W>::open(&self.settings);
        let mut before = 0;
        for block in &self.blocks {
            block.answers.iter().for_each(|line| player.script.add(line));
            for event in &block.events {
                let Event::Bytes(bytes) = event else {
                    player.event(event);
                    continue;
                };
                cut(before, bytes).iter().for_each(|piece| player.bytes(piece));
                before += bytes.len();
            }
        }
        player.finish()
    }

    /// Plays with everything the client sends delivered at once, as far as no answer is scripted between.
    pub fn play_pipelined<W: World>(&self) -> Vec<Heard> {
        let mut player = Player::<W>::open(&self.settings);
        let mut waiting = Vec::new();
        for block in &self.blocks {
            if !block.answers.is_empty() {
                player.bytes(&std::mem::take(&mut waiting));
            }
            block.answers.iter().for_each(|line| player.script.add(line));
            for event in &block.events {
                if let Event::Bytes(bytes) = event {
                    waiting.extend_from_slice(bytes);
                } else {
                    player.bytes(&std::mem::take(&mut waiting));
                    player.event(event);
                }
            }
            if block.expected.iter().any(|line| line == STARTTLS) {
                player.bytes(&std::mem::take(&mut waiting));
            }
        }
        player.bytes(&waiting);
        player.finish()
    }

    /// `None` if the file says what was heard; else the difference.
    pub fn difference(&self, heard: &[Vec<String>]) -> Option<String> {
        let mut expected = Vec::new();
        let mut actual = Vec::new();
        for (block, heard) in self.blocks.iter().zip(heard) {
            expected.extend(block.client.iter().chain(&block.expected).cloned());
            actual.extend(block.client.iter().chain(heard).cloned());
        }
        (expected != actual).then(|| diff(&expected, &actual))
    }

    fn shown(&self, heard: &[Heard]) -> Vec<String> {
        let mut lines = Vec::new();
        for heard in heard {
            match heard {
                Heard::Reply(bytes) => show(&mut lines, 'S', bytes),
                Heard::Body(bytes) => show(&mut lines, 'B', bytes),
                Heard::Ask(ask) if self.shows_asks => lines.push(format!("Q: {ask}")),
                Heard::Ask(_) => {}
                Heard::Turn(Turn::Close) => lines.push("X: close".to_owned()),
                Heard::Turn(Turn::Abort) => lines.push("X: abort".to_owned()),
                Heard::Turn(Turn::StartTls) => lines.push(STARTTLS.to_owned()),
            }
        }
        folded(lines)
    }
}

impl Block {
    fn event(&mut self, kind: &str, times: usize, rest: &str) {
        match kind {
            "T" => self.events.push(Event::Timeout),
            "E" => self.events.push(Event::Eof),
            "L" => self.events.push(Event::TlsReady),
            "O" => self.events.push(Event::Over),
            "N" => self.events.push(Event::News),
            _ => {
                let mut bytes = octets(rest);
                if kind == "C" {
                    bytes.extend_from_slice(b"\r\n");
                }
                let bytes = bytes.repeat(times);
                match self.events.last_mut() {
                    Some(Event::Bytes(last)) => last.extend_from_slice(&bytes),
                    _ => self.events.push(Event::Bytes(bytes)),
                }
            }
        }
    }
}

/// Plays one file whole, pipelined and cut, and returns what is wrong with it.
pub fn check<W: World>(path: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let transcript = Transcript::read(&text);
    let heard = transcript.play::<W>();
    if std::env::var_os("TRANSCRIPTS").is_some_and(|v| v == "update") {
        std::fs::write(path, updated(&text, &heard)).map_err(|e| e.to_string())?;
        return Ok(());
    }
    if let Some(difference) = transcript.difference(&heard) {
        return Err(difference);
    }
    if transcript.meets_the_wall() {
        return Ok(());
    }
    let whole = joined(transcript.play_cut::<W>(|_, bytes| vec![bytes.to_vec()]));
    let same = |what: &str, other: Vec<Heard>| {
        let other = joined(other);
        if other == whole { Ok(()) } else { Err(format!("{what}:\n{}", diff(&debug(&whole), &debug(&other)))) }
    };
    same("pipelined", transcript.play_pipelined::<W>())?;
    let octets = transcript.octets();
    if octets <= 1 << 17 {
        same(
            "one octet at a time",
            transcript.play_cut::<W>(|_, bytes| bytes.chunks(1).map(<[u8]>::to_vec).collect()),
        )?;
    }
    // Every cut of a short dialogue (up to 2,000 octets); some dozens of a long one.
    for cut in (1..octets).step_by((octets / 2_000).max(octets * octets / 2_000_000).max(1)) {
        let other = transcript.play_cut::<W>(|before, bytes| {
            let at = cut.saturating_sub(before).min(bytes.len());
            [&bytes[..at], &bytes[at..]].into_iter().filter(|piece| !piece.is_empty()).map(<[u8]>::to_vec).collect()
        });
        same(&format!("cut at octet {cut}"), other)?;
    }
    Ok(())
}

/// Where a wait for more octets falls does not matter: replies next to one another are one.
fn joined(heard: Vec<Heard>) -> Vec<Heard> {
    let mut joined: Vec<Heard> = Vec::new();
    for heard in heard {
        match (joined.last_mut(), heard) {
            (Some(Heard::Reply(last)), Heard::Reply(bytes)) => last.extend(bytes),
            (_, heard) => joined.push(heard),
        }
    }
    joined
}

fn debug(heard: &[Heard]) -> Vec<String> {
    let mut lines = Vec::new();
    for heard in heard {
        match heard {
            Heard::Reply(bytes) => show(&mut lines, 'S', bytes),
            Heard::Body(bytes) => show(&mut lines, 'B', bytes),
            other => lines.push(format!("{other:?}")),
        }
    }
    folded(lines)
}

fn updated(text: &str, heard: &[Vec<String>]) -> String {
    let mut out = String::new();
    let mut blocks = heard.iter();
    let mut listening = false;
    let mut spoken = false;
    for line in text.lines() {
        let tag = if line.starts_with('#') { "" } else { line.split([':', '*']).next().unwrap_or("") };
        match tag {
            "S" | "s" | "B" | "b" | "Q" | "X" => {
                if !listening {
                    listening = true;
                    blocks.next().into_iter().flatten().for_each(|line| out.push_str(&format!("{line}\n")));
                }
                continue;
            }
            "C" | "c" | "T" | "E" | "L" | "N" | "O" | "A" => {
                if !spoken && !listening {
                    blocks.next().into_iter().flatten().for_each(|line| out.push_str(&format!("{line}\n")));
                }
                spoken = true;
                listening = false;
            }
            _ => {}
        }
        let _ = writeln!(out, "{line}");
    }
    blocks.flatten().for_each(|line| out.push_str(&format!("{line}\n")));
    out
}

fn show(lines: &mut Vec<String>, tag: char, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = memchr::memmem::find(rest, b"\r\n");
        let (line, tag, used) = match end {
            Some(at) => (&rest[..at], tag, at + 2),
            None => (rest, tag.to_ascii_lowercase(), rest.len()),
        };
        let text = without_capabilities(text(line));
        lines.push(if text.is_empty() { format!("{tag}:") } else { format!("{tag}: {text}") });
        rest = &rest[used..];
    }
}

fn without_capabilities(text: String) -> String {
    match text.split_once("[CAPABILITY ").and_then(|(before, rest)| Some((before, rest.split_once(']')?.1))) {
        Some((before, after)) => format!("{before}[CAPABILITY …]{after}"),
        None => text,
    }
}

/// Runs of five and more equal lines become one with a count.
fn folded(lines: Vec<String>) -> Vec<String> {
    let mut folded = Vec::new();
    for run in lines.chunk_by(|a, b| a == b) {
        if run.len() >= 5 && run[0].as_bytes()[1] == b':' {
            folded.push(format!("{}*{}{}", &run[0][..1], run.len(), &run[0][1..]));
        } else {
            folded.extend_from_slice(run);
        }
    }
    folded
}

fn text(bytes: &[u8]) -> String {
    let mut text = String::new();
    for run in bytes.chunk_by(|a, b| a == b) {
        let one = match run[0] {
            b'\\' => "\\\\".to_owned(),
            b'\r' => "\\r".to_owned(),
            b'\n' => "\\n".to_owned(),
            b'\t' => "\\t".to_owned(),
            0 => "\\0".to_owned(),
            byte @ b' '..=b'~' => char::from(byte).to_string(),
            byte => format!("\\x{byte:02x}"),
        };
        if run.len() >= 40 && one.len() == 1 {
            let _ = write!(text, "\\{{{one}*{}}}", run.len());
        } else {
            text.push_str(&one.repeat(run.len()));
        }
    }
    text
}

fn octets(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        octets.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = &rest[at + 1..];
        let used = match escape.as_bytes().first().expect("something behind a backslash") {
            b'r' => push(&mut octets, b'\r'),
            b'n' => push(&mut octets, b'\n'),
            b't' => push(&mut octets, b'\t'),
            b'0' => push(&mut octets, 0),
            b'\\' => push(&mut octets, b'\\'),
            b'x' => {
                octets.push(u8::from_str_radix(&escape[1..3], 16).expect("two hex digits"));
                3
            }
            b'{' => {
                let end = escape.find('}').expect("\\{text*times}");
                let (what, times) = escape[1..end].rsplit_once('*').expect("\\{text*times}");
                octets.extend(what.as_bytes().repeat(times.parse().expect("times")));
                end + 1
            }
            other => panic!("no such escape: {}", char::from(*other)),
        };
        rest = &escape[used..];
    }
    octets.extend_from_slice(rest.as_bytes());
    octets
}

fn push(octets: &mut Vec<u8>, byte: u8) -> usize {
    octets.push(byte);
    1
}

fn times(tag: &str) -> usize {
    tag.split_once('*').map_or(1, |(_, times)| times.parse().expect("a number of times"))
}

/// A difference for people: `-` expected, `+` heard. Long dialogues are shown around it.
fn diff(expected: &[String], heard: &[String]) -> String {
    let same_head = expected.iter().zip(heard).take_while(|(a, b)| a == b).count();
    let tail_max = expected.len().min(heard.len()) - same_head;
    let same_tail = expected.iter().rev().zip(heard.iter().rev()).take(tail_max).take_while(|(a, b)| a == b).count();
    let mut text = String::new();
    for line in &expected[same_head.saturating_sub(5)..same_head] {
        let _ = writeln!(text, "  {line}");
    }
    for line in &expected[same_head..expected.len() - same_tail] {
        let _ = writeln!(text, "- {line}");
    }
    for line in &heard[same_head..heard.len() - same_tail] {
        let _ = writeln!(text, "+ {line}");
    }
    for line in expected[expected.len() - same_tail..].iter().take(5) {
        let _ = writeln!(text, "  {line}");
    }
    text
}
