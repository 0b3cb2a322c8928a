//! Random work: transactions that fit a state, and now and then do not.

use std::collections::BTreeSet;
use std::rc::Rc;

use rand::Rng;
use rand::rngs::SmallRng;

use super::model::{Model, Work};
use crate::{
    AccountId, Body, Flags, FlagsHow, Limits, MailboxId, NewMailbox, Op, Target, Transaction, Uid, Uidvalidity,
};

/// Octets of letters beside which there is room for everything else in a segment.
const OCTETS_BESIDE_MAX: usize = 30_000;

/// How large the letters are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// A few sectors a batch, for those who look at every subset of them.
    Tiny,
    /// Up to 3,000 octets, and one of ten 20,000.
    Mixed,
    /// Up to 12,000 octets, and much is expunged: segments come and go.
    Churn,
}

impl Work {
    /// The transaction to be decided.
    #[must_use]
    pub fn transaction(&self) -> Transaction {
        let bodies = self.texts.iter().map(|text| Body::from(text.to_vec())).collect();
        Transaction { bodies, ops: self.ops.clone() }
    }

    /// Accounts that have to be in memory when it is decided.
    #[must_use]
    pub fn held(&self) -> BTreeSet<AccountId> {
        let account = |op: &Op| match op {
            Op::Append { mailbox: MailboxId::INBOX, .. }
            | Op::Accepted { mailbox: MailboxId::INBOX, .. }
            | Op::PutDomain { .. }
            | Op::RemoveDomain { .. }
            | Op::PutAccount { .. }
            | Op::Transfer(_) => None,
            Op::Adopt(op) => Some(op.account()),
            Op::Append { account, .. }
            | Op::Accepted { account, .. }
            | Op::RemoveAccount { account }
            | Op::SetLimits { account, .. }
            | Op::CreateMailbox { account, .. }
            | Op::RenameMailbox { account, .. }
            | Op::Subscribe { account, .. }
            | Op::Renumber { account, .. }
            | Op::RemoveMailbox { account, .. }
            | Op::StoreFlags { account, .. }
            | Op::Copy { account, .. }
            | Op::Move { account, .. }
            | Op::Expunge { account, .. }
            | Op::Discard { account, .. }
            | Op::Summaries { account, .. } => Some(*account),
        };
        self.ops.iter().filter_map(account).collect()
    }

    /// Random work on what `last` (decided) and `durable` hold.
    #[must_use]
    pub fn random(chance: &mut SmallRng, scale: Scale, last: &Model, durable: &Model) -> Work {
        let mut work = Work { texts: vec![], ops: vec![] };
        let deliveries = if scale == Scale::Tiny { 2 } else { 8 };
        if chance.random_ratio(1, deliveries) && !last.accounts.is_empty() {
            delivery(chance, scale, last, &mut work);
            return work;
        }
        let n = if chance.random_ratio(1, 3) { chance.random_range(1..4) } else { 1 };
        for _ in 0..n {
            let op = op(chance, scale, (last, durable), &mut work);
            work.ops.push(op);
        }
        work
    }
}

impl Work {
    /// Limits for an account, not far above what it keeps. `None`: there is none.
    #[must_use]
    pub fn narrow_limits(chance: &mut SmallRng, model: &Model) -> Option<Work> {
        let accounts: Vec<AccountId> = model.accounts.keys().copied().collect();
        let account = some(chance, &accounts)?;
        let (bytes, messages) = model.kept(account);
        let limits = match chance.random_range(0..3) {
            0 => Limits { bytes: bytes + chance.random_range(0..20_000), messages: 0 },
            1 => Limits { bytes: 0, messages: messages + chance.random_range(0..5) },
            _ => Limits::NONE,
        };
        Some(Work { texts: vec![], ops: vec![Op::SetLimits { account, limits }] })
    }
}

impl Work {
    /// Some of what was expunged is brought back, or goes for good. `None`: there is none, or nobody knows where. `kept`: the
    /// mailbox of an account that has it.
    #[must_use]
    pub fn of_retained(
        chance: &mut SmallRng,
        model: &Model,
        kept: impl Fn(AccountId) -> Option<MailboxId>,
    ) -> Option<Work> {
        let all: Vec<AccountId> =
            model.accounts.iter().filter(|(_, a)| !a.retained.is_empty()).map(|(id, _)| *id).collect();
        let account = some(chance, &all)?;
        let from = kept(account)?;
        let there = &model.accounts[&account];
        let uids: Vec<Uid> = there.retained.keys().copied().filter(|_| chance.random()).collect();
        let boxes: Vec<MailboxId> = there.mailboxes.keys().copied().collect();
        let op = match some(chance, &boxes).filter(|_| chance.random_ratio(3, 4)) {
            Some(to) => Op::Move { account, from, uids, to: Target::Mailbox(to) },
            None => Op::Expunge { account, mailbox: from, uids },
        };
        Some(Work { texts: vec![], ops: vec![op] })
    }

    /// It may be too large for what is retained of it to be retained in the same transaction.
    #[must_use]
    pub fn may_retain_nothing(&self) -> bool {
        let takes = |op: &Op| matches!(op, Op::Expunge { .. } | Op::RemoveMailbox { .. });
        let octets: usize = self.texts.iter().map(|text| text.len()).sum();
        octets > OCTETS_BESIDE_MAX && self.ops.iter().any(takes)
    }
}

/// One letter for several accounts: one body, a copy in each INBOX.
fn delivery(chance: &mut SmallRng, scale: Scale, model: &Model, work: &mut Work) {
    work.texts.push(letter(chance, scale));
    for account in model.accounts.keys() {
        if chance.random_ratio(3, 4) {
            let prefix = format!("Delivered-To: {}\r\n", account.0).into_bytes();
            let (mailbox, flags) = (MailboxId::INBOX, Flags::none());
            work.ops.push(Op::Append { account: *account, mailbox, body: 0, prefix, flags, internal_ms: 2 });
        }
    }
}

fn letter(chance: &mut SmallRng, scale: Scale) -> Rc<[u8]> {
    let len = match scale {
        Scale::Tiny => chance.random_range(0..2_500),
        Scale::Mixed if chance.random_ratio(1, 10) => 20_000,
        Scale::Mixed => chance.random_range(0..3_000),
        Scale::Churn => chance.random_range(0..12_000),
    };
    text(len, chance.random()).into()
}

fn some<T: Copy>(chance: &mut SmallRng, from: &[T]) -> Option<T> {
    (!from.is_empty()).then(|| from[chance.random_range(0..from.len())])
}

fn op(chance: &mut SmallRng, scale: Scale, (model, durable): (&Model, &Model), work: &mut Work) -> Op {
    let accounts: Vec<AccountId> = model.accounts.keys().copied().collect();
    let pick = chance.random_range(0..100);
    let Some(account) = some(chance, &accounts).filter(|_| pick >= 4) else {
        let mailbox = |n| NewMailbox { name: format!("m{n}"), special_use: n };
        return Op::PutAccount {
            name: format!("u{}@x", chance.random_range(0..4)),
            secrets: text(8, chance.random()),
            mailboxes: (0..chance.random_range(0..3)).map(mailbox).collect(),
            limits: Limits::NONE,
        };
    };
    let boxes: Vec<MailboxId> = model.accounts[&account].mailboxes.keys().copied().collect();
    let mailbox = some(chance, &boxes).unwrap_or(MailboxId::INBOX);
    let there = &model.accounts[&account].mailboxes[&mailbox];
    let uids: Vec<Uid> = there.messages.keys().copied().collect();
    let few = |chance: &mut SmallRng| -> Vec<Uid> {
        let n = chance.random_range(0..4);
        (0..n).filter_map(|_| some(chance, &uids)).collect()
    };
    let flags = |chance: &mut SmallRng| {
        let keywords = chance.random_ratio(1, 4).then(|| vec![format!("k{}", chance.random_range(0..3)).into()].into());
        Flags { bits: chance.random_range(0..32), keywords }
    };
    let name = |chance: &mut SmallRng| format!("m{}", chance.random_range(0..8));
    // Now and then it is a name of before.
    let named = |chance: &mut SmallRng| if chance.random_ratio(1, 8) { name(chance) } else { there.name.clone() };
    let target = |chance: &mut SmallRng, before: &[Op]| {
        let made = |op: &Op| matches!(op, Op::CreateMailbox { account: of, .. } if *of == account);
        match before.iter().position(made) {
            Some(n) if chance.random() => Target::Made(n),
            _ => Target::Mailbox(some(chance, &boxes).unwrap_or(MailboxId::INBOX)),
        }
    };
    match pick {
        4..6 => Op::PutDomain { name: format!("d{}.test", chance.random_range(0..3)), info: text(5, chance.random()) },
        6..7 => Op::RemoveDomain { name: "d1.test".into() },
        7..10 => Op::CreateMailbox { account, name: name(chance), special_use: 0, subscribed: chance.random() },
        10..12 => Op::RemoveMailbox { account, mailbox, name: named(chance) },
        12..13 => Op::RemoveAccount { account },
        // Wide enough for all there is.
        63..65 if scale == Scale::Mixed => {
            let limits = Limits { bytes: chance.random_range(1 << 40..1 << 50), messages: u32::MAX };
            Op::SetLimits { account, limits }
        }
        13..25 | 93.. if scale == Scale::Churn => {
            let uids = uids.into_iter().filter(|_| chance.random_ratio(3, 4)).collect();
            Op::Expunge { account, mailbox, uids }
        }
        13..25 => {
            let how = [FlagsHow::Replace, FlagsHow::Add, FlagsHow::Remove][chance.random_range(0..3)];
            let flags = flags(chance);
            Op::StoreFlags { account, mailbox, uids: few(chance), how, flags, unchanged_since: None }
        }
        25..32 => Op::Expunge { account, mailbox, uids: few(chance) },
        32..38 => Op::RenameMailbox { account, mailbox, from: named(chance), name: name(chance) },
        38..41 => Op::Subscribe { account, name: name(chance), on: chance.random() },
        41..48 => Op::Copy { account, from: mailbox, uids: few(chance), to: target(chance, &work.ops) },
        48..58 => Op::Move { account, from: mailbox, uids: few(chance), to: target(chance, &work.ops) },
        58..61 => {
            // Who computes summaries has read the messages, so they are durable.
            let known = durable.accounts.get(&account).and_then(|a| a.mailboxes.get(&mailbox));
            let mut items = Vec::new();
            for uid in known.iter().flat_map(|m| m.messages.keys()) {
                if chance.random() && there.messages.contains_key(uid) {
                    items.push((*uid, text(chance.random_range(1..40), chance.random())));
                }
            }
            if items.is_empty() {
                return Op::Subscribe { account, name: name(chance), on: true };
            }
            Op::Summaries { account, mailbox, items }
        }
        61..63 => {
            let uidvalidity = if chance.random() { Uidvalidity::Keep } else { Uidvalidity::Fresh };
            Op::Renumber { account, mailbox, uidvalidity, uidnext: there.uidnext + chance.random_range(0..40) }
        }
        _ => {
            work.texts.push(letter(chance, scale));
            let prefix = text(chance.random_range(0..50), 3);
            Op::Append { account, mailbox, body: work.texts.len() - 1, prefix, flags: flags(chance), internal_ms: 1 }
        }
    }
}

/// Octets that repeat nowhere near.
#[must_use]
pub fn text(n: usize, salt: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(n + 16);
    let mut x = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while out.len() < n {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        out.extend_from_slice(&(x & 0x0f0f_0f0f_0f0f_0f0f | 0x6060_6060_6060_6060).to_le_bytes());
    }
    out.truncate(n);
    out
}
