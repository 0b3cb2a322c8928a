//! A server from a package that was unpacked and not installed, in a mount namespace and a process namespace of its own.
//!
//! It sees another `/etc`, `/var` and `/run` than everybody else: folders of the test, with the users it was built for. So nothing of
//! the machine's is touched, and what it would be told there, by which name servers above all, is not told to it. The rest, the
//! libraries and the network with its loopback, is the machine's. Whoever is killed takes with him all whom he started.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::opened;
use crate::{client, skipped};

/// The first user id of those made here; nobody else on the machine has it.
const FIRST_ID: u32 = 64_100;

/// What it is told of the machine's own.
const KEPT: [&str; 4] = ["nsswitch.conf", "services", "protocols", "ld.so.cache"];

/// What it says on its standard error.
const SAID: &str = "said";

/// Its folders, ready for files of its own.
pub struct Apart {
    dir: PathBuf,
    /// Where the program stands for whoever is inside.
    pub program: String,
}

/// Running; killed when dropped.
pub struct Running {
    child: Child,
    dir: PathBuf,
}

/// Where `tests/run` unpacks packages.
fn unpacked() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop-mta")
}

impl Apart {
    /// Folders in `dir` for `/usr/sbin/NAME` of an unpacked package, which runs as these users; each has a group of its name, and `mail`
    /// is there, too. `None`: it is not unpacked, or this machine does not let us.
    pub fn prepare(dir: &Path, name: &str, users: &[&str]) -> Option<Apart> {
        let program = unpacked().join("usr/sbin").join(name);
        if !program.is_file() {
            skipped(&format!("{name} is not unpacked (tests/run does it)"));
            return None;
        }
        client("unshare")?;
        let tried =
            Command::new("unshare").args(["--mount", "--pid", "--fork", "true"]).output().expect("unshare runs");
        if !tried.status.success() {
            skipped(&format!("{name}: no namespaces: {}", String::from_utf8_lossy(&tried.stderr).trim()));
            return None;
        }
        let apart = Apart { dir: dir.join(name), program: format!("/run/{name}") };
        for folder in ["etc/ssl/certs", "var/spool", "var/lib", "var/log", "run"] {
            apart.folder(folder);
        }
        fs::copy(&program, apart.dir.join("run").join(name)).expect("a copy of the program");
        for name in KEPT {
            // Not every machine has all of them.
            let _ = fs::copy(Path::new("/etc").join(name), apart.dir.join("etc").join(name));
        }
        symlink("/run", apart.dir.join("var/run")).expect("a link");
        let mut passwd = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/false\n".to_owned();
        let mut group = "root:x:0:\nmail:x:8:\nnogroup:x:65534:\n".to_owned();
        for (user, id) in users.iter().zip(FIRST_ID..) {
            passwd += &format!("{user}:x:{id}:{id}::/nonexistent:/bin/false\n");
            group += &format!("{user}:x:{id}:\n");
        }
        apart.file("etc/passwd", &passwd);
        apart.file("etc/group", &group);
        apart.file("etc/hosts", "127.0.0.1 localhost\n");
        // Nobody answers there.
        apart.file("etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
        Some(apart)
    }

    /// Writes a file that everybody inside may read, `etc/…`.
    pub fn file(&self, path: &str, text: &str) {
        fs::write(self.dir.join(path), text).expect("a file");
    }

    /// Makes a folder that everybody may pass through.
    pub fn folder(&self, path: &str) {
        let folder = self.dir.join(path);
        fs::create_dir_all(&folder).expect("a folder");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o711)).expect("our own folder");
    }

    /// Makes a folder of the first of the users.
    pub fn users_folder(&self, path: &str) {
        self.folder(path);
        chown(self.dir.join(path), Some(FIRST_ID), Some(FIRST_ID)).expect("root gives it away");
    }

    /// Starts it and waits for its door. What it says on its standard error is its log.
    pub fn start(self, port: u16, args: &[&str]) -> Running {
        // The shell stays, as the first process in there: the kernel does not tell a server that has changed its user that its parent
        // is gone, but with the first process go all.
        let inside = "for d in etc var run; do mount --bind \"$0/$d\" /$d || exit 1; done; \"$@\"; exit $?";
        let child = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", inside])
            .arg(&self.dir)
            .arg(&self.program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.dir.join(SAID)).expect("a log"))
            .spawn()
            .expect("unshare runs");
        let running = Running { child, dir: self.dir };
        opened(port, || running.log());
        running
    }
}

impl Running {
    /// What it said so far.
    pub fn log(&self) -> String {
        self.file(SAID)
    }

    /// A file of its folders, `var/log/…`; empty if there is none.
    pub fn file(&self, path: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.join(path)).unwrap_or_default()).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
