//! The STARTTLS wall in the pump: bytes that came before the handshake close the connection and are never executed.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringpost::net::{Door, First, Guest, Next, Wire, pump};
use ringpost::shard::sim::World;
use ringpost::shard::{self, Mesh, Peer};

use crate::lines::Lines;
use crate::stage::upgrade::{Do, Done, Session};

fn at() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 25))
}

/// Executes, and counts.
struct Counting(Rc<Cell<u32>>);

impl Door for Counting {
    type Session = Session;

    fn body(&mut self, _: &[u8]) {}

    fn handshake_place(&self, _: Peer) -> Option<Guest> {
        None
    }

    async fn answer(&mut self, _: Do, _: &mut Wire) -> Next<Done> {
        self.0.set(self.0.get() + 1);
        // As if it took a while: what comes meanwhile waits.
        shard::sleep(Duration::from_millis(1)).await;
        Next::Answer(Done)
    }
}

/// Sends these bytes, a piece at a time; what was said, and how many commands were executed.
fn conversation(seed: u64, pieces: &[&str]) -> (Vec<String>, u32) {
    let world = World::new(seed);
    let executed = Rc::new(Cell::new(0));
    let counted = executed.clone();
    world.start(1, move |_mesh: Mesh<(), ()>| {
        let counted = counted.clone();
        async move {
            let stream = shard::listen(at()).expect("the door opens").accept().await.expect("a client");
            let first = First::Greeting(b"220 hello\r\n".to_vec());
            pump(Wire::new(stream), Box::new(Session::open()), &mut Counting(counted), first).await;
            Ok(())
        }
    });
    let mut said = Vec::new();
    world.run_until(async {
        shard::sleep(Duration::from_millis(1)).await;
        let mut lines = Lines::connect(at()).await.expect("the door is open");
        for piece in pieces {
            // It may be closed by now.
            let _ = lines.say(*piece).await;
            shard::sleep(Duration::from_micros(50)).await;
        }
        while let Ok(line) = lines.line().await {
            said.push(line);
        }
    });
    assert_eq!(world.panics(), [""; 0]);
    (said, executed.get())
}

#[test]
fn what_came_before_the_handshake_is_never_executed() {
    let text = "DO\r\nSTARTTLS\r\nDO\r\nQUIT\r\n";
    for seed in 0..5 {
        for cut in 1..text.len() {
            let (said, executed) = conversation(seed, &[&text[..cut], &text[cut..]]);
            assert_eq!(executed, 1, "cut at {cut}, seed {seed}");
            let allowed = ["220 hello", "250 done", "220 ready"];
            assert!(allowed[..said.len()] == said, "cut at {cut}, seed {seed}: {said:?}");
        }
    }
}

#[test]
fn without_a_handshake_the_same_commands_are_executed() {
    let (said, executed) = conversation(0, &["DO\r\nDO\r\nQUIT\r\n"]);
    assert_eq!((said.join(" "), executed), ("220 hello 250 done 250 done".to_owned(), 2));
}
