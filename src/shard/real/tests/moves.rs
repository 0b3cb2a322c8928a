//! Connections that change their shard.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;

use super::{ANY, address, on_many};
use crate::shard::{self, Detached, Mesh, ShardId};

/// Lines a client sends: each moves the connection.
const MOVES: usize = 40;
/// Clients at once.
const CLIENTS: usize = 12;

/// Reads one line by bytes that may come in any pieces; what is beyond it stays in `have`.
async fn line(stream: &mut shard::Stream, have: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = have.iter().position(|b| *b == b'\n') {
            let line = have.drain(..=end).collect();
            return Some(String::from_utf8(line).expect("text"));
        }
        let chunk = stream.recv().await.expect("received");
        if chunk.is_empty() {
            return None;
        }
        have.extend_from_slice(&chunk);
    }
}

/// One line is answered here, then the connection goes to the other shard with what was read beyond the line.
async fn visit(
    mesh: Mesh<(Detached, Vec<u8>), ()>,
    mut stream: shard::Stream,
    mut have: Vec<u8>,
    left: Rc<Cell<usize>>,
) {
    let me = shard::id();
    match line(&mut stream, &mut have).await {
        None => {
            assert!(have.is_empty(), "half a line at the end");
            stream.close().await;
            left.set(left.get() - 1);
        }
        Some(line) => {
            let reply = format!("{me} {line}").into_bytes();
            stream.send(reply).await.0.expect("sent");
            let detached = stream.detach().await.expect("moved");
            let other: ShardId = 1 - me;
            mesh.call(other, (detached, have), 0).await.expect("taken over");
        }
    }
}

#[test]
fn pipelined_bytes_move_with_their_connection() {
    let (tell, hear) = mpsc::channel();
    let clients = thread::spawn(move || {
        let at = hear.recv().expect("the door opens");
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                thread::spawn(move || {
                    let mut stream = TcpStream::connect(at).expect("connect");
                    let line = |n: usize| format!("{client}-{n} {}\n", "x".repeat(n * 97 % 700));
                    // All at once, so that every move carries bytes; odd clients cut lines in two.
                    let all: String = (0..MOVES).map(line).collect();
                    let cut = if client % 2 == 1 { all.len() / 2 + 1 } else { all.len() };
                    stream.write_all(&all.as_bytes()[..cut]).expect("write");
                    thread::yield_now();
                    stream.write_all(&all.as_bytes()[cut..]).expect("write");
                    stream.shutdown(std::net::Shutdown::Write).expect("shutdown");
                    let mut replies = String::new();
                    stream.read_to_string(&mut replies).expect("replies");
                    let replies: Vec<_> = replies.lines().collect();
                    assert_eq!(replies.len(), MOVES, "nothing lost, nothing doubled");
                    for (n, reply) in replies.iter().enumerate() {
                        let (shard, rest) = reply.split_once(' ').expect("a shard's number");
                        assert_eq!((shard, rest), (if n % 2 == 0 { "0" } else { "1" }, line(n).trim_end_matches('\n')));
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().expect("the client ends"));
    });
    on_many(2, move |mesh: Mesh<(Detached, Vec<u8>), ()>| {
        let tell = tell.clone();
        async move {
            // A client ends where its last line left it: MOVES is even, so back on shard 0.
            let left = Rc::new(Cell::new(CLIENTS));
            let (handler_mesh, handler_left) = (mesh.clone(), left.clone());
            mesh.serve(move |_, (detached, have)| {
                let (mesh, left) = (handler_mesh.clone(), handler_left.clone());
                async move { shard::spawn("visit", visit(mesh, detached.attach(), have, left)) }
            });
            if shard::id() == 1 {
                return shard::stop_requested().await;
            }
            let mut door = shard::listen(ANY).expect("a free port");
            tell.send(address(&door)).expect("the clients wait");
            for _ in 0..CLIENTS {
                let stream = door.accept().await.expect("a connection");
                shard::spawn("visit", visit(mesh.clone(), stream, Vec::new(), left.clone()));
            }
            while left.get() > 0 {
                shard::sleep(std::time::Duration::from_millis(2)).await;
            }
            shard::request_stop();
        }
    });
    clients.join().expect("the clients end");
}
