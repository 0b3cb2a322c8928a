//! `ringpost who`, `ringpost kick`, and what `ringpost account` says of logins: `login`, `app-password`.

use clap::{Args, Subcommand, ValueEnum};

use super::{At, desk, say, say_json};
use crate::admin::{Request, Response};

/// Show who is logged in.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost who
  ringpost who alice@example.org
  ringpost who --json

A session is listed from its login to its end. For SMTP these are mail programs that hand in mail.")]
pub(super) struct WhoArgs {
    /// Of this account alone.
    address: Option<String>,
    /// As a JSON array.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

/// End the sessions of an account: each hears a farewell when the command under way is done.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost kick alice@example.org

A mail program logs in again at once. To keep it out change the password (`ringpost account passwd`) or close a protocol
(`ringpost account login alice@example.org --imap off`): both end the sessions too.")]
pub(super) struct KickArgs {
    /// Whose.
    address: String,
    #[command(flatten)]
    at: At,
}

/// Show by which protocols an account may log in, or set that. Sessions of a protocol that is switched off end.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost account login alice@example.org
  ringpost account login alice@example.org --pop3 off
  ringpost account login alice@example.org --all off      nobody logs in; mail is received as before
  ringpost account login alice@example.org --all on")]
pub(super) struct LoginArgs {
    /// The account.
    address: String,
    /// Handing in mail (submission).
    #[arg(long, value_name = "on|off")]
    smtp: Option<Switch>,
    /// Reading it.
    #[arg(long, value_name = "on|off")]
    imap: Option<Switch>,
    /// Fetching it.
    #[arg(long, value_name = "on|off")]
    pop3: Option<Switch>,
    /// All three.
    #[arg(long, value_name = "on|off", conflicts_with_all = ["smtp", "imap", "pop3"])]
    all: Option<Switch>,
    /// As a JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// Passwords for one program each, that can be taken back one by one.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost account app-password add alice@example.org phone
  ringpost account app-password add alice@example.org scanner --protocol smtp
  ringpost account app-password list alice@example.org
  ringpost account app-password remove alice@example.org phone")]
pub(super) struct AppPasswordArgs {
    #[command(subcommand)]
    verb: AppPasswordVerb,
}

#[derive(Subcommand, Debug)]
enum AppPasswordVerb {
    /// Make one; it is shown once.
    #[command(after_help = "\
Examples:
  ringpost account app-password add alice@example.org phone
  ringpost account app-password add alice@example.org scanner --protocol smtp

It is for AUTH PLAIN and LOGIN and for the LOGIN and PASS commands; SCRAM knows the account's own password alone.")]
    Add {
        /// The account.
        address: String,
        /// What you call it: the program or the device.
        name: String,
        /// Where it is good: smtp, imap, pop3; again for another. All, if none is given.
        #[arg(long, value_name = "PROTOCOL")]
        protocol: Vec<String>,
        /// As a JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: At,
    },
    /// Show those of an account: name, when made, when used last, where good.
    #[command(after_help = "Example:\n  ringpost account app-password list alice@example.org")]
    List {
        /// The account.
        address: String,
        /// As a JSON array.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: At,
    },
    /// Take one back. The account's sessions end.
    #[command(after_help = "Example:\n  ringpost account app-password remove alice@example.org phone")]
    Remove {
        /// The account.
        address: String,
        /// As it is called.
        name: String,
        #[command(flatten)]
        at: At,
    },
}

pub(super) fn who(args: WhoArgs) -> Result<(), String> {
    let WhoArgs { address, json, at } = args;
    match desk::ask_server(&at.data, &Request::Who { address })? {
        Response::Sessions { sessions } if json => say_json(&sessions),
        Response::Sessions { sessions } => {
            for one in sessions {
                let since = i64::try_from(one.since_ms / 1_000).unwrap_or(i64::MAX);
                let since = time::OffsetDateTime::from_unix_timestamp(since).map_or_else(
                    |_| one.since_ms.to_string(),
                    |at| format!("{} {:02}:{:02}:{:02}Z", at.date(), at.hour(), at.minute(), at.second()),
                );
                let tls = if one.tls { "tls" } else { "plain" };
                say(&format!("{:<5} {:<32} {:<24} {since}  {tls}\n", one.protocol, one.account, one.peer));
            }
            Ok(())
        }
        other => Err(desk::strange(&other)),
    }
}

pub(super) fn kick(args: KickArgs) -> Result<(), String> {
    let KickArgs { address, at } = args;
    match desk::ask_server(&at.data, &Request::Kick { address })? {
        Response::Kicked { sessions } => {
            say(&format!("{sessions} sessions end\n"));
            Ok(())
        }
        other => Err(desk::strange(&other)),
    }
}

pub(super) fn login(args: LoginArgs) -> Result<(), String> {
    let LoginArgs { address, smtp, imap, pop3, all, json, at } = args;
    let on = |switch: Option<Switch>| switch.or(all).map(|switch| matches!(switch, Switch::On));
    let request = Request::AccountLogin { address, smtp: on(smtp), imap: on(imap), pop3: on(pop3) };
    match desk::ask(&at.data, request)? {
        Response::Login { login } if json => say_json(&login),
        Response::Login { login } => {
            let word = |on: bool| if on { "on" } else { "off" };
            say(&format!(
                "{}\n  smtp  {}\n  imap  {}\n  pop3  {}\n",
                login.address,
                word(login.smtp),
                word(login.imap),
                word(login.pop3)
            ));
            if !login.own_hash {
                say("  its hash is another server's until it logs in\n");
            }
            if !login.scram {
                say("  it has no keys for SCRAM until it logs in\n");
            }
            Ok(())
        }
        other => Err(desk::strange(&other)),
    }
}

pub(super) fn app_password(args: AppPasswordArgs) -> Result<(), String> {
    match args.verb {
        AppPasswordVerb::Add { address, name, protocol, json, at } => {
            match desk::ask(&at.data, Request::AppPasswordAdd { address, name, protocols: protocol })? {
                made @ Response::AppPassword { .. } if json => say_json(&made),
                Response::AppPassword { password, .. } => {
                    eprintln!("This password is shown once:");
                    say(&format!("{}\n", *password.0));
                    Ok(())
                }
                other => Err(desk::strange(&other)),
            }
        }
        AppPasswordVerb::List { address, json, at } => {
            match desk::ask(&at.data, Request::AppPasswordList { address })? {
                Response::AppPasswords { passwords } if json => say_json(&passwords),
                Response::AppPasswords { passwords } => {
                    for one in passwords {
                        let used = one.last_used.as_deref().unwrap_or("never");
                        let protocols = one.protocols.join(",");
                        say(&format!("{:<24} made {}  used {used}  {protocols}\n", one.name, one.created));
                    }
                    Ok(())
                }
                other => Err(desk::strange(&other)),
            }
        }
        AppPasswordVerb::Remove { address, name, at } => {
            desk::ask(&at.data, Request::AppPasswordRemove { address, name }).map(|_| ())
        }
    }
}
