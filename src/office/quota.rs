//! Quota across shards: whether an account has room, and room kept for what is on its way to another volume.
//!
//! ```text
//!   RCPT ─► limited? ─► has its volume room now? ─► 452 4.2.2 (A197)
//!   end of data ─► room kept in every other volume ─► the deciding batch, which looks at its own accounts ─► transfers
//! ```
//!
//! A volume that has decided owes its transfers, and none may bounce for quota: so room is kept before. What was kept is given
//! back when the letter is refused, and used up when the copy is there. It is kept in memory: at the start each volume tells the
//! others what it owes them ([`expect`]), before any door opens.

use std::rc::Rc;
use std::time::Duration;

use ringpost_storage::{
    AccountId, Limits, PendingTransfer, Quota, Refused, TransferCopy, TransferNumber, Volume, VolumeId,
};

use super::{Deliverable, Office, Reply, Request};
use crate::directory::Home;
use crate::shard::{Disk, MeshError};

/// Transfers of which a volume is told at once; of more it is told again.
const EXPECTED_MAX: usize = 1_000;
/// Between two tries while the way to its shard is full.
const BREATH: Duration = Duration::from_millis(5);

/// What is done with mail for an account that keeps as much as it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverQuota {
    /// The sender is to come back: 452 4.2.2.
    #[default]
    Defer,
    /// It is refused for good: 552 5.2.2.
    Reject,
}

/// True if mail for this account is taken whatever it keeps (A197; RFC 5321 §4.5.1).
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    name.split_once('@').is_some_and(|(local, _)| matches!(local, "postmaster" | "abuse"))
}

/// The limits of a new account with this name, where others have `limits`.
#[must_use]
pub fn limits_of(name: &str, limits: Limits) -> Limits {
    if is_reserved(name) { Limits::NONE } else { limits }
}

/// What an account keeps and may keep. `None`: it is gone.
///
/// # Errors
/// When its shard does not answer now.
pub async fn quota(office: &Office, home: Home) -> Result<Option<Quota>, MeshError> {
    let Home { volume, account, .. } = home;
    match office.mesh.call(office.shard_of(volume), Request::Quota { volume, account }, 0).await {
        Ok(Reply::Quota(quota)) => Ok(quota),
        Ok(other) => unreachable!("a quota is answered with one, not {other:?}"),
        Err(why) => Err(why),
    }
}

/// False when the account would keep more than it may with a message of so many octets. Nobody is asked about an account
/// without limits; where nobody answers, the deciding step will say it.
pub async fn has_room(office: &Office, home: Home, octets: u64) -> bool {
    if !office.directory(|d| d.is_limited(home.account)) {
        return true;
    }
    !matches!(quota(office, home).await, Ok(Some(quota)) if !quota.has_room(octets, 1))
}

/// Room kept in other volumes for the copies of one letter. Given back when dropped, unless [`Kept::is_sent`].
pub struct Kept {
    office: Rc<Office>,
    volumes: Vec<(VolumeId, Vec<(AccountId, u64)>)>,
}

impl Kept {
    /// Keeps room for copies of so many octets in volumes that do not decide.
    ///
    /// # Errors
    /// What the letter's fate is then.
    pub async fn keep(
        office: &Rc<Office>,
        wanted: Vec<(VolumeId, Vec<(AccountId, u64)>)>,
    ) -> Result<Self, Deliverable> {
        let mut kept = Kept { office: office.clone(), volumes: Vec::new() };
        for (volume, mut wanted) in wanted {
            wanted.retain(|(account, _)| office.directory(|d| d.is_limited(*account)));
            if wanted.is_empty() {
                continue;
            }
            let request = Request::Reserve { volume, wanted: wanted.clone() };
            match office.mesh.call(office.shard_of(volume), request, 0).await {
                Ok(Reply::Reserved(Ok(()))) => kept.volumes.push((volume, wanted)),
                Ok(Reply::Reserved(Err(why))) => return Err(Deliverable::Refused(why)),
                Ok(other) => unreachable!("a reservation is answered with one, not {other:?}"),
                Err(_) => return Err(Deliverable::Refused(Refused::Busy)),
            }
        }
        Ok(kept)
    }

    /// The letter is decided, or nobody knows: its copies come, or may.
    pub fn is_sent(mut self) {
        self.volumes.clear();
    }
}

impl Kept {
    /// Of room for one account that was asked for, what is sent; the rest is given back.
    pub fn is_sent_where(mut self, is_sent: impl Fn(usize) -> bool) {
        for (_, wanted) in &mut self.volumes {
            let mut n = 0;
            wanted.retain(|_| {
                n += 1;
                !is_sent(n - 1)
            });
        }
        self.volumes.retain(|(_, wanted)| !wanted.is_empty());
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for (volume, wanted) in std::mem::take(&mut self.volumes) {
            let office = self.office.clone();
            crate::shard::spawn("quota", async move {
                let shard = office.shard_of(volume);
                // Where there is no room for the word, room stays kept that nobody needs, until the next start.
                let _ = office.mesh.call(shard, Request::Release { volume, wanted }, 0).await;
            });
        }
    }
}

/// Tells another volume for which transfers of a volume of this shard it is to keep room, whether it has any or not: for one, or
/// for all that are pending. Before letters are taken, because room is not remembered through a start.
pub async fn expect(
    office: &Office,
    (source, volume): (VolumeId, &Volume<Disk>),
    target: VolumeId,
    only: Option<TransferNumber>,
) {
    let before = |number: TransferNumber| TransferNumber { number: number.number - 1, ..number };
    let mut after = only.map_or(TransferNumber::default(), before);
    loop {
        let pending = volume.pending_transfers(target, after, only.map_or(EXPECTED_MAX, |_| 1));
        let Some(last) = pending.last() else { return };
        after = last.number;
        let copies = |transfer: &PendingTransfer| {
            let room = |copy: &TransferCopy| copy.prefix.len() as u64 + transfer.octets();
            transfer.copies.iter().map(|copy| (transfer.number, copy.account, room(copy))).collect::<Vec<_>>()
        };
        let coming: Vec<_> = pending.iter().flat_map(|transfer| copies(transfer)).collect();
        let shard = office.shard_of(target);
        loop {
            let request = Request::Expect { volume: target, source, coming: coming.clone() };
            match office.mesh.call(shard, request, 0).await {
                Err(MeshError::Full) => crate::shard::sleep(BREATH).await,
                // Who is gone keeps nothing for anybody.
                Ok(_) | Err(MeshError::Down) => break,
            }
        }
        if only.is_some() {
            return;
        }
    }
}

/// Keeps room in accounts of this shard, in all of them or in none.
///
/// # Errors
/// `OverQuota`; `NoAccount`.
pub fn reserve_here(office: &Office, volume: VolumeId, wanted: &[(AccountId, u64)]) -> Result<(), Refused> {
    let Some(here) = office.volume(volume) else { return Err(Refused::Failed) };
    for (n, (account, octets)) in wanted.iter().enumerate() {
        if let Err(why) = here.reserve(*account, *octets, 1) {
            release_here(office, volume, &wanted[..n]);
            return Err(why);
        }
    }
    Ok(())
}

/// Gives it back.
pub fn release_here(office: &Office, volume: VolumeId, wanted: &[(AccountId, u64)]) {
    let Some(here) = office.volume(volume) else { return };
    wanted.iter().for_each(|(account, octets)| here.release(*account, *octets, 1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a197_reserved_addresses_have_no_limits() {
        let five = Limits { bytes: 5, messages: 0 };
        assert_eq!(limits_of("postmaster@a.test", five), Limits::NONE);
        assert_eq!(limits_of("abuse@a.test", five), Limits::NONE);
        assert_eq!(limits_of("postmaster.x@a.test", five), five);
    }
}
