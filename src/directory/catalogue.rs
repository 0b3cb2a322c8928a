//! What the catalogue holds beside domains and accounts: rules for where mail goes, and who is let in.
//!
//! Each rule is an entry of its own, kept in every volume in the store's table of names (FORMAT.md, domain put): the key is
//! text with a colon, which no domain's name has, and the value is a versioned JSON object. A domain's own rules are the value
//! of the domain itself, which is empty for one that has none.
//!
//! - Of two values of one key the one with the higher `at` is in force: a change that a crash has left in some of the volumes
//!   is everywhere or nowhere after the next start, which makes all volumes equal (see `office::level`).
//! - What was made and could not be kept in every volume is taken back by a value that says there is none ([`Rule::Gone`]): a
//!   volume that was away has the older one, and does not bring it back.
//! - A value that cannot be read makes its volume one that is not whole: nobody is called nobody then, and mail waits.
//!
//! ```text
//! example.org                          {"v":1,"at":1700000000000,"rule":{"domain":{"catch_all":"info@example.org"}}}
//! default:                             the same for domains that say nothing of their own
//! domain-alias:example.net             {… "rule":{"domain-alias":"example.org"}}
//! list:sales@example.org               {… "rule":{"list":{"group":false,"targets":["alice@example.org"]}}}
//! account:alice@example.org            {… "rule":{"account":{"forward":["bob@example.org"],"keep":true}}}
//! access:client:192.0.2.0/24           {… "rule":{"access":{"deny":true,"until_ms":1700003600000,"why":"spam"}}}
//! any of these                         {… "rule":"gone"}
//! ```

use serde::{Deserialize, Serialize};

/// A value, octets. Longer: the verb is refused, and what is stored is not read. (The store takes 64 KiB.)
pub const ENTRY_BYTES_MAX: usize = 60 << 10;
/// Targets of one alias, members of one group, targets of one forward or journal. More: the verb is refused.
pub const TARGETS_MAX: usize = 1_000;

/// Which entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A domain that is ours: its own rules.
    Domain(String),
    /// The rules of domains that say nothing of their own.
    Default,
    /// Another name of a domain.
    DomainAlias(String),
    /// An alias or a group: `local@domain`, lower case.
    List(String),
    /// An account's rules: `user@domain`, lower case.
    Account(String),
    /// Who is let in: a table, and what is looked for in it.
    Access(Table, String),
}

/// What is looked at when somebody is let in or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Table {
    /// The network a connection comes from.
    Client,
    /// The name a client gives itself.
    Helo,
    /// MAIL FROM.
    Sender,
    /// RCPT TO.
    Recipient,
}

impl Table {
    /// All of them.
    pub const ALL: [Table; 4] = [Table::Client, Table::Helo, Table::Sender, Table::Recipient];

    /// Its word at the command line, in keys and in the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Table::Client => "client",
            Table::Helo => "helo",
            Table::Sender => "sender",
            Table::Recipient => "recipient",
        }
    }
}

/// A rule and when it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Milliseconds since 1970, and above those of every entry there was: the highest wins.
    pub at: u64,
    /// What is in force.
    pub rule: Rule,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Of [`Key::Domain`] and [`Key::Default`].
    Domain(DomainRules),
    /// Of [`Key::DomainAlias`]: the domain that is meant.
    DomainAlias(String),
    /// Of [`Key::List`].
    List(List),
    /// Of [`Key::Account`].
    Account(AccountRules),
    /// Of [`Key::Access`].
    Access(Access),
    /// Of any key: there is nothing, and there was nothing when what is older was made.
    Gone,
}

/// How a domain's mail goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DomainRules {
    /// Who gets mail for addresses that nobody has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catch_all: Option<String>,
    /// Characters at which a subaddress begins (RFC 5233 §1); none of them: empty; absent: as by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// Who gets the mail for postmaster and abuse where these are no accounts (RFC 5321 §4.5.1, RFC 2142).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postmaster: Option<String>,
    /// Who gets a copy of all that comes for the domain's accounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub journal: Vec<String>,
}

/// One address that stands for others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct List {
    /// A group has members that come and go; an alias has targets.
    pub group: bool,
    /// Addresses of ours, lower case, sorted, each once.
    pub targets: Vec<String>,
}

/// How an account's mail goes, and what it may send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccountRules {
    /// Who gets its mail.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forward: Vec<String>,
    /// Whether what is forwarded is kept too.
    pub keep: bool,
    /// Whether mail for a subaddress goes to the folder of that name.
    pub folders: bool,
    /// Who gets a copy of all that comes for it, and of all that it sends.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub journal: Vec<String>,
    /// It may send with any sender's address.
    pub any_sender: bool,
    /// Addresses it may send with, beside its own and its aliases: groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub send_as: Vec<String>,
    /// Why it may not send; absent: it may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspended: Option<String>,
    /// How much it may send.
    #[serde(skip_serializing_if = "SendLimits::is_default")]
    pub limits: SendLimits,
}

impl Default for AccountRules {
    fn default() -> Self {
        AccountRules {
            forward: Vec::new(),
            keep: true,
            folders: false,
            journal: Vec::new(),
            any_sender: false,
            send_as: Vec::new(),
            suspended: None,
            limits: SendLimits::default(),
        }
    }
}

/// How much an account may send. Absent: as by default; 0: as much as it likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SendLimits {
    /// Messages an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_hour: Option<u32>,
    /// Messages a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_day: Option<u32>,
    /// Recipients an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipients_hour: Option<u32>,
    /// Recipients a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipients_day: Option<u32>,
    /// Recipients of one message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipients_message: Option<u32>,
}

impl SendLimits {
    /// True if nothing is said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == SendLimits::default()
    }

    /// What is said here, and of the rest what `others` say.
    #[must_use]
    pub fn or(self, others: SendLimits) -> SendLimits {
        SendLimits {
            messages_hour: self.messages_hour.or(others.messages_hour),
            messages_day: self.messages_day.or(others.messages_day),
            recipients_hour: self.recipients_hour.or(others.recipients_hour),
            recipients_day: self.recipients_day.or(others.recipients_day),
            recipients_message: self.recipients_message.or(others.recipients_message),
        }
    }
}

/// Let in or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// Refused; false: let in, where a wider entry refuses.
    pub deny: bool,
    /// Until then, milliseconds since 1970; absent: until it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// For the log and the list, never said to whom it concerns.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

impl Access {
    /// True if its time is over.
    #[must_use]
    pub fn is_over(&self, now_ms: u64) -> bool {
        self.until_ms.is_some_and(|until| until <= now_ms)
    }
}

/// The entry is damaged, too long, or made by something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry of the catalogue cannot be read")]
pub struct BadEntry;

/// The entry of a domain without rules of its own.
#[must_use]
pub fn domain(name: &str) -> (Key, Entry) {
    (Key::Domain(name.to_owned()), Entry { at: 0, rule: Rule::Domain(DomainRules::default()) })
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoded {
    v: u32,
    at: u64,
    rule: Rule,
}

impl Key {
    /// As the store has it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Key::Domain(name) => name.clone(),
            Key::Default => "default:".to_owned(),
            Key::DomainAlias(name) => format!("domain-alias:{name}"),
            Key::List(address) => format!("list:{address}"),
            Key::Account(address) => format!("account:{address}"),
            Key::Access(table, what) => format!("access:{}:{what}", table.word()),
        }
    }

    /// Reads what [`Key::text`] wrote.
    ///
    /// # Errors
    /// [`BadEntry`] for anything else.
    pub fn read(text: &str) -> Result<Key, BadEntry> {
        let Some((kind, name)) = text.split_once(':') else { return Ok(Key::Domain(text.to_owned())) };
        let owned = name.to_owned();
        Ok(match kind {
            "default" if name.is_empty() => Key::Default,
            "domain-alias" => Key::DomainAlias(owned),
            "list" => Key::List(owned),
            "account" => Key::Account(owned),
            "access" => {
                let (table, what) = name.split_once(':').ok_or(BadEntry)?;
                let table = Table::ALL.into_iter().find(|t| t.word() == table).ok_or(BadEntry)?;
                Key::Access(table, what.to_owned())
            }
            _ => return Err(BadEntry),
        })
    }

    fn fits(&self, rule: &Rule) -> bool {
        matches!(
            (self, rule),
            (Key::Domain(_) | Key::Default, Rule::Domain(_))
                | (Key::DomainAlias(_), Rule::DomainAlias(_))
                | (Key::List(_), Rule::List(_))
                | (Key::Account(_), Rule::Account(_))
                | (Key::Access(..), Rule::Access(_))
                | (_, Rule::Gone)
        )
    }
}

impl Entry {
    /// The octets to be stored. A domain without rules of its own has none.
    ///
    /// # Errors
    /// [`BadEntry`] when they are more than [`ENTRY_BYTES_MAX`].
    pub fn encode(&self) -> Result<Vec<u8>, BadEntry> {
        if self.rule == Rule::Domain(DomainRules::default()) && self.at == 0 {
            return Ok(Vec::new());
        }
        let encoded = Encoded { v: 1, at: self.at, rule: self.rule.clone() };
        let octets = serde_json::to_vec(&encoded).map_err(|_| BadEntry)?;
        if octets.len() > ENTRY_BYTES_MAX { Err(BadEntry) } else { Ok(octets) }
    }
}

/// Reads an entry as the store has it.
///
/// # Errors
/// [`BadEntry`] for what nobody here has written.
pub fn read(key: &str, octets: &[u8]) -> Result<(Key, Entry), BadEntry> {
    let key = Key::read(key)?;
    if octets.is_empty() && matches!(key, Key::Domain(_)) {
        return Ok((key, Entry { at: 0, rule: Rule::Domain(DomainRules::default()) }));
    }
    if octets.len() > ENTRY_BYTES_MAX {
        return Err(BadEntry);
    }
    let Encoded { v, at, rule } = serde_json::from_slice(octets).map_err(|_| BadEntry)?;
    if v != 1 || !key.fits(&rule) {
        return Err(BadEntry);
    }
    Ok((key, Entry { at, rule }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<(Key, Rule)> {
        let address = || "sales@example.org".to_owned();
        vec![
            (Key::Domain("example.org".to_owned()), Rule::Domain(DomainRules::default())),
            (
                Key::Default,
                Rule::Domain(DomainRules {
                    catch_all: Some(address()),
                    separator: Some("+-".to_owned()),
                    postmaster: Some(address()),
                    journal: vec![address()],
                }),
            ),
            (Key::DomainAlias("example.net".to_owned()), Rule::DomainAlias("example.org".to_owned())),
            (Key::List(address()), Rule::List(List { group: true, targets: vec!["a@b".to_owned()] })),
            (Key::Account(address()), Rule::Account(AccountRules::default())),
            (
                Key::Access(Table::Client, "2001:db8::/32".to_owned()),
                Rule::Access(Access { deny: true, until_ms: Some(7), why: "spam: again".to_owned() }),
            ),
        ]
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        for (key, rule) in all() {
            for at in [0, 1, u64::MAX] {
                let entry = Entry { at, rule: rule.clone() };
                let octets = entry.encode().unwrap();
                assert_eq!(read(&key.text(), &octets), Ok((key.clone(), entry)));
            }
        }
        assert_eq!(Entry { at: 0, rule: Rule::Domain(DomainRules::default()) }.encode(), Ok(Vec::new()));
        for (key, _) in all() {
            let gone = Entry { at: 7, rule: Rule::Gone };
            assert_eq!(gone.encode(), Ok(br#"{"v":1,"at":7,"rule":"gone"}"#.to_vec()));
            assert_eq!(read(&key.text(), &gone.encode().unwrap()), Ok((key, gone)));
        }
    }

    #[test]
    fn what_nobody_here_wrote_is_not_read() {
        for (key, rule) in all() {
            let octets = Entry { at: 9, rule }.encode().unwrap();
            for cut in 1..octets.len() {
                assert_eq!(read(&key.text(), &octets[..cut]), Err(BadEntry));
            }
            let text = String::from_utf8(octets.clone()).unwrap();
            assert_eq!(read(&key.text(), text.replace("\"v\":1", "\"v\":2").as_bytes()), Err(BadEntry));
            assert_eq!(read("sieve:x", &octets), Err(BadEntry), "a kind that is not known");
            assert_eq!(read("access:moon:x", &octets), Err(BadEntry));
            if !matches!(key, Key::DomainAlias(_)) {
                assert_eq!(read("domain-alias:x.test", &octets), Err(BadEntry), "a rule of another kind");
            }
        }
        assert_eq!(read("list:a@b.test", b""), Err(BadEntry), "only a domain may say nothing");
        let long = List { group: true, targets: vec!["a@b.test".to_owned(); ENTRY_BYTES_MAX / 8] };
        assert_eq!(Entry { at: 1, rule: Rule::List(long) }.encode(), Err(BadEntry));
    }
}
