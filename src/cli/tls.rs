//! `ringpost tls`: the certificates of a running server.

use clap::{Args, Subcommand};

use super::{At, desk, say, say_json};
use crate::admin::{CertificateView, Request, Response};
use crate::mail::date;

/// Show the certificates of a running server, or read them anew.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  ringpost tls list\n  ringpost tls reload          after a renewal; so does SIGHUP"
)]
pub(super) struct TlsArgs {
    #[command(subcommand)]
    verb: TlsVerb,
}

#[derive(Subcommand, Debug)]
enum TlsVerb {
    /// Show the certificates in force, the default first: until when, the key's kind, names, file.
    #[command(after_help = "Examples:\n  ringpost tls list\n  ringpost tls list --json")]
    List {
        #[command(flatten)]
        how: How,
    },
    /// Read certificates and keys anew, and which there are from the configuration file. Connections go on. If there is anything
    /// wrong with one of them, all stay as they are.
    #[command(after_help = "Example:\n  ringpost tls reload --data /var/lib/ringpost")]
    Reload {
        #[command(flatten)]
        how: How,
    },
}

#[derive(Args, Debug)]
struct How {
    /// As a JSON array.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

pub(super) fn run(args: TlsArgs) -> Result<(), String> {
    let (request, how) = match args.verb {
        TlsVerb::List { how } => (Request::TlsList {}, how),
        TlsVerb::Reload { how } => (Request::TlsReload {}, how),
    };
    match desk::ask_server(&how.at.data, &request)? {
        Response::Certificates { certificates } if how.json => say_json(&certificates)?,
        Response::Certificates { certificates } => certificates.iter().for_each(show),
        other => return Err(desk::strange(&other)),
    }
    Ok(())
}

fn show(view: &CertificateView) {
    let until = view.until_s.map_or("?".to_owned(), |until_s| date::http(until_s.saturating_mul(1_000)));
    let names = if view.names.is_empty() { "(no name)".to_owned() } else { view.names.join(" ") };
    say(&format!("until {until}  {:<5}  {names}  {}\n", view.key, view.file));
}
