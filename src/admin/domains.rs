//! Domains: recorded in every volume, so that each can be read alone.

use std::rc::Rc;

use super::{Response, Trouble, catalogue, names, respond};
use crate::directory;
use crate::directory::catalogue::{Key, Rule};
use crate::office::Office;

pub(super) async fn add(office: &Rc<Office>, domain: &str) -> Response {
    respond(try_add(office, domain).await)
}

async fn try_add(office: &Rc<Office>, domain: &str) -> Result<Response, Trouble> {
    let name = names::domain(domain)?;
    if office.directory(|d| d.has_domain(&name)) {
        return Err(Trouble::Refused(format!("the domain {name} exists already")));
    }
    if let Some(of) = office.directory(|d| d.rules().domain_alias(&name).map(str::to_owned)) {
        return Err(Trouble::Refused(format!(
            "{name} is another name of {of}: `ringpost domain alias remove {name}` first"
        )));
    }
    put(office, name).await?;
    Ok(Response::Done)
}

/// Makes a domain ours; that it is ours already is no error.
///
/// # Errors
/// A sentence that says what was refused.
pub async fn found_domain(office: &Rc<Office>, domain: &str) -> Result<(), String> {
    let name = names::domain(domain)?;
    Ok(put(office, name).await?)
}

async fn put(office: &Rc<Office>, name: String) -> Result<(), Trouble> {
    // One that is there keeps its rules; a crash may have left it in some of the volumes.
    if let Some(rules) = office.directory(|d| d.rules().domain(&name).cloned()) {
        return catalogue::set(office, Key::Domain(name), Rule::Domain(rules)).await;
    }
    let (key, entry) = directory::catalogue::domain(&name);
    catalogue::put(office, key, entry).await
}

pub(super) async fn remove(office: &Rc<Office>, domain: &str) -> Response {
    respond(try_remove(office, domain).await)
}

async fn try_remove(office: &Rc<Office>, domain: &str) -> Result<Response, Trouble> {
    let name = names::domain(domain)?;
    known(office, &name)?;
    let accounts = office.directory(|d| d.accounts().filter(|(address, _)| lies_in(address, &name)).count());
    if accounts > 0 {
        let list = format!("`ringpost account list --domain {name}`");
        return Err(Trouble::Refused(format!(
            "the domain {name} still has accounts ({accounts}): {list} shows them; remove them first"
        )));
    }
    if let Some(list) =
        office.directory(|d| d.rules().lists().find(|(a, _)| lies_in(a, &name)).map(|(a, _)| a.to_owned()))
    {
        return Err(Trouble::Refused(format!(
            "the domain {name} still has {list}: `ringpost alias list --domain {name}` and `ringpost group list --domain {name}` show what to remove first"
        )));
    }
    if let Some(alias) =
        office.directory(|d| d.rules().domain_aliases().find(|(_, of)| *of == name).map(|(a, _)| a.to_owned()))
    {
        return Err(Trouble::Refused(format!(
            "{alias} is another name of {name}: `ringpost domain alias remove {alias}` first"
        )));
    }
    catalogue::remove(office, Key::Domain(name)).await?;
    Ok(Response::Done)
}

pub(super) fn list(office: &Office) -> Response {
    Response::Domains { domains: office.directory(|d| d.domains().map(str::to_owned).collect()) }
}

/// Refuses a domain that is not ours.
pub(super) fn known(office: &Office, name: &str) -> Result<(), Trouble> {
    if office.directory(|d| d.has_domain(name)) {
        return Ok(());
    }
    Err(Trouble::Refused(format!("the domain {name} is not known here: `ringpost domain add {name}` makes it so")))
}

/// True if the address is of this domain.
pub(super) fn lies_in(address: &str, domain: &str) -> bool {
    address.rsplit_once('@').is_some_and(|(_, of)| of == domain)
}
