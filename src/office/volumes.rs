//! The volumes of a running store: which there are, which take accounts, and how one more is opened.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;

use ringpost_storage::VolumeId;

use crate::directory::Change;
use crate::office::Office;

/// Opens a volume.
type Open = Box<dyn Fn(VolumeId) -> Opening>;
/// Keeps the list of volumes.
type Keep = Box<dyn Fn(&Kept) -> Result<(), String>>;
type Opening = Pin<Box<dyn Future<Output = Result<Change, String>>>>;

/// What the start leaves to the office.
pub struct Builder {
    /// Opens a volume on this shard, making it if need be, and lets it work; what it holds.
    pub open: Open,
    /// Keeps on disk which volumes the store has.
    pub keep: Keep,
    /// One volume is opened at a time.
    pub opening: Cell<bool>,
}

/// Which volumes a store has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Retired ones included.
    pub count: u16,
    /// They take no new accounts.
    pub closed: Vec<VolumeId>,
    /// They are no more.
    pub retired: Vec<VolumeId>,
}

/// The volumes that are not retired.
pub fn live(office: &Office) -> impl Iterator<Item = VolumeId> + use<> {
    let retired = office.directory(|d| d.closed_and_retired().1);
    (0..office.volume_count()).filter(move |volume| !retired.contains(volume))
}

impl Office {
    /// Which volumes the store has.
    #[must_use]
    pub fn volumes_kept(&self) -> Kept {
        let (closed, retired) = self.directory(|d| d.closed_and_retired());
        Kept { count: self.volume_count(), closed, retired }
    }

    /// The volume with the fewest accounts that takes more, but for one; `None`: there is none.
    #[must_use]
    pub fn emptiest_volume(&self, but: Option<VolumeId>) -> Option<VolumeId> {
        let takes = |volume: &VolumeId| {
            Some(*volume) != but && !self.directory(|d| d.is_closed(*volume)) && !self.has_failed(*volume)
        };
        let accounts =
            |volume: &VolumeId| self.directory(|d| d.accounts().filter(|(_, home)| home.volume == *volume).count());
        live(self).filter(takes).min_by_key(accounts)
    }

    /// Opens a volume on this shard, making it if need be: the answer to [`Request::OpenVolume`](super::Request::OpenVolume).
    ///
    /// # Errors
    /// A sentence.
    pub async fn open_volume(&self, volume: VolumeId) -> Result<Change, String> {
        let opening = {
            let builder = self.builder.borrow();
            let builder = builder.as_ref().ok_or("this server opens no volumes while it runs")?;
            if builder.opening.replace(true) {
                return Err("another volume is being opened".to_owned());
            }
            (builder.open)(volume)
        };
        let opened = opening.await;
        if let Some(builder) = self.builder.borrow().as_ref() {
            builder.opening.set(false);
        }
        opened
    }

    /// Closes a volume of this shard that holds no account and owes nothing: the answer to
    /// [`Request::CloseVolume`](super::Request::CloseVolume).
    ///
    /// # Errors
    /// A sentence.
    pub async fn close_volume(&self, id: VolumeId) -> Result<(), String> {
        let volume = self.volume(id).ok_or("it is not open")?;
        let accounts = volume.account_ids().len();
        if accounts > 0 {
            return Err(format!("it still has {accounts} accounts: `ringpost volume evacuate {id}` moves them"));
        }
        if let Some((target, count)) = volume.transfer_targets().first() {
            return Err(format!("it still owes {count} transfers to volume {target}: try again in a moment"));
        }
        self.volumes.borrow_mut().remove(&id);
        volume.close().await;
        Ok(())
    }

    /// What the volumes of this shard owe: source, target, transfers.
    #[must_use]
    pub fn owed(&self) -> Vec<(VolumeId, VolumeId, usize)> {
        let all = self.volumes();
        let of = |(id, volume): &(VolumeId, ringpost_storage::Volume<crate::shard::Disk>)| {
            volume.transfer_targets().into_iter().map(|(target, count)| (*id, target, count)).collect::<Vec<_>>()
        };
        all.iter().flat_map(of).collect()
    }
}
