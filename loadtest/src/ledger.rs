//! What was acknowledged, and whether the mailboxes hold it.
//!
//! One entry for each (letter, account). The client's outcome decides how many copies there may be:
//!
//! | outcome | copies |
//! |---|---|
//! | acknowledged (`250`, APPEND `OK`), or shown to a reader | exactly 1 |
//! | refused (5xx, or cut before the final dot was sent) | 0 |
//! | unknown (cut after the final dot, or 4xx to it) | 0 or 1; settled by the first look, for good |
//! | expunged, `OK` read | 0 |
//! | expunged, cut | 0 or 1; settled by the first look |
//!
//! A copy is this account's, has the UID it had before, and is what was sent byte for byte
//! ([`crate::letter`]). UIDVALIDITY stays, UIDNEXT and UIDs only rise, a UID that was gone stays gone.
//! A flag that was acknowledged stays.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::letter::Difference;

/// What the client knows of a letter's copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Acknowledged,
    Refused,
    Unknown,
}

/// Something asked for whose answer may have been cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Done {
    #[default]
    No,
    Maybe,
    Yes,
}

/// One message of a mailbox as a reader found it.
#[derive(Clone, Debug)]
pub struct Found {
    /// `None` where the protocol has none (POP3).
    pub uid: Option<u32>,
    pub content: Content,
    /// `\Flagged`, where flags were asked for.
    pub flagged: Option<bool>,
    /// `\Deleted`, where flags were asked for.
    pub deleted: Option<bool>,
}

/// What a message held.
#[derive(Clone, Debug)]
pub enum Content {
    /// Letter `n`, as sent.
    Intact(u64),
    /// Letter `n`, changed.
    Altered(u64, Difference),
    /// A letter of another run.
    Other,
    /// Not one of our letters, or so damaged that it cannot be told.
    Stranger(String),
    /// Only its UID was asked for.
    NotRead,
}

/// One mailbox as a reader found it.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    pub uidvalidity: Option<u32>,
    pub uidnext: Option<u32>,
    pub messages: Vec<Found>,
}

/// The kinds of broken promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Acknowledged and not there.
    Missing,
    /// There more than once.
    Doubled,
    /// There, and not what was sent.
    Altered,
    /// There though it was refused, or never sent whole.
    Uninvited,
    /// There, in a mailbox it was not sent to.
    Misdelivered,
    /// A message nobody sent.
    Stranger,
    /// There again after its EXPUNGE was acknowledged.
    Returned,
    /// A flag that was acknowledged is not set.
    FlagLost,
    /// A flag nobody set.
    FlagAppeared,
    /// A message with another UID than before, or a UID with another message.
    UidMoved,
    /// UIDNEXT or a new message's UID below one already given, or UIDs out of order.
    UidBackwards,
    UidvalidityChanged,
}

/// One broken promise.
#[derive(Clone, Debug)]
pub struct Fault {
    pub kind: Kind,
    pub account: usize,
    pub n: Option<u64>,
    pub detail: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: account {}", self.kind, self.account)?;
        if let Some(n) = self.n {
            write!(f, ", letter {n}")?;
        }
        write!(f, ": {}", self.detail)
    }
}

/// Faults by kind.
#[must_use]
pub fn count(faults: &[Fault]) -> BTreeMap<Kind, u64> {
    let mut counts = BTreeMap::new();
    for fault in faults {
        *counts.entry(fault.kind).or_default() += 1;
    }
    counts
}

#[derive(Debug)]
struct Entry {
    outcome: Outcome,
    uid: Option<u32>,
    flagged: Done,
    deleted: Done,
    gone: Done,
}

#[derive(Debug, Default)]
struct Mailbox {
    entries: HashMap<u64, Entry>,
    by_uid: HashMap<u32, u64>,
    uidvalidity: Option<u32>,
    uidnext: u32,
    /// The highest UID seen or acknowledged up to the last audit.
    uid_max: u32,
}

/// Everything that was asked of the server, account by account.
#[derive(Debug)]
pub struct Ledger {
    mailboxes: Vec<Mailbox>,
    /// Whether messages that are not of this run are faults.
    alone: bool,
}

impl Ledger {
    /// For `accounts` mailboxes; `alone` when nobody else ever wrote to them.
    #[must_use]
    pub fn new(accounts: usize, alone: bool) -> Ledger {
        Ledger { mailboxes: (0..accounts).map(|_| Mailbox::default()).collect(), alone }
    }

    /// Letter `n` was sent to `account`. `uid`: from APPENDUID.
    pub fn sent(&mut self, account: usize, n: u64, outcome: Outcome, uid: Option<u32>) {
        let entry = Entry { outcome, uid, flagged: Done::No, deleted: Done::No, gone: Done::No };
        let mailbox = &mut self.mailboxes[account];
        if let Some(uid) = uid {
            mailbox.by_uid.insert(uid, n);
        }
        let before = mailbox.entries.insert(n, entry);
        assert!(before.is_none(), "a letter is sent to an account once");
    }

    /// A reader was shown letter `n` under `uid`: from now on it must be there.
    pub fn shown(&mut self, account: usize, n: u64, uid: Option<u32>) -> Option<Fault> {
        let Some(entry) = self.mailboxes[account].entries.get_mut(&n) else {
            return Some(Fault { kind: Kind::Misdelivered, account, n: Some(n), detail: "shown to a reader".into() });
        };
        if entry.outcome == Outcome::Unknown {
            entry.outcome = Outcome::Acknowledged;
        }
        match (entry.uid, uid) {
            (Some(had), Some(now)) if had != now => {
                let detail = format!("UID {had}, shown to a reader as {now}");
                Some(Fault { kind: Kind::UidMoved, account, n: Some(n), detail })
            }
            _ => {
                entry.uid = entry.uid.or(uid);
                None
            }
        }
    }

    /// `\Flagged` was stored on `uid`; `done` is `Maybe` when the answer was cut off.
    pub fn flagged(&mut self, account: usize, uid: u32, done: Done) {
        if let Some(entry) = self.by_uid(account, uid) {
            raise(&mut entry.flagged, done);
        }
    }

    /// `\Deleted` was stored on `uid`.
    pub fn deleted(&mut self, account: usize, uid: u32, done: Done) {
        if let Some(entry) = self.by_uid(account, uid) {
            raise(&mut entry.deleted, done);
        }
    }

    /// EXPUNGE was sent; everything marked `\Deleted` is gone, or may be.
    pub fn expunged(&mut self, account: usize, done: Done) {
        for entry in self.mailboxes[account].entries.values_mut() {
            match (entry.deleted, done) {
                (Done::No, _) | (_, Done::No) => {}
                (Done::Yes, Done::Yes) => raise(&mut entry.gone, Done::Yes),
                _ => raise(&mut entry.gone, Done::Maybe),
            }
        }
    }

    /// Letters and copies by present state: (must be there, unknown, gone).
    #[must_use]
    pub fn census(&self) -> (u64, u64, u64) {
        let (mut there, mut unknown, mut gone) = (0, 0, 0);
        for entry in self.mailboxes.iter().flat_map(|m| m.entries.values()) {
            match (entry.gone, entry.outcome) {
                (Done::Yes, _) => gone += 1,
                (Done::Maybe, _) | (_, Outcome::Unknown) => unknown += 1,
                (_, Outcome::Acknowledged) => there += 1,
                (_, Outcome::Refused) => {}
            }
        }
        (there, unknown, gone)
    }

    /// The highest UID known in `account` at its last audit: bodies up to it were compared before.
    #[must_use]
    pub fn uid_max(&self, account: usize) -> u32 {
        self.mailboxes[account].uid_max
    }

    /// UIDs that must be in `account` and are not marked `\Deleted`, in no order.
    pub fn uids(&self, account: usize) -> impl Iterator<Item = u32> + '_ {
        let there = |e: &&Entry| e.gone == Done::No && e.deleted == Done::No && e.outcome == Outcome::Acknowledged;
        self.mailboxes[account].entries.values().filter(there).filter_map(|e| e.uid)
    }

    /// Holds `listing`, all of `account`'s mailbox while nobody writes, against the entries, and settles
    /// what was unknown.
    pub fn audit(&mut self, account: usize, listing: &Listing) -> Vec<Fault> {
        let alone = self.alone;
        let mailbox = &mut self.mailboxes[account];
        let mut faults = Faults { account, list: Vec::new() };
        mailbox.audit_uids(listing, &mut faults);

        let mut copies: HashMap<u64, Vec<&Found>> = HashMap::new();
        for found in &listing.messages {
            let n = match &found.content {
                Content::Intact(n) => Some(*n),
                Content::Altered(n, difference) => {
                    faults.add(Kind::Altered, Some(*n), difference.to_string());
                    Some(*n)
                }
                Content::NotRead => found.uid.and_then(|uid| mailbox.by_uid.get(&uid).copied()),
                Content::Other | Content::Stranger(_) => None,
            };
            if let (Some(n), Some(uid)) = (n, found.uid)
                && let Some(&owner) = mailbox.by_uid.get(&uid)
                && owner != n
            {
                faults.add(Kind::UidMoved, Some(n), format!("UID {uid} was letter {owner}'s"));
            }
            match (n, &found.content) {
                (Some(n), _) if mailbox.entries.contains_key(&n) => copies.entry(n).or_default().push(found),
                (Some(n), _) => faults.add(Kind::Misdelivered, Some(n), format!("UID {:?}", found.uid)),
                (None, Content::Stranger(what)) if alone => faults.add(Kind::Stranger, None, what.clone()),
                (None, Content::Other | Content::NotRead) if alone => {
                    faults.add(Kind::Stranger, None, format!("UID {:?} is no letter of this run", found.uid));
                }
                _ => {}
            }
        }
        for (&n, entry) in &mut mailbox.entries {
            let found = copies.get(&n).map(Vec::as_slice).unwrap_or_default();
            entry.audit(n, found, &mut faults);
            if let Some(uid) = entry.uid {
                mailbox.by_uid.insert(uid, n);
                mailbox.uid_max = mailbox.uid_max.max(uid);
            }
        }
        faults.list.sort_by_key(|f| (f.kind, f.n));
        faults.list
    }

    fn by_uid(&mut self, account: usize, uid: u32) -> Option<&mut Entry> {
        let mailbox = &mut self.mailboxes[account];
        let n = mailbox.by_uid.get(&uid)?;
        mailbox.entries.get_mut(n)
    }
}

struct Faults {
    account: usize,
    list: Vec<Fault>,
}

impl Faults {
    fn add(&mut self, kind: Kind, n: Option<u64>, detail: String) {
        self.list.push(Fault { kind, account: self.account, n, detail });
    }
}

impl Mailbox {
    fn audit_uids(&mut self, listing: &Listing, faults: &mut Faults) {
        if let Some(now) = listing.uidvalidity {
            let was = *self.uidvalidity.get_or_insert(now);
            if was != now {
                faults.add(Kind::UidvalidityChanged, None, format!("{was} became {now}"));
            }
        }
        let mut last = 0;
        for uid in listing.messages.iter().filter_map(|m| m.uid) {
            if uid <= last {
                faults.add(Kind::UidBackwards, None, format!("UID {uid} after {last}"));
            }
            last = uid;
            if uid <= self.uid_max && !self.by_uid.contains_key(&uid) {
                faults.add(Kind::UidBackwards, None, format!("new UID {uid}, already given up to {}", self.uid_max));
            }
        }
        if let Some(next) = listing.uidnext {
            let least = self.uidnext.max(last + 1).max(self.uid_max + 1);
            if next < least {
                faults.add(Kind::UidBackwards, None, format!("UIDNEXT {next}, want at least {least}"));
            }
            self.uidnext = self.uidnext.max(next);
        }
        self.uid_max = self.uid_max.max(last);
    }
}

impl Entry {
    fn audit(&mut self, n: u64, found: &[&Found], faults: &mut Faults) {
        let mut fault = |kind, detail: String| faults.add(kind, Some(n), detail);
        if found.len() > 1 {
            fault(
                Kind::Doubled,
                format!("{} copies, UIDs {:?}", found.len(), found.iter().map(|f| f.uid).collect::<Vec<_>>()),
            );
        }
        match (self.gone, self.outcome, found.is_empty()) {
            (Done::Yes, _, false) => fault(Kind::Returned, format!("UID {:?}", found[0].uid)),
            (Done::Maybe, _, empty) => self.gone = if empty { Done::Yes } else { Done::No },
            (Done::No, Outcome::Acknowledged, true) => fault(Kind::Missing, format!("UID {:?}", self.uid)),
            (Done::No, Outcome::Refused, false) => fault(Kind::Uninvited, format!("UID {:?}", found[0].uid)),
            (Done::No, Outcome::Unknown, empty) => {
                self.outcome = if empty { Outcome::Refused } else { Outcome::Acknowledged };
            }
            _ => {}
        }
        let Some(found) = found.first() else { return };
        match (self.uid, found.uid) {
            (Some(had), Some(now)) if had != now => fault(Kind::UidMoved, format!("UID {had} became {now}")),
            _ => self.uid = self.uid.or(found.uid),
        }
        for (name, done, shown) in
            [("\\Flagged", &mut self.flagged, found.flagged), ("\\Deleted", &mut self.deleted, found.deleted)]
        {
            match (*done, shown) {
                (Done::Yes, Some(false)) => fault(Kind::FlagLost, name.into()),
                (Done::No, Some(true)) => fault(Kind::FlagAppeared, name.into()),
                (Done::Maybe, Some(set)) => *done = if set { Done::Yes } else { Done::No },
                _ => {}
            }
        }
    }
}

fn raise(done: &mut Done, to: Done) {
    if *done != Done::Yes && to != Done::No {
        *done = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(uid: u32, n: u64) -> Found {
        Found { uid: Some(uid), content: Content::Intact(n), flagged: Some(false), deleted: Some(false) }
    }

    fn listing(messages: Vec<Found>) -> Listing {
        let uidnext = messages.iter().filter_map(|m| m.uid).max().unwrap_or(0) + 1;
        Listing { uidvalidity: Some(9), uidnext: Some(uidnext.max(4)), messages }
    }

    fn kinds(faults: &[Fault]) -> Vec<Kind> {
        faults.iter().map(|f| f.kind).collect()
    }

    /// Letters 1 to 3 acknowledged in account 0 and found under UIDs 1 to 3.
    fn settled() -> (Ledger, Vec<Found>) {
        let mut ledger = Ledger::new(2, true);
        for n in 1..=3 {
            ledger.sent(0, n, Outcome::Acknowledged, None);
        }
        let all: Vec<Found> = (1..=3).map(|n| found(n, u64::from(n))).collect();
        assert!(ledger.audit(0, &listing(all.clone())).is_empty());
        (ledger, all)
    }

    #[test]
    fn a_lost_letter_is_missing() {
        let (mut ledger, mut all) = settled();
        all.remove(1);
        assert_eq!(kinds(&ledger.audit(0, &listing(all))), [Kind::Missing]);
    }

    #[test]
    fn a_second_copy_is_doubled() {
        let (mut ledger, mut all) = settled();
        all.push(found(4, 2));
        assert_eq!(kinds(&ledger.audit(0, &listing(all))), [Kind::Doubled]);
    }

    #[test]
    fn an_altered_letter_is_altered_and_not_missing() {
        let (mut ledger, mut all) = settled();
        let difference = Difference { want: 1, got: 2, want_bytes: 3, got_bytes: 3, at: 0 };
        all[0].content = Content::Altered(1, difference);
        assert_eq!(kinds(&ledger.audit(0, &listing(all))), [Kind::Altered]);
    }

    #[test]
    fn what_was_refused_or_sent_elsewhere_or_by_nobody_may_not_be_there() {
        let (mut ledger, mut all) = settled();
        ledger.sent(0, 7, Outcome::Refused, None);
        ledger.sent(1, 8, Outcome::Acknowledged, None);
        all.extend([found(4, 7), found(5, 8)]);
        all.push(Found { content: Content::Stranger("junk".into()), ..found(6, 0) });
        let got = ledger.audit(0, &listing(all));
        assert_eq!(kinds(&got), [Kind::Uninvited, Kind::Misdelivered, Kind::Stranger]);
    }

    #[test]
    fn the_unknown_is_settled_by_the_first_look() {
        let (mut ledger, mut all) = settled();
        ledger.sent(0, 4, Outcome::Unknown, None);
        ledger.sent(0, 5, Outcome::Unknown, None);
        all.push(found(4, 4));
        assert!(ledger.audit(0, &listing(all.clone())).is_empty());
        all.push(found(5, 5));
        assert_eq!(kinds(&ledger.audit(0, &listing(all.clone()))), [Kind::Uninvited], "it was not there before");
        all.truncate(3);
        assert_eq!(kinds(&ledger.audit(0, &listing(all)))[0], Kind::Missing, "it was there before");
    }

    #[test]
    fn a_letter_once_shown_must_stay() {
        let (mut ledger, all) = settled();
        ledger.sent(0, 4, Outcome::Unknown, None);
        assert!(ledger.shown(0, 4, Some(4)).is_none());
        assert_eq!(kinds(&ledger.audit(0, &listing(all))), [Kind::Missing]);
        assert_eq!(ledger.shown(1, 4, None).unwrap().kind, Kind::Misdelivered);
    }

    #[test]
    fn uids_only_rise_and_stay_with_their_letter() {
        let (mut ledger, all) = settled();
        ledger.deleted(0, 3, Done::Yes);
        ledger.expunged(0, Done::Yes);
        assert!(ledger.audit(0, &listing(all[..2].to_vec())).is_empty());
        ledger.sent(0, 9, Outcome::Acknowledged, None);
        let reused = [&all[..2], &[found(3, 9)]].concat();
        assert_eq!(kinds(&ledger.audit(0, &listing(reused))), [Kind::UidMoved], "3 was the expunged letter's");

        let (mut ledger, all) = settled();
        let low = Listing { uidnext: Some(3), ..listing(all.clone()) };
        assert_eq!(kinds(&ledger.audit(0, &low)), [Kind::UidBackwards]);
        let other = Listing { uidvalidity: Some(10), ..listing(all.clone()) };
        assert_eq!(kinds(&ledger.audit(0, &other)), [Kind::UidvalidityChanged]);
        let swapped = vec![all[1].clone(), all[0].clone(), all[2].clone()];
        assert_eq!(kinds(&ledger.audit(0, &listing(swapped))), [Kind::UidBackwards]);
        let moved = vec![all[0].clone(), all[1].clone(), found(5, 3)];
        assert_eq!(kinds(&ledger.audit(0, &listing(moved))), [Kind::UidMoved]);
    }

    #[test]
    fn appenduid_is_a_promise() {
        let (mut ledger, mut all) = settled();
        ledger.sent(0, 4, Outcome::Acknowledged, Some(4));
        all.push(found(5, 4));
        assert_eq!(kinds(&ledger.audit(0, &listing(all))), [Kind::UidMoved]);
    }

    #[test]
    fn flags_and_expunges_hold_once_acknowledged() {
        let (mut ledger, mut all) = settled();
        ledger.flagged(0, 1, Done::Yes);
        ledger.flagged(0, 2, Done::Maybe);
        assert_eq!(kinds(&ledger.audit(0, &listing(all.clone()))), [Kind::FlagLost]);
        all[0].flagged = Some(true);
        all[1].flagged = Some(true);
        assert_eq!(kinds(&ledger.audit(0, &listing(all.clone()))), [Kind::FlagAppeared], "2 was settled as not set");

        let (mut ledger, mut all) = settled();
        ledger.deleted(0, 1, Done::Yes);
        ledger.expunged(0, Done::Maybe);
        all[0].deleted = Some(true);
        assert!(ledger.audit(0, &listing(all.clone())).is_empty(), "a cut EXPUNGE may not have happened");
        ledger.expunged(0, Done::Yes);
        assert_eq!(kinds(&ledger.audit(0, &listing(all.clone()))), [Kind::Returned]);
        assert!(ledger.audit(0, &listing(all.split_off(1))).is_empty());
    }

    #[test]
    fn a_listing_without_bodies_is_matched_by_uid() {
        let (mut ledger, mut all) = settled();
        for message in &mut all {
            message.content = Content::NotRead;
        }
        assert!(ledger.audit(0, &listing(all.clone())).is_empty());
        all.pop();
        assert_eq!(kinds(&ledger.audit(0, &listing(all))), [Kind::Missing]);
    }

    #[test]
    fn other_runs_are_nobodys_business_unless_the_store_is_ours_alone() {
        for alone in [false, true] {
            let mut ledger = Ledger::new(1, alone);
            let other = Found { content: Content::Other, ..found(1, 0) };
            assert_eq!(ledger.audit(0, &listing(vec![other])).len(), usize::from(alone));
        }
    }
}
