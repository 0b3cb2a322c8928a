//! Starting: what is refused, and the sentence it is refused with.

use std::net::TcpListener;
use std::process::Command;

use crate::house::{House, binary, free_offset, verb};

/// Starts a server that must refuse; returns its exit code and what it said.
fn refused(args: &[&str]) -> (i32, String) {
    let out = Command::new(binary()).arg("serve").args(args).output().expect("the binary runs");
    (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stderr).into_owned())
}

#[test]
fn a_port_that_is_taken_is_named_with_the_way_out() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let offset = free_offset();
    let _taken = TcpListener::bind(("127.0.0.1", 2143 + offset)).expect("a port");
    let (code, said) =
        refused(&["--data", dir.path().to_str().expect("a plain path"), "--port-offset", &offset.to_string()]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&format!("port {}", 2143 + offset)) && said.contains("taken"), "{said}");
}

#[test]
fn a194_a_second_server_on_the_same_data_is_refused_and_the_first_goes_on() {
    let house = House::open(&[]);
    let offset = free_offset();
    let (code, said) =
        refused(&["--data", house.data().to_str().expect("a plain path"), "--port-offset", &offset.to_string()]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("in use") && said.contains(&house.pid().to_string()), "{said}");
    crate::house::post(house.smtp(), "", &["alice@ringpost.test"], "Subject: still here\r\n\r\n");
}

#[test]
fn a194_a_missing_volume_is_refused_and_swapped_volumes_are_noticed() {
    let mut house = House::open(&["--shards", "2"]);
    assert_eq!(house.stop(), Some(0));
    let data = house.data();
    let path = data.to_str().expect("a plain path").to_owned();
    let offset = free_offset().to_string();
    let start = || refused(&["--data", &path, "--port-offset", &offset]);

    std::fs::rename(data.join("volume-001"), data.join("away")).expect("moving");
    let (code, said) = start();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("volume-001") && said.contains("missing"), "{said}");

    std::fs::rename(data.join("volume-000"), data.join("volume-001")).expect("moving");
    std::fs::rename(data.join("away"), data.join("volume-000")).expect("moving");
    let (code, said) = start();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("swapped"), "{said}");
}

#[test]
fn a194_a_newer_format_is_refused() {
    let mut house = House::open(&[]);
    assert_eq!(house.stop(), Some(0));
    let path = house.data().join("store");
    let text = std::fs::read_to_string(&path).expect("the store file");
    std::fs::write(&path, text.replace("\"format\": 1", "\"format\": 7")).expect("writing");
    let (code, said) = refused(&["--data", house.data().to_str().expect("a plain path")]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("format 7 is newer"), "{said}");
}

#[test]
fn an_overflowing_port_offset_is_a_start_error() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (code, said) = refused(&["--data", dir.path().to_str().expect("a plain path"), "--port-offset", "65000"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("65535"), "{said}");
}

#[test]
fn too_few_files_and_too_little_locked_memory_are_said_with_the_cure() {
    for (limit, word) in [("-n 40", "ulimit -n"), ("-l 64", "ulimit -l")] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let run = format!(
            "ulimit {limit}; exec setpriv --bounding-set=-all --inh-caps=-all --reuid=65534 --clear-groups {} serve --data {}/d",
            binary(),
            dir.path().display()
        );
        let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(dir.path(), everyone).expect("a folder for everyone");
        let out = Command::new("bash").args(["-c", &run]).output().expect("bash runs");
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(said.contains(word), "{limit}: {said}");
        assert_eq!(out.status.code(), Some(1), "{said}");
    }
}

#[test]
fn a_later_start_keeps_the_number_of_volumes_and_serves_them_with_fewer_or_more_shards() {
    for (first, second, volumes) in [("2", "1", 2), ("1", "2", 1)] {
        let mut house = House::open(&["--shards", first]);
        let password = house.password("bob@ringpost.test");
        let alices = house.password("alice@ringpost.test");
        crate::house::post(house.smtp(), "", &["bob@ringpost.test"], "Subject: one\r\n\r\n");
        assert_eq!(house.stop(), Some(0), "{}", house.log());
        house.restart_with(&["--shards", second]);
        for _ in 0..8 {
            crate::house::post(house.smtp(), "", &["bob@ringpost.test"], "Subject: more\r\n\r\n");
        }
        assert_eq!(crate::house::fetch(house.pop3(), "bob@ringpost.test", &password).len(), 9);
        // Alice lives in another volume, where there are two. (More of either: `tests/sim/transfers`.) Whoever accepts it, one of them decides.
        for _ in 0..8 {
            let said = crate::house::post(
                house.smtp(),
                "",
                &["alice@ringpost.test", "bob@ringpost.test"],
                "Subject: both\r\n\r\n",
            );
            assert!(said.starts_with("250"), "{said}");
        }
        let patience = std::time::Instant::now() + crate::house::PATIENCE;
        let counted = |name: &str, password: &str| crate::house::fetch(house.pop3(), name, password).len();
        while (counted("alice@ringpost.test", &alices), counted("bob@ringpost.test", &password)) != (8, 17) {
            assert!(std::time::Instant::now() < patience, "{}", house.log());
        }
        let found = (0..9).take_while(|v| house.data().join(format!("volume-{v:03}")).is_dir()).count();
        assert_eq!(found, volumes);
    }
}

#[test]
fn accounts_are_made_while_it_runs_and_while_it_is_stopped() {
    let mut house = House::open(&["--shards", "2"]);
    let (code, _, err) = house.verb(&["domain", "add", "example.net"], "");
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = house.verb(&["account", "add", "carol@example.net", "--password-stdin"], "a long secret\n");
    assert_eq!(code, 0, "{err}");
    crate::house::post(house.smtp(), "", &["carol@example.net"], "Subject: hi\r\n\r\n");
    assert_eq!(crate::house::fetch(house.pop3(), "carol@example.net", "a long secret").len(), 1);

    assert_eq!(house.stop(), Some(0));
    let (code, _, err) = house.verb(&["account", "passwd", "carol@example.net", "--password-stdin"], "another\n");
    assert_eq!(code, 0, "{err}");
    let (code, out, err) = house.verb(&["account", "list"], "");
    assert_eq!(code, 0, "{err}");
    for name in ["alice@ringpost.test", "bob@ringpost.test", "carol@example.net"] {
        assert!(out.contains(name), "{out}");
    }
    house.reopen();
    assert_eq!(crate::house::fetch(house.pop3(), "carol@example.net", "another").len(), 1);
    let (code, _, err) = house.verb(&["account", "remove", "carol@example.net"], "");
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = house.verb(&["domain", "remove", "example.net"], "");
    assert_eq!(code, 0, "{err}");
    let (_, out, _) = house.verb(&["domain", "list"], "");
    assert!(!out.contains("example.net") && out.contains("ringpost.test"), "{out}");
}

#[test]
fn a_store_can_be_prepared_before_its_first_start() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let data = dir.path().join("data");
    let (code, _, err) = verb(&data, &["domain", "add", "example.org"], "");
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = verb(&data, &["account", "add", "dave@example.org", "--password-stdin"], "dave's own\n");
    assert_eq!(code, 0, "{err}");
    let house = House::open_in(dir, &[]);
    assert!(!house.said.contains("alice"), "a prepared store gets no founders: {}", house.said);
    assert_eq!(crate::house::fetch(house.pop3(), "dave@example.org", "dave's own").len(), 0);
}

#[test]
fn founders_whose_start_failed_have_their_passwords_shown_by_the_next() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let data = dir.path().join("data");
    std::fs::create_dir_all(data.join("admin.sock")).expect("something in the way");
    let path = data.to_str().expect("a plain path").to_owned();
    let offset = free_offset().to_string();
    let (code, said) = refused(&["--data", &path, "--port-offset", &offset]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("admin.sock is in the way of the admin socket: remove it"), "{said}");
    std::fs::remove_dir(data.join("admin.sock")).expect("removing");

    // Killed between the founders' making and their passwords' showing.
    let (_unread, full) = full_pipe();
    let smtp = ("127.0.0.1", 2525 + offset.parse::<u16>().expect("a number"));
    let mut child = Command::new(binary())
        .args(["serve", "--data", &path, "--port-offset", &offset, "--shards", "1"])
        .stdout(full)
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the binary runs");
    let patience = std::time::Instant::now() + crate::house::PATIENCE;
    // Doors open when the founders are there.
    while std::net::TcpStream::connect(smtp).is_err() {
        assert!(std::time::Instant::now() < patience, "no door opens");
    }
    child.kill().expect("killed");
    child.wait().expect("gone");
    let (code, out, err) = verb(&data, &["account", "list"], "");
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("alice@ringpost.test"), "{out}");

    let house = House::open_in(dir, &[]);
    assert!(house.said.contains("these passwords are shown once"), "{}", house.said);
    let password = house.password("alice@ringpost.test");
    assert_eq!(crate::house::fetch(house.pop3(), "alice@ringpost.test", &password).len(), 0);
}

/// A pipe that nobody reads and that takes nothing more: who writes into it waits.
fn full_pipe() -> (std::io::PipeReader, std::process::Stdio) {
    use std::io::Write as _;
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    rustix::pipe::fcntl_setpipe_size(&writer, 4_096).expect("a small pipe");
    writer.write_all(&[b'.'; 4_096]).expect("room for a page");
    (reader, writer.into())
}

#[test]
fn a_data_path_too_long_for_its_socket_is_refused_and_nothing_is_made() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let data = dir.path().join("d".repeat(100));
    let (code, said) = refused(&["--data", data.to_str().expect("a plain path")]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("choose a path of at most 96"), "{said}");
    assert!(!data.exists());
}
