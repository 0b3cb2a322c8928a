//! Transfers: letters and moved messages go from one volume to another while either crashes at any step.
//!
//! Alice's volume owes, Bob's receives, and whoever carries between them is at Alice's and forgets with it, so much is carried
//! more than once. In the end each copy that was acknowledged is there exactly once, none is there twice, and a message
//! that was to move is in one of the two volumes.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::house::{self, Chance, House, NOW_MS};
use super::look;
use super::model::Model;
use super::tally::Tally;
use super::tasks::block_on;
use super::work::text;
use crate::sim::SimDisk;
use crate::{
    AccountId, Body, Carried, Flags, Limits, Loaded, MailboxId, Op, Outcome, PendingTransfer, Ticket, Transaction,
    TransferCopy, TransferNumber, TransferOp, TransferOutcome, Uid, Volume, VolumeId,
};

const SOURCE: VolumeId = 0;
const TARGET: VolumeId = 1;
const INBOX: MailboxId = MailboxId::INBOX;
/// Steps of a journey.
const STEPS: u32 = 300;
/// Octets of a letter.
const OCTETS: usize = 2_000;
/// Nobody has this one: a copy for it bounces.
const NOBODY: AccountId = AccountId(99);

/// A volume that crashes as it likes.
struct Side {
    disk: SimDisk,
    house: House,
    who: AccountId,
    held: Vec<Loaded<SimDisk>>,
}

impl Side {
    fn new(seed: u64, name: &str) -> Self {
        let disk = SimDisk::new(seed);
        block_on(Volume::create(&disk, &house::facts(seed))).expect("nothing hinders it");
        let mut house = opened(&disk, seed);
        let put =
            Op::PutAccount { name: name.to_owned(), secrets: vec![1], limits: Limits::default(), mailboxes: vec![] };
        let outcomes = commit(&mut house, vec![], vec![put]);
        let Outcome::Account(who) = outcomes[0] else { panic!("{outcomes:?}") };
        let mut side = Side { disk, house, who, held: vec![] };
        side.hold();
        side
    }

    fn hold(&mut self) {
        let held = block_on(self.house.volume.load(self.who)).unwrap_or_else(|why| panic!("loading: {why}"));
        self.held = held.into_iter().collect();
    }

    fn crash(&mut self, chance: &Chance) {
        let killed = chance.borrow_mut().random_ratio(1, 4);
        self.disk = if killed { self.disk.kill() } else { self.disk.crash() };
        self.held.clear();
        let seed = chance.borrow_mut().random();
        self.house = opened(&self.disk, seed);
        self.hold();
        house::slow(&self.disk, chance);
    }

    fn decide(&self, bodies: Vec<Body>, ops: Vec<Op>) -> Option<(Vec<Outcome>, Ticket)> {
        let decided = self.house.volume.decide(Transaction { bodies, ops }, NOW_MS).ok()?;
        Some((decided.outcomes, decided.ticket))
    }

    /// INBOX: durable UIDs with what they say.
    fn inbox(&self) -> Vec<(Uid, Vec<u8>)> {
        let messages = self.house.volume.mailbox(self.who, INBOX, |m| m.messages().to_vec()).unwrap_or_default();
        let read = |m: &crate::Message| block_on(self.house.volume.read(m)).unwrap_or_else(|why| panic!("{why}"));
        messages.iter().map(|m| (m.uid, read(m))).collect()
    }
}

fn opened(disk: &SimDisk, seed: u64) -> House {
    let opened = house::open(disk, seed, || true).expect("nobody stops it");
    opened.unwrap_or_else(|why| panic!("opening failed after a crash: {why}"))
}

fn commit(house: &mut House, bodies: Vec<Body>, ops: Vec<Op>) -> Vec<Outcome> {
    let decided = house.volume.decide(Transaction { bodies, ops }, NOW_MS).unwrap_or_else(|why| panic!("{why}"));
    while house.turn() {}
    assert_eq!(block_on(decided.ticket), Ok(()));
    decided.outcomes
}

/// What was sent, and whether that was acknowledged.
struct Sent {
    n: u64,
    /// It is Alice's message, and is to move.
    moves: bool,
    acked: bool,
}

/// A journey.
struct Journey {
    a: Side,
    b: Side,
    sent: Vec<Sent>,
    /// Alice's own copies: which, and whether that was acknowledged.
    own: Vec<(u64, bool)>,
    /// Of what, and which of them.
    waiting: Vec<(Awaited, Ticket)>,
    /// Carried, and durable there.
    there: Option<TransferNumber>,
    arriving: Option<(TransferNumber, Ticket)>,
}

#[derive(Clone, Copy)]
enum Awaited {
    Sent(usize),
    Own(usize),
}

/// All that a seed does.
///
/// # Panics
/// With a sentence, when production code breaks a promise or panics itself.
#[must_use]
pub fn run(seed: u64) -> Tally {
    let chance: Chance = Rc::new(RefCell::new(SmallRng::seed_from_u64(seed)));
    let (a, b) = (Side::new(seed.wrapping_mul(2), "alice@x"), Side::new(seed.wrapping_mul(2) + 1, "bob@x"));
    house::slow(&a.disk, &chance);
    house::slow(&b.disk, &chance);
    let mut journey = Journey { a, b, sent: vec![], own: vec![], waiting: vec![], there: None, arriving: None };
    for _ in 0..STEPS {
        journey.step(&chance);
        journey.listen();
    }
    journey.arrive();
    journey.judge();
    Tally { seeds: 1, decided: journey.sent.len() as u64, judged: 2, ..Tally::default() }
}

fn copies_of(text: &[u8], inbox: &[(Uid, Vec<u8>)]) -> usize {
    inbox.iter().filter(|(_, there)| there == text).count()
}

fn of_alice(n: u64) -> Vec<u8> {
    [b"Delivered-To: alice\r\n", &text(OCTETS, n)[..]].concat()
}

fn of_bob(n: u64) -> Vec<u8> {
    [b"Delivered-To: bob\r\n", &text(OCTETS, n)[..]].concat()
}

impl Journey {
    fn step(&mut self, chance: &Chance) {
        let pick = chance.borrow_mut().random_range(0..100);
        match pick {
            0..18 => {
                let both = chance.borrow_mut().random();
                let nobody = chance.borrow_mut().random_ratio(1, 8);
                self.letter(both, nobody);
            }
            18..25 => {
                let pick = chance.borrow_mut().random();
                self.send_on(pick);
            }
            25..50 if self.arriving.is_none() => self.carry(),
            50..60 => {
                if let Some(up_to) = self.there
                    && self.settle(up_to).is_some()
                {
                    self.there = self.there.filter(|_| chance.borrow_mut().random());
                }
            }
            60..63 => {
                self.a.crash(chance);
                self.waiting.clear();
                (self.there, self.arriving) = (None, None);
            }
            63..66 => {
                self.b.crash(chance);
                self.arriving = None;
            }
            66 => self.a.house.volume.heartbeat(),
            _ => {
                self.a.house.turn();
                self.b.house.turn();
            }
        }
    }

    /// A letter for Bob; `both`: for Alice, too, and one body for both. `nobody`: one more copy bounces.
    fn letter(&mut self, both: bool, nobody: bool) {
        let n = self.sent.len() as u64;
        let copy = |account| TransferCopy {
            account,
            mailbox: INBOX,
            name: "bob@x".to_owned(),
            prefix: b"Delivered-To: bob\r\n".to_vec(),
            bits: 0,
            keywords: vec![],
        };
        let copies = std::iter::once(copy(self.b.who)).chain(nobody.then(|| copy(NOBODY))).collect();
        let send = TransferOp::Send { target: TARGET, what: Carried::Body(0), copies, internal_ms: NOW_MS };
        let append = Op::Append {
            account: self.a.who,
            mailbox: INBOX,
            body: 0,
            prefix: b"Delivered-To: alice\r\n".to_vec(),
            flags: Flags::none(),
            internal_ms: NOW_MS,
        };
        let ops = both.then_some(append).into_iter().chain([Op::Transfer(send)]).collect();
        let Some((_, ticket)) = self.a.decide(vec![Body::from(text(OCTETS, n))], ops) else { return };
        self.sent.push(Sent { n, moves: false, acked: false });
        if both {
            self.own.push((n, false));
            // (The one ticket tells of both.)
            self.waiting.push((Awaited::Own(self.sent.len() - 1), ticket));
        } else {
            self.waiting.push((Awaited::Sent(self.sent.len() - 1), ticket));
        }
    }

    /// Alice moves one of her messages to Bob.
    fn send_on(&mut self, pick: u32) {
        let inbox = self.a.inbox();
        if inbox.is_empty() {
            return;
        }
        let (uid, octets) = &inbox[pick as usize % inbox.len()];
        let Some(n) = (0..self.sent.len() as u64).find(|n| of_alice(*n) == *octets) else { panic!("nobody sent this") };
        if self.sent.iter().any(|sent| sent.moves && sent.n == n) {
            return;
        }
        let what = Carried::Message { account: self.a.who, mailbox: INBOX, uid: *uid, hide: true };
        let copy = TransferCopy {
            account: self.b.who,
            mailbox: INBOX,
            name: "bob@x".to_owned(),
            prefix: vec![],
            bits: Flags::SEEN,
            keywords: vec![],
        };
        let op = Op::Transfer(TransferOp::Send { target: TARGET, what, copies: vec![copy], internal_ms: NOW_MS });
        if let Some((_, ticket)) = self.a.decide(vec![], vec![op]) {
            self.sent.push(Sent { n, moves: true, acked: false });
            self.waiting.push((Awaited::Sent(self.sent.len() - 1), ticket));
        }
    }

    fn pending(&self, after: TransferNumber) -> Vec<Rc<PendingTransfer>> {
        self.a.house.volume.pending_transfers(TARGET, after, usize::MAX)
    }

    fn receiving(&self, transfer: &PendingTransfer, after: TransferNumber) -> (Vec<Body>, Vec<Op>) {
        let read = block_on(self.a.house.volume.read_transfer(transfer));
        let bytes = read.unwrap_or_else(|why| panic!("what is owed cannot be read: {why}"));
        let op = TransferOp::Receive {
            source: SOURCE,
            number: transfer.number,
            after,
            settled: self.a.house.volume.transfers_sent(TARGET),
            body: 0,
            copies: transfer.copies.clone(),
            internal_ms: transfer.internal_ms,
        };
        (vec![Body::from(bytes)], vec![Op::Transfer(op)])
    }

    fn carry(&mut self) {
        let after = self.there.unwrap_or(self.a.house.volume.transfers_sent(TARGET));
        let Some(owed) = self.pending(after).into_iter().next() else { return };
        let (bodies, ops) = self.receiving(&owed, after);
        if let Some((_, ticket)) = self.b.decide(bodies, ops) {
            self.arriving = Some((owed.number, ticket));
        }
    }

    /// What has arrived is settled, and what was to move goes in the same batch.
    fn settle(&mut self, up_to: TransferNumber) -> Option<Ticket> {
        let sent = self.a.house.volume.transfers_sent(TARGET);
        let hidden = self.pending(sent).into_iter().filter(|owed| owed.number <= up_to && owed.hide);
        let uids: Vec<Uid> = hidden.filter_map(|owed| owed.from.map(|(.., uid)| uid)).collect();
        let mut ops = vec![Op::Transfer(TransferOp::Sent { target: TARGET, up_to })];
        if !uids.is_empty() {
            ops.push(Op::Expunge { account: self.a.who, mailbox: INBOX, uids });
        }
        self.a.decide(vec![], ops).map(|(_, ticket)| ticket)
    }

    fn listen(&mut self) {
        let (sent, own) = (&mut self.sent, &mut self.own);
        self.waiting.retain_mut(|(what, ticket)| match poll(ticket) {
            None => true,
            Some(kept) => {
                let (Awaited::Sent(at) | Awaited::Own(at)) = *what;
                sent[at].acked = kept;
                if let (Awaited::Own(_), Some(own)) = (*what, own.iter_mut().find(|(n, _)| *n == sent[at].n)) {
                    own.1 = kept;
                }
                false
            }
        });
        if let Some((number, ticket)) = &mut self.arriving
            && let Some(kept) = poll(ticket)
        {
            self.there = if kept { Some(*number) } else { self.there };
            self.arriving = None;
        }
    }

    /// Both come to rest, and everything that is owed is carried.
    fn arrive(&mut self) {
        for side in [&mut self.a, &mut self.b] {
            side.disk.set_delay(None);
            while side.house.turn() {}
        }
        self.listen();
        let mut after = self.a.house.volume.transfers_sent(TARGET);
        for owed in self.pending(after) {
            let (bodies, ops) = self.receiving(&owed, after);
            let outcomes = commit(&mut self.b.house, bodies, ops);
            let Outcome::Transfer(TransferOutcome::Received { bounced, .. }) = &outcomes[0] else {
                panic!("{outcomes:?}")
            };
            let nobody = |n: &u16| owed.copies[usize::from(*n)].account == NOBODY;
            assert!(bounced.iter().all(nobody), "a copy for somebody bounced: {bounced:?}");
            after = owed.number;
        }
        let settled = self.settle(after).expect("a well volume takes it");
        while self.a.house.turn() {}
        assert_eq!(block_on(settled), Ok(()));
        assert_eq!(self.pending(TransferNumber::default()).len(), 0, "everything is settled");
        for side in [&mut self.a, &mut self.b] {
            side.held.clear();
            side.house = opened(&side.disk.crash(), 1);
            side.hold();
        }
    }

    fn judge(&self) {
        let (alice, bob) = (self.a.inbox(), self.b.inbox());
        for Sent { n, moves, acked } in &self.sent {
            let times = copies_of(&if *moves { of_alice(*n) } else { of_bob(*n) }, &bob);
            assert!(
                times <= 1 && (times == 1 || !acked),
                "{n}, moves: {moves}, acked: {acked}, is there {times} times"
            );
        }
        for (n, acked) in &self.own {
            let times = copies_of(&of_alice(*n), &alice) + copies_of(&of_alice(*n), &bob);
            assert!(times <= 1 && (times == 1 || !acked), "Alice's {n}, acked: {acked}, is there {times} times");
        }
        assert!(bob.len() <= self.sent.len() && alice.len() <= self.own.len(), "there is more than was sent");
        for side in [&self.a, &self.b] {
            let _: Model = block_on(look::shown(&side.house.volume)).unwrap_or_else(|why| panic!("unreadable: {why}"));
        }
    }
}

fn poll(ticket: &mut Ticket) -> Option<bool> {
    let mut cx = Context::from_waker(Waker::noop());
    match Pin::new(ticket).poll(&mut cx) {
        Poll::Pending => None,
        Poll::Ready(result) => Some(result.is_ok()),
    }
}
