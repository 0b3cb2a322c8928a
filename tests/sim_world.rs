//! The simulated world keeps the facade's promises: through the front door of `shard`, over many seeds.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ringpost::limits;
use ringpost::shard::sim::{self, Chance, World};
use ringpost::shard::{self, Detached, Mesh, MeshError, SideError, StartError, Stream};
use ringpost_storage::disk::{Disk, File};

const DOOR: &str = "127.0.0.1:2525";

fn door() -> SocketAddr {
    DOOR.parse().expect("an address")
}

async fn echo(mut stream: Stream) {
    while let Ok(chunk) = stream.recv().await {
        if chunk.is_empty() {
            return stream.close().await;
        }
        let bytes = chunk.to_vec();
        drop(chunk);
        if stream.send(bytes).await.0.is_err() {
            return;
        }
    }
}

/// Opens the door on every shard and echoes until asked to stop.
async fn echo_shard(_mesh: Mesh<(), ()>) -> Result<(), StartError> {
    let mut door = shard::listen(door()).expect("the door opens");
    shard::spawn("accept", async move {
        while let Ok(stream) = door.accept().await {
            shard::spawn("echo", echo(stream));
        }
    });
    shard::stop_requested().await;
    Ok(())
}

async fn read_to_end(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let chunk = stream.recv().await?;
        if chunk.is_empty() {
            return Ok(all);
        }
        all.extend_from_slice(&chunk);
    }
}

async fn read_exact(stream: &mut Stream, len: usize) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    while all.len() < len {
        let chunk = stream.recv().await?;
        if chunk.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// Waits until a door is open.
async fn knock() -> Stream {
    for _ in 0..1_000 {
        match sim::connect(door()).await {
            Ok(stream) => return stream,
            Err(_) => shard::sleep(Duration::from_millis(1)).await,
        }
    }
    panic!("no door at {DOOR}");
}

/// A whole small story, and the hash over all that happened in it.
fn echo_story(seed: u64) -> (u64, u64) {
    let world = World::new(seed);
    let node = world.start(3, echo_shard);
    let clients: Vec<_> = (0..4u64)
        .map(|i| {
            world.spawn("client", async move {
                let chance = Chance::of(seed, &format!("client {i}"));
                let mut stream = knock().await;
                for _ in 0..5 {
                    let mut bytes = vec![0; 1 + chance.index(3_000)];
                    chance.fill(&mut bytes);
                    stream.send(bytes.clone()).await.0.expect("sent");
                    assert_eq!(read_exact(&mut stream, bytes.len()).await.expect("echoed"), bytes);
                }
                stream.close().await;
            })
        })
        .collect();
    world.run_until(async {
        for client in clients {
            client.await;
        }
        world.stop(node).await.expect("an orderly end");
    });
    assert_eq!(world.panics(), [""; 0]);
    let end_ns = world.run_until(async { shard::now().0 });
    (world.trace(), end_ns)
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let mut traces = Vec::new();
    for seed in 0..50 {
        let first = echo_story(seed);
        assert_eq!(first, echo_story(seed), "seed {seed}");
        traces.push(first);
    }
    traces.sort_unstable();
    traces.dedup();
    assert_eq!(traces.len(), 50, "different seeds tell different stories");
}

#[test]
fn connections_are_spread_over_the_shards() {
    let world = World::new(1);
    let seen = Rc::new(RefCell::new([0u32; 3]));
    let seen_there = seen.clone();
    world.start(3, move |_mesh: Mesh<(), ()>| {
        let seen = seen_there.clone();
        async move {
            assert_eq!(shard::count(), 3);
            let mut door = shard::listen(door()).expect("the door opens");
            while let Ok(stream) = door.accept().await {
                seen.borrow_mut()[usize::from(shard::id())] += 1;
                stream.close().await;
            }
            Ok(())
        }
    });
    world.run_until(async {
        for _ in 0..60 {
            let mut stream = knock().await;
            assert!(read_to_end(&mut stream).await.expect("closed in order").is_empty());
        }
    });
    assert_eq!(seen.borrow().iter().sum::<u32>(), 60);
    assert!(seen.borrow().iter().all(|n| *n > 5), "{:?}", seen.borrow());
}

#[test]
fn a_sender_waits_for_a_reader_who_does_not_read() {
    for seed in 0..20 {
        let world = World::new(seed);
        let sent = Rc::new(Cell::new(false));
        let sent_there = sent.clone();
        world.start(1, move |_mesh: Mesh<(), ()>| {
            let sent = sent_there.clone();
            async move {
                let mut stream = shard::listen(door()).expect("the door opens").accept().await.expect("a client");
                stream.send(vec![7; 1 << 20]).await.0.expect("sent in the end");
                sent.set(true);
                stream.close().await;
                shard::stop_requested().await;
                Ok(())
            }
        });
        world.run_until(async {
            let mut stream = knock().await;
            shard::sleep(Duration::from_secs(3_600)).await;
            assert!(!sent.get(), "seed {seed}: a mebibyte fits in no window");
            assert_eq!(read_to_end(&mut stream).await.expect("all of it").len(), 1 << 20, "seed {seed}");
            assert!(sent.get());
        });
    }
}

#[test]
fn deadlines_fire_in_virtual_time_and_within_a_second() {
    for seed in 0..20 {
        let world = World::new(seed);
        let waited = Rc::new(Cell::new(Duration::ZERO));
        let waited_there = waited.clone();
        let node = world.start(1, move |_mesh: Mesh<(), ()>| {
            let waited = waited_there.clone();
            async move {
                let mut stream = shard::listen(door()).expect("the door opens").accept().await.expect("a client");
                let start = shard::now();
                stream.set_deadline(Some(start.after(Duration::from_secs(300))));
                let why = stream.recv().await.err().expect("the client says nothing");
                assert_eq!(why.kind(), io::ErrorKind::TimedOut);
                waited.set(shard::now().since(start));
                stream.reset();
                Ok(())
            }
        });
        world.run_until(async {
            let mut stream = knock().await;
            let why = stream.recv().await.err().expect("a reset");
            assert_eq!(why.kind(), io::ErrorKind::ConnectionReset);
            world.ended(node).await.expect("an orderly end");
        });
        assert_eq!(world.panics(), [""; 0]);
        assert!((300..301).contains(&waited.get().as_secs()), "seed {seed}: {:?}", waited.get());
    }
}

#[test]
fn a_stalled_writer_times_out_too() {
    let world = World::new(3);
    let node = world.start(1, |_mesh: Mesh<(), ()>| async {
        let mut stream = shard::listen(door()).expect("the door opens").accept().await.expect("a client");
        stream.set_deadline(Some(shard::now().after(Duration::from_secs(60))));
        let (outcome, buffer) = stream.send(vec![0; 1 << 20]).await;
        assert_eq!(outcome.expect_err("nobody reads").kind(), io::ErrorKind::TimedOut);
        assert!(buffer.is_empty() && buffer.capacity() >= 1 << 20, "the buffer comes back");
        Ok(())
    });
    world.run_until(async {
        let stream = knock().await;
        world.ended(node).await.expect("an orderly end");
        drop(stream);
    });
    assert_eq!(world.panics(), [""; 0]);
}

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
fn peers_of_a_crashed_node_see_a_reset_and_the_next_node_answers() {
    for seed in 0..30 {
        let world = World::new(seed);
        let node = world.start(2, echo_shard);
        world.run_until(async {
            let mut stream = knock().await;
            stream.send(b"hello".to_vec()).await.0.expect("sent");
            assert_eq!(read_exact(&mut stream, 5).await.expect("echoed"), b"hello");
            world.crash(node);
            let refused = sim::connect(door()).await.err().expect("no door");
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            assert_eq!(read_to_end(&mut stream).await.expect_err("gone").kind(), io::ErrorKind::ConnectionReset);
            let again = world.start(2, echo_shard);
            let mut stream = knock().await;
            stream.send(b"again".to_vec()).await.0.expect("sent");
            assert_eq!(read_exact(&mut stream, 5).await.expect("echoed"), b"again");
            world.stop(again).await.expect("an orderly end");
            assert!(read_to_end(&mut stream).await.expect("closed in order").is_empty());
        });
    }
}

#[test]
fn a_connection_moves_between_shards_with_all_its_bytes() {
    for seed in 0..50 {
        let world = World::new(seed);
        let node = world.start(2, |mesh: Mesh<Detached, ()>| async move {
            mesh.serve(|from, detached: Detached| async move {
                assert_eq!((from, shard::id()), (0, 1));
                shard::spawn("echo", echo(detached.attach()));
            });
            if shard::id() == 0 {
                let mut door = shard::listen(door()).expect("the door opens");
                let mut stream = door.accept().await.expect("a client");
                assert_eq!(*stream.recv().await.expect("the client speaks"), *b"a");
                stream.send(b"ok".to_vec()).await.0.expect("sent");
                let detached = stream.detach().await.expect("whole");
                // The other shard may be asked to stop before its reply is here.
                let _ = mesh.call(1, detached, 0).await;
            }
            shard::stop_requested().await;
            Ok(())
        });
        world.run_until(async {
            let mut stream = knock().await;
            stream.send(b"a".to_vec()).await.0.expect("sent");
            assert_eq!(read_exact(&mut stream, 2).await.expect("answered"), b"ok");
            // Before, during or after the move.
            shard::sleep(Duration::from_micros(Chance::new(seed).below(2_000))).await;
            stream.send(vec![b'b'; 10_000]).await.0.expect("sent");
            assert_eq!(read_exact(&mut stream, 10_000).await.expect("echoed"), vec![b'b'; 10_000]);
            world.stop(node).await.expect("an orderly end");
        });
        assert_eq!(world.panics(), [""; 0], "seed {seed}");
    }
}

#[test]
fn a_dropped_hand_off_closes_the_connection() {
    let world = World::new(9);
    let node = world.start(1, |_mesh: Mesh<(), ()>| async {
        let stream = shard::listen(door()).expect("the door opens").accept().await.expect("a client");
        drop(stream.detach().await.expect("whole"));
        shard::stop_requested().await;
        Ok(())
    });
    world.run_until(async {
        let mut stream = knock().await;
        assert!(read_to_end(&mut stream).await.expect("closed in order").is_empty());
        world.stop(node).await.expect("an orderly end");
    });
}

#[test]
fn the_mesh_answers_refuses_above_its_bounds_and_contains_panics() {
    for seed in 0..20 {
        let world = World::new(seed);
        let node = world.start(2, |mesh: Mesh<u64, u64>| async move {
            mesh.serve(|from, n: u64| async move {
                assert!(n != 13, "unlucky");
                shard::sleep(Duration::from_millis(1)).await;
                n * 10 + u64::from(from)
            });
            if shard::id() == 1 {
                shard::stop_requested().await;
                return Ok(());
            }
            assert_eq!(mesh.call(1, 4, 0).await, Ok(40));
            assert_eq!(mesh.call(0, 5, 0).await, Ok(50), "the own shard answers directly");
            assert_eq!(mesh.call(1, 13, 0).await, Err(MeshError::Down));
            assert_eq!(mesh.call(0, 13, 0).await, Err(MeshError::Down));

            // One body is always allowed; a second above the credit is not, until the reply is back.
            let full = Rc::new(Cell::new(0));
            for n in 0..2 * limits::MESH_REQUESTS_MAX as u64 {
                let (mesh, full) = (mesh.clone(), full.clone());
                shard::spawn("caller", async move {
                    match mesh.call(1, n + 100, 0).await {
                        Err(MeshError::Full) => full.set(full.get() + 1),
                        other => assert_eq!(other, Ok((n + 100) * 10)),
                    }
                });
            }
            shard::sleep(Duration::from_secs(1)).await;
            assert!(full.get() > 0 && full.get() <= limits::MESH_REQUESTS_MAX, "{}", full.get());

            let large = limits::MESH_BODY_BYTES_MAX + 1;
            let (other, outcome) = (mesh.clone(), Rc::new(Cell::new(None)));
            let told = outcome.clone();
            shard::spawn("caller", async move { told.set(Some(other.call(1, 1, large).await)) });
            shard::run_dry().await;
            assert_eq!(mesh.call(1, 2, 1).await, Err(MeshError::Full));
            shard::sleep(Duration::from_secs(1)).await;
            assert_eq!(outcome.get(), Some(Ok(10)));
            assert_eq!(mesh.call(1, 2, 1).await, Ok(20));
            shard::request_stop();
            shard::sleep(Duration::from_secs(1)).await;
            assert_eq!(mesh.call(1, 2, 0).await, Err(MeshError::Down), "the other shard has returned");
            Ok(())
        });
        world.run_until(async { world.ended(node).await.expect("an orderly end") });
        let panics = world.panics();
        assert!(panics.len() == 2 && panics.iter().all(|p| p.contains("unlucky")), "seed {seed}: {panics:?}");
    }
}

#[test]
fn the_side_pool_answers_refuses_above_its_bound_and_contains_panics() {
    let world = World::new(4);
    let node = world.start(1, |_mesh: Mesh<(), ()>| async {
        assert_eq!(shard::side(|| 6 * 7).await, Ok(42));
        let gone: Result<(), _> = shard::side(|| panic!("a job breaks")).await;
        assert_eq!(gone, Err(SideError::Panicked));
        let outcomes = Rc::new(RefCell::new(Vec::new()));
        for n in 0..limits::SIDE_QUEUE_MAX + 3 {
            let outcomes = outcomes.clone();
            shard::spawn("asker", async move {
                let outcome = shard::side(move || n).await;
                outcomes.borrow_mut().push(outcome.map(|_| ()));
            });
        }
        shard::sleep(Duration::from_secs(10)).await;
        let full = outcomes.borrow().iter().filter(|o| **o == Err(SideError::Full)).count();
        assert_eq!((full, outcomes.borrow().len()), (3, limits::SIDE_QUEUE_MAX + 3));
        Ok(())
    });
    world.run_until(async { world.ended(node).await.expect("an orderly end") });
    assert_eq!(world.panics(), ["task side of node 0 shard 0: a job breaks"]);
}

#[test]
fn run_dry_lets_everything_run_that_can() {
    for seed in 0..50 {
        let world = World::new(seed);
        let node = world.start(2, |_mesh: Mesh<(), ()>| async {
            let ran = Rc::new(Cell::new(0));
            for _ in 0..10 {
                let ran = ran.clone();
                shard::spawn("worker", async move {
                    for _ in 0..3 {
                        let mut waited = false;
                        std::future::poll_fn(|cx| {
                            if waited {
                                return std::task::Poll::Ready(());
                            }
                            waited = true;
                            cx.waker().wake_by_ref();
                            std::task::Poll::Pending
                        })
                        .await;
                    }
                    ran.set(ran.get() + 1);
                });
            }
            let before = shard::now();
            shard::run_dry().await;
            assert_eq!((ran.get(), shard::now()), (10, before));
            Ok(())
        });
        world.run_until(async { world.ended(node).await.expect("an orderly end") });
        assert_eq!(world.panics(), [""; 0], "seed {seed}");
    }
}

#[test]
fn a_cut_breaks_both_ends_and_a_stall_only_holds_up() {
    for seed in 0..20 {
        let world = World::new(seed);
        let node = world.start(1, echo_shard);
        world.run_until(async {
            let mut stream = knock().await;
            let conn = sim::conn_of(&stream);
            world.stall(conn, true);
            stream.send(b"slow".to_vec()).await.0.expect("sent");
            stream.set_deadline(Some(shard::now().after(Duration::from_secs(5))));
            assert_eq!(stream.recv().await.err().expect("nothing").kind(), io::ErrorKind::TimedOut);
            stream.set_deadline(None);
            world.stall(conn, false);
            assert_eq!(read_exact(&mut stream, 4).await.expect("echoed"), b"slow");
            world.cut(conn);
            assert_eq!(read_to_end(&mut stream).await.expect_err("cut").kind(), io::ErrorKind::ConnectionReset);
            shard::sleep(Duration::from_secs(1)).await;
            assert!(world.connections(node).is_empty(), "the node's end is gone too");
        });
    }
}

#[test]
fn local_sockets_and_taken_doors() {
    let world = World::new(5);
    let path = Path::new("/data/control");
    let node = world.start(1, move |_mesh: Mesh<(), ()>| async move {
        let mut local = shard::listen_local(path).expect("a path");
        let _door = shard::listen(door()).expect("the door opens");
        assert_eq!(shard::listen(door()).err().expect("twice on one shard").kind(), io::ErrorKind::AddrInUse);
        let stream = local.accept().await.expect("a caller");
        assert_eq!(stream.peer(), shard::Peer::Local);
        echo(stream).await;
        Ok(())
    });
    world.run_until(async {
        shard::sleep(Duration::from_millis(1)).await;
        let mut stream = sim::connect_local(0, path).await.expect("connected");
        stream.send(b"status".to_vec()).await.0.expect("sent");
        assert_eq!(read_exact(&mut stream, 6).await.expect("echoed"), b"status");
        stream.close().await;
        world.ended(node).await.expect("an orderly end");
    });
    assert_eq!(world.panics(), [""; 0]);
}

#[test]
fn the_wall_clock_jumps_and_timers_do_not_care() {
    let world = World::new(6);
    world.run_until(async {
        assert_eq!(shard::wall_ms(), sim::START_WALL_MS);
        let start = shard::now();
        world.jump_wall_ms(-3_600_000);
        shard::sleep(Duration::from_secs(10)).await;
        assert_eq!(shard::now().since(start), Duration::from_secs(10));
        assert_eq!(shard::wall_ms(), sim::START_WALL_MS - 3_590_000);
    });
}

#[test]
fn a_panic_in_a_task_ends_that_task_only() {
    let world = World::new(7);
    let node = world.start(1, |_mesh: Mesh<(), ()>| async {
        shard::spawn("careless", async { panic!("oh dear") });
        shard::sleep(Duration::from_secs(1)).await;
        Ok(())
    });
    world.run_until(async { world.ended(node).await.expect("an orderly end") });
    assert_eq!(world.panics(), ["task careless of node 0 shard 0: oh dear"]);
}

#[test]
#[should_panic(
    expected = "deadlock: nothing can run and no timer is set; waiting: 3 tasks: (root), main (node 0 shard 0), waiter (node 0 shard 0)"
)]
fn a_deadlock_is_said_by_name() {
    let world = World::new(8);
    world.start(1, |_mesh: Mesh<(), ()>| async {
        shard::spawn("waiter", std::future::pending());
        shard::stop_requested().await;
        Ok(())
    });
    world.run_until(std::future::pending::<()>());
}
