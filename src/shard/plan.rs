//! What a start is asked for, and the sentences it may be refused with.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::Place;

/// Shards to start and what each may have.
#[derive(Clone, Debug)]
pub struct Plan {
    /// One entry a shard: the CPU it is pinned to.
    pub cpus: Vec<usize>,
    /// Submission entries of each ring (a power of two).
    pub ring_entries: u32,
    /// Provided receive buffers of each ring (a power of two).
    pub recv_buffers: u16,
    /// Octets of one receive buffer.
    pub recv_buffer_bytes: u32,
    /// Side threads of the process.
    pub side_threads: usize,
}

/// Side threads of a process that does not say.
const SIDE_THREADS: usize = 2;

impl Plan {
    /// One shard for each of `cpus`, with the sizes that measured well.
    #[must_use]
    pub fn for_cpus(cpus: Vec<usize>) -> Plan {
        // 1,024 buffers of 8 KiB: 256 ran out at 512 busy connections; most commands and small messages fit one.
        Plan { cpus, ring_entries: 1_024, recv_buffers: 1_024, recv_buffer_bytes: 8_192, side_threads: SIDE_THREADS }
    }
}

/// The CPUs to pin shards to. `shards`: how many; `pin`: a list as [`numbers`] reads it.
///
/// Without either: every CPU this process may use. With a number: that many of them, from the first. With a list:
/// one shard for each CPU of the list; a number beside it takes the first so many.
///
/// # Errors
/// [`StartError::Setting`]: no shard, more shards than CPUs, a list that cannot be read, a CPU twice or not ours.
pub fn cpus(shards: Option<usize>, pin: Option<&str>) -> Result<Vec<usize>, StartError> {
    choose(&allowed(), shards, pin)
}

fn choose(allowed: &[usize], shards: Option<usize>, pin: Option<&str>) -> Result<Vec<usize>, StartError> {
    let mut cpus = match pin {
        Some(list) => pinned(allowed, list)?,
        None => allowed.to_vec(),
    };
    let Some(shards) = shards else { return Ok(cpus) };
    if shards == 0 {
        return Err(StartError::Setting("at least one shard is needed".into()));
    }
    if shards > cpus.len() {
        return Err(StartError::Setting(format!(
            "{shards} shards are more than there are CPUs to pin them to ({}): choose {} or fewer",
            ranges(&cpus),
            cpus.len()
        )));
    }
    cpus.truncate(shards);
    Ok(cpus)
}

fn pinned(allowed: &[usize], list: &str) -> Result<Vec<usize>, StartError> {
    numbers("CPU", allowed, list)
}

/// Reads a list of numbers and ranges like `0,2-5`, each once and each one of `allowed`. `noun` is for the error.
///
/// # Errors
/// [`StartError::Setting`]: it cannot be read, a number twice or not allowed.
pub fn numbers(noun: &str, allowed: &[usize], list: &str) -> Result<Vec<usize>, StartError> {
    let bad = |what: String| StartError::Setting(format!("`{list}`: {what}"));
    let number = |text: &str| {
        text.parse::<usize>()
            .ok()
            .filter(|n| *n < CPUS_MAX)
            .ok_or_else(|| bad(format!("{text:?} is not a {noun} number; write numbers and ranges like 0,2-5")))
    };
    let mut found = Vec::new();
    for part in list.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if last < first {
            return Err(bad(format!("the range {part} runs backwards")));
        }
        for n in first..=last {
            if found.contains(&n) {
                return Err(bad(format!("{noun} {n} is named twice")));
            }
            if !allowed.contains(&n) {
                return Err(bad(format!("{noun} {n} is not one this process may use ({})", ranges(allowed))));
            }
            found.push(n);
        }
    }
    Ok(found)
}

/// Shards of a process, each on a CPU of its own.
pub const SHARDS_MAX: usize = CPUS_MAX;

/// CPU numbers the affinity mask can name.
const CPUS_MAX: usize = 1_024;

fn allowed() -> Vec<usize> {
    let Ok(mask) = rustix::thread::sched_getaffinity(None) else { return vec![0] };
    (0..CPUS_MAX).filter(|cpu| mask.is_set(*cpu)).collect()
}

fn ranges(cpus: &[usize]) -> String {
    let parts = cpus.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    });
    parts.collect::<Vec<_>>().join(",")
}

/// Holds a plan against what the ring can do.
///
/// # Errors
/// [`StartError::Setting`].
pub fn check(plan: &Plan) -> Result<(), StartError> {
    let wrong = |what: &str| Err(StartError::Setting(what.into()));
    if plan.cpus.is_empty() || plan.cpus.len() > CPUS_MAX {
        return wrong("between 1 and 1024 shards are possible");
    }
    if !plan.ring_entries.is_power_of_two() || !(8..=32_768).contains(&plan.ring_entries) {
        return wrong("submission entries of a ring: a power of two from 8 to 32768");
    }
    if !plan.recv_buffers.is_power_of_two() || plan.recv_buffers > 32_768 {
        return wrong("receive buffers of a ring: a power of two up to 32768");
    }
    if !(256..=1 << 20).contains(&plan.recv_buffer_bytes) {
        return wrong("octets of a receive buffer: from 256 to 1048576");
    }
    Ok(())
}

/// How many files the process may have open, once the soft limit is raised to the hard one; `None` is no limit.
#[must_use]
pub fn files_max() -> Option<u64> {
    super::real::raise_nofile()
}

/// Finds out whether `at` is free. Doors share their port among shards (SO_REUSEPORT), and would share it with
/// another instance of the same user too; so boot asks here, once, before it opens them.
///
/// # Errors
/// [`StartError::PortTaken`] or [`StartError::Listen`].
pub fn probe_port(at: SocketAddr) -> Result<(), StartError> {
    let bound = super::real::tcp_socket(at).and_then(|socket| {
        socket.bind(&at.into())?;
        socket.listen(1)
    });
    match bound {
        Ok(()) => Ok(()),
        Err(why) if why.kind() == io::ErrorKind::AddrInUse => Err(StartError::PortTaken { at }),
        Err(why) => Err(StartError::Listen { at, why }),
    }
}

/// Finds out whether a door can be opened at `place`.
///
/// # Errors
/// As [`probe_port`]; for a Unix socket [`StartError::Setting`].
pub fn probe(place: &Place) -> Result<(), StartError> {
    let Place::Local { path, .. } = place else { return place.net().map_or(Ok(()), probe_port) };
    let folder = path.parent().unwrap_or(Path::new("/"));
    match super::real::local_is_free(path) {
        Ok(true) if folder.is_dir() => Ok(()),
        Ok(true) => Err(StartError::Setting(format!(
            "cannot listen on {place}: there is no folder {}: make it, for the user that runs Ringpost",
            folder.display()
        ))),
        Ok(false) => Err(StartError::Setting(format!(
            "cannot listen on {place}: another process answers there, or it is no socket: stop it, or choose another path"
        ))),
        Err(why) => Err(StartError::Setting(format!("cannot listen on {place}: {why}"))),
    }
}

/// What is said of a door that could not be opened at `place`.
#[must_use]
pub fn not_opened(place: &Place, why: io::Error) -> StartError {
    match place {
        Place::Net(at) => StartError::Listen { at: *at, why },
        Place::Local { .. } => StartError::Setting(format!(
            "cannot listen on {place}: {why}: the user that runs Ringpost needs a folder that it may write into"
        )),
    }
}

/// Why the process does not start. Each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kernel lacks what the ring needs.
    #[error("this kernel is Linux {found}; Ringpost needs 6.1 or newer: boot a newer kernel")]
    Kernel {
        /// What `uname -r` says.
        found: String,
    },
    /// io_uring is switched off.
    #[error("io_uring is not allowed here ({why}): {cure}")]
    IoUring {
        /// The kernel's answer.
        why: String,
        /// What to do.
        cure: String,
    },
    /// Locked memory is too small for the rings.
    #[error(
        "locked memory is limited to {have_kib} KiB and {need_kib} KiB are needed: raise it with `ulimit -l {need_kib}` or LimitMEMLOCK={need_kib}K in the unit file"
    )]
    Memlock {
        /// Present limit.
        have_kib: u64,
        /// Needed limit.
        need_kib: u64,
    },
    /// Too few file descriptors.
    #[error(
        "open files are limited to {have} and at least {need} are needed: raise it with `ulimit -n {need}` or LimitNOFILE={need} in the unit file"
    )]
    Nofile {
        /// Present limit.
        have: u64,
        /// Needed limit.
        need: u64,
    },
    /// A port is taken.
    #[error("port {} on {} is taken by another process: stop it (`ss -ltnp 'sport = :{}'` names it), or start with --port-offset", at.port(), at.ip(), at.port())]
    PortTaken {
        /// The address asked for.
        at: SocketAddr,
    },
    /// A door cannot be opened for another reason.
    #[error("cannot listen on {at}: {}", listen_cure(why))]
    Listen {
        /// The address asked for.
        at: SocketAddr,
        /// The kernel's answer.
        why: io::Error,
    },
    /// Another process has the data directory.
    #[error("{} is in use by another Ringpost ({holder}): stop it first, or give this one its own --data DIR", dir.display())]
    DataInUse {
        /// The directory.
        dir: PathBuf,
        /// What the lock file says of its holder.
        holder: String,
    },
    /// The volume cannot be opened.
    #[error("{}: {why}", dir.display())]
    Data {
        /// The volume's folder.
        dir: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// A setting is out of range.
    #[error("{0}")]
    Setting(String),
    /// Anything else.
    #[error("{doing}: {why}")]
    Io {
        /// What was being done.
        doing: String,
        /// The kernel's answer.
        why: io::Error,
    },
}

/// What to do about a door that cannot be opened.
fn listen_cure(why: &io::Error) -> String {
    match why.kind() {
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need a permission: AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit file".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "this host has no such address: choose one that `ip address` lists".to_owned()
        }
        _ => why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(shards: Option<usize>, pin: Option<&str>) -> String {
        choose(&[0, 1, 2, 3, 6], shards, pin).expect_err("refused").to_string()
    }

    #[test]
    fn shards_take_every_cpu_unless_told() {
        let allowed = [0, 1, 2, 3, 6];
        assert_eq!(choose(&allowed, None, None).expect("all"), allowed);
        assert_eq!(choose(&allowed, Some(2), None).expect("first two"), [0, 1]);
        assert_eq!(choose(&allowed, None, Some("6, 1-2")).expect("list"), [6, 1, 2]);
        assert_eq!(choose(&allowed, Some(2), Some("6,1-2")).expect("first of list"), [6, 1]);
    }

    #[test]
    fn a_bad_pin_list_says_what_is_wrong_with_it() {
        assert!(refusal(None, Some("0,x")).contains("\"x\" is not a CPU number"));
        assert!(refusal(None, Some("")).contains("not a CPU number"));
        assert!(refusal(None, Some("3-1")).contains("runs backwards"));
        assert!(refusal(None, Some("1,0-2")).contains("CPU 1 is named twice"));
        assert!(refusal(None, Some("0-4")).contains("CPU 4 is not one this process may use (0-3,6)"));
        assert!(refusal(None, Some("0-99999999999")).contains("not a CPU number"));
    }

    #[test]
    fn more_shards_than_cpus_are_refused() {
        assert!(refusal(Some(6), None).contains("choose 5 or fewer"));
        assert!(refusal(Some(3), Some("1,2")).contains("choose 2 or fewer"));
        assert!(refusal(Some(0), None).contains("at least one shard"));
    }

    #[test]
    fn a_taken_port_is_found_though_the_taker_shares_it() {
        let free: SocketAddr = "127.0.0.1:0".parse().expect("address");
        assert!(probe_port(free).is_ok());
        let taker = super::super::real::tcp_socket(free).expect("socket");
        taker.set_reuse_port(true).expect("option");
        taker.bind(&free.into()).expect("bind");
        taker.listen(1).expect("listen");
        let at = taker.local_addr().expect("address").as_socket().expect("address");
        let text = probe_port(at).expect_err("taken").to_string();
        assert!(text.contains(&at.port().to_string()) && text.contains("is taken"), "{text}");
    }

    #[test]
    fn an_address_of_another_host_is_not_called_taken() {
        let elsewhere = "192.0.2.1:2525".parse().expect("address");
        let refused = probe_port(elsewhere).expect_err("not ours");
        assert!(matches!(refused, StartError::Listen { .. }));
        assert!(refused.to_string().contains("this host has no such address"), "{refused}");
    }

    #[test]
    fn the_default_plan_is_a_good_one() {
        assert!(check(&Plan::for_cpus(vec![0])).is_ok());
        assert!(check(&Plan::for_cpus(vec![])).is_err());
        assert!(check(&Plan { recv_buffers: 3, ..Plan::for_cpus(vec![0]) }).is_err());
    }
}
