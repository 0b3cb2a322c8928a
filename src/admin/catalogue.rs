//! Entries of the catalogue: durable in every volume first, then known to every shard, then answered.
//!
//! - A crash in between leaves some volumes with the new value and some with the old one, or with none: the next start takes the
//!   newest there is, and makes all of them equal.
//! - Where a volume does not take a change, nothing is changed: what was in force is, and whoever asked is told which volume it is. If
//!   some of them have it by then, what was there is put back, and is the newest.
//! - One that had failed before is passed over, and whoever asked hears of it: a ban cannot wait for a new disk. What is removed
//!   meanwhile is said to be gone by a value that the others have, so that it does not come back with that volume: it gets what it
//!   missed at the next start (`office::level`).

use std::rc::Rc;

use ringpost_storage::VolumeId;

use super::deeds::Kept;
use super::{Trouble, deeds};
use crate::directory::Change;
use crate::directory::catalogue::{BadEntry, ENTRY_BYTES_MAX, Entry, Key, Rule};
use crate::office::words::Deed;
use crate::office::{Office, volumes};
use crate::shard;

/// Octets of values of one batch; a longer one is a batch of its own.
const BATCH_BYTES: usize = 16 << 10;
/// Keys of which it is said that there is nothing. More: while a volume has failed, nothing is removed.
const GONE_MAX: usize = 10_000;

/// Makes a rule the one in force for its key.
pub(super) async fn set(office: &Rc<Office>, key: Key, rule: Rule) -> Result<(), Trouble> {
    let at = office.directory(|d| d.rules().next_at(shard::wall_ms()));
    put(office, key, Entry { at, rule }).await
}

/// Puts an entry into every volume, and tells every shard.
pub(super) async fn put(office: &Rc<Office>, key: Key, mut entry: Entry) -> Result<(), Trouble> {
    loop {
        // What is new is newer than what says that there is nothing.
        if office.directory(|d| d.rules().at_of(&key)).is_some_and(|there| there >= entry.at) {
            entry.at = next_at(office, entry.at);
        }
        let deed = Deed::PutEntry { key: key.text(), octets: encoded(&key, &entry)? };
        let (failed, well) = failed_and_well(office);
        match in_every_volume(office, &key, deed, entry.at, well).await {
            Ok(()) => {
                let text = key.text();
                failed.iter().for_each(|volume| tracing::warn!(volume, key = text, "{PASSED_OVER}"));
                return office.tell_all(Change::Put(key, entry)).await.map_err(deeds::untold);
            }
            Err(undone) => undone.had_failed(office, &failed).await?,
        }
    }
}

/// Takes an entry out of every volume, and tells every shard. That it is not there is no error.
pub(super) async fn remove(office: &Rc<Office>, key: Key) -> Result<(), Trouble> {
    let at = next_at(office, 0);
    let (failed, all) = failed_and_well(office);
    if failed.is_empty() {
        match in_every_volume(office, &key, Deed::RemoveEntry { key: key.text() }, at, all).await {
            Ok(()) => return office.tell_all(Change::Gone(key)).await.map_err(deeds::untold),
            Err(undone) => undone.had_failed(office, &failed).await?,
        }
    }
    let gone = office.directory(|d| d.rules().gone().count());
    if gone >= GONE_MAX {
        return Err(Trouble::Failed(format!(
            "a volume has failed, and {gone} entries were removed meanwhile: more cannot be until the server is started again with it"
        )));
    }
    put(office, key, Entry { at, rule: Rule::Gone }).await
}

/// A change that was not made.
struct Undone {
    why: Trouble,
    /// This volume had failed before.
    failed: Option<VolumeId>,
}

impl Undone {
    /// That a volume had failed is news: every shard knows it then, and the change can be made without it. `known`: those of which
    /// it was known.
    async fn had_failed(self, office: &Office, known: &[VolumeId]) -> Result<(), Trouble> {
        match self.failed {
            Some(volume) if !known.contains(&volume) => {
                office.tell_all(Change::VolumeFailed { volume }).await.map_err(deeds::untold)
            }
            _ => Err(self.why),
        }
    }
}

const PASSED_OVER: &str =
    "the volume has failed and was passed over: it gets the change when Ringpost is started again";

/// What is to be said with a change: volumes that have failed did not take it.
pub(super) fn warning(office: &Office) -> Option<String> {
    let failed: Vec<String> = failed_and_well(office).0.iter().map(ToString::to_string).collect();
    (!failed.is_empty()).then(|| {
        format!(
            "volume {} has failed and did not take the change: it gets it when the server is started again; the log says why it failed",
            failed.join(", ")
        )
    })
}

/// True if a volume has failed.
pub(super) fn has_failed(office: &Office) -> bool {
    volumes::live(office).any(|volume| office.has_failed(volume))
}

fn failed_and_well(office: &Office) -> (Vec<VolumeId>, Vec<VolumeId>) {
    volumes::live(office).partition(|volume| office.has_failed(*volume))
}

fn next_at(office: &Office, above: u64) -> u64 {
    office.directory(|d| d.rules().next_at(shard::wall_ms())).max(above.saturating_add(1))
}

/// Makes a change of one key durable in all of these volumes or, as far as that can be had, in none. `at`: when it was made.
async fn in_every_volume(
    office: &Rc<Office>,
    key: &Key,
    deed: Deed,
    at: u64,
    all: Vec<VolumeId>,
) -> Result<(), Undone> {
    if all.is_empty() {
        let why = "every volume has failed, and takes nothing until the server is started again";
        return Err(Undone { why: unchanged(why.to_owned()), failed: None });
    }
    let mut changed = Vec::new();
    for volume in all.iter().copied() {
        let Err((why, kept)) = deeds::try_ask(office, volume, vec![deed.clone()]).await else {
            changed.push(volume);
            continue;
        };
        let (Trouble::Refused(why) | Trouble::Failed(why)) = why;
        if kept == Kept::Unknown {
            // It may come back with the change: then the others have to know better.
            changed = all.iter().copied().filter(|other| *other != volume).collect();
        }
        let is_back = match (changed.as_slice(), kept) {
            ([], Kept::Unknown) => false,
            ([], _) => true,
            (volumes, _) => put_back(office, key, volumes, at).await,
        };
        let why = if is_back { unchanged(why) } else { perhaps_changed(&why, key) };
        return Err(Undone { why, failed: (kept == Kept::NothingAsItFailed).then_some(volume) });
    }
    Ok(())
}

/// Puts what is in force back into these volumes, as the newest. False: one of them did not take it.
async fn put_back(office: &Rc<Office>, key: &Key, changed: &[VolumeId], at: u64) -> bool {
    let rule = office.directory(|d| d.rules().entry(key)).map_or(Rule::Gone, |entry| entry.rule);
    let entry = Entry { at: next_at(office, at), rule };
    let Ok(octets) = encoded(key, &entry) else { return false };
    let mut all = true;
    for volume in changed {
        let deed = Deed::PutEntry { key: key.text(), octets: octets.clone() };
        all &= deeds::ask(office, *volume, vec![deed]).await.is_ok();
    }
    // Else what comes next might be no newer than it.
    all & office.tell_all(Change::Put(key.clone(), entry)).await.is_ok()
}

fn perhaps_changed(why: &str, key: &Key) -> Trouble {
    let text = key.text();
    Trouble::Failed(format!("{why}; what was in force is, but after the next start {text} may be changed"))
}

fn unchanged(why: String) -> Trouble {
    Trouble::Failed(format!(
        "{why}; nothing was changed: what was in force is, and the log says why the volume takes nothing"
    ))
}

/// Puts all there is into a volume that is new.
pub(super) async fn copy_to(office: &Office, volume: VolumeId) -> Result<(), Trouble> {
    let entries: Vec<(Key, Entry)> = office.directory(|d| d.rules().entries().chain(d.rules().gone()).collect());
    let all = entries.iter().map(|(key, entry)| Ok(Deed::PutEntry { key: key.text(), octets: encoded(key, entry)? }));
    put_all(office, volume, all).await
}

/// Puts entries into a volume, and takes some out of it, in batches.
pub(super) async fn put_all(
    office: &Office,
    volume: VolumeId,
    entries: impl Iterator<Item = Result<Deed, Trouble>>,
) -> Result<(), Trouble> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for deed in entries {
        let deed = deed?;
        bytes += match &deed {
            Deed::PutEntry { key, octets } => key.len() + octets.len(),
            _ => 0,
        };
        batch.push(deed);
        if bytes > BATCH_BYTES {
            deeds::ask(office, volume, std::mem::take(&mut batch)).await?;
            bytes = 0;
        }
    }
    if !batch.is_empty() {
        deeds::ask(office, volume, batch).await?;
    }
    Ok(())
}

pub(super) fn encoded(key: &Key, entry: &Entry) -> Result<Vec<u8>, Trouble> {
    entry.encode().map_err(|BadEntry| {
        Trouble::Refused(format!(
            "{} would take more than {ENTRY_BYTES_MAX} octets: put some of the addresses into a group of their own, and the group into this one",
            key.text()
        ))
    })
}
