//! What a move that was cut off has left: accounts that live in another volume by now, or never came to live here.
//!
//! - An account is looked for by its number: it may have another name by now where it lives.
//! - Looked for once, at the start, when every volume has told what it holds, and only if none of them has lost anything.
//! - Until they are gone nothing is received for them (see [`land`](super::land)): it would go with them.

use std::rc::Rc;
use std::time::Duration;

use ringpost_storage::{AccountId, Op, Refused, Transaction, Volume, VolumeId};

use crate::bugs::{self, Bug};
use crate::office::Office;
use crate::office::durable::{Undone, make_durable};
use crate::shard::{self, Disk};

/// Between two tries.
const WAIT: Duration = Duration::from_millis(100);
/// Tries. Then the next start does it.
const TRIES: u32 = 600;

/// True when the directory says that this account lives in another volume. `name`: what it is or was called, where it is found soonest.
#[must_use]
pub fn lives_elsewhere(office: &Office, volume: VolumeId, name: &str, account: AccountId) -> bool {
    office.directory(|d| d.home_of(name, account)).is_some_and(|home| home.volume != volume)
}

/// Removes from a volume here what does not live in it.
pub async fn tidy(office: Rc<Office>, id: VolumeId, volume: Volume<Disk>) {
    if bugs::on(Bug::KeepLeft) || !office.directory(|d| d.is_whole(usize::from(office.volume_count()))) {
        return;
    }
    let Ok(accounts) = volume.accounts().await else { return };
    for account in accounts {
        let left = lives_elsewhere(&office, id, &account.name, account.id);
        if !left && account.generation > 0 {
            continue;
        }
        if !left && office.directory(|d| d.home(&account.name)).is_none() {
            tracing::error!(target: "admin", volume = id, account = account.name, "half an account without a home is kept: look where its move came from");
            continue;
        }
        if remove(&volume, account.id).await {
            tracing::info!(target: "admin", volume = id, account = account.name, generation = account.generation, "what a move had left is removed");
        }
    }
}

async fn remove(volume: &Volume<Disk>, account: AccountId) -> bool {
    for _ in 0..TRIES {
        let Ok(Some(_held)) = volume.load(account).await else { return false };
        let removing = Transaction { bodies: Vec::new(), ops: vec![Op::RemoveAccount { account }] };
        match make_durable(volume, removing).await {
            Ok(_) => return true,
            Err(Undone::Refused(Refused::Busy)) => shard::sleep(WAIT).await,
            Err(_) => return false,
        }
    }
    false
}
