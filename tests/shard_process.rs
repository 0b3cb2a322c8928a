//! What concerns a whole process: its signals, its descriptors. No harness, because both are the process's own.

use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::Duration;

use futures_lite::future::{or, poll_once};
use ringpost::observe::{self, Counter};
use ringpost::shard::{self, Mesh, Peer, Plan};
use rustix::process::{Resource, Rlimit, Signal, getpid, getrlimit, kill_process, setrlimit};

fn main() {
    // Harness arguments are no concern of ours, but a listing asks for names.
    if std::env::args().any(|arg| arg == "--list") {
        return;
    }
    a_stop_signal_reaches_every_shard(Signal::TERM);
    a_stop_signal_reaches_every_shard(Signal::INT);
    // Where nobody reads certificates anew.
    a_stop_signal_reaches_every_shard(Signal::HUP);
    a_hangup_is_heard_by_who_reads_certificates_anew();
    an_idle_shard_rests();
    running_out_of_descriptors_pauses_the_door();
}

fn a_stop_signal_reaches_every_shard(signal: Signal) {
    shard::run(Plan::for_cpus(vec![0, 0, 0]), move |_: Mesh<(), ()>| async move {
        if shard::id() == 2 {
            kill_process(getpid(), signal).expect("sent");
        }
        shard::stop_requested().await;
        Ok(())
    })
    .expect("an orderly stop");
    println!("{signal:?} stops every shard: ok");
}

fn a_hangup_is_heard_by_who_reads_certificates_anew() {
    shard::run(Plan::for_cpus(vec![0, 0]), move |_: Mesh<(), ()>| async move {
        if shard::id() == 0 {
            for _ in 0..3 {
                let send = async {
                    kill_process(getpid(), Signal::HUP).expect("sent");
                    std::future::pending().await
                };
                // The first is polled first: somebody listens when the signal comes.
                or(shard::reload_requested(), send).await;
                assert!(poll_once(shard::stop_requested()).await.is_none(), "it asks for no stop");
            }
            shard::request_stop();
        }
        shard::stop_requested().await;
        Ok(())
    })
    .expect("an orderly stop");
    println!("SIGHUP asks for a reload where somebody listens: ok");
}

fn an_idle_shard_rests() {
    let (sender, receiver) = std::sync::mpsc::channel();
    shard::run(Plan::for_cpus(vec![0]), move |_: Mesh<(), ()>| {
        let sender = sender.clone();
        async move {
            shard::run_dry().await;
            let before = observe::here(Counter::RingEnters);
            shard::sleep(Duration::from_millis(3_500)).await;
            sender.send(observe::here(Counter::RingEnters) - before).expect("the test waits");
            Ok(())
        }
    })
    .expect("it ran");
    let calls = receiver.recv().expect("counted");
    assert!(calls <= 30, "{calls} calls while nothing happened");
    println!("an idle shard rests ({calls} calls in 3.5 s): ok");
}

fn running_out_of_descriptors_pauses_the_door() {
    shard::run(Plan::for_cpus(vec![0]), |_: Mesh<(), ()>| async {
        let mut door = shard::listen((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
        let Peer::Net(at) = door.local() else { panic!("a TCP door") };
        let clients: Vec<_> = (0..8).map(|_| TcpStream::connect(at).expect("connect")).collect();
        let limit = getrlimit(Resource::Nofile);
        let open = std::fs::read_dir("/proc/self/fd").expect("listed").count() as u64 - 1;
        setrlimit(Resource::Nofile, Rlimit { current: Some(open + 3), ..limit }).expect("lowered");
        let mut streams = Vec::new();
        let crowd = async {
            while let Ok(stream) = door.accept().await {
                streams.push(stream);
            }
        };
        futures_lite::future::or(crowd, shard::sleep(Duration::from_millis(400))).await;
        let paused = observe::here(Counter::AcceptPaused);
        let paused_at = shard::accept_paused().expect("it did pause");
        assert!(shard::now().since(paused_at) < Duration::from_millis(200), "and does so now");
        assert!(streams.len() < 8 && (2..=12).contains(&paused), "{} accepted, {paused} pauses", streams.len());
        setrlimit(Resource::Nofile, limit).expect("raised again");
        while streams.len() < 8 {
            streams.push(door.accept().await.expect("descriptors are back"));
        }
        for mut stream in streams {
            stream.send(b"hello".to_vec()).await.0.expect("sent");
            stream.reset();
        }
        let listening = thread::spawn(move || {
            for mut client in clients {
                let mut heard = [0; 5];
                // The reset may overtake the greeting; either way the connection was served.
                let _ = client.read_exact(&mut heard);
            }
        });
        shard::side(|| listening.join().expect("it ends")).await.expect("ran");
        println!("running out of descriptors pauses the door ({paused} pauses): ok");
        Ok(())
    })
    .expect("it ran");
}
