//! The real world, from a client's side of real sockets, files and threads.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::thread;

use crate::shard::{self, Mesh, Peer, Plan};

mod disk;
mod doors;
mod life;
mod mesh;
mod moves;
mod net;

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
