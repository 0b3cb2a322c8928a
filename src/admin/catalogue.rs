//! Entries of the catalogue: durable in every volume first, then known to every shard, then answered.
//!
//! - A crash in between leaves some volumes with the new value and some with the old one, or with none: the next start takes the
//!   newest there is, and makes all of them equal.
//! - Where a volume takes nothing, nothing is changed: what was in force is, and whoever asked is told which volume it is. If some
//!   of them have it by then, what was there is put back, and is the newest.

use std::rc::Rc;

use ringpost_storage::VolumeId;

use super::{Trouble, deeds};
use crate::directory::Change;
use crate::directory::catalogue::{BadEntry, ENTRY_BYTES_MAX, Entry, Key, Rule};
use crate::office::words::Deed;
use crate::office::{Office, volumes};
use crate::shard;

/// Octets of values of one batch; a longer one is a batch of its own.
const BATCH_BYTES: usize = 16 << 10;

/// Makes a rule the one in force for its key.
pub(super) async fn set(office: &Rc<Office>, key: Key, rule: Rule) -> Result<(), Trouble> {
    let at = office.directory(|d| d.rules().next_at(shard::wall_ms()));
    put(office, key, Entry { at, rule }).await
}

/// Puts an entry into every volume, and tells every shard.
pub(super) async fn put(office: &Rc<Office>, key: Key, mut entry: Entry) -> Result<(), Trouble> {
    // What is new is newer than what says that there is nothing.
    if office.directory(|d| d.rules().at_of(&key)).is_some_and(|there| there >= entry.at) {
        entry.at = next_at(office, entry.at);
    }
    let deed = Deed::PutEntry { key: key.text(), octets: encoded(&key, &entry)? };
    in_every_volume(office, &key, deed, entry.at).await?;
    office.tell_all(Change::Put(key, entry)).await.map_err(deeds::untold)
}

/// Takes an entry out of every volume, and tells every shard. That it is not there is no error.
pub(super) async fn remove(office: &Rc<Office>, key: Key) -> Result<(), Trouble> {
    let at = next_at(office, 0);
    in_every_volume(office, &key, Deed::RemoveEntry { key: key.text() }, at).await?;
    office.tell_all(Change::Gone(key)).await.map_err(deeds::untold)
}

fn next_at(office: &Office, above: u64) -> u64 {
    office.directory(|d| d.rules().next_at(shard::wall_ms())).max(above.saturating_add(1))
}

/// Makes a change of one key durable in every volume or, as far as that can be had, in none. `at`: when it was made.
async fn in_every_volume(office: &Rc<Office>, key: &Key, deed: Deed, at: u64) -> Result<(), Trouble> {
    if let Some(volume) = volumes::live(office).find(|volume| office.has_failed(*volume)) {
        return Err(unchanged(format!(
            "volume {volume} has failed and takes nothing until the server is started again"
        )));
    }
    let mut changed = Vec::new();
    for volume in volumes::live(office) {
        let Err((why, known)) = deeds::try_ask(office, volume, vec![deed.clone()]).await else {
            changed.push(volume);
            continue;
        };
        let (Trouble::Refused(why) | Trouble::Failed(why)) = why;
        if !known {
            // It may come back with the change: then the others have to know better.
            changed = volumes::live(office).filter(|other| *other != volume).collect();
        }
        let is_back = match (changed.as_slice(), known) {
            ([], true) => true,
            ([], false) => false,
            (volumes, _) => put_back(office, key, volumes, at).await,
        };
        return Err(if is_back { unchanged(why) } else { perhaps_changed(&why, key) });
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
    let entries: Vec<(Key, Entry)> = office.directory(|d| d.rules().entries().collect());
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
