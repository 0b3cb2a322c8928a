//! What a shard costs: server CPU and calls into the ring, per echo and per durable write.
//!
//! One shard on CPU 0; the clients run on the other CPUs, so that what the shard's process threads use is the
//! server's. `cargo bench --bench shard_echo -- [echoes] [connections]`.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ringpost::observe::{self, Counter};
use ringpost::shard::{self, Mesh, Peer, Plan, Stream};
use ringpost_storage::disk::{Disk as _, File as _};

const BYTES: usize = 64;

/// CPU time of this thread, in µs.
fn cpu_us() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e3
}

async fn echo(mut stream: Stream) {
    let mut buffer = Vec::with_capacity(BYTES);
    while let Ok(chunk) = stream.recv().await {
        if chunk.is_empty() {
            return;
        }
        buffer.extend_from_slice(&chunk);
        drop(chunk);
        let (sent, emptied) = stream.send(buffer).await;
        if sent.is_err() {
            return;
        }
        buffer = emptied;
    }
}

/// Keeps every connection busy with one echo at a time, from one thread.
fn client(at: SocketAddr, connections: usize, echoes: usize) {
    let mut streams: Vec<_> = (0..connections).map(|_| TcpStream::connect(at).expect("connect")).collect();
    streams.iter().for_each(|s| s.set_nodelay(true).expect("set"));
    let mut bytes = [7; BYTES];
    for _ in 0..echoes / connections {
        streams.iter_mut().for_each(|s| s.write_all(&bytes).expect("write"));
        streams.iter_mut().for_each(|s| s.read_exact(&mut bytes).expect("read"));
    }
}

struct Meter(f64, u64, u64, Instant);

impl Meter {
    fn start() -> Meter {
        let (enters, completions) = (observe::here(Counter::RingEnters), observe::here(Counter::RingCompletions));
        Meter(cpu_us(), enters, completions, Instant::now())
    }

    fn report(&self, what: &str, count: usize) {
        let each = |n: f64| n / count as f64;
        println!(
            "{what}: {:.2} µs of the shard's CPU, {:.2} calls, {:.2} completions each, {:.0}/s",
            each(cpu_us() - self.0),
            each((observe::here(Counter::RingEnters) - self.1) as f64),
            each((observe::here(Counter::RingCompletions) - self.2) as f64),
            count as f64 / self.3.elapsed().as_secs_f64()
        );
    }
}

fn main() {
    let mut numbers = std::env::args().filter_map(|arg| arg.parse::<usize>().ok());
    let echoes = numbers.next().unwrap_or(400_000);
    let sizes = numbers.next().map_or(vec![1, 64, 512], |n| vec![n]);
    let folder = std::env::current_dir().expect("a folder").join("target");
    let folder = tempfile::tempdir_in(folder).expect("a folder");
    let path = folder.path().to_owned();
    let (tell, hear) = mpsc::channel::<(SocketAddr, usize, usize)>();
    let clients = thread::spawn(move || hear.into_iter().for_each(|(at, connections, n)| client(at, connections, n)));
    let ran = shard::run(Plan::for_cpus(vec![0]), move |_: Mesh<(), ()>| {
        let (tell, sizes, path) = (tell.clone(), sizes.clone(), path.clone());
        async move {
            let mut door = shard::listen((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
            let Peer::Net(at) = door.local() else { unreachable!("a TCP door") };
            for connections in sizes {
                let echoes = if connections == 1 { echoes / 8 } else { echoes / connections * connections };
                tell.send((at, connections, echoes)).expect("the client waits");
                let left = Rc::new(Cell::new(connections));
                let mut streams = Vec::new();
                for _ in 0..connections {
                    streams.push(door.accept().await.expect("a connection"));
                }
                let meter = Meter::start();
                for stream in streams {
                    let left = left.clone();
                    shard::spawn("echo", async move {
                        echo(stream).await;
                        left.set(left.get() - 1);
                    });
                }
                while left.get() > 0 {
                    shard::sleep(Duration::from_millis(10)).await;
                }
                meter.report(&format!("echo of {BYTES} bytes, {connections} connections"), echoes);
            }
            let disk = shard::disk(&path).expect("a folder");
            let file = disk.create("bench", 16 << 20).await.expect("a file");
            for bytes in [4_096, 262_144] {
                let part = Rc::new(vec![1; bytes]);
                let meter = Meter::start();
                for n in 0..200 {
                    file.write_sync((n * bytes as u64) % (8 << 20), vec![part.clone()]).await.expect("durable");
                }
                meter.report(&format!("write_sync of {bytes} bytes, one at a time"), 200);
            }
            let meter = Meter::start();
            shard::sleep(Duration::from_secs(5)).await;
            meter.report("one second of idling", 5);
            Ok(())
        }
    });
    ran.expect("the shard starts and ends");
    clients.join().expect("the client ends");
}
