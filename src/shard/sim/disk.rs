//! The disks of the simulated machines: one per folder, each operation takes virtual time.
//!
//! What a disk keeps and forgets is `ringpost_storage::sim`'s affair, faults are planned there (see
//! [`super::World::disk`]). An operation that changes something runs in a task of its own, so that it goes on when the caller stops waiting,
//! as it does once the kernel has it. A crash of the node drops that task wherever it is.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ringpost_storage::disk::{Bytes, Disk as _, File as _};
use ringpost_storage::sim::{OpKind, SimDisk, SimFile};

use super::answer;
use super::executor::{Core, Home, here};
use super::node::MachineId;

/// What survives the nodes.
#[derive(Default)]
pub(super) struct Machines {
    disks: BTreeMap<(MachineId, PathBuf), SimDisk>,
}

impl Machines {
    /// The node that ran on the machine is gone: handles of its disks are dead. `power_cut`: each disk loses some of
    /// what was not synced.
    pub(super) fn next_life(&mut self, machine: MachineId, power_cut: bool) {
        for (_, disk) in self.disks.iter_mut().filter(|((m, _), _)| *m == machine) {
            *disk = if power_cut { disk.crash() } else { disk.kill() };
        }
    }

    /// The disk of a folder, made if need be.
    pub(super) fn disk(&mut self, core: &Rc<Core>, machine: MachineId, folder: &Path) -> SimDisk {
        let new = || {
            let disk = SimDisk::new(core.chance.disk.draw());
            let core = Rc::downgrade(core);
            disk.set_delay(Some(Rc::new(move |kind| {
                let core = core.upgrade();
                Box::pin(async move {
                    if let Some(core) = core {
                        core.sleep_ns(delay_ns(&core, kind)).await;
                    }
                })
            })));
            disk
        };
        self.disks.entry((machine, folder.to_owned())).or_insert_with(new).clone()
    }
}

/// How long a step takes: an NVMe's figures, and now and then the device is busy with itself.
fn delay_ns(core: &Core, kind: OpKind) -> u64 {
    let chance = &core.chance.disk;
    let stall_ns = if chance.one_in(500) { chance.between(10_000_000, 500_000_000) } else { 0 };
    let (least_ns, most_ns) = match kind {
        OpKind::List | OpKind::Open => (5_000, 50_000),
        OpKind::Read => (20_000, 200_000),
        OpKind::Write => (5_000, 200_000),
        OpKind::Sync => (100_000, 2_000_000),
        OpKind::Create => (500_000, 5_000_000),
        OpKind::Remove | OpKind::Recycle => (100_000, 2_000_000),
    };
    stall_ns + chance.between(least_ns, most_ns)
}

/// A folder.
#[derive(Clone)]
pub struct Disk {
    on: On,
    disk: SimDisk,
}

/// Who does the operations.
#[derive(Clone)]
struct On {
    core: Rc<Core>,
    home: Option<Home>,
}

impl On {
    /// Runs `work` to its end even if the caller stops waiting.
    async fn run<T: 'static>(&self, work: impl Future<Output = io::Result<T>> + 'static) -> io::Result<T> {
        let (teller, answer) = answer::pair();
        self.core.spawn(self.home, "disk", async move { teller.tell(work.await) });
        answer.await.unwrap_or_else(|| Err(io::ErrorKind::Interrupted.into()))
    }
}

impl Disk {
    /// As [`crate::shard::disk`]: the folder on the machine this task's node runs on.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let here = here();
        let machine = here.home.map_or(0, |home| here.core.nodes.borrow().machine(home.node));
        let disk = here.core.machines.borrow_mut().disk(&here.core, machine, folder);
        Ok(Disk { on: On { core: here.core, home: here.home }, disk })
    }

    pub async fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list().await
    }

    pub async fn create(&self, name: &str, len: u64) -> io::Result<DiskFile> {
        let (disk, name) = (self.disk.clone(), name.to_owned());
        let file = self.on.run(async move { disk.create(&name, len).await }).await?;
        Ok(DiskFile { on: self.on.clone(), file })
    }

    pub async fn open_file(&self, name: &str) -> io::Result<DiskFile> {
        Ok(DiskFile { on: self.on.clone(), file: self.disk.open(name).await? })
    }

    pub async fn recycle(&self, name: &str, new_name: &str) -> io::Result<DiskFile> {
        let (disk, name, new_name) = (self.disk.clone(), name.to_owned(), new_name.to_owned());
        let file = self.on.run(async move { disk.recycle(&name, &new_name).await }).await?;
        Ok(DiskFile { on: self.on.clone(), file })
    }

    pub async fn remove(&self, name: &str) -> io::Result<()> {
        let (disk, name) = (self.disk.clone(), name.to_owned());
        self.on.run(async move { disk.remove(&name).await }).await
    }

    pub fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
}

/// An open file.
#[derive(Clone)]
pub struct DiskFile {
    on: On,
    file: SimFile,
}

impl DiskFile {
    pub(in crate::shard) fn len(&self) -> u64 {
        self.file.len()
    }

    pub async fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.file.read_at(offset, len).await
    }

    pub fn seal(&self) {
        self.file.seal();
    }

    pub async fn write(&self, offset: u64, parts: Vec<Bytes>) -> io::Result<()> {
        let file = self.file.clone();
        self.on.run(async move { file.write(offset, parts).await }).await
    }

    pub async fn write_sync(&self, offset: u64, parts: Vec<Bytes>) -> io::Result<()> {
        let file = self.file.clone();
        self.on.run(async move { file.write_sync(offset, parts).await }).await
    }
}
