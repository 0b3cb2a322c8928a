//! `tests/rows.tsv` lists the hostile inputs that this front door is built against, and the tests that show what is answered.
//!
//! Columns: row, what comes, tests, liberty, separated by tabs, in the order of rows. A test is the name of a function in the
//! sources, or `PROTOCOL/NAME` for a transcript, `tests/transcripts/PROTOCOL/NAME.txt`. A *liberty* says where the answer is not the
//! one that was listed, or not there yet. A test whose name begins with rows, `a001_to_a004_…` or `a043-a065-…`, is listed in
//! each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const ROWS: &str = include_str!("rows.tsv");

/// What is listed here; other protocols have their rows elsewhere.
fn ours() -> impl Iterator<Item = u16> {
    (1..=68).chain(80..=101).chain(192..=200)
}

struct Row {
    number: u16,
    what: &'static str,
    tests: Vec<&'static str>,
    liberty: &'static str,
}

fn rows() -> Vec<Row> {
    let row = |line: &'static str| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [number, what, tests, liberty @ ..] = &columns[..] else { panic!("row, what, tests, liberty: {line:?}") };
        let number = number.strip_prefix('A').and_then(|n| n.parse().ok()).expect("a row");
        assert!(liberty.len() < 2, "one liberty: {line:?}");
        Row { number, what, tests: tests.split_whitespace().collect(), liberty: liberty.first().unwrap_or(&"") }
    };
    ROWS.lines().map(row).collect()
}

#[test]
fn every_row_is_there_once_with_tests_or_a_liberty() {
    let rows = rows();
    assert!(rows.iter().map(|row| row.number).eq(ours()), "each row once, in order");
    for Row { number, what, tests, liberty } in &rows {
        assert!(!what.is_empty() && (!tests.is_empty() || !liberty.is_empty()), "A{number:03}");
        assert!(liberty.is_empty() || liberty.ends_with('.'), "A{number:03}: a liberty is a sentence");
    }
}

#[test]
fn every_test_that_is_listed_is_there() {
    let there = tests();
    for row in rows() {
        for test in row.tests {
            assert!(there.contains(test), "A{:03}: {test} is nowhere", row.number);
        }
    }
}

#[test]
fn every_test_that_names_rows_is_listed_in_them() {
    let listed: BTreeMap<u16, Vec<&str>> = rows().into_iter().map(|row| (row.number, row.tests)).collect();
    let mut named = 0;
    for test in tests() {
        for row in named_by(test.rsplit('/').next().unwrap_or(&test)) {
            let Some(tests) = listed.get(&row) else { continue };
            named += 1;
            assert!(tests.contains(&test.as_str()), "add {test} to A{row:03} in tests/rows.tsv");
        }
    }
    assert!(named > 200, "{named}");
}

#[test]
fn a_name_says_its_rows_first() {
    assert_eq!(named_by("a001_to_a004_only_a_dot"), [1, 2, 3, 4]);
    assert_eq!(named_by("a008_a109_a142_what_is_sent"), [8, 109, 142]);
    assert_eq!(named_by("a033_and_a034_nobody"), [33, 34]);
    assert_eq!(named_by("a001-a004-not-an-end"), [1, 4]);
    assert_eq!(named_by("a_letter_of_a123"), [0_u16; 0]);
    assert_eq!(named_by("a12_b"), [0_u16; 0]);
}

/// The rows at the front of a name.
fn named_by(name: &str) -> Vec<u16> {
    let mut rows: Vec<u16> = Vec::new();
    let mut up_to = false;
    for word in name.split(['_', '-']) {
        let row = word.strip_prefix('a').filter(|n| n.len() == 3).and_then(|n| n.parse().ok());
        match (row, word) {
            (Some(row), _) if up_to => rows.extend(rows.last().map_or(row, |last| last + 1)..=row),
            (Some(row), _) => rows.push(row),
            (None, "to") => up_to = true,
            (None, "and") => {}
            (None, _) => break,
        }
        up_to &= row.is_none();
    }
    rows
}

/// The names of all functions of the sources that are tests, and of all transcripts.
fn tests() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = BTreeSet::new();
    for folder in ["src", "tests", "storage/src", "storage/tests"] {
        for file in files(&root.join(folder), "rs") {
            let text = std::fs::read_to_string(&file).expect("a text");
            let mut is_test = false;
            for line in text.lines().map(str::trim_start) {
                let function = line.strip_prefix("pub ").unwrap_or(line).strip_prefix("fn ");
                if let Some(name) = function.and_then(|rest| rest.split(['(', '<']).next())
                    && is_test
                {
                    names.insert(name.to_owned());
                }
                is_test = line == "#[test]" || is_test && (line.starts_with("#[") || line.starts_with("//"));
            }
        }
    }
    let transcripts = root.join("tests/transcripts");
    for file in files(&transcripts, "txt") {
        let name = file.strip_prefix(&transcripts).expect("below").with_extension("");
        names.insert(name.to_str().expect("a plain path").to_owned());
    }
    names
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found
}
