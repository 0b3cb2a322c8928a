//! Listeners.

use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use super::{ANY, address, on_many, on_one, small};
use crate::shard::{self, Mesh, Peer, Place};

#[test]
fn a_local_door_is_for_its_owner_and_is_gone_afterwards() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("admin.sock");
    let client_path = path.clone();
    let mode = on_one(small(1), move || {
        let path = client_path.clone();
        async move {
            let mut door = shard::listen_local(&path, Place::MODE).expect("opened");
            let mode = std::fs::metadata(&path).expect("there").permissions().mode() & 0o777;
            let client = thread::spawn(move || {
                let mut stream = UnixStream::connect(&path).expect("connect");
                stream.write_all(b"ping").expect("write");
                let mut reply = String::new();
                stream.read_to_string(&mut reply).expect("read");
                reply
            });
            let mut stream = door.accept().await.expect("a connection");
            assert_eq!((stream.peer(), door.local()), (Peer::Local, Peer::Local));
            assert_eq!(&*stream.recv().await.expect("received"), b"ping");
            stream.send(b"pong".to_vec()).await.0.expect("sent");
            stream.close().await;
            assert_eq!(shard::side(|| client.join().expect("the client ends")).await.expect("ran"), "pong");
            mode
        }
    });
    assert_eq!(mode, 0o600);
    assert!(!path.exists());
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_or_a_file_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_owned();
    drop(UnixListener::bind(path.join("stale")).expect("bound"));
    let live = UnixListener::bind(path.join("live")).expect("bound");
    std::fs::write(path.join("file"), b"precious").expect("written");
    on_one(small(1), move || {
        let path = path.clone();
        async move {
            drop(shard::listen_local(&path.join("stale"), Place::MODE).expect("nobody is there any more"));
            for taken in ["live", "file"] {
                let why = shard::listen_local(&path.join(taken), Place::MODE).err().expect("refused");
                assert_eq!(why.kind(), io::ErrorKind::AddrInUse, "{taken}");
                assert!(path.join(taken).exists());
            }
        }
    });
    drop(live);
}

#[test]
fn every_shard_opens_the_same_port() {
    let first = std::net::TcpListener::bind(ANY).expect("a free port");
    let at = first.local_addr().expect("bound");
    drop(first);
    on_many(2, move |_: Mesh<(), ()>| async move {
        let door = shard::listen(at).expect("shared among shards");
        assert_eq!(address(&door), at);
    });
}

#[test]
fn both_families_open_the_same_port() {
    on_one(small(1), || async {
        let four = shard::listen("0.0.0.0:0".parse().expect("address")).expect("opened");
        let six = format!("[::]:{}", address(&four).port()).parse().expect("address");
        shard::listen(six).expect("IPv6 alone does not take the IPv4 port");
    });
}
