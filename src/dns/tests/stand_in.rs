//! A resolver of the test: UDP and TCP on one port of loopback, with a script.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A query as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Without the length that TCP puts before it.
    pub octets: Vec<u8>,
    pub tcp: bool,
    /// Where from.
    pub from: SocketAddr,
}

/// What is done about it.
pub enum Say {
    /// An answer.
    Octets(Vec<u8>),
    /// An answer from another port than was asked.
    Elsewhere(Vec<u8>),
}

type Script = dyn Fn(&Heard) -> Vec<Say> + Send + Sync;

/// Stops when dropped.
pub struct StandIn {
    pub at: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl StandIn {
    pub fn start(script: impl Fn(&Heard) -> Vec<Say> + Send + Sync + 'static) -> StandIn {
        // A port that is free for both.
        let (tcp, udp, at) = (0..100)
            .find_map(|_| {
                let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
                let at = tcp.local_addr().ok()?;
                Some((tcp, UdpSocket::bind(at).ok()?, at))
            })
            .expect("a free port");
        let script: Arc<Script> = Arc::new(script);
        let (heard, over) = (Arc::<Mutex<Vec<Heard>>>::default(), Arc::<AtomicBool>::default());
        let by_udp = {
            let (heard, over, script) = (heard.clone(), over.clone(), script.clone());
            udp.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket");
            std::thread::spawn(move || serve_udp(&udp, &heard, &over, &*script))
        };
        let by_tcp = {
            let (heard, over) = (heard.clone(), over.clone());
            std::thread::spawn(move || serve_tcp(&tcp, &heard, &over, &*script))
        };
        StandIn { at, heard, over, threads: vec![by_udp, by_tcp] }
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("no script panics").clone()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Ends the wait for a connection.
        drop(std::net::TcpStream::connect(self.at));
        let ends: Vec<_> = self.threads.drain(..).map(JoinHandle::join).collect();
        if !std::thread::panicking() {
            assert!(ends.iter().all(Result::is_ok), "the script panicked");
        }
    }
}

fn serve_udp(socket: &UdpSocket, heard: &Mutex<Vec<Heard>>, over: &AtomicBool, script: &Script) {
    let mut octets = [0; 4_096];
    while !over.load(Ordering::SeqCst) {
        let (len, from) = match socket.recv_from(&mut octets) {
            Ok(got) => got,
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            // An answer to somebody who is gone.
            Err(why) if why.kind() == ErrorKind::ConnectionRefused => continue,
            Err(why) => panic!("{why}"),
        };
        let query = Heard { octets: octets[..len].to_vec(), tcp: false, from };
        heard.lock().expect("no script panics").push(query.clone());
        for say in script(&query) {
            match say {
                Say::Octets(octets) => drop(socket.send_to(&octets, from).expect("sent")),
                Say::Elsewhere(octets) => {
                    let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
                    other.send_to(&octets, from).expect("sent");
                }
            }
        }
    }
}

fn serve_tcp(listener: &TcpListener, heard: &Mutex<Vec<Heard>>, over: &AtomicBool, script: &Script) {
    for stream in listener.incoming() {
        if over.load(Ordering::SeqCst) {
            return;
        }
        let mut stream = stream.expect("a connection");
        let from = stream.peer_addr().expect("connected");
        let mut len = [0; 2];
        stream.read_exact(&mut len).expect("a length");
        let mut octets = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut octets).expect("a query");
        let query = Heard { octets, tcp: true, from };
        heard.lock().expect("no script panics").push(query.clone());
        for say in script(&query) {
            let (Say::Octets(octets) | Say::Elsewhere(octets)) = say;
            let len = u16::try_from(octets.len()).expect("an answer");
            stream.write_all(&[&len.to_be_bytes()[..], &octets].concat()).expect("sent");
        }
    }
}
