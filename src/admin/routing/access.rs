//! Who is let in and who is not: by network, name, sender and recipient, for a time or for good.
//!
//! An entry whose time is over decides nothing. It is taken out of the store with the next change of the tables, but for while a
//! volume has failed: nobody asked for it, and what is removed then leaves a trace (see `catalogue`).

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::Told;
use crate::admin::{Trouble, catalogue, names};
use crate::directory::catalogue::{Access, Key, Rule, Table};
use crate::mail::address::Address;
use crate::net::census::Cidr;
use crate::office::Office;
use crate::route::name_of;
use crate::shard;

/// Entries of all tables together. More: refused until some are removed, or over.
const ENTRIES_MAX: usize = 100_000;
/// Why it was made, octets. Longer: refused.
const WHY_BYTES_MAX: usize = 500;
/// The longest time, seconds: ten years.
const FOR_S_MAX: u64 = 10 * 366 * 86_400;
/// Entries taken out of the store with one change, because their time is over. The others follow with the next.
const SWEPT_AT_ONCE: usize = 100;

/// An entry, as it is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct AccessView {
    /// By what.
    pub table: Table,
    /// What is looked for.
    pub entry: String,
    /// Refused; false: let in.
    pub deny: bool,
    /// Seconds left; absent: until it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_s: Option<u64>,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// What is to be done with those whom an entry is about.
pub(super) struct Wish {
    pub deny: bool,
    pub for_s: Option<u64>,
    pub why: String,
}

pub(super) async fn put(office: &Rc<Office>, table: Table, entry: &str, wish: Wish) -> Result<Told, Trouble> {
    let what = spelt(table, entry)?;
    let now_ms = shard::wall_ms();
    sweep(office, now_ms).await?;
    let (count, known) =
        office.directory(|d| (d.rules().access().count(), d.rules().access_of(table, &what).is_some()));
    if count >= ENTRIES_MAX && !known {
        return Err(Trouble::Refused(format!("there are {count} entries already: remove some, or ban their networks")));
    }
    let Wish { deny, for_s, why } = wish;
    if why.len() > WHY_BYTES_MAX {
        return Err(Trouble::Refused(format!("at most {WHY_BYTES_MAX} octets of why")));
    }
    if for_s.is_some_and(|s| s == 0 || s > FOR_S_MAX) {
        return Err(Trouble::Refused("a time must be from a second to ten years; leave it out for good".to_owned()));
    }
    let until_ms = for_s.map(|s| now_ms + s * 1_000);
    let access = Access { deny, until_ms, why };
    catalogue::set(office, Key::Access(table, what.clone()), Rule::Access(access.clone())).await?;
    Ok(Told::Access(vec![view(table, &what, &access, now_ms)]))
}

pub(super) async fn remove(office: &Rc<Office>, table: Table, entry: &str) -> Result<Told, Trouble> {
    let what = spelt(table, entry)?;
    let now_ms = shard::wall_ms();
    sweep(office, now_ms).await?;
    let Some(there) = office.directory(|d| d.rules().access_of(table, &what).cloned()) else {
        let wider = match table {
            Table::Client => ": `ringpost bans` shows the networks there are, of which one may hold it",
            _ => ": `ringpost access list` shows those there are",
        };
        return Err(Trouble::Refused(format!("there is no entry for {} {what}{wider}", table.word())));
    };
    catalogue::remove(office, Key::Access(table, what.clone())).await?;
    Ok(Told::Access(vec![view(table, &what, &there, now_ms)]))
}

pub(super) fn list(office: &Office, only: Option<Table>) -> Told {
    let now_ms = shard::wall_ms();
    let mut views: Vec<AccessView> = office.directory(|d| {
        let some = d
            .rules()
            .access()
            .filter(|(table, _, access)| only.is_none_or(|only| only == *table) && !access.is_over(now_ms));
        some.map(|(table, what, access)| view(table, what, access, now_ms)).collect()
    });
    views.sort_unstable_by(|a, b| (a.table, &a.entry).cmp(&(b.table, &b.entry)));
    Told::Access(views)
}

fn view(table: Table, what: &str, access: &Access, now_ms: u64) -> AccessView {
    AccessView {
        table,
        entry: what.to_owned(),
        deny: access.deny,
        left_s: access.until_ms.map(|until| until.saturating_sub(now_ms).div_ceil(1_000)),
        why: access.why.clone(),
    }
}

async fn sweep(office: &Rc<Office>, now_ms: u64) -> Result<(), Trouble> {
    if catalogue::has_failed(office) {
        return Ok(());
    }
    let over: Vec<Key> = office.directory(|d| {
        let over = d.rules().access().filter(|(.., access)| access.is_over(now_ms));
        over.map(|(table, what, _)| Key::Access(table, what.to_owned())).take(SWEPT_AT_ONCE).collect()
    });
    for key in over {
        catalogue::remove(office, key).await?;
    }
    Ok(())
}

/// What is looked for, in its one spelling.
fn spelt(table: Table, entry: &str) -> Result<String, Trouble> {
    let bad = |why: &str| Err(Trouble::Refused(format!("`{}`: {why}", entry.escape_debug())));
    match table {
        Table::Client => match entry.parse::<Cidr>() {
            Ok(network) => Ok(network.to_string()),
            Err(why) => Err(Trouble::Refused(why)),
        },
        Table::Helo if entry.starts_with('[') && entry.ends_with(']') && entry.len() < 64 => Ok(entry.to_lowercase()),
        Table::Sender if entry == "<>" => Ok(entry.to_owned()),
        Table::Sender | Table::Recipient if entry.contains('@') => match Address::parse(entry, true) {
            Ok(address) => {
                name_of(&address).map_or_else(|| bad("write an address without % or !, which are refused already"), Ok)
            }
            Err(_) => bad("write an address as user@domain, or a domain"),
        },
        // With a dot before it: all names below.
        _ => match entry.strip_prefix('.') {
            Some(rest) => names::domain(rest).map(|domain| format!(".{domain}")),
            None => names::domain(entry),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_has_one_spelling() {
        for (table, entry, what) in [
            (Table::Client, "192.0.2.7", "192.0.2.7/32"),
            (Table::Client, "2001:DB8::/32", "2001:db8::/32"),
            (Table::Helo, "Mail.Example.ORG", "mail.example.org"),
            (Table::Helo, "[192.0.2.1]", "[192.0.2.1]"),
            (Table::Sender, "Bob@Example.ORG", "bob@example.org"),
            (Table::Sender, ".example.org", ".example.org"),
            (Table::Sender, "<>", "<>"),
            (Table::Recipient, "example.org", "example.org"),
        ] {
            assert_eq!(spelt(table, entry), Ok(what.to_owned()));
        }
        for (table, entry) in [
            (Table::Client, "example.org"),
            (Table::Client, "192.0.2.7/24"),
            (Table::Helo, "two words"),
            (Table::Sender, "a%b@example.org"),
            (Table::Sender, "@"),
            (Table::Recipient, "<>"),
            (Table::Recipient, ".."),
        ] {
            assert!(spelt(table, entry).is_err(), "{entry}");
        }
    }
}
