//! `ringpost account`: who has mailboxes here, and their passwords.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{At, account_rules, desk, job, logins, password, say, say_json, undelete};
use crate::admin::{NewAccount, Request, Response};

/// Accounts: who has mailboxes here, where their mail goes on to, and what they may send.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost account add alice@example.org                                makes a password and shows it once
  pass show alice | ringpost account add alice@example.org --password-stdin
  ringpost account add --from-file people.txt                           one `address password` a line
  ringpost account passwd alice@example.org
  ringpost account list --domain example.org
  ringpost account forward alice@example.org bob@example.org
  ringpost account limits alice@example.org --messages-per-hour 100
  ringpost account undelete alice@example.org --since 2h --dry-run")]
pub(super) struct AccountArgs {
    #[command(subcommand)]
    verb: AccountVerb,
}

#[derive(Subcommand, Debug)]
enum AccountVerb {
    /// Make accounts. A password that is not given is made and shown once.
    #[command(after_help = "\
Examples:
  ringpost account add alice@example.org bob@example.org
  pass show alice | ringpost account add alice@example.org --password-stdin
  ringpost account add --from-file people.txt
  ringpost account add --from-file shadow.txt --hashed
  ringpost account add dora@example.org --hash '$6$salt$...'
  printf 'carol@example.org %s\\n' \"$PASSWORD\" | ringpost account add --from-file -

Hashes of another server are taken as they are, and replaced by our own when their password is used: crypt ($1$, $5$, $6$),
bcrypt, Argon2, PBKDF2, {SSHA}, {SSHA256}, {SSHA512}, with Dovecot's {SCHEME} before them or without.

If one of them cannot be made, none is (in files: none of its five hundred).")]
    Add {
        /// Addresses, as user@domain. The domain must be known (`ringpost domain add`).
        #[arg(value_name = "ADDRESS", required_unless_present = "from_file")]
        addresses: Vec<String>,
        /// Take the password from the first line of standard input; with one ADDRESS.
        #[arg(long, conflicts_with = "from_file")]
        password_stdin: bool,
        /// Take accounts from a file, one `address password` a line; `-` is standard input.
        #[arg(long, value_name = "FILE", conflicts_with = "addresses")]
        from_file: Option<PathBuf>,
        /// What is given is no password but its hash, as another server has it: with one ADDRESS.
        #[arg(long, value_name = "HASH", conflicts_with_all = ["password_stdin", "from_file"])]
        hash: Option<String>,
        /// The file has hashes in the place of passwords.
        #[arg(long, requires = "from_file")]
        hashed: bool,
        /// Show made passwords as a JSON array.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: At,
    },
    /// Remove an account with all its mail. This cannot be undone.
    #[command(after_help = "Example:\n  ringpost account remove alice@example.org")]
    Remove {
        /// Its address.
        address: String,
        #[command(flatten)]
        at: At,
    },
    /// Give an account another name. Its mail, passwords and rules stay, and what leads to it follows.
    #[command(after_help = "\
Examples:
  ringpost account rename alice@example.org alicia@example.org
  ringpost account rename alice@example.org alicia@example.org --keep-alias
  ringpost account rename alice@example.org alice@example.net             to another domain of this server

What stays: mailboxes with their UIDs, password, app passwords, quota, limits, suspension, forwards and journals of its own.
What follows: aliases, groups, forwards, journals, catch-alls and grants to send that name it. They name it so from now on.
What does not: `ringpost access` and `ban`, which are about addresses, not about whose they are.

Sessions under the old name end, and one logs in by the new name: mail programs have to be told. Mail for the old name is refused
(550 5.1.1) unless --keep-alias makes an alias of it; with it the account may still send as the old name, too. A name that
an account, alias or group has is refused. After a crash in the middle it has the old name or the new one, and all else fits.")]
    Rename {
        /// Its address.
        old: String,
        /// The address it is to have. Its domain must be known (`ringpost domain add`).
        new: String,
        /// The old address becomes an alias of the new one.
        #[arg(long)]
        keep_alias: bool,
        #[command(flatten)]
        at: At,
    },
    /// Show the accounts, one a line.
    #[command(after_help = "Examples:\n  ringpost account list\n  ringpost account list --domain example.org --json")]
    List {
        /// Of this domain alone.
        #[arg(long, value_name = "DOMAIN")]
        domain: Option<String>,
        /// As a JSON array.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: At,
    },
    /// Move an account to another volume, while it is in use. UIDs stay; conversations of it end.
    #[command(
        after_help = "Example:\n  ringpost account move alice@example.org --to 1\n\n`ringpost volume list` shows the volumes."
    )]
    Move {
        /// Its address.
        address: String,
        /// The number of the volume.
        #[arg(long, value_name = "VOLUME")]
        to: u16,
        #[command(flatten)]
        at: At,
    },
    /// Show what an account keeps and may keep, or set that.
    #[command(after_help = "\
Examples:
  ringpost account quota alice@example.org
  ringpost account quota alice@example.org --storage 5GiB --messages 100000
  ringpost account quota alice@example.org --storage none")]
    Quota {
        /// The account.
        address: String,
        /// Octets of all its messages together: a number, with KiB, MiB, GiB or TiB behind it; or none.
        #[arg(long, value_name = "SIZE", value_parser = size)]
        storage: Option<u64>,
        /// Messages; or none.
        #[arg(long, value_name = "N", value_parser = count)]
        messages: Option<u32>,
        /// As a JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: At,
    },
    Forward(account_rules::ForwardArgs),
    Subaddress(account_rules::SubaddressArgs),
    Journal(account_rules::JournalArgs),
    Sender(account_rules::SenderArgs),
    Limits(account_rules::LimitsArgs),
    Suspend(account_rules::SuspendArgs),
    Resume(account_rules::ResumeArgs),
    Undelete(undelete::UndeleteArgs),
    Login(logins::LoginArgs),
    AppPassword(logins::AppPasswordArgs),
    /// Change a password. Without --password-stdin one is made and shown once.
    #[command(after_help = "\
Examples:
  ringpost account passwd alice@example.org
  pass show alice | ringpost account passwd alice@example.org --password-stdin")]
    Passwd {
        /// The account.
        address: String,
        /// Take the password from the first line of standard input.
        #[arg(long)]
        password_stdin: bool,
        /// Take the hash of one, as another server has it.
        #[arg(long, value_name = "HASH", conflicts_with = "password_stdin")]
        hash: Option<String>,
        /// Show a made password as a JSON array.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: At,
    },
}

pub(super) fn run(args: AccountArgs) -> Result<(), String> {
    match args.verb {
        AccountVerb::Add { addresses, password_stdin, from_file, hash, hashed, json, at } => {
            let accounts = match from_file {
                Some(file) if hashed => password::hashes_from_file(&file)?,
                Some(file) => password::from_file(&file)?,
                None => named(addresses, password_stdin, hash)?,
            };
            show_passwords(&desk::add_accounts(&at.data, accounts)?, json)
        }
        AccountVerb::Remove { address, at } => desk::ask(&at.data, Request::AccountRemove { address }).map(|_| ()),
        AccountVerb::Rename { old: address, new: to, keep_alias, at } => {
            desk::ask(&at.data, Request::AccountRename { address, to, keep_alias }).map(|_| ())
        }
        AccountVerb::List { domain, json, at } => match desk::ask(&at.data, Request::AccountList { domain })? {
            Response::Accounts { accounts } if json => say_json(&accounts),
            Response::Accounts { accounts } => {
                accounts.iter().for_each(|a| say(&format!("{}\n", a.address)));
                Ok(())
            }
            other => Err(desk::strange(&other)),
        },
        AccountVerb::Move { address, to, at } => {
            desk::with_session(&at.data, |session| job::follow(session, &Request::AccountMove { address, to }))
        }
        AccountVerb::Quota { address, storage, messages, json, at } => {
            match desk::ask(&at.data, Request::AccountQuota { address, bytes: storage, messages })? {
                Response::Quota { quota } if json => say_json(&quota),
                Response::Quota { quota } => {
                    let of = |limit: Option<String>| limit.unwrap_or_else(|| "no limit".to_owned());
                    say(&format!(
                        "{}\n  storage   {} of {}\n  messages  {} of {}\n",
                        quota.address,
                        in_units(quota.used_bytes),
                        of(quota.limit_bytes.map(in_units)),
                        quota.used_messages,
                        of(quota.limit_messages.map(|n| n.to_string())),
                    ));
                    Ok(())
                }
                other => Err(desk::strange(&other)),
            }
        }
        AccountVerb::Forward(args) => account_rules::forward(args),
        AccountVerb::Subaddress(args) => account_rules::subaddress(args),
        AccountVerb::Journal(args) => account_rules::journal(args),
        AccountVerb::Sender(args) => account_rules::sender(args),
        AccountVerb::Limits(args) => account_rules::limits(args),
        AccountVerb::Suspend(args) => account_rules::suspend(args),
        AccountVerb::Resume(args) => account_rules::resume(args),
        AccountVerb::Undelete(args) => undelete::run(args),
        AccountVerb::Login(args) => logins::login(args),
        AccountVerb::AppPassword(args) => logins::app_password(args),
        AccountVerb::Passwd { address, password_stdin, hash, json, at } => {
            let account = named(vec![address], password_stdin, hash)?.remove(0);
            match desk::ask(&at.data, Request::AccountPasswd { account })? {
                Response::Accounts { accounts } => show_passwords(&accounts, json),
                other => Err(desk::strange(&other)),
            }
        }
    }
}

const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

/// `5GiB`, `1048576`, or `none`, which is 0.
fn size(text: &str) -> Result<u64, String> {
    if text == "none" {
        return Ok(0);
    }
    let (number, shift) =
        UNITS.into_iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift))).unwrap_or((text, 0));
    let octets = number.trim_end().parse::<u64>().ok().filter(|n| *n > 0 && *n <= u64::MAX >> shift);
    octets.map(|n| n << shift).ok_or_else(|| "write a size like 500MiB or 5GiB, or none".to_owned())
}

fn count(text: &str) -> Result<u32, String> {
    match text {
        "none" => Ok(0),
        _ => text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "write a whole number, or none".to_owned()),
    }
}

/// Octets for people: in the largest unit of which there is one.
fn in_units(octets: u64) -> String {
    match UNITS.into_iter().find(|(_, shift)| octets >> shift > 0) {
        Some((unit, shift)) => format!("{:.1} {unit}", octets as f64 / (1_u64 << shift) as f64),
        None => format!("{octets} octets"),
    }
}

fn named(addresses: Vec<String>, password_stdin: bool, hash: Option<String>) -> Result<Vec<NewAccount>, String> {
    if hash.is_some() && addresses.len() > 1 {
        return Err("--hash is for one ADDRESS: use --from-file with --hashed for several".to_owned());
    }
    if password_stdin && addresses.len() > 1 {
        return Err("--password-stdin is for one ADDRESS: use --from-file for several".to_owned());
    }
    let password = password_stdin.then(password::from_stdin).transpose()?;
    Ok(addresses
        .into_iter()
        .map(|address| NewAccount { address, password: password.clone(), hash: hash.clone() })
        .collect())
}

/// Shows the passwords that were made, once.
fn show_passwords(accounts: &[NewAccount], json: bool) -> Result<(), String> {
    if json {
        return say_json(&accounts);
    }
    let made: Vec<_> = accounts.iter().filter_map(|a| Some((&a.address, a.password.as_ref()?))).collect();
    if !made.is_empty() {
        eprintln!("These passwords are shown once:");
    }
    made.iter().for_each(|(address, password)| say(&format!("{address}  {}\n", *password.0)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown_in_units() {
        for (text, octets) in [("none", 0), ("1", 1), ("5GiB", 5 << 30), ("2 TiB", 2 << 40), ("7KiB", 7 << 10)] {
            assert_eq!(size(text), Ok(octets), "{text}");
        }
        for bad in ["", "0", "-1", "5GB", "GiB", "99999999TiB", "1.5GiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!((in_units(1_023), in_units(3 << 29)), ("1023 octets".to_owned(), "1.5 GiB".to_owned()));
        assert_eq!((count("none"), count("7")), (Ok(0), Ok(7)));
    }
}
