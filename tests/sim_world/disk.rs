//! Disks that outlive their nodes.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::path::Path;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ringpost::shard::sim::{Chance, Fault, OpKind, When, World};
use ringpost::shard::{self, Mesh};
use ringpost_storage::disk::{Disk, File};

#[test]
fn what_was_synced_survives_a_crash_and_the_rest_may_not() {
    let mut kept = 0;
    for seed in 0..100 {
        let world = World::new(seed);
        let acked = Rc::new(Cell::new(0u64));
        let acked_there = acked.clone();
        let writer = world.start(1, move |_mesh: Mesh<(), ()>| {
            let acked = acked_there.clone();
            async move {
                let disk = shard::disk(Path::new("/volume")).expect("a folder");
                let file = disk.create("log", 64 << 10).await.expect("a file");
                for n in 0..128u64 {
                    file.write_sync(n * 512, vec![Rc::new(vec![1; 512])]).await.expect("written");
                    acked.set(n + 1);
                }
                shard::stop_requested().await;
                Ok(())
            }
        });
        world.run_until(async {
            shard::sleep(Duration::from_millis(Chance::new(seed).between(5, 100))).await;
            world.crash(writer);
            assert!(!world.is_up(writer));
        });
        let found = Rc::new(Cell::new(0u64));
        let found_there = found.clone();
        let reader = world.start(1, move |_mesh: Mesh<(), ()>| {
            let found = found_there.clone();
            async move {
                let disk = shard::disk(Path::new("/volume")).expect("a folder");
                if let Ok(file) = disk.open("log").await {
                    let all = file.read_at(0, 64 << 10).await.expect("readable");
                    found.set(all.chunks(512).take_while(|sector| sector.iter().all(|b| *b == 1)).count() as u64);
                }
                Ok(())
            }
        });
        world.run_until(async { world.ended(reader).await.expect("an orderly end") });
        assert_eq!(world.panics(), [""; 0]);
        assert!(found.get() >= acked.get(), "seed {seed}: {} of {} acknowledged", found.get(), acked.get());
        assert!(found.get() <= acked.get() + 1, "seed {seed}: more than was ever written");
        kept += found.get() - acked.get();
    }
    assert!((5..95).contains(&kept), "an un-synced write survives sometimes: {kept} of 100");
}

#[test]
fn a_write_goes_on_when_its_caller_stops_waiting() {
    for seed in 0..20 {
        let world = World::new(seed);
        let node = world.start(1, |_mesh: Mesh<(), ()>| async {
            let disk = shard::disk(Path::new("/volume")).expect("a folder");
            let file = disk.create("log", 4_096).await.expect("a file");
            let mut write = Box::pin(file.write_sync(0, vec![Rc::new(vec![1; 4_096])]));
            poll_fn(|cx| {
                assert!(write.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            drop(write);
            shard::sleep(Duration::from_secs(5)).await;
            assert_eq!(file.read_at(0, 4_096).await.expect("readable"), vec![1; 4_096]);
            Ok(())
        });
        world.run_until(async { world.ended(node).await.expect("an orderly end") });
        assert_eq!(world.panics(), [""; 0], "seed {seed}");
    }
}

#[test]
fn a_planned_fault_strikes_and_a_crash_ends_it() {
    let world = World::new(2);
    let folder = Path::new("/volume");
    let main = |_mesh: Mesh<(), ()>| async {
        let disk = shard::disk(Path::new("/volume")).expect("a folder");
        let file = match disk.open("log").await {
            Ok(file) => file,
            Err(_) => disk.create("log", 4_096).await.expect("a file"),
        };
        while file.write_sync(0, vec![Rc::new(vec![1; 512])]).await.is_ok() {}
        shard::stop_requested().await;
        Ok(())
    };
    world.disk(0, folder).fail(OpKind::Sync, Fault::Io, When::From(3));
    let node = world.start(1, main);
    world.run_until(shard_sleep());
    assert!(world.disk(0, folder).unsynced_sectors() == 1, "the third write was never synced");
    world.crash(node);
    assert_eq!(world.disk(0, folder).unsynced_sectors(), 0);
    let steps = world.disk(0, folder).steps();
    world.start(1, main);
    world.run_until(shard_sleep());
    assert!(world.disk(0, folder).steps() > steps + 10, "the next node writes on");
}

async fn shard_sleep() {
    shard::sleep(Duration::from_secs(3)).await;
}
