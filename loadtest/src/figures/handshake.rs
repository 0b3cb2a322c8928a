//! `ringpost-loadtest handshake`: what TLS costs the server before the first command.
//!
//! One phase for each kind: plain connections (connect, greeting, close), and the same under TLS 1.3 and 1.2, with full
//! handshakes and with resumed ones. The handshake's cost is the difference to the plain one. Every connection's kind is
//! looked at: a handshake that was to be resumed and was not is a failure.

use serde::Serialize;

use super::{Cost, Place, Sheet, crowd, share};
use crate::imap::Client;
use crate::tls::Versions;

/// Options of `handshake`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    pub place: Place,
    /// Connections of each kind.
    #[arg(long, default_value_t = 2_000)]
    pub count: u64,
    /// Connections at a time.
    #[arg(long, default_value_t = 4)]
    pub at_once: usize,
}

/// A kind of connection.
#[derive(Clone, Debug, Serialize)]
pub struct Kind {
    pub name: &'static str,
    pub cost: Cost,
    /// What it costs more than a plain one, µs.
    pub handshake_us: Option<f64>,
}

/// The figures.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    pub plain: Cost,
    pub kinds: Vec<Kind>,
    pub remarks: Vec<String>,
}

const KINDS: [(&str, Versions, bool); 4] = [
    ("TLS 1.3, full", Versions::Tls13, false),
    ("TLS 1.3, resumed", Versions::Tls13, true),
    ("TLS 1.2, full", Versions::Tls12, false),
    ("TLS 1.2, resumed", Versions::Tls12, true),
];

/// Runs the measure. `Ok(true)`: every handshake was of its kind.
pub fn run(args: &Args) -> Result<bool, String> {
    let (_, mut gauge) = args.place.begin()?;
    let mut phase = |tls: Option<(Versions, bool)>| -> Result<Cost, String> {
        // Each thread remembers sessions of its own, so that one ticket is not tried twice.
        let ways = (0..args.at_once.max(1)).map(|_| args.place.way(None, tls)).collect::<Result<Vec<_>, _>>()?;
        let connect = |thread: usize| -> Result<Option<bool>, String> {
            let way: &crate::wire::Way = &ways[thread];
            let client = Client::greeted(way).map_err(|e| format!("{}: {e}", way.server))?;
            let wire = client.into_wire();
            let resumed = wire.resumed();
            wire.leave();
            Ok(resumed)
        };
        (0..ways.len()).try_for_each(|thread| connect(thread).map(drop))?;
        let (_, spent) = crowd(&mut gauge, ways.len(), |thread| {
            (0..share(args.count, ways.len(), thread)).try_for_each(|_| match connect(thread)? {
                resumed if resumed == tls.map(|(_, resume)| resume) => Ok(()),
                resumed => Err(format!("wanted {tls:?} (versions, resumed), got resumed: {resumed:?}")),
            })
        })?;
        Ok(Cost::of(&spent, args.count))
    };
    let plain = phase(None)?;
    let mut kinds = Vec::new();
    for (name, versions, resume) in KINDS {
        let cost = phase(Some((versions, resume)))?;
        let handshake_us = cost.cpu_us.zip(plain.cpu_us).map(|(tls, plain)| tls - plain);
        kinds.push(Kind { name, cost, handshake_us });
    }
    let figures = Figures { plain, kinds, remarks: gauge.remarks };
    args.place.publish(&sheet(args, &figures), &figures)?;
    Ok(true)
}

fn sheet(args: &Args, figures: &Figures) -> Sheet {
    let mut sheet = Sheet { remarks: figures.remarks.clone(), ..Sheet::default() };
    sheet.row("connections", args.count.to_string(), &format!("of each kind, {} at a time", args.at_once));
    figures.plain.rows(&mut sheet, "plain connection", "connect, greeting, close");
    for kind in &figures.kinds {
        kind.cost.rows(&mut sheet, kind.name, "connect, handshake, greeting, close");
        if let Some(us) = kind.handshake_us {
            sheet.row("  the handshake", format!("{us:.1} µs"), "less the plain connection");
        }
    }
    sheet
}
