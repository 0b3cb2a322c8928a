//! Clients that say much and read nothing.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::house::{House, Talk};

/// Receive buffers of the ring, as few as it may have.
const BUFFERS: usize = 16;
/// Those who read nothing: more than enough to hold each of them.
const DEAF: usize = 3 * BUFFERS;

/// Asks until nobody listens any more.
fn ask_and_never_read(at: SocketAddr, question: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    // What the kernel takes on its way is not waited for.
    socket.set_recv_buffer_size(4 << 10).expect("a small buffer");
    socket.connect(&at.into()).expect("connecting");
    let mut stream = TcpStream::from(socket);
    stream.set_write_timeout(Some(Duration::from_secs(2))).expect("a time-out");
    let questions = question.repeat(1_000);
    for _ in 0..10_000 {
        match stream.write_all(questions.as_bytes()) {
            Ok(()) => {}
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return stream,
            Err(why) => panic!("cut off: {why}"),
        }
    }
    panic!("the server takes in questions without end");
}

#[test]
fn a061_those_who_read_nothing_cannot_hold_the_buffers_of_others() {
    let house = House::open(&["--shards", "1", "--recv-buffers", &BUFFERS.to_string()]);
    let (imap, pop3) = (house.imap(), house.pop3());
    let deaf: Vec<_> = (0..DEAF)
        .map(|n| {
            thread::spawn(move || match n % 2 {
                0 => ask_and_never_read(imap, "a CAPABILITY\r\n"),
                _ => ask_and_never_read(pop3, "CAPA\r\n"),
            })
        })
        .collect();
    let deaf: Vec<TcpStream> = deaf.into_iter().map(|one| one.join().expect("asked")).collect();
    // Well before the deaf are reset, which would free what they hold.
    let soon = Duration::from_secs(15);
    let mut talk = Talk::patient(imap, soon);
    talk.hear();
    talk.imap("NOOP", "OK");
    let mut talk = Talk::patient(house.smtp(), soon);
    talk.reply();
    talk.ask("EHLO client.test", "250");
    drop(deaf);
}
