//! What a durable commit costs: batches of 4 KiB letters into one log file, direct and through the page cache, into
//! space that was just zeroed, only allocated, or written before (a recycled segment).
//!
//! `cargo bench --bench disk_commit -- FOLDER...`, or `benches/disk_commit.sh` for ext4 and xfs on loop devices. One
//! shard on CPU 0. Columns: the shard's own CPU, the whole process's (io_uring's workers are its threads), that of
//! the kernel's own threads meanwhile (of everybody: it needs a quiet machine), and the wall clock, the middle of all.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use ringpost::shard::{self, Disk, DiskFile, Mesh, Plan, Writing};
use ringpost_storage::disk::{Bytes, Disk as _, File as _};

const SEGMENT_BYTES: u64 = 64 << 20;
const LETTER_BYTES: usize = 4_096;
/// What the log writes beside a body for each letter, and for each batch.
const RECORDS_BYTES: usize = 256;
const FRAME_BYTES: usize = 192;
const COMMITS_MAX: u64 = 400;
const BLOCK_BYTES: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Space {
    Zeroed,
    Allocated,
    Recycled,
}

fn main() {
    let mut folders: Vec<PathBuf> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).map(Into::into).collect();
    if folders.is_empty() {
        folders.push(std::env::current_dir().expect("a folder").join("target"));
    }
    let ran = shard::run(Plan::for_cpus(vec![0]), move |_: Mesh<(), ()>| {
        let folders = folders.clone();
        async move {
            for folder in &folders {
                let folder = tempfile::tempdir_in(folder).expect("a folder");
                println!("\n{}", folder.path().display());
                println!("| batch | space | writing | shard µs | process µs | kernel threads µs | wall µs |");
                println!("|---|---|---|---|---|---|---|");
                for batch in [1, 8, 64, 256] {
                    for space in [Space::Zeroed, Space::Allocated, Space::Recycled] {
                        for writing in [Writing::Buffered, Writing::Direct] {
                            run(folder.path(), batch, space, writing).await;
                        }
                    }
                }
                making(folder.path()).await;
            }
            Ok(())
        }
    });
    ran.expect("the shard starts and ends");
}

async fn run(folder: &Path, batch: usize, space: Space, writing: Writing) {
    let disk = shard::disk_written(folder, writing).expect("a folder");
    let file = file(&disk, folder, space).await;
    let letters: Vec<Bytes> = (0..batch).map(|n| Rc::new(vec![n as u8 | 1; LETTER_BYTES])).collect();
    let used = batch * (LETTER_BYTES + RECORDS_BYTES) + FRAME_BYTES;
    let padding = used.next_multiple_of(BLOCK_BYTES) - used;
    let mut parts = vec![Rc::new(vec![1; batch * RECORDS_BYTES + FRAME_BYTES / 2])];
    parts.extend(letters);
    parts.push(Rc::new(vec![2; FRAME_BYTES / 2 + padding]));
    let bytes = (used + padding) as u64;
    let commits = (SEGMENT_BYTES / bytes).min(COMMITS_MAX);
    let mut walls = Vec::new();
    let before = Clocks::now();
    for n in 0..commits {
        let start = Instant::now();
        file.write_sync(n * bytes, parts.clone()).await.expect("durable");
        walls.push(start.elapsed().as_secs_f64() * 1e6);
    }
    let Cpu { shard, process, kernel } = before.until_now(commits as f64);
    walls.sort_by(f64::total_cmp);
    println!(
        "| {batch} | {space:?} | {writing:?} | {shard:.0} | {process:.0} | {kernel:.0} | {:.0} |",
        walls[walls.len() / 2]
    );
    disk.remove("log").await.expect("removed");
}

/// A file of a segment's length, settled on the device.
async fn file(disk: &Disk, folder: &Path, space: Space) -> DiskFile {
    if space == Space::Zeroed {
        return disk.create("log", SEGMENT_BYTES).await.expect("made");
    }
    let path = folder.join("log");
    let file = std::fs::File::create(&path).expect("made");
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, SEGMENT_BYTES).expect("allocated");
    if space == Space::Recycled {
        let some: Vec<u8> = (0..1 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        (0..SEGMENT_BYTES >> 20).for_each(|n| file.write_all_at(&some, n << 20).expect("written"));
    }
    file.sync_all().expect("synced");
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("advised");
    disk.open("log").await.expect("opened")
}

/// What a new segment costs, to be spread over the commits it takes.
async fn making(folder: &Path) {
    let disk = shard::disk(folder).expect("a folder");
    let (before, start) = (Clocks::now(), Instant::now());
    const TIMES: u32 = 4;
    for _ in 0..TIMES {
        disk.create("log", SEGMENT_BYTES).await.expect("made");
        disk.remove("log").await.expect("removed");
    }
    let Cpu { process, kernel, .. } = before.until_now(f64::from(TIMES));
    let wall = start.elapsed().as_secs_f64() * 1e3 / f64::from(TIMES);
    println!(
        "\nMaking (zeros, synced) and removing a segment of 64 MiB: {process:.0} µs of the process, {kernel:.0} µs of the kernel's threads, {wall:.0} ms."
    );
    std::io::stdout().flush().expect("said");
}

/// CPU time, µs.
struct Cpu {
    shard: f64,
    process: f64,
    kernel: f64,
}

/// CPU time of each thread, µs, by folder in procfs.
struct Clocks {
    shard: f64,
    process: BTreeMap<PathBuf, f64>,
    kernel: BTreeMap<PathBuf, f64>,
}

impl Clocks {
    fn now() -> Clocks {
        let all = |folder: &str, wanted: &dyn Fn(&Path) -> bool| {
            let entries = std::fs::read_dir(folder).expect("procfs").filter_map(|e| Some(e.ok()?.path()));
            entries.filter(|p| wanted(p)).map(|p| (p.clone(), used(&p))).collect()
        };
        Clocks {
            shard: used(Path::new("/proc/thread-self")),
            process: all("/proc/self/task", &|_| true),
            kernel: all("/proc", &is_kernel),
        }
    }

    fn until_now(&self, times: f64) -> Cpu {
        let now = Clocks::now();
        let since = |now: &BTreeMap<PathBuf, f64>, before: &BTreeMap<PathBuf, f64>| -> f64 {
            now.iter().map(|(thread, used)| used - before.get(thread).unwrap_or(&0.0)).sum()
        };
        Cpu {
            shard: (now.shard - self.shard) / times,
            process: since(&now.process, &self.process) / times,
            kernel: since(&now.kernel, &self.kernel) / times,
        }
    }
}

fn used(thread: &Path) -> f64 {
    let text = std::fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e3
}

/// A thread of the kernel has the parent 2.
fn is_kernel(process: &Path) -> bool {
    let parent = |stat: String| Some(stat.rsplit_once(") ")?.1.split(' ').nth(1)? == "2");
    std::fs::read_to_string(process.join("stat")).ok().and_then(parent).unwrap_or(false)
}
