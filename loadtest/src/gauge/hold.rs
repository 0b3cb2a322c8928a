//! Holds a process to a part of a core: a control group of ours with a quota, for as long as the value lives.
//!
//! A period of 10 ms: longer ones would be pauses that the server's own timers notice.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const CPU: &str = "/sys/fs/cgroup/cpu";
const PERIOD_US: u64 = 10_000;

/// The group.
#[derive(Debug)]
pub struct Hold {
    folder: PathBuf,
    before: PathBuf,
    pid: u32,
}

impl Hold {
    /// Of one core, so many hundredths. Errors: no cpu controller (version 1) at `/sys/fs/cgroup/cpu`, not root, no such process.
    pub fn make(pid: u32, percent: u64) -> io::Result<Hold> {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        let before = groups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|c| c == "cpu").then(|| path.trim_start_matches('/').to_owned())
        });
        let before = before.ok_or_else(|| io::Error::other("the server is in no group of the cpu controller"))?;
        let before = Path::new(CPU).join(before);
        // Inside the group where it is: what holds for that holds on.
        let folder = before.join(format!("ringpost-loadtest-{pid}"));
        match fs::create_dir(&folder) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        let hold = Hold { folder, before, pid };
        fs::write(hold.folder.join("cpu.cfs_period_us"), PERIOD_US.to_string())?;
        fs::write(hold.folder.join("cpu.cfs_quota_us"), (PERIOD_US * percent / 100).to_string())?;
        fs::write(hold.folder.join("cgroup.procs"), pid.to_string())?;
        Ok(hold)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let _ = fs::write(self.before.join("cgroup.procs"), self.pid.to_string());
        let _ = fs::remove_dir(&self.folder);
    }
}
