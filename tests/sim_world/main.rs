//! The simulated world keeps the facade's promises: through the front door of `shard`, over many seeds.

mod disk;
mod net;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringpost::limits;
use ringpost::shard::sim::{self, Chance, World};
use ringpost::shard::{self, Mesh, MeshError, SideError, StartError, Stream};

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
fn a_world_leaves_nothing_behind() {
    let sentinel = Rc::new(());
    for crash in [false, true] {
        let world = World::new(11);
        let held = sentinel.clone();
        let node = world.start(2, move |mesh: Mesh<(), ()>| {
            let held = held.clone();
            async move {
                let (in_handler, in_echo, me) = (held.clone(), held.clone(), mesh.clone());
                mesh.serve(move |_, ()| {
                    let _both = (&in_handler, &me);
                    async {}
                });
                let mut door = shard::listen(door()).expect("the door opens");
                shard::spawn("echo", async move {
                    let stream = door.accept().await.expect("a client");
                    echo(stream).await;
                    drop(in_echo);
                });
                shard::stop_requested().await;
                Ok(())
            }
        });
        let client = sentinel.clone();
        let _task = world.spawn("client", async move {
            let mut stream = knock().await;
            let _ = stream.recv().await;
            drop(client);
        });
        world.run_until(async {
            shard::sleep(Duration::from_secs(1)).await;
            if crash {
                world.crash(node);
            }
        });
        assert!(Rc::strong_count(&sentinel) > 1);
        drop(world);
        assert_eq!(Rc::strong_count(&sentinel), 1, "crash: {crash}");
    }
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
