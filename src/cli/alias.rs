//! `ringpost alias` and `ringpost group`: one address that stands for others.

use clap::{Args, Subcommand};

use super::rules::{ask, strange};
use super::{At, say, say_json};
use crate::admin::routing::{Ask, ListView, Told};

/// Aliases: an address whose mail goes to other addresses of this server.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost alias add sales@example.org alice@example.org bob@example.org
  ringpost alias list --domain example.org
  ringpost alias remove sales@example.org
  ringpost route sales@example.org            where a letter for it would go

Whoever an alias leads to may send with its address. A group is the same for many, without that.")]
pub(super) struct AliasArgs {
    #[command(subcommand)]
    verb: AliasVerb,
}

#[derive(Subcommand, Debug)]
enum AliasVerb {
    /// Make an alias, or replace where it leads.
    #[command(after_help = "\
Examples:
  ringpost alias add info@example.org alice@example.org
  ringpost alias add sales@example.org alice@example.org bob@example.org")]
    Add {
        /// Its address: of a domain of this server, and no account's.
        address: String,
        /// Accounts, aliases or groups of this server.
        #[arg(required = true, value_name = "TARGET")]
        targets: Vec<String>,
        #[command(flatten)]
        at: At,
    },
    /// Remove an alias.
    #[command(after_help = "Example:\n  ringpost alias remove info@example.org")]
    Remove {
        /// Its address.
        address: String,
        #[command(flatten)]
        at: At,
    },
    /// Show the aliases, one a line: address, then where it leads.
    #[command(after_help = "Examples:\n  ringpost alias list\n  ringpost alias list --domain example.org --json")]
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
}

/// Groups: named lists of addresses of this server, whose members come and go.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost group add staff@example.org alice@example.org bob@example.org
  ringpost group join staff@example.org carol@example.org
  ringpost group leave staff@example.org bob@example.org
  ringpost group list
  ringpost group remove staff@example.org

A letter to a group is stored once for each member, also where groups are members of groups. Members may not send with
the group's address, unless `ringpost account sender` grants it.")]
pub(super) struct GroupArgs {
    #[command(subcommand)]
    verb: GroupVerb,
}

#[derive(Subcommand, Debug)]
enum GroupVerb {
    /// Make a group, or replace its members.
    #[command(after_help = "Example:\n  ringpost group add staff@example.org alice@example.org bob@example.org")]
    Add {
        /// Its address: of a domain of this server, and no account's.
        address: String,
        /// Accounts, aliases or groups of this server.
        #[arg(required = true, value_name = "MEMBER")]
        members: Vec<String>,
        #[command(flatten)]
        at: At,
    },
    /// Add members.
    #[command(after_help = "Example:\n  ringpost group join staff@example.org carol@example.org")]
    Join {
        /// The group.
        address: String,
        /// Who comes.
        #[arg(required = true, value_name = "MEMBER")]
        members: Vec<String>,
        #[command(flatten)]
        at: At,
    },
    /// Remove members.
    #[command(after_help = "Example:\n  ringpost group leave staff@example.org bob@example.org")]
    Leave {
        /// The group.
        address: String,
        /// Who goes.
        #[arg(required = true, value_name = "MEMBER")]
        members: Vec<String>,
        #[command(flatten)]
        at: At,
    },
    /// Remove a group.
    #[command(after_help = "Example:\n  ringpost group remove staff@example.org")]
    Remove {
        /// Its address.
        address: String,
        #[command(flatten)]
        at: At,
    },
    /// Show the groups, one a line: address, then its members.
    #[command(after_help = "Examples:\n  ringpost group list\n  ringpost group list --domain example.org --json")]
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
}

pub(super) fn run(args: AliasArgs) -> Result<(), String> {
    match args.verb {
        AliasVerb::Add { address, targets, at } => {
            ask(&at.data, Ask::ListPut { address, group: false, targets }).map(|_| ())
        }
        AliasVerb::Remove { address, at } => ask(&at.data, Ask::ListRemove { address, group: false }).map(|_| ()),
        AliasVerb::List { domain, json, at } => show(ask(&at.data, Ask::Lists { group: false, domain })?, json),
    }
}

pub(super) fn run_group(args: GroupArgs) -> Result<(), String> {
    match args.verb {
        GroupVerb::Add { address, members, at } => {
            ask(&at.data, Ask::ListPut { address, group: true, targets: members }).map(|_| ())
        }
        GroupVerb::Join { address, members, at } => {
            ask(&at.data, Ask::ListChange { address, join: members, leave: Vec::new() }).map(|_| ())
        }
        GroupVerb::Leave { address, members, at } => {
            ask(&at.data, Ask::ListChange { address, join: Vec::new(), leave: members }).map(|_| ())
        }
        GroupVerb::Remove { address, at } => ask(&at.data, Ask::ListRemove { address, group: true }).map(|_| ()),
        GroupVerb::List { domain, json, at } => show(ask(&at.data, Ask::Lists { group: true, domain })?, json),
    }
}

fn show(told: Told, json: bool) -> Result<(), String> {
    match told {
        Told::Lists(lists) if json => say_json(&lists),
        Told::Lists(lists) => {
            for ListView { address, targets, .. } in lists {
                say(&format!("{address}  {}\n", targets.join(" ")));
            }
            Ok(())
        }
        other => Err(strange(other)),
    }
}
