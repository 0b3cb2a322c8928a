//! Opinions about who brings mail: one filter a file, each a pure function of what is known of a client, and off unless it is
//! switched on.
//!
//! ```text
//!   connect ── pregreet                                   [`FILTERS`] has a row for each: name, section, counters
//!   MAIL ───── dnsbl, helo, sender_domain ─► questions to DNS, all at once, in `filter.wait_ms`
//!   RCPT ───── greylist, on the shard whose network it is          │
//!                      a finding ◄─────────────────────────────────┘
//!   mode:  off | dry-run: logged and counted | tag: a header field | defer: 450 | reject: as the finding says
//! ```
//!
//! - Filters are asked of other hosts alone, at the doors where those bring mail: never of somebody who logs in, of a process on
//!   this host, or of the networks in `filter.exempt`.
//! - What is found before RCPT is said at RCPT, so that the log has sender and recipient, and so that `postmaster` and `abuse`
//!   hear from everybody (RFC 5321 §4.5.1, RFC 2142 §4). `filter.refuse_at = "mail"` says it at MAIL.
//! - That DNS does not answer refuses nobody for good. A filter that cannot tell lets pass; only of the sender's domain it is a
//!   setting (A090).
//! - Everything is bounded: questions of a session, time, networks and triplets remembered (`limits::FILTER_*`).
//!
//! Files in reading order: `mode` (from a finding to what is done), `network`, `known` (who passed), then the filters `pregreet`,
//! `dnsbl`, `helo`, `sender_domain`, `greylist`; `questions` (asks DNS for them), `watch` (what one session's client is thought of).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

use crate::net::census::{self, Cidr};
use crate::observe::{self, Counter};
use crate::shard::Peer;

pub mod mode;
pub mod network;
pub mod known;
pub mod pregreet;
pub mod dnsbl;
pub mod helo;
pub mod sender_domain;
pub mod greylist;
mod questions;
pub mod ration;
pub mod watch;

pub use mode::{Finding, Mode, Verdict};
pub use network::Network;
pub use watch::Watch;

/// A filter. Their order is that in which they are heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Filter {
    /// Whoever talks before he was greeted.
    Pregreet,
    /// Lists of addresses, asked by DNS.
    Dnsbl,
    /// The name in HELO and EHLO.
    Helo,
    /// The domain of MAIL FROM.
    SenderDomain,
    /// Whoever comes for the first time comes again.
    Greylist,
}

/// A filter's row.
pub struct Row {
    /// Which.
    pub filter: Filter,
    /// Its name in log, metrics and tags.
    pub name: &'static str,
    /// When it is asked.
    pub stage: &'static str,
    /// Its section of the configuration.
    pub section: &'static str,
    /// Where its verdicts are counted, in the order of [`Verdict`].
    counters: [Counter; 6],
}

/// The table.
pub static FILTERS: [Row; 5] = [
    Row {
        filter: Filter::Pregreet,
        name: "pregreet",
        stage: "connect",
        section: "filter.pregreet",
        counters: [
            Counter::FilterPregreetPass,
            Counter::FilterPregreetDryRun,
            Counter::FilterPregreetTag,
            Counter::FilterPregreetDefer,
            Counter::FilterPregreetReject,
            Counter::FilterPregreetError,
        ],
    },
    Row {
        filter: Filter::Dnsbl,
        name: "dnsbl",
        stage: "MAIL, once a connection",
        section: "filter.dnsbl",
        counters: [
            Counter::FilterDnsblPass,
            Counter::FilterDnsblDryRun,
            Counter::FilterDnsblTag,
            Counter::FilterDnsblDefer,
            Counter::FilterDnsblReject,
            Counter::FilterDnsblError,
        ],
    },
    Row {
        filter: Filter::Helo,
        name: "helo",
        stage: "MAIL, once a name",
        section: "filter.helo",
        counters: [
            Counter::FilterHeloPass,
            Counter::FilterHeloDryRun,
            Counter::FilterHeloTag,
            Counter::FilterHeloDefer,
            Counter::FilterHeloReject,
            Counter::FilterHeloError,
        ],
    },
    Row {
        filter: Filter::SenderDomain,
        name: "sender_domain",
        stage: "MAIL",
        section: "filter.sender_domain",
        counters: [
            Counter::FilterSenderDomainPass,
            Counter::FilterSenderDomainDryRun,
            Counter::FilterSenderDomainTag,
            Counter::FilterSenderDomainDefer,
            Counter::FilterSenderDomainReject,
            Counter::FilterSenderDomainError,
        ],
    },
    Row {
        filter: Filter::Greylist,
        name: "greylist",
        stage: "RCPT",
        section: "filter.greylist",
        counters: [
            Counter::FilterGreylistPass,
            Counter::FilterGreylistDryRun,
            Counter::FilterGreylistTag,
            Counter::FilterGreylistDefer,
            Counter::FilterGreylistReject,
            Counter::FilterGreylistError,
        ],
    },
];

impl Filter {
    /// Its row.
    #[must_use]
    pub fn row(self) -> &'static Row {
        &FILTERS[self as usize]
    }
}

impl Row {
    /// Where a verdict of this filter is counted.
    #[must_use]
    pub fn counter(&self, verdict: Verdict) -> Counter {
        self.counters[verdict as usize]
    }
}

/// When a refusal is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RefuseAt {
    /// To each recipient but `postmaster` and `abuse`.
    #[default]
    Rcpt,
    /// To the sender.
    Mail,
}

/// What the filters of this process were told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Networks nobody asks about.
    pub exempt: Vec<Cidr>,
    /// How long MAIL waits for DNS, for all filters together.
    pub wait: Duration,
    /// When a refusal is said.
    pub refuse_at: RefuseAt,
    /// Of `pregreet`.
    pub pregreet: pregreet::Settings,
    /// Of `dnsbl`.
    pub dnsbl: dnsbl::Settings,
    /// Of `helo`.
    pub helo: helo::Settings,
    /// Of `sender_domain`.
    pub sender_domain: sender_domain::Settings,
    /// Of `greylist`.
    pub greylist: greylist::Settings,
    /// The folder in which greylisting is kept over a restart. `None`: it is not.
    pub keep_in: Option<PathBuf>,
}

impl Settings {
    /// True if any of them is on.
    #[must_use]
    pub fn any_on(&self) -> bool {
        [self.pregreet.mode, self.dnsbl.mode, self.sender_domain.mode, self.greylist.mode]
            .into_iter()
            .chain(self.helo.modes.iter().copied())
            .any(Mode::is_on)
    }
}

/// A shard's filters: what they were told, and what they remember.
pub struct Filters {
    /// What they were told.
    pub settings: Settings,
    /// Networks whose home is this shard.
    pub greylist: RefCell<greylist::Table>,
    /// Who waited for the greeting, on this shard.
    waited: RefCell<known::Known>,
    /// What came of asking lists, in their order.
    lists: RefCell<Vec<dnsbl::Told>>,
}

impl Filters {
    /// Filters that remember nobody.
    #[must_use]
    pub fn new(settings: Settings) -> Filters {
        let greylist = RefCell::new(greylist::Table::new(settings.greylist));
        let waited = known::Known::new(pregreet::KEPT_S, crate::limits::FILTER_WAITED_MAX);
        let lists = RefCell::new(vec![dnsbl::Told::default(); settings.dnsbl.sites.len()]);
        Filters { settings, greylist, waited: RefCell::new(waited), lists }
    }

    /// The lists were asked, all of them: what each said and how long that took.
    fn told(&self, each: impl Iterator<Item = (dnsbl::Said, Duration)>) {
        for (told, (said, took)) in self.lists.borrow_mut().iter_mut().zip(each) {
            told.note(said, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        }
    }

    /// What came of asking lists on this shard, by their names: those of the configuration.
    #[must_use]
    pub fn lists(&self) -> BTreeMap<String, dnsbl::Told> {
        let mut lists: BTreeMap<String, dnsbl::Told> = BTreeMap::new();
        for (site, told) in self.settings.dnsbl.sites.iter().zip(&*self.lists.borrow()) {
            // One may be asked about several of its answers.
            lists.entry(site.zone.to_string()).or_default().add(told);
        }
        lists
    }

    /// What greylisting says of a network whose home is this shard.
    #[must_use]
    pub fn ask_greylist(&self, asked: greylist::Asked) -> greylist::Said {
        let mut table = self.greylist.borrow_mut();
        let forgotten = table.evicted;
        let said = table.ask(asked, watch::now_s());
        observe::add(Counter::FilterForgotten, table.evicted - forgotten);
        said
    }

    /// What greylisting remembers on this shard: letters that wait, networks that passed.
    #[must_use]
    pub fn greylisted(&self) -> (u64, u64) {
        let (waiting, known) = self.greylist.borrow().len();
        (waiting as u64, known as u64)
    }

    /// What is thought of this client from now on; `None`: nobody asks. `id`: what the log calls the letter he may bring.
    #[must_use]
    pub fn watch(&self, peer: Peer, id: Uuid) -> Option<Box<Watch>> {
        let Peer::Net(at) = peer else { return None };
        if !self.settings.any_on() || census::listed(&self.settings.exempt, peer) {
            return None;
        }
        Some(Box::new(Watch::new(at.ip(), id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_has_one_row_and_counts_under_its_own_name() {
        let verdicts = ["pass", "dry_run", "tag", "defer", "reject", "error"];
        for (n, row) in FILTERS.iter().enumerate() {
            assert_eq!(row.filter as usize, n);
            assert_eq!(row.section, format!("filter.{}", row.name));
            for (counter, verdict) in row.counters.iter().zip(verdicts) {
                let shown = counter.shown();
                assert_eq!(shown.name, "filter_verdicts_total");
                assert_eq!(shown.labels, [("filter", row.name), ("verdict", verdict)]);
            }
            assert_eq!(row.counter(Verdict::Error).shown().labels[1].1, "error");
        }
    }

    #[test]
    fn nobody_is_asked_about_while_all_are_off_or_in_a_listed_network() {
        let peer = Peer::Net("192.0.2.1:25".parse().expect("an address"));
        assert!(Filters::new(Settings::default()).watch(peer, Uuid::nil()).is_none());
        let mut settings = Settings::default();
        settings.helo.modes[4] = Mode::DryRun;
        assert!(Filters::new(settings.clone()).watch(peer, Uuid::nil()).is_some());
        assert!(Filters::new(settings.clone()).watch(Peer::Local, Uuid::nil()).is_none());
        settings.exempt = vec!["192.0.2.0/24".parse().expect("a network")];
        assert!(Filters::new(settings).watch(peer, Uuid::nil()).is_none());
    }
}
