//! One file, served to the kernel through FUSE, that is a [`Platter`]: a loop device on it is a disk whose power can be cut.
//!
//! The file is the root of its file system, mounted over an empty file. Of the protocol (`linux/fuse.h`, version 7) only what
//! a loop device needs is spoken; all else is refused with ENOSYS. The kernel's FLUSH of the device comes as FSYNC of the file.
//!
//! From a cut on nothing that was asked is answered, until [`Fuse::release`] fails it: whoever waits for the disk waits for
//! ever, as in a power cut, and can acknowledge nothing before the process is gone.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use rand::rngs::StdRng;
use rustix::io::{FdFlags, fcntl_setfd};

use super::platter::{Cut, Platter};
use super::stack;

/// Octets of a write at most.
const WRITE_BYTES_MAX: u32 = 1 << 20;
/// The kernel's own headers fit beside the largest write.
const BUFFER_BYTES: usize = WRITE_BYTES_MAX as usize + (64 << 10);
const IN_HEADER_BYTES: usize = 40;
const WRITE_HEADER_BYTES: usize = 40;

const GETATTR: u32 = 3;
const SETATTR: u32 = 4;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const DESTROY: u32 = 38;
const FORGET: u32 = 2;
const BATCH_FORGET: u32 = 42;

const EIO: i32 = 5;
const ENOSYS: i32 = 38;

/// A mounted disk.
pub struct Fuse {
    file: PathBuf,
    shared: Arc<Shared>,
    serving: Option<JoinHandle<()>>,
}

struct Shared {
    device: File,
    state: Mutex<State>,
}

struct State {
    platter: Platter,
    /// From the cut on: who is not answered.
    held: Option<Vec<u64>>,
    /// After that everything fails.
    dead: bool,
    /// Writes and flushes fail.
    read_only: bool,
}

impl Fuse {
    /// Serves `platter` as the file `file`, which is made. Errors: this process may not mount.
    pub fn mount(file: &Path, platter: Platter) -> Result<Fuse, String> {
        let fail = |why: io::Error| format!("/dev/fuse: {why}");
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").map_err(fail)?;
        File::create(file).map_err(|why| format!("{}: {why}", file.display()))?;
        // The program that mounts has to inherit it.
        fcntl_setfd(&device, FdFlags::empty()).map_err(|why| fail(why.into()))?;
        let fd = device.as_raw_fd();
        let options = format!("fd={fd},rootmode=100000,user_id=0,group_id=0,max_read={WRITE_BYTES_MAX}");
        let at = file.display().to_string();
        stack::run("mount", &["-i", "-t", "fuse", "-o", &options, "ringpost-platter", &at])?;
        fcntl_setfd(&device, FdFlags::CLOEXEC).map_err(|why| fail(why.into()))?;
        let state = Mutex::new(State { platter, held: None, dead: false, read_only: false });
        let shared = Arc::new(Shared { device, state });
        let of = shared.clone();
        let serving = std::thread::Builder::new().name("platter".into()).spawn(move || of.serve()).map_err(fail)?;
        Ok(Fuse { file: file.to_owned(), shared, serving: Some(serving) })
    }

    /// Cuts the power. Nothing that is asked from now on is answered.
    pub fn cut(&self, chance: &mut StdRng) -> Cut {
        let state = &mut *self.shared.state();
        state.held = Some(Vec::new());
        state.platter.cut(chance)
    }

    /// From now on writes and flushes fail.
    pub fn refuse_writes(&self) {
        self.shared.state().read_only = true;
    }

    /// Fails whatever waits since the cut, and all that is still to come.
    pub fn release(&self) {
        let held = {
            let mut state = self.shared.state();
            state.dead = true;
            state.held.take().unwrap_or_default()
        };
        held.into_iter().for_each(|unique| self.shared.answer(unique, EIO, &[]));
    }

    /// Ends it; the platter as it is.
    pub fn unmount(mut self) -> Result<Platter, String> {
        stack::run("umount", &[&self.file.display().to_string()])?;
        if let Some(serving) = self.serving.take() {
            serving.join().map_err(|_| "the disk's thread panicked")?;
        }
        Ok(std::mem::replace(&mut self.shared.state().platter, Platter::new(0, false)))
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        if self.serving.is_some() {
            self.release();
            let _ = stack::run("umount", &["--lazy", &self.file.display().to_string()]);
        }
    }
}

/// The fields of a request, one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u32(&mut self) -> u32 {
        let (field, rest) = self.0.split_at_checked(4).unwrap_or((&[0; 4], &[]));
        self.0 = rest;
        u32::from_ne_bytes(field.try_into().expect("four octets"))
    }

    fn u64(&mut self) -> u64 {
        let (field, rest) = self.0.split_at_checked(8).unwrap_or((&[0; 8], &[]));
        self.0 = rest;
        u64::from_ne_bytes(field.try_into().expect("eight octets"))
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock can panic")
    }

    /// Until it is unmounted.
    fn serve(&self) {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match (&self.device).read(&mut buffer) {
                Ok(len) if len >= IN_HEADER_BYTES => self.request(&buffer[..len]),
                Ok(_) => return,
                Err(why) => match why.raw_os_error() {
                    // ENOENT: the request was taken back; EINTR, EAGAIN.
                    Some(2 | 4 | 11) => {}
                    // ENODEV: unmounted.
                    _ => return,
                },
            }
        }
    }

    fn request(&self, bytes: &[u8]) {
        let mut header = Fields(&bytes[4..IN_HEADER_BYTES]);
        let (opcode, unique) = (header.u32(), header.u64());
        let body = &bytes[IN_HEADER_BYTES..];
        let mut fields = Fields(body);
        match opcode {
            FORGET | BATCH_FORGET | INTERRUPT => {}
            INIT => self.init(unique, &mut fields),
            GETATTR | SETATTR => {
                let attributes = attributes(self.state().platter.len() as u64);
                self.answer(unique, 0, &attributes);
            }
            OPEN => self.answer(unique, 0, &[0; 16]),
            READ | WRITE | FSYNC => self.transfer(opcode, unique, body),
            STATFS => self.answer(unique, 0, &[0; 80]),
            RELEASE | FLUSH | DESTROY => self.answer(unique, 0, &[]),
            _ => self.answer(unique, ENOSYS, &[]),
        }
    }

    fn transfer(&self, opcode: u32, unique: u64, body: &[u8]) {
        let state = &mut *self.state();
        if let Some(held) = &mut state.held {
            return held.push(unique);
        }
        if state.dead || (state.read_only && opcode != READ) {
            return self.answer(unique, EIO, &[]);
        }
        let mut fields = Fields(body);
        let (_, offset, size) = (fields.u64(), fields.u64() as usize, fields.u32() as usize);
        match opcode {
            READ => self.answer(unique, 0, state.platter.read(offset, size)),
            FSYNC => {
                state.platter.flush();
                self.answer(unique, 0, &[]);
            }
            _ => {
                let whole = body.get(WRITE_HEADER_BYTES..).filter(|octets| octets.len() == size);
                let done = whole.is_some_and(|octets| state.platter.write(offset, octets));
                let said = [(size as u32).to_ne_bytes(), [0; 4]].concat();
                if done { self.answer(unique, 0, &said) } else { self.answer(unique, EIO, &[]) }
            }
        }
    }

    fn init(&self, unique: u64, fields: &mut Fields) {
        const ASYNC_READ: u32 = 1;
        const BIG_WRITES: u32 = 1 << 5;
        const MAX_PAGES: u32 = 1 << 22;
        let (_, _, readahead, offered) = (fields.u32(), fields.u32(), fields.u32(), fields.u32());
        let flags = offered & (ASYNC_READ | BIG_WRITES | MAX_PAGES);
        let mut out = Vec::with_capacity(64);
        for word in [7, 31, readahead, flags] {
            out.extend_from_slice(&u32::to_ne_bytes(word));
        }
        // Requests in the background, and from how many on it is crowded.
        out.extend_from_slice(&u16::to_ne_bytes(64));
        out.extend_from_slice(&u16::to_ne_bytes(48));
        for word in [WRITE_BYTES_MAX, 1] {
            out.extend_from_slice(&u32::to_ne_bytes(word));
        }
        out.extend_from_slice(&u16::to_ne_bytes((WRITE_BYTES_MAX >> 12) as u16));
        out.resize(64, 0);
        self.answer(unique, 0, &out);
    }

    fn answer(&self, unique: u64, errno: i32, body: &[u8]) {
        let mut out = Vec::with_capacity(16 + body.len());
        out.extend_from_slice(&(16 + body.len() as u32).to_ne_bytes());
        out.extend_from_slice(&(-errno).to_ne_bytes());
        out.extend_from_slice(&unique.to_ne_bytes());
        out.extend_from_slice(body);
        // ENOENT: whoever asked is gone.
        let _ = (&self.device).write(&out);
    }
}

/// The answer to GETATTR: a regular file of so many octets, for good.
fn attributes(bytes: u64) -> Vec<u8> {
    const MODE: u32 = 0o100_600;
    let mut out = Vec::with_capacity(104);
    for word in [u64::from(u32::MAX), 0, 1, bytes, bytes / 512, 0, 0, 0] {
        out.extend_from_slice(&word.to_ne_bytes());
    }
    // Times' nanoseconds (three), mode, links, owner, group, device, block size, flags.
    for word in [0, 0, 0, MODE, 1, 0, 0, 0, 4_096, 0] {
        out.extend_from_slice(&u32::to_ne_bytes(word));
    }
    out
}
