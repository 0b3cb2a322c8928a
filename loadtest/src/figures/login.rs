//! `ringpost-loadtest login`: server CPU of connection + LOGIN + SELECT INBOX + LOGOUT.
//!
//! Three phases: connections that say LOGOUT at once (what comes before and after a login), whole cycles, and EXAMINE + CLOSE
//! again and again within kept connections (a LOGIN can be said only once in each). The hash of the password runs on the
//! `side-*` threads: what the other threads spend is the cycle without it.

use serde::Serialize;

use super::{Cost, Place, Sheet, crowd, share};
use crate::imap::Client;
use crate::tls::Versions;
use crate::wire::Error;

/// Options of `login`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    pub place: Place,
    /// Cycles measured.
    #[arg(long, default_value_t = 1_000)]
    pub cycles: u64,
    /// Cycles before them, not measured.
    #[arg(long, default_value_t = 100)]
    pub warmup: u64,
    /// Connections at a time.
    #[arg(long, default_value_t = 4)]
    pub at_once: usize,
    /// Under TLS 1.3 (full handshakes), on the IMAPS port.
    #[arg(long)]
    pub tls: bool,
    /// Fail above this: login and SELECT without the hash and without the connection, µs.
    #[arg(long, value_name = "MICROSECONDS")]
    pub max_us: Option<f64>,
}

/// The figures.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    pub tls: bool,
    pub accounts: usize,
    /// Messages in the largest mailbox selected.
    pub messages_max: u32,
    /// Connection, greeting, LOGOUT.
    pub connection: Cost,
    /// Connection, LOGIN, SELECT, LOGOUT.
    pub cycle: Cost,
    /// The difference, all threads but those that hash.
    pub login_and_select_us: Option<f64>,
    /// EXAMINE and CLOSE within a kept connection.
    pub examine_and_close: Cost,
    pub remarks: Vec<String>,
}

/// Runs the measure. `Ok(true)`: `--max-us` was kept.
pub fn run(args: &Args) -> Result<bool, String> {
    let (accounts, mut gauge) = args.place.begin()?;
    let way = args.place.way(None, args.tls.then_some((Versions::Tls13, false)))?;
    let threads = args.at_once.max(1);
    let failed = |e: Error| format!("{}: {e}", way.server);
    let cycle = |thread: usize, n: u64, login: bool| -> Result<u32, Error> {
        let mut client = Client::greeted(&way)?;
        let mut exists = 0;
        if login {
            client.log_in(&accounts[(thread as u64 + n * threads as u64) as usize % accounts.len()])?;
            exists = client.select("INBOX")?.exists;
        }
        client.logout().map(|()| exists)
    };
    let cycles = |thread, total, login| -> Result<u32, String> {
        let mut each = (0..share(total, threads, thread)).map(|n| cycle(thread, n, login).map_err(failed));
        each.try_fold(0, |most, exists| Ok(most.max(exists?)))
    };
    crowd(&mut gauge, threads, |thread| cycles(thread, args.warmup, true))?;
    let (_, spent) = crowd(&mut gauge, threads, |thread| cycles(thread, args.cycles, false))?;
    let connection = Cost::of(&spent, args.cycles);
    let (most, spent) = crowd(&mut gauge, threads, |thread| cycles(thread, args.cycles, true))?;
    let cycle = Cost::of(&spent, args.cycles);

    let kept = (0..threads).map(|thread| {
        let mut client = Client::greeted(&way).map_err(failed)?;
        client.log_in(&accounts[thread % accounts.len()]).map_err(failed)?;
        Ok(std::sync::Mutex::new(client))
    });
    let kept: Vec<_> = kept.collect::<Result<_, String>>()?;
    let (_, spent) = crowd(&mut gauge, threads, |thread| {
        let mut client = kept[thread].lock().map_err(|e| e.to_string())?;
        (0..share(args.cycles, threads, thread)).try_for_each(|_| client.look_in("INBOX").map_err(failed))
    })?;
    let examine_and_close = Cost::of(&spent, args.cycles);

    let login_and_select_us =
        cycle.cpu_without_hash_us.zip(connection.cpu_us).map(|(whole, connection)| whole - connection);
    let figures = Figures {
        tls: args.tls,
        accounts: accounts.len(),
        messages_max: most.into_iter().max().unwrap_or(0),
        connection,
        cycle,
        login_and_select_us,
        examine_and_close,
        remarks: gauge.remarks,
    };
    args.place.publish(&sheet(args, &figures), &figures)?;
    Ok(args.max_us.zip(login_and_select_us).is_none_or(|(max, us)| us <= max))
}

fn sheet(args: &Args, figures: &Figures) -> Sheet {
    let mut sheet = Sheet { remarks: figures.remarks.clone(), ..Sheet::default() };
    let under = if figures.tls { "TLS 1.3, full handshakes" } else { "plain" };
    let how = format!("{under}; {} accounts, up to {} messages", figures.accounts, figures.messages_max);
    sheet.row("cycles", args.cycles.to_string(), &format!("{} at a time; {how}", args.at_once));
    figures.connection.rows(&mut sheet, "connection", "connect, greeting, LOGOUT");
    figures.cycle.rows(&mut sheet, "cycle", "connect, greeting, LOGIN, SELECT, LOGOUT");
    if let Some(us) = figures.login_and_select_us {
        sheet.row("LOGIN and SELECT", format!("{us:.1} µs"), "cycle without the hash, less the connection");
    }
    figures.examine_and_close.rows(&mut sheet, "EXAMINE and CLOSE", "within kept connections");
    sheet
}
