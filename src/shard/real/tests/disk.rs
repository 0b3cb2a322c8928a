//! Folders and files.

use std::io;
use std::rc::Rc;

use ringpost_storage::disk::{Disk as _, File as _};

use super::{on_one, small};
use crate::observe::{self, Counter};
use crate::shard::real::Disk;
use crate::shard::{self, Writing};

#[test]
fn what_was_written_and_synced_is_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("volume");
    let at = path.clone();
    let syncs = on_one(small(1), move || {
        let path = path.clone();
        async move {
            let before = observe::here(Counter::RingSyncs);
            let disk = shard::disk(&path).expect("made");
            let file = disk.create("segment-1", 1 << 20).await.expect("created");
            assert_eq!(file.len(), 1 << 20);
            assert_eq!(disk.list().await.expect("listed"), ["segment-1"]);
            let again = disk.create("segment-1", 4096).await;
            assert_eq!(again.err().expect("taken").kind(), io::ErrorKind::AlreadyExists);
            let parts = vec![Rc::new(vec![7; 5000]), Rc::new(vec![8; 3192])];
            file.write_sync(512, parts).await.expect("durable");
            let again = disk.open("segment-1").await.expect("opened");
            let want = [vec![0; 2], vec![7; 5000], vec![8; 3192], vec![0; 2]].concat();
            assert_eq!(again.read_at(510, 8196).await.expect("read"), want);
            assert_eq!(again.read_device(510, 8196).await.expect("read"), want);
            let past = again.read_at((1 << 20) - 1, 2).await.expect_err("past the end");
            assert_eq!(past.kind(), io::ErrorKind::UnexpectedEof);
            assert!(disk.free_bytes().expect("counted") > 0);
            for name in ["../x", "a/b", "", ".", "..", ".x"] {
                assert_eq!(disk.open(name).await.err().expect("refused").kind(), io::ErrorKind::InvalidInput);
            }
            disk.remove("segment-1").await.expect("removed");
            assert!(disk.open("segment-1").await.is_err());
            observe::here(Counter::RingSyncs) - before
        }
    });
    assert_eq!(syncs, 1);
    assert!(at.is_dir());
}

#[test]
fn a196_links_folders_pipes_and_devices_are_no_volume_and_no_segment() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_owned();
    std::fs::create_dir_all(path.join("real/inner")).expect("made");
    std::fs::write(path.join("real/.half.new"), b"left by a crash").expect("written");
    std::fs::write(path.join("elsewhere"), b"not ours").expect("written");
    std::os::unix::fs::symlink(path.join("real"), path.join("link")).expect("linked");
    std::os::unix::fs::symlink(path.join("elsewhere"), path.join("real/out")).expect("linked");
    std::os::unix::fs::symlink("/dev/full", path.join("real/full")).expect("linked");
    let (all, pipe) = (rustix::fs::Mode::RWXU, path.join("real/pipe"));
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, all).expect("a pipe");
    on_one(small(1), move || {
        let path = path.clone();
        async move {
            assert!(shard::disk(&path.join("link")).is_err());
            assert!(shard::disk(&path.join("elsewhere")).is_err());
            let disk = shard::disk(&path.join("real")).expect("a folder");
            assert!(!path.join("real/.half.new").exists());
            assert!(disk.open("out").await.is_err());
            for name in ["inner", "full", "pipe"] {
                assert!(disk.open(name).await.is_err(), "{name}");
            }
        }
    });
}

/// Folders on disk and in memory, where the file system of each decides how it is written.
fn folders() -> Vec<tempfile::TempDir> {
    let exe = std::env::current_exe().expect("a program");
    let near = tempfile::tempdir_in(exe.parent().expect("a folder")).expect("a folder");
    let memory = tempfile::tempdir_in("/dev/shm").ok();
    [Some(near), tempfile::tempdir().ok(), memory].into_iter().flatten().collect()
}

#[test]
fn however_it_is_written_the_same_is_read() {
    for folder in folders() {
        let path = folder.path().to_owned();
        on_one(small(1), move || {
            let path = path.clone();
            async move {
                for writing in [Writing::Direct, Writing::Buffered] {
                    let disk = shard::disk_written(&path, writing).expect("a folder");
                    let name = format!("{writing:?}");
                    let file = disk.create(&name, 16 << 20).await.expect("created");
                    let mut want = vec![0; 16 << 20];
                    // Blocks that share a page, odd parts, and more than one stage holds.
                    for (at, parts) in [
                        (4_096, vec![100, 412]),
                        (4_608, vec![1, 1, 510, 9 << 10]),
                        (1 << 20, vec![1, 5 << 20, (4 << 20) + 511]),
                        (5_120, vec![512]),
                    ] {
                        let parts: Vec<_> = (1..).zip(parts).map(|(n, len)| Rc::new(vec![n; len])).collect();
                        let bytes: Vec<u8> = parts.iter().flat_map(|p| p.iter().copied()).collect();
                        file.write_sync(at, parts).await.expect("durable");
                        want[at as usize..][..bytes.len()].copy_from_slice(&bytes);
                        let (from, len) = (at as usize - 3, bytes.len() + 6);
                        assert_eq!(file.read_at(from as u64, len).await.expect("read"), &want[from..][..len]);
                    }
                    assert!(file.read_device(0, 16 << 20).await.expect("read") == want);
                    file.seal();
                    assert!(file.read_at(0, 16 << 20).await.expect("read") == want);
                    let past = file.read_device((16 << 20) - 1, 2).await.expect_err("past the end");
                    assert_eq!(past.kind(), io::ErrorKind::UnexpectedEof);
                    assert!(std::fs::read(path.join(&name)).expect("read") == want);
                }
            }
        });
    }
}

#[test]
fn a_recycled_file_has_its_octets_under_the_new_name() {
    for folder in folders() {
        let path = folder.path().to_owned();
        on_one(small(1), move || {
            let path = path.clone();
            async move {
                let disk = shard::disk(&path).expect("a folder");
                let file = disk.create("one", 8_192).await.expect("created");
                file.write_sync(512, vec![Rc::new(vec![7; 512])]).await.expect("durable");
                let again = disk.recycle("one", "two").await.expect("renamed");
                assert_eq!(disk.list().await.expect("listed"), ["two"]);
                assert_eq!(
                    again.read_at(510, 516).await.expect("read"),
                    [vec![0; 2], vec![7; 512], vec![0; 2]].concat()
                );
                again.write_sync(0, vec![Rc::new(vec![8; 512])]).await.expect("durable");
                assert_eq!(std::fs::read(path.join("two")).expect("read")[..1_024], [[8; 512], [7; 512]].concat());
                disk.create("three", 4_096).await.expect("created");
                let taken = disk.recycle("two", "three").await.err().expect("refused");
                assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
                assert_eq!(disk.recycle("one", "four").await.err().expect("gone").kind(), io::ErrorKind::NotFound);
                let odd = disk.recycle("two", "../five").await.err().expect("refused");
                assert_eq!(odd.kind(), io::ErrorKind::InvalidInput);
            }
        });
    }
}

#[test]
fn a_file_that_is_no_multiple_of_a_block_goes_through_the_page_cache() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_owned();
    on_one(small(1), move || {
        let path = path.clone();
        async move {
            let disk = Disk::open(&path, Writing::Direct).expect("a folder");
            let odd = disk.create("odd", 1_000).await.expect("created");
            assert!(!odd.is_direct());
            odd.write_sync(0, vec![Rc::new(vec![3; 512])]).await.expect("durable");
            assert_eq!(odd.read_device(500, 500).await.expect("read"), [vec![3; 12], vec![0; 488]].concat());
            let asked = Disk::open(&path, Writing::Buffered).expect("a folder");
            assert!(!asked.create("even", 4_096).await.expect("created").is_direct());
        }
    });
}
