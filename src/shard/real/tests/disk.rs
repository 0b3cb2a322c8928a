//! Folders and files.

use std::io;
use std::rc::Rc;

use ringpost_storage::disk::{Disk as _, File as _};

use super::{on_one, small};
use crate::observe::{self, Counter};
use crate::shard;

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
            let parts = vec![Rc::new(vec![7; 5000]), Rc::new(vec![8; 3000])];
            file.write_sync(100, parts).await.expect("durable");
            let again = disk.open("segment-1").await.expect("opened");
            assert_eq!(
                again.read_at(98, 8004).await.expect("read"),
                [vec![0; 2], vec![7; 5000], vec![8; 3000], vec![0; 2]].concat()
            );
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
fn links_and_folders_are_no_volume_and_no_segment() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_owned();
    std::fs::create_dir_all(path.join("real/inner")).expect("made");
    std::fs::write(path.join("real/.half.new"), b"left by a crash").expect("written");
    std::fs::write(path.join("elsewhere"), b"not ours").expect("written");
    std::os::unix::fs::symlink(path.join("real"), path.join("link")).expect("linked");
    std::os::unix::fs::symlink(path.join("elsewhere"), path.join("real/out")).expect("linked");
    on_one(small(1), move || {
        let path = path.clone();
        async move {
            assert!(shard::disk(&path.join("link")).is_err());
            assert!(shard::disk(&path.join("elsewhere")).is_err());
            let disk = shard::disk(&path.join("real")).expect("a folder");
            assert!(!path.join("real/.half.new").exists());
            assert!(disk.open("out").await.is_err());
            assert!(disk.open("inner").await.is_err());
        }
    });
}
