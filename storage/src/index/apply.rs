//! Applying a batch to the index: the one function through which anything becomes visible.
//!
//! A live commit hands in the directory that was just synced, recovery the directory it read: same octets, same
//! function, same result. References to bodies are summed over the whole batch before anybody looks.
//!
//! After a loss, or when lost batches were put back, records may not fit what is there: they are counted as orphans and
//! change nothing. No octets that pass [`check`] make this panic.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::names::Names;
use super::{Account, Index, Mailbox, RunRef};
use crate::batch::{Header, directory};
use crate::record::{AccountPut, Bad, Chain, CopyRecord, Gap, MailboxPut, Record};
use crate::types::{AccountId, AccountInfo, MODSEQ_MAX, MailboxInfo, Message, Modseq, Place};

/// Accounts of one volume are numbered up to this: the volume has the upper 16 bits.
pub const ACCOUNT_NUMBER_MAX: u64 = (1 << 48) - 1;

/// Looks whether [`Index::apply`] can take a directory.
///
/// # Errors
/// The first record that does not decode, or that points outside its batch.
pub fn check(header: &Header, bytes: &[u8]) -> Result<(), Bad> {
    let mut records = 0;
    for entry in directory::entries(bytes) {
        if let Some(Record::Body(body)) = entry?.record
            && body.offset + body.len > header.body_bytes
        {
            return Err(Bad::Malformed);
        }
        records += 1;
    }
    if records == header.records { Ok(()) } else { Err(Bad::Malformed) }
}

impl Index {
    /// Makes a durable batch visible. The directory has passed [`check`] (or was built here). Returns how many of its
    /// records did not fit what is there.
    pub fn apply(&mut self, header: &Header, bytes: &[u8]) -> u64 {
        let mut orphans = 0;
        self.segments.entry(header.segment).or_default().begin(header);
        for entry in directory::entries(bytes) {
            let entry = entry.expect("directories are checked before they are applied");
            let segment = self.segments.get_mut(&header.segment).expect("made above");
            let ordinal = segment.record(header, entry.at);
            let place = Place { segment: header.segment, ordinal };
            let Some(record) = entry.record else { continue };
            if let Record::Body(body) = &record {
                segment.body(header, ordinal, body);
                continue;
            }
            if self.apply_record(entry.frame.account, place, record).is_none() {
                orphans += 1;
            }
        }
        self.orphans += orphans;
        orphans
    }

    fn apply_record(&mut self, account: Option<AccountId>, place: Place, record: Record<'_>) -> Option<()> {
        match record {
            Record::DomainPut(put) => {
                self.domains.insert(put.name.to_owned(), put.info.into());
            }
            Record::DomainRemove(name) => {
                self.domains.remove(name);
            }
            Record::AccountPut(put) => self.put_account(account?, place, put),
            Record::AccountRemove => self.remove_account(account?)?,
            Record::MailboxPut(put) => {
                self.last_uidvalidity = self.last_uidvalidity.max(put.uidvalidity);
                put_mailbox(self.link(account?, place, put.modseq)?, put);
            }
            Record::MailboxRemove(remove) => {
                let account = self.link(account?, place, remove.modseq)?;
                if account.mailboxes.contains_key(&remove.mailbox) {
                    account.names.remove(&account.mailboxes, remove.mailbox);
                }
                let mailbox = account.mailboxes.remove(&remove.mailbox)?;
                self.release(&mailbox);
            }
            Record::Subscription(subscription) => {
                let account = self.link(account?, place, 0)?;
                subscribe(account, subscription.name, subscription.on);
                for id in account.names.find(&account.mailboxes, subscription.name).to_vec() {
                    account.mailboxes.entry(id).and_modify(|m| m.info.subscribed = subscription.on);
                }
            }
            Record::Renumber(renumber) => {
                self.last_uidvalidity = self.last_uidvalidity.max(renumber.uidvalidity);
                let account = self.link(account?, place, renumber.modseq)?;
                let mailbox = account.mailboxes.get_mut(&renumber.mailbox)?;
                mailbox.info.uidvalidity = renumber.uidvalidity;
                mailbox.uidnext = mailbox.uidnext.max(renumber.uidnext);
                mailbox.changed(renumber.modseq);
            }
            Record::Message(message) => {
                let account = self.link(account?, place, message.modseq)?;
                let into = account.mailboxes.get_mut(&message.mailbox)?;
                let body = message.body;
                let message = Message {
                    uid: message.uid,
                    modseq: message.modseq,
                    flags: message.flags.to_flags(),
                    size: message.size,
                    internal_ms: message.internal_ms,
                    saved_ms: message.saved_ms,
                    prefix: place,
                    body,
                    body_check: message.body_check as u64,
                };
                add_message(into, message)?;
                self.count(body, 1);
            }
            Record::Copy(copy) => return self.copy(account?, place, &copy),
            Record::Flags(flags) => {
                let account = self.link(account?, place, flags.modseq)?;
                let mailbox = account.mailboxes.get_mut(&flags.mailbox)?;
                for (uid, view) in flags.items() {
                    let Some(i) = mailbox.position(uid) else { continue };
                    mailbox.messages[i].flags = view.to_flags();
                    mailbox.messages[i].modseq = flags.modseq;
                    let bytes = crate::record::keyword_bytes(&mailbox.messages[i].flags);
                    mailbox.keyword_bytes_max = mailbox.keyword_bytes_max.max(bytes);
                }
                mailbox.changed(flags.modseq);
            }
            Record::Expunge(expunge) => {
                let account = self.link(account?, place, expunge.modseq)?;
                let mailbox = account.mailboxes.get_mut(&expunge.mailbox)?;
                let gone = mailbox.expunge(expunge.uids(), expunge.modseq);
                gone.iter().for_each(|m| self.count(m.body, -1));
            }
            Record::Run(run) => {
                let account = self.link(account?, place, 0)?;
                let mailbox = account.mailboxes.get_mut(&run.mailbox)?;
                mailbox.runs.push(RunRef {
                    first: run.first,
                    last: run.last,
                    body: run.body,
                    body_check: run.body_check as u64,
                });
                self.count(run.body, 1);
            }
            Record::Body(_) => unreachable!("handled by the caller, which knows where the batch is"),
            Record::Truncate(_) | Record::Heartbeat(_) => {}
            Record::Gap(gap) => self.jump(&gap),
            Record::Transfer(record) => return self.transfer(&record),
        }
        Some(())
    }

    /// Adds the copies whose UIDs are free; `None` when one is taken, or there is no such mailbox.
    fn copy(&mut self, id: AccountId, place: Place, copy: &CopyRecord<'_>) -> Option<()> {
        let account = self.link(id, place, copy.modseq)?;
        let mailbox = account.mailboxes.get_mut(&copy.mailbox)?;
        let mut bodies = Vec::with_capacity(copy.count as usize);
        for copied in copy.items() {
            let message = Message {
                uid: copied.uid,
                modseq: copy.modseq,
                flags: copied.flags.to_flags(),
                size: copied.size,
                internal_ms: copied.internal_ms,
                saved_ms: copied.saved_ms,
                prefix: copied.prefix,
                body: copied.body,
                body_check: copied.body_check,
            };
            bodies.extend(add_message(mailbox, message).map(|()| copied.body));
        }
        bodies.iter().for_each(|body| self.count(*body, 1));
        (bodies.len() == copy.count as usize).then_some(())
    }

    /// Adds the record to its account's chain; `None` when the account is not there.
    fn link(&mut self, id: AccountId, place: Place, modseq: Modseq) -> Option<&mut Account> {
        let account = self.accounts.get_mut(&id)?;
        account.chain.push(place);
        account.modseq = account.modseq.max(modseq.min(MODSEQ_MAX));
        Some(account)
    }

    /// Every number jumps over what lost batches may have given. What they changed is not known either, so all
    /// messages count as changed, and no history of expunges reaches back beyond this.
    fn jump(&mut self, gap: &Gap<'_>) {
        self.gaps.extend(gap.ranges());
        self.transfers.jump(gap.numbers);
        self.last_uidvalidity = self.last_uidvalidity.saturating_add(gap.numbers);
        self.last_account = (self.last_account + u64::from(gap.numbers)).min(ACCOUNT_NUMBER_MAX);
        for account in self.accounts.values_mut() {
            account.modseq = account.modseq.saturating_add(gap.modseqs).min(MODSEQ_MAX);
            account.last_mailbox = account.last_mailbox.saturating_add(gap.numbers);
            for mailbox in account.mailboxes.values_mut() {
                mailbox.uidnext = mailbox.uidnext.saturating_add(gap.numbers);
                mailbox.messages.iter_mut().for_each(|m| m.modseq = account.modseq);
                mailbox.expunged.clear();
                mailbox.floor = account.modseq;
                mailbox.changed(account.modseq);
            }
        }
    }

    fn put_account(&mut self, id: AccountId, place: Place, put: AccountPut<'_>) {
        self.last_account = self.last_account.max(id.0 & ACCOUNT_NUMBER_MAX);
        let secrets: Rc<[u8]> = put.secrets.into();
        let info = AccountInfo { id, name: put.name.to_owned(), generation: put.generation, secrets };
        self.names.insert(put.name.to_owned(), id);
        match self.accounts.get_mut(&id) {
            Some(account) => {
                if account.info.name != put.name && self.names.get(&account.info.name) == Some(&id) {
                    self.names.remove(&account.info.name);
                }
                account.info = info;
                account.chain.push(place);
                account.modseq = account.modseq.max(put.modseq.min(MODSEQ_MAX));
            }
            None => {
                let mut chain = Chain::default();
                chain.push(place);
                let account = Account {
                    info,
                    modseq: put.modseq.min(MODSEQ_MAX),
                    chain,
                    last_mailbox: 0,
                    mailboxes: BTreeMap::new(),
                    names: Names::default(),
                    subscriptions: Vec::new(),
                };
                self.accounts.insert(id, account);
            }
        }
    }

    fn remove_account(&mut self, id: AccountId) -> Option<()> {
        let account = self.accounts.remove(&id)?;
        if self.names.get(&account.info.name) == Some(&id) {
            self.names.remove(&account.info.name);
        }
        account.mailboxes.values().for_each(|m| self.release(m));
        Some(())
    }

    fn release(&mut self, mailbox: &Mailbox) {
        mailbox.messages.iter().for_each(|m| self.count(m.body, -1));
        mailbox.runs.iter().for_each(|r| self.count(r.body, -1));
    }

    /// Counts a reference to a body more or less. A body whose batch is damaged is not there to be counted.
    pub(super) fn count(&mut self, body: Place, by: i32) {
        let entry = self.segments.get_mut(&body.segment).and_then(|s| s.find_body_mut(body.ordinal));
        if let Some(entry) = entry {
            entry.refs = entry.refs.saturating_add_signed(by);
        }
    }
}

fn subscribe(account: &mut Account, name: &str, on: bool) {
    match (account.subscription(name), on) {
        (Err(at), true) => account.subscriptions.insert(at, name.into()),
        (Ok(at), false) => drop(account.subscriptions.remove(at)),
        _ => {}
    }
}

fn put_mailbox(account: &mut Account, put: MailboxPut<'_>) {
    subscribe(account, put.name, put.subscribed);
    account.last_mailbox = account.last_mailbox.max(put.mailbox.0);
    let info = MailboxInfo {
        id: put.mailbox,
        name: put.name.to_owned(),
        uidvalidity: put.uidvalidity,
        special_use: put.special_use,
        subscribed: put.subscribed,
    };
    if account.mailboxes.contains_key(&put.mailbox) {
        account.names.remove(&account.mailboxes, put.mailbox);
    }
    match account.mailboxes.get_mut(&put.mailbox) {
        Some(mailbox) => {
            mailbox.info = info;
            mailbox.changed(put.modseq);
        }
        None => {
            account.mailboxes.insert(put.mailbox, Mailbox::new(info, put.modseq));
        }
    }
    account.names.insert(&account.mailboxes, put.mailbox);
}

/// `None` when the UID is taken, or none at all.
fn add_message(mailbox: &mut Mailbox, message: Message) -> Option<()> {
    let next = message.uid.checked_add(1).filter(|_| message.uid > 0)?;
    // Nearly always the end: UIDs only rise. But where lost batches were put back, what came after may have lower ones.
    let at = match mailbox.messages.last() {
        Some(last) if last.uid >= message.uid => {
            mailbox.messages.binary_search_by_key(&message.uid, |m| m.uid).err()?
        }
        _ => mailbox.messages.len(),
    };
    mailbox.keyword_bytes_max = mailbox.keyword_bytes_max.max(crate::record::keyword_bytes(&message.flags));
    mailbox.uidnext = mailbox.uidnext.max(next);
    mailbox.changed(message.modseq);
    mailbox.messages.insert(at, message);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Gather, HEADER_BYTES};
    use crate::record::{AccountPut, ExpungeRecord, NewMessage, kind};
    use crate::types::{Flags, MailboxId};

    const ALICE: AccountId = AccountId(3 << 48 | 1);

    /// Applies a batch of these records; returns how many did not fit.
    fn apply(index: &mut Index, first_ordinal: u32, fill: impl FnOnce(&mut Gather, &mut Chain)) -> u64 {
        let mut gather = Gather::new(1, 1, first_ordinal);
        fill(&mut gather, &mut Chain::default());
        let like = Header { offset: 4_096, ..crate::batch::example() };
        let sealed = gather.seal(like, 0);
        let directory = &sealed.parts[0][HEADER_BYTES..];
        check(&sealed.header, directory).unwrap();
        index.apply(&sealed.header, directory)
    }

    fn message(gather: &mut Gather, chain: &mut Chain, uid: u32, modseq: Modseq) {
        let new = NewMessage {
            mailbox: MailboxId::INBOX,
            uid,
            modseq,
            size: 0,
            internal_ms: 0,
            saved_ms: 0,
            // A body that comes later than its message, which no batch of ours says.
            body: Place { segment: 1, ordinal: 100 },
            body_check: 0,
            flags: &Flags::none(),
            prefix: b"",
        };
        gather.push_of(kind::MESSAGE, ALICE, chain, |out| new.encode(out));
    }

    #[test]
    fn of_copies_those_whose_uids_are_free_are_shown() {
        let mut index = Index::default();
        let copy = |g: &mut Gather, chain: &mut Chain, to: MailboxId, uids: &[u32]| {
            let place = Place { segment: 1, ordinal: 100 };
            let original = Message {
                uid: 77,
                modseq: 1,
                flags: Flags::none(),
                size: 0,
                internal_ms: 0,
                saved_ms: 0,
                prefix: place,
                body: place,
                body_check: 0,
            };
            g.push_of(kind::COPY, ALICE, chain, |out| {
                CopyRecord::encode_head(out, to, 20, MailboxId(9), uids.len() as u32);
                uids.iter().for_each(|uid| CopyRecord::encode_item(out, *uid, 5, &original, &Flags::none()));
            });
        };
        let orphans = apply(&mut index, 0, |g, chain| {
            let put = AccountPut { modseq: 1, generation: 1, name: "a@x", secrets: b"" };
            g.push_of(kind::ACCOUNT_PUT, ALICE, chain, |out| put.encode(out));
            let mailbox = MailboxId::INBOX;
            let put =
                MailboxPut { mailbox, uidvalidity: 1, modseq: 1, special_use: 0, subscribed: true, name: "INBOX" };
            g.push_of(kind::MAILBOX_PUT, ALICE, chain, |out| put.encode(out));
            message(g, chain, 4, 10);
            copy(g, chain, mailbox, &[3, 4, 0, u32::MAX, 6]);
            copy(g, chain, MailboxId(2), &[1]);
        });
        assert_eq!(orphans, 2);
        let inbox = index.mailbox(ALICE, MailboxId::INBOX).unwrap();
        let shown: Vec<_> = inbox.messages().iter().map(|m| (m.uid, m.modseq)).collect();
        assert_eq!((shown, inbox.uidnext()), (vec![(3, 20), (4, 10), (6, 20)], 7));
    }

    #[test]
    fn records_that_do_not_fit_are_orphans_and_no_panic() {
        let mut index = Index::default();
        let orphans = apply(&mut index, 0, |g, chain| {
            let put = AccountPut { modseq: u64::MAX, generation: 1, name: "a@x", secrets: b"" };
            g.push_of(kind::ACCOUNT_PUT, ALICE, chain, |out| put.encode(out));
            let put = MailboxPut {
                mailbox: MailboxId::INBOX,
                uidvalidity: u32::MAX,
                modseq: 1,
                special_use: 0,
                subscribed: true,
                name: "INBOX",
            };
            g.push_of(kind::MAILBOX_PUT, ALICE, chain, |out| put.encode(out));
            // Of numbers that were given twice the first stays; one below the last finds its place.
            for (uid, modseq) in [(5, 10), (5, 11), (3, 12), (u32::MAX, 13), (0, 14), (7, u64::MAX)] {
                message(g, chain, uid, modseq);
            }
        });
        assert_eq!((orphans, index.orphans), (3, 3));
        let inbox = index.mailbox(ALICE, MailboxId::INBOX).unwrap();
        assert_eq!(
            inbox.messages().iter().map(|m| (m.uid, m.modseq)).collect::<Vec<_>>(),
            [(3, 12), (5, 10), (7, u64::MAX)]
        );
        assert_eq!(inbox.uidnext(), 8);
        let orphans = apply(&mut index, 50, |g, chain| {
            for _ in 50..100 {
                g.push(kind::DOMAIN_REMOVE, |out| crate::codec::Put::text(out, "x"));
            }
            g.push_body(vec![], 0, 0);
            g.push_of(kind::EXPUNGE, ALICE, chain, |out| {
                ExpungeRecord::encode(out, MailboxId::INBOX, 1, &[7, 3, 3, 9])
            });
            g.push_of(kind::ACCOUNT_REMOVE, ALICE, chain, |_| {});
            message(g, chain, 9, 15);
        });
        assert_eq!((orphans, index.accounts.len()), (1, 0));
    }
}
