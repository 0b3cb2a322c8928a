//! Doors and connections.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ringpost::shard::sim::{self, Chance, World};
use ringpost::shard::{self, Detached, Mesh};

use crate::{door, echo, echo_shard, knock, read_exact, read_to_end};

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
        let mut local = shard::listen_local(path, shard::Place::MODE).expect("a path");
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
