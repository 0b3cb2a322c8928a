//! `ringpost-loadtest idle`: what a logged-in IMAP connection that waits costs in memory.
//!
//! ```text
//!   warm-up: some connections, used until every receive buffer was touched ─► quiet ─► memory
//!   step:    a part of the connections, logged in, selected, in IDLE      ─► quiet ─► memory      (a few times)
//!   watch:   nothing is said: idle CPU         then every connection is asked whether it still lives
//! ```
//!
//! The figure is the rise of the process's Pss from the end of the warm-up to the end of the last step, by connection. The
//! warm-up connections stay open, so what the process needs once (receive buffers, the hash's scratch memory, code and tables
//! touched for the first time) is in both readings. Each step's own figure is shown too: where they differ much, something
//! else moved, and the run should be made again.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Place, Sheet, crowd, share};
use crate::accounts::Account;
use crate::gauge::Gauge;
use crate::gauge::memory::Memory;
use crate::imap::Client;
use crate::tls::Versions;
use crate::wire::Way;

/// Connections of one source address. More: the next of 127/8, because a source has some 28,000 ports for one listener.
const CONNECTIONS_A_SOURCE: u64 = 20_000;
/// A look at whether the server is quiet.
const LOOK: Duration = Duration::from_millis(250);
/// Looks in a row that must be quiet.
const QUIET_LOOKS: usize = 6;
/// What a quiet server may run and grow by within them.
const QUIET_CPU_NS: u64 = 30_000_000;
const QUIET_BYTES: u64 = 64 << 10;
/// Kernel caches in which a connection has objects, at each end: the socket, its inode, its file, its name, what is asked
/// of the ring for it. Others rise and fall with whatever else the machine does.
const SLABS_OF_CONNECTIONS: [&str; 5] = ["TCP", "sock_inode_cache", "filp", "dentry", "io_kiocb"];

/// Options of `idle`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    pub place: Place,
    /// Connections measured.
    #[arg(long, default_value_t = 5_000)]
    pub connections: u64,
    /// Under TLS 1.3, on the IMAPS port.
    #[arg(long)]
    pub tls: bool,
    /// Each selects its INBOX.
    #[arg(long)]
    pub select: bool,
    /// Each waits in IDLE (RFC 2177).
    #[arg(long)]
    pub idle: bool,
    /// Connections made first; they stay and are not charged.
    #[arg(long, default_value_t = 200)]
    pub warmup: u64,
    /// NOOPs on each of them: together they should touch every receive buffer of the server.
    #[arg(long, default_value_t = 40)]
    pub warmup_noops: u64,
    /// Parts in which the connections are made.
    #[arg(long, default_value_t = 4)]
    pub steps: u64,
    /// Connections being made at once.
    #[arg(long, default_value_t = 8)]
    pub at_once: usize,
    /// How long to wait for quiet, seconds; then the memory is read all the same, and that is said.
    #[arg(long, default_value_t = 60)]
    pub settle_s: u64,
    /// How long idle CPU is watched, seconds.
    #[arg(long, default_value_t = 10)]
    pub watch_s: u64,
    /// Fail above this, octets of process memory a connection.
    #[arg(long, value_name = "OCTETS")]
    pub max_bytes: Option<u64>,
}

/// The figures.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    pub connections: u64,
    pub accounts: usize,
    pub tls: bool,
    pub select: bool,
    pub idle: bool,
    /// Rise of Pss a connection, octets.
    pub pss_bytes_per_connection: f64,
    /// The same of anonymous memory alone.
    pub anon_bytes_per_connection: f64,
    /// The same in each step.
    pub steps_pss_bytes: Vec<f64>,
    /// Rise of the whole system's kernel memory a connection, octets: both ends of it.
    pub kernel_bytes_per_connection: f64,
    pub socket_buffer_bytes_per_connection: f64,
    /// Of it, the caches in which a connection has objects.
    pub slabs_bytes_per_connection: Vec<(String, f64)>,
    /// After the warm-up, and after each step.
    pub memory: Vec<Memory>,
    /// The server's CPU while nothing is said, µs in a second.
    pub idle_cpu_us_per_s: Option<f64>,
    pub remarks: Vec<String>,
}

/// Runs the measure. `Ok(true)`: every connection still lived at the end, and `--max-bytes` was kept.
pub fn run(args: &Args) -> Result<bool, String> {
    let pid = args.place.subject.server_pid.ok_or("--server-pid: whose memory?")?;
    let (accounts, mut gauge) = args.place.begin()?;
    let mut clients = open(args, &accounts, &mut gauge, 0, args.warmup, args.warmup_noops)?;
    let mut memory = vec![settle(args, &mut gauge, pid)?];
    let (steps, mut made) = (args.steps.clamp(1, args.connections.max(1)), 0);
    for step in 0..steps {
        let part = share(args.connections, steps as usize, step as usize);
        clients.extend(open(args, &accounts, &mut gauge, args.warmup + made, part, 0)?);
        made += part;
        memory.push(settle(args, &mut gauge, pid)?);
    }
    let before = gauge.read();
    std::thread::sleep(Duration::from_secs(args.watch_s));
    let watched = gauge.read().since(&before);
    let dead = clients.iter_mut().filter_map(|client| alive(client, args.idle).err()).collect::<Vec<_>>();
    if let Some(first) = dead.first() {
        eprintln!(
            "{} of {} connections did not live to the end, the first of them: {first}",
            dead.len(),
            clients.len()
        );
    }
    clients.into_iter().for_each(|client| client.into_wire().leave());

    let mut figures = weigh(args, accounts.len(), memory);
    figures.idle_cpu_us_per_s = watched.server_cpu_ns.map(|ns| ns as f64 / 1e3 / watched.wall_s);
    figures.remarks.append(&mut gauge.remarks);
    args.place.publish(&sheet(args, &figures), &figures)?;
    let kept = args.max_bytes.is_none_or(|max| figures.pss_bytes_per_connection <= max as f64);
    if !kept {
        eprintln!("more than --max-bytes {}", args.max_bytes.unwrap_or_default());
    }
    Ok(kept && dead.is_empty())
}

/// Opens `count` connections, from the `first` on, and brings each to where it waits.
fn open(
    args: &Args,
    accounts: &[Account],
    gauge: &mut Gauge,
    first: u64,
    count: u64,
    noops: u64,
) -> Result<Vec<Client>, String> {
    let tls = args.tls.then_some((Versions::Tls13, false));
    let ways = (0..=(first + count) / CONNECTIONS_A_SOURCE).map(|n| args.place.way(source(n), tls));
    let ways = ways.collect::<Result<Vec<_>, _>>()?;
    let next = std::sync::atomic::AtomicU64::new(first);
    let (clients, _) = crowd(gauge, args.at_once, |_| {
        let mut clients = Vec::new();
        loop {
            let n = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if n >= first + count {
                return Ok(clients);
            }
            let account = &accounts[n as usize % accounts.len()];
            let way = &ways[(n / CONNECTIONS_A_SOURCE) as usize];
            clients.push(waiting(args, way, account, noops).map_err(|e| format!("connection {n}: {e}"))?);
        }
    })?;
    Ok(clients.into_iter().flatten().collect())
}

/// 127.0.0.1 is what is used unasked; `None` for the first, so that a server elsewhere can be measured with few.
fn source(n: u64) -> Option<IpAddr> {
    let last = u8::try_from(n + 1).unwrap_or(u8::MAX);
    (n > 0).then_some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)))
}

fn waiting(args: &Args, way: &Way, account: &Account, noops: u64) -> Result<Client, crate::wire::Error> {
    let mut client = Client::greeted(way)?;
    client.log_in(account)?;
    for _ in 0..noops {
        client.noop()?;
    }
    if args.select {
        client.select("INBOX")?;
    }
    if args.idle {
        client.idle()?;
    }
    client.rest();
    Ok(client)
}

fn alive(client: &mut Client, idle: bool) -> Result<(), crate::wire::Error> {
    if idle { client.done() } else { client.noop() }
}

/// Waits until the server neither runs nor grows, and reads its memory.
fn settle(args: &Args, gauge: &mut Gauge, pid: u32) -> Result<Memory, String> {
    let look = |gauge: &mut Gauge| -> Result<_, String> {
        let memory = Memory::read(pid).map_err(|e| format!("memory of process {pid}: {e}"))?;
        Ok((gauge.read(), memory))
    };
    let began = Instant::now();
    let mut looks = vec![look(gauge)?];
    loop {
        std::thread::sleep(LOOK);
        looks.push(look(gauge)?);
        let (now, memory) = looks.last().expect("pushed just now");
        let Some((then, was)) = looks.len().checked_sub(QUIET_LOOKS + 1).map(|at| &looks[at]) else { continue };
        let ran = now.since(then).server_cpu_ns.unwrap_or(0);
        let moved = memory.pss_bytes.abs_diff(was.pss_bytes);
        if ran <= QUIET_CPU_NS && moved <= QUIET_BYTES {
            return Ok(memory.clone());
        }
        if began.elapsed() > Duration::from_secs(args.settle_s) {
            let ran_ms = ran / 1_000_000;
            gauge.remarks.push(format!(
                "quiet: after {} s the server still ran {ran_ms} ms and its Pss moved {moved} bytes within {QUIET_LOOKS} looks",
                args.settle_s
            ));
            return Ok(memory.clone());
        }
    }
}

fn weigh(args: &Args, accounts: usize, memory: Vec<Memory>) -> Figures {
    let (first, last) = (&memory[0], &memory[memory.len() - 1]);
    let rise = |of: &dyn Fn(&Memory) -> u64, from: &Memory, to: &Memory, count: u64| {
        (of(to) as f64 - of(from) as f64) / count.max(1) as f64
    };
    let whole = |of: &dyn Fn(&Memory) -> u64| rise(of, first, last, args.connections);
    let steps = memory.len() - 1;
    let by_step = memory
        .windows(2)
        .enumerate()
        .map(|(step, pair)| rise(&|m| m.pss_bytes, &pair[0], &pair[1], share(args.connections, steps, step)));
    let known = SLABS_OF_CONNECTIONS.iter().filter(|name| last.slabs_bytes.contains_key(**name));
    let slabs = known.map(|&name| (name.into(), whole(&|m| m.slabs_bytes.get(name).copied().unwrap_or(0)))).collect();
    Figures {
        connections: args.connections,
        accounts,
        tls: args.tls,
        select: args.select,
        idle: args.idle,
        pss_bytes_per_connection: whole(&|m| m.pss_bytes),
        anon_bytes_per_connection: whole(&|m| m.pss_anon_bytes),
        steps_pss_bytes: by_step.collect(),
        kernel_bytes_per_connection: whole(&|m| m.kernel_bytes),
        socket_buffer_bytes_per_connection: whole(&|m| m.sockets_bytes),
        slabs_bytes_per_connection: slabs,
        memory,
        idle_cpu_us_per_s: None,
        remarks: Vec::new(),
    }
}

fn sheet(args: &Args, figures: &Figures) -> Sheet {
    let mut sheet = Sheet { remarks: figures.remarks.clone(), ..Sheet::default() };
    let state = [("TLS 1.3", args.tls), ("INBOX selected", args.select), ("in IDLE", args.idle)];
    let state: Vec<_> = state.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    let state = if state.is_empty() { "plain, logged in".into() } else { state.join(", ") };
    let how = format!("{state}; {} accounts; {} more before", figures.accounts, args.warmup);
    sheet.row("connections", figures.connections.to_string(), &how);
    let bytes = |x: f64| format!("{x:.0} bytes each");
    sheet.row("process memory", bytes(figures.pss_bytes_per_connection), "rise of Pss, warm-up not charged");
    sheet.row("  anonymous", bytes(figures.anon_bytes_per_connection), "the part that no file backs");
    let steps: Vec<_> = figures.steps_pss_bytes.iter().map(|x| format!("{x:.0}")).collect();
    sheet.row("  by step", steps.join(" "), "the same in each part");
    let total = figures.memory.last().map_or(0, |m| m.pss_bytes);
    sheet.row("  in all", format!("{:.1} MiB", total as f64 / f64::from(1 << 20)), "Pss at the end");
    let slabs: f64 = figures.slabs_bytes_per_connection.iter().map(|(_, each)| each).sum();
    sheet.row("kernel memory", bytes(slabs), "caches in which a connection has objects, both ends");
    for (name, each) in &figures.slabs_bytes_per_connection {
        sheet.row(&format!("  {name}"), bytes(*each), "");
    }
    sheet.row("  socket buffers", bytes(figures.socket_buffer_bytes_per_connection), "both ends");
    let how = "slab, stacks, page tables; whatever else ran is in it";
    sheet.row("  whole system", bytes(figures.kernel_bytes_per_connection), how);
    if let Some(us) = figures.idle_cpu_us_per_s {
        sheet.row("idle CPU", format!("{us:.0} µs a second"), &format!("all connections, over {} s", args.watch_s));
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::Subject;

    #[test]
    fn what_the_warm_up_took_is_not_charged() {
        let args = |connections| Args {
            place: Place {
                imap: String::new(),
                imaps: String::new(),
                ca: None,
                subject: Subject {
                    accounts: "".into(),
                    server_pid: None,
                    cgroup: None,
                    data: None,
                    pin: None,
                    patience_s: 1,
                    json: None,
                },
            },
            connections,
            tls: false,
            select: false,
            idle: false,
            warmup: 10,
            warmup_noops: 0,
            steps: 2,
            at_once: 1,
            settle_s: 1,
            watch_s: 0,
            max_bytes: None,
        };
        let at = |pss_bytes, tcp| Memory {
            pss_bytes,
            slabs_bytes: [("TCP".to_owned(), tcp), ("ext4_inode_cache".to_owned(), tcp)].into(),
            ..Memory::default()
        };
        let figures = weigh(&args(5), 1, vec![at(1_000_000, 0), at(1_009_000, 3_000), at(1_010_000, 10_000)]);
        assert_eq!(figures.pss_bytes_per_connection, 2_000.0);
        assert_eq!(figures.steps_pss_bytes, [3_000.0, 500.0], "three in the first part, two in the second");
        assert_eq!(figures.slabs_bytes_per_connection, [("TCP".to_owned(), 2_000.0)]);
    }
}
