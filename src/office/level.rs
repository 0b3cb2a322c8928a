//! The catalogue is the same in every volume: what one of them missed is put into it when the store is opened, before anybody may
//! change anything.
//!
//! Of each key all have what is newest anywhere. What cannot be read is left as it is: somebody has to look at it.

use std::collections::HashMap;
use std::time::Duration;

use ringpost_storage::{Op, Transaction, Volume, VolumeId};

use super::Office;
use super::durable::make_durable;
use crate::directory::catalogue::{self, Entry, Key};
use crate::shard::{self, Disk};

/// Octets of values of one batch; a longer one is a batch of its own.
const BATCH_BYTES: usize = 16 << 10;

/// Puts into the volumes of this shard what others have and they have not. Asked of each shard once, at the start.
pub async fn level(office: &Office) {
    while !office.directory(|d| d.complete(office.volume_count().into())) {
        shard::sleep(Duration::from_millis(1)).await;
    }
    for (id, volume) in office.volumes() {
        if volume.stats().failed {
            continue;
        }
        let missing = missing(office, &volume);
        if !missing.is_empty() {
            fill(id, &volume, missing).await;
        }
    }
}

fn missing(office: &Office, volume: &Volume<Disk>) -> Vec<(Key, Entry)> {
    let mut held: HashMap<_, _> = volume.domains().into_iter().collect();
    let missed = |(key, entry): &(Key, Entry)| match held.remove(&key.text()) {
        None => true,
        Some(octets) => catalogue::read(&key.text(), &octets).is_ok_and(|(_, has)| has != *entry),
    };
    office.directory(|d| d.rules().entries().chain(d.rules().gone()).filter(missed).collect())
}

async fn fill(id: VolumeId, volume: &Volume<Disk>, missing: Vec<(Key, Entry)>) {
    let entries = missing.len();
    let (mut ops, mut bytes) = (Vec::new(), 0);
    let mut missing = missing.into_iter().peekable();
    while let Some((key, entry)) = missing.next() {
        let Ok(info) = entry.encode() else { continue };
        bytes += info.len();
        ops.push(Op::PutDomain { name: key.text(), info });
        if bytes > BATCH_BYTES || missing.peek().is_none() {
            let batch = Transaction { bodies: Vec::new(), ops: std::mem::take(&mut ops) };
            bytes = 0;
            if let Err(why) = make_durable(volume, batch).await {
                // What is in force is known; the next start tries again.
                tracing::warn!(volume = id, %why, "entries of the catalogue that it missed could not be put into it");
                return;
            }
        }
    }
    tracing::info!(volume = id, entries, "entries of the catalogue that it missed were put into it");
}
