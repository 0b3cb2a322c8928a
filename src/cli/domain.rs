//! `ringpost domain`: the domains this server accepts mail for.

use clap::{Args, Subcommand};

use super::{At, desk, say, say_json};
use crate::admin::{Request, Response};

/// Add, remove or list the domains this server accepts mail for.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ringpost domain add example.org
  ringpost domain list --json
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
        DomainVerb::List { json, at } => match desk::ask(&at.data, Request::DomainList {})? {
            Response::Domains { domains } if json => say_json(&domains)?,
            Response::Domains { domains } => domains.iter().for_each(|d| say(&format!("{d}\n"))),
            other => return Err(desk::strange(&other)),
        },
    }
    Ok(())
}
