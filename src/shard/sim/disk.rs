//! The disks of the simulated machines: one per folder, each operation takes virtual time.
//!
//! An operation that changes something runs in a task of its own, so that it goes on when the caller stops waiting,
//! as it does once the kernel has it. A crash of the node drops that task wherever it is.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ringpost_storage::disk::Bytes;

use super::answer;
use super::chance::Chance;
use super::executor::{Core, Home, here};
use super::memory::{Memory, MemoryFile};
use super::node::MachineId;

/// Free bytes every disk reports.
const FREE_BYTES: u64 = 1 << 40;

/// What survives the nodes.
#[derive(Default)]
pub(super) struct Machines {
    disks: BTreeMap<(MachineId, PathBuf), Memory>,
}

impl Machines {
    /// A power cut: each disk of the machine loses some of what was not synced.
    pub(super) fn crash(&self, machine: MachineId, chance: &Chance) {
        self.disks.iter().filter(|((m, _), _)| *m == machine).for_each(|(_, disk)| disk.crash(chance));
    }

    fn disk(&mut self, machine: MachineId, folder: &Path) -> Memory {
        self.disks.entry((machine, folder.to_owned())).or_default().clone()
    }
}

/// A folder.
#[derive(Clone)]
pub struct Disk {
    on: On,
    disk: Memory,
}

/// Who does the operations.
#[derive(Clone)]
struct On {
    core: Rc<Core>,
    home: Option<Home>,
}

impl On {
    async fn delay(&self, least_ns: u64, most_ns: u64) {
        let chance = &self.core.chance.disk;
        // Now and then the device is busy with itself.
        let stall_ns = if chance.one_in(500) { chance.between(10_000_000, 500_000_000) } else { 0 };
        self.core.sleep_ns(stall_ns + chance.between(least_ns, most_ns)).await;
    }

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
        let disk = here.core.machines.borrow_mut().disk(machine, folder);
        Ok(Disk { on: On { core: here.core, home: here.home }, disk })
    }

    pub async fn list(&self) -> io::Result<Vec<String>> {
        self.on.delay(5_000, 50_000).await;
        Ok(self.disk.list())
    }

    pub async fn create(&self, name: &str, len: u64) -> io::Result<DiskFile> {
        let (me, name) = (self.clone(), name.to_owned());
        let file = self.on.run(async move {
            me.on.delay(500_000, 5_000_000).await;
            me.disk.create(&name, len)
        });
        Ok(DiskFile { on: self.on.clone(), file: file.await? })
    }

    pub async fn open_file(&self, name: &str) -> io::Result<DiskFile> {
        self.on.delay(5_000, 50_000).await;
        Ok(DiskFile { on: self.on.clone(), file: self.disk.open(name)? })
    }

    pub async fn remove(&self, name: &str) -> io::Result<()> {
        let (me, name) = (self.clone(), name.to_owned());
        let done = self.on.run(async move {
            me.on.delay(100_000, 2_000_000).await;
            me.disk.remove(&name)
        });
        done.await
    }

    pub fn free_bytes(&self) -> io::Result<u64> {
        Ok(FREE_BYTES)
    }
}

/// An open file.
#[derive(Clone)]
pub struct DiskFile {
    on: On,
    file: MemoryFile,
}

impl DiskFile {
    pub(in crate::shard) fn len(&self) -> u64 {
        self.file.len()
    }

    pub async fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.on.delay(20_000, 200_000).await;
        self.file.read(offset, len)
    }

    pub async fn write_sync(&self, offset: u64, parts: Vec<Bytes>) -> io::Result<()> {
        let me = self.clone();
        let done = self.on.run(async move {
            let mut at = offset;
            for part in &parts {
                me.on.delay(5_000, 100_000).await;
                me.file.write(at, part)?;
                at += part.len() as u64;
            }
            me.on.delay(100_000, 2_000_000).await;
            me.file.sync();
            Ok(())
        });
        done.await
    }
}
