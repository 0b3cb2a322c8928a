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
        &["store"],
        &["store", "import"],
        &["store", "export"],
        &["store", "stat"],
        &["store", "check"],
        &["store", "repair"],
        &["store", "backup"],
        &["store", "restore"],
        &["dns"],
        &["stats"],
        &["stop"],
        &["config"],
        &["config", "check"],
        &["config", "show"],
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
        (&["config", "check", "--config", "none.toml"], "none.toml: there is no such file"),
        (&["serve", "--message-bytes-max", "5"], "--message-bytes-max: 5: choose a whole number from 1024"),
        (&["serve", "--listen", "smtp"], "--listen: `smtp`: write SERVICE=ADDRESS:PORT"),
        (&["serve", "--exempt-network", "::/0"], "i_understand_exempt_networks_are_wide"),
    ] {
        let said = ringpost(args);
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{args:?}");
        assert!(said.err.contains(sentence) && said.err.lines().count() == 1, "{args:?}: {}", said.err);
    }
}

/// Runs a verb in a folder with this configuration file.
fn with_file(folder: &std::path::Path, text: &str, args: &[&str]) -> Said {
    std::fs::write(folder.join("ringpost.toml"), text).unwrap();
    let output = Command::cargo_bin("ringpost").unwrap().current_dir(folder).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn a192_three_mistakes_are_three_lines_with_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let text = "hostnmae = \"mx.example.org\"\r\n[limits]\r\n  message_bytes_max = \"big\"\r\n  exempt_networks = [\"::/0\"]\r\n";
    let said = with_file(folder.path(), text, &["config", "check", "--config", "ringpost.toml"]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{}", said.err);
    let places: Vec<_> = said.err.lines().map(|l| l.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["ringpost.toml:1:1", "ringpost.toml:3:23", "ringpost.toml:4:21"], "{}", said.err);
    let said = with_file(folder.path(), text, &["config", "show", "--config", "ringpost.toml"]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "what is wrong is not shown as if it were right");
}

#[test]
fn what_config_show_prints_is_a_file_that_config_check_accepts() {
    let folder = tempfile::tempdir().unwrap();
    let first =
        "# mine\nhostname = \"mx.example.org\"\n\n[[listener]]\nservice = \"imap\"\naddress = \"192.0.2.1:143\"\n";
    for args in [&["config", "show"][..], &["config", "show", "--effective"]] {
        let with = |text: &str, args: &[&str]| {
            with_file(folder.path(), text, &[args, &["--config", "ringpost.toml"]].concat())
        };
        let shown = with(first, args);
        assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""));
        assert!(shown.out.contains("hostname = \"mx.example.org\""), "{}", shown.out);
        let checked = with(&shown.out, &["config", "check"]);
        assert_eq!((checked.code, checked.err.as_str()), (Some(0), ""));
        assert_eq!(checked.out, "ringpost.toml: no mistakes\n");
        let again = with(&shown.out, args);
        let settings = |text: &str| -> Vec<String> {
            text.lines().map(|l| l.split("  # ").next().unwrap().to_owned()).filter(|l| !l.starts_with('#')).collect()
        };
        assert_eq!(settings(&again.out), settings(&shown.out));
    }
    let shown = with_file(folder.path(), first, &["config", "show", "--effective", "--config", "ringpost.toml"]);
    assert!(shown.out.contains("hostname = \"mx.example.org\"  # ringpost.toml:2\n"), "{}", shown.out);
    assert!(shown.out.contains("port_offset = 0  # default\n"), "{}", shown.out);
    assert!(shown.out.contains("[[listener]]  # ringpost.toml:4\n"), "{}", shown.out);
}
