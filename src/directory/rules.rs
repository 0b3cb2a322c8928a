//! The catalogue's rules as they are looked up: by address, by domain, by network.
//!
//! Every shard has all of them. Looking is a hash of the name asked for; of networks, one for each length of prefix in use.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::catalogue::{Access, AccountRules, DomainRules, Entry, Key, List, Rule, Table};
use crate::net::census::Cidr;

/// Characters at which a subaddress begins where nobody says otherwise (RFC 5233 §1).
pub const SEPARATOR: &str = "+";

/// All rules.
#[derive(Debug, Default)]
pub struct Rules {
    domains: BTreeMap<String, Kept<DomainRules>>,
    default: Kept<DomainRules>,
    aliases: HashMap<Box<str>, Kept<String>>,
    lists: HashMap<Box<str>, Kept<List>>,
    accounts: HashMap<Box<str>, Kept<AccountRules>>,
    access: HashMap<(Table, Box<str>), Kept<Access>>,
    /// Keys of which it is said that there is nothing.
    gone: HashMap<Key, u64>,
    /// Lengths of prefixes of which there are networks in the table of clients, with how many.
    prefixes: BTreeMap<(bool, u8), usize>,
    /// Entries of the table of recipients.
    recipients: usize,
    /// The highest `at` of all.
    newest: u64,
}

#[derive(Debug, Default)]
struct Kept<T> {
    at: u64,
    value: T,
}

impl<T: Clone> Kept<T> {
    fn entry(&self, rule: impl FnOnce(T) -> Rule) -> Entry {
        Entry { at: self.at, rule: rule(self.value.clone()) }
    }
}

impl Rules {
    /// Puts an entry into force unless a newer one of its key is. Applying it twice does no harm.
    pub fn put(&mut self, key: Key, entry: Entry) {
        let Entry { at, rule } = entry;
        self.newest = self.newest.max(at);
        if rule == Rule::Gone {
            if self.at_of(&key).is_none_or(|there| there <= at) {
                self.remove(&key);
                self.gone.insert(key, at);
            }
            return;
        }
        if self.gone.get(&key).is_some_and(|gone| *gone > at) {
            return;
        }
        self.gone.remove(&key);
        match (key, rule) {
            (Key::Domain(name), Rule::Domain(value)) => keep(self.domains.entry(name).or_default(), at, value),
            (Key::Default, Rule::Domain(value)) => keep(&mut self.default, at, value),
            (Key::DomainAlias(name), Rule::DomainAlias(of)) => {
                keep(self.aliases.entry(name.into()).or_default(), at, of)
            }
            (Key::List(name), Rule::List(value)) => keep(self.lists.entry(name.into()).or_default(), at, value),
            (Key::Account(name), Rule::Account(value)) => {
                keep(self.accounts.entry(name.into()).or_default(), at, value)
            }
            (Key::Access(table, what), Rule::Access(value)) => {
                let length = (table == Table::Client).then(|| prefix_of(&what)).flatten();
                let kept = Kept { at, value };
                match self.access.entry((table, what.into())) {
                    std::collections::hash_map::Entry::Occupied(mut there) => {
                        if there.get().at <= at {
                            there.insert(kept);
                        }
                    }
                    std::collections::hash_map::Entry::Vacant(free) => {
                        free.insert(kept);
                        self.recipients += usize::from(table == Table::Recipient);
                        length.into_iter().for_each(|length| *self.prefixes.entry(length).or_default() += 1);
                    }
                }
            }
            // No such pair is read, and none is made.
            (key, rule) => debug_assert!(false, "{key:?} has {rule:?}"),
        }
    }

    /// When the entry of this key was made, also where it says that there is nothing. `None`: nothing is known.
    #[must_use]
    pub fn at_of(&self, key: &Key) -> Option<u64> {
        self.entry(key).map(|entry| entry.at)
    }

    /// The entry of this key, as the store has it.
    #[must_use]
    pub fn entry(&self, key: &Key) -> Option<Entry> {
        let gone = self.gone.get(key).map(|at| Entry { at: *at, rule: Rule::Gone });
        let there = match key {
            Key::Domain(name) => self.domains.get(name).map(|kept| kept.entry(Rule::Domain)),
            Key::Default => Some(&self.default).filter(|kept| kept.at > 0).map(|kept| kept.entry(Rule::Domain)),
            Key::DomainAlias(name) => self.aliases.get(name.as_str()).map(|kept| kept.entry(Rule::DomainAlias)),
            Key::List(name) => self.lists.get(name.as_str()).map(|kept| kept.entry(Rule::List)),
            Key::Account(name) => self.accounts.get(name.as_str()).map(|kept| kept.entry(Rule::Account)),
            Key::Access(table, what) => {
                self.access.get(&(*table, what.as_str().into())).map(|kept| kept.entry(Rule::Access))
            }
        };
        gone.or(there)
    }

    /// Puts an entry out of force.
    pub fn remove(&mut self, key: &Key) {
        self.gone.remove(key);
        match key {
            Key::Domain(name) => drop(self.domains.remove(name)),
            Key::Default => self.default = Kept::default(),
            Key::DomainAlias(name) => drop(self.aliases.remove(name.as_str())),
            Key::List(name) => drop(self.lists.remove(name.as_str())),
            Key::Account(name) => drop(self.accounts.remove(name.as_str())),
            Key::Access(table, what) => {
                let gone = self.access.remove(&(*table, what.as_str().into()));
                self.recipients -= usize::from(gone.is_some() && *table == Table::Recipient);
                if let (Some(_), Table::Client, Some(length)) = (gone, table, prefix_of(what))
                    && let Some(count) = self.prefixes.get_mut(&length)
                {
                    *count -= 1;
                    if *count == 0 {
                        self.prefixes.remove(&length);
                    }
                }
            }
        }
    }

    /// The `at` of a change that is made now: above that of every entry there is.
    #[must_use]
    pub fn next_at(&self, now_ms: u64) -> u64 {
        now_ms.max(self.newest.saturating_add(1))
    }

    /// True if the domain is ours; not by another name of it.
    #[must_use]
    pub fn has_domain(&self, name: &str) -> bool {
        self.domains.contains_key(name)
    }

    /// Our domains, sorted.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.domains.keys().map(String::as_str)
    }

    /// What is said of this domain itself.
    #[must_use]
    pub fn domain(&self, name: &str) -> Option<&DomainRules> {
        self.domains.get(name).map(|kept| &kept.value)
    }

    /// What is said of domains that say nothing.
    #[must_use]
    pub fn default_domain(&self) -> &DomainRules {
        &self.default.value
    }

    /// The characters at which a subaddress of this domain begins.
    #[must_use]
    pub fn separator(&self, domain: &str) -> &str {
        let own = self.domain(domain).and_then(|rules| rules.separator.as_deref());
        own.or(self.default.value.separator.as_deref()).unwrap_or(SEPARATOR)
    }

    /// The domain that is meant by this name of it.
    #[must_use]
    pub fn meant<'a>(&'a self, domain: &'a str) -> &'a str {
        self.aliases.get(domain).map_or(domain, |kept| &kept.value)
    }

    /// The domain that this other name of one stands for.
    #[must_use]
    pub fn domain_alias(&self, name: &str) -> Option<&str> {
        self.aliases.get(name).map(|kept| kept.value.as_str())
    }

    /// Other names of domains, and the domains, unordered.
    pub fn domain_aliases(&self) -> impl Iterator<Item = (&str, &str)> {
        self.aliases.iter().map(|(name, of)| (&**name, of.value.as_str()))
    }

    /// An alias or group.
    #[must_use]
    pub fn list(&self, address: &str) -> Option<&List> {
        self.lists.get(address).map(|kept| &kept.value)
    }

    /// All aliases and groups, unordered.
    pub fn lists(&self) -> impl Iterator<Item = (&str, &List)> {
        self.lists.iter().map(|(name, list)| (&**name, &list.value))
    }

    /// What is said of an account.
    #[must_use]
    pub fn account(&self, name: &str) -> Option<&AccountRules> {
        self.accounts.get(name).map(|kept| &kept.value)
    }

    /// All accounts of which something is said, unordered.
    pub fn accounts(&self) -> impl Iterator<Item = (&str, &AccountRules)> {
        self.accounts.iter().map(|(name, rules)| (&**name, &rules.value))
    }

    /// All entries of the tables of who is let in, unordered.
    pub fn access(&self) -> impl Iterator<Item = (Table, &str, &Access)> {
        self.access.iter().map(|((table, what), access)| (*table, &**what, &access.value))
    }

    /// One of them.
    #[must_use]
    pub fn access_of(&self, table: Table, what: &str) -> Option<&Access> {
        self.access.get(&(table, what.into())).map(|kept| &kept.value)
    }

    /// True if there is an entry for any recipient.
    #[must_use]
    pub fn judges_recipients(&self) -> bool {
        self.recipients > 0
    }

    /// The entry for this client: that of the longest prefix whose time is not over.
    #[must_use]
    pub fn client(&self, ip: IpAddr, now_ms: u64) -> Option<&Access> {
        let ip = ip.to_canonical();
        let lengths = self.prefixes.keys().rev().filter(|(v4, _)| *v4 == ip.is_ipv4());
        lengths
            .filter_map(|(_, bits)| self.access_of(Table::Client, &Cidr::around(ip, *bits).to_string()))
            .find(|access| !access.is_over(now_ms))
    }

    /// The entry for a name: itself, or the longest end of it that is listed with a dot before it.
    #[must_use]
    pub fn host(&self, table: Table, name: &str, now_ms: u64) -> Option<&Access> {
        let name = name.strip_suffix('.').unwrap_or(name).to_lowercase();
        let own = std::iter::once(name.clone());
        let wider = name.match_indices('.').map(|(at, _)| name[at..].to_owned());
        own.chain(wider).filter_map(|what| self.access_of(table, &what)).find(|access| !access.is_over(now_ms))
    }

    /// The entry for an address, lower case: itself, then its domain as [`Rules::host`] has it. The null sender is `<>`.
    #[must_use]
    pub fn address(&self, table: Table, address: &str, now_ms: u64) -> Option<&Access> {
        let whole = if address.is_empty() { "<>" } else { address };
        let own = self.access_of(table, whole).filter(|access| !access.is_over(now_ms));
        own.or_else(|| self.host(table, address.rsplit_once('@')?.1, now_ms))
    }

    /// Keys of which it is said that there is nothing, unordered.
    pub fn gone(&self) -> impl Iterator<Item = (Key, Entry)> {
        self.gone.iter().map(|(key, at)| (key.clone(), Entry { at: *at, rule: Rule::Gone }))
    }

    /// Every entry in force as the store has it, unordered, domains without rules of their own included.
    pub fn entries(&self) -> impl Iterator<Item = (Key, Entry)> {
        let entry = |at: u64, rule: Rule| Entry { at, rule };
        let domains = self
            .domains
            .iter()
            .map(move |(name, kept)| (Key::Domain(name.clone()), entry(kept.at, Rule::Domain(kept.value.clone()))));
        let default = (self.default.at > 0)
            .then(|| (Key::Default, entry(self.default.at, Rule::Domain(self.default.value.clone()))));
        let aliases = self.aliases.iter().map(move |(name, kept)| {
            (Key::DomainAlias(name.to_string()), entry(kept.at, Rule::DomainAlias(kept.value.clone())))
        });
        let lists = self
            .lists
            .iter()
            .map(move |(name, kept)| (Key::List(name.to_string()), entry(kept.at, Rule::List(kept.value.clone()))));
        let accounts = self.accounts.iter().map(move |(name, kept)| {
            (Key::Account(name.to_string()), entry(kept.at, Rule::Account(kept.value.clone())))
        });
        let access = self.access.iter().map(move |((table, what), kept)| {
            (Key::Access(*table, what.to_string()), entry(kept.at, Rule::Access(kept.value.clone())))
        });
        domains.chain(default).chain(aliases).chain(lists).chain(accounts).chain(access)
    }
}

fn keep<T>(there: &mut Kept<T>, at: u64, value: T) {
    if there.at <= at {
        *there = Kept { at, value };
    }
}

/// Whether a network is of IPv4, and the length of its prefix.
fn prefix_of(what: &str) -> Option<(bool, u8)> {
    let (address, bits) = what.split_once('/')?;
    Some((!address.contains(':'), bits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(deny: bool, until_ms: Option<u64>) -> Entry {
        Entry { at: 1, rule: Rule::Access(Access { deny, until_ms, why: String::new() }) }
    }

    fn client(what: &str) -> Key {
        Key::Access(Table::Client, what.to_owned())
    }

    #[test]
    fn the_longest_prefix_that_is_not_over_decides() {
        let mut rules = Rules::default();
        rules.put(client("192.0.0.0/8"), access(true, None));
        rules.put(client("192.0.2.0/24"), access(false, Some(100)));
        rules.put(client("2001:db8::/32"), access(true, None));
        let denied = |rules: &Rules, ip: &str, now| rules.client(ip.parse().unwrap(), now).map(|access| access.deny);
        assert_eq!(denied(&rules, "192.0.2.1", 99), Some(false));
        assert_eq!(denied(&rules, "192.0.2.1", 100), Some(true), "what is over is not looked at");
        assert_eq!(denied(&rules, "::ffff:192.1.2.3", 0), Some(true), "IPv4 however it is written");
        assert_eq!(denied(&rules, "193.0.2.1", 0), None);
        assert_eq!(denied(&rules, "2001:db8:1::1", 0), Some(true));
        rules.remove(&client("192.0.0.0/8"));
        rules.remove(&client("192.0.0.0/8"));
        assert_eq!(denied(&rules, "192.1.2.3", 0), None);
        rules.put(client("0.0.0.0/0"), access(true, None));
        assert_eq!(denied(&rules, "192.1.2.3", 0), Some(true));
        assert_eq!(denied(&rules, "2002::", 0), None);
    }

    #[test]
    fn an_address_is_looked_for_before_its_domain_and_that_before_what_is_above_it() {
        let mut rules = Rules::default();
        let sender = |what: &str| Key::Access(Table::Sender, what.to_owned());
        rules.put(sender(".example.org"), access(true, None));
        rules.put(sender("good.example.org"), access(false, None));
        rules.put(sender("bad@good.example.org"), access(true, None));
        rules.put(sender("<>"), access(true, None));
        let denied = |address: &str| rules.address(Table::Sender, address, 0).map(|access| access.deny);
        assert_eq!(denied("x@a.b.example.org"), Some(true));
        assert_eq!(denied("x@good.example.org"), Some(false));
        assert_eq!(denied("bad@good.example.org"), Some(true));
        assert_eq!(denied("x@example.org"), None, "the dot is for names below");
        assert_eq!(denied(""), Some(true));
        assert_eq!(rules.address(Table::Recipient, "x@a.example.org", 0), None, "each table for itself");
    }

    #[test]
    fn the_newest_value_is_in_force_in_whichever_order_they_are_told() {
        let list = |target: &str| List { group: false, targets: vec![target.to_owned()] };
        let told = [(1, "old@a.test"), (2, "new@a.test")];
        for order in [told, [told[1], told[0]]] {
            let mut rules = Rules::default();
            for (at, target) in order {
                rules.put(Key::List("x@a.test".to_owned()), Entry { at, rule: Rule::List(list(target)) });
            }
            assert_eq!(rules.list("x@a.test"), Some(&list("new@a.test")));
            assert_eq!((rules.next_at(0), rules.next_at(9)), (3, 9));
            assert_eq!(rules.entries().count(), 1);
        }
    }

    #[test]
    fn what_is_gone_stays_so_for_what_is_older_and_not_for_what_is_newer() {
        let key = || Key::List("x@a.test".to_owned());
        let list = |at| Entry { at, rule: Rule::List(List { group: false, targets: vec![format!("{at}@a.test")] }) };
        let gone = Entry { at: 2, rule: Rule::Gone };
        for order in [[list(1), gone.clone()], [gone.clone(), list(1)]] {
            let mut rules = Rules::default();
            order.into_iter().for_each(|entry| rules.put(key(), entry));
            assert_eq!((rules.list("x@a.test"), rules.entries().count()), (None, 0));
            assert_eq!((rules.entry(&key()), rules.gone().count()), (Some(gone.clone()), 1));
            rules.put(key(), list(3));
            assert_eq!((rules.entry(&key()), rules.gone().count()), (Some(list(3)), 0));
            rules.put(key(), gone.clone());
            assert_eq!(rules.entry(&key()), Some(list(3)));
        }
    }
}
