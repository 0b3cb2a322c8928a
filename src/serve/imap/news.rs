//! News for who idles (RFC 2177), without keeping the account in memory meanwhile.
//!
//! ```text
//!   IDLE ─► news: no bell yet ─► poll: tells, hangs the bell ─► news: waits ─► rings ─► poll: tells ─► news …
//! ```
//!
//! A bell may ring in vain: a mailbox that was dropped from memory and loaded again may have a higher version though nothing
//! changed, and a volume that takes no more changes rings at once, every time. After a ring that told nothing the next one
//! is put off, and where the volume had failed by then there is none, so that no connection can spin. Where the account
//! cannot be read the poll is answered NO, which ends IDLE.

use std::future::pending;
use std::time::Duration;

use ringpost_storage::{Loaded, Watch};

use crate::mailbox::view::View;
use crate::office::Resident;
use crate::shard::{self, Disk};

/// After a ring in vain news may be late by this.
const PAUSE_S: u64 = 1;

/// Rings when there is news of one mailbox.
#[derive(Default)]
pub(super) struct Bell {
    /// Of the selected mailbox. `None`: nobody has looked since the client began to idle.
    watch: Option<Watch>,
    /// It rang, and nothing was told since.
    rang: Option<Rang>,
}

#[derive(Clone, Copy)]
enum Rang {
    /// There may be more to come.
    Once,
    /// The volume had failed before.
    ForTheLastTime,
}

impl Bell {
    /// Resolves when it is worth while to look at the mailbox.
    pub(super) async fn rung(&mut self, who: &Resident, view: &View) {
        let Some(watch) = &self.watch else { return };
        match self.rang {
            None => {}
            // Boxed: thousands wait below, and few here.
            Some(Rang::Once) => Box::pin(shard::sleep(Duration::from_secs(PAUSE_S))).await,
            Some(Rang::ForTheLastTime) => pending().await,
        }
        watch.changed(view.version()).await;
        self.rang = Some(if who.volume.stats().failed { Rang::ForTheLastTime } else { Rang::Once });
    }

    /// What rang was worth telling.
    pub(super) fn heeded(&mut self) {
        self.rang = None;
    }

    /// From now on it hears of the mailbox; what changed before was told.
    pub(super) fn hang(&mut self, view: &View, account: &Loaded<Disk>) {
        self.watch.get_or_insert_with(|| account.watch(view.mailbox));
    }
}
