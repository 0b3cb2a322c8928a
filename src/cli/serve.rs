//! `ringpost serve`: run the server.

use std::path::PathBuf;

use clap::Args;

use crate::boot;
use crate::config::{self, Config, Founders};
use crate::limits;
use crate::net::census::Cidr;
use crate::office::{Argon2Cost, Settings};
use crate::shard::{Plan, StartError, plan};

/// Run the server until Ctrl-C or SIGTERM.
///
/// Without options it opens SMTP on port 2525, IMAP on 2143 and POP3 on 2110, on loopback only, and keeps its data in
/// ./ringpost-data. The first start on a new store makes the domain ringpost.test with the accounts alice and bob and shows
/// their passwords once. As long as such a store is served without network options, logins without TLS are allowed from 127.0.0.0/8.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringpost serve
  ringpost serve --data /var/lib/ringpost --shards 4 --pin 0-3
  ringpost serve --port-offset 1000 --exempt-network 127.0.0.0/8     (a second one, for load tests)")]
pub struct ServeArgs {
    /// Directory that holds everything: accounts, mail, the admin socket. Made if missing.
    #[arg(long, value_name = "DIR", default_value = "ringpost-data")]
    pub data: PathBuf,
    /// Shards to run, one thread each [default: one for each core this process may use].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub shards: Option<u16>,
    /// Cores to pin the shards to, such as 0,2-5 [default: all this process may use].
    #[arg(long, value_name = "LIST")]
    pub pin: Option<String>,
    /// Open doors only on these shards, such as 1-3; the others only keep mailboxes [default: on all].
    #[arg(long, value_name = "LIST")]
    pub accept_on: Option<String>,
    /// Add N to every default port.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub port_offset: u16,
    /// Lift the per-address limits for this network. May be given again.
    #[arg(long, value_name = "CIDR")]
    pub exempt_network: Vec<Cidr>,
    /// Allow logins without TLS from this network: passwords cross it in the clear. May be given again.
    #[arg(long, value_name = "CIDR")]
    pub plaintext_auth_network: Vec<Cidr>,
    /// The name to greet with and to sign Received fields with [default: this host's name].
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Largest message accepted, octets.
    #[arg(long, value_name = "OCTETS", default_value_t = limits::MESSAGE_BYTES_MAX,
          value_parser = clap::value_parser!(u64).range(1024..=limits::MESSAGE_BYTES_MAX))]
    pub message_bytes_max: u64,
    /// Refuse messages with a bare CR or LF (550 5.6.11) instead of making them canonical.
    #[arg(long)]
    pub reject_bare_newlines: bool,
    /// Submission entries of each ring, a power of two.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub ring_entries: u32,
    /// Receive buffers of each ring, a power of two.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub recv_buffers: u16,
}

/// Runs it.
///
/// # Errors
/// Why it does not start.
pub fn run(args: ServeArgs) -> Result<(), StartError> {
    let plan = chosen(&args)?;
    let accept_on = match &args.accept_on {
        None => (0..plan.cpus.len()).collect(),
        Some(list) => plan::numbers("--accept-on", "shard", &(0..plan.cpus.len()).collect::<Vec<_>>(), list)?,
    };
    boot::serve(Config {
        plan,
        accept_on,
        unconfigured: args.hostname.is_none()
            && args.exempt_network.is_empty()
            && args.plaintext_auth_network.is_empty(),
        doors: config::default_doors(args.port_offset)?,
        settings: Settings {
            hostname: args.hostname.unwrap_or_else(host_name),
            connections_max: limits::CONNECTIONS_MAX,
            message_bytes_max: args.message_bytes_max,
            exempt_networks: args.exempt_network,
            plaintext_auth_networks: args.plaintext_auth_network,
            argon2: Argon2Cost::DEFAULT,
            tls: None,
            reject_bare_newlines: args.reject_bare_newlines,
        },
        founders: Founders::quickstart(),
        segment_bytes: config::SEGMENT_BYTES_DEFAULT,
        data: args.data,
    })
}

fn chosen(args: &ServeArgs) -> Result<Plan, StartError> {
    for (flag, n) in [("--ring-entries", args.ring_entries), ("--recv-buffers", u32::from(args.recv_buffers))] {
        if !n.is_power_of_two() || !(16..=32_768).contains(&n) {
            return Err(StartError::Setting(format!("{flag} {n}: choose a power of two from 16 to 32768")));
        }
    }
    let mut plan = Plan::for_cpus(plan::cpus(args.shards.map(usize::from), args.pin.as_deref())?);
    plan.ring_entries = args.ring_entries;
    plan.recv_buffers = args.recv_buffers;
    Ok(plan)
}

/// This host's name, if it is one that SMTP can say; else `localhost`.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let sound = !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
    if sound { name } else { "localhost".to_owned() }
}
