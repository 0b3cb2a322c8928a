//! The story every seed tells in its own way: senders at work, the power goes, the node comes back, readers look.
//!
//! ```text
//!   round:  up ──► senders send ──► crash | kill | stop ──► (perhaps a crash while recovering) ──► up ──► readers
//! ```

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringpost::shard;
use ringpost::shard::sim::{self, Chance, NodeId, World};

use crate::ledger::{Ledger, Promise};
use crate::smtp::{Sender, Verdict};
use crate::{imap, pop3};

/// Times the doors are tried, 10 ms apart, before a start counts as failed.
const KNOCKS_MAX: u32 = 3_000;
/// Letters of one sender in one round.
const LETTERS_MAX: u64 = 25;

/// Where the node's doors are.
#[derive(Clone, Copy)]
pub struct Doors {
    pub smtp: SocketAddr,
    pub pop3: SocketAddr,
    pub imap: SocketAddr,
}

/// Someone with a mailbox.
#[derive(Clone)]
pub struct Account {
    pub name: String,
    pub password: String,
}

/// What a story leaves behind.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    pub promised: usize,
    pub trace: u64,
}

/// One story in a world of its own. `prepare` makes the accounts; `start` starts the node on its old disks.
pub struct Story<'a> {
    pub world: &'a World,
    pub doors: Doors,
    pub accounts: Vec<Account>,
    /// Readers remove mail too.
    pub removes: bool,
    pub start: &'a dyn Fn(&World) -> NodeId,
}

/// What the senders share.
struct Desk {
    doors: Doors,
    accounts: Vec<String>,
    ledger: RefCell<Ledger>,
    letters: Cell<u64>,
    closed: Cell<bool>,
}

impl Story<'_> {
    /// Tells it. Anything that breaks a promise panics.
    pub fn tell(&self) -> Told {
        let world = self.world;
        let chance = Chance::of(world.seed(), "story");
        let desk = Rc::new(Desk {
            doors: self.doors,
            accounts: self.accounts.iter().map(|a| a.name.clone()).collect(),
            ledger: RefCell::default(),
            letters: Cell::new(0),
            closed: Cell::new(false),
        });
        let promised = world.run_until(async {
            let mut node = self.up().await;
            for round in 0..chance.between(1, 3) {
                self.send(&desk, &chance, round, node).await;
                while chance.one_in(3) {
                    let recovering = (self.start)(world);
                    shard::sleep(Duration::from_micros(chance.below(20_000))).await;
                    world.crash(recovering);
                }
                node = self.up().await;
                self.read(&desk, &chance).await;
            }
            world.stop(node).await.expect("an orderly stop");
            let node = self.up().await;
            self.read(&desk, &chance).await;
            world.stop(node).await.expect("an orderly stop");
            desk.ledger.borrow().promised()
        });
        assert_eq!(world.panics(), [""; 0]);
        Told { promised, trace: world.trace() }
    }

    /// Starts the node and waits for its doors.
    async fn up(&self) -> NodeId {
        let node = (self.start)(self.world);
        for _ in 0..KNOCKS_MAX {
            let mut open = 0;
            for door in [self.doors.smtp, self.doors.pop3, self.doors.imap] {
                open += u32::from(sim::connect(door).await.is_ok());
            }
            if open == 3 {
                return node;
            }
            assert!(self.world.is_up(node), "the node does not start: {:?}", self.world.ended(node).await);
            shard::sleep(Duration::from_millis(10)).await;
        }
        panic!("the node opens no doors; panics: {:?}", self.world.panics());
    }

    /// Senders send until the node goes.
    async fn send(&self, desk: &Rc<Desk>, chance: &Chance, round: u64, node: NodeId) {
        desk.closed.set(false);
        let mut senders = Vec::new();
        for number in 0..chance.between(2, 6) {
            let chance = Chance::of(self.world.seed(), &format!("sender {round}.{number}"));
            senders.push(self.world.spawn("sender", sender(desk.clone(), chance)));
        }
        let watcher = self.world.spawn("watcher", watcher(desk.clone(), self.doors.imap, self.accounts.clone()));
        for _ in 0..chance.between(1, 6) {
            shard::sleep(Duration::from_micros(chance.between(1_000, 400_000))).await;
            let open = self.world.connections(node);
            if !open.is_empty() && chance.one_in(3) {
                self.world.cut(open[chance.index(open.len())]);
            }
            if chance.one_in(6) {
                self.world.jump_wall_ms([-7_200_000, 7_200_000][chance.index(2)]);
            }
        }
        match chance.below(6) {
            0 => {
                // Senders in the middle of a letter lose their connection or are told so.
                desk.closed.set(true);
                self.world.stop(node).await.expect("an orderly stop");
            }
            1 => self.world.kill(node),
            _ => self.world.crash(node),
        }
        desk.closed.set(true);
        for sender in senders {
            sender.await;
        }
        watcher.await;
    }

    /// Every mailbox is read both ways and held against the ledger; then some of it is removed.
    async fn read(&self, desk: &Desk, chance: &Chance) {
        // What a volume owes to another one is carried when both are up.
        shard::sleep(Duration::from_secs(2)).await;
        for Account { name, password } in &self.accounts {
            let imap = imap::read_inbox(self.doors.imap, name, password).await.expect("IMAP answers");
            let pop3 = pop3::fetch_all(self.doors.pop3, name, password).await.expect("POP3 answers");
            desk.ledger.borrow_mut().check(name, &imap, &pop3);
            if self.removes && chance.one_in(2) {
                // Descending, so that positions stay true; the last ones often, since UIDs must not come back.
                let which: Vec<usize> = (0..pop3.len()).rev().filter(|_| chance.one_in(3)).collect();
                pop3::delete(self.doors.pop3, name, password, &which).await.expect("POP3 answers");
                which.iter().for_each(|position| desk.ledger.borrow_mut().remove(name, *position));
            }
        }
    }
}

/// Looks into one mailbox after another while they are filled: what it sees must be there ever after.
async fn watcher(desk: Rc<Desk>, at: SocketAddr, accounts: Vec<Account>) {
    for Account { name, password } in accounts.iter().cycle() {
        if desk.closed.get() {
            return;
        }
        if let Ok(inbox) = imap::read_inbox(at, name, password).await {
            desk.ledger.borrow_mut().glance(name, &inbox);
        }
        shard::sleep(Duration::from_millis(30)).await;
    }
}

async fn sender(desk: Rc<Desk>, chance: Chance) {
    let mut left = LETTERS_MAX;
    while left > 0 && !desk.closed.get() {
        let Ok(mut sender) = Sender::open(desk.doors.smtp).await else {
            shard::sleep(Duration::from_millis(1)).await;
            continue;
        };
        for _ in 0..chance.between(1, 10).min(left) {
            left -= 1;
            if !letter(&desk, &chance, &mut sender).await || desk.closed.get() {
                break;
            }
            shard::sleep(Duration::from_micros(chance.below(50_000))).await;
        }
        if chance.one_in(2) {
            // Otherwise it leaves without a word.
            let _ = sender.quit().await;
        }
    }
}

/// Sends one letter and writes down what may be expected of it. False when the connection is of no more use.
async fn letter(desk: &Desk, chance: &Chance, sender: &mut Sender) -> bool {
    let number = desk.letters.get() + 1;
    desk.letters.set(number);
    let mut to: Vec<String> = desk.accounts.iter().filter(|_| chance.one_in(3)).cloned().collect();
    if to.is_empty() {
        to.push(desk.accounts[chance.index(desk.accounts.len())].clone());
    }
    let body = compose(chance, number);
    to.iter().for_each(|to| desk.ledger.borrow_mut().send(number, &body, to));
    let verdict = sender.deliver(chance, "sender@client.example", &to, &body).await;
    let promise = |taken: bool| match &verdict {
        Verdict::Accepted(_) if taken => Promise::One,
        Verdict::Unknown(_) if taken => Promise::Perhaps,
        _ => Promise::None,
    };
    let taken = match &verdict {
        Verdict::Accepted(taken) | Verdict::Unknown(taken) => taken.clone(),
        _ => vec![false; to.len()],
    };
    let mut ledger = desk.ledger.borrow_mut();
    for (to, taken) in to.iter().zip(taken) {
        ledger.settle(number, to, promise(taken));
    }
    match verdict {
        Verdict::Accepted(_) => true,
        Verdict::Refused(code, text) => {
            assert!((400..500).contains(&code), "a good letter is refused for good: {code} {text}");
            code != 421
        }
        Verdict::Abandoned | Verdict::Unknown(_) => false,
    }
}

/// A letter of any shape: short or long lines, dots in front, bytes above 127.
fn compose(chance: &Chance, number: u64) -> Vec<u8> {
    let mut body = format!("From: sender@client.example\r\nX-Letter: {number}\r\nSubject: letter {number}\r\n\r\n");
    let octets = match chance.below(10) {
        0 => 0,
        1 => chance.between(20_000, 100_000),
        _ => chance.between(1, 4_000),
    };
    while (body.len() as u64) < octets {
        if chance.one_in(5) {
            body.push_str(&".".repeat(1 + chance.index(3)));
        }
        for _ in 0..chance.below(30) {
            body.push_str(["letter ", "ring ", "post, ", "größer ", "x", "- "][chance.index(6)]);
        }
        body.push_str("\r\n");
    }
    body.into_bytes()
}
