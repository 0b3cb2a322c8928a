//! Which senders' addresses an account may use: its own, its aliases, and the groups that were granted to it.
//!
//! Pure. What a login may write into MAIL FROM is decided here and nowhere else (RFC 6409 §6.1).

use crate::directory::Directory;
use crate::directory::catalogue::AccountRules;
use crate::mail::address::{Address, ReversePath};
use crate::mail::envelope::envelope_of;
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

/// True if the account may write all of these as authors of a letter: the addresses of its fields From and Sender (RFC 5322
/// §3.6.2), which are `header`. A From in which no address can be read is nobody's; a letter without any is nobody else's.
#[must_use]
pub fn may_write_as(account: &str, header: &[u8], directory: &Directory) -> bool {
    if header.is_empty() || directory.rules().account(account).is_some_and(|own| own.any_sender) {
        return true;
    }
    let envelope = envelope_of(header);
    let has_from = header.starts_with(b"From:") || memchr::memmem::find(header, b"\nFrom:").is_some();
    let mut authors = envelope.from.iter().chain(&envelope.sender).filter_map(|author| {
        // A group's name and its end have no host; its members have.
        Some((author.mailbox.as_deref()?, author.host.as_deref()?))
    });
    let is_own = |(local, host): (&[u8], &[u8])| {
        let text = [local, b"@", host].concat();
        let address = std::str::from_utf8(&text).ok().and_then(|text| Address::parse(text, true).ok());
        address.is_some_and(|address| may_send_as(account, &ReversePath::Address(address), directory))
    };
    let somebody = envelope.from.iter().any(|author| author.mailbox.is_some() && author.host.is_some());
    (somebody || !has_from) && authors.all(is_own)
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
    fn every_author_of_a_letter_must_be_the_logins() {
        let directory = house();
        let may = |header: &str| may_write_as("alice@us.test", header.as_bytes(), &directory);
        for own in [
            "",
            "From: alice@us.test\r\n",
            "From: \"Bob <bob@us.test>\" <Alice@US.test>\r\n",
            "From: alice+x@us.test, Sales <sales@us.test>\r\nSender: alice@us.example\r\n",
            "Sender: alice@us.test\r\n",
            "From: us: alice@us.test, sales@us.test;\r\n",
        ] {
            assert!(may(own), "{own}");
        }
        for foreign in [
            "From: bob@us.test\r\n",
            "From: alice@us.test <bob@us.test>\r\n",
            "From: alice@us.test, bob@us.test\r\n",
            "From: alice@us.test\r\nFrom: bob@us.test\r\n",
            "From: alice@us.test\r\nSender: bob@us.test\r\n",
            "From: us: bob@us.test;\r\n",
            "From: x@elsewhere.test\r\n",
            "From: alice\r\n",
            "From:\r\n",
            "From: nobody:;\r\n",
            "Sender: x@elsewhere.test\r\n",
            "From: =?utf-8?q?alice=40us.test?= <x@elsewhere.test>\r\n",
        ] {
            assert!(!may(foreign), "{foreign}");
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
