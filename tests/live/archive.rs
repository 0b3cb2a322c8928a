//! Mail that comes in from other programs and goes out again: Maildirs and mboxes that Python makes and reads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::house::{House, Talk, verb};

const ALICE: &str = "alice@ringpost.test";
const BOB: &str = "bob@ringpost.test";

/// Makes a Maildir with a folder, flags and dates; lists what is in a Maildir or mbox, one JSON object a line, sorted.
const PYTHON: &str = r#"
import sys, os, json, mailbox, hashlib
do, path = sys.argv[1], sys.argv[2]
def letter(n):
    return ("From: a%d@x.test\nMessage-ID: <%d@x.test>\nSubject: Gr\u00fc\u00dfe %d\n\n" % (n, n, n)
            + "From here on\n>From there\n" + "line\n" * n).encode("utf-8")
def fill(box, numbers):
    for n in numbers:
        m = mailbox.MaildirMessage(letter(n))
        m.set_flags(["", "S", "RS", "FT", "DP"][n % 5])
        m.set_subdir("cur" if n % 5 else "new")
        m.set_date(1234567890 + n)
        box.add(m)
def fields(m):
    return sorted(c for c in m.get_flags() if c != "O")
if do == "maildir":
    box = mailbox.Maildir(path, create=True)
    fill(box, range(0, 7))
    fill(box.add_folder("Lists.Rust"), range(10, 14))
    fill(box.add_folder("Entw&APw-rfe"), range(20, 22))
elif do == "mbox":
    box = mailbox.mbox(path, create=True)
    for n in range(30, 34):
        m = mailbox.mboxMessage(letter(n).replace(b"\n>From", b"\n From"))
        m.set_flags(["", "R", "RA", "RF"][n % 4])
        m.set_from("a@x.test", True)
        box.add(m)
    box.flush()
else:
    def show(name, box):
        for key in box.iterkeys():
            m = box[key]
            octets = box.get_bytes(key)
            if do == "list-mbox":
                head, _, body = octets.partition(b"\n\n")
                drop = (b"Status:", b"X-Status:", b"X-Keywords:")
                head = b"\n".join(l for l in head.split(b"\n") if not l.startswith(drop))
                # Python does not undo the quoting.
                body = b"\n".join(l[1:] if l.lstrip(b">").startswith(b"From ") and l.startswith(b">") else l for l in body.split(b"\n"))
                octets = head + b"\n\n" + body
                date = m.get_from()
            else:
                date = int(m.get_date())
            print(json.dumps([name, m["Message-ID"], fields(m), date, hashlib.sha256(octets).hexdigest()]))
    if do == "list-mbox":
        show("", mailbox.mbox(path, create=False))
    else:
        box = mailbox.Maildir(path, create=False)
        show("", box)
        for name in box.list_folders():
            show(name, box.get_folder(name))
"#;

fn python(verb: &str, path: &Path) -> Vec<String> {
    let done = Command::new("python3").args(["-c", PYTHON, verb]).arg(path).output().expect("python3 runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let mut lines: Vec<String> = String::from_utf8(done.stdout).expect("text").lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// A stopped store with accounts for alice and bob.
fn store() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let data = dir.path().join("data");
    assert_eq!(verb(&data, &["domain", "add", "ringpost.test"], "").0, 0);
    let accounts = format!("{ALICE} secret-of-alice\n{BOB} secret-of-bob\n");
    assert_eq!(verb(&data, &["account", "add", "--from-file", "-"], &accounts).0, 0);
    (dir, data)
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// Gives all messages of the Maildir UIDs as Dovecot does, with gaps; returns them.
fn uidlist(maildir: &Path, uidvalidity: u32, uidnext: u32) -> Vec<u32> {
    let mut names: Vec<String> = ["cur", "new"]
        .iter()
        .flat_map(|part| fs::read_dir(maildir.join(part)).expect("a folder"))
        .map(|file| file.expect("a file").file_name().into_string().expect("text"))
        .collect();
    names.sort_unstable();
    let uids: Vec<u32> = (0..).map(|n| 100 + 7 * n).take(names.len()).collect();
    let mut list = format!("3 V{uidvalidity} N{uidnext} G3085f01b7f11094c501100008c4a11c1\n");
    for (uid, name) in uids.iter().zip(names) {
        list += &format!("{uid} :{name}\n");
    }
    fs::write(maildir.join("dovecot-uidlist"), list).expect("writing");
    uids
}

#[test]
fn a_maildir_comes_in_and_goes_out_with_all_it_has() {
    let (dir, data) = store();
    let (source, out) = (dir.path().join("source"), dir.path().join("out"));
    python("maildir", &source);
    let uids = uidlist(&source, 1_275_660_208, 900);
    fs::write(source.join("subscriptions"), "INBOX\nLists.Rust\nGone\n").expect("writing");
    let import = ["store", "import", "--account", ALICE, "--maildir", path(&source)];
    let (code, said, wrong) = verb(&data, &import, "");
    assert_eq!((code, wrong.as_str()), (0, ""), "{said}");
    assert!(said.contains("13 messages") && said.contains("(3 mailboxes)"), "{said}");
    // Once more, as after an interruption.
    let (code, said, _) = verb(&data, &import, "");
    assert!(code == 0 && said.contains("0 messages") && said.contains("13 were there already"), "{said}");

    let export = ["store", "export", "--account", ALICE, "--maildir", path(&out)];
    let (code, said, wrong) = verb(&data, &export, "");
    assert_eq!((code, wrong.as_str()), (0, ""), "{said}");
    // Those that were new are in `cur` now, and what every account begins with is there too.
    assert_eq!(python("list", &out), python("list", &source));
    let list = fs::read_to_string(out.join("dovecot-uidlist")).expect("a uidlist");
    assert!(list.starts_with("3 V1275660208 N900\n"), "{list}");
    let told: Vec<u32> = list.lines().skip(1).map(|l| l.split(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(told, uids);
    let subscribed = fs::read_to_string(out.join("subscriptions")).expect("subscriptions");
    assert!(subscribed.contains("Lists.Rust\n") && subscribed.contains("Gone\n"), "{subscribed}");
    let (code, _, wrong) = verb(&data, &export, "");
    assert!(code == 1 && wrong.contains("the folder is not empty"), "{wrong}");
}

#[test]
fn mail_comes_into_a_running_server_and_its_readers_see_the_old_numbers() {
    let house = House::open(&["--shards", "2"]);
    let source = house.dir.path().join("source");
    python("maildir", &source);
    let uids = uidlist(&source, 1_275_660_208, 900);
    // On either shard.
    for name in [ALICE, BOB] {
        let (code, said, wrong) = house.verb(&["store", "import", "--account", name, "--maildir", path(&source)], "");
        assert_eq!((code, wrong.as_str()), (0, ""), "{said}");
        let mut talk = Talk::with(house.imap());
        talk.hear();
        talk.imap(&format!("LOGIN {name} {}", house.password(name)), "OK");
        let told = talk.imap("SELECT INBOX", "OK").join("\n");
        assert!(
            told.contains("UIDVALIDITY 1275660208") && told.contains("UIDNEXT 900") && told.contains("7 EXISTS"),
            "{told}"
        );
        let told = talk.imap("UID SEARCH ALL", "OK").join("\n");
        let want: Vec<String> = uids.iter().map(ToString::to_string).collect();
        assert!(told.contains(&want.join(" ")), "{told}");
        let told = talk.imap("UID FETCH 107 (INTERNALDATE FLAGS)", "OK").join("\n");
        assert!(told.contains("13-Feb-2009 23:31:3"), "{told}");
        assert!(talk.imap("LIST \"\" *", "OK").join("\n").contains("Lists/Rust"));
        assert!(talk.imap("SELECT Lists/Rust", "OK").join("\n").contains("4 EXISTS"));
        talk.imap("LOGOUT", "OK");
    }
    let all = house.dir.path().join("all");
    let (code, said, wrong) = house.verb(&["store", "export", "--maildir", path(&all)], "");
    assert_eq!((code, wrong.as_str()), (0, ""), "{said}");
    for name in [ALICE, BOB] {
        assert_eq!(python("list", &all.join(name)), python("list", &source));
    }
}

#[test]
fn an_mbox_comes_in_and_goes_out() {
    let (dir, data) = store();
    let (source, out) = (dir.path().join("source.mbox"), dir.path().join("out"));
    python("mbox", &source);
    let import = ["store", "import", "--account", ALICE, "--mbox", path(&source), "--mailbox", "Old/2009"];
    for already in ["", "4 were there already"] {
        let (code, said, wrong) = verb(&data, &import, "");
        assert_eq!((code, wrong.as_str()), (0, ""), "{said}");
        assert!(said.contains(already), "{said}");
    }
    let (code, said, wrong) = verb(&data, &["store", "export", "--account", ALICE, "--mbox", path(&out)], "");
    assert_eq!((code, wrong.as_str()), (0, ""), "{said}");
    let content = |lines: Vec<String>| -> Vec<serde_json::Value> {
        let parsed = lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        parsed
            .map(|mut v| {
                v[3].take();
                v
            })
            .collect()
    };
    assert_eq!(content(python("list-mbox", &out.join("Old.2009.mbox"))), content(python("list-mbox", &source)));
}

#[test]
fn what_cannot_be_imported_is_named_and_the_rest_is_imported() {
    let (dir, data) = store();
    let source = dir.path().join("source");
    python("maildir", &source);
    fs::File::create(source.join("cur/1.huge:2,")).and_then(|file| file.set_len(60 << 20)).expect("a sparse file");
    fs::create_dir(source.join("cur/2.folder:2,")).expect("a folder");
    fs::write(source.join("cur/3.nul:2,"), b"Subject: x\n\n\0\n").expect("writing");
    fs::create_dir_all(source.join(".a..b/cur")).expect("a folder");
    let (code, said, wrong) = verb(&data, &["store", "import", "--account", ALICE, "--maildir", path(&source)], "");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("14 messages"), "{said}");
    for what in [
        "cur/1.huge:2,: it has 62914560 octets",
        "2.folder:2,: it is no file",
        ".a..b: the folder's name",
        "note: ",
        "3 problems",
    ] {
        assert!(wrong.contains(what), "{what}: {wrong}");
    }
    for (args, what) in [
        (["--account", "nobody@ringpost.test", "--maildir", path(&source)], "there is no account nobody"),
        (["--account", ALICE, "--maildir", path(dir.path())], "no Maildir"),
        (["--account", ALICE, "--mbox", path(&source.join("cur/3.nul:2,"))], "this is no mbox"),
    ] {
        let (code, _, wrong) = verb(&data, &[&["store", "import"][..], &args].concat(), "");
        assert!(code == 1 && wrong.contains(what), "{what}: {wrong}");
    }
}

#[test]
fn a_mail_program_that_fetched_by_pop3_knows_its_letters_again() {
    let house = House::open(&["--shards", "2"]);
    let source = house.dir.path().join("source");
    python("maildir", &source);
    let uids = uidlist(&source, 0x6000_00ab, 900);
    // One of them has an id of its own.
    let list = fs::read_to_string(source.join("dovecot-uidlist")).expect("the list");
    fs::write(source.join("dovecot-uidlist"), list.replace("\n107 :", "\n107 Pid-of-its-own :")).expect("writing");
    let import = ["store", "import", "--account", ALICE, "--maildir", path(&source), "--pop3-uidl", "dovecot"];
    for _ in 0..2 {
        let (code, said, wrong) = house.verb(&import, "");
        assert_eq!((code, wrong.as_str()), (0, ""), "{said}");
    }
    let mut talk = Talk::with(house.pop3());
    talk.hear();
    talk.pop3(&format!("USER {ALICE}"));
    talk.pop3(&format!("PASS {}", house.password(ALICE)));
    let told = talk.pop3_lines("UIDL");
    let want = uids.iter().zip(1..).map(|(uid, n)| match uid {
        107 => format!("{n} id-of-its-own"),
        uid => format!("{n} {uid:08x}600000ab"),
    });
    assert_eq!(told, want.collect::<Vec<_>>());
    talk.pop3("QUIT");

    // Where they are kept is nobody's business.
    let mut talk = Talk::with(house.imap());
    talk.hear();
    talk.imap(&format!("LOGIN {ALICE} {}", house.password(ALICE)), "OK");
    assert!(!talk.imap("LIST \"\" *", "OK").join("\n").contains("pop3"));
    let out = house.dir.path().join("out");
    let (code, said, _) = house.verb(&["store", "export", "--account", ALICE, "--maildir", path(&out)], "");
    assert_eq!(code, 0, "{said}");
    let list = fs::read_to_string(out.join("dovecot-uidlist")).expect("a uidlist");
    assert!(list.contains("\n107 Pid-of-its-own :") && list.contains("\n100 P00000064600000ab :"), "{list}");
    assert_eq!(python("list", &out), python("list", &source));
}

#[test]
fn an_import_that_was_killed_is_run_again_and_makes_no_doubles() {
    let house = House::open(&["--shards", "2"]);
    let source = house.dir.path().join("source");
    let count = 3_000;
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(source.join(part)).expect("a folder");
    }
    for n in 0..count {
        // Some are alike, and stay so.
        let text = format!("Subject: letter {}\n\n{}", n / 2, "text\n".repeat(200));
        fs::write(source.join(format!("cur/{}.{n}:2,S", 1_000 + n)), text).expect("writing");
    }
    let mut child = Command::new(crate::house::binary())
        .args(["store", "import", "--account", ALICE, "--maildir", path(&source), "--data", path(&house.data())])
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the binary runs");
    let mut talk = Talk::with(house.imap());
    talk.hear();
    talk.imap(&format!("LOGIN {ALICE} {}", house.password(ALICE)), "OK");
    let mut messages = || {
        let told = talk.imap("STATUS INBOX (MESSAGES)", "OK").join("\n");
        let after = told.split("MESSAGES ").nth(1).expect("a count");
        after.split(')').next().expect("a bracket").parse::<u32>().expect("a number")
    };
    while messages() == 0 && child.try_wait().expect("waiting").is_none() {}
    child.kill().expect("kill -9");
    child.wait().expect("it is dead");
    let (code, said, wrong) = house.verb(&["store", "import", "--account", ALICE, "--maildir", path(&source)], "");
    assert_eq!((code, wrong.as_str()), (0, ""), "{said}");
    assert!(said.contains("were there already"), "{said}");
    assert_eq!(messages(), count);
}

/// Changes an octet of the letter with this text, where it lies in the store.
fn spoil(data: &Path, text: &[u8]) {
    let mut spoilt = 0;
    for volume in fs::read_dir(data).expect("the data directory").flatten() {
        let Ok(files) = fs::read_dir(volume.path()) else { continue };
        for file in files.flatten().filter(|f| f.file_name().to_string_lossy().starts_with("segment-")) {
            let mut octets = fs::read(file.path()).expect("a segment");
            if let Some(at) = octets.windows(text.len()).position(|w| w == text) {
                octets[at] ^= 1;
                fs::write(file.path(), octets).expect("writing");
                spoilt += 1;
            }
        }
    }
    assert_eq!(spoilt, 1, "the letter lies somewhere, once");
}

#[test]
fn a_damaged_letter_is_named_and_what_is_left_of_it_is_saved() {
    let (dir, data) = store();
    let source = dir.path().join("source");
    python("maildir", &source);
    uidlist(&source, 77, 900);
    assert_eq!(verb(&data, &["store", "import", "--account", BOB, "--maildir", path(&source)], "").0, 0);
    let (code, said, wrong) = verb(&data, &["store", "check"], "");
    assert_eq!((code, wrong.as_str()), (0, ""), "{said}");
    assert!(said.contains("whole") && said.contains("13 messages"), "{said}");
    let (code, said, _) = verb(&data, &["store", "stat", "--json"], "");
    let volumes: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    let messages: u64 =
        volumes.as_array().expect("volumes").iter().map(|v| v["messages"].as_u64().expect("a number")).sum();
    assert_eq!((code, messages), (0, 13), "{said}");

    spoil(&data, "Message-ID: <21@x.test>".as_bytes());
    let (code, said, wrong) = verb(&data, &["store", "check"], "");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("DAMAGED") && wrong.contains("a body that is damaged"), "{said}{wrong}");
    assert!(wrong.contains(&format!("{BOB}, Entwürfe, UID 2: the message is damaged on disk")), "{wrong}");

    let (some, all) = (dir.path().join("some"), dir.path().join("all"));
    let (code, said, _) = verb(&data, &["store", "export", "--account", BOB, "--maildir", path(&some)], "");
    assert!(code == 1 && said.contains("12 messages"), "{said}");
    let export = ["store", "export", "--account", BOB, "--damaged", "--maildir", path(&all)];
    let (code, said, _) = verb(&data, &export, "");
    assert!(code == 1 && said.contains("13 messages"), "{said}");
    let keywords = fs::read_to_string(all.join(".Entw&APw-rfe/dovecot-keywords")).expect("keywords");
    assert_eq!(keywords, "0 $Damaged\n");

    let (code, _, wrong) = verb(&dir.path().join("nowhere"), &["store", "check"], "");
    assert!(code == 2 && wrong.contains("there is no store here"), "{wrong}");
}
