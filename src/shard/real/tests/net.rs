//! Connections: bytes there and back, deadlines, floods, ends.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use super::{small, with_client};
use crate::observe::{self, Counter};
use crate::shard::{self, Plan, Stream};

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

/// Bytes that tell where they are from.
fn pattern(seed: u32, len: usize) -> Vec<u8> {
    (0..len as u32).map(|at| (at.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8).collect()
}

#[test]
fn megabytes_pass_though_the_reader_is_slow() {
    const BYTES: usize = 24 << 20;
    let ((), echoed) = with_client(
        small(1),
        |listener| serve_echo(listener, 1),
        |at| {
            let mut writer = TcpStream::connect(at).expect("connect");
            let mut reader = writer.try_clone().expect("clone");
            let reading = thread::spawn(move || {
                let mut all = Vec::new();
                let mut part = vec![0; 3_000];
                loop {
                    match reader.read(&mut part).expect("read") {
                        0 => return all,
                        read => all.extend_from_slice(&part[..read]),
                    }
                    if all.len() % 7 == 0 {
                        thread::yield_now();
                    }
                }
            });
            writer.write_all(&pattern(1, BYTES)).expect("write");
            writer.shutdown(Shutdown::Write).expect("shutdown");
            reading.join().expect("the reader ends")
        },
    );
    assert!(echoed == pattern(1, BYTES), "{} of {BYTES} bytes, or other bytes", echoed.len());
}

#[test]
fn waiting_past_the_deadline_fails_and_what_comes_later_is_kept() {
    let ((waited, error, later), ()) = with_client(
        small(1),
        |mut listener| async move {
            let mut stream = listener.accept().await.expect("a connection");
            let start = shard::now();
            stream.set_deadline(Some(start.after(Duration::from_millis(100))));
            let error = stream.recv().await.err().expect("nothing was sent").kind();
            let waited = shard::now().since(start);
            let (sent, _) = stream.send(b"now".to_vec()).await;
            sent.expect("a deadline that passed in recv does not break send");
            stream.set_deadline(None);
            (waited, error, stream.recv().await.expect("sent at last").to_vec())
        },
        |at| {
            let mut stream = TcpStream::connect(at).expect("connect");
            stream.read_exact(&mut [0; 3]).expect("the sign");
            stream.write_all(b"late").expect("write");
            let _ = stream.read(&mut [0; 1]);
        },
    );
    assert_eq!((error, later), (io::ErrorKind::TimedOut, b"late".to_vec()));
    assert!(waited >= Duration::from_millis(100) && waited < Duration::from_secs(3), "{waited:?}");
}

#[test]
fn a_wait_that_was_given_up_does_not_time_out_the_next() {
    let (read, ()) = with_client(
        small(1),
        |mut listener| async move {
            let mut stream = listener.accept().await.expect("a connection");
            stream.set_deadline(Some(shard::now().after(Duration::from_millis(50))));
            futures_lite::future::or(async { drop(stream.recv().await) }, shard::sleep(Duration::from_millis(10)))
                .await;
            // The sweeper finds the deadline passed while nobody waits any more.
            shard::sleep(Duration::from_millis(1_300)).await;
            stream.set_deadline(Some(shard::now().after(Duration::from_secs(60))));
            stream.send(b"now".to_vec()).await.0.expect("sent");
            stream.recv().await.map(|chunk| chunk.to_vec())
        },
        |at| {
            let mut stream = TcpStream::connect(at).expect("connect");
            stream.read_exact(&mut [0; 3]).expect("the sign");
            stream.write_all(b"fresh").expect("write");
            let _ = stream.read(&mut [0; 1]);
        },
    );
    assert_eq!(read.expect("no time-out"), b"fresh");
}

#[test]
fn a061_a_peer_that_never_reads_times_the_sender_out() {
    let ((error, capacity), ()) = with_client(
        small(1),
        |mut listener| async move {
            let mut stream = listener.accept().await.expect("a connection");
            stream.set_deadline(Some(shard::now().after(Duration::from_millis(100))));
            let (sent, buffer) = stream.send(vec![0; 64 << 20]).await;
            stream.reset();
            drop(listener.accept().await.expect("the one that waits for the sign"));
            (sent.expect_err("nobody reads").kind(), buffer.capacity())
        },
        |at| {
            let stream = TcpStream::connect(at).expect("connect");
            // Waits for the reset without taking a byte: the sign comes on another connection.
            let mut sign = TcpStream::connect(at).expect("connect");
            let _ = sign.read(&mut [0; 1]);
            drop(stream);
        },
    );
    assert_eq!(error, io::ErrorKind::TimedOut);
    assert!(capacity >= 64 << 20, "the buffer comes back whole");
}

#[test]
fn buffers_that_run_out_delay_but_lose_nothing() {
    const EACH: usize = 96 << 10;
    let before = observe::total(Counter::RingNoBuffers);
    let plan = Plan { recv_buffers: 4, recv_buffer_bytes: 512, ..small(1) };
    let (sums, ()) = with_client(
        plan,
        |mut listener| async move {
            let left = Rc::new(Cell::new(48));
            let good = Rc::new(Cell::new(0));
            for seed in 0..48 {
                let mut stream = listener.accept().await.expect("a connection");
                let (left, good) = (left.clone(), good.clone());
                shard::spawn("sink", async move {
                    let mut all = Vec::new();
                    loop {
                        let chunk = stream.recv().await.expect("received");
                        if chunk.is_empty() {
                            break;
                        }
                        all.extend_from_slice(&chunk);
                        drop(chunk);
                        if seed % 3 == 0 {
                            shard::run_dry().await;
                        }
                    }
                    good.set(good.get() + usize::from(all[1..] == pattern(u32::from(all[0]), EACH)));
                    left.set(left.get() - 1);
                });
            }
            while left.get() > 0 {
                shard::sleep(Duration::from_millis(2)).await;
            }
            good.get()
        },
        |at| {
            let work = move |number: u32| {
                let bytes = [vec![number as u8], pattern(number, EACH)].concat();
                let mut stream = TcpStream::connect(at).expect("connect");
                stream.write_all(&bytes).expect("write");
                stream.shutdown(Shutdown::Write).expect("shutdown");
                let _ = stream.read(&mut [0; 1]);
            };
            let clients: Vec<_> = (0..48).map(|number| thread::spawn(move || work(number))).collect();
            clients.into_iter().for_each(|client| client.join().expect("the client ends"));
        },
    );
    assert_eq!(sums, 48);
    assert!(observe::total(Counter::RingNoBuffers) > before, "the path was taken");
}

#[test]
fn connections_that_are_not_read_cannot_hold_the_buffers_of_others() {
    let plan = Plan { recv_buffers: 8, recv_buffer_bytes: 512, ..small(1) };
    let ((), ()) = with_client(
        plan,
        |mut listener| async move {
            let mut deaf = Vec::new();
            for _ in 0..32 {
                let mut stream = listener.accept().await.expect("a flooder");
                // Armed, then left alone with a flood coming in.
                drop(stream.recv().await.expect("the first bytes"));
                deaf.push(stream);
            }
            serve_echo(listener, 1).await;
        },
        |at| {
            let flooders: Vec<_> = (0..32)
                .map(|_| {
                    let mut stream = TcpStream::connect(at).expect("connect");
                    stream.write_all(&[7; 20_000]).expect("write");
                    stream
                })
                .collect();
            let mut stream = TcpStream::connect(at).expect("connect");
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
            for round in 0..50 {
                let bytes = pattern(round, 300);
                stream.write_all(&bytes).expect("write");
                let mut back = vec![0; 300];
                stream.read_exact(&mut back).expect("an echo, though others flood");
                assert_eq!(back, bytes);
            }
            drop(flooders);
        },
    );
}

#[test]
fn the_last_reply_arrives_though_the_peer_keeps_talking() {
    for way in ["close", "drop"] {
        let ((), replies) = with_client(
            small(1),
            move |mut listener| async move {
                for _ in 0..20 {
                    let mut stream = listener.accept().await.expect("a connection");
                    drop(stream.recv().await.expect("a command"));
                    stream.send(b"221 bye\r\n".to_vec()).await.0.expect("sent");
                    if way == "close" {
                        stream.close().await;
                    } else {
                        drop(stream);
                    }
                }
                // A shard that ends lets go of what lingers: the last client says when it is done.
                drop(listener.accept().await.expect("the end"));
            },
            |at| {
                let talk = |_| {
                    let mut stream = TcpStream::connect(at).expect("connect");
                    for _ in 0..40 {
                        stream.write_all(&[b'x'; 1_000]).expect("the other end still takes it");
                    }
                    let mut reply = String::new();
                    stream.read_to_string(&mut reply).expect("an orderly end, not a reset");
                    reply
                };
                let replies = (0..20).map(talk).collect::<Vec<_>>();
                drop(TcpStream::connect(at).expect("connect"));
                replies
            },
        );
        assert!(replies.iter().all(|reply| reply == "221 bye\r\n"), "{way}: {replies:?}");
    }
}

#[test]
fn a_reset_is_a_reset() {
    let ((), error) = with_client(
        small(1),
        |mut listener| async move {
            let mut stream = listener.accept().await.expect("a connection");
            drop(stream.recv().await.expect("a command"));
            stream.reset();
        },
        |at: SocketAddr| {
            let mut stream = TcpStream::connect(at).expect("connect");
            stream.write_all(b"x").expect("write");
            stream.read(&mut [0; 1]).err().map(|why| why.kind())
        },
    );
    assert_eq!(error, Some(io::ErrorKind::ConnectionReset));
}

#[test]
fn a_send_whose_future_is_dropped_goes_on_whole() {
    const BYTES: usize = 8 << 20;
    let ((), read) = with_client(
        small(1),
        |mut listener| async move {
            let mut stream = listener.accept().await.expect("a connection");
            let first = async { drop(stream.send(pattern(5, BYTES)).await) };
            futures_lite::future::or(first, shard::sleep(Duration::from_millis(5))).await;
            stream.send(b"after".to_vec()).await.0.expect("sent after the first");
            stream.close().await;
        },
        |at| {
            let mut stream = TcpStream::connect(at).expect("connect");
            thread::yield_now();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("all of it");
            all
        },
    );
    assert_eq!(read.len(), BYTES + 5);
    assert!(read[..BYTES] == pattern(5, BYTES) && &read[BYTES..] == b"after");
}
