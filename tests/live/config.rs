//! The configuration file, with the real binary: what it says is what is served.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;

use crate::house::{House, Talk, binary, free_offset};

#[test]
fn a_server_listens_where_its_file_says_and_greets_with_its_name() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let data = dir.path().join("data");
    std::fs::create_dir(&data).expect("making");
    let file = data.join("ringpost.toml");
    // The house adds its own port offset, which counts for given listeners too.
    let text = "hostname = \"mx.file.test\"\n[[listener]]\nservice = \"smtp\"\naddress = \"127.0.0.1:2525\"\n\
                [[listener]]\nservice = \"pop3\"\naddress = \"127.0.0.1:2110\"\n\
                [[listener]]\nservice = \"imap\"\naddress = \"127.0.0.1:2143\"\n\
                [[listener]]\nservice = \"smtp\"\naddress = \"127.0.0.1:2526\"\n";
    std::fs::write(&file, text).expect("writing");
    let mut house = House::open_in(dir, &[]);
    let second: SocketAddr = (Ipv4Addr::LOCALHOST, 2526 + house.offset).into();
    for at in [house.smtp(), second] {
        let greeting = Talk::with(at).hear();
        assert!(greeting.starts_with("220 mx.file.test"), "{greeting}");
    }
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, 2587 + house.offset)).is_err(), "and nowhere else");
    assert_eq!(house.stop(), Some(0));

    house.restart_with(&["--hostname", "mx.flag.test"]);
    let greeting = Talk::with(house.smtp()).hear();
    assert!(greeting.starts_with("220 mx.flag.test"), "flags come before the file: {greeting}");
}

#[test]
fn a_mistake_in_the_file_refuses_the_start_before_anything_is_made() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("r.toml");
    let data = dir.path().join("data");
    std::fs::write(&file, "data = \"data\"\nhostnmae = \"a.test\"\n[limits]\nmessage_bytes_max = 5\n")
        .expect("writing");
    let out = Command::new(binary())
        .arg("serve")
        .args(["--config", file.to_str().expect("a plain path"), "--port-offset", &free_offset().to_string()])
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(said.contains("r.toml:2:1: ") && said.contains("r.toml:4:21: "), "{said}");
    assert!(!data.exists());
}

#[test]
fn a_store_begun_by_an_admin_verb_is_the_one_the_file_asks_for() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(
        dir.path().join("ringpost.toml"),
        "shards.count = 1\nstore.segment_bytes = 4194304\nlimits.message_bytes_max = 1000000\n",
    )
    .expect("writing");
    let (code, _, said) = crate::house::verb(dir.path(), &["domain", "add", "example.org"], "");
    assert_eq!(code, 0, "{said}");
    let store = std::fs::read_to_string(dir.path().join("store")).expect("the store file");
    assert!(store.contains("\"volumes\": 1") && store.contains("\"segment_bytes\": 4194304"), "{store}");
}
