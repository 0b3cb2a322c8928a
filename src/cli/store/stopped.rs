//! A stopped store, or a backup, opened for looking: nothing in its folder is written.

use std::path::Path;

use futures_lite::future::block_on;
use ringpost_storage::check::Broken;
use ringpost_storage::overlay::Overlay;
use ringpost_storage::{AccountId, Recovered, Settings, Volume, VolumeId};

use super::check::{named, unread_place};
use super::folder::Folder;
use crate::admin::{Looked, look};
use crate::boot::home::{Look, volume_dir};
use crate::office::tools::Ask;

/// Run for readers alone.
const SETTINGS: Settings = Settings {
    gather_bytes_max: 1 << 20,
    batch_bytes_max: 1 << 20,
    free_bytes_min: 0,
    checkpoint_bytes: 0,
    ..Settings::DEFAULT
};

pub(super) struct Stopped {
    volumes: Vec<(VolumeId, Volume<Overlay<Folder>>)>,
    disks: Vec<(VolumeId, Overlay<Folder>)>,
    /// Volumes that cannot be opened, and why.
    pub(super) shut: Vec<(VolumeId, String)>,
    /// Sentences about batches that are lost, and nobody has accepted that: what was in them is missing here.
    pub(super) lost: Vec<String>,
    _look: Look,
}

impl Stopped {
    /// Opens what can be opened, by the whole log: what a checkpoint hides of damage is found.
    pub(super) fn open(data: &Path) -> Result<Stopped, String> {
        Self::open_with(data, &SETTINGS)
    }

    /// The same as a start does it: quick, and it believes what the checkpoint says.
    pub(super) fn open_at_checkpoint(data: &Path) -> Result<Stopped, String> {
        Self::open_with(data, &Settings { checkpoint_bytes: Settings::DEFAULT.checkpoint_bytes, ..SETTINGS })
    }

    fn open_with(data: &Path, settings: &Settings) -> Result<Stopped, String> {
        let look = Look::at(data).map_err(|why| why.to_string())?;
        let mut stopped =
            Stopped { volumes: Vec::new(), disks: Vec::new(), shut: Vec::new(), lost: Vec::new(), _look: look };
        for id in 0..stopped._look.volumes {
            let disk = Overlay::new(Folder::at(&volume_dir(data, id)), |_| false);
            stopped.disks.push((id, disk.clone()));
            match block_on(Volume::open(disk, Some((stopped._look.store, id)), settings.clone())) {
                Ok((volume, recovered)) => {
                    if !volume.is_whole() {
                        stopped.lost.extend(lost(id, &recovered));
                    }
                    stopped.volumes.push((id, volume));
                }
                Err(why) => stopped.shut.push((id, why.to_string())),
            }
        }
        Ok(stopped)
    }

    pub(super) fn volumes(&self) -> &[(VolumeId, Volume<Overlay<Folder>>)] {
        &self.volumes
    }

    /// Places that the disk did not read since this was asked last.
    pub(super) fn unread(&self) -> Vec<String> {
        let told = |id: VolumeId, disk: &Overlay<Folder>| {
            let places = disk.take_unread().into_iter();
            places.map(|place| format!("volume {id}, {}", unread_place(&place))).collect::<Vec<_>>()
        };
        self.disks.iter().flat_map(|(id, disk)| told(*id, disk)).collect()
    }

    /// All addresses, sorted; and accounts that cannot be read, with why.
    pub(super) fn addresses(&self) -> (Vec<String>, Vec<String>) {
        let (mut addresses, mut unread) = (Vec::new(), Vec::new());
        for (id, volume) in &self.volumes {
            for account in volume.account_ids() {
                match block_on(volume.account(account)) {
                    Ok(info) => addresses.extend(info.map(|info| info.name)),
                    Err(why) => unread.push(format!("volume {id}, account {}: {why}", account.0)),
                }
            }
        }
        addresses.sort_unstable();
        (addresses, unread)
    }

    fn find(&self, address: &str) -> Result<(&Volume<Overlay<Folder>>, AccountId), String> {
        let name = address.to_ascii_lowercase();
        let found = self.volumes.iter().find_map(|(_, volume)| Some((volume, volume.account_named(&name)?)));
        found.ok_or_else(|| format!("there is no account {name}"))
    }

    pub(super) fn ask(&self, address: &str, ask: &Ask) -> Looked {
        let (volume, account) = self.find(address)?;
        let loaded = block_on(volume.load(account)).map_err(|why| format!("{address} cannot be read: {why}"))?;
        let loaded = loaded.ok_or_else(|| format!("there is no account {address}"))?;
        block_on(look(volume, &loaded, ask)).ok_or("a store that is only looked at cannot be changed")?
    }
}

/// What is said of a volume that has lost batches.
fn lost(id: VolumeId, recovered: &Recovered) -> Vec<String> {
    let holes = recovered
        .damaged
        .iter()
        .map(|(segment, offset, octets)| named(&Broken::Log { segment: *segment, offset: *offset, octets: *octets }));
    let all = "batches are lost: messages, flags, mailboxes or accounts that were in them are not there".to_owned();
    holes.chain([all]).map(|what| format!("volume {id}, {what}")).collect()
}
