//! Golden dialogues: every file of `tests/transcripts/PROTOCOL/` played whole, pipelined and cut at every octet.
//!
//! The format is described in `tests/stage/transcript.rs`. A protocol joins with one line here.

#[allow(dead_code, reason = "each test uses its part of the stage")]
mod stage;

use std::path::{Path, PathBuf};

use ringpost::proto::smtp::extensions;
use stage::World;
use stage::transcript::Transcript;

#[test]
fn imap() {
    all::<stage::imap::Imap>();
}

#[test]
fn smtp() {
    all::<stage::smtp::Smtp>();
}

#[test]
fn pop3() {
    all::<stage::pop3::Pop3>();
}

#[test]
fn every_extension_of_smtp_that_is_offered_has_its_transcript() {
    for (keyword, rfc) in extensions() {
        let path = of_extension(keyword);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(rfc == 0 || text.contains(&format!("RFC {rfc}")), "{keyword}: RFC {rfc} is not named");
        let offer = |line: &str| line[3..].strip_prefix("250").is_some_and(|rest| rest[1..].starts_with(keyword));
        assert!(text.lines().filter(|line| line.starts_with("S: ")).any(offer), "{keyword} is offered there");
    }
}

/// EHLO goes on to offer what nobody honours any more: who believes it is disappointed.
#[cfg(feature = "bugs")]
#[test]
fn a_transcript_of_an_extension_fails_without_its_handler() {
    for (keyword, _) in extensions() {
        let text = std::fs::read_to_string(of_extension(keyword)).expect("a transcript");
        let transcript = Transcript::read(&text);
        let difference = || transcript.difference(&transcript.play::<stage::smtp::Smtp>());
        assert_eq!(difference(), None, "{keyword}");
        ringpost::bugs::take_out_extension(Some(keyword));
        let without = difference();
        ringpost::bugs::take_out_extension(None);
        let without = without.unwrap_or_else(|| panic!("{keyword} is not missed"));
        assert!(!without.contains(&format!("- S: 250-{keyword}")), "it is still offered: {without}");
    }
}

/// A mechanism that is offered and not carried out is missed in each protocol that offers it.
#[cfg(feature = "bugs")]
#[test]
fn a_transcript_of_a_mechanism_fails_without_its_handler() {
    for mechanism in ringpost::proto::sasl::MECHANISMS {
        let name = mechanism.name.to_lowercase();
        missed::<stage::smtp::Smtp>(mechanism.name, &format!("smtp/auth-{name}.txt"));
        missed::<stage::imap::Imap>(mechanism.name, &format!("imap/authenticate-{name}.txt"));
        if mechanism.name != "LOGIN" {
            missed::<stage::pop3::Pop3>(mechanism.name, &format!("pop3/auth-{name}.txt"));
        }
    }
}

#[cfg(feature = "bugs")]
fn missed<W: World>(name: &'static str, file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(file);
    let transcript = Transcript::read(&std::fs::read_to_string(path).expect("a transcript"));
    let difference = || transcript.difference(&transcript.play::<W>());
    assert_eq!(difference(), None, "{file}");
    ringpost::bugs::take_out_mechanism(Some(name));
    let without = difference();
    ringpost::bugs::take_out_mechanism(None);
    assert!(without.is_some(), "{file}: {name} is not missed");
}

fn of_extension(keyword: &str) -> PathBuf {
    let name = format!("tests/transcripts/smtp/ehlo-{}.txt", keyword.to_lowercase());
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn a_word_that_was_not_said_is_shown() {
    let text =
        "S: 220 mx.ringpost.test ESMTP Ringpost\nC: NOOP\nS: 250 2.0.0 Fine\nC: QUIT\nS: 221 2.0.0 Bye\nX: close\n";
    let transcript = Transcript::read(text);
    let difference = transcript.difference(&transcript.play::<stage::smtp::Smtp>()).expect("a difference");
    assert!(difference.contains("- S: 250 2.0.0 Fine\n+ S: 250 2.0.0 Ok\n"), "{difference}");
    let right = Transcript::read(&text.replace("Fine", "Ok"));
    assert_eq!(right.difference(&right.play::<stage::smtp::Smtp>()), None);
}

fn all<W: World>() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(W::NAME);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder of transcripts")
        .map(|entry| entry.expect("entry").path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "txt"));
    files.sort();
    assert!(!files.is_empty(), "no transcripts in {}", folder.display());
    let mut wrong = String::new();
    for path in &files {
        if let Err(difference) = stage::transcript::check::<W>(path) {
            wrong += &format!("{}\n{difference}\n", path.file_name().unwrap_or_default().display());
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
