//! Which room may use which: the `pub mod` order of `src/lib.rs` held against every `crate::` path in `src/`.
//!
//! A room uses itself and the rooms listed above it, in tests too. Comments may point anywhere. And only `src/shard/`
//! names glommio or io_uring: everything else sees its facade, so that the simulated world can stand in.

use std::path::{Path, PathBuf};

#[test]
fn a_room_uses_only_rooms_above_it() {
    let order = rooms(&code(&read(&src().join("lib.rs"))));
    assert!(order.len() > 10, "the rooms of the house: {order:?}");
    let mut wrong = Vec::new();
    for file in files(&src()) {
        let room = room_of(&file);
        if matches!(room.as_str(), "lib" | "main") {
            continue;
        }
        let place = order.iter().position(|r| *r == room);
        let Some(place) = place else {
            wrong.push(format!("{}: {room} is not a room of src/lib.rs", shown(&file)));
            continue;
        };
        for used in used_rooms(&code(&read(&file))) {
            match order.iter().position(|r| *r == used) {
                Some(above) if above <= place => {}
                Some(_) => wrong.push(format!("{}: {room} uses {used}, which is listed below it", shown(&file))),
                None => wrong.push(format!("{}: crate::{used} is not a room", shown(&file))),
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn only_the_shard_names_glommio_or_io_uring() {
    let mut wrong = Vec::new();
    for file in files(&src()).into_iter().filter(|file| room_of(file) != "shard") {
        let code = code(&read(&file));
        wrong.extend(
            words(&code).filter(|w| matches!(*w, "glommio" | "io_uring")).map(|w| format!("{}: {w}", shown(&file))),
        );
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn an_arrow_that_points_down_is_seen() {
    assert_eq!(rooms("pub mod mail;\nmod private;\n pub mod net ;"), ["mail", "net"]);
    let text = r##"
        use crate::limits;            // crate::comment
        use crate::{mail::{address, date}, proto as p, shard::{self, net}};
        /* crate::block /* nested */ */
        fn f<'a>(_: &'a str, _: char) { crate::net::pump('"', "crate::string", '\'', r"crate::raw\"); }
        pub(crate) fn g() { $crate::serve::open(r#"crate::hash""#) }
        mod my { fn x() { mycrate::nothing(); } }
    "##;
    assert_eq!(used_rooms(&code(text)), ["limits", "mail", "proto", "shard", "net", "serve"]);
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn shown(file: &Path) -> String {
    file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(file).display().to_string()
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The folder or file directly in `src/`.
fn room_of(file: &Path) -> String {
    let inside = file.strip_prefix(src()).expect("a file of src");
    let first = inside.components().next().expect("not src itself");
    Path::new(first.as_os_str()).file_stem().expect("a name").to_string_lossy().into_owned()
}

fn rooms(code: &str) -> Vec<String> {
    let words: Vec<&str> = words(code).collect();
    words.windows(3).filter(|w| w[0] == "pub" && w[1] == "mod").map(|w| w[2].to_owned()).collect()
}

/// First path segments behind every `crate::`, groups opened.
fn used_rooms(code: &str) -> Vec<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut used = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(is_word) {
            continue;
        }
        let rest = code[at + "crate::".len()..].trim_start();
        let Some(group) = rest.strip_prefix('{') else {
            used.extend(words(rest).next().map(str::to_owned));
            continue;
        };
        let mut depth = 1;
        let mut begins = true;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => begins = true,
                c if begins && is_word(c) => {
                    used.extend(words(&group[at..]).next().map(str::to_owned));
                    begins = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    used
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Source without its comments, and without what its strings and characters say.
fn code(source: &str) -> String {
    let mut code = String::new();
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(raw) =
            raw_string(rest).filter(|_| !code.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        {
            raw
        } else if c == '"' {
            quoted(rest)
        } else if c == '\'' {
            character(rest)
        } else {
            0
        };
        if skipped == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code.push(' ');
            rest = &rest[skipped..];
        }
    }
    code
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
        } else {
            at += 1;
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn raw_string(text: &str) -> Option<usize> {
    let inner = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = inner.len() - inner.trim_start_matches('#').len();
    let body = inner[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = body.find(&close).map_or(body.len(), |at| at + close.len());
    Some(text.len() - body.len() + end)
}

fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A character literal, or nothing if it is a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => text[3..].find('\'').map_or(0, |at| at + 4),
        Some((at, c)) if text[at + c.len_utf8()..].starts_with('\'') => at + c.len_utf8() + 1,
        _ => 0,
    }
}
