//! [`SimDisk`] and [`SimFile`]: the [`Disk`] and [`File`] of the simulation.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use xxhash_rust::xxh3::Xxh3;

use super::faults::{Fault, Faults, OpKind, When};
use super::file::{Content, Mood, SECTOR_BYTES};
use crate::bugs::{self, Bug};
use crate::disk::{BLOCK_BYTES, Bytes, Disk, File, PARTS_MAX};

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
    /// Its owner has said that it writes no more.
    sealed: Rc<Cell<bool>>,
    name: Rc<str>,
}

/// A write that a [`SimDisk`] was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which file.
    pub file: Rc<str>,
    /// Where.
    pub at: usize,
    /// Octets.
    pub len: usize,
    /// It has arrived whole, and its sync is complete.
    pub synced: bool,
}

struct World {
    files: RefCell<BTreeMap<String, Rc<RefCell<Content>>>>,
    /// Files that are being made: a crash may leave them or not.
    making: RefCell<BTreeMap<String, u64>>,
    /// Files that are being removed: the same.
    removing: RefCell<BTreeSet<String>>,
    /// Files that are being given another name, old to new: a crash leaves one name or the other.
    renaming: RefCell<BTreeMap<String, String>>,
    faults: RefCell<Faults>,
    delay: RefCell<Option<Delay>>,
    chance: RefCell<StdRng>,
    life: Cell<u64>,
    free_bytes: Cell<u64>,
    steps: Cell<u64>,
    device_reads: Cell<u64>,
    /// What a crash could leave has changed so often.
    changes: Cell<u64>,
    /// Writes in the order in which they were begun, if anybody wants to know.
    journal: RefCell<Option<Vec<Write>>>,
}

impl SimDisk {
    /// An empty folder. All chance comes from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let world = World {
            files: RefCell::default(),
            making: RefCell::default(),
            removing: RefCell::default(),
            renaming: RefCell::default(),
            faults: RefCell::default(),
            delay: RefCell::default(),
            chance: RefCell::new(StdRng::seed_from_u64(seed)),
            life: Cell::new(0),
            free_bytes: Cell::new(1 << 40),
            steps: Cell::new(0),
            device_reads: Cell::new(0),
            changes: Cell::new(0),
            journal: RefCell::default(),
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
        self.cut(&mut self.world.chance.borrow_mut());
        self.next_life()
    }

    /// Lets this disk be, and returns another one that is as this would be after a power cut now. All chance of the other one
    /// comes from `seed`; it has no delay and no planned faults.
    #[must_use]
    pub fn fork_crashed(&self, seed: u64) -> SimDisk {
        let fork = self.fork(seed);
        fork.cut(&mut fork.world.chance.borrow_mut());
        fork
    }

    /// As [`SimDisk::fork_crashed`], after a kill: what was written is all there, and un-synced still.
    #[must_use]
    pub fn fork_killed(&self, seed: u64) -> SimDisk {
        let fork = self.fork(seed);
        fork.world.making.borrow_mut().clear();
        fork.world.removing.borrow_mut().clear();
        fork.world.renaming.borrow_mut().clear();
        fork
    }

    /// In how many ways a power cut now may leave each thing that is in doubt (files that are made or removed, sectors): the
    /// product is how many different disks may be left, torn sectors aside.
    #[must_use]
    pub fn doubts(&self) -> Vec<usize> {
        let world = &self.world;
        let files = world.making.borrow().len() + world.removing.borrow().len() + world.renaming.borrow().len();
        let mut ways = vec![2; files];
        for content in self.world.files.borrow().values() {
            ways.extend(content.borrow().doubts().iter().map(|(_, ways)| ways.len()));
        }
        ways
    }

    /// As [`SimDisk::fork_crashed`], with the n-th thing that is in doubt left in the way `ways[n]` says. Way 0 of each is what
    /// readers see now.
    ///
    /// # Panics
    /// When there are more or fewer ways than doubts, or one is too high.
    #[must_use]
    pub fn fork_as(&self, ways: &[usize], seed: u64) -> SimDisk {
        let fork = self.fork(seed);
        let mut ways = ways.iter();
        let mut way = || *ways.next().expect("a way for each doubt");
        // A file that is being made comes to the files only now: it has no sectors in doubt.
        let made: Vec<_> =
            std::mem::take(&mut *fork.world.making.borrow_mut()).into_iter().filter(|_| way() == 1).collect();
        let gone: Vec<_> =
            std::mem::take(&mut *fork.world.removing.borrow_mut()).into_iter().filter(|_| way() == 1).collect();
        let renamed: Vec<_> =
            std::mem::take(&mut *fork.world.renaming.borrow_mut()).into_iter().filter(|_| way() == 1).collect();
        for content in fork.world.files.borrow().values() {
            let left: Vec<_> =
                content.borrow().doubts().into_iter().map(|(at, all)| (at, all[way()].clone())).collect();
            content.borrow_mut().settle(left.iter().map(|(at, bytes)| (*at, &bytes[..])));
        }
        assert_eq!(ways.next(), None, "no way without a doubt");
        for name in gone {
            fork.world.files.borrow_mut().remove(&name);
        }
        for (name, new_name) in renamed {
            fork.rename(&name, &new_name);
        }
        for (name, len) in made {
            fork.world.files.borrow_mut().insert(name, Rc::new(RefCell::new(Content::zeros(len as usize))));
        }
        fork
    }

    /// A hash of all names and octets, as readers see them.
    #[must_use]
    pub fn digest(&self) -> u128 {
        let mut hash = Xxh3::new();
        for (name, content) in &*self.world.files.borrow() {
            hash.update(name.as_bytes());
            content.borrow().hash(&mut hash);
        }
        hash.digest128()
    }

    /// How often what a crash could leave has changed: rises with each completion.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.world.changes.get()
    }

    fn changed(&self) {
        self.world.changes.set(self.world.changes.get() + 1);
    }

    /// A disk of its own with all that is here, in doubt as here.
    fn fork(&self, seed: u64) -> SimDisk {
        let fork = SimDisk::new(seed);
        let world = &fork.world;
        for (name, content) in &*self.world.files.borrow() {
            world.files.borrow_mut().insert(name.clone(), Rc::new(RefCell::new(content.borrow().clone())));
        }
        world.making.borrow_mut().clone_from(&self.world.making.borrow());
        world.removing.borrow_mut().clone_from(&self.world.removing.borrow());
        world.renaming.borrow_mut().clone_from(&self.world.renaming.borrow());
        world.free_bytes.set(self.world.free_bytes.get());
        fork
    }

    fn cut(&self, chance: &mut StdRng) {
        let mood = Mood::draw(chance);
        for (name, len) in std::mem::take(&mut *self.world.making.borrow_mut()) {
            if chance.random() {
                self.world.files.borrow_mut().insert(name, Rc::new(RefCell::new(Content::zeros(len as usize))));
            }
        }
        for name in std::mem::take(&mut *self.world.removing.borrow_mut()) {
            if chance.random() {
                self.world.files.borrow_mut().remove(&name);
            }
        }
        for (name, new_name) in std::mem::take(&mut *self.world.renaming.borrow_mut()) {
            if chance.random() {
                self.rename(&name, &new_name);
            }
        }
        for content in self.world.files.borrow().values() {
            content.borrow_mut().crash(mood, chance);
        }
    }

    fn rename(&self, name: &str, new_name: &str) {
        let mut files = self.world.files.borrow_mut();
        let content = files.remove(name).expect("a file that is renamed is there");
        files.insert(new_name.to_owned(), content);
    }

    /// Ends the process. Operations under way never complete; what was written stays readable, synced or not.
    #[must_use]
    pub fn kill(&self) -> SimDisk {
        self.world.making.borrow_mut().clear();
        self.world.removing.borrow_mut().clear();
        // Where the name had changed already, opening the folder makes that durable: as if it had been done.
        self.world.renaming.borrow_mut().clear();
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

    /// How often a planned fault has struck.
    #[must_use]
    pub fn struck(&self) -> u64 {
        self.world.faults.borrow().struck
    }

    /// Takes the plan of what fails, with its count of strikes, away from here.
    #[must_use]
    pub fn take_faults(&self) -> Faults {
        std::mem::take(&mut *self.world.faults.borrow_mut())
    }

    /// Puts a plan in the place of the one here: faults that are to outlive a crash.
    pub fn set_faults(&self, faults: Faults) {
        *self.world.faults.borrow_mut() = faults;
    }

    /// What each step waits for.
    #[must_use]
    pub fn delay(&self) -> Option<Delay> {
        self.world.delay.borrow().clone()
    }

    /// Forgets all planned faults.
    pub fn heal(&self) {
        self.world.faults.borrow_mut().clear();
    }

    /// Sets how much is free. Making a file takes from it; too little is `StorageFull`.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.world.free_bytes.set(bytes);
    }

    /// Keeps a journal of writes from now on.
    pub fn keep_journal(&self) {
        *self.world.journal.borrow_mut() = Some(Vec::new());
    }

    /// The writes since [`SimDisk::keep_journal`], in the order in which they were begun. Forks have none of it.
    #[must_use]
    pub fn journal(&self) -> Vec<Write> {
        self.world.journal.borrow().clone().unwrap_or_default()
    }

    /// The first of them from the n-th on that is wanted, and its number.
    pub fn written_since(&self, n: usize, is_wanted: impl Fn(&Write) -> bool) -> Option<(usize, Write)> {
        let journal = self.world.journal.borrow();
        journal.iter().flatten().enumerate().skip(n).find(|(_, w)| is_wanted(w)).map(|(n, w)| (n, w.clone()))
    }

    /// How many they are.
    #[must_use]
    pub fn journal_len(&self) -> usize {
        self.world.journal.borrow().as_ref().map_or(0, Vec::len)
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

    /// Reads that asked for the device so far.
    #[must_use]
    pub fn device_reads(&self) -> u64 {
        self.world.device_reads.get()
    }

    /// A file's octets, as a reader would see them. For tests that look at or spoil what is on disk.
    #[must_use]
    pub fn peek(&self, name: &str) -> Option<Vec<u8>> {
        let files = self.world.files.borrow();
        let content = files.get(name)?.borrow();
        content.read(0, content.len())
    }

    /// Some of a file's octets, as a reader would see them; `None` when they are not there.
    #[must_use]
    pub fn read(&self, name: &str, at: usize, len: usize) -> Option<Vec<u8>> {
        self.world.files.borrow().get(name)?.borrow().read(at, len)
    }

    /// Puts a file there with these octets, durable.
    pub fn poke(&self, name: &str, bytes: Vec<u8>) {
        self.world.files.borrow_mut().insert(name.to_owned(), Rc::new(RefCell::new(Content::of(&bytes))));
    }

    /// Changes octets of a file behind everybody's back, durable: damage.
    ///
    /// # Panics
    /// When there is no such file, or it is shorter.
    pub fn spoil(&self, name: &str, at: usize, bytes: &[u8]) {
        self.world.files.borrow()[name].borrow_mut().put(at, bytes);
    }

    /// The sectors in which these octets lie cannot be read any more, until they are written again. Those who [`SimDisk::peek`]
    /// see them still.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn wear_out(&self, name: &str, at: usize, len: usize) {
        self.world.files.borrow()[name].borrow_mut().wear_out(at, len);
    }

    /// All files, by name, with their lengths.
    #[must_use]
    pub fn files(&self) -> Vec<(String, usize)> {
        self.world.files.borrow().iter().map(|(name, content)| (name.clone(), content.borrow().len())).collect()
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

    fn file(&self, name: &str, content: Rc<RefCell<Content>>) -> SimFile {
        let len = content.borrow().len() as u64;
        SimFile { disk: self.clone(), content, len, sealed: Rc::default(), name: name.into() }
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
        self.changed();
        let result = self.simple_step(OpKind::Create).await;
        if !bugs::on(Bug::SkipDirectorySync) {
            self.world.making.borrow_mut().remove(name);
        }
        self.changed();
        result?;
        let Some(left) = self.world.free_bytes.get().checked_sub(len) else {
            return Err(Fault::NoSpace.error());
        };
        self.world.free_bytes.set(left);
        let content = Rc::new(RefCell::new(Content::zeros(len as usize)));
        self.world.files.borrow_mut().insert(name.to_owned(), content.clone());
        Ok(self.file(name, content))
    }

    async fn open(&self, name: &str) -> io::Result<SimFile> {
        self.simple_step(OpKind::Open).await?;
        let content = self.world.files.borrow().get(name).cloned();
        Ok(self.file(name, content.ok_or(io::ErrorKind::NotFound)?))
    }

    async fn recycle(&self, name: &str, new_name: &str) -> io::Result<SimFile> {
        let content = self.world.files.borrow().get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        if self.world.files.borrow().contains_key(new_name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.world.renaming.borrow_mut().insert(name.to_owned(), new_name.to_owned());
        self.changed();
        let result = self.simple_step(OpKind::Recycle).await;
        self.world.renaming.borrow_mut().remove(name);
        self.changed();
        result?;
        self.rename(name, new_name);
        Ok(self.file(new_name, content))
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        self.world.removing.borrow_mut().insert(name.to_owned());
        self.changed();
        let result = self.simple_step(OpKind::Remove).await;
        self.world.removing.borrow_mut().remove(name);
        self.changed();
        result?;
        let content = self.world.files.borrow_mut().remove(name).ok_or(io::ErrorKind::NotFound)?;
        self.world.free_bytes.set(self.world.free_bytes.get() + content.borrow().len() as u64);
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
        if content.is_worn_out(at, len) {
            return Err(Fault::Io.error());
        }
        content.read(at, len).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    async fn read_device(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.disk.world.device_reads.set(self.disk.world.device_reads.get() + 1);
        self.read_at(offset, len).await
    }

    fn seal(&self) {
        self.sealed.set(true);
    }

    async fn write_sync(&self, offset: u64, parts: Vec<Bytes>) -> io::Result<()> {
        let entry = self.put(offset, parts).await?;
        if let Some(fault) = self.disk.step(OpKind::Sync).await {
            if fault != Fault::Cancelled {
                self.content.borrow_mut().fail_sync();
            }
            self.disk.changed();
            return Err(fault.error());
        }
        self.content.borrow_mut().sync();
        self.disk.changed();
        // And with it what was written to the file before.
        if let (Some(entry), Some(journal)) = (entry, &mut *self.disk.world.journal.borrow_mut()) {
            journal[..=entry].iter_mut().filter(|w| w.file == self.name).for_each(|w| w.synced = true);
        }
        Ok(())
    }

    async fn write(&self, offset: u64, parts: Vec<Bytes>) -> io::Result<()> {
        self.put(offset, parts).await.map(drop)
    }
}

impl SimFile {
    /// Writes; returns where in the journal that is.
    async fn put(&self, offset: u64, parts: Vec<Bytes>) -> io::Result<Option<usize>> {
        assert!(parts.len() <= PARTS_MAX, "at most {PARTS_MAX} parts");
        assert!(!self.sealed.get(), "nothing is written to a sealed file");
        let total: u64 = parts.iter().map(|p| p.len() as u64).sum();
        assert!((offset | total).is_multiple_of(BLOCK_BYTES) && total > 0, "writes are whole blocks");
        let fault = self.disk.step(OpKind::Write).await;
        let bytes: Vec<u8> = parts.iter().map(|p| p.as_slice()).collect::<Vec<_>>().concat();
        let at = offset as usize;
        if let Some(fault) = fault {
            let some = match fault {
                Fault::NoSpace | Fault::Interrupted | Fault::Again => 0,
                _ => self.disk.world.chance.borrow_mut().random_range(0..=bytes.len() / SECTOR_BYTES) * SECTOR_BYTES,
            };
            self.content.borrow_mut().write(at, &bytes[..some]);
            self.disk.changed();
            return Err(fault.error());
        }
        self.content.borrow_mut().write(at, &bytes);
        self.disk.changed();
        let entry = Write { file: self.name.clone(), at, len: bytes.len(), synced: false };
        Ok(self.disk.world.journal.borrow_mut().as_mut().map(|journal| {
            journal.push(entry);
            journal.len() - 1
        }))
    }
}
