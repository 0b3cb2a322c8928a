//! `ringpost account forward|subaddress|journal|sender|suspend|resume|limits`: where an account's mail goes on to, and what it
//! may send.

use clap::{Args, ValueEnum};

use super::rules::{NONE, ask, joined, line, or_none, strange};
use super::{At, say};
use crate::admin::routing::{AccountSet, Ask, Told};
use crate::directory::catalogue::{AccountRules, SendLimits};

/// Send an account's mail on to other addresses of this server. Shows where it goes, or sets it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost account forward alice@example.org
  ringpost account forward alice@example.org bob@example.org            and keep a copy
  ringpost account forward alice@example.org bob@example.org --no-keep
  ringpost account forward alice@example.org none")]
pub(super) struct ForwardArgs {
    /// The account.
    address: String,
    /// Who gets its mail, or none.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// Keep no copy.
    #[arg(long, conflicts_with = "keep")]
    no_keep: bool,
    /// Keep a copy, as without this.
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    at: At,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Where {
    /// The folder of that name, where there is one; else INBOX.
    Folder,
    /// INBOX.
    Inbox,
}

/// Where mail for alice+shop@ goes: to the folder `shop` if there is one, or to INBOX. Shows it, or sets it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost account subaddress alice@example.org
  ringpost account subaddress alice@example.org folder
  ringpost account subaddress alice@example.org inbox")]
pub(super) struct SubaddressArgs {
    /// The account.
    address: String,
    /// Which.
    to: Option<Where>,
    #[command(flatten)]
    at: At,
}

/// Who gets a copy of all that comes for an account and all that it sends. Shows them, or sets them.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost account journal alice@example.org
  ringpost account journal alice@example.org archive@example.org
  ringpost account journal alice@example.org none")]
pub(super) struct JournalArgs {
    /// The account.
    address: String,
    /// Who gets it, or none.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    #[command(flatten)]
    at: At,
}

/// With which addresses an account may send: its own and its aliases, and what is granted here. Shows it, or sets it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost account sender alice@example.org
  ringpost account sender alice@example.org staff@example.org     with the group's address too
  ringpost account sender alice@example.org none
  ringpost account sender scanner@example.org --any               with any address: for machines that make them up
  ringpost account sender scanner@example.org --own")]
pub(super) struct SenderArgs {
    /// The account.
    address: String,
    /// Groups and other addresses of this server, or none.
    #[arg(value_name = "GRANTED")]
    granted: Vec<String>,
    /// With any address.
    #[arg(long, conflicts_with = "own")]
    any: bool,
    /// Not with any address any more.
    #[arg(long)]
    own: bool,
    #[command(flatten)]
    at: At,
}

/// An account may send nothing until it is resumed. It still receives and reads mail.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost account suspend alice@example.org --why 'password was stolen'
  ringpost account resume alice@example.org")]
pub(super) struct SuspendArgs {
    /// The account.
    address: String,
    /// Why, for the log and for who looks; the sender is not told.
    #[arg(long, value_name = "TEXT", default_value = "by an operator")]
    why: String,
    #[command(flatten)]
    at: At,
}

/// An account may send again.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  ringpost account resume alice@example.org")]
pub(super) struct ResumeArgs {
    /// The account.
    address: String,
    #[command(flatten)]
    at: At,
}

/// How much an account may send. Shows it, or sets it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost account limits alice@example.org
  ringpost account limits news@example.org --messages-per-hour 1000 --recipients-per-day 50000
  ringpost account limits news@example.org --recipients-per-message none
  ringpost account limits news@example.org --default

Whoever has sent that much is told to come back later: 450 4.7.1. The defaults are those of the configuration.")]
pub(super) struct LimitsArgs {
    /// The account.
    address: String,
    /// Messages an hour, or none.
    #[arg(long, value_name = "N", value_parser = count)]
    messages_per_hour: Option<u32>,
    /// Messages a day, or none.
    #[arg(long, value_name = "N", value_parser = count)]
    messages_per_day: Option<u32>,
    /// Recipients an hour, or none.
    #[arg(long, value_name = "N", value_parser = count)]
    recipients_per_hour: Option<u32>,
    /// Recipients a day, or none.
    #[arg(long, value_name = "N", value_parser = count)]
    recipients_per_day: Option<u32>,
    /// Recipients of one message, or none.
    #[arg(long, value_name = "N", value_parser = count)]
    recipients_per_message: Option<u32>,
    /// As the configuration has them.
    #[arg(long)]
    default: bool,
    #[command(flatten)]
    at: At,
}

fn count(text: &str) -> Result<u32, String> {
    match text {
        NONE => Ok(0),
        _ => text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "write a whole number, or none".to_owned()),
    }
}

fn given(targets: Vec<String>) -> Option<Vec<String>> {
    Some(targets).filter(|given| !given.is_empty()).map(or_none)
}

pub(super) fn forward(args: ForwardArgs) -> Result<(), String> {
    let keep = if args.no_keep { Some(false) } else { args.keep.then_some(true) };
    set(args.address, &args.at, AccountSet { forward: given(args.targets), keep, ..AccountSet::default() })
}

pub(super) fn subaddress(args: SubaddressArgs) -> Result<(), String> {
    let folders = args.to.map(|to| matches!(to, Where::Folder));
    set(args.address, &args.at, AccountSet { folders, ..AccountSet::default() })
}

pub(super) fn journal(args: JournalArgs) -> Result<(), String> {
    set(args.address, &args.at, AccountSet { journal: given(args.targets), ..AccountSet::default() })
}

pub(super) fn sender(args: SenderArgs) -> Result<(), String> {
    let any_sender = if args.own { Some(false) } else { args.any.then_some(true) };
    set(args.address, &args.at, AccountSet { any_sender, send_as: given(args.granted), ..AccountSet::default() })
}

pub(super) fn suspend(args: SuspendArgs) -> Result<(), String> {
    if args.why.is_empty() {
        return Err("--why may not be empty".to_owned());
    }
    set(args.address, &args.at, AccountSet { suspended: Some(args.why), ..AccountSet::default() })
}

pub(super) fn resume(args: ResumeArgs) -> Result<(), String> {
    set(args.address, &args.at, AccountSet { suspended: Some(String::new()), ..AccountSet::default() })
}

pub(super) fn limits(args: LimitsArgs) -> Result<(), String> {
    let limits = SendLimits {
        messages_hour: args.messages_per_hour,
        messages_day: args.messages_per_day,
        recipients_hour: args.recipients_per_hour,
        recipients_day: args.recipients_per_day,
        recipients_message: args.recipients_per_message,
    };
    set(args.address, &args.at, AccountSet { limits, default_limits: args.default, ..AccountSet::default() })
}

fn set(address: String, at: &At, set: AccountSet) -> Result<(), String> {
    match ask(&at.data, Ask::Account { address: address.clone(), set })? {
        Told::Account(rules) => {
            show(&address, rules);
            Ok(())
        }
        other => Err(strange(other)),
    }
}

fn show(address: &str, rules: AccountRules) {
    let AccountRules { forward, keep, folders, journal, any_sender, send_as, suspended, limits } = rules;
    say(&format!("{address}\n"));
    let copy = if keep { ", and keeps a copy" } else { ", and keeps none" };
    line("forward", &format!("{}{}", joined(&forward, NONE), if forward.is_empty() { "" } else { copy }));
    line("subaddress", if folders { "to the folder of that name" } else { "to INBOX" });
    line("journal", &joined(&journal, NONE));
    line("sends as", &if any_sender { "anybody".to_owned() } else { joined(&send_as, "itself and its aliases") });
    line("may send", &suspended.map_or("yes".to_owned(), |why| format!("no: {}", why.escape_debug())));
    let one = |limit: Option<u32>| match limit {
        None => "as by default".to_owned(),
        Some(0) => "no limit".to_owned(),
        Some(n) => n.to_string(),
    };
    line("messages", &format!("{} an hour, {} a day", one(limits.messages_hour), one(limits.messages_day)));
    line("recipients", &format!("{} an hour, {} a day", one(limits.recipients_hour), one(limits.recipients_day)));
    line("", &format!("{} a message", one(limits.recipients_message)));
}
