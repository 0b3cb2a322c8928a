//! Where mail goes and who is let in: what an operator may ask of the catalogue's rules.
//!
//! A rule names addresses of ours alone, and those must lead somewhere when it is made: mail for elsewhere waits for the queue.
//! What it names may go later; then it is passed over (see `route::expand`).
//!
//! ```text
//! {"verb":"routing","ask":{"what":"list-put","address":"sales@ringpost.test","group":false,"targets":["alice@ringpost.test"]}}
//! {"answer":"routing","told":{"lists":[{"address":"sales@ringpost.test","group":false,"targets":["alice@ringpost.test"]}]}}
//! ```

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::{Response, Trouble, catalogue, names, respond};
use crate::directory::catalogue::{AccountRules, DomainRules, TARGETS_MAX, Table};
use crate::office::Office;
use crate::route::{Nowhere, expand, expand_let_in};
use crate::shard;

mod access;
mod accounts;
mod domains;
mod lists;

pub use access::AccessView;
pub(super) use accounts::forget_account;
pub use accounts::{AccountSet, suspend};
pub use domains::DomainSet;

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// Makes an alias or a group, or replaces what it leads to.
    ListPut {
        /// Its address.
        address: String,
        /// A group, whose members come and go.
        group: bool,
        /// Addresses of ours.
        targets: Vec<String>,
    },
    /// Members come and go.
    ListChange {
        /// The address of a group.
        address: String,
        /// Who comes.
        #[serde(default)]
        join: Vec<String>,
        /// Who goes.
        #[serde(default)]
        leave: Vec<String>,
    },
    /// Removes an alias or a group.
    ListRemove {
        /// Its address.
        address: String,
        /// Which of the two it is.
        group: bool,
    },
    /// Aliases, or groups.
    Lists {
        /// Which of the two.
        group: bool,
        /// Of this domain alone.
        #[serde(default)]
        domain: Option<String>,
    },
    /// Another name of a domain.
    DomainAliasPut {
        /// The name.
        alias: String,
        /// The domain.
        domain: String,
    },
    /// It is a name of that domain no more.
    DomainAliasRemove {
        /// The name.
        alias: String,
    },
    /// Other names of domains.
    DomainAliases {},
    /// Shows a domain's rules, and sets what is given.
    Domain {
        /// Its name, or `default`: of domains that say nothing of their own.
        domain: String,
        /// What is set.
        #[serde(default)]
        set: DomainSet,
    },
    /// Shows an account's rules, and sets what is given.
    Account {
        /// Its address.
        address: String,
        /// What is set.
        #[serde(default)]
        set: AccountSet,
    },
    /// Lets somebody in, or not.
    AccessPut {
        /// By what.
        table: Table,
        /// What is looked for.
        entry: String,
        /// Refused; false: let in.
        deny: bool,
        /// For so many seconds; absent: until it is removed.
        #[serde(default)]
        for_s: Option<u64>,
        /// For the log and the list.
        #[serde(default)]
        why: String,
    },
    /// Takes an entry out.
    AccessRemove {
        /// By what.
        table: Table,
        /// What was looked for.
        entry: String,
    },
    /// Who is let in, and who is not.
    Access {
        /// By this alone.
        #[serde(default)]
        table: Option<Table>,
    },
    /// Where a letter for this address would go.
    Way {
        /// It.
        address: String,
    },
}

/// What is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// Aliases or groups, sorted: of `ListPut` and `ListChange` the one that was changed.
    Lists(Vec<ListView>),
    /// Other names of domains, sorted.
    DomainAliases(Vec<DomainAliasView>),
    /// A domain's rules as they are then.
    Domain(DomainRules),
    /// An account's rules as they are then.
    Account(AccountRules),
    /// Who is let in, sorted.
    Access(Vec<AccessView>),
    /// Mailboxes, in order.
    Way(Vec<WayView>),
}

/// An alias or group, as it is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct ListView {
    /// Its address.
    pub address: String,
    /// A group.
    pub group: bool,
    /// Sorted.
    pub targets: Vec<String>,
}

/// Another name of a domain, as it is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct DomainAliasView {
    /// The name.
    pub alias: String,
    /// The domain.
    pub domain: String,
}

/// A mailbox that a letter would go to.
#[derive(Debug, Serialize, Deserialize)]
pub struct WayView {
    /// Its account.
    pub account: String,
    /// The folder that a subaddress names, if there is one of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
}

impl Ask {
    /// True if something may change.
    #[must_use]
    pub fn changes(&self) -> bool {
        match self {
            Ask::Lists { .. } | Ask::DomainAliases {} | Ask::Access { .. } | Ask::Way { .. } => false,
            Ask::Domain { set, .. } => *set != DomainSet::default(),
            Ask::Account { set, .. } => *set != AccountSet::default(),
            _ => true,
        }
    }

    /// What is done and with what, for the log.
    pub(super) fn title(&self) -> (&'static str, &str) {
        match self {
            Ask::ListPut { address, group, .. } => (if *group { "group-add" } else { "alias-add" }, address),
            Ask::ListChange { address, .. } => ("group-members", address),
            Ask::ListRemove { address, group } => (if *group { "group-remove" } else { "alias-remove" }, address),
            Ask::Lists { group, .. } => (if *group { "group-list" } else { "alias-list" }, ""),
            Ask::DomainAliasPut { alias, .. } => ("domain-alias-add", alias),
            Ask::DomainAliasRemove { alias } => ("domain-alias-remove", alias),
            Ask::DomainAliases {} => ("domain-alias-list", ""),
            Ask::Domain { domain, .. } => ("domain-rules", domain),
            Ask::Account { address, .. } => ("account-rules", address),
            Ask::AccessPut { deny, entry, .. } => (if *deny { "deny" } else { "allow" }, entry),
            Ask::AccessRemove { entry, .. } => ("access-remove", entry),
            Ask::Access { .. } => ("access-list", ""),
            Ask::Way { address } => ("way", address),
        }
    }
}

/// Carries it out.
pub(super) async fn answer(office: &Rc<Office>, ask: Ask) -> Response {
    let changes = ask.changes();
    let told = match ask {
        Ask::ListPut { address, group, targets } => lists::put(office, &address, group, targets).await,
        Ask::ListChange { address, join, leave } => lists::change(office, &address, join, leave).await,
        Ask::ListRemove { address, group } => lists::remove(office, &address, group).await,
        Ask::Lists { group, domain } => lists::list(office, group, domain.as_deref()),
        Ask::DomainAliasPut { alias, domain } => domains::put_alias(office, &alias, &domain).await,
        Ask::DomainAliasRemove { alias } => domains::remove_alias(office, &alias).await,
        Ask::DomainAliases {} => Ok(domains::aliases(office)),
        Ask::Domain { domain, set } => domains::rules(office, &domain, set).await,
        Ask::Account { address, set } => accounts::rules(office, &address, set).await,
        Ask::AccessPut { table, entry, deny, for_s, why } => {
            access::put(office, table, &entry, access::Wish { deny, for_s, why }).await
        }
        Ask::AccessRemove { table, entry } => access::remove(office, table, &entry).await,
        Ask::Access { table } => Ok(access::list(office, table)),
        Ask::Way { address } => way(office, &address),
    };
    let warning = if changes { catalogue::warning(office) } else { None };
    respond(told.map(|told| Response::Routing { told: Box::new(told), warning }))
}

fn way(office: &Office, address: &str) -> Result<Told, Trouble> {
    let local = address.rsplit_once('@').map_or("", |(local, _)| local);
    let volumes = usize::from(office.volume_count());
    let now_ms = shard::wall_ms();
    let way = office.directory(|d| expand_let_in(&address.to_lowercase(), local, d, volumes, now_ms)).0;
    let targets = way.map_err(|why| {
        let why = why_not(why);
        Trouble::Refused(format!("`{}` {why}", address.escape_debug()))
    })?;
    Ok(Told::Way(targets.into_iter().map(|t| WayView { account: t.name, folder: t.folder }).collect()))
}

fn why_not(why: Nowhere) -> &'static str {
    match why {
        Nowhere::Nobody => "leads to nobody",
        Nowhere::Elsewhere => "is of a domain that is not ours",
        Nowhere::Denied => "is nowhere that anybody may send to: `ringpost access list` shows why",
        Nowhere::Loop => "leads to itself, or through more than ten other names",
        Nowhere::TooMany => "leads to more than a thousand names",
        Nowhere::AskAgain => {
            "cannot be told now: a volume has not told what it holds, or has lost some of it; see the log"
        }
    }
}

/// Addresses that a rule may lead to: ours, and somebody's. Lower case, sorted, each once. `of`: whose rule it is, which may not
/// be among them.
fn targets(office: &Office, of: &str, given: Vec<String>) -> Result<Vec<String>, Trouble> {
    if given.len() > TARGETS_MAX {
        return Err(Trouble::Refused(format!(
            "{of}: {} addresses, and at most {TARGETS_MAX} fit: put some of them into a group, and the group into this one",
            given.len()
        )));
    }
    let mut targets = given.iter().map(|text| target(office, text)).collect::<Result<Vec<_>, _>>()?;
    targets.sort_unstable();
    targets.dedup();
    if targets.iter().any(|target| target == of) {
        return Err(Trouble::Refused(format!("{of} may not lead to itself")));
    }
    Ok(targets)
}

fn target(office: &Office, text: &str) -> Result<String, Trouble> {
    let (name, domain) = names::account(text)?;
    let volumes = usize::from(office.volume_count());
    match office.directory(|d| expand(&name, "", d, volumes)) {
        // That there is a ring at its end is found when the letter comes.
        Ok(_) | Err(Nowhere::Loop) => Ok(name),
        Err(Nowhere::Elsewhere) => Err(Trouble::Refused(format!(
            "{name} is not here: mail is not sent to other hosts yet, so a rule may lead only to domains of this server (`ringpost domain add {domain}` makes it one)"
        ))),
        Err(Nowhere::Nobody) => Err(Trouble::Refused(format!(
            "{name} leads to nobody: `ringpost account add {name}` makes an account, `ringpost alias add {name} TARGET` an alias"
        ))),
        Err(why) => Err(Trouble::Failed(format!("{name} {}", why_not(why)))),
    }
}
