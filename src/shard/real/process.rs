//! What the kernel knows of this process, from `/proc`.

use std::fs;

use crate::shard::Process;
use crate::shard::plan;

/// Reads it. Takes disk time of a kind, and longer the more files are open: for side threads.
pub fn process() -> Option<Process> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let open_fds = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    // The listing itself holds one.
    let (cpu_s, resident_bytes, started_s) = read(&stat, &boot)?;
    Some(Process { cpu_s, resident_bytes, open_fds: open_fds.saturating_sub(1), max_fds: plan::files_max(), started_s })
}

/// Octets of memory that this process holds: a line that the kernel makes at once.
pub fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Processor seconds, resident octets, start in seconds since 1970.
fn read(stat: &str, boot: &str) -> Option<(f64, u64, f64)> {
    // The name before stands in parentheses and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    // Counted from the third field of proc(5), the state.
    let mut field = |number: usize| fields.nth(number).and_then(|text| text.parse::<u64>().ok());
    let (user, system) = (field(11)?, field(0)?);
    let started = field(6)?;
    let pages = field(1)?;
    let booted: u64 = boot.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()?;
    let ticks = rustix::param::clock_ticks_per_second();
    let seconds = |ticks_run: u64| std::time::Duration::from_millis(ticks_run * 1_000 / ticks.max(1)).as_secs_f64();
    let cpu_s = seconds(user + system);
    let started_s = seconds(booted * ticks + started);
    Some((cpu_s, pages * rustix::param::page_size() as u64, started_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_read_whatever_the_name() {
        let ticks = rustix::param::clock_ticks_per_second();
        let stat = format!(
            "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 {} {} 0 0 20 0 3 0 {} 9 5 18446744073709551615 1 1",
            3 * ticks,
            ticks / 2,
            10 * ticks
        );
        let (cpu_s, resident, started_s) = read(&stat, "cpu 1\nbtime 1000\nprocesses 3\n").expect("a line");
        assert!((cpu_s - 3.5).abs() < 1e-9 && (started_s - 1_010.0).abs() < 1e-9, "{cpu_s} {started_s}");
        assert_eq!(resident, 5 * rustix::param::page_size() as u64);
        assert_eq!(read("7 (x", ""), None);
        assert_eq!(read("7 (x) S 1", "btime 1"), None);
    }

    #[test]
    fn this_process_has_memory_and_files() {
        let process = process().expect("a /proc");
        assert!(process.resident_bytes > 1 << 20 && process.open_fds >= 3, "{process:?}");
        assert!(resident_bytes().is_some_and(|octets| octets > 1 << 20));
        let now_s =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64();
        assert!(process.started_s <= now_s + 1.0 && process.started_s > now_s - 864_000.0, "{process:?}");
    }
}
