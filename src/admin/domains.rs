//! Domains: recorded in every volume, so that each can be read alone.

use std::rc::Rc;

use super::{Response, Trouble, deeds, names, respond};
use crate::directory::Change;
use crate::office::words::Deed;
use crate::office::{Office, volumes};

pub(super) async fn add(office: &Rc<Office>, domain: &str) -> Response {
    respond(try_add(office, domain).await)
}

async fn try_add(office: &Rc<Office>, domain: &str) -> Result<Response, Trouble> {
    let name = names::domain(domain)?;
    if office.directory(|d| d.has_domain(&name)) {
        return Err(Trouble::Refused(format!("the domain {name} exists already")));
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
    for volume in volumes::live(office) {
        deeds::ask(office, volume, vec![Deed::PutDomain(name.clone())]).await?;
    }
    office.tell_all(Change::DomainPut { name }).await.map_err(deeds::untold)
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
    for volume in volumes::live(office) {
        deeds::ask(office, volume, vec![Deed::RemoveDomain(name.clone())]).await?;
    }
    office.tell_all(Change::DomainGone { name }).await.map_err(deeds::untold)?;
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
