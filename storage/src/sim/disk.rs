//! [`SimDisk`] and [`SimFile`]: the [`Disk`] and [`File`] of the simulation.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::faults::{Fault, Faults, OpKind, When};
use super::file::{Content, SECTOR_BYTES};
use crate::disk::{Bytes, Disk, File, PARTS_MAX};

/// A wait before a step of the disk.
pub type Delay = Rc<dyn Fn(OpKind) -> Pin<Box<dyn Future<Output = ()>>>>;

/// A folder in memory. Clones share it. A handle dies with the crash or kill that replaces it.
#[derive(Clone)]
pub struct SimDisk {
    world: Rc<World>,
    life: u64,
}

/// An open file of a [`SimDisk`].
#[derive(Clone)]
pub struct SimFile {
    disk: SimDisk,
    content: Rc<RefCell<Content>>,
    len: u64,
}

struct World {
    files: RefCell<BTreeMap<String, Rc<RefCell<Content>>>>,
    /// Files that are being made: a crash may leave them or not.
    making: RefCell<BTreeMap<String, u64>>,
    faults: RefCell<Faults>,
    delay: RefCell<Option<Delay>>,
    chance: RefCell<StdRng>,
    life: Cell<u64>,
    free_bytes: Cell<u64>,
    steps: Cell<u64>,
}

impl SimDisk {
    /// An empty folder. All chance comes from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let world = World {
            files: RefCell::default(),
            making: RefCell::default(),
            faults: RefCell::default(),
            delay: RefCell::default(),
            chance: RefCell::new(StdRng::seed_from_u64(seed)),
            life: Cell::new(0),
            free_bytes: Cell::new(1 << 40),
            steps: Cell::new(0),
        };
        SimDisk { world: Rc::new(world), life: 0 }
    }

    /// Sets what each step waits for first; `None`: nothing.
    pub fn set_delay(&self, delay: Option<Delay>) {
        *self.world.delay.borrow_mut() = delay;
    }

    /// Cuts the power. Operations under way never complete; this handle and all its files are dead. The handle
    /// returned sees what the platter kept. Planned faults are forgotten.
    #[must_use]
    pub fn crash(&self) -> SimDisk {
        let chance = &mut *self.world.chance.borrow_mut();
        for (name, len) in std::mem::take(&mut *self.world.making.borrow_mut()) {
            if chance.random() {
                self.world.files.borrow_mut().insert(name, Rc::new(RefCell::new(Content::zeros(len as usize))));
            }
        }
        for content in self.world.files.borrow().values() {
            content.borrow_mut().crash(chance);
        }
        self.next_life()
    }

    /// Ends the process. Operations under way never complete; what was written stays readable, synced or not.
    #[must_use]
    pub fn kill(&self) -> SimDisk {
        self.world.making.borrow_mut().clear();
        self.next_life()
    }

    fn next_life(&self) -> SimDisk {
        self.world.faults.borrow_mut().clear();
        self.world.life.set(self.world.life.get() + 1);
        SimDisk { world: self.world.clone(), life: self.world.life.get() }
    }

    /// Plans a fault.
    pub fn fail(&self, kind: OpKind, fault: Fault, when: When) {
        self.world.faults.borrow_mut().add(kind, fault, when);
    }

    /// Forgets all planned faults.
    pub fn heal(&self) {
        self.world.faults.borrow_mut().clear();
    }

    /// Sets how much is free. Making a file takes from it; too little is `StorageFull`.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.world.free_bytes.set(bytes);
    }

    /// Sectors that a crash now could take back.
    #[must_use]
    pub fn unsynced_sectors(&self) -> usize {
        self.world.files.borrow().values().map(|c| c.borrow().unsynced_sectors()).sum()
    }

    /// Steps begun so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.world.steps.get()
    }

    /// A file's octets, as a reader would see them. For tests that look at or spoil what is on disk.
    #[must_use]
    pub fn peek(&self, name: &str) -> Option<Vec<u8>> {
        Some(self.world.files.borrow().get(name)?.borrow().visible.clone())
    }

    /// Puts a file there with these octets, durable.
    pub fn poke(&self, name: &str, bytes: Vec<u8>) {
        let mut content = Content::zeros(0);
        content.visible = bytes;
        self.world.files.borrow_mut().insert(name.to_owned(), Rc::new(RefCell::new(content)));
    }

    /// Waits as the hook says, then tells what goes wrong. A step of a dead handle never goes on.
    async fn step(&self, kind: OpKind) -> Option<Fault> {
        self.world.steps.set(self.world.steps.get() + 1);
        let delay = self.world.delay.borrow().clone();
        if let Some(delay) = delay {
            delay(kind).await;
        }
        if self.life != self.world.life.get() {
            std::future::pending::<()>().await;
        }
        self.world.faults.borrow_mut().strike(kind)
    }

    async fn simple_step(&self, kind: OpKind) -> io::Result<()> {
        self.step(kind).await.map_or(Ok(()), |fault| Err(fault.error()))
    }

    fn file(&self, content: Rc<RefCell<Content>>) -> SimFile {
        let len = content.borrow().visible.len() as u64;
        SimFile { disk: self.clone(), content, len }
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    async fn list(&self) -> io::Result<Vec<String>> {
        self.simple_step(OpKind::List).await?;
        Ok(self.world.files.borrow().keys().cloned().collect())
    }

    async fn create(&self, name: &str, len: u64) -> io::Result<SimFile> {
        if self.world.files.borrow().contains_key(name) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        self.world.making.borrow_mut().insert(name.to_owned(), len);
        let result = self.simple_step(OpKind::Create).await;
        self.world.making.borrow_mut().remove(name);
        result?;
        let Some(left) = self.world.free_bytes.get().checked_sub(len) else {
            return Err(Fault::NoSpace.error());
        };
        self.world.free_bytes.set(left);
        let content = Rc::new(RefCell::new(Content::zeros(len as usize)));
        self.world.files.borrow_mut().insert(name.to_owned(), content.clone());
        Ok(self.file(content))
    }

    async fn open(&self, name: &str) -> io::Result<SimFile> {
        self.simple_step(OpKind::Open).await?;
        let content = self.world.files.borrow().get(name).cloned();
        Ok(self.file(content.ok_or(io::ErrorKind::NotFound)?))
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        self.simple_step(OpKind::Remove).await?;
        let content = self.world.files.borrow_mut().remove(name).ok_or(io::ErrorKind::NotFound)?;
        self.world.free_bytes.set(self.world.free_bytes.get() + content.borrow().visible.len() as u64);
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.world.free_bytes.get())
    }
}

impl File for SimFile {
    fn len(&self) -> u64 {
        self.len
    }

    async fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.disk.simple_step(OpKind::Read).await?;
        let content = self.content.borrow();
        let at = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = at.checked_add(len).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(content.visible.get(at..end).ok_or(io::ErrorKind::UnexpectedEof)?.to_vec())
    }

    async fn write_sync(&self, offset: u64, parts: Vec<Bytes>) -> io::Result<()> {
        assert!(parts.len() <= PARTS_MAX, "at most {PARTS_MAX} parts");
        let fault = self.disk.step(OpKind::Write).await;
        let bytes: Vec<u8> = parts.iter().map(|p| p.as_slice()).collect::<Vec<_>>().concat();
        let at = offset as usize;
        if let Some(fault) = fault {
            let some = match fault {
                Fault::NoSpace => 0,
                _ => self.disk.world.chance.borrow_mut().random_range(0..=bytes.len() / SECTOR_BYTES) * SECTOR_BYTES,
            };
            self.content.borrow_mut().write(at, &bytes[..some]);
            return Err(fault.error());
        }
        self.content.borrow_mut().write(at, &bytes);
        if let Some(fault) = self.disk.step(OpKind::Sync).await {
            self.content.borrow_mut().fail_sync();
            return Err(fault.error());
        }
        self.content.borrow_mut().sync();
        Ok(())
    }
}
