//! Exim, as Debian builds it: with its own user, its configuration where it looks for one, and every word of its log.

use std::path::Path;

use super::apart::{Apart, Running};
use super::free_port;

/// Running; stopped when dropped.
pub struct Exim {
    running: Running,
    pub port: u16,
}

/// It takes what anybody on loopback gives it, and knows one relay, which must prove its name.
const CONF: &str = "\
exim_path = PROGRAM
primary_hostname = exim.test
local_interfaces = 127.0.0.1
daemon_smtp_ports = PORT
log_selector = +all
log_file_path = /var/log/exim4/%s
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
smtputf8_advertise_hosts = *
tls_advertise_hosts =
acl_smtp_rcpt = accept
acl_smtp_data = accept
begin routers
relay:
  driver = manualroute
  route_list = * localhost::RELAY byname
  self = send
  transport = relay
begin transports
relay:
  driver = smtp
  hosts_require_tls = *
  tls_verify_hosts = *
  tls_verify_cert_hostnames = *
  tls_verify_certificates = /etc/relay.pem
  message_linelength_limit = 100K
begin retry
* * F,1h,20m
";

impl Exim {
    /// Relays everything to `localhost:RELAY`, whose certificate is this one. `None`: this machine cannot run one.
    pub fn relaying(dir: &Path, relay: u16, certificate: &str) -> Option<Exim> {
        let apart = Apart::prepare(dir, "exim4", &["Debian-exim"])?;
        let port = free_port();
        let conf = CONF
            .replace("PROGRAM", &apart.program)
            .replace("PORT", &port.to_string())
            .replace("RELAY", &relay.to_string());
        apart.folder("etc/exim4");
        apart.file("etc/exim4/exim4.conf", &conf);
        apart.file("etc/relay.pem", certificate);
        apart.users_folder("var/spool/exim4");
        apart.users_folder("var/log/exim4");
        Some(Exim { running: apart.start(port, &["-bdf", "-q30m"]), port })
    }

    pub fn log(&self) -> String {
        self.running.log() + &self.running.file("var/log/exim4/main")
    }
}
