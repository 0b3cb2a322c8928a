//! Entries of the catalogue: durable in every volume first, then known to every shard, then answered.
//!
//! A crash in between leaves some volumes with the new value and some with the old one, or with none: the next start takes the
//! newest there is, and the verb asked again makes all of them equal.

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
pub(super) async fn put(office: &Rc<Office>, key: Key, entry: Entry) -> Result<(), Trouble> {
    let octets = encoded(&key, &entry)?;
    for volume in volumes::live(office) {
        deeds::ask(office, volume, vec![Deed::PutEntry { key: key.text(), octets: octets.clone() }]).await?;
    }
    office.tell_all(Change::Put(key, entry)).await.map_err(deeds::untold)
}

/// Takes an entry out of every volume, and tells every shard. That it is not there is no error.
pub(super) async fn remove(office: &Rc<Office>, key: Key) -> Result<(), Trouble> {
    for volume in volumes::live(office) {
        deeds::ask(office, volume, vec![Deed::RemoveEntry { key: key.text() }]).await?;
    }
    office.tell_all(Change::Gone(key)).await.map_err(deeds::untold)
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
