//! What is looked at before the first shard starts, each with a sentence a person can act on.
//!
//! The executor would find most of it too, by panicking with a text that names something else.

use std::io;

use io_uring::Probe;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::ring;
use crate::shard::{Plan, StartError};

/// The oldest kernel with DEFER_TASKRUN and all the operations.
const KERNEL_MIN: (u32, u32) = (6, 1);
/// What the executor's rings lock at least; ours lock nothing.
const MEMLOCK_MIN_KIB: u64 = 512;
/// Descriptors of an idle process with a few connections.
const NOFILE_MIN: u64 = 512;
/// Descriptors a shard keeps for itself: rings, doors, segments.
const NOFILE_A_SHARD: u64 = 128;

/// Checks the plan and the machine, raising the soft limit of descriptors to the hard one.
///
/// # Errors
/// The first thing found wrong.
pub fn check(plan: &Plan) -> Result<(), StartError> {
    crate::shard::plan::check(plan)?;
    kernel(&rustix::system::uname().release().to_string_lossy())?;
    let shards = plan.cpus.len() as u64;
    nofile(raise_nofile(), NOFILE_MIN + NOFILE_A_SHARD * shards)?;
    let lock_free = is_exempt_from_memlock();
    memlock(getrlimit(Resource::Memlock).current, lock_free)?;
    io_uring()
}

fn kernel(release: &str) -> Result<(), StartError> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u32>().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found >= KERNEL_MIN { Ok(()) } else { Err(StartError::Kernel { found: release.to_owned() }) }
}

/// How many files the process may have open, once the soft limit is raised to the hard one; `None` is no limit.
pub fn raise_nofile() -> Option<u64> {
    let now = getrlimit(Resource::Nofile);
    if now.current == now.maximum {
        return now.current;
    }
    let raised = Rlimit { current: now.maximum, maximum: now.maximum };
    if setrlimit(Resource::Nofile, raised).is_ok() { now.maximum } else { now.current }
}

fn nofile(have: Option<u64>, need: u64) -> Result<(), StartError> {
    match have {
        Some(have) if have < need => Err(StartError::Nofile { have, need }),
        _ => Ok(()),
    }
}

/// CAP_IPC_LOCK lifts the limit for the kernel, but the executor compares the number all the same: so the soft
/// limit is raised first where we may.
fn is_exempt_from_memlock() -> bool {
    let now = getrlimit(Resource::Memlock);
    if now.current.is_some_and(|have| have < MEMLOCK_MIN_KIB << 10) {
        let want = Some(MEMLOCK_MIN_KIB << 10);
        let maximum = now.maximum.map(|max| max.max(MEMLOCK_MIN_KIB << 10));
        return setrlimit(Resource::Memlock, Rlimit { current: want, maximum }).is_ok();
    }
    false
}

fn memlock(have: Option<u64>, raised: bool) -> Result<(), StartError> {
    match have {
        Some(have) if have < MEMLOCK_MIN_KIB << 10 && !raised => {
            Err(StartError::Memlock { have_kib: have >> 10, need_kib: MEMLOCK_MIN_KIB })
        }
        _ => Ok(()),
    }
}

/// Sets up a real ring, asks what it can do, and throws it away.
fn io_uring() -> Result<(), StartError> {
    let switch = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    let ring = ring::build(8).map_err(|why| refused(&why, switch.trim()))?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(|why| refused(&why, switch.trim()))?;
    lacks(|code| probe.is_supported(code))
}

/// Says why `io_uring_setup` was refused. `switch`: what kernel.io_uring_disabled says, empty where it is unknown.
fn refused(why: &io::Error, switch: &str) -> StartError {
    let (why, cure) = match (why.raw_os_error().unwrap_or(0), switch) {
        (libc::EPERM, "2") => (
            "the sysctl kernel.io_uring_disabled is 2: off for everybody".into(),
            "set it with `sysctl kernel.io_uring_disabled=0`".into(),
        ),
        (libc::EPERM, "1") => (
            "the sysctl kernel.io_uring_disabled is 1: only for CAP_SYS_ADMIN and members of kernel.io_uring_group".into(),
            "set it with `sysctl kernel.io_uring_disabled=0`, or put this user's group number into kernel.io_uring_group"
                .into(),
        ),
        (libc::EPERM | libc::EACCES, _) => (
            "a seccomp filter or security module refuses it, as containers do by default".into(),
            "allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp profile (or run it with \
             --security-opt seccomp=unconfined), and drop any SystemCallFilter that forbids them from the unit file"
                .into(),
        ),
        (libc::ENOSYS, _) => (
            "the kernel was built without it, or a seccomp filter hides it".into(),
            "boot a kernel with CONFIG_IO_URING=y, or allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp \
             profile"
                .into(),
        ),
        (libc::ENOMEM, _) => (
            "no memory for a ring within the limits of this control group or RLIMIT_MEMLOCK".into(),
            "raise `ulimit -l` and the memory limit of the container or unit".into(),
        ),
        (libc::EMFILE | libc::ENFILE, _) => {
            ("no file descriptor is left for a ring".into(), "raise `ulimit -n`, or fs.file-max for the whole host".into())
        }
        _ => (why.to_string(), "boot Linux 6.1 or newer with CONFIG_IO_URING=y".into()),
    };
    StartError::IoUring { why, cure }
}

fn lacks(is_supported: impl Fn(u8) -> bool) -> Result<(), StartError> {
    let missing: Vec<_> = ring::OPERATIONS.iter().filter(|code| !is_supported(**code)).map(u8::to_string).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(StartError::IoUring {
        why: format!("the kernel lacks operation {}", missing.join(", ")),
        cure: "boot Linux 6.1 or newer with CONFIG_IO_URING=y".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(result: Result<(), StartError>) -> String {
        result.expect_err("refused").to_string()
    }

    #[test]
    fn a_kernel_before_6_1_is_refused_by_name() {
        assert!(kernel("6.1.0-13-amd64").is_ok());
        assert!(kernel("6.18.44").is_ok());
        assert!(kernel("7.0-rc1").is_ok());
        assert!(sentence(kernel("6.0.19")).contains("6.0.19"));
        assert!(sentence(kernel("5.15.0-91-generic")).contains("6.1 or newer"));
        assert!(kernel("unreadable").is_err());
    }

    #[test]
    fn a_switched_off_io_uring_names_the_sysctl() {
        let denied = io::Error::from_raw_os_error(libc::EPERM);
        assert!(refused(&denied, "2").to_string().contains("sysctl kernel.io_uring_disabled=0"));
        assert!(refused(&denied, "1").to_string().contains("kernel.io_uring_group"));
    }

    #[test]
    fn a_seccomp_filter_is_told_from_the_sysctl() {
        for switch in ["", "0"] {
            let text = refused(&io::Error::from_raw_os_error(libc::EPERM), switch).to_string();
            assert!(text.contains("seccomp") && !text.contains("sysctl kernel"), "{text}");
        }
        assert!(refused(&io::Error::from_raw_os_error(libc::ENOSYS), "").to_string().contains("CONFIG_IO_URING"));
    }

    #[test]
    fn small_limits_say_what_to_type() {
        assert!(sentence(nofile(Some(256), 768)).contains("ulimit -n 768"));
        assert!(nofile(Some(768), 768).is_ok() && nofile(None, 768).is_ok());
        assert!(sentence(memlock(Some(64 << 10), false)).contains("LimitMEMLOCK=512K"));
        assert!(memlock(Some(512 << 10), false).is_ok() && memlock(None, false).is_ok());
    }

    #[test]
    fn a_missing_operation_is_a_refusal() {
        assert!(lacks(|_| true).is_ok());
        assert!(sentence(lacks(|code| code != ring::OPERATIONS[2])).contains("lacks operation"));
    }

    #[test]
    fn this_machine_passes() {
        assert!(io_uring().is_ok());
    }
}
