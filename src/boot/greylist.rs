//! Keeps what greylisting remembers over a restart: read before the doors open, written now and then and when they are shut.
//!
//! Nothing here keeps anybody from his mail: what cannot be read or written is logged, and costs strangers another wait.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use crate::filter::greylist::file;
use crate::filter::watch::now_s;
use crate::limits::FILTER_WRITE_S;
use crate::office::Office;
use crate::shard;

/// True if there is anything to keep, and a place for it.
#[must_use]
pub fn is_kept(office: &Office) -> bool {
    folder(office).is_some()
}

fn folder(office: &Office) -> Option<PathBuf> {
    let settings = &office.filters.settings;
    settings.keep_in.clone().filter(|_| settings.greylist.mode.is_on())
}

/// Takes in what this shard, and others before it, wrote of the networks whose home it is.
pub async fn read(office: &Office) {
    let (filters, shards) = (&office.filters, office.shard_count());
    let Some(folder) = folder(office) else { return };
    match shard::side(move || file::read_all(&folder)).await {
        Ok(Ok(files)) => {
            let mut table = filters.greylist.borrow_mut();
            let mine = |network: crate::filter::Network| network.home(shards) == shard::id();
            let whole = files.iter().filter(|octets| table.take_in(octets, mine, now_s())).count();
            if whole < files.len() {
                tracing::warn!(target: "filter", broken = files.len() - whole, "files of greylisting are not whole: not used");
            }
            let (waiting, known) = table.len();
            tracing::info!(target: "filter", waiting, known, "greylisting remembers");
            table.take_changed();
        }
        Ok(Err(why)) => tracing::warn!(target: "filter", %why, "what greylisting remembered cannot be read"),
        Err(why) => tracing::warn!(target: "filter", ?why, "what greylisting remembered cannot be read"),
    }
}

/// Writes it as long as the shard lives.
pub async fn keep(office: Rc<Office>) {
    loop {
        shard::sleep(Duration::from_secs(FILTER_WRITE_S)).await;
        write(&office).await;
    }
}

/// Writes it, if it has changed.
pub async fn write(office: &Office) {
    let (filters, shards) = (&office.filters, office.shard_count());
    let Some(folder) = folder(office) else { return };
    if !filters.greylist.borrow_mut().take_changed() {
        return;
    }
    let (octets, id) = (filters.greylist.borrow().octets(), shard::id());
    let written = shard::side(move || {
        if id == 0 {
            file::remove_from(&folder, shards);
        }
        file::write(&folder, id, &octets)
    });
    match written.await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => tracing::warn!(target: "filter", %why, "what greylisting remembers cannot be written"),
        Err(why) => tracing::warn!(target: "filter", ?why, "what greylisting remembers cannot be written"),
    }
}
