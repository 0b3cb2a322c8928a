//! The first start on an embedded default: a domain, two people, and the commands to try them.

use std::rc::Rc;

use crate::admin;
use crate::boot::Node;
use crate::config::Founders;
use crate::office::Office;
use crate::serve::Service;

/// Makes the founders' domain and accounts; returns each address with its generated password.
///
/// # Errors
/// A sentence that says what was refused.
pub async fn found(office: &Rc<Office>, founders: &Founders) -> Result<Vec<(String, String)>, String> {
    if founders.domain.is_empty() {
        return Ok(Vec::new());
    }
    admin::found_domain(office, &founders.domain).await?;
    let mut made = Vec::new();
    for local in &founders.people {
        let name = format!("{local}@{}", founders.domain);
        let password = admin::found_account(office, &name).await?;
        made.push((name, password));
    }
    Ok(made)
}

/// True if a start made founders and may have ended before it showed their passwords.
#[must_use]
pub fn is_half_done(office: &Office, founders: &Founders) -> bool {
    !founders.domain.is_empty() && office.directory(|d| d.has_domain(&founders.domain))
}

/// Says on standard output what is open, and on a first start how to use it.
pub fn announce(node: &Node, founded: &[(String, String)]) {
    let mut text = String::from("Ringpost is open:\n");
    for service in Service::ALL {
        let at: Vec<String> = node.doors.iter().filter(|d| d.service == service).map(|d| d.at.to_string()).collect();
        if !at.is_empty() {
            text += &format!("  {:<11} {}\n", service.word(), at.join("  "));
        }
    }
    text += &format!("  data        {}\n", node.data.display());
    if !node.settings.plaintext_auth_networks.is_empty() {
        let nets: Vec<String> = node.settings.plaintext_auth_networks.iter().map(ToString::to_string).collect();
        text += &format!("  Logins without TLS are allowed from {} (--plaintext-auth-network).\n", nets.join(" "));
    }
    if let Some((to, password)) = founded.first() {
        text += "\nNew accounts; these passwords are shown once:\n";
        for (name, password) in founded {
            text += &format!("  {name}  {password}\n");
        }
        text += &how_to_try(node, to, password);
    }
    text += "\nStop it with Ctrl-C.\n";
    use std::io::Write as _;
    // Nobody may be reading; that is no reason not to serve.
    let _ = std::io::stdout().write_all(text.as_bytes());
    let _ = std::io::stdout().flush();
}

/// The commands that send a letter and read it back, by the doors that are open on loopback.
fn how_to_try(node: &Node, to: &str, password: &str) -> String {
    let port = |s: Service| {
        let at =
            node.doors.iter().filter(|d| d.service == s).filter_map(|d| d.at.net()).find(|at| at.ip().is_loopback());
        at.map(|at| at.port())
    };
    let ca = node.tls_cert.display();
    let curl = format!("curl -sS --cacert {ca} -u '{to}:{password}'");
    let (submissions, imaps, pop3s) = (port(Service::Submissions), port(Service::Imaps), port(Service::Pop3s));
    let mut text = String::new();
    if let Some(port) = submissions {
        text += &format!(
            "
Send a message:
  printf 'From: {to}\\r\\nTo: {to}\\r\\nSubject: hello\\r\\n\\r\\nIt works.\\r\\n' | \
    {curl} smtps://localhost:{port} --mail-from {to} --mail-rcpt {to} -T -
"
        );
    }
    if imaps.or(pop3s).is_some() {
        text += "Read it back:\n";
    }
    if let Some(port) = imaps {
        text += &format!("  {curl} 'imaps://localhost:{port}/INBOX;MAILINDEX=1'\n");
    }
    if let Some(port) = pop3s {
        text += &format!("  {curl} pop3s://localhost:{port}/1\n");
    }
    if let (Some(imaps), Some(submissions)) = (imaps, submissions) {
        text += &format!(
            "\
Or with a mail program: IMAP on localhost:{imaps} and outgoing mail on localhost:{submissions}, both SSL/TLS, user name
{to}; it will ask whether to trust {ca}.
"
        );
    }
    text
}
