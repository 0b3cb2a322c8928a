//! A store that is looked after: backups while letters come, what comes back from them, and what is repaired without one.

use std::fs;
use std::path::Path;

use crate::house::{House, Talk, post, verb};

const ALICE: &str = "alice@ringpost.test";

fn path(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

fn letters(house: &House, numbers: std::ops::Range<u32>) {
    for n in numbers {
        post(house.smtp(), "", &[ALICE], &format!("Subject: letter {n}\r\n\r\n{}\r\n", "text ".repeat(50)));
    }
}

/// A talk as alice, and what SELECT of INBOX said.
fn inbox(house: &House, password: &str) -> (Talk, String) {
    let mut talk = Talk::with(house.imap());
    talk.hear();
    talk.imap(&format!("LOGIN {ALICE} {password}"), "OK");
    let told = talk.imap("SELECT INBOX", "OK").join("\n");
    (talk, told)
}

fn uidvalidity(told: &str) -> u32 {
    let after = told.split("UIDVALIDITY ").nth(1).expect("a UIDVALIDITY");
    after.split(']').next().expect("a bracket").parse().expect("a number")
}

#[test]
fn a_backup_is_taken_while_letters_come_and_comes_back() {
    let house = House::open(&["--shards", "2"]);
    let password = house.password(ALICE);
    letters(&house, 0..5);
    let backup = house.dir.path().join("backup");
    let take = ["store", "backup", path(&backup), "--verify"];
    let (code, said, wrong) = house.verb(&take, "");
    assert_eq!((code, wrong.as_str()), (0, ""), "{said}");
    assert!(said.contains("backup complete: 2 segments copied") && said.contains("5 messages"), "{said}");
    letters(&house, 5..8);
    // Once more into the same folder: what was not full is copied again.
    let (code, said, wrong) = house.verb(&take, "");
    assert_eq!((code, wrong.as_str()), (0, ""), "{said}");
    letters(&house, 8..9);
    let (code, said, wrong) = verb(&backup, &["store", "check"], "");
    assert_eq!((code, wrong.as_str()), (0, ""), "{said}");

    // What one person has lost comes back into the running server, once.
    let (mut talk, told) = inbox(&house, &password);
    assert!(told.contains("9 EXISTS"), "{told}");
    talk.imap("STORE 2:3 +FLAGS.SILENT (\\Deleted)", "OK");
    talk.imap("EXPUNGE", "OK");
    for back in ["2 messages", "0 messages"] {
        let (code, said, wrong) = house.verb(&["store", "restore", path(&backup), "--account", ALICE], "");
        assert_eq!((code, wrong.as_str()), (0, ""), "{said}");
        assert!(said.contains(back), "{said}");
    }
    let (_, now) = inbox(&house, &password);
    assert!(now.contains("9 EXISTS") && uidvalidity(&now) == uidvalidity(&told), "{now}");

    // All of it, into a house of its own.
    let other = tempfile::tempdir().expect("a temporary folder");
    let data = other.path().join("data");
    let (code, said, wrong) = verb(&data, &["store", "restore", path(&backup)], "");
    assert_eq!((code, wrong.as_str()), (0, ""), "{said}");
    let (code, _, wrong) = verb(&data, &["store", "restore", path(&backup)], "");
    assert!(code == 1 && wrong.contains("is not empty"), "{wrong}");
    let other = House::open_in(other, &["--shards", "2"]);
    let (mut talk, then) = inbox(&other, &password);
    assert!(then.contains("8 EXISTS"), "{then}");
    assert!(uidvalidity(&then) > uidvalidity(&told), "who knows the UIDs of later must forget them");
    assert!(talk.imap("FETCH 8 BODY.PEEK[]", "OK").join("\n").contains("Subject: letter 7"));

    fs::write(backup.join("backup.json"), r#"{"store":"0","taken":"","finished":false,"volumes":{}}"#)
        .expect("writing");
    for (args, what) in [
        (vec!["store", "restore", path(&backup)], "backup.json"),
        (vec!["store", "backup", path(other.dir.path())], "no backup"),
        (vec!["store", "restore", path(other.dir.path())], "there is no backup"),
    ] {
        let (code, _, wrong) = verb(&house.data(), &args, "");
        assert!(code == 1 && wrong.contains(what), "{wrong}");
    }
}

/// Asks for an address that nobody has; the code it is answered with.
fn unknown(house: &House) -> String {
    let mut talk = Talk::with(house.smtp());
    talk.reply();
    talk.ask("EHLO client.test", "250");
    talk.ask("MAIL FROM:<>", "250");
    talk.say("RCPT TO:<nobody@ringpost.test>\r\n");
    talk.reply()
}

#[test]
fn what_is_lost_is_set_aside_and_unknown_addresses_are_unknown_again() {
    let mut house = House::open(&["--shards", "1"]);
    let password = house.password(ALICE);
    letters(&house, 0..6);
    assert!(unknown(&house).starts_with("550"));
    assert_eq!(house.stop(), Some(0));
    let segment = house.data().join("volume-000/segment-00000001");
    let mut octets = fs::read(&segment).expect("a segment");
    let find = |what: &str| octets.windows(what.len()).position(|w| w == what.as_bytes()).expect("it is there");
    // The batch of the third letter: from behind the letter before it to its own text.
    let (from, to) = (find("Subject: letter 1") + 300, find("Subject: letter 2"));
    octets[from..to].fill(0);
    fs::write(&segment, &octets).expect("writing");
    // And the checkpoint with it, which would know what was in the batch.
    let volume = fs::read_dir(house.data().join("volume-000")).expect("the volume").flatten();
    for file in volume.filter(|file| file.file_name().to_string_lossy().starts_with("pages-")) {
        fs::remove_file(file.path()).expect("removing");
    }

    house.reopen();
    assert!(unknown(&house).starts_with("4"), "the address may have been in what is lost");
    let (code, _, wrong) = house.verb(&["store", "repair", "--quarantine"], "");
    assert!(code == 1 && wrong.contains("stop it first"), "{wrong}");
    assert_eq!(house.stop(), Some(0));
    let (code, said, wrong) = house.verb(&["store", "check"], "");
    assert!(code == 1 && said.contains("batches are lost") && wrong.contains("segment 1"), "{said}{wrong}");
    let export = |to: &str| house.verb(&["store", "export", "--maildir", path(&house.dir.path().join(to))], "");
    let (code, said, wrong) = export("some");
    assert!(code == 1 && wrong.contains("volume 0, segment 1") && wrong.contains("batches are lost"), "{said}{wrong}");
    let (code, ..) = house.verb(&["store", "repair"], "");
    assert_eq!(code, 2, "without its flag it does nothing");
    let (code, said, wrong) = house.verb(&["store", "repair", "--quarantine"], "");
    assert_eq!(code, 0, "{said}{wrong}");
    let report = said.split("it was is in ").nth(1).expect("a report").trim();
    let report = fs::read_to_string(report).expect("the report");
    assert!(report.contains("volume 0, segment 1"), "{report}");
    let aside: Vec<_> = walk(&house.data().join("quarantine"));
    assert!(aside.iter().any(|name| name.starts_with("segment-00000001-at-")), "{aside:?}");
    assert_eq!(fs::read(&segment).expect("a segment").len(), octets.len(), "nothing is deleted");

    let (code, said, wrong) = house.verb(&["store", "check"], "");
    assert_eq!((code, wrong.as_str()), (0, ""), "{said}");
    assert!(said.contains("whose loss was accepted"), "{said}");
    let (code, said, wrong) = export("all");
    assert_eq!((code, wrong.as_str()), (0, ""), "{said}");
    house.reopen();
    assert!(unknown(&house).starts_with("550"));
    assert!(inbox(&house, &password).1.contains("5 EXISTS"));
}

fn walk(dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder").flatten() {
        if entry.path().is_dir() {
            names.extend(walk(&entry.path()));
        } else {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names
}

#[test]
fn rot_is_found_by_a_scrub_while_the_server_runs_and_is_a_figure() {
    let house = House::open(&["--shards", "2"]);
    letters(&house, 0..4);
    let (code, said, wrong) = house.verb(&["store", "scrub"], "");
    assert_eq!((code, wrong.as_str()), (0, ""), "{said}");
    let (_, said, _) = house.verb(&["store", "stat"], "");
    assert_eq!(said.matches("  scrubbed ").count(), 2, "each volume: {said}");
    // Behind everybody's back.
    let mut spoilt = 0;
    for volume in ["volume-000", "volume-001"] {
        let segment = house.data().join(volume).join("segment-00000001");
        let octets = fs::read(&segment).expect("a segment");
        if let Some(at) = octets.windows(17).position(|w| w == b"Subject: letter 2") {
            let file = fs::OpenOptions::new().write(true).open(&segment).expect("opening");
            std::os::unix::fs::FileExt::write_all_at(&file, b"x", at as u64 + 50).expect("writing");
            spoilt += 1;
        }
    }
    assert_eq!(spoilt, 1);
    let (code, said, wrong) = house.verb(&["store", "scrub"], "");
    assert!(code == 1 && wrong.contains("1 damaged places"), "{said}{wrong}");
    assert!(house.log().contains("scrub: this is not what was written"), "{}", house.log());
    let (_, figures, _) = house.verb(&["stats"], "");
    assert!(figures.contains("volume_scrub_errors 1\n"), "{figures}");
    assert!(figures.contains("volume_scrub_passes 4\n"), "{figures}");
    let told = house.log().matches("scrub: this is not").count();
    let (code, ..) = house.verb(&["store", "scrub"], "");
    assert_eq!((code, house.log().matches("scrub: this is not").count()), (0, told), "it is told once");
}
