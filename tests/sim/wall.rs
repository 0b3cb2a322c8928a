//! The STARTTLS wall in the pump: bytes that came before the handshake close the connection and are never executed.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringpost::net::{Door, First, Guest, Next, Wire, pump};
use ringpost::observe::Ledger;
use ringpost::proto::contract::Out;
use ringpost::shard::{self, Mesh, Peer, sim};

use crate::lines::Lines;
use crate::stage::imap::Imap;
use crate::stage::pop3::Pop3;
use crate::stage::smtp::Smtp;
use crate::stage::upgrade::Upgrade;
use crate::stage::{Answer, Ask, Script, World};

fn at() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 25))
}

/// Executes as the stage does, and counts. No handshake is ever had.
struct Counting<W> {
    world: W,
    executed: Rc<Cell<u32>>,
}

impl<W: World> Door for Counting<W> {
    type Session = W::Session;
    const LEDGER: Ledger = Ledger::SMTP;

    fn body(&mut self, _: &[u8]) {}

    fn handshake_place(&self, _: Peer) -> Option<Guest> {
        None
    }

    async fn answer(&mut self, ask: Ask<W>, wire: &mut Wire) -> Next<Answer<W>> {
        self.executed.set(self.executed.get() + 1);
        // As if it took a while: what comes meanwhile waits.
        shard::sleep(Duration::from_millis(1)).await;
        Next::Answer(self.world.answer(ask, &mut Script::default(), wire.queue()))
    }
}

/// Sends these bytes, a piece at a time; what was said, and how many commands were executed.
fn conversation<W: World + 'static>(seed: u64, pieces: &[&str]) -> (Vec<String>, u32) {
    let world = sim::World::new(seed);
    let executed = Rc::new(Cell::new(0));
    let counted = executed.clone();
    world.start(1, move |_mesh: Mesh<(), ()>| {
        let executed = counted.clone();
        async move {
            let stream = shard::listen(at()).expect("the door opens").accept().await.expect("a client");
            let mut out = Out::default();
            let settings = W::RANDOM.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let (world, session) = W::open(&settings, &mut out);
            let first = First::Greeting(out.reply);
            pump(Box::new(Wire::new(stream)), Box::new(session), &mut Counting { world, executed }, first).await;
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

/// Nothing behind STARTTLS is executed, wherever the text is cut; `executed_before`: how much is before it. `farewell`: how the
/// last line begins where both came together.
fn the_wall_stands<W: World + 'static>(
    before: &str,
    starttls: &str,
    behind: &str,
    executed_before: u32,
    farewell: &str,
) {
    let text = [before, starttls, behind].concat();
    for seed in 0..3 {
        let mut farewells = 0;
        for cut in 1..text.len() {
            let (said, executed) = conversation::<W>(seed, &[&text[..cut], &text[cut..]]);
            assert_eq!(executed, executed_before, "cut at {cut}, seed {seed}: {said:?}");
            farewells += usize::from(said.last().is_some_and(|line| line.starts_with(farewell)));
        }
        assert!(farewells > 0, "seed {seed}");
    }
    // The same words, and another one in the place of STARTTLS.
    let (said, executed) = conversation::<W>(0, &[before, "x\r\n", behind]);
    assert!(executed > executed_before, "{said:?}");
}

#[test]
fn what_came_before_the_handshake_is_never_executed() {
    the_wall_stands::<Upgrade>("DO\r\n", "STARTTLS\r\n", "DO\r\nQUIT\r\n", 1, "500 too soon");
}

#[test]
fn a008_smtp_executes_nothing_that_came_before_the_handshake() {
    let before = "EHLO client.test\r\nMAIL FROM:<a@client.test>\r\nRSET\r\n";
    the_wall_stands::<Smtp>(before, "STARTTLS\r\n", "MAIL FROM:<b@client.test>\r\nQUIT\r\n", 2, "421 4.7.0");
}

#[test]
fn a142_pop3_executes_nothing_that_came_before_the_handshake() {
    the_wall_stands::<Pop3>("CAPA\r\n", "STLS\r\n", "USER alice\r\nPASS secret\r\nQUIT\r\n", 0, "-ERR octets");
}

#[test]
fn a109_imap_executes_nothing_that_came_before_the_handshake() {
    the_wall_stands::<Imap>("a NOOP\r\n", "b STARTTLS\r\n", "c LOGIN alice secret\r\nd LOGOUT\r\n", 0, "* BYE");
}

#[test]
fn without_a_handshake_the_same_commands_are_executed() {
    let (said, executed) = conversation::<Upgrade>(0, &["DO\r\nDO\r\nQUIT\r\n"]);
    assert_eq!((said.join(" "), executed), ("250 done 250 done".to_owned(), 2));
}
