//! A Postfix that is installed, with a configuration, a queue and a log of its own. Only root can start one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{free_port, opened};
use crate::{client, run, skipped};

/// Running; stopped when dropped.
pub struct Postfix {
    conf: PathBuf,
    pub port: u16,
}

/// Its services. The SMTP client writes its conversations into the log.
const MASTER: &str = "\
127.0.0.1:PORT inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
lmtp unix - - n - - lmtp
smtp unix - - n - - smtp -v
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
";

impl Postfix {
    /// Takes mail from loopback for everybody; `settings` are the lines of `main.cf` that say where it goes. `None`: this machine
    /// cannot run one.
    pub fn start(dir: &Path, settings: &str) -> Option<Postfix> {
        client("postfix")?;
        if !rustix::process::geteuid().is_root() {
            skipped("Postfix is started by root alone");
            return None;
        }
        let conf = dir.join("postfix");
        for folder in ["", "queue", "state"] {
            fs::create_dir_all(conf.join(folder)).expect("a folder");
        }
        run(Command::new("chown").arg("postfix").arg(conf.join("state")));
        let at = conf.display();
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {at}/queue\ndata_directory = {at}/state\n\
             maillog_file = {at}/log\nmaillog_file_prefixes = {at}\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n\
             myhostname = postfix.test\nmydestination =\nmynetworks = 127.0.0.0/8\nalias_maps =\nlocal_recipient_maps =\n\
             smtpd_relay_restrictions = permit_mynetworks, reject\nsmtpd_peername_lookup = no\n\
             smtp_dns_support_level = disabled\nsmtp_host_lookup = native\nminimal_backoff_time = 1000s\n\
             message_size_limit = 52428800\n{settings}"
        );
        let port = free_port();
        fs::write(conf.join("main.cf"), main).expect("a file");
        fs::write(conf.join("master.cf"), MASTER.replace("PORT", &port.to_string())).expect("a file");
        run(Command::new("postfix").arg("-c").arg(&conf).arg("start"));
        let postfix = Postfix { conf, port };
        opened(port, || postfix.log());
        Some(postfix)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.conf.join("log")).unwrap_or_default()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let _ = Command::new("postfix").arg("-c").arg(&self.conf).arg("abort").output();
    }
}
