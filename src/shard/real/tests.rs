//! The real world, from a client's side of a real socket.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ringpost_storage::disk::{Disk as _, File as _};

use crate::observe::{self, Counter};
use crate::shard::{self, Mesh, Peer, Plan, Stream};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn small(shards: usize) -> Plan {
    Plan { ring_entries: 64, recv_buffers: 64, recv_buffer_bytes: 2_048, ..Plan::for_cpus(vec![0; shards]) }
}

/// Runs `main` on one shard and returns what it returned.
fn on_one<T: Send + 'static, Fut: Future<Output = T> + 'static>(
    plan: Plan,
    main: impl Fn() -> Fut + Clone + Send + 'static,
) -> T {
    let (sender, receiver) = mpsc::channel();
    shard::run(plan, move |_: Mesh<(), ()>| {
        let (main, sender) = (main.clone(), sender.clone());
        async move {
            sender.send(main().await).expect("the test waits");
            Ok(())
        }
    })
    .expect("the shard starts and ends");
    receiver.recv().expect("main ran")
}

fn address(listener: &shard::Listener) -> SocketAddr {
    match listener.local() {
        Peer::Net(at) => at,
        Peer::Local => panic!("a TCP door"),
    }
}

async fn echo(mut stream: Stream) {
    loop {
        let chunk = match stream.recv().await {
            Ok(chunk) if !chunk.is_empty() => chunk.to_vec(),
            _ => return stream.close().await,
        };
        if stream.send(chunk).await.0.is_err() {
            return;
        }
    }
}

/// Runs `client` on its own thread against `server` on one shard.
fn with_client<T: Send + 'static, C: Send + 'static, Fut: Future<Output = T> + 'static>(
    plan: Plan,
    server: impl Fn(shard::Listener) -> Fut + Clone + Send + 'static,
    client: impl FnOnce(SocketAddr) -> C + Send + 'static,
) -> (T, C) {
    let (tell, hear) = mpsc::channel();
    let client = thread::spawn(move || client(hear.recv().expect("the door opens")));
    let answer = on_one(plan, move || {
        let listener = shard::listen(ANY).expect("a free port");
        tell.send(address(&listener)).expect("the client waits");
        server(listener)
    });
    (answer, client.join().expect("the client ends"))
}

async fn serve_echo(mut listener: shard::Listener, connections: usize) {
    let open = Rc::new(Cell::new(connections));
    for _ in 0..connections {
        let stream = listener.accept().await.expect("a connection");
        let open = open.clone();
        shard::spawn("echo", async move {
            echo(stream).await;
            open.set(open.get() - 1);
        });
    }
    while open.get() > 0 {
        shard::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn many_connections_are_echoed() {
    let ((), ()) = with_client(
        small(1),
        |listener| serve_echo(listener, 200),
        |at| {
            let mut streams: Vec<_> = (0..200).map(|_| TcpStream::connect(at).expect("connect")).collect();
            for round in 0u32..5 {
                for (number, stream) in streams.iter_mut().enumerate() {
                    writeln!(stream, "{round} {number:>6}").expect("write");
                }
                for (number, stream) in streams.iter_mut().enumerate() {
                    let want = format!("{round} {number:>6}\n");
                    let mut have = vec![0; want.len()];
                    stream.read_exact(&mut have).expect("echo");
                    assert_eq!(have, want.as_bytes());
                }
            }
        },
    );
}

#[test]
fn accepted_connections_do_not_delay_small_replies() {
    let (nodelay, ()) = with_client(
        small(1),
        |mut listener| async move {
            let stream = listener.accept().await.expect("a connection");
            let detached = stream.detach().await.expect("idle");
            let nodelay = match &detached.0 {
                shard::DetachedIn::Real(real) => real.nodelay(),
                #[cfg(feature = "sim")]
                shard::DetachedIn::Sim(_) => panic!("the real world"),
            };
            drop(detached);
            nodelay
        },
        |at| drop(TcpStream::connect(at).expect("connect")),
    );
    assert!(nodelay);
}

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

/// Runs `main` on `shards` shards.
fn on_many<Q: Send + 'static, R: Send + 'static, Fut: Future<Output = ()> + 'static>(
    shards: usize,
    main: impl Fn(Mesh<Q, R>) -> Fut + Clone + Send + 'static,
) {
    let work = move |mesh| {
        let main = main.clone();
        async move {
            main(mesh).await;
            Ok(())
        }
    };
    shard::run(small(shards), work).expect("the shards start and end");
}

#[test]
fn thousands_of_calls_cross_both_ways() {
    let before = observe::total(Counter::MeshRequests);
    on_many(3, |mesh: Mesh<u64, u64>| async move {
        let me = u64::from(shard::id());
        mesh.serve(move |from, n| async move { n * 10 + me + u64::from(from) * 1_000_000 });
        for n in 0..2_000 {
            for to in 0..shard::count() {
                let reply = mesh.call(to, n, 0).await.expect("answered");
                assert_eq!(reply, n * 10 + u64::from(to) + me * 1_000_000);
            }
        }
        // Others may still ask.
        if me == 0 {
            shard::sleep(Duration::from_millis(300)).await;
            shard::request_stop();
        }
        shard::stop_requested().await;
    });
    assert!(observe::total(Counter::MeshRequests) - before >= 12_000);
}
