//! File systems of our own for a while: a loop device on a file, a file system on it, mounted. For root only.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::ended::Hindrance;

/// What the server is told, so that a small disk has many segments.
pub const CONFIG: &str = "store.segment_bytes = 2359296\nlimits.message_bytes_max = 250000\n";

/// What a file system is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    Ext4,
    Xfs,
}

impl Kind {
    /// Its name, as mount takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ext4 => "ext4",
            Kind::Xfs => "xfs",
        }
    }
}

/// A mounted file system on a loop device. Dropped, it is unmounted.
#[derive(Debug)]
pub struct Mounted {
    device: String,
    at: PathBuf,
    gone: bool,
}

/// Why no file system can be made here, in a sentence; `None`: it can.
#[must_use]
pub fn hindrance(kind: Kind) -> Option<Hindrance> {
    if !rustix::process::geteuid().is_root() {
        return Some(Hindrance::Machine("only root may mount a file system".to_owned()));
    }
    for program in ["losetup", "mount", "umount", &format!("mkfs.{}", kind.name())] {
        let found = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].iter().any(|dir| Path::new(dir).join(program).exists());
        if !found {
            return Some(Hindrance::NotInstalled(program.to_owned()));
        }
    }
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !known.split_whitespace().any(|name| name == kind.name()) {
        return Some(Hindrance::Machine(format!("this kernel has no {}", kind.name())));
    }
    let none = run("losetup", &["--find"]).err();
    none.map(|why| Hindrance::Machine(format!("there is no loop device: {why}")))
}

/// Attaches a loop device to a file, makes a file system on it if asked to, and mounts it in a folder that is made.
pub fn mount(file: &Path, kind: Kind, make: bool, at: &Path) -> Result<Mounted, String> {
    let device = run("losetup", &["--find", "--show", &file.display().to_string()])?;
    let mounted = Mounted { device: device.trim().to_owned(), at: at.to_owned(), gone: false };
    let device = mounted.device.as_str();
    if make {
        // Nothing of it is discarded, and no table is left to be made later, behind our back.
        let lazy = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
        match kind {
            Kind::Ext4 => run("mkfs.ext4", &["-q", "-F", "-m", "0", "-E", lazy, device])?,
            Kind::Xfs => run("mkfs.xfs", &["-q", "-f", "-K", device])?,
        };
    }
    fs::create_dir_all(at).map_err(|why| format!("{}: {why}", at.display()))?;
    run("mount", &["-t", kind.name(), device, &at.display().to_string()])?;
    Ok(mounted)
}

impl Mounted {
    /// Unmounts it, with whatever errors the device has by now, and lets the device go. What the kernel still does for a
    /// process that was killed holds it for a moment: it is tried again so often.
    pub fn unmount(mut self, tries: u32, pause: Duration) -> Result<(), String> {
        self.gone = true;
        for _ in 1..tries {
            if self.end().is_ok() {
                return Ok(());
            }
            std::thread::sleep(pause);
        }
        self.end()
    }

    fn end(&self) -> Result<(), String> {
        if is_mounted(&self.at) {
            run("umount", &[&self.at.display().to_string()])?;
        }
        run("losetup", &["--detach", &self.device]).map(drop)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if !self.gone {
            let _ = self.end();
        }
    }
}

fn is_mounted(at: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1).is_some_and(|point| Path::new(point) == at))
}

/// Runs a program; what it says. Errors: it does not end well, with what it says of that.
pub fn run(program: &str, words: &[&str]) -> Result<String, String> {
    let done = Command::new(program).args(words).env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin").output();
    let done = done.map_err(|why| format!("{program}: {why}"))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    Err(format!("{program} {}: {}", words.join(" "), String::from_utf8_lossy(&done.stderr).trim()))
}
