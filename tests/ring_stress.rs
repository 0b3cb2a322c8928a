//! Thousands of operations given up at random moments, with every byte checked and every freed block watched.
//!
//! What the ring promises is that a dropped future leaves its buffer with the kernel until the last completion. Breaking
//! that means that the kernel writes into freed memory, which nothing in the language can see. So this binary has
//! an allocator that fills what is freed with a pattern, keeps it back for long, and looks at the pattern before
//! the block is given out again. Valgrind would be the usual tool, but holds all threads while one waits in the ring.
//!
//! `RING_STRESS_ROUNDS` sets the number of rounds (600 operations each).
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use futures_lite::future::{or, yield_now};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use ringpost::shard::{self, DiskFile, Mesh, Peer, Plan, Stream};
use ringpost_storage::disk::{Disk as _, File as _};

/// Blocks kept back; the oldest is looked at and really freed when one more comes.
const HELD_BLOCKS: usize = 1 << 15;
/// Bytes kept back.
const HELD_BYTES: usize = 256 << 20;
const FREED: u8 = 0xd7;

struct Quarantine {
    taken: AtomicBool,
    held: UnsafeCell<Held>,
}

struct Held {
    blocks: [(*mut u8, Layout); HELD_BLOCKS],
    first: usize,
    count: usize,
    bytes: usize,
}

/// Freed blocks that somebody wrote to.
static BROKEN: AtomicUsize = AtomicUsize::new(0);

// SAFETY: `held` is touched only between `lock` and the store that opens it again.
unsafe impl Sync for Quarantine {}

#[global_allocator]
static QUARANTINE: Quarantine = Quarantine {
    taken: AtomicBool::new(false),
    held: UnsafeCell::new(Held {
        blocks: [(std::ptr::null_mut(), Layout::new::<u8>()); HELD_BLOCKS],
        first: 0,
        count: 0,
        bytes: 0,
    }),
};

impl Quarantine {
    fn with<T>(&self, work: impl FnOnce(&mut Held) -> T) -> T {
        while self.taken.swap(true, Ordering::Acquire) {
            std::hint::spin_loop();
        }
        // SAFETY: the flag is ours, and `work` neither allocates nor frees through this allocator.
        let done = work(unsafe { &mut *self.held.get() });
        self.taken.store(false, Ordering::Release);
        done
    }

    /// Looks at all that is kept back.
    fn inspect(&self) -> usize {
        self.with(|held| {
            for at in 0..held.count {
                let (block, layout) = held.blocks[(held.first + at) % HELD_BLOCKS];
                look(block, layout);
            }
        });
        BROKEN.load(Ordering::SeqCst)
    }
}

fn look(block: *mut u8, layout: Layout) {
    // SAFETY: the block was freed by its owner and not yet given back to the system: it is ours and its size known.
    let bytes = unsafe { std::slice::from_raw_parts_mut(block, layout.size()) };
    if bytes.iter().any(|byte| *byte != FREED) {
        BROKEN.fetch_add(1, Ordering::SeqCst);
        bytes.fill(FREED);
    }
}

// SAFETY: blocks come from the system's allocator and go back to it once, with their layout, later.
unsafe impl GlobalAlloc for Quarantine {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { std::ptr::write_bytes(block, FREED, layout.size()) };
        self.with(|held| {
            while held.count == HELD_BLOCKS || (held.count > 0 && held.bytes + layout.size() > HELD_BYTES) {
                let (oldest, layout) = held.blocks[held.first];
                held.first = (held.first + 1) % HELD_BLOCKS;
                held.count -= 1;
                held.bytes -= layout.size();
                look(oldest, layout);
                unsafe { System.dealloc(oldest, layout) };
            }
            held.blocks[(held.first + held.count) % HELD_BLOCKS] = (block, layout);
            held.count += 1;
            held.bytes += layout.size();
        });
    }
}

/// Byte `at` of the endless text of connection `seed`.
fn letter(seed: u64, at: u64) -> u8 {
    ((at ^ seed << 7).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8
}

fn text(seed: u64, from: u64, len: usize) -> Vec<u8> {
    (from..from + len as u64).map(|at| letter(seed, at)).collect()
}

const CONNECTIONS: u64 = 24;
const OPERATIONS: usize = 25;
/// Bytes of the file each connection writes to.
const REGION: u64 = 64 << 10;

/// A client that talks and listens in random pieces, and checks what it hears.
fn client(at: SocketAddr, seed: u64) {
    let mut stream = TcpStream::connect(at).expect("connect");
    let mut reader = stream.try_clone().expect("clone");
    let listening = thread::spawn(move || {
        let (mut heard, mut part) = (0, [0; 4096]);
        let mut chance = SmallRng::seed_from_u64(seed);
        loop {
            let want = chance.random_range(1..part.len());
            match reader.read(&mut part[..want]) {
                Ok(0) | Err(_) => return,
                Ok(read) => {
                    assert_eq!(part[..read], text(!seed, heard, read), "client {seed} at {heard}");
                    heard += read as u64;
                }
            }
        }
    });
    stream.write_all(&seed.to_be_bytes()).expect("the name");
    let (mut said, mut chance) = (0, SmallRng::seed_from_u64(seed + 1_000));
    loop {
        let len = chance.random_range(1..3_000);
        match stream.write(&text(seed, said, len)) {
            Ok(written) => said += written as u64,
            Err(_) => break,
        }
    }
    listening.join().expect("what was heard is right");
}

/// Gives `work` up at a random moment. `None`: given up.
async fn at_most<T>(chance: &mut SmallRng, work: impl Future<Output = T>) -> Option<T> {
    let (kind, polls, us) = (chance.random_range(0..4), chance.random_range(0..5), chance.random_range(0..400));
    let give_up = async {
        match kind {
            0 => {
                for _ in 0..polls {
                    yield_now().await;
                }
            }
            1 => shard::sleep(Duration::from_micros(us)).await,
            _ => shard::sleep(Duration::from_secs(5)).await,
        }
        None
    };
    or(async { Some(work.await) }, give_up).await
}

/// One connection's random life. Returns the pieces of the file that it started to write.
async fn serve(mut stream: Stream, file: DiskFile) -> Vec<(u64, usize)> {
    // The client's name comes first: 8 bytes, then its text.
    let mut name = Vec::new();
    while name.len() < 8 {
        name.extend_from_slice(&stream.recv().await.expect("a name"));
    }
    let text_so_far = name.split_off(8);
    let seed = u64::from_be_bytes(name.try_into().expect("8 bytes"));
    assert_eq!(text_so_far, text(seed, 0, text_so_far.len()));
    let mut chance = SmallRng::seed_from_u64(seed + 2_000);
    let mut heard = text_so_far.len() as u64;
    let (mut said, mut write_at, mut writes) = (0, 0, Vec::new());
    for _ in 0..OPERATIONS {
        match chance.random_range(0..10) {
            0..4 => {
                if let Some(chunk) = at_most(&mut chance, stream.recv()).await {
                    let chunk = chunk.expect("the client talks on");
                    assert_eq!(*chunk, text(seed, heard, chunk.len()), "connection {seed} at {heard}");
                    heard += chunk.len() as u64;
                    if chance.random_bool(0.3) {
                        yield_now().await;
                    }
                }
            }
            4..7 => {
                let len = chance.random_range(1..20_000);
                let bytes = text(!seed, said, len);
                // An earlier one that was given up is waited for, so that this one starts at its first poll. From then
                // on it goes out whole and in order, given up or not.
                stream.send(Vec::new()).await.0.expect("the client listens on");
                said += len as u64;
                if let Some((sent, buffer)) = at_most(&mut chance, stream.send(bytes)).await {
                    sent.expect("the client listens on");
                    assert!(buffer.is_empty());
                }
            }
            7 => {
                let offset = chance.random_range(0..REGION * CONNECTIONS - 5_000);
                let len = chance.random_range(1..5_000);
                if let Some(read) = at_most(&mut chance, file.read_at(offset, len)).await {
                    assert_eq!(read.expect("read").len(), len);
                }
            }
            8 => {
                let deadline = shard::now().after(Duration::from_micros(chance.random_range(0..200)));
                stream.set_deadline(chance.random_bool(0.5).then_some(deadline));
                stream.set_deadline(None);
            }
            _ => {
                let len = chance.random_range(1..8) * 512;
                if write_at + len as u64 > REGION {
                    continue;
                }
                let at = seed % CONNECTIONS * REGION + write_at;
                let bytes = text(77, at, len);
                let cut = chance.random_range(0..=len);
                let parts = vec![Rc::new(bytes[..cut].to_vec()), Rc::new(bytes[cut..].to_vec())];
                writes.push((at, len));
                write_at += len as u64;
                if let Some(done) = at_most(&mut chance, file.write_sync(at, parts)).await {
                    done.expect("durable");
                }
            }
        }
    }
    match chance.random_range(0..4) {
        0 => stream.close().await,
        1 => stream.reset(),
        2 => drop(stream),
        // Given up half-way through a hand-off.
        _ => drop(at_most(&mut chance, stream.detach()).await),
    }
    writes
}

fn round(number: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_owned();
    let (tell, hear) = mpsc::channel();
    let clients = thread::spawn(move || {
        let at = hear.recv().expect("the door opens");
        let start = |seed| thread::spawn(move || client(at, seed));
        let clients: Vec<_> = (0..CONNECTIONS).map(|n| start(number * CONNECTIONS + n)).collect();
        clients.into_iter().for_each(|client| client.join().expect("the client is content"));
    });
    let (sender, written) = mpsc::channel();
    // Small, so that the queue overflows, buffers run out and chains meet the queue's end.
    let plan = Plan { ring_entries: 8, recv_buffers: 8, recv_buffer_bytes: 512, ..Plan::for_cpus(vec![0]) };
    shard::run(plan, move |_: Mesh<(), ()>| {
        let (path, tell, sender) = (path.clone(), tell.clone(), sender.clone());
        async move {
            let disk = shard::disk(&path).expect("a folder");
            let file = disk.create("stress", REGION * CONNECTIONS).await.expect("a file");
            let mut door = shard::listen((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
            let Peer::Net(at) = door.local() else { panic!("a TCP door") };
            tell.send(at).expect("the clients wait");
            let left = Rc::new(Cell::new(CONNECTIONS));
            for _ in 0..CONNECTIONS {
                let stream = door.accept().await.expect("a connection");
                let (file, left, sender) = (file.clone(), left.clone(), sender.clone());
                shard::spawn("stress", async move {
                    for piece in serve(stream, file).await {
                        sender.send(piece).expect("the test waits");
                    }
                    left.set(left.get() - 1);
                });
            }
            while left.get() > 0 {
                shard::sleep(Duration::from_millis(1)).await;
            }
            // Some rounds end with sends and chains still under way: the ring must see them out.
            Ok(())
        }
    })
    .expect("the shard starts and ends");
    clients.join().expect("the clients are content");
    let bytes = std::fs::read(folder.path().join("stress")).expect("the file");
    for (at, len) in written {
        let from = at as usize;
        assert!(bytes[from..from + len] == text(77, at, len), "a chain that was started has run to its end");
    }
}

#[test]
fn nothing_given_up_is_written_to_afterwards() {
    let rounds = std::env::var("RING_STRESS_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    (0..rounds).for_each(round);
    assert_eq!(QUARANTINE.inspect(), 0, "freed blocks were written to");
}

/// The same tool on a ring that breaks the promise: its buffer is freed while the kernel still holds it.
#[test]
fn a_buffer_freed_too_early_is_found() {
    // In a process of its own: the other test must not see this block.
    if std::env::var_os("RING_STRESS_BREAK").is_none() {
        let itself = std::env::current_exe().expect("this binary");
        let run = std::process::Command::new(itself)
            .args(["--exact", "a_buffer_freed_too_early_is_found"])
            .env("RING_STRESS_BREAK", "1")
            .output()
            .expect("it runs");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
        return;
    }
    use std::os::fd::AsRawFd;
    let (read, mut write) = std::io::pipe().expect("a pipe");
    let mut ring = io_uring::IoUring::new(4).expect("a ring");
    let mut buffer = vec![0u8; 4096];
    let fd = io_uring::types::Fd(read.as_raw_fd());
    let entry = io_uring::opcode::Read::new(fd, buffer.as_mut_ptr(), 4096).build();
    // SAFETY: none; this is the bug.
    unsafe { ring.submission().push(&entry).expect("room") };
    ring.submit().expect("submitted");
    drop(buffer);
    assert_eq!(QUARANTINE.inspect(), 0);
    write.write_all(b"into freed memory").expect("written");
    ring.submit_and_wait(1).expect("completed");
    assert_eq!(QUARANTINE.inspect(), 1, "seen");
}
