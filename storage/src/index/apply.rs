//! Applying a batch to the index: the one function through which anything becomes visible.
//!
//! A live commit hands in the directory that was just synced, recovery the directory it read: same octets, same
//! function, same result. References to bodies are summed over the whole batch before anybody looks.

use std::rc::Rc;

use super::{Account, Index, Mailbox, RunRef};
use crate::batch::{Header, directory};
use crate::record::{AccountPut, Bad, Chain, MailboxPut, MessageRecord, Record};
use crate::types::{AccountId, AccountInfo, MailboxInfo, Message, Modseq, Place};

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
    /// Makes a durable batch visible. The directory has passed [`check`] (or was built here).
    pub fn apply(&mut self, header: &Header, bytes: &[u8]) {
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
                self.orphans += 1;
            }
        }
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
                let mailbox = account.mailboxes.remove(&remove.mailbox)?;
                self.release(&mailbox);
            }
            Record::Message(message) => {
                let account = self.link(account?, place, message.modseq)?;
                add_message(account.mailboxes.get_mut(&message.mailbox)?, place, message);
                self.count(message.body, 1);
            }
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
        }
        Some(())
    }

    /// Adds the record to its account's chain; `None` when the account is not there.
    fn link(&mut self, id: AccountId, place: Place, modseq: Modseq) -> Option<&mut Account> {
        let account = self.accounts.get_mut(&id)?;
        account.chain.push(place);
        account.modseq = account.modseq.max(modseq);
        Some(account)
    }

    fn put_account(&mut self, id: AccountId, place: Place, put: AccountPut<'_>) {
        self.last_account = self.last_account.max(id.0 & ((1 << 48) - 1));
        let secrets: Rc<[u8]> = put.secrets.into();
        let info = AccountInfo { id, name: put.name.to_owned(), generation: put.generation, secrets };
        self.names.insert(put.name.to_owned(), id);
        match self.accounts.get_mut(&id) {
            Some(account) => {
                if account.info.name != put.name {
                    self.names.remove(&account.info.name);
                }
                account.info = info;
                account.chain.push(place);
                account.modseq = account.modseq.max(put.modseq);
            }
            None => {
                let mut chain = Chain::default();
                chain.push(place);
                let mailboxes = Default::default();
                self.accounts.insert(id, Account { info, modseq: put.modseq, chain, last_mailbox: 0, mailboxes });
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
    fn count(&mut self, body: Place, by: i32) {
        let entry = self.segments.get_mut(&body.segment).and_then(|s| s.find_body_mut(body.ordinal));
        if let Some(entry) = entry {
            entry.refs = entry.refs.checked_add_signed(by).expect("a body is released once for each use");
        }
    }
}

fn put_mailbox(account: &mut Account, put: MailboxPut<'_>) {
    account.last_mailbox = account.last_mailbox.max(put.mailbox.0);
    let info = MailboxInfo {
        id: put.mailbox,
        name: put.name.to_owned(),
        uidvalidity: put.uidvalidity,
        special_use: put.special_use,
        subscribed: put.subscribed,
    };
    match account.mailboxes.get_mut(&put.mailbox) {
        Some(mailbox) => {
            mailbox.info = info;
            mailbox.changed(put.modseq);
        }
        None => {
            account.mailboxes.insert(put.mailbox, Mailbox::new(info, put.modseq));
        }
    }
}

fn add_message(mailbox: &mut Mailbox, place: Place, message: MessageRecord<'_>) {
    let flags = message.flags.to_flags();
    mailbox.keyword_bytes_max = mailbox.keyword_bytes_max.max(crate::record::keyword_bytes(&flags));
    assert!(message.uid >= mailbox.uidnext, "UIDs only rise");
    mailbox.uidnext = message.uid + 1;
    mailbox.messages.push(Message {
        uid: message.uid,
        modseq: message.modseq,
        flags,
        size: message.size,
        internal_ms: message.internal_ms,
        saved_ms: message.saved_ms,
        place,
        body: message.body,
        body_check: message.body_check as u64,
    });
    mailbox.changed(message.modseq);
}
