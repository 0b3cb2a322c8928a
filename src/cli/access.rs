//! `ringpost ban`, `unban`, `bans` and `ringpost access`: who is let in, and who is not.

use clap::{Args, Subcommand, ValueEnum};

use super::rules::{ask, in_words, span, strange};
use super::{At, say, say_json};
use crate::admin::routing::{AccessView, Ask, Told};
use crate::directory::catalogue::Table;

/// Refuse every connection of mail from an address or network, at once and on every door.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost ban 192.0.2.7 --for 1h
  ringpost ban 2001:db8::/32 --why 'password guessing, ticket 1234'
  ringpost bans
  ringpost unban 192.0.2.7

Connections that are open go on. `ringpost access allow client NETWORK` lets a part of a banned network in.")]
pub(super) struct BanArgs {
    /// An address, or a network such as 192.0.2.0/24 or 2001:db8::/32.
    #[arg(value_name = "ADDRESS|CIDR")]
    network: String,
    /// For so long: 90s, 30m, 1h, 7d, 2w; without it until it is taken back.
    #[arg(long = "for", value_name = "TIME", value_parser = span)]
    for_s: Option<u64>,
    /// Why, for the list and the log. Who is banned is not told.
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
    #[command(flatten)]
    at: At,
}

/// Take a ban back.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  ringpost unban 192.0.2.7")]
pub(super) struct UnbanArgs {
    /// As `ringpost bans` shows it.
    #[arg(value_name = "ADDRESS|CIDR")]
    network: String,
    #[command(flatten)]
    at: At,
}

/// Show the banned networks, one a line: network, time left, why.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  ringpost bans\n  ringpost bans --json")]
pub(super) struct BansArgs {
    /// As a JSON array.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

/// Deny or allow by client network, HELO name, sender or recipient.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost access deny sender .example.net --for 7d --why 'spam run'
  ringpost access allow sender partner@mail.example.net
  ringpost access deny recipient old@example.org
  ringpost access deny helo ylmf-pc
  ringpost access list

The narrowest entry of a table decides: an address before its domain, a domain before `.domain` (all names below it), a
small network before a large one. `<>` is the null sender. Logged-in senders are asked for recipients alone.

What is allowed, by client, HELO name or sender, is not asked about by the filters of [filter] either.")]
pub(super) struct AccessArgs {
    #[command(subcommand)]
    verb: AccessVerb,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    /// The network a connection comes from.
    Client,
    /// The name a client gives itself.
    Helo,
    /// MAIL FROM.
    Sender,
    /// RCPT TO.
    Recipient,
}

#[derive(Subcommand, Debug)]
enum AccessVerb {
    /// Refuse what an entry is about.
    #[command(after_help = "Example:\n  ringpost access deny sender spam.example.net --for 7d --why 'spam run'")]
    Deny(Entry),
    /// Let in what an entry is about, where a wider entry refuses it.
    #[command(after_help = "Example:\n  ringpost access allow client 192.0.2.7")]
    Allow(Entry),
    /// Take an entry out.
    #[command(after_help = "Example:\n  ringpost access remove sender spam.example.net")]
    Remove {
        /// Which table.
        by: By,
        /// As the list shows it.
        entry: String,
        #[command(flatten)]
        at: At,
    },
    /// Show the entries, one a line.
    #[command(after_help = "Examples:\n  ringpost access list\n  ringpost access list --json")]
    List {
        /// As a JSON array.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: At,
    },
}

#[derive(Args, Debug)]
struct Entry {
    /// Which table.
    by: By,
    /// A network; a name; an address; a domain, or `.domain` for all below it.
    entry: String,
    /// For so long: 90s, 30m, 1h, 7d, 2w; without it until it is removed.
    #[arg(long = "for", value_name = "TIME", value_parser = span)]
    for_s: Option<u64>,
    /// Why, for the list and the log.
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
    #[command(flatten)]
    at: At,
}

impl By {
    fn table(self) -> Table {
        match self {
            By::Client => Table::Client,
            By::Helo => Table::Helo,
            By::Sender => Table::Sender,
            By::Recipient => Table::Recipient,
        }
    }
}

pub(super) fn ban(args: BanArgs) -> Result<(), String> {
    let BanArgs { network, for_s, why, at } = args;
    ask(&at.data, Ask::AccessPut { table: Table::Client, entry: network, deny: true, for_s, why }).map(|_| ())
}

pub(super) fn unban(args: UnbanArgs) -> Result<(), String> {
    ask(&args.at.data, Ask::AccessRemove { table: Table::Client, entry: args.network }).map(|_| ())
}

pub(super) fn bans(args: BansArgs) -> Result<(), String> {
    match ask(&args.at.data, Ask::Access { table: Some(Table::Client) })? {
        Told::Access(mut entries) => {
            entries.retain(|entry| entry.deny);
            show(&entries, args.json, |entry| entry.entry.clone())
        }
        other => Err(strange(other)),
    }
}

pub(super) fn run(args: AccessArgs) -> Result<(), String> {
    match args.verb {
        AccessVerb::Deny(entry) => put(entry, true),
        AccessVerb::Allow(entry) => put(entry, false),
        AccessVerb::Remove { by, entry, at } => {
            ask(&at.data, Ask::AccessRemove { table: by.table(), entry }).map(|_| ())
        }
        AccessVerb::List { json, at } => match ask(&at.data, Ask::Access { table: None })? {
            Told::Access(entries) => show(&entries, json, |entry| {
                format!("{} {} {}", if entry.deny { "deny " } else { "allow" }, entry.table.word(), entry.entry)
            }),
            other => Err(strange(other)),
        },
    }
}

fn put(entry: Entry, deny: bool) -> Result<(), String> {
    let Entry { by, entry, for_s, why, at } = entry;
    ask(&at.data, Ask::AccessPut { table: by.table(), entry, deny, for_s, why }).map(|_| ())
}

fn show(entries: &[AccessView], json: bool, title: impl Fn(&AccessView) -> String) -> Result<(), String> {
    if json {
        return say_json(&entries);
    }
    for entry in entries {
        let left = entry.left_s.map_or("for good".to_owned(), |s| format!("{} left", in_words(s)));
        say(&format!("{}  {left}  {}\n", title(entry), entry.why.escape_debug()));
    }
    Ok(())
}
