//! Another name for an account: its mail, passwords and rules stay, and what leads to it follows.
//!
//! ```text
//!   ONE batch in its volume: the name, and every entry of the catalogue in which it stands     from here on it has the new name
//!     ─► the entries in the other volumes ─► told to every shard, in one piece ─► sessions under the old name end
//! ```
//!
//! - A crash leaves the old name or the new one, never both and never none: the newest of two entries of one key is in force, so what
//!   went with the batch is in force after the next start wherever the others were.
//! - What was said of the old name is said to be gone in that batch, and is left out once every volume has let go of it: else a
//!   crash would leave it to whoever has the name next.
//! - Its volume and its number stay: homes are recorded, not computed from the name. What is on its way to it by transfer finds it by
//!   its number.
//! - Aliases, groups, forwards, journals, catch-alls and grants that name it name it so from now on, subaddresses and other names of
//!   its domain included. Tables of who is let in stay: they are about addresses, not about whose they are.
//! - Not while it is moved to another volume.

use std::rc::Rc;

use ringpost_storage::{Limits, Refused, VolumeId};

use super::{Response, Trouble, accounts, catalogue, deeds, domains, logins, names, quota, respond, routing};
use crate::directory::catalogue::{DomainRules, Entry, Key, List, Rule};
use crate::directory::rules::Rules;
use crate::directory::secrets::Protocols;
use crate::directory::{Change, Directory};
use crate::office::quota::is_reserved;
use crate::office::words::Deed;
use crate::office::{Deliverable, Office, Reply, Request, volumes};
use crate::shard;

/// Octets of all the entries in which an account's name stands. More: refused, because they would not fit into one batch.
const ENTRIES_BYTES_MAX: usize = 512 << 10;

pub(super) async fn rename(office: &Rc<Office>, old: &str, new: &str, keep_alias: bool) -> Response {
    respond(try_rename(office, old, new, keep_alias).await)
}

async fn try_rename(office: &Rc<Office>, old: &str, new: &str, keep_alias: bool) -> Result<Response, Trouble> {
    let (old, home) = accounts::existing(office, old)?;
    let (new, domain) = names::account(new)?;
    domains::known(office, &domain)?;
    if old == new {
        return Err(Trouble::Refused(format!("{old} is its name already")));
    }
    accounts::is_free(office, &new)?;
    if is_reserved(&new) && quota::limits_of(office, home).await?.is_some_and(|limits| limits != Limits::NONE) {
        return Err(Trouble::Refused(format!(
            "{new} takes all mail, so it has no limits: `ringpost account quota {old} --storage none --messages none` first"
        )));
    }
    // What was said of somebody who had this name before, where a crash has left it.
    routing::forget_account(office, &new).await?;
    let entries = office.directory(|d| {
        let at = d.rules().next_at(shard::wall_ms());
        let rules = Renaming::new(&old, &new, d).entries(keep_alias);
        rules.into_iter().map(|(key, rule)| (key, Entry { at, rule })).collect::<Vec<_>>()
    });
    let mut changes = encoded(&old, &entries)?;
    let own = Key::Account(old.clone());
    let gone = office.directory(|d| d.rules().account(&old).and(entries.first())).map(|(_, entry)| entry.at);
    let gone = gone.map(|at| encoded(&old, &[(own.clone(), Entry { at, rule: Rule::Gone })])).transpose()?;
    let renaming = Deed::RenameAccount { account: home.account, from: old.clone(), to: new.clone() };
    let batch = [renaming].into_iter().chain(changes.iter().cloned()).chain(gone.iter().flatten().cloned());
    decide(office, home.volume, &old, batch.collect()).await?;
    if gone.is_some() {
        changes.push(Deed::RemoveEntry { key: own.text() });
    }
    let mut done = Ok(());
    for volume in volumes::live(office).filter(|volume| *volume != home.volume) {
        let kept = catalogue::put_all(office, volume, changes.iter().cloned().map(Ok)).await;
        done = done.and(kept);
    }
    if gone.is_some() && done.is_ok() {
        done = deeds::ask(office, home.volume, vec![Deed::RemoveEntry { key: own.text() }]).await.map(drop);
    }
    // It has the new name, whatever became of the rest.
    let change = Change::AccountRenamed { from: old.clone(), to: new.clone(), home, entries };
    done = done.and(office.tell_all(change).await.map_err(deeds::untold));
    let ended = logins::end(office, &old, Protocols::ALL).await;
    tracing::info!(target: "audit", account = old, to = new, keep_alias, "renamed");
    done.map_err(|why| {
        let why = String::from(why);
        Trouble::Failed(format!("{old} is {new} now, but not every volume has heard where mail goes since, and will with the next start: {why}"))
    })?;
    ended.map(|_| Response::Done)
}

/// The batch that renames it.
async fn decide(office: &Office, volume: VolumeId, old: &str, deeds: Vec<Deed>) -> Result<(), Trouble> {
    match office.mesh.call(office.shard_of(volume), Request::Do { volume, deeds }, 0).await {
        Ok(Reply::Did(Err(Deliverable::Refused(Refused::Busy)))) => Err(Trouble::Failed(format!(
            "{old} is being moved or changed: nothing was done, try again when that has ended"
        ))),
        Ok(Reply::Did(Err(Deliverable::Refused(Refused::MailboxExists)))) => Err(Trouble::Failed(
            "half an account of that name is left of a move that was cut off: the next start removes it".to_owned(),
        )),
        Ok(Reply::Did(Err(Deliverable::Refused(Refused::TooLarge)))) => Err(too_many(old)),
        reply => deeds::answered(volume, reply).map(|_| ()),
    }
}

fn too_many(old: &str) -> Trouble {
    Trouble::Refused(format!(
        "the aliases, groups and forwards in which {old} stands are too large to be changed together: take it out of the largest groups first, and let it join them again by its new name"
    ))
}

fn encoded(old: &str, entries: &[(Key, Entry)]) -> Result<Vec<Deed>, Trouble> {
    let mut octets_all = 0;
    let mut deeds = Vec::with_capacity(entries.len());
    for (key, entry) in entries {
        let octets = catalogue::encoded(key, entry)?;
        octets_all += octets.len();
        deeds.push(Deed::PutEntry { key: key.text(), octets });
    }
    if octets_all > ENTRIES_BYTES_MAX { Err(too_many(old)) } else { Ok(deeds) }
}

/// What becomes of the catalogue when an account has another name. Pure.
struct Renaming<'a> {
    old: (&'a str, &'a str),
    new: &'a str,
    directory: &'a Directory,
}

impl<'a> Renaming<'a> {
    fn new(old: &'a str, new: &'a str, directory: &'a Directory) -> Self {
        let old = old.rsplit_once('@').expect("an account's name has a domain");
        Renaming { old, new, directory }
    }

    fn rules(&self) -> &'a Rules {
        self.directory.rules()
    }

    /// The entries that are other than before, and the new alias.
    fn entries(&self, keep_alias: bool) -> Vec<(Key, Rule)> {
        let (local, domain) = self.old;
        let mut changed = Vec::new();
        for (key, Entry { rule, .. }) in self.rules().entries() {
            let own = matches!(&key, Key::Account(name) if *name == format!("{local}@{domain}"));
            let key = if own { Key::Account(self.new.to_owned()) } else { key };
            let renamed = self.rule(&key, rule.clone());
            if own || renamed != rule {
                changed.push((key, renamed));
            }
        }
        if keep_alias {
            let targets = vec![self.new.to_owned()];
            changed.push((Key::List(format!("{local}@{domain}")), Rule::List(List { group: false, targets })));
        }
        changed
    }

    fn rule(&self, key: &Key, rule: Rule) -> Rule {
        let one = |name: Option<String>| name.map(|name| self.follow(name));
        match rule {
            Rule::Domain(rules) => Rule::Domain(DomainRules {
                catch_all: one(rules.catch_all),
                postmaster: one(rules.postmaster),
                journal: self.all(rules.journal, None),
                ..rules
            }),
            Rule::List(list) => {
                let itself = if let Key::List(name) = key { Some(name.as_str()) } else { None };
                Rule::List(List { targets: self.all(list.targets, itself), ..list })
            }
            Rule::Account(mut rules) => {
                let itself = if let Key::Account(name) = key { Some(name.as_str()) } else { None };
                for names in [&mut rules.forward, &mut rules.journal, &mut rules.send_as] {
                    *names = self.all(std::mem::take(names), itself);
                }
                rules.keep |= rules.forward.is_empty();
                Rule::Account(rules)
            }
            other @ (Rule::DomainAlias(_) | Rule::Access(_) | Rule::Gone) => other,
        }
    }

    /// Sorted, each once, as before; without whose they are, who is reached anyway. As they are if nobody among them follows.
    fn all(&self, names: Vec<String>, itself: Option<&str>) -> Vec<String> {
        let mut followed: Vec<String> = names.iter().map(|name| self.follow(name.clone())).collect();
        if followed == names {
            return names;
        }
        followed.retain(|name| Some(name.as_str()) != itself);
        followed.sort_unstable();
        followed.dedup();
        followed
    }

    /// The name that a target has from now on.
    fn follow(&self, name: String) -> String {
        let Some((local, domain)) = name.rsplit_once('@') else { return name };
        if self.rules().meant(domain) != self.old.1 {
            return name;
        }
        let Some(rest) = local.strip_prefix(self.old.0) else { return name };
        if rest.is_empty() {
            return self.new.to_owned();
        }
        // A subaddress of it, unless somebody has that very address.
        let whole = format!("{local}@{}", self.old.1);
        let somebodys = self.directory.home(&whole).is_some() || self.rules().list(&whole).is_some();
        if somebodys || !rest.starts_with(|c| self.rules().separator(self.old.1).contains(c)) {
            return name;
        }
        let (new, domain) = self.new.rsplit_once('@').expect("an account's name has a domain");
        match rest.starts_with(|c| self.rules().separator(domain).contains(c)) {
            true => format!("{new}{rest}@{domain}"),
            false => self.new.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::catalogue::{self, AccountRules, DomainRules};

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|name| (*name).to_owned()).collect()
    }

    fn list(group: bool, targets: &[&str]) -> Rule {
        Rule::List(List { group, targets: names(targets) })
    }

    fn house() -> Directory {
        let mut directory = Directory::default();
        let mut put = |key, rule| directory.apply(Change::Put(key, Entry { at: 1, rule }));
        let (key, Entry { rule, .. }) = catalogue::domain("us.test");
        put(key, rule);
        put(Key::DomainAlias("us.example".to_owned()), Rule::DomainAlias("us.test".to_owned()));
        put(Key::List("sales@us.test".to_owned()), list(false, &["ann@us.test", "bob@us.test"]));
        put(Key::List("shop@us.test".to_owned()), list(false, &["ann+shop@us.example", "annabel@us.test"]));
        put(Key::List("others@us.test".to_owned()), list(true, &["annabel@us.test", "bob@us.test"]));
        let rules = AccountRules { forward: names(&["bob@us.test"]), ..AccountRules::default() };
        put(Key::Account("ann@us.test".to_owned()), Rule::Account(rules));
        let rules =
            AccountRules { journal: names(&["ann@us.test"]), send_as: names(&["ann@us.test"]), ..Default::default() };
        put(Key::Account("bob@us.test".to_owned()), Rule::Account(rules));
        let rules = DomainRules { catch_all: Some("ann@us.test".to_owned()), ..DomainRules::default() };
        put(Key::Domain("us.test".to_owned()), Rule::Domain(rules));
        directory
    }

    fn renamed(new: &str, keep_alias: bool) -> Vec<(String, Rule)> {
        let directory = house();
        let mut all: Vec<_> = Renaming::new("ann@us.test", new, &directory)
            .entries(keep_alias)
            .into_iter()
            .map(|(key, rule)| (key.text(), rule))
            .collect();
        all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        all
    }

    #[test]
    fn what_names_an_account_names_it_by_its_new_name() {
        let all = renamed("zoe@us.test", false);
        let keys: Vec<_> = all.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(
            keys,
            ["account:bob@us.test", "account:zoe@us.test", "list:sales@us.test", "list:shop@us.test", "us.test"]
        );
        let Rule::Account(bob) = &all[0].1 else { panic!("{:?}", all[0]) };
        assert_eq!((&bob.journal[..], &bob.send_as[..]), (&names(&["zoe@us.test"])[..], &names(&["zoe@us.test"])[..]));
        let Rule::Account(own) = &all[1].1 else { panic!("{:?}", all[1]) };
        assert_eq!(own.forward, ["bob@us.test"]);
        assert_eq!(all[2].1, list(false, &["bob@us.test", "zoe@us.test"]));
        assert_eq!(all[3].1, list(false, &["annabel@us.test", "zoe+shop@us.test"]), "whoever is called alike stays");
        let Rule::Domain(domain) = &all[4].1 else { panic!("{:?}", all[4]) };
        assert_eq!(domain.catch_all.as_deref(), Some("zoe@us.test"));
    }

    #[test]
    fn the_old_name_stays_as_an_alias_where_that_is_wished() {
        let all = renamed("zoe@us.test", true);
        assert!(all.contains(&("list:ann@us.test".to_owned(), list(false, &["zoe@us.test"]))));
        assert!(!renamed("zoe@us.test", false).iter().any(|(key, _)| key == "list:ann@us.test"));
    }

    #[test]
    fn nobody_forwards_to_himself_by_his_new_name() {
        // An alias that led to the account and has its name next is refused before; a forward that would is left out.
        let directory = house();
        let renaming = Renaming::new("ann@us.test", "zoe@us.test", &directory);
        let rules = AccountRules { forward: names(&["ann@us.example"]), keep: false, ..AccountRules::default() };
        let Rule::Account(rules) = renaming.rule(&Key::Account("zoe@us.test".to_owned()), Rule::Account(rules)) else {
            panic!("an account's rules")
        };
        assert!(rules.forward.is_empty() && rules.keep);
    }
}
