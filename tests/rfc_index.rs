//! `tests/rfc/index.tsv` lists every RFC that `src/` and `storage/` cite, and what we make of it.
//!
//! Columns: number, title, status, separated by tabs, in the order of numbers. Status:
//!
//! - `kept`: we do what it says, as far as it concerns us; departures are marked *liberty* where they are made.
//! - `part`: some of it; the rest is not there yet or not wanted.
//! - `cited`: it explains something (a code, a format, an attack) that we do or refuse.
//!
//! Which sentence is kept where, the code says beside it: search for the number.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const INDEX: &str = include_str!("rfc/index.tsv");

#[test]
fn every_rfc_cited_is_listed_and_every_rfc_listed_is_cited() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut cited = BTreeMap::new();
    for folder in ["src", "storage"] {
        for file in files(&root.join(folder)) {
            let text = std::fs::read_to_string(&file).expect("a text");
            for number in numbers(&text) {
                let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
                cited.entry(number).or_insert(name);
            }
        }
    }
    assert!(cited.len() > 10, "the citations: {cited:?}");
    let listed = listed();
    let missing: Vec<_> = cited.iter().filter(|(number, _)| !listed.contains_key(number)).collect();
    assert!(missing.is_empty(), "cited, but not in tests/rfc/index.tsv (add number, title, status): {missing:?}");
    let unused: Vec<_> = listed.keys().filter(|number| !cited.contains_key(number)).collect();
    assert!(unused.is_empty(), "in tests/rfc/index.tsv, but cited nowhere: {unused:?}");
}

#[test]
fn the_index_is_in_order_and_knows_its_words() {
    let numbers: Vec<u32> = rows().map(|row| row[0].parse().expect("a number")).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "in the order of numbers, each once");
    for row in rows() {
        assert_eq!(row.len(), 3, "number, title, status: {row:?}");
        assert!(!row[1].is_empty() && matches!(row[2], "kept" | "part" | "cited"), "{row:?}");
    }
}

#[test]
fn a_citation_is_a_number_behind_rfc_and_a_space() {
    let text = "RFC 5321 §4.1, (RFC 822), RFC822.SIZE, RFC-9051, RFC 12, an RFC of 2026, RFC 123456";
    assert_eq!(numbers(text), [5321, 822]);
}

fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    INDEX.lines().map(|line| line.split('\t').collect())
}

fn listed() -> BTreeMap<u32, &'static str> {
    rows().map(|row| (row[0].parse().expect("a number"), row[1])).collect()
}

fn numbers(text: &str) -> Vec<u32> {
    let digits = |rest: &str| rest.bytes().take_while(u8::is_ascii_digit).count();
    let found = text.split("RFC ").skip(1).filter(|rest| (3..=5).contains(&digits(rest)));
    found.map(|rest| rest[..digits(rest)].parse().expect("digits")).collect()
}

/// Sources and documents.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "rs" || e == "md") {
            found.push(path);
        }
    }
    found
}
