//! Ways of mail, told as stories: who is who, and where a letter for somebody arrives.

use ringpost_storage::AccountId;

use super::*;
use crate::directory::catalogue::{self, Access, AccountRules, DomainRules, Entry, Key, List, Rule, Table};
use crate::directory::{Change, Home};

struct Town {
    directory: Directory,
}

impl Town {
    fn of(accounts: &[&str]) -> Town {
        let mut directory = Directory::default();
        let home = |n: usize| Home { volume: 0, account: AccountId(n as u64), generation: 1 };
        directory.apply(Change::Volume {
            volume: 0,
            catalogue: vec![catalogue::domain("a.test"), catalogue::domain("b.test")],
            accounts: accounts.iter().enumerate().map(|(n, name)| ((*name).to_owned(), home(n))).collect(),
            limited: vec![],
            keyless: vec![],
            whole: true,
        });
        Town { directory }
    }

    fn put(mut self, key: Key, rule: Rule) -> Town {
        self.directory.apply(Change::Put(key, Entry { at: 1, rule }));
        self
    }

    fn list(self, name: &str, targets: &[&str]) -> Town {
        self.put(Key::List(name.to_owned()), Rule::List(List { group: true, targets: owned(targets) }))
    }

    fn account(self, name: &str, change: impl FnOnce(&mut AccountRules)) -> Town {
        let mut rules = AccountRules::default();
        change(&mut rules);
        self.put(Key::Account(name.to_owned()), Rule::Account(rules))
    }

    fn domain(self, name: &str, change: impl FnOnce(&mut DomainRules)) -> Town {
        let mut rules = DomainRules::default();
        change(&mut rules);
        let key = if name.is_empty() { Key::Default } else { Key::Domain(name.to_owned()) };
        self.put(key, Rule::Domain(rules))
    }

    fn forward(self, name: &str, to: &[&str], keep: bool) -> Town {
        self.account(name, |rules| (rules.forward, rules.keep) = (owned(to), keep))
    }

    /// Who gets a letter for `name`, in order, folders after a slash.
    fn to(&self, name: &str) -> Result<Vec<String>, Nowhere> {
        let local = name.rsplit_once('@').expect("an address").0;
        let targets = expand(&name.to_lowercase(), local, &self.directory, 1)?;
        Ok(targets
            .into_iter()
            .map(|t| t.folder.map_or(t.name.clone(), |folder| format!("{}/{folder}", t.name)))
            .collect())
    }
}

impl Town {
    fn recipient(self, what: &str, deny: bool) -> Town {
        let access = Access { deny, until_ms: Some(100), why: String::new() };
        self.put(Key::Access(Table::Recipient, what.to_owned()), Rule::Access(access))
    }

    /// The same for whoever brings mail from outside.
    fn lets_in(&self, name: &str, now_ms: u64) -> Result<Vec<String>, Nowhere> {
        let (targets, _) = expand_let_in(name, "", &self.directory, 1, now_ms);
        Ok(targets?.into_iter().map(|target| target.name).collect())
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn at(names: &[&str]) -> Result<Vec<String>, Nowhere> {
    Ok(owned(names))
}

#[test]
fn a_group_reaches_every_mailbox_once() {
    let town = Town::of(&["x@a.test", "y@a.test", "z@b.test"])
        .list("all@a.test", &["staff@a.test", "x@a.test", "z@b.test", "all@a.test"])
        .list("staff@a.test", &["x@a.test", "y@a.test", "gone@a.test", "who@elsewhere.test"]);
    assert_eq!(town.to("all@a.test"), at(&["x@a.test", "y@a.test", "z@b.test"]));
    assert_eq!(town.to("ALL@A.test"), at(&["x@a.test", "y@a.test", "z@b.test"]));
    assert_eq!(town.to("gone@a.test"), Err(Nowhere::Nobody));
    assert_eq!(town.to("who@elsewhere.test"), Err(Nowhere::Elsewhere));
}

#[test]
fn a_list_of_nobody_is_nobody_and_leads_to_no_other_host() {
    let town = Town::of(&["x@a.test"]).list("old@a.test", &["gone@a.test", "who@elsewhere.test"]);
    assert_eq!(town.to("old@a.test"), Err(Nowhere::Nobody));
}

#[test]
fn what_leads_to_itself_is_a_loop() {
    let town = Town::of(&["x@a.test"]).list("ping@a.test", &["pong@a.test"]).list("pong@a.test", &["ping@a.test"]);
    assert_eq!(town.to("ping@a.test"), Err(Nowhere::Loop));
    let town = town.list("pong@a.test", &["ping@a.test", "x@a.test"]);
    assert_eq!(town.to("ping@a.test"), at(&["x@a.test"]), "cut where it closes");
}

#[test]
fn what_is_too_deep_or_too_many_is_refused() {
    let mut town = Town::of(&["x@a.test"]).list("l0@a.test", &["x@a.test"]);
    for n in 1..=DEPTH_MAX {
        town = town.list(&format!("l{n}@a.test"), &[&format!("l{}@a.test", n - 1)]);
    }
    assert_eq!(town.to(&format!("l{}@a.test", DEPTH_MAX - 1)), at(&["x@a.test"]));
    assert_eq!(town.to(&format!("l{DEPTH_MAX}@a.test")), Err(Nowhere::Loop));
    let names: Vec<String> = (0..TARGETS_MAX).map(|n| format!("u{n}@a.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let town = Town::of(&names).list("fits@a.test", &names[1..]).list("all@a.test", &names);
    assert_eq!(town.to("fits@a.test").map(|them| them.len()), Ok(TARGETS_MAX - 1));
    assert_eq!(town.to("all@a.test"), Err(Nowhere::TooMany));
}

#[test]
fn a_forward_may_keep_a_copy_and_loses_none() {
    let town = Town::of(&["x@a.test", "y@a.test"]);
    let keeps = town.forward("x@a.test", &["y@a.test"], true);
    assert_eq!(keeps.to("x@a.test"), at(&["y@a.test", "x@a.test"]));
    let sends = keeps.forward("x@a.test", &["y@a.test"], false);
    assert_eq!(sends.to("x@a.test"), at(&["y@a.test"]));
    let old = sends.forward("x@a.test", &["gone@a.test", "who@elsewhere.test"], false);
    assert_eq!(old.to("x@a.test"), at(&["x@a.test"]), "a rule that has become old loses nothing");
    let ring = old.forward("x@a.test", &["y@a.test"], false).forward("y@a.test", &["x+z@a.test"], false);
    assert_eq!(ring.to("x@a.test"), at(&["y@a.test"]), "nor does a ring");
    let both = ring.list("both@a.test", &["y@a.test", "x@a.test"]);
    assert_eq!(both.to("both@a.test"), at(&["x@a.test"]));
}

#[test]
fn journals_get_what_arrives_for_an_account_or_a_domain() {
    let town = Town::of(&["x@a.test", "boss@b.test", "law@b.test"])
        .account("x@a.test", |rules| rules.journal = owned(&["boss@b.test"]))
        .account("boss@b.test", |rules| rules.journal = owned(&["x@a.test"]))
        .domain("a.test", |rules| rules.journal = owned(&["law@b.test"]));
    assert_eq!(town.to("x@a.test"), at(&["x@a.test", "law@b.test", "boss@b.test"]));
    assert_eq!(town.to("law@b.test"), at(&["law@b.test"]));
}

#[test]
fn a_subaddress_is_its_owners_and_goes_to_a_folder_where_that_is_wanted() {
    let town = Town::of(&["x@a.test", "odd+name@a.test"]).list("team@a.test", &["x@a.test"]);
    assert_eq!(town.to("x+Shop@a.test"), at(&["x@a.test"]));
    assert_eq!(town.to("odd+name@a.test"), at(&["odd+name@a.test"]), "whose name it is comes first");
    assert_eq!(town.to("team+x@a.test"), at(&["x@a.test"]));
    assert_eq!(town.to("+x@a.test"), Err(Nowhere::Nobody));
    let town = town.account("x@a.test", |rules| rules.folders = true);
    assert_eq!(town.to("X+Shop.Books+1@a.test"), at(&["x@a.test/Shop.Books+1"]));
    assert_eq!(town.to("team+x@a.test"), at(&["x@a.test"]), "a detail of the team's is not the member's");
    let town = town.domain("a.test", |rules| rules.separator = Some("-=".to_owned()));
    assert_eq!(town.to("x+shop@a.test"), Err(Nowhere::Nobody));
    assert_eq!(town.to("x=shop-1@a.test"), at(&["x@a.test/shop-1"]));
    let town = town.domain("a.test", |rules| rules.separator = Some(String::new()));
    assert_eq!(town.to("x=shop@a.test"), Err(Nowhere::Nobody));
}

#[test]
fn another_name_of_a_domain_has_all_its_addresses() {
    let town = Town::of(&["x@a.test"])
        .list("team@a.test", &["x@also-a.test"])
        .put(Key::DomainAlias("also-a.test".to_owned()), Rule::DomainAlias("a.test".to_owned()));
    for name in ["x@also-a.test", "team@also-a.test", "x+y@also-a.test"] {
        assert_eq!(town.to(name), at(&["x@a.test"]), "{name}");
    }
    assert_eq!(town.to("nobody@also-a.test"), Err(Nowhere::Nobody));
}

#[test]
fn the_catch_all_has_what_nobody_else_has() {
    let town =
        Town::of(&["x@a.test", "y@a.test"]).domain("a.test", |rules| rules.catch_all = Some("x@a.test".to_owned()));
    assert_eq!(town.to("whoever@a.test"), at(&["x@a.test"]));
    assert_eq!(town.to("y+shop@a.test"), at(&["y@a.test"]));
    assert_eq!(town.to("whoever@b.test"), Err(Nowhere::Nobody));
    assert_eq!(town.to("whoever@elsewhere.test"), Err(Nowhere::Elsewhere));
}

#[test]
fn a_catch_all_gets_nothing_that_may_be_somebodys() {
    let mut town = Town::of(&["x@a.test"]).domain("a.test", |rules| rules.catch_all = Some("x@a.test".to_owned()));
    assert_eq!(expand("whoever@a.test", "whoever", &town.directory, 2), Err(Nowhere::AskAgain));
    let lost = Change::Volume {
        volume: 0,
        catalogue: vec![],
        accounts: vec![],
        limited: vec![],
        keyless: vec![],
        whole: false,
    };
    town.directory.apply(lost);
    assert_eq!(town.to("whoever@a.test"), Err(Nowhere::AskAgain));
    assert_eq!(town.to("x@a.test"), at(&["x@a.test"]));
}

#[test]
fn a197_postmaster_and_abuse_are_always_somebodys() {
    let town = Town::of(&["x@a.test", "postmaster@b.test", "abuse@a.test"]);
    assert_eq!(town.to("abuse@a.test"), at(&["abuse@a.test"]));
    assert_eq!(town.to("postmaster@a.test"), at(&["postmaster@b.test"]), "any there is");
    let town = town.domain("", |rules| rules.postmaster = Some("x@a.test".to_owned()));
    assert_eq!(town.to("postmaster@a.test"), at(&["x@a.test"]));
    assert_eq!(town.to("abuse+now@b.test"), at(&["x@a.test"]));
    let town = town.domain("a.test", |rules| rules.postmaster = Some("gone@a.test".to_owned()));
    assert_eq!(town.to("postmaster@a.test"), at(&["x@a.test"]), "the next, where the first is gone");
    assert_eq!(town.to("postmaster@b.test"), at(&["postmaster@b.test"]));
    assert_eq!(Town::of(&["x@a.test"]).to("postmaster@a.test"), Err(Nowhere::Nobody));
}

#[test]
fn what_nobody_may_send_to_is_reached_by_no_other_name_of_it() {
    let town = Town::of(&["x@a.test", "y@a.test", "odd+x@a.test"])
        .list("alias@a.test", &["x@a.test"])
        .list("deep@a.test", &["alias@a.test"])
        .list("both@a.test", &["x@a.test", "y@a.test"])
        .forward("y@a.test", &["x@a.test"], true)
        .put(Key::DomainAlias("also-a.test".to_owned()), Rule::DomainAlias("a.test".to_owned()))
        .domain("b.test", |rules| rules.catch_all = Some("x+caught@a.test".to_owned()))
        .recipient("x@a.test", true);
    for name in [
        "x@a.test",
        "x+shop@a.test",
        "x@also-a.test",
        "x+shop@also-a.test",
        "alias@a.test",
        "alias+y@also-a.test",
        "deep@a.test",
        "whoever@b.test",
    ] {
        assert_eq!(town.lets_in(name, 99), Err(Nowhere::Denied), "{name}");
        assert_eq!(town.lets_in(name, 100), at(&["x@a.test"]), "{name}: its time is over");
        assert_eq!(town.to(name), at(&["x@a.test"]), "{name}: to the operator's own");
    }
    assert_eq!(town.lets_in("both@a.test", 0), at(&["y@a.test"]), "the others of a group get it");
    assert_eq!(town.lets_in("y@a.test", 0), at(&["y@a.test"]), "a forward that leads nowhere keeps it");
    assert_eq!(town.lets_in("odd+x@a.test", 0), at(&["odd+x@a.test"]), "somebody else's name");
    let town = town.account("y@a.test", |rules| rules.journal = owned(&["x@a.test"]));
    assert_eq!(town.lets_in("both@a.test", 0), at(&["y@a.test", "x@a.test"]), "a journal is the operator's");
}

#[test]
fn what_is_said_of_an_address_goes_before_what_is_said_of_its_domain() {
    let town = Town::of(&["x@a.test", "y@a.test"]).recipient("a.test", true).recipient("x@a.test", false);
    for name in ["x@a.test", "x+shop@a.test"] {
        assert_eq!(town.lets_in(name, 0), at(&["x@a.test"]), "{name}");
    }
    assert_eq!(town.lets_in("y@a.test", 0), Err(Nowhere::Denied));
    assert_eq!(town.lets_in("nobody@a.test", 0), Err(Nowhere::Denied), "and nobody learns who is there");
    let town = town.recipient("x+shop@a.test", true);
    assert_eq!(town.lets_in("x+shop@a.test", 0), Err(Nowhere::Denied));
}
