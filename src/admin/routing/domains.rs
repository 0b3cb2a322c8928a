//! Domains: other names of them, and how their mail goes.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::{DomainAliasView, Told, target, targets};
use crate::admin::{Trouble, catalogue, domains, names};
use crate::directory::catalogue::{Key, Rule};
use crate::office::Office;

/// The word for domains that say nothing of their own.
const DEFAULT: &str = "default";
/// Characters that may separate a subaddress.
const SEPARATORS: &str = "+-=_#~";

/// What is set of a domain's rules; what is absent stays.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DomainSet {
    /// Who gets mail for addresses that nobody has; empty: nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catch_all: Option<String>,
    /// Characters at which a subaddress begins; `none`: there are none; `default`: as by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// Who gets mail for postmaster and abuse; empty: as by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postmaster: Option<String>,
    /// Who gets a copy of all that comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal: Option<Vec<String>>,
}

pub(super) async fn put_alias(office: &Rc<Office>, alias: &str, domain: &str) -> Result<Told, Trouble> {
    let (alias, domain) = (names::domain(alias)?, names::domain(domain)?);
    if office.directory(|d| d.has_domain(&alias)) {
        return Err(Trouble::Refused(format!(
            "{alias} is a domain of its own: `ringpost domain remove {alias}` first, and its accounts before"
        )));
    }
    if let Some(of) = office.directory(|d| d.rules().domain_alias(&domain).map(str::to_owned)) {
        return Err(Trouble::Refused(format!(
            "{domain} is itself another name of {of}: `ringpost domain alias add {alias} {of}`"
        )));
    }
    domains::known(office, &domain)?;
    catalogue::set(office, Key::DomainAlias(alias), Rule::DomainAlias(domain)).await?;
    Ok(aliases(office))
}

pub(super) async fn remove_alias(office: &Rc<Office>, alias: &str) -> Result<Told, Trouble> {
    let alias = names::domain(alias)?;
    if office.directory(|d| d.rules().domain_alias(&alias).is_none()) {
        return Err(Trouble::Refused(format!(
            "{alias} is no other name of a domain: `ringpost domain alias list` shows those there are"
        )));
    }
    catalogue::remove(office, Key::DomainAlias(alias)).await?;
    Ok(aliases(office))
}

pub(super) fn aliases(office: &Office) -> Told {
    let mut views: Vec<DomainAliasView> = office.directory(|d| {
        let view = |(alias, of): (&str, &str)| DomainAliasView { alias: alias.to_owned(), domain: of.to_owned() };
        d.rules().domain_aliases().map(view).collect()
    });
    views.sort_unstable_by(|a, b| a.alias.cmp(&b.alias));
    Told::DomainAliases(views)
}

pub(super) async fn rules(office: &Rc<Office>, domain: &str, set: DomainSet) -> Result<Told, Trouble> {
    let is_default = domain == DEFAULT;
    let name = names::domain(domain)?;
    if !is_default {
        domains::known(office, &name)?;
    }
    let there = |office: &Rc<Office>| {
        office.directory(|d| {
            if is_default {
                d.rules().default_domain().clone()
            } else {
                d.rules().domain(&name).cloned().unwrap_or_default()
            }
        })
    };
    let mut rules = there(office);
    if set == DomainSet::default() {
        return Ok(Told::Domain(rules));
    }
    if is_default && (set.catch_all.is_some() || set.journal.is_some()) {
        return Err(Trouble::Refused(
            "a catch-all and a journal belong to one domain: name it instead of `default`".to_owned(),
        ));
    }
    let DomainSet { catch_all, separator, postmaster, journal } = set;
    let one = |text: String| if text.is_empty() { Ok(None) } else { target(office, &text).map(Some) };
    if let Some(text) = catch_all {
        rules.catch_all = one(text)?;
    }
    if let Some(text) = postmaster {
        rules.postmaster = one(text)?;
    }
    if let Some(text) = separator {
        rules.separator = separators(text)?;
    }
    if let Some(given) = journal {
        rules.journal = targets(office, "", given)?;
    }
    let key = if is_default { Key::Default } else { Key::Domain(name.clone()) };
    catalogue::set(office, key, Rule::Domain(rules.clone())).await?;
    Ok(Told::Domain(rules))
}

fn separators(text: String) -> Result<Option<String>, Trouble> {
    match text.as_str() {
        "default" => Ok(None),
        "none" => Ok(Some(String::new())),
        some if !some.is_empty() && some.len() <= SEPARATORS.len() && some.chars().all(|c| SEPARATORS.contains(c)) => {
            Ok(Some(text))
        }
        _ => Err(Trouble::Refused(format!(
            "`{}`: write one or more of {SEPARATORS}, or none, or default",
            text.escape_debug()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_are_of_those_that_addresses_may_have() {
        assert_eq!(separators("+".to_owned()), Ok(Some("+".to_owned())));
        assert_eq!(separators("+-".to_owned()), Ok(Some("+-".to_owned())));
        assert_eq!(separators("none".to_owned()), Ok(Some(String::new())));
        assert_eq!(separators("default".to_owned()), Ok(None));
        for bad in ["", "@", "a", "+++++++", "%", "."] {
            assert!(separators(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
