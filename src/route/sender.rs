//! Which senders' addresses an account may use: its own, its aliases, and the groups that were granted to it.
//!
//! Pure. What a login may write into MAIL FROM is decided here and nowhere else (RFC 6409 §6.1).

use crate::directory::Directory;
use crate::directory::catalogue::AccountRules;
use crate::mail::address::ReversePath;
use crate::route::name_of;

/// Aliases of aliases that are followed back to the account. Deeper: the address is not its own.
const DEPTH_MAX: usize = 3;

/// True if the account may send as `sender`. The null sender is everybody's (RFC 5321 §4.5.5: what answers and reports).
#[must_use]
pub fn may_send_as(account: &str, sender: &ReversePath, directory: &Directory) -> bool {
    let own = directory.rules().account(account);
    if own.is_some_and(|own| own.any_sender) {
        return true;
    }
    let ReversePath::Address(address) = sender else { return true };
    let Some(name) = name_of(address) else { return false };
    is_own(account, own, &name, directory, 0)
}

fn is_own(account: &str, own: Option<&AccountRules>, name: &str, directory: &Directory, depth: usize) -> bool {
    let rules = directory.rules();
    let Some((local, domain)) = name.rsplit_once('@') else { return false };
    let domain = rules.meant(domain);
    let name = format!("{local}@{domain}");
    if name == account || own.is_some_and(|own| own.send_as.contains(&name)) {
        return true;
    }
    if !directory.has_domain(domain) || directory.home(&name).is_some() {
        return false;
    }
    if let Some(list) = rules.list(&name) {
        let leads_here = |target: &String| target == account || is_own(account, own, target, directory, depth + 1);
        return !list.group && depth < DEPTH_MAX && list.targets.iter().any(leads_here);
    }
    // alice+shop@ is alice's.
    let separator = rules.separator(domain);
    let at = local.find(|c| separator.contains(c)).filter(|at| *at > 0);
    at.is_some_and(|at| {
        depth < DEPTH_MAX && is_own(account, own, &format!("{}@{domain}", &local[..at]), directory, depth + 1)
    })
}

#[cfg(test)]
mod tests {
    use ringpost_storage::AccountId;

    use super::*;
    use crate::directory::catalogue::{self, Entry, Key, List, Rule};
    use crate::directory::{Change, Home};
    use crate::mail::address::Address;

    fn put(directory: &mut Directory, key: Key, rule: Rule) {
        directory.apply(Change::Put(key, Entry { at: 1, rule }));
    }

    fn house() -> Directory {
        let mut directory = Directory::default();
        let home = |n| Home { volume: 0, account: AccountId(n), generation: 1 };
        directory.apply(Change::Volume {
            volume: 0,
            catalogue: vec![catalogue::domain("us.test")],
            accounts: vec![("alice@us.test".to_owned(), home(1)), ("bob@us.test".to_owned(), home(2))],
            limited: vec![],
            keyless: vec![],
            whole: true,
        });
        let list = |group, targets: &[&str]| {
            Rule::List(List { group, targets: targets.iter().map(|t| (*t).to_owned()).collect() })
        };
        put(&mut directory, Key::List("sales@us.test".to_owned()), list(false, &["alice@us.test", "bob@us.test"]));
        put(&mut directory, Key::List("shop@us.test".to_owned()), list(false, &["sales@us.test"]));
        put(&mut directory, Key::List("staff@us.test".to_owned()), list(true, &["alice@us.test", "bob@us.test"]));
        put(&mut directory, Key::DomainAlias("us.example".to_owned()), Rule::DomainAlias("us.test".to_owned()));
        put(&mut directory, Key::List("loop@us.test".to_owned()), list(false, &["pool@us.test"]));
        put(&mut directory, Key::List("pool@us.test".to_owned()), list(false, &["loop@us.test"]));
        directory
    }

    fn may(directory: &Directory, account: &str, sender: &str) -> bool {
        let sender = match sender {
            "" => ReversePath::Null,
            some => ReversePath::Address(Address::parse(some, true).unwrap()),
        };
        may_send_as(account, &sender, directory)
    }

    #[test]
    fn a_login_sends_as_itself_and_its_aliases() {
        let directory = house();
        for own in [
            "alice@us.test",
            "ALICE@US.test",
            "alice+shop@us.test",
            "alice@us.example",
            "sales@us.test",
            "shop@us.test",
            "",
        ] {
            assert!(may(&directory, "alice@us.test", own), "{own}");
        }
        for foreign in [
            "bob@us.test",
            "bob+alice@us.test",
            "staff@us.test",
            "nobody@us.test",
            "alice@elsewhere.test",
            "alice%us.test@us.test",
            "loop@us.test",
        ] {
            assert!(!may(&directory, "alice@us.test", foreign), "{foreign}");
        }
    }

    #[test]
    fn groups_and_others_are_granted() {
        let mut directory = house();
        let rules = AccountRules { send_as: vec!["staff@us.test".to_owned()], ..AccountRules::default() };
        put(&mut directory, Key::Account("alice@us.test".to_owned()), Rule::Account(rules));
        assert!(may(&directory, "alice@us.test", "staff@us.test"));
        assert!(!may(&directory, "bob@us.test", "staff@us.test"));
        assert!(!may(&directory, "alice@us.test", "bob@us.test"));
        let rules = AccountRules { any_sender: true, ..AccountRules::default() };
        put(&mut directory, Key::Account("bob@us.test".to_owned()), Rule::Account(rules));
        assert!(may(&directory, "bob@us.test", "anybody@elsewhere.test"));
    }
}
