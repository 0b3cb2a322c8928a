//! What the server spends: read before and after, subtracted.
//!
//! | gauge | where it comes from | what it counts |
//! |---|---|---|
//! | CPU | a cpuacct or cgroup-2 group that holds the server; else `schedstat` of all its tasks | ns of every thread, io_uring's kernel workers (`iou-wrk-*`) included: they are threads of the process |
//! | user and system | `/proc/PID/stat` | the same in 10 ms ticks, ended threads included: a cross-check |
//! | syncs, ring calls, copies | the server's own counters over its admin socket | completions, not calls |
//! | flushes, bytes written | `/sys/dev/block/…/stat` of the data's disk | the whole disk's: only trust them when nothing else writes |
//! | memory | `/proc/PID/smaps_rollup`, `/proc/meminfo`, `/proc/slabinfo` | the process's, and the whole kernel's |
//! | `ext4_sync_file_enter` | tracefs, when it is mounted | every fsync on that file system, io_uring's included |
//! | system calls | `raw_syscalls:sys_enter` in tracefs | every one of the server's threads |

mod counters;
mod cpu;
mod device;
mod trace;

pub mod hold;
pub mod memory;
pub mod strace;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

pub use counters::Counters;

/// What can be gauged here; every part may be absent.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The server's process.
    pub server_pid: Option<u32>,
    /// A control group that already holds the server, as a folder.
    pub cgroup: Option<PathBuf>,
    /// The server's data directory: its disk, its admin socket.
    pub data: Option<PathBuf>,
}

/// The gauges, opened.
#[derive(Debug)]
pub struct Gauge {
    cpu: Option<cpu::Cpu>,
    device: Option<device::Device>,
    trace: Option<trace::Trace>,
    calls: Option<trace::Trace>,
    counters: Option<counters::Socket>,
    /// What could not be gauged and why, for the report.
    pub remarks: Vec<String>,
}

/// All gauges at one moment.
#[derive(Clone, Debug)]
pub struct Reading {
    at: Instant,
    cpu: Option<cpu::CpuReading>,
    device: Option<device::DeviceReading>,
    trace_syncs: Option<u64>,
    trace_calls: Option<u64>,
    counters: Option<Counters>,
    own_cpu_ns: u64,
}

/// The difference of two readings.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Spent {
    pub wall_s: f64,
    /// From the control group if there is one, else the sum over tasks.
    pub server_cpu_ns: Option<u64>,
    /// `cgroup` or `tasks`.
    pub server_cpu_source: Option<&'static str>,
    /// Sum of `schedstat` over tasks, whatever the source above.
    pub server_tasks_cpu_ns: Option<u64>,
    pub server_user_ms: Option<u64>,
    pub server_system_ms: Option<u64>,
    /// By thread name, digits left out: (threads, ns).
    pub server_threads: BTreeMap<String, (u64, u64)>,
    pub device_flushes: Option<u64>,
    pub device_writes: Option<u64>,
    pub device_written_bytes: Option<u64>,
    pub trace_syncs: Option<u64>,
    /// System calls of all of the server's threads.
    pub trace_calls: Option<u64>,
    pub counters: Option<Counters>,
    /// This process, reading gauges included.
    pub client_cpu_ns: u64,
}

impl Gauge {
    /// Opens what there is. Nothing here fails the run: what is missing is told in `remarks`.
    #[must_use]
    pub fn open(options: &Options) -> Gauge {
        let mut remarks = Vec::new();
        let mut keep = |what: &str, error: std::io::Error| remarks.push(format!("{what}: {error}"));
        // A server of many processes is known by its group alone; its tasks are then those of one of them.
        let pid = options.server_pid.or_else(|| options.cgroup.as_deref().and_then(cpu::member));
        let cpu = pid.map(|pid| cpu::Cpu::open(pid, options.cgroup.as_deref(), &mut keep));
        let calls = pid.and_then(|pid| trace::Trace::calls(pid).map_err(|e| keep("system calls", e)).ok());
        let (mut device, mut trace, mut socket) = (None, None, None);
        if let Some(data) = &options.data {
            match device::Device::of(data) {
                Ok(found) => {
                    trace = trace::Trace::syncs(found.number()).map_err(|e| keep("sync trace point", e)).ok();
                    device = Some(found);
                }
                Err(e) => keep("disk of the data directory", e),
            }
            socket = counters::Socket::connect(data).map_err(|e| keep("server's own counters", e)).ok();
        }
        Gauge { cpu, device, trace, calls, counters: socket, remarks }
    }

    /// To be called every few tens of milliseconds while a load runs: kernel workers that end take their
    /// times with them, so their last values must have been seen.
    pub fn tick(&mut self) {
        if let Some(cpu) = &mut self.cpu {
            cpu.sample();
        }
    }

    /// Reads everything.
    pub fn read(&mut self) -> Reading {
        self.tick();
        let counters = self.counters.as_mut().and_then(|c| match c.read() {
            Ok(counters) => Some(counters),
            Err(e) => {
                self.remarks.push(format!("server's own counters: {e}"));
                None
            }
        });
        Reading {
            at: Instant::now(),
            cpu: self.cpu.as_ref().map(cpu::Cpu::read),
            device: self.device.as_ref().and_then(|d| d.read().ok()),
            trace_syncs: self.trace.as_ref().and_then(|t| t.read().ok()),
            trace_calls: self.calls.as_ref().and_then(|t| t.read().ok()),
            counters,
            own_cpu_ns: cpu::own_ns(),
        }
    }
}

impl Reading {
    /// What was spent from `before` to `self`.
    #[must_use]
    pub fn since(&self, before: &Reading) -> Spent {
        let cpu = self.cpu.as_ref().zip(before.cpu.as_ref());
        let device = self.device.as_ref().zip(before.device.as_ref());
        let group_ns = cpu.and_then(|(a, b)| Some(a.group_ns?.saturating_sub(b.group_ns?)));
        let tasks_ns = cpu.map(|(a, b)| a.tasks_ns().saturating_sub(b.tasks_ns()));
        Spent {
            wall_s: (self.at - before.at).as_secs_f64(),
            server_cpu_ns: group_ns.or(tasks_ns),
            server_cpu_source: cpu.map(|_| if group_ns.is_some() { "cgroup" } else { "tasks" }),
            server_tasks_cpu_ns: tasks_ns,
            server_user_ms: cpu.map(|(a, b)| a.user_ms.saturating_sub(b.user_ms)),
            server_system_ms: cpu.map(|(a, b)| a.system_ms.saturating_sub(b.system_ms)),
            server_threads: cpu.map(|(a, b)| a.threads_since(b)).unwrap_or_default(),
            device_flushes: device.map(|(a, b)| a.flushes - b.flushes),
            device_writes: device.map(|(a, b)| a.writes - b.writes),
            device_written_bytes: device.map(|(a, b)| a.written_bytes - b.written_bytes),
            trace_syncs: self.trace_syncs.zip(before.trace_syncs).map(|(a, b)| a.saturating_sub(b)),
            trace_calls: self.trace_calls.zip(before.trace_calls).map(|(a, b)| a.saturating_sub(b)),
            counters: self.counters.as_ref().zip(before.counters.as_ref()).map(|(a, b)| counters::since(a, b)),
            client_cpu_ns: self.own_cpu_ns.saturating_sub(before.own_cpu_ns),
        }
    }
}
