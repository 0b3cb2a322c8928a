//! `ringpost domain alias|catch-all|subaddress|postmaster|journal`: how a domain's mail goes.

use clap::{Args, Subcommand};

use super::rules::{NONE, ask, joined, line, or_none, strange};
use super::{At, say, say_json};
use crate::admin::routing::{Ask, DomainAliasView, DomainSet, Told};
use crate::directory::catalogue::DomainRules;

/// Other names of a domain: all its addresses exist under each of them.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost domain alias add example.net example.org     alice@example.net is alice@example.org
  ringpost domain alias list
  ringpost domain alias remove example.net")]
pub(super) struct DomainAliasArgs {
    #[command(subcommand)]
    verb: DomainAliasVerb,
}

#[derive(Subcommand, Debug)]
enum DomainAliasVerb {
    /// Give a domain another name.
    #[command(after_help = "Example:\n  ringpost domain alias add example.net example.org")]
    Add {
        /// The other name.
        alias: String,
        /// The domain.
        domain: String,
        #[command(flatten)]
        at: At,
    },
    /// Take the other name away.
    #[command(after_help = "Example:\n  ringpost domain alias remove example.net")]
    Remove {
        /// The other name.
        alias: String,
        #[command(flatten)]
        at: At,
    },
    /// Show other names and their domains, one a line.
    #[command(after_help = "Examples:\n  ringpost domain alias list\n  ringpost domain alias list --json")]
    List {
        /// As a JSON array.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: At,
    },
}

/// Who gets mail for addresses of a domain that nobody has. Shows it, or sets it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost domain catch-all example.org
  ringpost domain catch-all example.org info@example.org
  ringpost domain catch-all example.org none

A catch-all takes in all that is guessed by senders of spam: an alias for each name that is wanted is better.")]
pub(super) struct CatchAllArgs {
    /// The domain.
    domain: String,
    /// Who gets it, or none.
    target: Option<String>,
    #[command(flatten)]
    at: At,
}

/// At which characters a subaddress begins: alice+shop@ is alice's. Shows it, or sets it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost domain subaddress example.org
  ringpost domain subaddress example.org +-       alice-shop@ is alice's too
  ringpost domain subaddress example.org none
  ringpost domain subaddress default +            of all domains that say nothing of their own

`ringpost account subaddress` says whether it goes to the folder of that name.")]
pub(super) struct SubaddressArgs {
    /// The domain, or `default`.
    domain: String,
    /// One or more of + - = _ # ~; none; or default.
    #[arg(allow_hyphen_values = true)]
    separator: Option<String>,
    #[command(flatten)]
    at: At,
}

/// Who gets mail for postmaster@ and abuse@ where these are no accounts or aliases. Shows it, or sets it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost domain postmaster example.org
  ringpost domain postmaster example.org alice@example.org
  ringpost domain postmaster default postmaster@example.org    of all domains that say nothing of their own
  ringpost domain postmaster example.org none

Where nothing is said, any account that is called postmaster gets it.")]
pub(super) struct PostmasterArgs {
    /// The domain, or `default`.
    domain: String,
    /// Who gets it, or none.
    target: Option<String>,
    #[command(flatten)]
    at: At,
}

/// Who gets a copy of all that comes for a domain's accounts. Shows them, or sets them.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost domain journal example.org
  ringpost domain journal example.org archive@example.org
  ringpost domain journal example.org none")]
pub(super) struct JournalArgs {
    /// The domain.
    domain: String,
    /// Who gets it, or none.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    #[command(flatten)]
    at: At,
}

pub(super) fn alias(args: DomainAliasArgs) -> Result<(), String> {
    match args.verb {
        DomainAliasVerb::Add { alias, domain, at } => ask(&at.data, Ask::DomainAliasPut { alias, domain }).map(|_| ()),
        DomainAliasVerb::Remove { alias, at } => ask(&at.data, Ask::DomainAliasRemove { alias }).map(|_| ()),
        DomainAliasVerb::List { json, at } => match ask(&at.data, Ask::DomainAliases {})? {
            Told::DomainAliases(aliases) if json => say_json(&aliases),
            Told::DomainAliases(aliases) => {
                for DomainAliasView { alias, domain } in aliases {
                    say(&format!("{alias}  {domain}\n"));
                }
                Ok(())
            }
            other => Err(strange(other)),
        },
    }
}

pub(super) fn catch_all(args: CatchAllArgs) -> Result<(), String> {
    set(args.domain, args.at, DomainSet { catch_all: args.target.map(cleared), ..DomainSet::default() })
}

pub(super) fn subaddress(args: SubaddressArgs) -> Result<(), String> {
    set(args.domain, args.at, DomainSet { separator: args.separator, ..DomainSet::default() })
}

pub(super) fn postmaster(args: PostmasterArgs) -> Result<(), String> {
    set(args.domain, args.at, DomainSet { postmaster: args.target.map(cleared), ..DomainSet::default() })
}

pub(super) fn journal(args: JournalArgs) -> Result<(), String> {
    let journal = Some(args.targets).filter(|given| !given.is_empty()).map(or_none);
    set(args.domain, args.at, DomainSet { journal, ..DomainSet::default() })
}

fn cleared(target: String) -> String {
    if target == NONE { String::new() } else { target }
}

fn set(domain: String, at: At, set: DomainSet) -> Result<(), String> {
    match ask(&at.data, Ask::Domain { domain: domain.clone(), set })? {
        Told::Domain(rules) => {
            let DomainRules { catch_all, separator, postmaster, journal } = rules;
            say(&format!("{domain}\n"));
            line("catch-all", catch_all.as_deref().unwrap_or(NONE));
            line("subaddress", separator.as_deref().map_or("as by default", |s| if s.is_empty() { NONE } else { s }));
            line("postmaster", postmaster.as_deref().unwrap_or("as by default"));
            line("journal", &joined(&journal, NONE));
            Ok(())
        }
        other => Err(strange(other)),
    }
}
