//! Aliases and groups: one address that stands for others.

use std::rc::Rc;

use super::{ListView, Told, targets};
use crate::admin::{Trouble, catalogue, domains, names};
use crate::directory::catalogue::{Key, List, Rule, TARGETS_MAX};
use crate::office::Office;

pub(super) async fn put(office: &Rc<Office>, address: &str, group: bool, given: Vec<String>) -> Result<Told, Trouble> {
    let (name, domain) = names::account(address)?;
    domains::known(office, &domain)?;
    if office.directory(|d| d.home(&name)).is_some() {
        return Err(Trouble::Refused(format!(
            "{name} is an account: `ringpost account forward {name} TARGET` sends its mail on, with a copy kept or not"
        )));
    }
    let there = office.directory(|d| d.rules().list(&name).map(|list| list.group));
    if let Some(other) = there.filter(|other| *other != group) {
        let (is, verb) = if other { ("a group", "group") } else { ("an alias", "alias") };
        return Err(Trouble::Refused(format!("{name} is {is} already: `ringpost {verb} remove {name}` first")));
    }
    if given.is_empty() {
        return Err(Trouble::Refused(format!("{name} must lead to at least one address")));
    }
    let targets = targets(office, &name, given)?;
    keep(office, name, List { group, targets }).await
}

pub(super) async fn change(
    office: &Rc<Office>,
    address: &str,
    join: Vec<String>,
    leave: Vec<String>,
) -> Result<Told, Trouble> {
    let (name, list) = existing(office, address, true)?;
    let come = targets(office, &name, join)?;
    let gone = leave.iter().map(|text| Ok(names::account(text)?.0)).collect::<Result<Vec<String>, Trouble>>()?;
    if let Some(nobody) = gone.iter().find(|gone| !list.targets.contains(gone)) {
        return Err(Trouble::Refused(format!("{nobody} is no member of {name}: `ringpost group list` shows who is")));
    }
    let mut members: Vec<String> = list.targets.into_iter().chain(come).filter(|t| !gone.contains(t)).collect();
    members.sort_unstable();
    members.dedup();
    if members.len() > TARGETS_MAX {
        return Err(Trouble::Refused(format!(
            "{name} would have {} members, and at most {TARGETS_MAX} fit: put some of them into a group of their own",
            members.len()
        )));
    }
    if members.is_empty() {
        return Err(Trouble::Refused(format!(
            "nobody would be left in {name}: `ringpost group remove {name}` removes it"
        )));
    }
    keep(office, name, List { group: true, targets: members }).await
}

async fn keep(office: &Rc<Office>, name: String, list: List) -> Result<Told, Trouble> {
    let told = ListView { address: name.clone(), group: list.group, targets: list.targets.clone() };
    catalogue::set(office, Key::List(name), Rule::List(list)).await?;
    Ok(Told::Lists(vec![told]))
}

pub(super) async fn remove(office: &Rc<Office>, address: &str, group: bool) -> Result<Told, Trouble> {
    let (name, list) = existing(office, address, group)?;
    catalogue::remove(office, Key::List(name.clone())).await?;
    Ok(Told::Lists(vec![ListView { address: name, group, targets: list.targets }]))
}

pub(super) fn list(office: &Office, group: bool, domain: Option<&str>) -> Result<Told, Trouble> {
    let domain = domain.map(names::domain).transpose()?;
    let wanted = |address: &str| domain.as_ref().is_none_or(|d| domains::lies_in(address, d));
    let mut lists: Vec<ListView> = office.directory(|d| {
        let some = d.rules().lists().filter(|(address, list)| list.group == group && wanted(address));
        some.map(|(address, list)| ListView { address: address.to_owned(), group, targets: list.targets.clone() })
            .collect()
    });
    lists.sort_unstable_by(|a, b| a.address.cmp(&b.address));
    Ok(Told::Lists(lists))
}

fn existing(office: &Office, address: &str, group: bool) -> Result<(String, List), Trouble> {
    let (name, _) = names::account(address)?;
    let there = office.directory(|d| d.rules().list(&name).cloned());
    match there.filter(|list| list.group == group) {
        Some(list) => Ok((name, list)),
        None => {
            let (is, verb) = if group { ("group", "group") } else { ("alias", "alias") };
            Err(Trouble::Refused(format!("there is no {is} {name}: `ringpost {verb} list` shows those there are")))
        }
    }
}
