//! Crashes from seeds: a random workload, the power cut or the process killed at a random step, recovery, and the
//! model's verdict. Each seed lives several lives on one disk, from before the volume is made.
//!
//! The verdict: what is there is exactly what the first k decided transactions make, with k at least the last
//! one acknowledged, and below the first one that was said to be not written. So nothing acknowledged is missing
//! or doubled, no transaction is there in part, and numbers never go back.
#![cfg(feature = "sim")]

mod support;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ringpost_storage::sim::{Fault, OpKind, SimDisk, When};
use ringpost_storage::{
    AccountId, Body, Create, Flags, FlagsHow, Lost, MailboxId, NewMailbox, Op, OpenError, Outcome, Refused, Target,
    Ticket, Transaction, Volume,
};
use support::model::Model;
use support::*;

type Chance = Rc<RefCell<StdRng>>;

/// Every step of the disk waits some turns; from step `last` on nothing happens any more.
fn clockwork(disk: &SimDisk, chance: &Chance, last: u64) -> Rc<Cell<bool>> {
    let stopped = Rc::new(Cell::new(false));
    let (chance, stop, left) = (chance.clone(), stopped.clone(), Cell::new(last));
    disk.set_delay(Some(Rc::new(move |_: OpKind| -> Pin<Box<dyn Future<Output = ()>>> {
        if left.get() == 0 {
            stop.set(true);
            return Box::pin(std::future::pending());
        }
        left.set(left.get() - 1);
        Box::pin(turns(chance.borrow_mut().random_range(0..4)))
    })));
    stopped
}

/// What one life has decided, and what was said about it.
struct Said {
    /// `states[i]`: after the first i transactions of this life.
    states: Vec<Model>,
    waiting: Vec<(usize, Ticket)>,
    acked: usize,
    not_written: Option<usize>,
    unknown: bool,
}

impl Said {
    fn new(model: Model) -> Self {
        Said { states: vec![model], waiting: vec![], acked: 0, not_written: None, unknown: false }
    }

    fn listen(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let waiting = std::mem::take(&mut self.waiting);
        for (n, mut ticket) in waiting {
            match Pin::new(&mut ticket).poll(&mut cx) {
                Poll::Pending => self.waiting.push((n, ticket)),
                Poll::Ready(Ok(())) => {
                    assert!(n > self.acked, "acknowledged in order");
                    self.acked = n;
                }
                Poll::Ready(Err(Lost::NotWritten | Lost::NoRoom)) => {
                    self.not_written = Some(self.not_written.map_or(n, |first| first.min(n)));
                }
                Poll::Ready(Err(Lost::Unknown)) => self.unknown = true,
            }
        }
        // Given up for want of room: the volume goes on as if they had never been.
        if let Some(first) = self.not_written.filter(|_| !self.unknown && self.waiting.is_empty()) {
            self.states.truncate(first);
            self.not_written = None;
        }
    }

    fn verdict(&self, found: &Model) -> usize {
        let end = self.not_written.unwrap_or(self.states.len());
        let fits = (self.acked..end).find(|&k| self.states[k].same(found));
        fits.unwrap_or_else(|| {
            let others: Vec<_> = (0..self.states.len()).filter(|&k| self.states[k].same(found)).collect();
            panic!(
                "no state from {} to {end} fits (but {others:?} of {} do):\n{found:#?}\nacknowledged:\n{:#?}",
                self.acked,
                self.states.len(),
                self.states[self.acked]
            )
        })
    }
}

fn some<T: Copy>(chance: &mut StdRng, from: &[T]) -> Option<T> {
    (!from.is_empty()).then(|| from[chance.random_range(0..from.len())])
}

fn random_op(chance: &mut StdRng, model: &Model, bodies: &mut Vec<Body>, before: &[Op]) -> Op {
    let accounts: Vec<AccountId> = model.accounts.keys().copied().collect();
    let pick = chance.random_range(0..100);
    let Some(account) = some(chance, &accounts).filter(|_| pick >= 4) else {
        let mailbox = |n| NewMailbox { name: format!("m{n}"), special_use: n };
        return Op::PutAccount {
            name: format!("u{}@x", chance.random_range(0..4)),
            secrets: text(8, chance.random()),
            mailboxes: (0..chance.random_range(0..3)).map(mailbox).collect(),
        };
    };
    let boxes: Vec<MailboxId> = model.accounts[&account].mailboxes.keys().copied().collect();
    let mailbox = some(chance, &boxes).unwrap_or(INBOX);
    let uids: Vec<u32> = model.accounts[&account].mailboxes[&mailbox].messages.keys().copied().collect();
    let few = |chance: &mut StdRng| -> Vec<u32> {
        let n = chance.random_range(0..4);
        (0..n).filter_map(|_| some(chance, &uids)).collect()
    };
    let flags = |chance: &mut StdRng| {
        let keywords = chance.random_ratio(1, 4).then(|| vec![format!("k{}", chance.random_range(0..3)).into()].into());
        Flags { bits: chance.random_range(0..32), keywords }
    };
    let name = |chance: &mut StdRng| format!("m{}", chance.random_range(0..8));
    // Now and then it is a name of before.
    let named = |chance: &mut StdRng| {
        if chance.random_ratio(1, 8) { name(chance) } else { model.accounts[&account].mailboxes[&mailbox].name.clone() }
    };
    let target = |chance: &mut StdRng| {
        let made = |op: &Op| matches!(op, Op::CreateMailbox { account: of, .. } if *of == account);
        match before.iter().position(made) {
            Some(n) if chance.random() => Target::Made(n),
            _ => Target::Mailbox(some(chance, &boxes).unwrap_or(INBOX)),
        }
    };
    match pick {
        4..6 => Op::PutDomain { name: format!("d{}.test", chance.random_range(0..3)), info: text(5, chance.random()) },
        6..7 => Op::RemoveDomain { name: "d1.test".into() },
        7..10 => Op::CreateMailbox { account, name: name(chance), special_use: 0, subscribed: chance.random() },
        10..12 => Op::RemoveMailbox { account, mailbox, name: named(chance) },
        12..13 => Op::RemoveAccount { account },
        13..25 => {
            let how = [FlagsHow::Replace, FlagsHow::Add, FlagsHow::Remove][chance.random_range(0..3)];
            let flags = flags(chance);
            Op::StoreFlags { account, mailbox, uids: few(chance), how, flags, unchanged_since: None }
        }
        25..32 => Op::Expunge { account, mailbox, uids: few(chance) },
        32..38 => Op::RenameMailbox { account, mailbox, from: named(chance), name: name(chance) },
        38..41 => Op::Subscribe { account, name: name(chance), on: chance.random() },
        41..48 => Op::Copy { account, from: mailbox, uids: few(chance), to: target(chance) },
        48..58 => Op::Move { account, from: mailbox, uids: few(chance), to: target(chance) },
        58..60 => Op::Summaries { account, mailbox, items: vec![(1, text(20, 1)), (2, text(30, 2))] },
        _ => {
            let len = if chance.random_ratio(1, 10) { 20_000 } else { chance.random_range(0..3_000) };
            bodies.push(Body::from(text(len, chance.random())));
            let prefix = text(chance.random_range(0..50), 3);
            Op::Append { account, mailbox, body: bodies.len() - 1, prefix, flags: flags(chance), internal_ms: 1 }
        }
    }
}

fn random_transaction(chance: &mut StdRng, model: &Model) -> Transaction {
    let mut bodies = Vec::new();
    let n = if chance.random_ratio(1, 3) { chance.random_range(1..4) } else { 1 };
    let mut ops = Vec::new();
    for _ in 0..n {
        let op = random_op(chance, model, &mut bodies, &ops);
        ops.push(op);
    }
    Transaction { bodies, ops }
}

/// What the lives of many seeds have seen, so that a workload that stops doing something is noticed.
#[derive(Default)]
struct Tally {
    judged: u64,
    renamed: u64,
    copied: u64,
    moved: u64,
}

impl Tally {
    fn count(&mut self, op: &Op, outcome: &Outcome) {
        match (op, outcome) {
            (Op::RenameMailbox { .. }, _) => self.renamed += 1,
            (_, Outcome::Copied { pairs, .. }) => self.copied += pairs.len() as u64,
            (_, Outcome::Moved { pairs, .. }) => self.moved += pairs.len() as u64,
            _ => {}
        }
    }
}

/// A life's workload, until the clockwork stops or there is nothing more to do.
fn live(
    v: &mut Open,
    said: &mut Said,
    chance: &Chance,
    stopped: &Cell<bool>,
    seen: &mut BTreeSet<u32>,
    tally: &mut Tally,
) {
    let transactions = chance.borrow_mut().random_range(5..40);
    for _ in 0..transactions {
        let (transaction, now_ms, pace) = {
            let chance = &mut *chance.borrow_mut();
            let last = said.states.last().unwrap();
            // The clock jumps as it likes.
            let now_ms = NOW_MS + chance.random_range(-1_000_000..1_000_000);
            (random_transaction(chance, last), now_ms, chance.random_range(0..8))
        };
        let copy = Transaction {
            bodies: transaction.bodies.iter().map(|b| Body::from(b.parts().collect::<Vec<_>>().concat())).collect(),
            ops: vec![],
        };
        let ops: Vec<Op> = transaction.ops;
        let shadow = Transaction { bodies: transaction.bodies, ops };
        let asked = Transaction { bodies: copy.bodies, ops: shadow.ops.iter().map(again).collect() };
        match v.volume.decide(asked, now_ms) {
            Ok(decided) => {
                for outcome in &decided.outcomes {
                    if let Outcome::Mailbox(_, uidvalidity) = outcome {
                        assert!(seen.last().is_none_or(|last| uidvalidity > last), "UIDVALIDITY only rises");
                    }
                }
                shadow.ops.iter().zip(&decided.outcomes).for_each(|(op, outcome)| tally.count(op, outcome));
                let next = said.states.last().unwrap().after(&shadow, &decided.outcomes);
                said.states.push(next);
                said.waiting.push((said.states.len() - 1, decided.ticket));
            }
            Err(Refused::Failed | Refused::DiskFull) => {}
            Err(Refused::NoAccount | Refused::NoMailbox | Refused::MailboxExists | Refused::TooLarge) => {}
            Err(other) => panic!("{other:?}"),
        }
        if pace == 7 {
            v.volume.heartbeat();
        }
        for _ in 0..pace {
            v.tasks.turn();
        }
        said.listen();
        if stopped.get() {
            return;
        }
    }
    if chance.borrow_mut().random_ratio(1, 3) {
        let volume = v.volume.clone();
        v.tasks.spawn(async move { volume.close().await });
    }
    while !stopped.get() && v.tasks.turn() {
        said.listen();
    }
    said.listen();
}

fn again(op: &Op) -> Op {
    match op {
        Op::PutDomain { name, info } => Op::PutDomain { name: name.clone(), info: info.clone() },
        Op::RemoveDomain { name } => Op::RemoveDomain { name: name.clone() },
        Op::PutAccount { name, secrets, mailboxes } => {
            Op::PutAccount { name: name.clone(), secrets: secrets.clone(), mailboxes: mailboxes.clone() }
        }
        Op::RemoveAccount { account } => Op::RemoveAccount { account: *account },
        Op::CreateMailbox { account, name, special_use, subscribed } => Op::CreateMailbox {
            account: *account,
            name: name.clone(),
            special_use: *special_use,
            subscribed: *subscribed,
        },
        Op::RenameMailbox { account, mailbox, from, name } => {
            Op::RenameMailbox { account: *account, mailbox: *mailbox, from: from.clone(), name: name.clone() }
        }
        Op::Subscribe { account, name, on } => Op::Subscribe { account: *account, name: name.clone(), on: *on },
        Op::RemoveMailbox { account, mailbox, name } => {
            Op::RemoveMailbox { account: *account, mailbox: *mailbox, name: name.clone() }
        }
        Op::Append { account, mailbox, body, prefix, flags, internal_ms } => Op::Append {
            account: *account,
            mailbox: *mailbox,
            body: *body,
            prefix: prefix.clone(),
            flags: flags.clone(),
            internal_ms: *internal_ms,
        },
        Op::StoreFlags { account, mailbox, uids, how, flags, unchanged_since } => Op::StoreFlags {
            account: *account,
            mailbox: *mailbox,
            uids: uids.clone(),
            how: *how,
            flags: flags.clone(),
            unchanged_since: *unchanged_since,
        },
        Op::Copy { account, from, uids, to } => {
            Op::Copy { account: *account, from: *from, uids: uids.clone(), to: *to }
        }
        Op::Move { account, from, uids, to } => {
            Op::Move { account: *account, from: *from, uids: uids.clone(), to: *to }
        }
        Op::Expunge { account, mailbox, uids } => {
            Op::Expunge { account: *account, mailbox: *mailbox, uids: uids.clone() }
        }
        Op::Summaries { account, mailbox, items } => {
            Op::Summaries { account: *account, mailbox: *mailbox, items: items.clone() }
        }
        Op::Transfer(op) => Op::Transfer(op.clone()),
    }
}

/// Opens while the clockwork runs, and makes the volume if there is none; `None` when it stopped first, or a planned
/// fault struck.
fn open_or_stop(disk: &SimDisk, stopped: &Cell<bool>, seed: u64) -> Option<Open> {
    let mut tasks = Tasks::default();
    let found = Rc::new(RefCell::new(None));
    let (put, folder) = (found.clone(), disk.clone());
    tasks.spawn(async move {
        let mut opened = Volume::open(folder.clone(), Some((STORE, 3)), settings()).await;
        if matches!(opened, Err(OpenError::Absent)) {
            // Each attempt draws its own secret, as the house does.
            Volume::create(&folder, &Create { seed, ..facts() }).await.expect("making goes on where it was cut off");
            opened = Volume::open(folder, Some((STORE, 3)), settings()).await;
        }
        *put.borrow_mut() = Some(opened);
    });
    while !stopped.get() && tasks.turn() {}
    let (volume, recovered) = found.borrow_mut().take()?.unwrap_or_else(|why| panic!("opening failed: {why}"));
    let mut tasks = Tasks::default();
    let looped = volume.clone();
    tasks.spawn(async move { looped.commit_loop(|| turns(1)).await });
    Some(Open { volume, recovered, tasks })
}

/// All lives of a seed.
fn seed(seed: u64, faults: bool) -> Tally {
    let chance: Chance = Rc::new(RefCell::new(StdRng::seed_from_u64(seed)));
    let mut disk = SimDisk::new(seed);
    let mut said = Said::new(Model::default());
    let mut seen = BTreeSet::new();
    let mut tally = Tally::default();
    for life in 0..6 {
        let last = chance.borrow_mut().random_range(1..200);
        let stopped = clockwork(&disk, &chance, last);
        if let Some(mut v) = open_or_stop(&disk, &stopped, seed + life) {
            disk.set_delay(None);

            assert_eq!(v.recovered.damaged, vec![], "nothing was damaged, only cut off");
            let found = Model::of(&v.volume);
            said.verdict(&found);
            tally.judged += 1;
            said = Said::new(found);
            for mailbox in said.states[0].accounts.values().flat_map(|a| a.mailboxes.values()) {
                seen.insert(mailbox.uidvalidity);
            }
            let stopped = clockwork(&disk, &chance, last);
            if faults {
                plan(&disk, &mut chance.borrow_mut());
            }
            live(&mut v, &mut said, &chance, &stopped, &mut seen, &mut tally);
            disk.set_delay(None);
        }
        disk = if chance.borrow_mut().random_ratio(1, 4) { disk.kill() } else { disk.crash() };
        disk.set_delay(None);
    }
    tally
}

fn plan(disk: &SimDisk, chance: &mut StdRng) {
    let n = chance.random_range(1..20);
    let when = if chance.random() { When::Once(n) } else { When::From(n) };
    match chance.random_range(0..4) {
        0 => disk.fail(OpKind::Write, Fault::Io, when),
        1 => disk.fail(OpKind::Write, Fault::Short, when),
        2 => disk.fail(OpKind::Sync, Fault::Io, when),
        _ => disk.fail(OpKind::Create, Fault::NoSpace, When::Once(chance.random_range(1..3))),
    }
}

fn campaign(from: u64, seeds: u64, faults: bool) {
    let mut all = Tally::default();
    for n in from..from + seeds {
        let run = std::panic::catch_unwind(|| seed(n, faults));
        match run {
            Ok(tally) => {
                all.judged += tally.judged;
                all.renamed += tally.renamed;
                all.copied += tally.copied;
                all.moved += tally.moved;
            }
            Err(why) => {
                eprintln!("seed {n} (faults: {faults})");
                std::panic::resume_unwind(why);
            }
        }
    }
    let Tally { judged, renamed, copied, moved } = all;
    assert!(judged > seeds * 2, "most lives reach a verdict: {judged}");
    assert!(renamed.min(copied).min(moved) > seeds / 2, "renamed {renamed}, copied {copied}, moved {moved}");
    println!("{judged} recoveries judged; renamed {renamed}, copied {copied}, moved {moved}");
}

/// Lives that end while the volume is being made or opened for the first time; then one that does not.
fn birth(seed: u64) {
    let chance: Chance = Rc::new(RefCell::new(StdRng::seed_from_u64(seed)));
    let mut disk = SimDisk::new(seed);
    for life in 0..3 {
        let last = chance.borrow_mut().random_range(0..45);
        let stopped = clockwork(&disk, &chance, last);
        open_or_stop(&disk, &stopped, seed + life);
        disk = if chance.borrow_mut().random_ratio(1, 4) { disk.kill() } else { disk.crash() };
        disk.set_delay(None);
    }
    let mut v = open_or_stop(&disk, &Cell::new(false), seed + 3).expect("nothing stops it");
    assert_eq!((v.recovered.damaged.len(), v.recovered.lost_batches, v.recovered.batches), (0, 0, 0));
    let alice = v.account("a@x");
    drop(v);
    assert_eq!(open(&disk.crash()).volume.account_named("a@x"), Some(alice));
}

#[test]
fn a_volume_half_made_is_none_or_whole_and_never_damaged() {
    for seed in 0..2_000 {
        if let Err(why) = std::panic::catch_unwind(|| birth(seed)) {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(why);
        }
    }
}

#[test]
fn a_crash_anywhere_loses_nothing_that_was_acknowledged() {
    campaign(0, 600, false);
}

#[test]
fn failing_writes_and_syncs_and_crashes_lose_nothing_that_was_acknowledged() {
    campaign(1_000_000, 600, true);
}
