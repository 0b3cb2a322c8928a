//! An account's rules: where its mail goes on to, and what it may send.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::{Told, targets};
use crate::admin::{Trouble, accounts, catalogue, names};
use crate::directory::catalogue::{AccountRules, Key, Rule, SendLimits};
use crate::office::Office;

/// Why somebody is suspended, octets. Longer: refused.
const WHY_BYTES_MAX: usize = 500;

/// What is set of an account's rules; what is absent stays.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccountSet {
    /// Who gets its mail; empty: itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward: Option<Vec<String>>,
    /// Whether what is forwarded is kept too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<bool>,
    /// Whether mail for a subaddress goes to the folder of that name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folders: Option<bool>,
    /// Who gets a copy of all that comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal: Option<Vec<String>>,
    /// It may send with any sender's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub any_sender: Option<bool>,
    /// Groups and others whose address it may send with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_as: Option<Vec<String>>,
    /// Why it may not send; empty: it may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspended: Option<String>,
    /// How much it may send: what is given.
    #[serde(skip_serializing_if = "SendLimits::is_default")]
    pub limits: SendLimits,
    /// These limits are as by default again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub default_limits: bool,
}

pub(super) async fn rules(office: &Rc<Office>, address: &str, set: AccountSet) -> Result<Told, Trouble> {
    let (name, _) = accounts::existing(office, address)?;
    let mut rules = office.directory(|d| d.rules().account(&name).cloned()).unwrap_or_default();
    if set == AccountSet::default() {
        return Ok(Told::Account(rules));
    }
    apply(office, &name, &mut rules, set)?;
    let key = Key::Account(name);
    if rules == AccountRules::default() {
        catalogue::remove(office, key).await?;
    } else {
        catalogue::set(office, key, Rule::Account(rules.clone())).await?;
    }
    Ok(Told::Account(rules))
}

fn apply(office: &Office, name: &str, rules: &mut AccountRules, set: AccountSet) -> Result<(), Trouble> {
    let AccountSet { forward, keep, folders, journal, any_sender, send_as, suspended, limits, default_limits } = set;
    if let Some(given) = forward {
        rules.forward = targets(office, name, given)?;
        rules.keep = keep.unwrap_or(true);
    } else if let Some(keep) = keep {
        if rules.forward.is_empty() {
            return Err(Trouble::Refused(format!(
                "{name} has no forward: `ringpost account forward {name} TARGET` makes one"
            )));
        }
        rules.keep = keep;
    }
    if rules.forward.is_empty() {
        rules.keep = true;
    }
    if let Some(given) = journal {
        rules.journal = targets(office, name, given)?;
    }
    if let Some(given) = send_as {
        rules.send_as = targets(office, name, given)?;
    }
    rules.folders = folders.unwrap_or(rules.folders);
    rules.any_sender = any_sender.unwrap_or(rules.any_sender);
    if let Some(why) = suspended {
        if why.len() > WHY_BYTES_MAX {
            return Err(Trouble::Refused(format!("at most {WHY_BYTES_MAX} octets of why")));
        }
        rules.suspended = Some(why).filter(|why| !why.is_empty());
    }
    if default_limits {
        rules.limits = SendLimits::default();
    }
    rules.limits = limits.or(rules.limits);
    Ok(())
}

/// Suspends an account that was refused again and again. On shard 0.
pub async fn suspend(office: &Rc<Office>, name: String) {
    let _turn = office.turn.wait().await;
    if office.directory(|d| d.rules().account(&name).is_some_and(|own| own.suspended.is_some())) {
        return;
    }
    let set =
        || AccountSet { suspended: Some("it went on sending more than it may".to_owned()), ..AccountSet::default() };
    let mut done = rules(office, &name, set()).await;
    if matches!(done, Err(Trouble::Failed(_))) {
        // A volume that fails under a change is passed over by the next one.
        done = rules(office, &name, set()).await;
    }
    match done {
        Ok(_) => tracing::error!(
            target: "audit",
            account = name,
            "suspended: it went on sending more than it may; `ringpost account resume` lets it send again"
        ),
        Err(why) => tracing::error!(target: "audit", account = name, ?why, "could not be suspended"),
    }
}

/// The account is gone: so is what was said of it. Another one with its name begins anew.
pub(in crate::admin) async fn forget_account(office: &Rc<Office>, name: &str) -> Result<(), Trouble> {
    let (name, _) = names::account(name)?;
    if office.directory(|d| d.rules().account(&name).is_none()) {
        return Ok(());
    }
    catalogue::remove(office, Key::Account(name)).await
}
