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
        &["alias"],
        &["alias", "add"],
        &["alias", "list"],
        &["alias", "remove"],
        &["group"],
        &["group", "add"],
        &["group", "join"],
        &["group", "leave"],
        &["group", "list"],
        &["group", "remove"],
        &["domain", "alias"],
        &["domain", "alias", "add"],
        &["domain", "catch-all"],
        &["domain", "subaddress"],
        &["domain", "postmaster"],
        &["domain", "journal"],
        &["account", "forward"],
        &["account", "subaddress"],
        &["account", "journal"],
        &["account", "sender"],
        &["account", "limits"],
        &["account", "suspend"],
        &["account", "resume"],
        &["account", "rename"],
        &["route"],
        &["ban"],
        &["unban"],
        &["bans"],
        &["access"],
        &["access", "deny"],
        &["access", "list"],
        &["sendmail"],
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

/// A resolver on loopback that answers so many queries: `code`, and an A record if it is 0.
fn resolver(answers: usize, code: u8) -> (String, std::thread::JoinHandle<()>) {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let at = socket.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        for _ in 0..answers {
            let mut query = [0; 512];
            let (_, from) = socket.recv_from(&mut query).expect("a query");
            let end = 12 + query[12..].iter().position(|octet| *octet == 0).expect("a name") + 5;
            let mut answer = query[..end].to_vec();
            answer[2..12].copy_from_slice(&[0x81, 0x80 | code, 0, 1, 0, u8::from(code == 0), 0, 0, 0, 0]);
            if code == 0 {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
            }
            socket.send_to(&answer, from).expect("sent");
        }
    });
    (at, server)
}

#[test]
fn dns_is_asked_as_the_server_would_ask() {
    let (at, server) = resolver(2, 0);
    let said = ringpost(&["dns", "a", "mx.example.org", "--resolver", &at]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert_eq!(said.out, "192.0.2.7\n# 1 record(s), for 60 s\n");
    let said = ringpost(&["dns", "a", "mx.example.org", "--resolver", &at, "--json"]);
    let json = r#"{"authentic":false,"name":"mx.example.org","outcome":"found","records":["192.0.2.7"],"ttl_s":60}"#;
    assert_eq!(said.out.trim_end(), json);
    server.join().unwrap();

    let (at, server) = resolver(2, 3);
    for args in [["dns", "mx", "none.example.org"], ["dns", "ptr", "192.0.2.1"]] {
        let said = ringpost(&[&args[..], &["--resolver", &at]].concat());
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
        assert_eq!(said.err, "error: there is no such name (for 0 s)\n");
    }
    server.join().unwrap();

    for (args, sentence) in [
        (["dns", "mx", "a b.test"], "error: `a b.test` is not a domain name: write labels of up to 63 letters"),
        (["dns", "ptr", "a.test"], "error: `a.test` is not an address: write one for ptr"),
    ] {
        let said = ringpost(&args);
        assert!(said.code == Some(1) && said.err.starts_with(sentence), "{}", said.err);
    }
}
