//! The command line from outside: what it teaches, and how it fails.

use assert_cmd::Command;

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn ringpost(args: &[&str]) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::cargo_bin("ringpost")
        .unwrap()
        .env_remove("RINGPOST_LOG")
        .current_dir(folder.path())
        .args(args)
        .output()
        .unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made by {args:?}");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn every_help_shows_an_example() {
    for verb in [
        &[][..],
        &["domain"],
        &["domain", "add"],
        &["domain", "remove"],
        &["domain", "list"],
        &["account"],
        &["account", "add"],
        &["account", "remove"],
        &["account", "list"],
        &["account", "passwd"],
        &["stats"],
        &["stop"],
    ] {
        let said = ringpost(&[verb, &["--help"]].concat());
        assert_eq!(said.code, Some(0), "{verb:?}");
        let example = format!("ringpost {}", verb.join(" "));
        let examples = said.out.split_once("Example").map(|(_, after)| after).unwrap_or_default();
        assert!(examples.contains(example.trim()), "{verb:?}: {}", said.out);
    }
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for args in [
        &["dance"][..],
        &["account", "add"],
        &["account", "add", "a@b.test", "--from-file", "x"],
        &["account", "add", "--from-file", "x", "--password-stdin"],
        &["account", "add", "a@b.test", "--password", "secret"],
        &["domain", "add"],
        &["stats", "--log-level", "info=loud=very"],
    ] {
        let said = ringpost(args);
        assert_eq!(said.code, Some(2), "{args:?}: {}", said.err);
        assert!(said.err.starts_with("error: "), "{args:?}: {}", said.err);
    }
}

#[test]
fn what_cannot_be_done_is_exit_code_1_and_one_sentence() {
    for (args, sentence) in [
        (&["domain", "list"][..], "there is no data directory ringpost-data: name it with --data DIR"),
        (&["account", "list", "--data", "elsewhere"], "there is no data directory elsewhere"),
        (&["account", "add", "--from-file", "people.txt"], "people.txt: No such file"),
        (&["account", "add", "a@b.test", "c@b.test", "--password-stdin"], "--password-stdin is for one ADDRESS"),
        (&["stats"], "no server is running on ringpost-data: start it with `ringpost serve`"),
        (&["stop"], "no server is running"),
    ] {
        let said = ringpost(args);
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{args:?}");
        assert!(said.err.contains(sentence) && said.err.lines().count() == 1, "{args:?}: {}", said.err);
    }
}
