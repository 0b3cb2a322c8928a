//! Stories of files and flags, through the front door: what is asked for, what is in force, and what is said of mistakes.

mod doors;
mod filters;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::serve::Service;

/// All that is wrong with a file of this text, a line each, without the file's name.
fn wrong(text: impl AsRef<[u8]>) -> Vec<String> {
    let given = read::text(text.as_ref(), None);
    let mut mistakes = Mistakes { file: Some("f".into()), list: given.mistakes };
    mistakes.sort();
    lines(&mistakes)
}

/// The same, cross checks included.
fn refused(text: &str, flags: &[(Key, &'static str, Value)]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f");
    fs::write(&file, text).unwrap();
    let asked = Asked { file: Some(file.clone()), flags: flags.to_vec(), listen: Vec::new() };
    let (_, mut mistakes) = examine(&asked);
    assert_eq!(mistakes.file, Some(file));
    mistakes.file = Some("f".into());
    lines(&mistakes)
}

fn lines(mistakes: &Mistakes) -> Vec<String> {
    mistakes.to_string().lines().map(|l| l.strip_prefix("f:").unwrap_or(l).to_owned()).collect()
}

/// What is in force with this file.
fn in_force(text: &str) -> Effective {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ringpost.toml");
    fs::write(&file, text).unwrap();
    load(&Asked { file: Some(file), ..Asked::default() }).unwrap_or_else(|wrong| panic!("{wrong}"))
}

#[track_caller]
fn says(text: impl AsRef<[u8]>, expected: &[&str]) {
    let found = wrong(&text);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found} should begin with {expected}");
    }
}

#[test]
fn an_empty_file_is_a_good_one_and_every_key_may_be_set() {
    says("", &[]);
    let text = show::effective(&in_force(""));
    says(&text, &[]);
    for row in &keys::KEYS {
        let (table, name) = row.split();
        assert!(text.contains(&format!("\n{name} = ")), "{name}");
        assert!(table.is_empty() || text.contains(&format!("\n[{table}]\n")), "{table}");
    }
}

#[test]
fn a192_all_mistakes_are_found_at_once_in_the_order_of_the_file() {
    says(
        "hostnmae = \"mx.example.org\"\n\n[limits]\nmessage_bytes_max = \"50 MB\"\nconnections_max = 5\n\
         [shards]\n  count = 2\n  count = 3\n",
        &[
            "1:1: `hostnmae` is not a setting: did you mean `hostname`?",
            "4:21: limits.message_bytes_max: this is text: write a whole number from 1024 to ",
            "5:19: limits.connections_max: choose a whole number from 64 to 20000",
            "8:3: `count` is set a second time: keep one of the two",
        ],
    );
}

#[test]
fn a192_an_unknown_key_hears_what_was_probably_meant() {
    says(
        "message_bytes_max = 5_000",
        &["1:1: `message_bytes_max` is not a setting: did you mean `limits.message_bytes_max`?"],
    );
    says("[limits]\nhostname = \"a\"", &["2:1: `limits.hostname` is not a setting: did you mean `hostname`?"]);
    says("[limit]\nx = 1", &["1:2: `limit` is not a group of settings: did you mean [limits]?"]);
    says("[relay]\nx = 1", &["1:2: `relay` is not a group of settings: `ringpost config show"]);
    says(
        "shards.ring-entries = 16",
        &["1:8: `shards.ring-entries` is not a setting: did you mean `shards.ring_entries`?"],
    );
    says("frobnicate = 1", &["1:1: `frobnicate` is not a setting: `ringpost config show --effective` lists them all"]);
}

#[test]
fn a192_duplicates_are_refused_wherever_they_stand() {
    says("data = \"a\"\ndata = \"a\"", &["2:1: `data` is set a second time"]);
    says("[log]\nlevel = \"info\"\n[log]\nformat = \"json\"", &["3:2: `log` is set a second time"]);
    says("log.level = \"info\"\n[log]\nformat = \"json\"", &["2:2: `log` is set a second time"]);
    says(
        "[[listener]]\nservice=\"smtp\"\nservice=\"imap\"\naddress=\"127.0.0.1:1\"",
        &["3:1: `service` is set a second time"],
    );
}

#[test]
fn a192_a_wrong_type_says_what_to_write() {
    says("data = 5", &["1:8: data: this is a whole number: write the path of a file or folder, in quotes"]);
    says(
        "port_offset = 1.5",
        &["1:15: port_offset: this is a number with a fraction: write a whole number from 0 to 65534"],
    );
    says("port_offset = -1", &["1:15: port_offset: choose a whole number from 0 to 65534"]);
    says("port_offset = 99999999999999999999999", &["1:15: port_offset: choose a whole number"]);
    says(
        "[smtp]\nreject_bare_newlines = \"yes\"",
        &["2:24: smtp.reject_bare_newlines: this is text: write true or false"],
    );
    says("[log]\nformat = \"yaml\"", &["2:10: log.format: choose \"human\" or \"json\""]);
    says("[log]\nlevel = \"info=loud=very\"", &["2:9: log.level: `info=loud=very` is no log level"]);
    says("limits = 3", &["1:10: `limits` is a group of settings, not a whole number: write [limits]"]);
    says("hostname = mx.example.org", &["1:12: write text in quotes: \"mx.example.org\""]);
    says("hostname = \"mx example\"", &["1:12: hostname: write a host name"]);
    says("shards.ring_entries = 1000", &["1:23: shards.ring_entries: choose a power of two from 16 to 32768"]);
    says(
        "[limits]\nexempt_networks = [\n  \"127.0.0.0/8\",\n  \"ten\",\n  7,\n  \"::ffff:0:0/96\",\n]",
        &[
            "4:3: limits.exempt_networks: `ten` is not a network",
            "5:3: ",
            "6:3: limits.exempt_networks: `::ffff:0:0/96`",
        ],
    );
}

#[test]
fn a192_what_is_not_toml_is_said_with_its_place_and_the_rest_is_still_judged() {
    says(
        "port_offset = \n[limits]\nconnection_max = 3\nx y\nmessage_bytes_max = 1\nlog\n[log\nlevel = 'info\n",
        &[
            "1:15: a value is missing: write one behind the =",
            "3:1: `limits.connection_max` is not a setting: did you mean `limits.connections_max`?",
            "4:3: this cannot be read as TOML: key with no value, expected `=`",
            "5:21: limits.message_bytes_max: choose a whole number from 1024",
            "6:4: this cannot be read as TOML: key with no value, expected `=`",
            "7:5: this cannot be read as TOML: unclosed table, expected `]`",
        ],
    );
}

#[test]
fn a192_a_byte_order_mark_and_crlf_are_no_mistakes_and_move_no_column() {
    says(b"\xef\xbb\xbfport_offset = 7\r\n[log]\r\nlevel = \"info\"\r\n", &[]);
    says(b"\xef\xbb\xbfx = 7\r\n\r\ny = 8\r\n", &["1:1: `x`", "3:1: `y`"]);
    says("# \u{feff}\nport_offset = 1\rdata = 2\n", &["2:17: "]);
}

#[test]
fn a192_what_is_not_utf8_is_said_with_line_and_column() {
    says(
        b"# ok\nhostname = \"b\xfccher\"\n# \xc3\xa9 and \xff\nx = 1\n",
        &["2:14: octet 0xfc is not UTF-8: save the file as UTF-8", "3:9: octet 0xff", "4:1: `x` is not a setting"],
    );
}

#[test]
fn a192_a_file_too_large_or_too_deep_is_refused_and_costs_little() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    fs::write(&path, "a=1\n".repeat(1_000_000)).unwrap();
    assert!(read::file(&path).unwrap_err().contains("larger than 262144 octets"));
    fs::write(&path, "\n".repeat(262_144)).unwrap();
    assert!(read::file(&path).unwrap().mistakes.is_empty());
    assert!(read::file(dir.path()).unwrap_err().contains("not a plain file"));
    assert!(read::file(&dir.path().join("none")).unwrap_err().contains("no such file"));

    let most = usize::try_from(read::FILE_BYTES_MAX).unwrap();
    for text in
        ["[".repeat(most), "x=".to_owned() + &"[".repeat(most - 2), "{a=".repeat(most / 3), "a.".repeat(most / 2)]
    {
        assert!(!wrong(&text).is_empty());
    }
    // The deepest that is parsed: tables within tables at every level the parser allows.
    let name = "a.".repeat(63) + "a";
    let deep = format!("[{name}]\n") + &format!("{name} = {{\n").repeat(90) + &"}\n".repeat(90);
    assert!(!wrong(deep.repeat(5)).is_empty());
    says("# ....................................................................................\n", &[]);
    says(format!("x = 1\ndata = \"{}\"", ".".repeat(70)), &["2:1: more than 64 dots on one line"]);
}

#[test]
fn a192_a_thousand_mistakes_are_a_screenful() {
    let found = wrong("=\n".repeat(50_000));
    assert_eq!(found.len(), mistake::MISTAKES_MAX + 1);
    let found = wrong((0..20_000).map(|n| format!("key{n}=1\n")).collect::<String>());
    assert_eq!(found.last().unwrap(), "and 19900 more: correct these first");
}

#[test]
fn listeners_are_read_and_each_mistake_in_one_has_its_place() {
    let settings = in_force(
        "[[listener]]\nservice = \"imap\"\naddress = \"[::1]:143\"\noptional = true\n\
         [[listener]]\nservice = \"smtp\"\naddress = \"0.0.0.0:25\"\n",
    );
    let doors = settings.config().doors;
    let at = |text: &str| text.parse().unwrap();
    assert_eq!(
        doors,
        [
            DoorPlan { optional: true, ..DoorPlan::plain(Service::Imap, at("[::1]:143")) },
            DoorPlan::plain(Service::Smtp, at("0.0.0.0:25")),
        ]
    );
    says(
        "[[listener]]\nservice = \"imasp\"\naddress = \"localhost:143\"\n\n[[listener]]\nport = 25\n\
         [[listener]]\nservice = 25\naddress = \"127.0.0.1:0\"\n",
        &[
            "2:11: listener: `imasp` is not a service",
            "3:11: listener: `localhost:143` is not an address and port: write it as",
            "5:1: listener: this listener has no address",
            "5:1: listener: this listener has no service",
            "6:1: listener: `port` is not a setting of a listener",
            "8:11: listener: this is a whole number: write the service in quotes",
            "9:11: listener: `127.0.0.1:0`: choose a port from 1 to 65535",
        ],
    );
    says("[listener]\nservice = \"smtp\"", &["1:1: listeners are a list: write [[listener]]"]);
    says("listener = [1]", &["1:13: a listener is a table"]);
    let many = (0..40).map(|n| format!("[[listener]]\nservice=\"smtp\"\naddress=\"127.0.0.1:{}\"\n", 1_000 + n));
    assert!(wrong(many.collect::<String>())[0].contains("more than 32 listeners"));
}

#[test]
fn two_listeners_cannot_have_one_address_and_no_port_is_beyond_the_last() {
    let twice = "[[listener]]\nservice=\"smtp\"\naddress=\"127.0.0.1:25\"\n[[listener]]\nservice=\"imap\"\naddress=\"127.0.0.1:25\"\n";
    assert_eq!(
        refused(twice, &[]),
        ["4:1: listener: 127.0.0.1:25 is given to smtp already: choose another address or port"]
    );
    let highest = listener::defaults().iter().filter_map(|l| l.address.net()).map(|at| at.port()).max().unwrap();
    let offset = |n: u16| [(Key::PortOffset, "--port-offset", Value::Number(n.into()))];
    assert!(refused("", &offset(u16::MAX - highest)).is_empty());
    let said = refused("", &offset(u16::MAX - highest + 1));
    assert!(said[0].starts_with("--port-offset: ") && said[0].contains(&(u16::MAX - highest).to_string()), "{said:?}");
}

#[test]
fn a193_half_the_world_is_refused_unless_it_is_understood() {
    for network in ["0.0.0.0/0", "::/0", "128.0.0.0/1", "2000::/3", "fc00::/6"] {
        let text = format!("login.plaintext_networks = [\"{network}\"]\n[limits]\nexempt_networks = [\"{network}\"]\n");
        let said = refused(&text, &[]);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with(&format!("1:28: login.plaintext_networks: {network} is")), "{said:?}");
        assert!(said[1].starts_with("3:19: limits.exempt_networks: ") && said[1].contains("i_understand"), "{said:?}");
        let understood = format!(
            "{text}i_understand_exempt_networks_are_wide = true\n[login]\ni_understand_plaintext_networks_are_wide = true"
        );
        let understood = understood.replace("login.plaintext_networks", "# ");
        assert!(refused(&understood, &[]).is_empty());
    }
    let own =
        "limits.exempt_networks = [\"10.0.0.0/8\", \"127.0.0.0/8\", \"fc00::/7\", \"fe80::/10\", \"2001:db8::/32\"]";
    assert!(refused(own, &[]).is_empty());
    let flag = (Key::ExemptNetworks, "--exempt-network", Value::Networks(vec!["::/0".parse().unwrap()]));
    assert!(refused("", &[flag])[0].starts_with("--exempt-network: "));
}

#[test]
fn a193_files_that_others_may_touch_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let (cert, key, data) = (dir.path().join("c.pem"), dir.path().join("k.pem"), dir.path().join("data"));
    let file = dir.path().join("f");
    fs::write(&file, "data = \"data\"\n[tls]\ncert = \"c.pem\"\nkey = \"k.pem\"\n").unwrap();
    let said = || load(&Asked { file: Some(file.clone()), ..Asked::default() });
    let missing = said().unwrap_err().to_string();
    assert!(missing.contains("f:3:8: tls.cert: ") && missing.contains("f:4:7: tls.key: "), "{missing}");

    fs::create_dir(&data).unwrap();
    mode(&data, 0o775);
    let made = pair();
    fs::write(&cert, &made.0).unwrap();
    fs::write(&key, &made.1).unwrap();
    mode(&key, 0o644);
    let open = said().unwrap_err().to_string();
    assert!(open.contains("f:1:8: data: other users may write") && open.contains("chmod go-w"), "{open}");
    assert!(open.contains("f:4:7: tls.key: everybody may read") && open.contains("chmod o="), "{open}");
    mode(&file, 0o646);
    assert!(said().unwrap_err().to_string().contains("everybody may write into"));
    mode(&file, 0o660);
    mode(&data, 0o755);
    mode(&key, 0o640);
    let settings = said().unwrap();
    assert_eq!(settings.config().tls, [TlsPaths { cert, key }], "relative to the file");
    assert_eq!(settings.config().data, data);
}

/// A certificate and its key, PEM.
fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn a101_a_certificate_that_a_start_would_refuse_is_a_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f");
    let text = "hostname = \"not a name\"\ndata = \"data\"\n[tls]\ncert = \"c.pem\"\nkey = \"k.pem\"\n";
    fs::write(&file, text).unwrap();
    let said = |cert: &str, key: &str| {
        for (name, text) in [("c.pem", cert), ("k.pem", key)] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        fs::set_permissions(dir.path().join("k.pem"), fs::Permissions::from_mode(0o600)).unwrap();
        load(&Asked { file: Some(file.clone()), ..Asked::default() }).unwrap_err().to_string()
    };
    let (ours, other) = (pair(), pair());
    assert_eq!(said(&ours.0, &ours.1).lines().count(), 1, "the name alone is wrong");
    for (cert, key, mistake) in [
        ("hello", &*ours.1, ":4:8: tls.cert: "),
        ("-----BEGIN CERTIFICATE-----\nhello\n-----END CERTIFICATE-----\n", &ours.1, ":4:8: tls.cert: "),
        (&ours.0, "hello", ":5:7: tls.key: "),
        (&ours.0, &other.1, "cannot be used together"),
    ] {
        let said = said(cert, key);
        assert!(said.lines().count() == 2 && said.contains(mistake), "{mistake}: {said}");
    }
    // A certificate of our own that has lost its key is not made anew.
    let data = dir.path().join("own");
    fs::create_dir_all(data.join("tls")).unwrap();
    fs::write(data.join("tls/cert.pem"), &ours.0).unwrap();
    let mut asked = Asked::default();
    asked.flag(Key::Data, "--data", Some(Value::Path(data)));
    let said = load(&asked).unwrap_err().to_string();
    assert!(said.contains("tls.key: ") && said.contains("key.pem: No such file"), "{said}");
}

#[test]
fn a_data_path_too_long_for_its_socket_is_refused_before_anything_is_made() {
    let path = |octets: usize| Value::Path(format!("/tmp/{}", "d".repeat(octets - 5)).into());
    let said = |octets| {
        let mut asked = Asked::default();
        asked.flag(Key::Data, "--data", Some(path(octets)));
        load(&asked).map(|_| ()).map_err(|mistakes| mistakes.to_string())
    };
    assert_eq!(said(96), Ok(()));
    let refusal = said(97).unwrap_err();
    assert!(refusal.starts_with("--data: data: /tmp/ddd"), "{refusal}");
    assert!(
        refusal.ends_with("has 97 octets, too many for the socket in it: choose a path of at most 96"),
        "{refusal}"
    );
}

#[test]
fn wrong_shards_are_said_whatever_else_is_wrong() {
    let many =
        "hostname = \"not a name\"\n[limits]\nconnections_max = 1\n[shards]\ncount = 1000\naccept_on = \"1001\"\n";
    let said = refused(many, &[]);
    assert_eq!(said.len(), 4, "{said:#?}");
    assert!(said[2].starts_with("5:9: shards.count: 1000 shards are more"), "{said:#?}");
    assert!(said[3].starts_with("6:13: shards.accept_on: `1001`: shard 1001 is not one"), "{said:#?}");
    // What would be right if the number could be read is not called wrong; what never is, is.
    assert_eq!(refused("shards.count = \"4\"\nshards.accept_on = \"900\"", &[]).len(), 1);
    assert_eq!(refused("shards.count = 1000\nshards.accept_on = \"900\"", &[]).len(), 1);
    assert_eq!(refused("shards.pin = \"x\"\nshards.accept_on = \"5-1\"", &[]).len(), 2);
}

#[test]
fn an_empty_list_of_listeners_is_refused_instead_of_opening_all() {
    says("listener = []", &["1:12: listener: an empty list would open no door: remove the line "]);
    says("hostname = \"a\"\nlistener = [ # none\n]", &["2:12: listener: an empty list "]);
}

#[test]
fn names_for_http_are_a_list_of_host_names() {
    assert_eq!(in_force("").config().settings.http_hosts, [""; 0]);
    let settings = in_force("[http]\nhosts = [\"figures.example.net\", \"mx\"]");
    assert_eq!(settings.config().settings.http_hosts, ["figures.example.net", "mx"]);
    says("http.hosts = \"mx\"", &["1:14: http.hosts: this is text: write a list of names, as "]);
    says(
        "http.hosts = [\"a\", 5,\n \"b_c\"]",
        &["1:20: http.hosts: a name is text in quotes, not a whole number", "2:2: http.hosts: write a host name in "],
    );
    let many = format!("http.hosts = [{}]", "\"a\", ".repeat(value::NAMES_MAX + 1));
    says(many, &["1:14: http.hosts: 101 names are too many: write at most 100"]);
}

#[test]
fn resolvers_are_addresses_and_few() {
    let asked =
        in_force("dns.resolvers = [\"127.0.0.1\", \"[2001:db8::1]:5353\"]\ndns.timeout_s = 7\ndns.mixed_case = true")
            .dns();
    let want = ["127.0.0.1:53".parse().expect("an address"), "[2001:db8::1]:5353".parse().expect("an address")];
    assert_eq!((asked.resolvers.as_slice(), asked.timeout_s, asked.mixed_case), (&want[..], 7, true));
    assert!(!in_force("").dns().resolvers.is_empty(), "whom this host asks");
    says("dns.resolvers = [\"one.example\"]", &["1:18: dns.resolvers: write a resolver's address, as 127.0.0.1 or "]);
    says("dns.timeout_s = 0", &["1:17: dns.timeout_s: choose a whole number from 1 to 10"]);
    let many: Vec<_> = (1..=9).map(|n| format!("\"192.0.2.{n}\"")).collect();
    let few = refused(&format!("dns.resolvers = [{}]", many.join(", ")), &[]);
    assert!(few[0].starts_with("1:17: dns.resolvers: 9 are too many: name at most 8"), "{few:?}");
}

#[test]
fn settings_that_do_not_go_together_are_said() {
    assert!(refused("tls.cert = \"c.pem\"", &[])[0].starts_with("1:12: tls.cert goes with tls.key: set both"));
    assert!(refused("store.segment_bytes = 1_048_576", &[])[0].contains("a message must fit one"));
    assert!(refused("store.segment_bytes = 4_194_304\nlimits.message_bytes_max = 2_000_000", &[]).is_empty());
    assert!(refused("shards.pin = \"0,x\"", &[])[0].starts_with("1:14: shards.pin: `0,x`: \"x\" is not a CPU number"));
    assert!(
        refused("shards.count = 1000", &[])[0].starts_with("1:16: shards.count: 1000 shards are more than there are")
    );
    assert!(refused("shards.count = 1\nshards.accept_on = \"1\"", &[])[0].starts_with("2:20: shards.accept_on: `1`: "));
}

#[test]
fn flags_come_before_the_file_and_the_file_before_defaults() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ringpost.toml"), "hostname = \"a.test\"\n[limits]\nmessage_bytes_max = 2048\n").unwrap();
    let mut asked = Asked::default();
    asked.flag(Key::Data, "--data", Some(Value::Path(dir.path().into())));
    asked.flag(Key::Hostname, "--hostname", Some(Value::Text("b.test".into())));
    asked.flag(Key::Pin, "--pin", None);
    asked.listen = vec!["smtp=127.0.0.1:26".to_owned()];
    let settings = load(&asked).unwrap();
    assert_eq!(settings.file, Some(dir.path().join("ringpost.toml")), "found in the data directory");
    let config = settings.config();
    assert_eq!((config.settings.hostname.as_str(), config.settings.message_bytes_max), ("b.test", 2_048));
    assert_eq!(config.settings.connections_max, crate::limits::CONNECTIONS_MAX);
    assert_eq!(config.doors.len(), 1);
    assert_eq!(*settings.source(Key::Hostname), Source::Flag("--hostname"));
    asked.listen.push("smtp:25".to_owned());
    assert!(load(&asked).unwrap_err().to_string().contains("--listen: `smtp:25`: write SERVICE=ADDRESS:PORT"));
}

#[test]
fn a_file_found_in_a_data_directory_names_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut asked = Asked::default();
    asked.flag(Key::Data, "--data", Some(Value::Path(dir.path().into())));
    fs::write(dir.path().join("ringpost.toml"), "data = \".\"").unwrap();
    assert!(load(&asked).is_ok());
    fs::write(dir.path().join("ringpost.toml"), "data = \"/elsewhere\"").unwrap();
    assert!(load(&asked).unwrap_err().to_string().contains("ringpost.toml:1:8: data: this file was found"));
}

#[test]
fn what_is_shown_is_a_file_that_means_the_same() {
    let settings = in_force(
        "data = \"da\\\"ta é\"\n[limits]\nexempt_networks = [\"10.0.0.0/8\", \"::1\"]\n[[listener]]\nservice = \"imaps\"\n\
         address = \"[::1]:993\"\noptional = true\n",
    );
    for (text, all) in [(show::effective(&settings), true), (show::given(&settings), false)] {
        let again = in_force(&text);
        let same = |key: Key| {
            let whole = |v: &Value| match v {
                Value::Path(p) => Value::Path(std::path::absolute(p).unwrap()),
                v => v.clone(),
            };
            whole(again.value(key)) == whole(settings.value(key))
        };
        assert!(keys::KEYS.iter().all(|row| same(row.key)), "{text}");
        assert_eq!(again.config().doors, settings.config().doors, "{text}");
        assert_eq!(text.matches("# default").count() > 10, all, "{text}");
        assert!(text.lines().all(|l| l.len() < 400), "{text}");
    }
    let text = show::effective(&settings);
    assert!(text.contains("ringpost.toml:3\n") && text.contains("[\"10.0.0.0/8\", \"::1/128\"]  # "), "{text}");
}

fn fragments() -> impl Strategy<Value = String> {
    let names =
        keys::KEYS.iter().map(|row| row.path).chain(["[limits]", "[[listener]]", "service", "address", "[", "]"]);
    let words = [
        "\n", " = ", "\"", "'''", "\"\"\"", "{", "}", ",", ".", "#", "1", "true", "\"smtp\"", "\"::/0\"", "\r", "é",
        "\0",
    ];
    let all: Vec<&'static str> = names.chain(words).collect();
    prop::collection::vec(prop::sample::select(all), 0..60).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a192_no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        wrong(bytes);
    }

    #[test]
    fn a192_no_text_of_settings_makes_it_panic_and_every_mistake_is_within_the_file(text in fragments()) {
        for said in wrong(&text) {
            let line: usize = said.split(':').next().unwrap().parse().unwrap();
            prop_assert!(line <= text.matches('\n').count() + 1, "{said}");
        }
    }
}

#[test]
fn a193_figures_are_for_loopback_unless_it_is_understood() {
    let (mut settings, _) = examine(&asked_nowhere());
    let door = |address: &str| listener::from_flag(&format!("http={address}")).unwrap();
    let said = |settings: &Effective| {
        let mut mistakes = Vec::new();
        check::values(settings, &mut mistakes);
        mistakes.into_iter().map(|m| m.why).collect::<Vec<_>>()
    };
    settings.listeners = vec![door("127.0.0.1:2080"), door("[::1]:2080")];
    assert!(said(&settings).is_empty());
    for public in ["0.0.0.0:2080", "[::]:2080", "192.0.2.1:2080"] {
        settings.listeners = vec![door(public)];
        assert!(said(&settings)[0].contains("http.i_understand_there_is_no_password = true"));
    }
    settings.values.insert(Key::HttpPublic, (Value::Switch(true), Source::Default));
    assert!(said(&settings).is_empty());
}

/// Flags that keep the file of a server on this host out of a test.
fn asked_nowhere() -> Asked {
    let mut asked = Asked::default();
    asked.flag(Key::Data, "--data", Some(Value::Path("/nonexistent".into())));
    asked
}

#[test]
fn what_the_readme_shows_is_a_configuration_file() {
    let readme = include_str!("../../README.md");
    let examples: Vec<_> = readme.split("```toml\n").skip(1).filter_map(|text| text.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        says(example, &[]);
    }
}
