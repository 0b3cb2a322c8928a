//! `ringpost serve`: run the server.

use std::path::PathBuf;

use clap::Args;

use crate::boot;
use crate::config::{self, Asked, Effective, Key, Value};
use crate::net::census::Cidr;
use crate::shard::StartError;

/// Run the server until Ctrl-C or SIGTERM.
///
/// Without options it opens SMTP on port 2525, submission on 2587 and (TLS first) 2465, IMAP on 2143 and 2993, POP3 on
/// 2110 and 2995, and figures and health over HTTP on 2080, on loopback only, and keeps its data in ./ringpost-data. The first start on a new store makes the domain
/// ringpost.test with the accounts alice and bob and shows their passwords once, and a certificate in tls/ that mail
/// programs can be told to trust. Logins need TLS, except from networks listed with --plaintext-auth-network.
///
/// Settings come from the configuration file: --config FILE, else ringpost.toml in the data directory if it is there. Flags
/// come before the file. `ringpost config show --effective` lists every setting. SIGHUP, or `ringpost tls reload`, reads the
/// certificates anew.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringpost serve
  ringpost serve --config /etc/ringpost/ringpost.toml
  ringpost serve --data /var/lib/ringpost --shards 4 --pin 0-3
  ringpost serve --listen smtp=192.0.2.1:25 --listen imap=127.0.0.1:143
  ringpost serve --port-offset 1000 --exempt-network 127.0.0.0/8     (a second one, for load tests)")]
pub struct ServeArgs {
    /// The configuration file [default: ringpost.toml in the data directory, if it is there].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory that holds everything: accounts, mail, the admin socket. Made if missing [default: ringpost-data].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Shards to run, one thread each [default: one for each core this process may use].
    #[arg(long, value_name = "N")]
    pub shards: Option<u64>,
    /// Cores to pin the shards to, such as 0,2-5 [default: all this process may use].
    #[arg(long, value_name = "LIST")]
    pub pin: Option<String>,
    /// Open doors only on these shards, such as 1-3; the others only keep mailboxes [default: on all].
    #[arg(long, value_name = "LIST")]
    pub accept_on: Option<String>,
    /// Open this door instead of those of the configuration file, such as imap=127.0.0.1:143 or lmtp=unix:/run/ringpost/lmtp.
    /// May be given again.
    #[arg(long, value_name = "SERVICE=ADDRESS:PORT")]
    pub listen: Vec<String>,
    /// Add N to the port of every door [default: 0].
    #[arg(long, value_name = "N")]
    pub port_offset: Option<u64>,
    /// Certificate chain, PEM [default: tls/cert.pem in the data directory].
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key, PEM [default: tls/key.pem in the data directory].
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Lift the per-address limits for this network. May be given again.
    #[arg(long, value_name = "CIDR")]
    pub exempt_network: Vec<Cidr>,
    /// Allow logins without TLS from this network: passwords cross it in the clear. May be given again.
    #[arg(long, value_name = "CIDR")]
    pub plaintext_auth_network: Vec<Cidr>,
    /// The name to greet with and to sign Received fields with [default: this host's name].
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Connections of each shard, at most [default: 20000].
    #[arg(long, value_name = "N")]
    pub connections_max: Option<u64>,
    /// Connections of one address, or IPv6 /64, on each shard, at most [default: 50].
    #[arg(long, value_name = "N")]
    pub connections_per_address_max: Option<u64>,
    /// Memory that Ringpost may hold, octets: at four fifths newcomers are told to come back [default: three quarters of the host's].
    #[arg(long, value_name = "OCTETS")]
    pub memory: Option<u64>,
    /// Largest message accepted, octets [default: 52428800].
    #[arg(long, value_name = "OCTETS")]
    pub message_bytes_max: Option<u64>,
    /// Refuse messages with a bare CR or LF (550 5.6.11) instead of making them canonical.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub reject_bare_newlines: Option<bool>,
    /// Submission entries of each ring, a power of two [default: 1024].
    #[arg(long, value_name = "N")]
    pub ring_entries: Option<u64>,
    /// Receive buffers of each ring, a power of two [default: 1024].
    #[arg(long, value_name = "N")]
    pub recv_buffers: Option<u64>,
}

impl ServeArgs {
    /// What the flags say, for `config` to put beside the file.
    #[must_use]
    pub fn asked(&self) -> Asked {
        let mut asked = Asked { file: self.config.clone(), flags: Vec::new(), listen: self.listen.clone() };
        let path = |p: &Option<PathBuf>| p.clone().map(Value::Path);
        let text = |t: &Option<String>| t.clone().map(Value::Text);
        let number = |n: Option<u64>| n.map(Value::Number);
        let networks = |n: &Vec<Cidr>| (!n.is_empty()).then(|| Value::Networks(n.clone()));
        asked.flag(Key::Data, "--data", path(&self.data));
        asked.flag(Key::Shards, "--shards", number(self.shards));
        asked.flag(Key::Pin, "--pin", text(&self.pin));
        asked.flag(Key::AcceptOn, "--accept-on", text(&self.accept_on));
        asked.flag(Key::PortOffset, "--port-offset", number(self.port_offset));
        asked.flag(Key::TlsCert, "--tls-cert", path(&self.tls_cert));
        asked.flag(Key::TlsKey, "--tls-key", path(&self.tls_key));
        asked.flag(Key::ExemptNetworks, "--exempt-network", networks(&self.exempt_network));
        asked.flag(Key::PlaintextNetworks, "--plaintext-auth-network", networks(&self.plaintext_auth_network));
        asked.flag(Key::Hostname, "--hostname", text(&self.hostname));
        asked.flag(Key::ConnectionsMax, "--connections-max", number(self.connections_max));
        asked.flag(
            Key::ConnectionsPerAddressMax,
            "--connections-per-address-max",
            number(self.connections_per_address_max),
        );
        asked.flag(Key::Memory, "--memory", number(self.memory));
        asked.flag(Key::MessageBytesMax, "--message-bytes-max", number(self.message_bytes_max));
        asked.flag(Key::RejectBareNewlines, "--reject-bare-newlines", self.reject_bare_newlines.map(Value::Switch));
        asked.flag(Key::RingEntries, "--ring-entries", number(self.ring_entries));
        asked.flag(Key::RecvBuffers, "--recv-buffers", number(self.recv_buffers));
        asked
    }
}

/// Runs it.
///
/// # Errors
/// Why it does not start.
pub fn run(settings: &Effective, args: &ServeArgs) -> Result<(), StartError> {
    let asked = args.asked();
    // What else the file says by then is for the next start.
    let certificates = move || config::load(&asked).map(|now| now.tls()).map_err(|mistakes| mistakes.to_string());
    boot::serve(settings.config(), certificates)
}
