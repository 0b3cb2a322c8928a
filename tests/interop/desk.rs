//! A desk for one scripted client: a server of its own, started without options; an empty HOME; and the script, run to
//! its end.
//!
//! The scripts are `tests/interop/*.py` and `*.mjs`; `desk.py` and `desk.mjs` read what is said here. A script that
//! reaches its end says `all done`; anything else, or nothing within [`LIMIT_S`], fails its test with all it said. Trust is
//! the certificate that the server made on its first start, and nothing else.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::house::{House, binary};
use crate::{ALICE, BOB, client, run, skipped};

/// How long a script may take, seconds. Then it is killed, and its test fails.
const LIMIT_S: u32 = 240;

/// Default ports of the services by the names that the scripts use.
const PORTS: [(&str, u16); 7] = [
    ("smtp", 2525),
    ("submission", 2587),
    ("submissions", 2465),
    ("imap", 2143),
    ("imaps", 2993),
    ("pop3", 2110),
    ("pop3s", 2995),
];

/// Where `tests/run` puts the packages of `tests/interop/node/package-lock.json`.
fn node_folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop-node")
}

/// Runs `script` at a desk of its own, unless one of the `programs` it drives is missing (see [`client`]).
pub fn job(script: &str, programs: &[&str]) {
    job_told(script, programs, "");
}

/// The same, with a configuration file.
pub fn job_told(script: &str, programs: &[&str], file: &str) {
    let interpreter = if script.ends_with(".mjs") { "node" } else { "python3" };
    let Some(interpreter) = client(interpreter) else { return };
    if !programs.iter().all(|program| client(program).is_some()) {
        return;
    }
    let house = House::told(file);
    let home = house.dir.path().join("home");
    std::fs::create_dir_all(home.join("tmp")).expect("a HOME");
    let said = run(Command::new("timeout")
        .args(["--kill-after=5", &LIMIT_S.to_string()])
        .arg(interpreter)
        .arg(Path::new("tests/interop").join(script))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", &home)
        .env("TMPDIR", home.join("tmp"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("DESK", described(&house)));
    assert!(said.ends_with("all done\n"), "{said}");
}

/// Oldest Node that the packages of the lock file run on.
const NODE_MAJOR_MIN: u32 = 20;

/// Runs a script on Node, where the packages of the lock file are there as they stand in it.
pub fn node_job(script: &str) {
    let Some(node) = client("node") else { return };
    let version = run(Command::new(node).arg("--version"));
    let major: u32 = version.trim_start_matches('v').split('.').next().and_then(|n| n.parse().ok()).expect("a version");
    let lock = |folder: &Path| std::fs::read(folder.join("package-lock.json")).ok();
    if major < NODE_MAJOR_MIN {
        skipped(&format!("{script}: Node {NODE_MAJOR_MIN} or newer is needed, this is {version}"));
    } else if lock(&node_folder()) != lock(Path::new("tests/interop/node")) {
        skipped(&format!("{script}: its npm packages are not installed (tests/run installs them)"));
    } else {
        job(script, &[]);
    }
}

/// What the scripts need to know, as JSON. No value has a character that JSON would want escaped.
fn described(house: &House) -> String {
    let ports: Vec<String> = PORTS.iter().map(|(name, port)| format!("\"{name}\":{}", port + house.offset)).collect();
    format!(
        r#"{{{},"pid":{},"serve":["{}","serve","--data","{}","--port-offset","{}"],"cert":"{}","node":"{}","passwords":{{"{ALICE}":"{}","{BOB}":"{}"}}}}"#,
        ports.join(","),
        house.pid(),
        binary(),
        house.data().display(),
        house.offset,
        house.data().join("tls/cert.pem").display(),
        node_folder().display(),
        house.password(ALICE),
        house.password(BOB),
    )
}
