//! `ringpost domain`: the domains this server accepts mail for. How their mail goes is in `domain_rules`.

use clap::{Args, Subcommand};

use super::{At, desk, domain_rules, say, say_json};
use crate::admin::{Request, Response};

/// The domains this server accepts mail for, and how their mail goes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost domain add example.org
  ringpost domain list --json
  ringpost domain alias add example.net example.org     alice@example.net is alice@example.org
  ringpost domain catch-all example.org info@example.org
  ringpost domain subaddress example.org +
  ringpost domain postmaster default postmaster@example.org
  ringpost domain remove example.org --data /var/lib/ringpost")]
pub(super) struct DomainArgs {
    #[command(subcommand)]
    verb: DomainVerb,
}

#[derive(Subcommand, Debug)]
enum DomainVerb {
    /// Accept mail for a domain.
    #[command(after_help = "Examples:\n  ringpost domain add example.org\n  ringpost domain add xn--bcher-kva.example")]
    Add {
        /// Its name, in the ASCII form that DNS uses.
        domain: String,
        #[command(flatten)]
        at: At,
    },
    /// Accept mail for a domain no longer. Its accounts must be removed first.
    #[command(after_help = "Example:\n  ringpost domain remove example.org")]
    Remove {
        /// Its name.
        domain: String,
        #[command(flatten)]
        at: At,
    },
    Alias(domain_rules::DomainAliasArgs),
    CatchAll(domain_rules::CatchAllArgs),
    Subaddress(domain_rules::SubaddressArgs),
    Postmaster(domain_rules::PostmasterArgs),
    Journal(domain_rules::JournalArgs),
    /// Show the domains, one a line.
    #[command(after_help = "Examples:\n  ringpost domain list\n  ringpost domain list --json")]
    List {
        /// As a JSON array.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: At,
    },
}

pub(super) fn run(args: DomainArgs) -> Result<(), String> {
    match args.verb {
        DomainVerb::Add { domain, at } => {
            desk::ask(&at.data, Request::DomainAdd { domain })?;
        }
        DomainVerb::Remove { domain, at } => {
            desk::ask(&at.data, Request::DomainRemove { domain })?;
        }
        DomainVerb::Alias(args) => domain_rules::alias(args)?,
        DomainVerb::CatchAll(args) => domain_rules::catch_all(args)?,
        DomainVerb::Subaddress(args) => domain_rules::subaddress(args)?,
        DomainVerb::Postmaster(args) => domain_rules::postmaster(args)?,
        DomainVerb::Journal(args) => domain_rules::journal(args)?,
        DomainVerb::List { json, at } => match desk::ask(&at.data, Request::DomainList {})? {
            Response::Domains { domains } if json => say_json(&domains)?,
            Response::Domains { domains } => domains.iter().for_each(|d| say(&format!("{d}\n"))),
            other => return Err(desk::strange(&other)),
        },
    }
    Ok(())
}
