//! CPU time of all of a process's threads, those that ended included.
//!
//! A control group is exact: the kernel adds to it whatever runs, whoever ends. Without one, the run time
//! in `/proc/PID/task/*/schedstat` (ns) is sampled and the last value of each task is kept; what a task ran
//! between its last sample and its end is lost, so the sampling must be frequent.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A process of a control group.
pub fn member(group: &Path) -> Option<u32> {
    fs::read_to_string(group.join("cgroup.procs")).ok()?.lines().next()?.parse().ok()
}

const CPUACCT: &str = "/sys/fs/cgroup/cpuacct";
/// Milliseconds of one clock tick in `/proc/PID/stat` (USER_HZ is 100 on every Linux we run on).
const TICK_MS: u64 = 10;

#[derive(Debug)]
pub struct Cpu {
    pid: u32,
    group: Option<Group>,
    /// By task id: name and ns run, as last seen.
    tasks: HashMap<u32, (String, u64)>,
}

#[derive(Debug)]
struct Group {
    folder: PathBuf,
    /// Where the server was before, when the group is of our making.
    before: Option<PathBuf>,
    pid: u32,
}

#[derive(Clone, Debug)]
pub struct CpuReading {
    pub group_ns: Option<u64>,
    pub user_ms: u64,
    pub system_ms: u64,
    tasks: HashMap<u32, (String, u64)>,
}

impl Cpu {
    /// For process `pid`, through `cgroup` or, where we may, a group made for it.
    pub fn open(pid: u32, cgroup: Option<&Path>, keep: &mut dyn FnMut(&str, io::Error)) -> Cpu {
        let group = match cgroup {
            Some(folder) => Some(Group { folder: folder.to_owned(), before: None, pid }),
            None => Group::make(pid).map_err(|e| keep("control group (CPU is summed over tasks instead)", e)).ok(),
        };
        let mut cpu = Cpu { pid, group, tasks: HashMap::new() };
        cpu.sample();
        if let Some(group) = &cpu.group
            && let Err(e) = group.usage_ns()
        {
            keep("control group (CPU is summed over tasks instead)", e);
            cpu.group = None;
        }
        cpu
    }

    /// Keeps the present value of every task.
    pub fn sample(&mut self) {
        let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", self.pid)) else { return };
        for task in tasks.flatten() {
            let path = task.path();
            let Some(tid) = task.file_name().to_str().and_then(|t| t.parse::<u32>().ok()) else { continue };
            let Some(ns) = first_number(&path.join("schedstat")) else { continue };
            let name = || fs::read_to_string(path.join("comm")).unwrap_or_default().trim_end().to_owned();
            self.tasks.entry(tid).or_insert_with(|| (name(), 0)).1 = ns;
        }
    }

    pub fn read(&self) -> CpuReading {
        let (user_ms, system_ms) = stat_ms(self.pid).unwrap_or_default();
        let group_ns = self.group.as_ref().and_then(|g| g.usage_ns().ok());
        CpuReading { group_ns, user_ms, system_ms, tasks: self.tasks.clone() }
    }
}

impl CpuReading {
    pub fn tasks_ns(&self) -> u64 {
        self.tasks.values().map(|(_, ns)| ns).sum()
    }

    /// Threads that ran since `before`, by name without its digits: how many, and ns.
    pub fn threads_since(&self, before: &CpuReading) -> BTreeMap<String, (u64, u64)> {
        let mut threads = BTreeMap::new();
        for (tid, (name, ns)) in &self.tasks {
            let ran = ns - before.tasks.get(tid).map_or(0, |(_, ns)| *ns);
            if ran > 0 {
                let name: String = name.chars().filter(|c| !c.is_ascii_digit()).collect();
                let row: &mut (u64, u64) = threads.entry(name).or_default();
                *row = (row.0 + 1, row.1 + ran);
            }
        }
        threads
    }
}

impl Group {
    /// Moves `pid` with all its threads into a cpuacct group of its own.
    fn make(pid: u32) -> io::Result<Group> {
        let before = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        let before = before.lines().find_map(|l| {
            let (controllers, path) = l.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|c| c == "cpuacct").then(|| path.trim_start_matches('/').to_owned())
        });
        let before = before.ok_or_else(|| io::Error::other("the server is in no cpuacct group"))?;
        let folder = Path::new(CPUACCT).join(format!("ringpost-loadtest-{pid}"));
        match fs::create_dir(&folder) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        fs::write(folder.join("cgroup.procs"), pid.to_string())?;
        Ok(Group { folder, before: Some(Path::new(CPUACCT).join(before)), pid })
    }

    fn usage_ns(&self) -> io::Result<u64> {
        let v1 = self.folder.join("cpuacct.usage");
        if v1.exists() {
            return first_number(&v1).ok_or_else(|| io::Error::other("cpuacct.usage holds no number"));
        }
        let text = fs::read_to_string(self.folder.join("cpu.stat"))?;
        let usec = text.lines().find_map(|l| l.strip_prefix("usage_usec ")?.parse::<u64>().ok());
        usec.map(|u| u * 1_000).ok_or_else(|| io::Error::other("cpu.stat holds no usage_usec"))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The server goes back where it was; a group that cannot be emptied stays, and does no harm.
        if let Some(before) = &self.before {
            let _ = fs::write(before.join("cgroup.procs"), self.pid.to_string());
            let _ = fs::remove_dir(&self.folder);
        }
    }
}

/// CPU of this process's threads, ns.
pub fn own_ns() -> u64 {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return 0 };
    tasks.flatten().filter_map(|t| first_number(&t.path().join("schedstat"))).sum()
}

fn first_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

/// User and system time of process `pid`, all threads that are and were.
fn stat_ms(pid: u32) -> Option<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the 14th and 15th fields count from the first.
    let rest = text.rsplit_once(") ")?.1;
    let mut fields = rest.split(' ').skip(11).map(|f| f.parse::<u64>().ok());
    Some((fields.next()?? * TICK_MS, fields.next()?? * TICK_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_ended_is_still_counted() {
        let mut cpu = Cpu { pid: std::process::id(), group: None, tasks: HashMap::new() };
        cpu.sample();
        let before = cpu.read();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let worker = std::thread::Builder::new().name("busy-7".into()).spawn(move || {
            let mut x = 1u64;
            for i in 0..2_000_000u64 {
                x = std::hint::black_box(x.wrapping_mul(i | 1));
            }
            ready.send(x).unwrap();
            wait.recv().unwrap_err();
        });
        is_ready.recv().unwrap();
        cpu.sample();
        drop(go);
        worker.unwrap().join().unwrap();
        cpu.sample();
        let after = cpu.read();
        let (threads, ns) = after.threads_since(&before)["busy-"];
        assert_eq!(threads, 1);
        assert!(ns > 100_000, "{ns}");
        assert!(after.tasks_ns() - before.tasks_ns() >= ns);
    }

    #[test]
    fn our_own_times_are_there() {
        assert!(own_ns() > 0);
        assert!(stat_ms(std::process::id()).is_some());
        assert!(stat_ms(u32::MAX).is_none());
    }
}
