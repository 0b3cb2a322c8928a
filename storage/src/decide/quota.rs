//! Quota: what an account may keep. What it keeps is counted by `index`, in the entry and ahead of it, so a delivery into
//! INBOX is checked without loading anybody, and the count survives whatever the log survives.
//!
//! Room for a message from another volume was kept before that volume took it, so its coming is never refused for quota.

use super::Step;
use crate::disk::Disk;
use crate::record::{AccountPut, kind};
use crate::transaction::{Outcome, Refused};
use crate::transfer::TransferNumber;
use crate::types::{AccountId, Limits, Quota, VolumeId};
use crate::volume::Inner;

/// How room for a message is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It must be there.
    Wanted,
    /// It was kept before.
    Kept,
    /// It need not be there.
    Needless,
}

impl<D: Disk> Inner<D> {
    /// See [`crate::Volume::quota`].
    pub fn quota(&self, account: AccountId) -> Option<Quota> {
        self.ahead.borrow().quota(&self.index.borrow(), account)
    }

    /// See [`crate::Volume::reserve`].
    pub fn reserve(&self, account: AccountId, bytes: u64, messages: u32) -> Result<(), Refused> {
        self.ahead.borrow_mut().reserve(&self.index.borrow(), account, bytes, messages)
    }

    /// See [`crate::Volume::expect`].
    pub fn expect(&self, source: VolumeId, coming: &[(TransferNumber, AccountId, u64)]) {
        let (index, mut ahead) = (self.index.borrow(), self.ahead.borrow_mut());
        let received = ahead.transfers.watermark(&index.transfers, source).number;
        for (number, account, bytes) in coming {
            if *number > received {
                ahead.expect(&index, *account, *bytes, 1);
            }
        }
    }

    /// See [`crate::Volume::release`].
    pub fn release(&self, account: AccountId, bytes: u64, messages: u32) {
        self.ahead.borrow_mut().release(account, bytes, messages);
    }
}

impl Step<'_> {
    /// Room for so much more, or `OverQuota`. An account that is not there is for the caller to miss.
    pub(super) fn room(&mut self, id: AccountId, room: Room, bytes: u64, messages: u32) -> Result<(), Refused> {
        match room {
            Room::Kept => self.arrived.push((id, bytes)),
            Room::Needless => {}
            Room::Wanted => {
                if self.ahead.quota(self.index, id).is_some_and(|quota| !quota.has_room(bytes, messages)) {
                    return Err(Refused::OverQuota);
                }
            }
        }
        Ok(())
    }

    /// Limits are part of the account's put: its name and secrets are written again, as they are.
    pub(super) fn set_limits(&mut self, id: AccountId, limits: Limits) -> Result<Outcome, Refused> {
        let index = self.index;
        let (account, _) = self.loaded(id)?;
        let info = index.account(id).map(|a| &a.info).filter(|_| account.put == 0).ok_or(Refused::Busy)?;
        self.put_again(id, &info.name, &info.secrets, Some(limits))?;
        Ok(Outcome::Account(id))
    }

    /// The put of an account that is there, with other secrets or limits.
    pub(super) fn put_again(
        &mut self,
        id: AccountId,
        name: &str,
        secrets: &[u8],
        limits: Option<Limits>,
    ) -> Result<(), Refused> {
        let generation = self.index.entries.get(id).map_or(1, |entry| entry.generation);
        let lsn = self.lsn;
        let (account, gather) = self.account(id)?;
        account.put = lsn;
        account.limits = limits.unwrap_or(account.limits);
        let modseq = account.modseq;
        let Limits { bytes: limit_bytes, messages: limit_messages } = account.limits;
        gather.push_of(kind::ACCOUNT_PUT, id, &mut account.chain, |out| {
            AccountPut { modseq, generation, limit_bytes, limit_messages, name, secrets }.encode(out);
        });
        Ok(())
    }
}
